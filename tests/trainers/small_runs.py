"""A small run on the shipped model, finished once, copied for each test that spoils it; and the command."""

import email
import sys
from pathlib import Path

import pytest

from trainers import cli
from trainers.config import checked
from trainers.run import Run
from trainers.sae_files import load_saes
from trainers.train import train

TEXT = [str(p) for p in sorted(Path(email.__file__).parent.glob("*.py"))]
"""A small part of Python's own sources: the whole held-out part of a text is read."""
FAMILIES = [{"architecture": "relu", "settings": [1.0, 4.0]}, {"architecture": "topk", "settings": [4]}]


def small(families=FAMILIES, **sections):
    plain = {
        "activations": {"text": TEXT, "tokens": 6000, "buffer_tokens": 4096},
        "training": {"steps": 12, "batch_size": 256, "dictionary_size": 64, "checkpoint_every": 5},
        "evaluation": {"windows": 4, "batch_size": 2},
        "families": families,
    }
    for name, values in sections.items():
        plain[name] = plain.get(name, {}) | values
    if plain["activations"].get("files"):  # rows are their own text
        plain["activations"]["text"] = "standard-library"
    return checked(plain)


def stopped_at(step, config, folder):
    """Train until the checkpoint of a step is written, and go no further."""

    class Enough(Exception):
        pass

    save = Run.save

    def until_then(self, folder):
        save(self, folder)
        if self.step == step:
            raise Enough

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Enough):
        patch.setattr(Run, "save", until_then)
        train(config, folder, progress=False)


def weights(folder):
    return {s.identity["run_id"]: s.parameters for s in load_saes(folder / "saes")}


def said(monkeypatch, capsys, *words):
    """Exit code of the command, and what it printed and complained, each in one line."""
    monkeypatch.setattr(sys, "argv", ["sae-train", *map(str, words)])
    try:
        cli.main()
        code = 0
    except SystemExit as stopped:
        code = stopped.code or 0
    out, err = (" ".join(text.split()) for text in capsys.readouterr())
    return code, out, err
