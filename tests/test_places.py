"""Addresses and optional clients, without any client."""

import sys
from pathlib import Path

import pytest

import frontier
from frontier.metrics.checks import TableError
from frontier.places import address_of, name_of


@pytest.mark.parametrize("text", ["hf://datasets/me/saes", "s3://b/a.csv", "https://h/a.csv", "wandb://a/b"])
def test_an_address_survives_pathlib(text):
    assert address_of(text) == address_of(Path(text)) == text


@pytest.mark.parametrize("text", ["a.csv", "./a:b.csv", "C:\\a.csv", "/x/y", "", "hf://", "2://a"])
def test_a_path_is_no_address(text):
    assert address_of(text) == ""


def test_no_host_user_or_token_is_in_a_name():
    assert name_of("https://alice:secret@host.example") == "host"
    assert name_of("s3://bucket/runs/a.csv#x") == "a.csv"


@pytest.mark.parametrize(
    ("address", "module", "extra"),
    [
        ("wandb://a/b", "wandb", "wandb"), ("trackio://a", "trackio", "trackio"),
        ("mlflow://a", "mlflow.tracking", "mlflow"), ("hf://a/b", "fsspec", "hub"),
        ("s3://a/b.csv", "fsspec", "s3"), ("https://h/a.csv", "fsspec", "remote"),
    ],
)  # fmt: skip
def test_a_missing_client_names_the_command(monkeypatch, address, module, extra):
    for name in {module, module.partition(".")[0]}:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"pip install 'sae-frontier\[{extra}\]'"):
        frontier.read(address)


@pytest.mark.parametrize("name", ["run-a.wandb", "events.out.tfevents.1.host.2.0"])
def test_a_log_names_the_command_too(monkeypatch, tmp_path, name):
    for module in ("wandb", "tensorboard", "wandb.proto.wandb_internal_pb2"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing.event_file_loader", None)
    (tmp_path / name).write_bytes(b":W&B\xe1\xbe\x00" + bytes(20))
    extra = "wandb" if name.endswith(".wandb") else "tensorboard"
    with pytest.raises(TableError, match=rf"pip install 'sae-frontier\[{extra}\]'"):
        frontier.read(tmp_path / name)
