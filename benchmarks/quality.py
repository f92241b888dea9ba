"""Quality beside other packages: L0 at equal hit, and dead latents, from the same rows in the same order.

`python -m benchmarks.quality` trains ours at their default learning rate and the peers at each of several,
all of equal width, steps, batches and schedule, evaluates all by one evaluator, and writes each cell to
`benchmarks/results/quality.json` as soon as it is there; cells that are there already are not trained again
(`--again ours` does). Peers train in environments of their own (those of `make interop`). `frontier.compare`
says how many times less L0 ours needs at equal hit; of a peer's rates its best one counts. The table goes to
docs/quality.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from benchmarks.measuring import RESULTS, arguments, circumstances, folder_of, write
from benchmarks.quality_parts import page
from benchmarks.quality_parts.comparing import cells_of, ratio_over
from benchmarks.quality_parts.design import (
    ARCHITECTURES,
    FIRST,
    METHODS,
    OURS,
    PEERS,
    Cell,
    Place,
    is_cell,
    next_rate,
)
from benchmarks.quality_parts.measured import COLUMNS, Evaluator, error_of_conversion, ours, theirs
from benchmarks.quality_parts.peers import CHECKED, Rows
from benchmarks.quality_parts.sites import BATCH, FOLDER, SITES, configuration, rows_of
from benchmarks.training import python_of, version_of

Record = dict[str, Any]
WINDOWS = 128


class Bench:
    """The result file, and what trains and measures into it."""

    def __init__(self, folder: Path, windows: int) -> None:
        self.folder, self.windows = folder, windows
        self.record: Record = self.written()

    def written(self) -> Record:
        """What the result file holds; several processes may write to it."""
        path = self.folder / "quality.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"cells": []}

    def has(self, cell: Cell) -> bool:
        """Whether a cell is measured."""
        return any(is_cell(c, cell) for c in self.record["cells"])

    def keep(self, cell: Cell, more: Record, versions: Record) -> None:
        """Write a cell at once."""
        FOLDER.mkdir(exist_ok=True)
        with FileLock(FOLDER / "quality.lock"):
            self.record = self.written()
            others = [c for c in self.record["cells"] if not is_cell(c, cell)]
            self.record["cells"] = [*others, cell.plain() | more]
            versions = self.record.get("versions", {}) | versions
            self.record |= circumstances() | {"versions": versions, "columns": COLUMNS}
            write("quality", self.record, self.folder)
        print(json.dumps(cell.plain() | more), flush=True)

    def forget(self, place: Place, method: str, architectures: Sequence[str]) -> None:
        """Take cells out, to be trained again."""
        with FileLock(FOLDER / "quality.lock"):
            self.record = self.written()
            self.record["cells"] = [
                c
                for c in self.record["cells"]
                if not any(c in cells_of([c], place, method, a) for a in architectures)
            ]
            write("quality", self.record, self.folder)

    def train_ours(self, cells: Sequence[Cell]) -> None:
        """Train and measure our cells of one place."""
        evaluator = None
        for cell in (c for c in cells if not self.has(c)):
            start = time.process_time()
            saes, rate = ours(cell, self.windows)
            seconds = round(time.process_time() - start, 1)
            evaluator = evaluator or Evaluator(configuration(cell.place, ["topk"], [0], self.windows))
            own = {"rate": rate, "cpu_seconds": seconds, "saes": evaluator(saes)}
            self.keep(cell, own, circumstances("torch", "numpy")["versions"])

    def train_peer(self, place: Place, method: str, cells: Sequence[Cell]) -> None:
        """Train a peer's cells of one place in its environment, and measure each as soon as it is there."""
        cells = [c for c in cells if not self.has(c)]
        if not cells:
            return
        package = PEERS[method]
        python = python_of(package)
        versions = {package: version_of(python, package)}
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            path, scaling = rows_of(place, folder)
            first = Rows(str(path), BATCH, place.steps).first(CHECKED)
            evaluator = Evaluator(configuration(place, ["topk"], [0], self.windows))
            for done in lines_of(python, method, place, cells, path):
                cell, own = cells[done.pop("number")], Path(done.pop("folder"))
                saes = theirs(own, cell, scaling)
                error = error_of_conversion(own, cell, saes, first, scaling)
                done |= {"conversion": float(f"{error:.2g}"), "saes": evaluator(saes)}
                self.keep(cell, done, versions)


def lines_of(python: Path, method: str, place: Place, cells: Sequence[Cell], rows: Path) -> Iterator[Record]:
    """What the process of a peer says after each cell.

    Raises
    ------
    RuntimeError
        If it ends before the last.
    """
    job = {
        "method": method, "rows": str(rows), "folder": str(rows.parent / "saes"), "batch": BATCH,
        "steps": place.steps, "cells": [c.plain() | {"settings": c.settings} for c in cells],
    }  # fmt: skip
    script = Path(__file__).parent / "quality_parts" / "peers.py"
    environment = os.environ | {"PYTHONPATH": "", "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(
        [str(python), "-P", str(script), json.dumps(job)], stdout=subprocess.PIPE, stderr=errors,
        text=True, env=environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("CELL"):
                found = json.loads(line[4:])
                yield found | {"folder": str(rows.parent / "saes" / str(found["number"]))}
        if process.wait():
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"{method} ended: {last[:300]}")


def measure(bench: Bench, place: Place, asked: Any) -> None:
    """All asked cells of one place: ours, then each peer at its first rates, then beyond the better one."""
    for method in asked.again or ():
        bench.forget(place, method, asked.architectures)
    if OURS in asked.methods:
        bench.train_ours([Cell(place, OURS, a, None, s) for s in asked.seeds for a in asked.architectures])
    for method in (m for m in asked.methods if m != OURS):
        rates = asked.rates or FIRST
        first = [Cell(place, method, a, r, asked.seeds[0]) for a in asked.architectures for r in rates]
        bench.train_peer(place, method, first)
        while not asked.rates:
            found = {a: ratio_over(bench.record["cells"], place, method, a) for a in asked.architectures}
            more = {a: next_rate(ratios) for a, ratios in found.items() if len(ratios) > 1}
            new = [Cell(place, method, a, r, asked.seeds[0]) for a, r in more.items() if r is not None]
            new = [c for c in new if not bench.has(c)]
            if not new:
                break
            bench.train_peer(place, method, new)
        best = {a: ratio_over(bench.record["cells"], place, method, a) for a in asked.architectures}
        again = [
            Cell(place, method, a, min(r, key=lambda x: r[x]), s)
            for s in asked.seeds[1:] for a, r in best.items() if r
        ]  # fmt: skip
        bench.train_peer(place, method, again)


def main() -> None:
    """Train and measure what is not there yet, print, write the result and the page."""
    parser = arguments(__doc__, "20 steps of TopK, ours alone")
    parser.add_argument("--sites", nargs="+", choices=SITES, default=list(SITES))
    parser.add_argument("--expansions", nargs="+", type=int, default=[4, 32])
    parser.add_argument("--steps", nargs="+", type=int, default=[600, 3000])
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rates", nargs="+", type=float, help="of the peers, instead of a search")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--again", nargs="+", choices=METHODS, help="train these methods' cells anew")
    parser.add_argument("--page", action="store_true", help="train nothing, write the page")
    asked = parser.parse_args()
    if asked.quick:
        asked.sites, asked.expansions, asked.steps = ["shipped"], [4], [20]
        asked.architectures, asked.methods, asked.seeds = ["topk"], [OURS], [0]
    torch.set_num_threads(1)
    folder = folder_of(asked)
    bench = Bench(folder, 8 if asked.quick else WINDOWS)
    for steps in asked.steps:
        for site in asked.sites:
            for expansion in () if asked.page else asked.expansions:
                measure(bench, Place(site, expansion, steps), asked)
    if folder == RESULTS:
        page.write(bench.record)


if __name__ == "__main__":
    main()
