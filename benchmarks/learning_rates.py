"""Does a default learning rate handicap its architecture? L0 at equal hit, over a grid of rates.

`python -m benchmarks.learning_rates` trains every built-in architecture, for 300 and for 1,000 steps, at each
rate of a grid (1/3, 1, 3 and 9 times 5e-3, and the default where it is another one), three sparsity settings
each: at the demonstration's site of the shipped model, or on draws from 512 known features in 64 dimensions
(`--stream synthetic`). A rate is a family: `frontier.compare` says, on the shared shape, how many times less
L0 each needs than the default at equal hit (equal FVU, where no model reads the draws); the largest is what
it loses. Rates that were measured before are kept and not trained again (`--again` does), so that
`--rates` adds some.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tabulate import tabulate

import frontier
from benchmarks.measuring import RESULTS, arguments, between, circumstances, folder_of, write
from frontier.writing import write_text
from trainers.activations import StoredActivations
from trainers.activations.truth import ground_truth
from trainers.architectures import known
from trainers.config import checked
from trainers.evaluate.runs import evaluate_run
from trainers.train import train

PAGE = Path("docs/learning_rates.md")
GRID = tuple(5e-3 * times for times in (1 / 3, 1, 3, 9))
SETTINGS: dict[str, list[float]] = {
    "relu": [1.2, 2.0, 3.5],
    "p_anneal": [0.4, 0.8, 1.5],
    "gated": [2.0, 3.0, 4.5],
    "jumprelu": [0.15, 0.4, 1.0],
    "topk": [5, 10, 20],
    "batch_topk": [5, 10, 20],
    "matryoshka": [5, 10, 20],
    "abs_topk": [5, 10, 20],
    "matching_pursuit": [5, 10, 20],
    "hierarchical_topk": [32],
}
"""Settings whose L0 is about 4 to 50, by architecture; HierarchicalTopK has a row per budget of one."""
MOST = 1.05
"""What a default may lose: its L0 over that of the best rate of the grid, at equal hit."""


COLUMNS = ("stream", "architecture", "steps", "rate", "setting", "l0", "hit", "fvu")
CELL = ["stream", "architecture", "steps"]
STREAMS = ("shipped", "synthetic")
DRAWS = 200_000


def synthetic() -> StoredActivations:
    """Draws from 512 known features in 64 dimensions, 8 of them at a time, with a little noise."""
    truth = ground_truth(512, 64, l0=8.0, noise=0.02, generator=torch.Generator().manual_seed(1))
    drawn, _ = truth.sample(DRAWS, torch.Generator().manual_seed(2))
    return StoredActivations(drawn.numpy(), name="synthetic", site="draws")


def trained(stream: str, name: str, steps: int, rates: Sequence[float], windows: int) -> pd.DataFrame:
    """The SAEs of one architecture at these rates: a row each, `COLUMNS`."""
    families = [
        {"architecture": name, "name": f"{rate:.3g}", "settings": SETTINGS[name], "learning_rate": rate}
        for rate in rates
    ]
    config = checked(
        {
            "activations": {"tokens": 200_000 if stream == "shipped" else "all"},
            "training": {"steps": steps, "dictionary_size": 512, "checkpoint_every": steps},
            "evaluation": {"windows": windows, "batch_size": 8},
            "families": families,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        origin = None if stream == "shipped" else synthetic()
        run = train(config, Path(folder) / "run", progress=False, origin=origin)
        found = evaluate_run(Path(folder) / "run", model=run.model, progress=False)
    found = found.assign(stream=stream, steps=steps, rate=found["family"], setting=found["sparsity_setting"])
    found["hit"] = 1 - found["loss_recovered"]
    return found[list(COLUMNS)].round({"l0": 2, "hit": 4, "fvu": 4})


def against_the_default(saes: pd.DataFrame) -> dict[str, Any]:
    """L0 at equal hit of the default over that of each rate: one architecture at one budget."""
    stream, name, steps = saes[CELL].iloc[0]
    default = f"{known(name).default_rate(steps):.3g}"
    y = "performance_hit" if stream == "shipped" else "fvu"
    table = saes.assign(family=saes["rate"], performance_hit=saes["hit"])
    found = [c.potency for c in frontier.compare(table[["family", "l0", y]], default)]
    over = {
        r.family: [round(float(v), 3) for v in (r.ratio, r.ratio_low, r.ratio_high)]
        for r in found
        if r.ratio == r.ratio
    }
    best = max(over, key=lambda rate: over[rate][0], default=default)
    loses = over[best] if over and over[best][0] > 1 else [1.0, 1.0, 1.0]
    return {
        "stream": stream, "architecture": name, "steps": int(steps), "default": default, "over_default": over,
        "best": best if loses[0] > 1 else default, "default_loses": loses, "met": loses[0] <= MOST,
    }  # fmt: skip


def on_page(text: str, cells: Sequence[dict[str, Any]]) -> str:
    """A page with its table made anew."""
    head = (
        "stream", "architecture", "steps", "default", "best", "L0 of the default over the best's [95 %]",
        f"at most {MOST}", "over each rate's",
    )  # fmt: skip
    shown = [
        (
            c["stream"], c["architecture"], f"{c['steps']:,}", c["default"], c["best"],
            "{:.2f} [{:.2f}, {:.2f}]".format(*c["default_loses"]) if c["best"] != c["default"] else "1",
            "yes" if c["met"] else "**no**",
            ", ".join(f"{k}: {v[0]:.2f}" for k, v in c["over_default"].items()),
        )
        for c in cells
    ]  # fmt: skip
    table = tabulate(shown, head, tablefmt="github", disable_numparse=True)
    return between(text, "rates", table + "\n")


def main() -> None:
    """Measure each architecture at each budget, print, write the result."""
    parser = arguments(__doc__, "40 steps of ReLU alone")
    parser.add_argument("--stream", choices=STREAMS, default=STREAMS[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[300, 1000])
    parser.add_argument("--architectures", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--rates", type=float, nargs="+", default=list(GRID), help="beside the default")
    parser.add_argument("--again", action="store_true", help="train rates that are measured already, too")
    asked = parser.parse_args()
    names, budgets = (["relu"], [40]) if asked.quick else (asked.architectures, asked.steps)
    folder = folder_of(asked)
    for steps, name in product(budgets, names):
        before = measured(folder)
        has = before[(before[CELL] == [asked.stream, name, steps]).all(axis=1)]
        wanted = {f"{rate:.3g}": rate for rate in {*asked.rates, known(name).default_rate(steps)}}
        rates = sorted(r for label, r in wanted.items() if asked.again or label not in set(has["rate"]))
        if rates:
            new = trained(asked.stream, name, steps, rates, 8 if asked.quick else 64)
            before = before[~(before.index.isin(has.index) & before["rate"].isin(new["rate"]))]
            before = pd.concat([before, new], ignore_index=True)
        cells = kept(folder, before)
        mine = [c for c in cells if [c[k] for k in CELL] == [asked.stream, name, steps]]
        print(*map(json.dumps, mine), flush=True)
        if folder == RESULTS:
            write_text(PAGE, on_page(PAGE.read_text(encoding="utf-8"), cells))


def measured(folder: Path) -> pd.DataFrame:
    """The SAEs that were measured before; no rows where there is no result yet."""
    path = folder / "learning_rates.json"
    was = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"saes": [], "columns": COLUMNS}
    return pd.DataFrame(was["saes"], columns=was["columns"])


def kept(folder: Path, saes: pd.DataFrame) -> list[dict[str, Any]]:
    """Write all SAEs; every cell whose default of today is measured, against it."""
    cells = [
        against_the_default(mine)
        for (_, name, steps), mine in saes.groupby(CELL, sort=False)
        if f"{known(name).default_rate(int(steps)):.3g}" in set(mine["rate"])
    ]
    place = [*STREAMS, *map(str, SETTINGS)].index
    cells.sort(key=lambda c: (place(c["stream"]), c["steps"], place(c["architecture"])))
    rows = saes.astype(object).where(saes.notna(), None).to_numpy().tolist()
    content = {"cells": cells, "columns": COLUMNS, "saes": rows}
    write("learning_rates", circumstances("torch", "numpy") | content, folder)
    return cells


if __name__ == "__main__":
    main()
