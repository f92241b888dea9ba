"""Runs with damage, lost files, hostile names and signals: nothing is lost, and what was done is said."""

import json
import os
import signal
import warnings

import pytest
import torch
from small_runs import said, small, weights

from frontier.writing import file_name, write_sums
from trainers import checkpoints
from trainers.config import ConfigError, write_config
from trainers.evaluate.runs import evaluate_run
from trainers.export import LayoutError, export, load
from trainers.log_lines import forget_after
from trainers.sae_files import load_saes
from trainers.steps import LoopEngine
from trainers.train import train

pytestmark = pytest.mark.slow


def resumed(folder, **changes):
    train(small(**changes), folder, progress=False, resume=True)
    return weights(folder)


def assert_same_bits(ours, theirs):
    assert ours.keys() == theirs.keys()
    for run_id, parameters in theirs.items():
        assert all(torch.equal(v, ours[run_id][k]) for k, v in parameters.items())


def test_a_flipped_bit_gives_way_to_the_checkpoint_before(copied, finished):
    newest = checkpoints.latest(copied / "checkpoints")
    data = bytearray((newest / "part0.safetensors").read_bytes())
    data[-9] ^= 4
    (newest / "part0.safetensors").write_bytes(data)
    with pytest.warns(UserWarning, match="is not as it was written.*the one before"):
        assert_same_bits(resumed(copied), weights(finished))


@pytest.mark.parametrize("state", ["{}", '{"step": 12}', '{"step": "x", "config": {}, "stream": {}}'])
def test_a_state_that_lacks_a_key_gives_way_to_the_one_before(copied, finished, state):
    newest = checkpoints.latest(copied / "checkpoints")
    (newest / "part0.json").write_text(state)
    (newest / "part0.sha256").unlink()
    with pytest.warns(UserWarning, match="cannot be read.*the one before"):
        assert_same_bits(resumed(copied), weights(finished))


def test_a_damaged_sae_is_not_measured_and_resume_makes_it_again(copied, finished, monkeypatch, capsys):
    file = copied / "saes" / "topk_4_seed0" / "sae.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    code, _, err = said(monkeypatch, capsys, "evaluate", copied, "--quiet")
    assert code == 2 and "sae.safetensors is not as it was written" in err
    assert_same_bits(resumed(copied), weights(finished))


@pytest.mark.parametrize("content", [b"", b"\0" * 300, None])
def test_a_lost_configuration_is_taken_from_the_checkpoint(copied, finished, content, monkeypatch, capsys):
    path, whole = copied / "config.toml", (copied / "config.toml").read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, _, err = said(monkeypatch, capsys, "resume", copied, "--quiet")
    assert code == 0 and "the configuration in the last checkpoint is taken" in err
    assert path.read_bytes() == whole
    assert_same_bits(weights(copied), weights(finished))


def test_resume_leaves_the_configuration_alone(copied):
    path = copied / "config.toml"
    path.write_text("# a word of mine\n" + path.read_text())
    before = path.read_bytes()
    resumed(copied)
    assert path.read_bytes() == before


def test_spoilt_lines_of_the_log_are_left_out_with_a_word(copied, monkeypatch, capsys):
    log = copied / "log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(b'[1, 2]\n"x"\n\xff\xfe\n{"step": "two"}\n{"members": {}}\n' + whole + b'{"step": 9')
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, out, err = said(monkeypatch, capsys, "status", copied)
    assert code == 0 and "step 12 of 12" in out and "5 lines that cannot be read left out" in err
    with pytest.warns(UserWarning, match="5 lines that cannot be read"):
        resumed(copied)
    assert log.read_bytes() == whole


def test_a_kill_while_the_log_is_rewritten_keeps_its_history(copied, monkeypatch):
    log = copied / "log.jsonl"
    log.write_bytes(log.read_bytes() + b'{"step": 99, "members": {}}\n')
    before = log.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("frontier.writing.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        forget_after(log, 12)
    assert log.read_bytes() == before


def test_status_shows_no_values_of_an_earlier_step(copied, monkeypatch, capsys):
    old = {"step": 4, "tokens": 1024, "members": {"topk_4_seed0": {"l0": 77.7, "fvu": 0.5, "loss": 9.0}}}
    (copied / "log.1.jsonl").write_text(json.dumps(old) + "\n")  # of a second process that is no more
    _, out, _ = said(monkeypatch, capsys, "status", copied)
    assert "step 12 of 12" in out and "77.7" not in out
    assert "on the training batch of step 12: SAE L0 FVU loss" in out  # no held-out L0, as other tables have
    (copied / "log.jsonl").unlink()
    _, out, _ = said(monkeypatch, capsys, "status", copied)
    assert "step 12 of 12" in out and "77.7" not in out and "topk_4_seed0 last logged at step 4" in out


@pytest.mark.parametrize("layout", ["sae-lens", "dictionary-learning"])
@pytest.mark.parametrize("name", ["../../escape", "/{out}/escape", "a/b", "..", "x\0y", "n" * 300])
def test_no_sae_is_exported_outside_of_the_folder(copied, tmp_path, monkeypatch, capsys, layout, name):
    about = copied / "saes" / "topk_4_seed0" / "sae.json"
    content = json.loads(about.read_text())
    content["identity"]["run_id"] = name.replace("{out}", str(tmp_path))
    about.write_text(json.dumps(content))
    (about.parent / "SHA256SUMS").unlink()
    before = {p for p in tmp_path.rglob("*") if (tmp_path / "out") not in p.parents}
    code, out, err = said(
        monkeypatch, capsys, "export", copied, "--out", tmp_path / "out", "--format", layout
    )
    assert code == 0 and "is no name for a folder" in out, err
    after = {p for p in tmp_path.rglob("*") if (tmp_path / "out") not in p.parents}
    assert after - before == {tmp_path / "out"}
    exported = [load(p) for p in (tmp_path / "out").iterdir()]
    assert len(exported) == 3 and all(p.name == file_name(p.name) for p in (tmp_path / "out").iterdir())


def test_a_flipped_bit_of_an_exported_sae_is_found(finished, tmp_path):
    sae = next(load_saes(finished / "saes"))
    for layout, file in (("sae-lens", "sae_weights.safetensors"), ("dictionary-learning", "ae.pt")):
        folder = export(sae, tmp_path / layout, layout)
        assert load(folder).dictionary_size == 64
        data = (folder / file).read_bytes()
        place = data.index(sae.parameters["b_dec"].numpy().tobytes()[:8])
        (folder / file).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(LayoutError, match=f"{file} is not as it was written"):
            load(folder)


@pytest.mark.parametrize("name", ["n" * 300, "../x", "a/b", "x\0", ".hidden", ""])
def test_names_that_are_none_fail_before_anything_is_loaded(name):
    with pytest.raises(ConfigError, match="must be a name for folders"):
        small([{"architecture": "topk", "settings": [4], "name": name}])


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)]
)
def test_a_signal_finishes_the_step_and_resume_gives_the_same_bits(
    finished, tmp_path, monkeypatch, capsys, number, code
):
    write_config(small(), tmp_path / "c.toml")
    before = signal.getsignal(number)  # a shell may start the tests with SIGINT ignored
    real, seen = LoopEngine.step, []

    def step(self, *given):
        seen.append(given[1])
        if seen.count(6) == 1 and given[1] == 6:  # in the middle of the seventh step
            os.kill(os.getpid(), number)
        return real(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(LoopEngine, "step", step)
        words = ["run", tmp_path / "c.toml", "--out", tmp_path / "run", "--quiet"]
        stopped, _, err = said(patch, capsys, *words)
    assert stopped == code and "after step 7 of 12, which is saved; `sae-train resume" in err
    assert max(seen) == 6 and checkpoints.latest(tmp_path / "run" / "checkpoints").name == "step_000000007"
    assert signal.getsignal(number) == before
    assert said(monkeypatch, capsys, "resume", tmp_path / "run", "--quiet")[0] == 0
    assert_same_bits(weights(tmp_path / "run"), weights(finished))


def test_another_torch_is_named(copied):
    newest = checkpoints.latest(copied / "checkpoints")
    state = json.loads((newest / "part0.json").read_text())
    (newest / "part0.json").write_text(json.dumps(state | {"torch": "1.0"}))
    write_sums(newest, ["part0.json", "part0.safetensors"], "part0.sha256")
    with pytest.warns(UserWarning, match="was written with torch 1.0, this is torch 2"):
        resumed(copied)


@pytest.mark.parametrize("where", ["saes", "metrics.parquet"])
def test_a_disk_that_is_full_at_the_end_names_the_file(copied, monkeypatch, capsys, where):
    """While SAEs are saved, and while the evaluation is: one line, and the rest of the run is kept."""
    real = os.replace

    def full(source, target):
        if where in str(target):
            raise OSError(28, "No space left on device")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("frontier.writing.os.replace", full)
        code, _, err = said(patch, capsys, "resume" if where == "saes" else "evaluate", copied, "--quiet")
    assert code == 2 and where in err and "could not be written: No space left on device" in err
    assert "free some space" in err and checkpoints.latest(copied / "checkpoints")
    assert said(monkeypatch, capsys, "resume", copied, "--quiet")[0] == 0
    assert not list(copied.rglob(".draft_*"))


def test_rows_are_ordered_as_numbers(tmp_path):
    train(small([{"architecture": "topk", "settings": [16, 4, 8]}]), tmp_path / "run", progress=False)
    assert list(evaluate_run(tmp_path / "run", progress=False)["sparsity_setting"]) == [4, 8, 16]
