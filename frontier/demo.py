"""The demonstration: Gated against baseline SAEs on Gemma-7B, layer 20, from the published tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markdown import Markdown

from frontier import figures, tables, terminal
from frontier.comparison import Comparisons, compare
from frontier.datasets import load_dataset
from frontier.metrics import notes
from frontier.outputs import write_comparison, write_figure, write_table
from frontier.pareto import mark_pareto, pareto_set
from frontier.pareto.marks import mark_differences
from frontier.problems import parameter
from frontier.ratios import leave_one_out_ratios
from frontier.text_tables import terminal_width, text_table
from frontier.wording import interval_cell, number, p_value_cell

LAYER = 20
MAX_L0 = 200.0
"""The range of L0 in the paper's figure 1, and the cut under which the post's ratios come out."""


def run(out: Path, console: Console) -> list[Path]:
    """Print the comparison, write figures and tables to `out`, return the files."""
    table = load_dataset("gated_gemma7b")
    layer = table[table["layer"] == LAYER]
    say(
        console,
        "Gated against baseline SAEs, Gemma-7B, layer 20",
        "Published tables 1-4 of Rajamanoharan et al., arXiv 2404.16014 v2; least squares in y (additive "
        "errors), as in the post that first fitted Hill curves to them.",
    )
    for note in notes(table):
        terminal.say(note, "* ", "dim")
    full = compare(layer, "baseline", errors="additive")
    cut = compare(layer, "baseline", errors="additive", max_l0=MAX_L0)
    line = compare(layer, "baseline", errors="additive", curve="linear")
    console.print()
    terminal.show_result(full, all_with=f"{out}/comparison.json")
    say(
        console,
        "Ratios of the fitted parameters",
        "k and n of Hill curves, as the literature quotes them; every k lies outside the data.",
    )
    lines = parameter_lines({"Hill": full, f"Hill, L0 ≤ {MAX_L0:g}": cut, "line": line})
    terminal.show(lines)
    console.print()
    for sentence in decisive_rows(full, cut):
        terminal.say(sentence, "* ")
    say(console, "Observed ratios", "Interpolated between Pareto points; no curve, no extrapolation.")
    terminal.show_result(full.observed, verbose=True)
    say(console, "The paper's Pareto marks against the computed set", "All layers. Both marks are kept.")
    for sentence in mark_differences(mark_pareto(table)):
        terminal.say(sentence, "* ")
    return write(layer, full, cut, out)


def say(console: Console, title: str, text: str) -> None:
    """A heading and a line under it."""
    console.print()
    console.print(Markdown(f"## {title}\n\n{text}"))
    console.print()


def parameter_lines(comparisons: dict[str, Comparisons]) -> str:
    """One line per site, fit and parameter: both values, the ratio with its interval, its p value."""
    rows = []
    for name, found in comparisons.items():
        frame = found.ratios.to_frame()
        frame.insert(0, "fit", name)
        rows.append(frame[frame["quantity"].isin(["k", "n", "slope", "intercept"])])
    joined = pd.concat(rows)
    cells = [
        (
            r.site, r.fit, r.quantity, interval_cell(r.ratio, r.ratio_low, r.ratio_high), number(1 / r.ratio),
            p_value_cell(r.p_value),
        )
        for r in joined.itertuples()
    ]  # fmt: skip
    order = {s: i for i, s in enumerate(dict.fromkeys(joined["site"]))}
    cells.sort(key=lambda c: order[c[0]])
    headers = ("site", "fit", "parameter", "gated / baseline [95 %]", "baseline / gated", "p")
    return text_table(headers, cells, terminal_width())[0]


def decisive_rows(full: Comparisons, cut: Comparisons) -> list[str]:
    """Per site: the k ratio with all Pareto SAEs, with large L0 left out, and the SAE that moves it most."""
    lines = []
    for one in full:
        site = str(one.group["site"])
        gated, baseline = (full.fits[site, f] for f in ("gated", "baseline"))
        all_k, cut_k = full.ratios[site, "k"].ratio, cut.ratios[site, "k"].ratio
        ratios, names = leave_one_out_ratios(gated, baseline, parameter("k"))
        worst = int(np.nanargmax(np.abs(np.log(ratios / all_k))))
        without, low, high = (number(float(v)) for v in (ratios[worst], np.nanmin(ratios), np.nanmax(ratios)))
        lines.append(
            f"{site}: k ratio {number(all_k)} with all Pareto SAEs, {number(cut_k)} with L0 ≤ {MAX_L0:g}. "
            f"{names[worst]} moves it most: without it the ratio is {without} "
            f"(leaving out any one SAE: {low} to {high})."
        )
    return lines


def write(layer: pd.DataFrame, full: Comparisons, cut: Comparisons, out: Path) -> list[Path]:
    """Figures and tables of the demo."""
    files = write_comparison(full, out, table=layer) + write_comparison(cut, out, f"_max_l0_{MAX_L0:g}")
    front = pareto_set(layer)
    files += write_table(front, out / "pareto", tables.runs_table(front, style="latex"))
    nats = figures.plot_frontiers(layer, y="delta_ce", log_y=True, reference="baseline")
    return files + write_figure(nats, out / "frontier_delta_ce")
