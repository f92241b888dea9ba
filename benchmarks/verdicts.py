"""The acceptance table of verdicts: `python -m benchmarks.verdicts` prints it and writes its JSON.

Every row states what must hold, what was found, and the worst cell. Seeds are fixed in the parts, before any
run; `--tables` and `--quick` make it smaller. Rows marked "real" need a file that is not part of the
repository, and say so where it is absent.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measuring import arguments, circumstances, folder_of, write
from benchmarks.verdict_parts import pooling, real_pairs, simulated


@dataclass(frozen=True)
class Row:
    """One row of the acceptance table; `met` is None where nothing could be measured."""

    what: str
    must: str
    found: str
    met: bool | None


def equal(frame: pd.DataFrame) -> list[Row]:
    """False verdicts and coverage where families are equal."""
    small = frame["design"] == "4/4"
    rows = []
    for name, part, most in (
        ("equal families", frame[~small], 0.07),
        ("equal families, 4/4", frame[small], 0.08),
    ):
        share = part["false verdicts"]
        mean = f", mean {share.mean():.1%}" if most == 0.07 else ""
        must = f"≤ {most:.0%} in every cell" + (", mean ≤ 5.8 %" if mean else "")
        met = bool(share.max() <= most and (share.mean() <= 0.058 or not mean))
        rows.append(Row(name, must, f"{_worst(part, 'false verdicts', 'idxmax')}{mean}", met))
    covered = frame["coverage"]
    worst = f"mean {covered.mean():.1%}, {_worst(frame, 'coverage', 'idxmin')}, most {covered.max():.1%}"
    rows.append(Row("coverage of the potency", "93 to 97.5 %", worst, bool(0.93 <= covered.mean() <= 0.975)))
    return rows


def others(n: int) -> list[tuple[str, Any]]:
    """Names of the other parts, and what makes them."""
    return [
        ("five equal families", lambda: simulated.five_families(n)),
        ("equal search", lambda: simulated.searched(n // 2)),
        ("dependent errors", lambda: simulated.dependent_errors(n)),
        ("power", lambda: simulated.power(n)),
        ("true crossing", lambda: simulated.true_crossing(n)),
        ("widths", lambda: simulated.widths(max(n // 10, 20))),
        ("negative hits", lambda: simulated.negative_hit(60)),
        ("pooling", lambda: pooling.further_cell(n)),
    ]


def judged(name: str, frame: pd.DataFrame) -> list[Row]:
    """The rows of the table that a part gives."""
    if name == "five equal families":
        return [_at_most(frame, "any false verdict", name, 0.07)]
    if name == "equal search":
        one, several = (frame[(frame["runs per setting"] > 1) == s] for s in (False, True))
        return [
            _at_most(one, "false verdicts", "equal search, one run a setting", 0.07),
            _at_most(several, "false verdicts", "equal search, several runs a setting", 0.08),
        ]
    if name == "dependent errors":
        return [_at_most(frame, "false and not in doubt", "AR(1), seed offset: false and not in doubt", 0.10)]
    if name == "power":
        out = []
        for noise, least in (("5%", 0.90), ("10%", 0.45)):
            r = frame[(frame["noise"] == noise) & (frame["truth"] == "Hill")].iloc[0]
            must = f"≥ {least:.0%}, worse ≤ 0.3 %"
            met = bool(r["better"] >= least and r["worse"] <= 0.003)
            out.append(
                Row(
                    f"better at potency 1.2, {noise} noise",
                    must,
                    f"{r['better']:.1%}, worse {r['worse']:.1%}",
                    met,
                )
            )
        return out
    if name == "true crossing":
        r = frame.iloc[0]
        text = f"{r['crossing']:.1%}, better or worse {r['better or worse']:.1%}"
        met = bool(r["crossing"] >= 0.8 and r["better or worse"] <= 0.1)
        return [Row("truly crossing", "crossing ≥ 80 %, better or worse ≤ 10 %", text, met)]
    if name == "widths":
        true = frame[frame["truth"] == "Hill"]["ratio"].max()
        false = frame[frame["truth"] != "Hill"]["ratio"].max()
        must = "≤ 1.1 where Hill is true, ≤ 0.5 at 2 % noise where not"
        return [
            Row("width over Hill's", must, f"{true:.2f}, {false:.2f}", bool(true <= 1.1 and false <= 0.5))
        ]
    if name == "negative hits":
        r = frame.iloc[0]
        text = (
            f"{r['finite limits']:.0%} finite, SD {r['SD of log potency']:.3f}, coverage {r['coverage']:.0%}"
        )
        met = bool(r["finite limits"] == 1 and r["SD of log potency"] <= 0.05)
        return [Row("noisy sets with negative hits", "no infinite limit, SD ≤ .05", text, met)]
    share = frame["further cell covered"]
    text = f"mean {share.mean():.1%}, {_worst(frame, 'further cell covered', 'idxmin')}"
    met = bool(share.min() >= 0.91 and 0.94 <= share.mean() <= 0.975)
    return [Row("pooled: a further cell", "≥ 91 % in every cell, mean 94 to 97.5 %", text, met)]


def on_real_saes() -> tuple[list[Row], dict[str, float] | None]:
    """The rows marked real_pairs."""
    found = real_pairs.comparison()
    if found is None:
        absent = f"not measured: {real_pairs.FILE} is absent"
        return [
            Row("real: half-width, interpolation inside", "≤ .12; ≥ 90 % at three places", absent, None)
        ], None
    inside = [found[f"interpolated inside, {p}"] for p in real_pairs.PLACES]
    half = found["median half-width"]
    return [
        Row("real: median half-width of log potency", "≤ .12", f"{half:.3f}", half <= 0.12),
        Row(
            "real: interpolated value inside", "≥ 90 % dense, middle, sparse",
            ", ".join(f"{v:.0%}" for v in inside), min(inside) >= 0.9,
        ),
    ], found  # fmt: skip


def _at_most(frame: pd.DataFrame, column: str, name: str, most: float) -> Row:
    return Row(name, f"≤ {most:.0%}", _worst(frame, column, "idxmax"), bool(frame[column].max() <= most))


def _worst(frame: pd.DataFrame, column: str, pick: str) -> str:
    """The worst cell's share, and its name."""
    r = frame.loc[getattr(frame[column], pick)()]
    name = ", ".join(f"{v}" for c, v in r.items() if not isinstance(v, float) or c in ("tau",))
    return f"worst {r[column]:.1%} ({name})"


def main() -> None:
    """Print and write the table."""
    parser = arguments(__doc__, "50 tables a cell, two designs")
    parser.add_argument("--tables", type=int, default=2000, help="simulated tables per cell")
    options = parser.parse_args()
    tables = 50 if options.quick else options.tables
    start = time.process_time()
    designs = ("8/8", "4/4") if options.quick else tuple(simulated.DESIGNS)
    frames = {"equal families": simulated.equal_families(tables, designs=designs)}
    rows = equal(frames["equal families"])
    for name, make in track(others(tables), description="parts"):
        frames[name] = make()
        rows += judged(name, frames[name])
    told, found = on_real_saes()
    rows += told
    seconds = time.process_time() - start
    table = Table("what", "must show", "found", "met", title=f"Verdicts, {tables} tables a cell")
    for row in rows:
        table.add_row(row.what, row.must, row.found, {True: "yes", False: "NO", None: "—"}[row.met])
    Console(width=150).print(table)
    content = {
        **circumstances("numpy", "scipy", "pandas"), "tables": tables, "cpu_seconds": round(seconds, 1),
        "rows": [asdict(r) for r in rows], "real": found,
        "cells": {name: frame.round(4).to_dict("records") for name, frame in frames.items()},
    }  # fmt: skip
    print(f"wrote {write('verdicts', content, folder_of(options))}, {seconds:.0f} CPU-seconds")


if __name__ == "__main__":
    main()
