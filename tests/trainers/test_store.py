"""A store of activations: the model's own stream, whoever wrote and reads it, after any kill."""

import hashlib
import json
import os
import resource
import shutil
import signal
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import tomlkit
import torch
from processes import FORKS, under_torchrun
from safetensors import safe_open
from small_runs import FAMILIES, TEXT, said, small, weights

from frontier.readers import remote
from frontier.writing import DamagedError, whole_file
from trainers import ranks
from trainers.activations import activation_stream, storing
from trainers.activations.harvest import ActivationError
from trainers.activations.sources import TokenWindows
from trainers.activations.store import ActivationStore
from trainers.activations.storing import write_store
from trainers.cli_harvest import harvested
from trainers.config import read_config, write_config
from trainers.config_saved import changed_fields
from trainers.evaluate.runs import evaluate_run
from trainers.language_models.sites import Site
from trainers.run import build_run
from trainers.text import TextError
from trainers.train import train

WIDTH, ROWS = 16, 24


class Numbers:
    """In the place of a model: the activation of token n is a function of n."""

    predicts, start_token, ignore, name, revision = True, None, (), "numbers", "0"
    dtype, device, context_length, vocabulary_size = torch.float32, torch.device("cpu"), ROWS, 2**31

    def __init__(self, width=WIDTH, dtype=torch.float32):
        self.width, self.dtype = width, dtype

    def site(self, name):
        return Site("here.0", "", "output", 0, self.width)

    def counted(self, tokens):
        return torch.ones_like(tokens, dtype=torch.bool)

    def capture(self, tokens, sites):
        part = torch.arange(1, self.width + 1)
        return {"here.0": ((tokens[..., None] * part) % 251 / 8 - 9).to(self.dtype)}


def texts(count, held_out=10):
    tokens = torch.arange((count + held_out) * ROWS, dtype=torch.int32).reshape(-1, ROWS)
    return TokenWindows(tokens[:count], "numbers train"), TokenWindows(tokens[count:], "numbers held-out")


def numbers_store(folder, count=97, **options):
    """97 windows in 25 chunks of 4, three chunks to a shard; the held-out ones in a shard of their own."""
    given = {"chunk_tokens": 4 * ROWS, "shard_bytes": 3 * 4 * ROWS * WIDTH * 4} | options
    return write_store(Numbers(), *texts(count), "here", folder, **given)


@pytest.fixture
def store(tmp_path):
    numbers_store(tmp_path / "store")
    return tmp_path / "store"


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def batches(stream, count=12):
    return [next(stream).input for _ in range(count)]


def stream_of(place, **options):
    given = {"batch_size": 200, "seed": 3, "buffer_tokens": 700, "progress": False} | options
    model = place if isinstance(place, Numbers) else ActivationStore(place)
    text = {"text": texts(97)[0].tokens, "split": None, "chunk_tokens": 4 * ROWS}
    return activation_stream(model, "here", **given, **text)


def test_the_stream_is_the_models_own_over_passes_and_a_resume(store):
    live, stored = stream_of(Numbers()), stream_of(store)
    for ours, theirs in zip(batches(live), batches(stored), strict=True):
        assert torch.equal(ours, theirs)
    again = stream_of(store)
    again.restore(stored.state())
    assert torch.equal(next(again).input, next(live).input)


def test_every_row_is_there_once_and_digests_are_those_of_the_bytes(store):
    """safetensors and hashlib alone, against the numbers themselves."""
    about, found = json.loads((store / "store.json").read_text()), []
    assert [s["rows"] for s in about["train"]["shards"]] == [288] * 8 + [24]
    for shard in about["train"]["shards"] + about["held_out"]["shards"]:
        with safe_open(store / shard["name"], framework="pt") as opened:
            rows, said = opened.get_tensor("activations"), opened.metadata()["chunks"]
        assert hashlib.sha256(said.encode()).hexdigest() == shard["sha256"]
        parts = rows.split(json.loads(said)["rows"])
        ours = [hashlib.sha256(p.numpy().tobytes()).hexdigest() for p in parts]
        assert ours == json.loads(said)["sha256"]
        found.append(rows)
    wanted = Numbers().capture(torch.arange(107 * ROWS), ["here"])["here.0"]
    held_out = found.pop()
    assert torch.equal(held_out, wanted[97 * ROWS :])
    assert torch.equal(torch.cat(found).sort(0).values, wanted[: 97 * ROWS].sort(0).values)


@pytest.mark.parametrize("out", [{}, {"exclude_tokens": [101, 32], "exclude_norms_above": 1.2}])
def test_training_on_a_store_is_training_on_the_model(tmp_path, out):
    """Bit for bit: SAEs, L0 and FVU; and `cache` keeps chunks of a store as those of a model."""
    config = small(activations=out)
    harvested(config, tmp_path / "store", (1, 1), None, None, progress=False)
    tables = {}
    for name, sections in (("live", {}), ("stored", {"files": str(tmp_path / "store")})):
        sections = sections | ({"tokens": "all"} if sections else out)
        changed = small(activations=sections | {"cache": str(tmp_path / f"cache-{name}")})
        train(changed, tmp_path / name, progress=False)
        tables[name] = evaluate_run(tmp_path / name, progress=False).set_index("run_id")
    for run_id, ours in weights(tmp_path / "live").items():
        theirs = weights(tmp_path / "stored")[run_id]
        assert all(torch.equal(v, theirs[k]) for k, v in ours.items())
    same = ["l0", "l0_se", "fvu", "fvu_se", "protocol", "site", "layer", "model", "context_length"]
    live, stored = (tables[n][[c for c in same if c in tables[n]]] for n in ("live", "stored"))
    assert len(live.columns) > 6
    assert stored.equals(live.loc[stored.index])
    assert tables["stored"]["ce_sae"].isna().all()
    live_limits = read_config(tmp_path / "live" / "config.toml").activations.norm_limits
    limited = {"exclude_norms_above": None, "norm_limits": live_limits} if out else {}
    path = tmp_path / "stored" / "config.toml"
    said = tomllib.loads(path.read_text())
    assert "text" not in said["activations"] and said["activations"]["site"] == "mlp_out.1"
    del said["activations"]["files"]  # and what the page says is written instead
    said["activations"] |= {"text": TEXT} | {k: v for k, v in (out | limited).items() if v is not None}
    path.write_text(tomlkit.dumps(said))
    with_model = evaluate_run(tmp_path / "stored", progress=False).set_index("run_id")
    assert with_model["ce_sae"].equals(tables["live"]["ce_sae"])


def test_a_text_beside_files_is_said_not_to_be_read_unless_it_is_the_stores(tmp_path):
    harvested(small(), tmp_path / "store", (1, 1), None, None, progress=False)
    files = {"files": str(tmp_path / "store")}
    for text in (TEXT, "standard-library"):
        build_run(_with_text(small(activations=files), text), progress=False)
    with pytest.warns(UserWarning, match=r"activations.text is other.txt and is not read.*leave text out"):
        build_run(_with_text(small(activations=files), "other.txt"), progress=False)


def _with_text(config, text):
    given = config.activations.model_copy(update={"text": text})
    return config.model_copy(update={"activations": given})


def test_a_run_on_a_store_that_was_begun_before_it_said_its_site_goes_on(tmp_path):
    """Its checkpoint has the default site and text, its file too."""
    harvested(small(), tmp_path / "store", (1, 1), None, None, progress=False)
    config = small(activations={"files": str(tmp_path / "store")})
    was = json.loads(json.dumps(build_run(config, progress=False).config.model_dump(mode="json")))
    new = json.loads(json.dumps(was))
    was["activations"] |= {"site": "mlp_out.-1", "text": TEXT}
    assert changed_fields(was, new) == []
    new["activations"]["site"] = "mlp_out.0"
    was["activations"]["site"] = "mlp_out.1"
    assert changed_fields(was, new) == ["activations.site was 'mlp_out.1', is 'mlp_out.0'"]


def test_a_store_of_fewer_rows_than_tokens_says_what_to_type(tmp_path):
    harvested(
        small(activations={"exclude_tokens": [32]}), tmp_path / "store", (1, 1), None, None, progress=False
    )
    with pytest.raises(
        TextError, match=r"store is too short: it has 4,\d+ rows, 6,000 are wanted.*more files"
    ):
        build_run(small(activations={"files": str(tmp_path / "store")}), progress=False)


def _hashes(folder, kind, out):
    torch.set_num_threads(1)
    found = [hashlib.sha256(b.numpy().tobytes()).hexdigest() for b in batches(stream_of(folder))]
    (out / f"{kind}-{ranks.rank()}.json").write_text(json.dumps(found))


def _read_in_processes(environment, folder, kind, out):
    os.environ.update(environment)
    with ranks.process_group():
        _hashes(folder, kind, out)


@pytest.mark.slow
def test_one_two_and_four_readers_see_one_order(store, tmp_path):
    """25 chunks, which neither 2 nor 4 divides."""
    from test_shards import surroundings

    for count in (1, 2, 4):
        given = [(e, store, count, tmp_path) for e in surroundings(count)]
        started = [FORKS.Process(target=_read_in_processes, args=g) for g in given]
        for process in started:
            process.start()
        for process in started:
            process.join(120)
        assert [p.exitcode for p in started] == [0] * count
    found = [json.loads(p.read_text()) for p in sorted(tmp_path.glob("*-*.json"))]
    assert len(found) == 7 and all(f == found[0] for f in found) and len(set(found[0])) == 12


@pytest.mark.parametrize("parts", [1, 2, 8])
def test_any_number_of_parts_writes_the_same_bytes(store, tmp_path, parts):
    lacking = [
        numbers_store(tmp_path / "parts", part=(i, parts)).lacking for i in reversed(range(1, parts + 1))
    ]
    assert lacking[-1] == 0 and lacking == sorted(lacking, reverse=True)
    assert contents(tmp_path / "parts") == contents(store)


@pytest.mark.slow
def test_torchrun_writes_the_store_of_one_process(tmp_path):
    write_config(small(), tmp_path / "sweep.toml")
    under_torchrun(2, "harvest", tmp_path / "sweep.toml", "--out", tmp_path / "two")
    harvested(small(), tmp_path / "one", (1, 1), None, None, progress=False)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def _killed_while_writing(folder, at):
    calls, whole = [], storing.write_tensors

    def write(tensors, draft, about):
        calls.append(draft)
        if len(calls) == at:
            Path(draft).write_bytes(b"half of a shard")
            os.kill(os.getpid(), signal.SIGKILL)
        whole(tensors, draft, about)

    storing.write_tensors = write
    numbers_store(folder)


def test_a_kill_costs_one_shard(store, tmp_path):
    process = FORKS.Process(target=_killed_while_writing, args=(tmp_path / "cut", 4))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises(ActivationError, match=r"not complete: its 10 shards are not all written; the same"):
        ActivationStore(tmp_path / "cut")
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "cut").glob("train*")}
    assert sorted(before) == [f"train_0000{i}.safetensors" for i in range(3)]
    numbers_store(tmp_path / "cut")
    assert all((tmp_path / "cut" / n).stat().st_mtime_ns == t for n, t in before.items())
    assert contents(tmp_path / "cut") == contents(store)


@pytest.mark.parametrize("place, byte", [("train_00003", 40), ("train_00003", -5), ("held_out_00000", -5)])
def test_a_damaged_shard_is_named_and_made_anew_alone(store, place, byte):
    file, good = store / f"{place}.safetensors", contents(store)
    bad = bytearray(file.read_bytes())
    bad[byte] ^= 1
    file.write_bytes(bad)
    with pytest.raises(DamagedError, match=rf"{place}\.safetensors is not as it was written \(SHA-256\)"):
        held_out = ActivationStore(store)
        held_out.capture(torch.from_numpy(held_out.windows()), ["here"])
        batches(stream_of(store))
    file.unlink()
    numbers_store(store)
    assert contents(store) == good


def test_a_torn_and_a_missing_shard_and_a_torn_manifest_are_said(store):
    file = store / "train_00000.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(DamagedError, match="train_00000"):
        batches(stream_of(store))
    file.unlink()
    with pytest.raises(
        ActivationError, match=r"store/train_00000\.safetensors is not there; .* makes it anew"
    ):
        batches(stream_of(store))
    (store / "store.json").write_text("{")
    with pytest.raises(ActivationError, match="no manifest"):
        ActivationStore(store)


def test_limits_refuse_before_the_first_byte_and_before_the_disk_is_full(tmp_path, monkeypatch):
    with pytest.raises(
        ActivationError, match=r"205.* 19.5 KB of it held out; its limit is 100 KB: about 1,0\d\d rows fit"
    ):
        numbers_store(tmp_path / "a", limit=100_000)
    assert numbers_store(tmp_path / "fits", 1_000 // ROWS, limit=100_000).size > 90_000
    with pytest.raises(ActivationError, match=r"limit is 19 KB: no row fits; lower evaluation.windows, or"):
        numbers_store(tmp_path / "a", limit=19_000)
    usage = SimpleNamespace(free=storing.RESERVE + 100_000)
    monkeypatch.setattr(storing.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(ActivationError, match=r"needs 2\d\d\.\d KB more, 268\.5 MB are free there"):
        numbers_store(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    frees = iter([storing.RESERVE + 10**6] * 4 + [storing.RESERVE + 10] * 9)
    monkeypatch.setattr(storing, "_free", lambda place: next(frees))
    with pytest.raises(ActivationError, match=r"stopped before the disk of .* is full: .* the same"):
        numbers_store(tmp_path / "a")
    assert len(list((tmp_path / "a").glob("train*"))) == 3


def test_parts_that_end_at_the_same_moment(store, monkeypatch):
    """One takes away the draft of the other's manifest, which says the same."""
    good, whole = contents(store), storing.write_json

    def overtaken(path, content):
        monkeypatch.setattr(storing, "write_json", whole)
        with whole_file(path) as draft:
            numbers_store(store)
            assert not draft.exists()

    monkeypatch.setattr(storing, "write_json", overtaken)
    assert numbers_store(store).lacking == 0
    assert contents(store) == good


def test_another_store_in_the_folder_is_named(store, tmp_path):
    with pytest.raises(ActivationError, match=r"activations 2328 there, 2304 here"):
        numbers_store(store, 96)
    with pytest.raises(ActivationError, match=r"dtype 'float32' there, 'bfloat16' here"):
        numbers_store(store, dtype="bfloat16")
    with pytest.raises(ActivationError, match=r"not empty and has no store\.json"):
        numbers_store(Path(__file__).parent)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_halves_are_those_of_torch(tmp_path, dtype):
    """And the default is the format of the model, which loses nothing."""
    half = getattr(torch, dtype)
    write_store(Numbers(dtype=half), *texts(97), "here", tmp_path / "own", chunk_tokens=4 * ROWS)
    numbers_store(tmp_path / "asked", dtype=dtype)
    wanted = Numbers().capture(torch.arange(97 * ROWS, 107 * ROWS), ["here"])["here.0"].to(half).float()
    for name in ("own", "asked"):
        store = ActivationStore(tmp_path / name)
        assert store.dtype == half
        found = store.capture(torch.from_numpy(store.windows()), ["here"])["here"]
        assert torch.equal(found.flatten(0, 1), wanted)


def test_an_activation_too_large_for_its_format_is_no_shard(tmp_path):
    class Large(Numbers):
        def capture(self, tokens, sites):
            return {"here.0": torch.full((*tokens.shape, WIDTH), 1e6)}

    with pytest.raises(ActivationError, match=r"not finite \(or too large for float16\)"):
        write_store(Large(), *texts(97), "here", tmp_path / "a", dtype="float16")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["store.json"]


def test_an_address_is_read_by_ranges(store, monkeypatch):
    """file:// and memory:// go the way of s3://, gs:// and hf://; what fails once is asked again."""
    import fsspec

    for name, data in contents(store).items():
        fsspec.filesystem("memory").pipe(f"/bucket/store/{name}", data)
    wanted = batches(stream_of(store))
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    system, asked = fsspec.filesystem("memory"), []
    whole = system.cat_file

    def once_deaf(path, start=None, end=None, **options):
        asked.append((path, start, end))
        if asked.count((path, start, end)) == 1:
            raise ConnectionError("reset")
        return whole(path, start=start, end=end, **options)

    monkeypatch.setattr(type(system), "cat_file", staticmethod(once_deaf))
    for address in (f"file://{store}", "memory://bucket/store"):
        assert all(torch.equal(a, b) for a, b in zip(batches(stream_of(address)), wanted, strict=True))
    assert all(end - start <= 4 * ROWS * WIDTH * 4 for _, start, end in asked if end is not None)
    with pytest.raises(
        ActivationError, match=r"^elsewhere/store.json cannot be read: there is no such place"
    ):
        ActivationStore("memory://secret@bucket/elsewhere")
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def test_the_command_and_what_it_refuses(tmp_path, monkeypatch, capsys):
    write_config(small(), tmp_path / "sweep.toml")
    start = ("harvest", tmp_path / "sweep.toml", "--out")
    shared = ("--set", f"activations.text={Path(TEXT[0]).parent}", "--set", f"evaluation.text={TEXT[0]}")
    code, out, err = said(monkeypatch, capsys, *start, tmp_path / "s", "--part", "1/2", "--dtype", "bfloat16")
    assert code == 0 and "of which 1 are not there yet: other parts write them" in out, err
    code, out, err = said(monkeypatch, capsys, *start, tmp_path / "s", "--part", "2/2", "--dtype", "bfloat16")
    assert code == 0 and "complete; [activations] files" in out, err
    for words, message in (
        (("s", "--part", "3/2"), "wanted a part such as 2/8"),
        (("b", "--limit", "1MB"), "its limit is 1 MB"),
        (("b", "--dtype", "int8"), "no storage type 'int8'"),
        (("b", "--set", "activations.target_site=resid_post.1"), "leave activations.target_site out"),
        (("b", "--set", 'activations.sites=["mlp_out.0", "mlp_out.1"]'), "sites has mlp_out.0, mlp_out.1;"),
        (("b", "--set", "activations.exclude_positions=[500]"), "has 500; "),
        (("b", *shared), "evaluation.text has 1 file that activations.text trains on"),
        (("b", "--set", f"activations.files={tmp_path / 's'}"), "is a store already"),
    ):
        code, _, err = said(monkeypatch, capsys, *start, tmp_path / words[0], *words[1:])
        assert code == 2 and err.startswith("sae-train: ") and message in err
        assert "\n" not in err.strip(), err
    assert said(monkeypatch, capsys, *start, "s3://bucket/store")[2].count("copy it from there") == 1


def test_a_configuration_that_names_another_site_or_length_is_refused(tmp_path):
    harvested(small(), tmp_path / "store", (1, 1), None, None, progress=False)
    files = {"files": str(tmp_path / "store")}
    assert build_run(small(activations=files | {"site": "mlp_out.1"}), progress=False).stream.d_in == 128
    for field, value, message in (
        ("site", "resid_post.0", "holds mlp_out.1, activations.site is resid_post.0"),
        ("context_length", 64, "windows of 128 tokens, activations.context_length is 64"),
        ("files", [str(tmp_path / "store"), "more.npy"], "is a store of activations; name it alone"),
        ("tokens", 7000, "ask for fewer or for all"),
    ):
        with pytest.raises(TextError, match=message):
            build_run(small(FAMILIES, activations=files | {field: value}), progress=False)


def _peak(folder, out):
    torch.set_num_threads(1)
    stream = activation_stream(
        ActivationStore(folder), "here", batch_size=4096, memory_limit="64MB", progress=False
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(len(stream.harvest.model) // 4096):
        next(stream)
    out.write_text(str((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024))


class Same(Numbers):
    """The same rows for every chunk, quickly."""

    def capture(self, tokens, sites):
        rows = torch.arange(self.width).to(self.dtype).expand(*tokens.shape, -1)
        return {"here.0": rows + tokens[..., None] % 7}


@pytest.mark.slow
def test_half_a_gigabyte_takes_the_memory_of_its_buffer(tmp_path):
    """One pass over 0.25 and 0.5 GB: the buffer's 64 MB, what is read ahead and a batch, and no more.

    The further 0.25 GB add less than half of themselves: on a busy machine more is being read ahead.
    """
    peaks = []
    for size in (2**28, 2**29):
        given = texts(size // (512 * 2 * ROWS))
        write_store(Same(512, torch.bfloat16), *given, "here", tmp_path / "store")
        process = FORKS.Process(target=_peak, args=(tmp_path / "store", tmp_path / "peak"))
        process.start()
        process.join(300)
        peaks.append(int((tmp_path / "peak").read_text()))
        shutil.rmtree(tmp_path / "store")
    assert peaks[1] < 400e6 and peaks[1] < peaks[0] + 2**27, peaks
