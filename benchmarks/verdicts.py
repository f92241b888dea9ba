"""The acceptance table of verdicts: `python -m benchmarks.verdicts` prints it and writes its JSON.

Every row states what must hold, what was found, and the worst cell. Seeds are fixed in the parts, before any
run; `--tables` and `--quick` make it smaller, `--only` measures some parts again. Rows marked "real" need a
file that is not part of the repository, and say so where it is absent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measuring import arguments, circumstances, folder_of, write
from benchmarks.verdict_parts import (
    larger,
    noise,
    planning,
    pooling,
    real_pairs,
    selection,
    simulated,
    unlike_slopes,
)


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


Made = pd.DataFrame | dict[str, float] | float | None


def parts(n: int, designs: tuple[str, ...]) -> dict[str, Callable[[], Made]]:
    """What is measured, by name; None where a file is absent."""
    return {
        "equal families": lambda: simulated.equal_families(n, designs=designs),
        "bent shapes": lambda: simulated.bent_shapes(n // 4),
        "five equal families": lambda: simulated.five_families(n),
        "unlike slopes": lambda: unlike_slopes.unlike_slopes(n // 4),
        "unlike noise": lambda: simulated.unlike_noise(n),
        "larger tables": lambda: larger.equal(n),
        "differences in larger tables": lambda: larger.different(n),
        "equal search": lambda: simulated.searched(n),
        "dependent errors": lambda: simulated.dependent_errors(n),
        "power": lambda: simulated.power(n),
        "true crossing": lambda: simulated.true_crossing(n),
        "widths": lambda: simulated.widths(max(n // 10, 20)),
        "negative hits": lambda: simulated.negative_hit(60),
        "one negative hit": noise.one_negative_hit,
        "real pairs": real_pairs.comparison,
        "real left out": real_pairs.left_out,
        "pooling": lambda: pooling.further_cell(n),
        "selection": lambda: selection.printed_probability(n),
        "planning": lambda: planning.halving(max(n // 10, 20)),
    }


def judged(name: str, frame: Any) -> list[Row]:
    """The rows of the table that a part gives."""
    if name == "equal families":
        return equal(frame)
    if name == "bent shapes":
        worst, mean = _worst(frame, "coverage", "idxmin"), frame["coverage"].mean()
        met = bool(frame["coverage"].min() >= 0.85 and mean >= 0.93)
        return [
            _at_most(frame, "false verdicts", "potency 1, 1.3, 3 on bent curves: wrong verdicts", 0.07),
            Row("its coverage there", "≥ 85 % in every cell, mean ≥ 93 %", f"mean {mean:.1%}, {worst}", met),
        ]
    if name == "five equal families":
        return [_at_most(frame, "any false verdict", name, 0.07)]
    if name == "unlike slopes":
        return [
            _held(frame, "coverage", "potency of curves of unlike slopes: coverage", 0.90),
            _held(frame, "band", "its band holds at all hits", 0.85),
            _held(frame, "hit ratio", "hit ratio there: coverage", 0.88),
        ]
    if name == "unlike noise":
        known = f"{frame['coverage'].mean():.1%}, {_worst(frame, 'coverage', 'idxmin')}"
        met = bool(frame["coverage"].min() >= 0.85)
        return [
            _at_most(frame, "false verdicts", "equal families, one with 3 or 7 times the noise", 0.07),
            Row("its coverage there", "≥ 85 % in every cell", f"mean {known}", met),
        ]
    if name in ("larger tables", "differences in larger tables"):
        return on_larger_tables(frame)
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
    if name == "one negative hit":
        met = bool(abs(frame / 3 - 1) <= 0.01)
        return [Row("one hit of -.0004 on exact curves", "k ratio 3.00 within 1 %", f"{frame:.3f}", met)]
    if name in ("real pairs", "real left out"):
        return on_real_saes(name, frame)
    if name == "selection":
        part = frame[(frame["printed"] >= 0.7) & (frame["printed"] <= 0.9)]
        text = ", ".join(f"{p:.2f}: {r:.0%}" for p, r in zip(part["printed"], part["right"], strict=True))
        met = bool(part["right"].between(0.65, 0.92).all())
        return [Row("select_curve's probability", "printed .7 to .9 is right in 65 to 92 %", text, met)]
    if name == "planning":
        reached = frame["reached"]
        text = f"mean {reached.mean():.0%}, {_worst(frame, 'reached', 'idxmin')}"
        return [Row("plan reaches its width", "≥ 75 % of noisy tables", text, bool(reached.mean() >= 0.75))]
    share = frame["further cell covered"]
    text = f"mean {share.mean():.1%}, {_worst(frame, 'further cell covered', 'idxmin')}"
    met = bool(share.min() >= 0.91 and 0.94 <= share.mean() <= 0.975)
    return [Row("pooled: a further cell", "≥ 91 % in every cell, mean 94 to 97.5 %", text, met)]


def on_larger_tables(frame: pd.DataFrame) -> list[Row]:
    """The worst of a design's curves, at each potency; a loud family's power as at 10 % noise."""
    rows = []
    different = "potency" in frame
    written = frame.round(4)
    for key, cells in written.groupby(["design", "potency"] if different else ["design"], sort=False):
        of, covered = f"of {cells['tables'].iloc[0]:,} tables", cells["coverage"]
        if different:
            least = 0.45 if key[1] == f"{larger.LOUD_BETTER:g}" else 0.9
            better, worse = cells["better"].min(), cells["worse"].max()
            met = bool(better >= least and worse <= 0.003)
            must, found = f"≥ {least:.0%}, worse ≤ 0.3 %", f"{better:.1%} {of}, worse {worse:.1%}"
            rows.append(Row(f"better at potency {key[1]}: {key[0]}", must, found, met))
        else:
            false = cells["any false verdict"].max()
            must = "any told apart ≤ 5 %, coverage 93 to 97.5 %"
            met = bool(false <= 0.05 and covered.between(0.93, 0.975).all())
            span = sorted({f"{covered.min():.1%}", f"{covered.max():.1%}"})
            rows.append(Row(f"equal: {key[0]}", must, f"{false:.1%} {of}, coverage {' to '.join(span)}", met))
    return rows


def on_real_saes(name: str, found: Any) -> list[Row]:
    """The rows marked real; where the file is absent, they say so."""
    absent = f"not measured: no {real_pairs.FILE.name}"
    if name == "real left out":
        must = "interior ≥ .93, sparsest ≥ .90, densest ≥ .85"
        if found is None:
            return [Row("real: an SAE left out is predicted", must, absent, None)]
        rows = []
        for band, part in found.groupby("band", sort=False):
            held = part.set_index("place")["held"]
            text = ", ".join(f"{place} {held[place]:.2f}" for place in ("densest", "interior", "sparsest"))
            met = bool(held["interior"] >= 0.93 and held["sparsest"] >= 0.9 and held["densest"] >= 0.85)
            rows.append(Row(f"real: an SAE left out is predicted by {band}", must, text, met))
        return rows
    if found is None:
        return [Row("real: half-width, interpolation inside", "≤ .12; ≥ 90 % at three places", absent, None)]
    inside = [found[f"interpolated inside, {p}"] for p in real_pairs.PLACES]
    half, told = found["median half-width"], ", ".join(f"{v:.0%}" for v in inside)
    return [
        Row("real: median half-width of log potency", "≤ .12", f"{half:.3f}", half <= 0.12),
        Row("real: interpolated value inside", "≥ 90 % dense, middle, sparse", told, min(inside) >= 0.9),
    ]


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with rounded numbers, ready for JSON."""
    words = {c: frame[c].astype(str) for c in frame.select_dtypes("category")}
    return frame.assign(**words).round(4).to_dict("records")


def _at_most(frame: pd.DataFrame, column: str, name: str, most: float) -> Row:
    return Row(name, f"≤ {most:.0%}", _worst(frame, column, "idxmax"), bool(frame[column].max() <= most))


def _held(frame: pd.DataFrame, column: str, name: str, least: float) -> Row:
    mean = frame[column].mean()
    found = f"mean {mean:.1%}, {_worst(frame, column, 'idxmin')}"
    met = bool(frame[column].min() >= least and mean >= 0.93)
    return Row(name, f"≥ {least:.0%} in every cell, mean ≥ 93 %", found, met)


def _worst(frame: pd.DataFrame, column: str, pick: str) -> str:
    """The worst cell's share, and its name."""
    r = frame.loc[getattr(frame[column], pick)()]
    places = {c: r[c] for c in frame if frame[c].dtype != float or c == "tau"}
    name = ", ".join(v if isinstance(v, str) else f"{c} {v:g}" for c, v in places.items())
    return f"worst {r[column]:.1%} ({name})"


def main() -> None:
    """Print and write the table."""
    parser = arguments(__doc__, "50 tables a cell, two designs")
    parser.add_argument("--tables", type=int, default=2000, help="simulated tables per cell")
    parser.add_argument("--only", nargs="+", help="parts to measure again, the others as they were")
    options = parser.parse_args()
    tables = 50 if options.quick else options.tables
    designs = ("8/8", "4/4") if options.quick else tuple(simulated.DESIGNS)
    todo = parts(tables, designs)
    folder = folder_of(options)
    now = circumstances("numpy", "scipy", "pandas")
    record: dict[str, Any] = now
    if options.only:
        record = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
    kept: dict[str, Any] = record.get("parts", {})
    wanted = options.only or list(todo)
    for name in track(wanted, description="parts"):
        start = time.process_time()
        made = todo[name]()
        cells = _plain(made) if isinstance(made, pd.DataFrame) else made
        rows = [asdict(r) for r in judged(name, made)]
        seconds = round(time.process_time() - start, 1)
        kept[name] = {"rows": rows, "cells": cells, "tables": tables, "cpu_seconds": seconds}
        if options.only:
            kept[name]["measured"] = now
    shown = {name: kept[name] for name in todo if name in kept}
    table = Table("what", "must show", "found", "met", title=f"Verdicts, {tables} tables a cell")
    for row in (r for part in shown.values() for r in part["rows"]):
        table.add_row(
            row["what"], row["must"], row["found"], {True: "yes", False: "NO", None: "—"}[row["met"]]
        )
    Console(width=150).print(table)
    content = {**record, "parts": shown}
    total = sum(p["cpu_seconds"] for p in shown.values())
    print(f"wrote {write('verdicts', content, folder)}, {total:.0f} CPU-seconds")


if __name__ == "__main__":
    main()
