"""Other tools' own clients, run for real and offline; `make clients` installs them, tests skip without."""

import importlib

import pytest

THEIR_WARNINGS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
"""Of clients about their own parts."""


@pytest.fixture(autouse=True)
def stay_offline(monkeypatch, tmp_path):
    """No client reaches a network, and each keeps its files below the test's folder."""
    for name in ("HF_HUB_OFFLINE", "WANDB_DISABLE_CODE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("USER", "alice_private")
    monkeypatch.setenv("LOGNAME", "alice_private")
    for name in ("WANDB_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, "secret_token_0123456789")


def trackio_at(folder, monkeypatch):
    """Let Trackio keep its store in a folder of the test (it takes TRACKIO_DIR only when it is imported)."""
    for name in ("trackio", "trackio.utils", "trackio.sqlite_storage"):
        module = importlib.import_module(name)
        if hasattr(module, "TRACKIO_DIR"):
            monkeypatch.setattr(module, "TRACKIO_DIR", folder)
