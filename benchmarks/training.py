"""CPU time of one training step of a family: ours and other libraries', as a ratio to the bare products.

`python -m benchmarks.training` prints the table and writes `benchmarks/results/training.json`. Each library
runs on one thread in its own environment (made in `.bench/` at the first run, skipped with a reason where
that fails), on the same activations. In each process its steps take turns with the dense floor: for every
member the five products of a dense step (encoder, decoder, and the gradients of decoder, codes and encoder)
and nothing else. Process CPU time; the ratio is the median over the rounds. Weights and thresholds are set so
that the codes have the density that is named, and do not move.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import arguments, circumstances, environment, folder_of, write
from benchmarks.training_steps import ARCHITECTURES, STEPS, Shape

SHAPES = [
    Shape(128, 1024, 8), Shape(64, 1024), Shape(512, 1024), *(Shape(d, 4096) for d in (64, 128, 512)),
]  # fmt: skip
"""A family of 8 once, then other shapes with one member."""
OURS = [
    ("relu", 0.4), ("relu", 0.1), ("relu", 0.03), ("gated", 0.4), ("gated", 0.03), ("jumprelu", 0.3),
    ("jumprelu", 0.1), ("jumprelu", 0.03), *((n, k) for n in ARCHITECTURES[3:] for k in (0.01, 0.03, 0.05)),
]  # fmt: skip
"""Architecture and density of its codes (for Gated of its gates, for the TopK kinds k/F)."""
OTHERS = [(n, 0.03) for n in ARCHITECTURES]
"""The others' steps are dense: only their selection depends on k."""
PEERS = {
    "dictionary_learning": "dictionary-learning",
    "sae_lens": "sae-lens",
    "sae_lens_multi": "sae-lens",
    "sparsify": "eai-sparsify",
}
FLOOR = "per member: 5 products (encoder, decoder, dW_dec, df, dW_enc)"


def python_of(package: str) -> Path:
    """The interpreter of an environment that has a package, made where there is none.

    Raises
    ------
    RuntimeError
        If the package cannot be installed.
    """
    for folder in (Path(".bench"), Path(".interop")):
        found = folder / package / "bin" / "python"
        if (folder / package / ".ready").exists():
            return found
    found = environment(package, f"torch=={torch.__version__.split('+')[0]}", package)
    # dictionary-learning brings a torchvision with which transformers cannot be imported on a CPU torch.
    pip = [str(found), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "uninstall", "--yes", "torchvision"], check=True, capture_output=True)
    return found


def run(python: Path, method: str, shape: Shape, cells: list[tuple[str, float]]) -> list[dict[str, Any]]:
    """The cells of one shape by one method, from a process of its own."""
    steps = Path(__file__).with_name("training_steps.py")
    # -P: numba asks for a package named coverage, which a module beside the script would answer.
    command = [str(python), "-P", str(steps), json.dumps([method, asdict(shape), cells])]
    path = {"PYTHONPATH": str(Path.cwd()) if method == "ours" else ""}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | path)
    lines = [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("CELL")]
    if len(lines) < len(cells):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        lines += [{"method": method, **asdict(shape), "failed": f"process ended: {last}"[:200]}]
    return lines


def version_of(python: Path, package: str) -> str:
    """Version of a package in an environment."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def main() -> None:
    """Run, print, write after each shape."""
    parser = arguments(__doc__, "ours alone, one small shape")
    parser.add_argument("--ours", action="store_true", help="measure ours anew; the others stay as they are")
    asked = parser.parse_args()
    folder = folder_of(asked)
    record: dict[str, Any] = {
        **circumstances("torch"), "threads": 1, "batch": SHAPES[0].batch, "steps": STEPS, "floor": FLOOR,
        "skipped": {}, "cells": [],
    }  # fmt: skip
    methods = {"ours": (Path(sys.executable), OURS)}
    if asked.ours:
        last = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        record["cells"] = [c for c in last["cells"] if c["method"] != "ours"]
        record["versions"] = last["versions"] | record["versions"]
        record["others_measured"] = last.get("others_measured", last["date"])
    for method, package in PEERS.items() if not (asked.quick or asked.ours) else ():
        try:
            python = python_of(package)
            record["versions"][package] = version_of(python, package)
            cells = [c for c in OTHERS if method != "sparsify" or c[0] == "topk"]
            methods[method] = (python, cells)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            record["skipped"][method] = str(error)
    for shape in [Shape(64, 256)] if asked.quick else SHAPES:
        for method, (python, cells) in methods.items():
            for cell in run(python, method, shape, cells):
                record["cells"].append(cell)
                shown = cell.get("ratio", cell.get("failed"))
                print(
                    *(cell.get(k, "") for k in ("d", "F", "method", "architecture", "density")),
                    shown,
                    flush=True,
                )
        write("training", record, folder)


if __name__ == "__main__":
    main()
