"""A small run on the shipped model, finished once, copied for each test that spoils it; and the command."""

import email
import sys
from pathlib import Path

from trainers import cli
from trainers.config import checked
from trainers.sae_files import load_saes

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
    return checked(plain)


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
