"""Files on a network: the hub's own client against a hub on this machine, S3 and the web, and the cache."""

import io
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from commands import sae_frontier
from hub_server import Hub, serving
from offline import THEIR_WARNINGS

import frontier
from frontier.html_report.inputs import input_files
from frontier.metrics.checks import TableError
from frontier.readers import remote
from frontier.records import record_of

pytestmark = THEIR_WARNINGS
ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "readers" / "fixtures"
TOKEN = "hf_secretsecretsecret"
READS = """
import json, sys, frontier
for address in sys.argv[1:]:
    try:
        table = frontier.read(address)
        said = {"rows": len(table), "csv": table.to_csv(index=False), "notes": list(frontier.notes(table))}
    except Exception as error:
        said = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(said))
"""


def read_by_hub(hub, tmp_path, *addresses, token=TOKEN):
    """What a process of its own reads from a hub, whose address it takes when it starts."""
    with serving(hub) as url:
        settings = {
            "HF_ENDPOINT": url, "HF_TOKEN": token, "SAE_FRONTIER_CACHE": str(tmp_path / "cache"),
            "PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path / "hf"),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", READS, *addresses], capture_output=True, text=True, cwd=tmp_path,
            env={k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"} | settings,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def saes(tmp_path):
    """A repository as people keep them: results of a tool, a table, weights, a page."""
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (make clients)")
    folder = tmp_path / "saes"
    for name in ("eval_results.json", "config.json"):
        for path in (FIXTURES / "dictionary_learning").rglob(name):
            place = folder / "results" / path.relative_to(FIXTURES / "dictionary_learning")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    (folder / "sweep.csv").write_text("family,l0,fvu\nrelu,10,0.5\ntopk,20,0.25\n")
    (folder / "ae.pt").write_bytes(b"not a weight")
    (folder / "README.md").write_text("# SAEs")
    return folder


def test_repositories_files_folders_and_models(saes, tmp_path):
    hub = Hub({("datasets", "me/saes"): saes, ("models", "me/model"): saes}, fails=2)
    one, folder, model, gone = read_by_hub(
        hub, tmp_path, "hf://datasets/me/saes/sweep.csv", "hf://datasets/me/saes/results", "hf://me/model",
        "hf://datasets/me/gone",
    )  # fmt: skip
    assert one["rows"] == 2
    local = frontier.read(saes / "results")
    assert folder["rows"] == len(local) > 5
    again = pd.read_csv(io.StringIO(folder["csv"]))
    for column in ("l0", "loss_recovered", "family", "sparsity_setting"):
        assert again[column].tolist() == local[column].tolist(), column
    assert model["rows"] == len(local) + 2
    assert "no such place, or it is private" in gone["error"] and "HF_TOKEN" in gone["error"]
    asked = [path for _, path, _ in hub.asked]
    assert not [p for p in asked if p.endswith((".pt", ".md")) and "resolve" in p]
    written = b"".join(
        p.read_bytes() + str(p).encode() for p in (tmp_path / "cache").rglob("*") if p.is_file()
    )
    assert TOKEN.encode() not in written and b"127.0.0.1" not in written and b"datasets/me" not in written


def test_a_private_repository_wants_the_token_and_a_second_read_copies_nothing(saes, tmp_path):
    hub = Hub({("datasets", "me/saes"): saes}, private=("me/saes",), token=TOKEN)
    (refused,) = read_by_hub(hub, tmp_path, "hf://datasets/me/saes", token="hf_other")
    assert "refused" in refused["error"] or "private" in refused["error"]
    assert read_by_hub(hub, tmp_path, "hf://datasets/me/saes/sweep.csv")[0]["rows"] == 2
    hub.asked.clear()
    assert read_by_hub(hub, tmp_path, "hf://datasets/me/saes/sweep.csv")[0]["rows"] == 2
    assert not [path for _, path, _ in hub.asked if "/resolve/" in path]
    (saes / "sweep.csv").write_text("family,l0,fvu\nrelu,10,0.5\n")
    assert read_by_hub(hub, tmp_path, "hf://datasets/me/saes/sweep.csv")[0]["rows"] == 1


@pytest.fixture
def local(tmp_path, monkeypatch):
    """A folder under file://, which is copied as from any place."""
    pytest.importorskip("fsspec", reason="fsspec is not installed (make clients)")
    monkeypatch.setenv("SAE_FRONTIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "a.csv").write_text("family,l0,fvu\nrelu,10,0.5\n")
    (folder / "b.csv").write_text("family,l0,fvu\ntopk,20,0.25\n")
    return folder


def test_what_is_gone_there_is_gone_here(local):
    address = f"file://{local}"
    assert len(frontier.read(address)) == 2
    (local / "a.csv").unlink()
    assert frontier.read(address)["family"].tolist() == ["topk"]
    assert frontier.read(address)["source"].tolist() == ["there/b.csv"]


def test_an_error_names_the_address_and_not_the_copy(local):
    (local / "a.csv").write_text("a,b\n1,2\n")
    (local / "b.csv").unlink()
    (local / "bad.json").write_text("{")
    for address, name in ((f"file://{local}", "there"), (f"file://{local}/bad.json", "bad.json")):
        with pytest.raises(TableError) as stopped:
            frontier.read(address)
        assert str(stopped.value).startswith(name) and "cache" not in str(stopped.value)


def test_commands_and_reports_take_an_address(local, tmp_path):
    done = sae_frontier("pareto", f"file://{local}")
    assert done.returncode == 0 and "2 of 2 SAEs are Pareto-optimal" in done.stdout, done.stderr
    files = input_files(f"file://{local}", frontier.read(f"file://{local}"))
    assert [f.name for f in files] == ["there, 2 rows (digest of its CSV)"]


def test_sizes_are_bounded(local, monkeypatch):
    monkeypatch.setattr(remote, "LARGEST", 2**20)
    (local / "large.csv").write_bytes(b"x" * (2**20 + 1))
    table = frontier.read(f"file://{local}")
    assert len(table) == 2 and any(
        "1 file larger than 1 MB not read: large.csv" in n for n in frontier.notes(table)
    )
    monkeypatch.setattr(remote, "MOST_FILES", 1)
    with pytest.raises(TableError, match="name a folder inside"):
        frontier.read(f"file://{local}")


def test_a_server_can_name_no_place_outside(local, monkeypatch):
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed (make clients)")
    kind = type(fsspec.filesystem("file"))

    def find(self, root, **_):
        names = {f"{root}/../escaped.csv": "a.csv", f"{root}/b.csv": "b.csv", "/elsewhere.csv": "a.csv"}
        return {p: {"name": f"{root}/{n}", "size": 10, "type": "file", "mtime": 1} for p, n in names.items()}

    monkeypatch.setattr(kind, "find", find)
    table = frontier.read(f"file://{local}")
    assert table["family"].tolist() == ["topk"]
    assert "2 files named outside the folder not read: ../escaped.csv, /elsewhere.csv" in frontier.notes(
        table
    )
    assert not list(local.parent.rglob("escaped.csv")) and not list(local.parent.rglob("elsewhere.csv"))


def test_the_web(local, tmp_path):
    pytest.importorskip("aiohttp", reason="aiohttp is not installed (make clients)")
    with serving(Hub({("models", "me/web"): local})) as url:
        address = f"{url}/me/web/resolve/main/a.csv"
        table = frontier.read(f"{address}?token={TOKEN}")
        assert table["family"].tolist() == ["relu"]
        assert record_of(table)["arguments"]["source"] == {"$file": "a.csv"}
        with pytest.raises(TableError, match="must be that of one file") as stopped:
            frontier.read(f"{url}/me/web?token={TOKEN}")
        assert TOKEN not in str(stopped.value)
        with pytest.raises(TableError, match=r"none\.csv cannot be reached") as stopped:
            frontier.read(f"{url}/me/web/resolve/main/none.csv?token={TOKEN}")
        assert TOKEN not in str(stopped.value) and "127.0.0.1" not in str(stopped.value)


@contextmanager
def s3_server(monkeypatch):
    """S3 on this machine, by moto's server, and the client of it."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed (make clients)")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed (make clients)")
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": TOKEN, "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # clients that know another server's address
    try:
        yield s3fs.S3FileSystem()
    finally:
        server.stop()


def test_s3(local, monkeypatch):
    with s3_server(monkeypatch) as s3:
        s3.mkdir("bucket")
        s3.put(str(local), "bucket/runs", recursive=True)
        assert sorted(frontier.read("s3://bucket/runs")["family"]) == ["relu", "topk"]
        with pytest.raises(TableError, match="AWS_PROFILE"):
            frontier.read("s3://bucket/none")


def test_a_store_of_activations_on_s3(tmp_path, monkeypatch):
    """Written here, copied there: read by ranges, the batches are the same to the last bit."""
    torch = pytest.importorskip("torch", reason="torch is not installed (extra train)")
    with s3_server(monkeypatch) as s3:
        from trainers.activations import ActivationStore, activation_stream
        from trainers.activations.harvest import ActivationError
        from trainers.activations.row_sources import MANIFEST
        from trainers.activations.sources import token_windows
        from trainers.activations.storing import write_store
        from trainers.language_models import load_language_model

        text = tmp_path / "text.txt"
        text.write_text(" ".join(str(n * n) for n in range(9000)))
        model = load_language_model(device="cpu")
        parts = [token_windows(model, str(text), split=s, progress=False) for s in ("train", "evaluation")]
        place = tmp_path / "store"
        write_store(model, *parts, "mlp_out.1", place, chunk_tokens=512, shard_bytes=2**19)
        s3.mkdir("activations")
        s3.put(str(place), "activations/layer1", recursive=True)
        assert len(s3.ls("activations/layer1")) == len(list(place.iterdir())) > 4

        def batches(store):
            stream = activation_stream(
                ActivationStore(store), "mlp_out.1", batch_size=256, buffer_tokens=2000, progress=False
            )
            assert stream.ahead.on
            found = [next(stream).input for _ in range(40)]
            stream.release()
            return found

        here, there = batches(place), batches("s3://activations/layer1")
        assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))
        s3.rm(f"activations/layer1/{MANIFEST}")
        s3.invalidate_cache()
        with pytest.raises(ActivationError, match=r"layer1/store.json cannot be read") as stopped:
            ActivationStore("s3://activations/layer1")
        assert TOKEN not in str(stopped.value)
