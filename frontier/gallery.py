"""The gallery: every figure once, from published tables and one training run, and a page that shows them.

`python -m frontier.gallery --out out/gallery --run out/demo/run` writes each as PDF, SVG and PNG;
`--docs docs` also writes `docs/gallery.md` with small pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from rich.console import Console

from frontier import figures
from frontier.comparison import compare
from frontier.datasets import load_dataset
from frontier.fits import fit
from frontier.metrics import metrics_table
from frontier.pareto import pareto_set
from frontier.ratios import ratio_table
from frontier.selection import select_curve
from frontier.writing import write_text

PAPER = "Gated SAE paper, Gemma-7B, layer 20 (arXiv 2404.16014, Tables 1-4)"
RUN = "a demonstration run on the shipped byte-level model"
SIMULATED = "simulated"
SMALL = 1000
"""Pixels across of the pictures in the documentation."""


@dataclass(frozen=True)
class Entry:
    """One figure: its file's name, what it shows, what the numbers are, the call, and how it is drawn."""

    name: str
    title: str
    source: str
    call: str
    draw: Callable[[], Any]


def published() -> Iterator[Entry]:
    """Figures of the Gated SAE paper's tables."""
    table = load_dataset("gated_gemma7b")
    table = table[table["layer"] == 20].reset_index(drop=True)
    fits = fit(pareto_set(table), "hill", errors="additive")
    ratios = ratio_table(fits, "baseline")
    found = compare(table, "baseline")
    for name, title, call, draw in (
        ("frontiers", "Frontiers: L0 against loss recovered; the Pareto set joined, other SAEs faint",
         "plot_frontiers(table)", lambda: figures.plot_frontiers(table)),
        ("collapse", "The shared shape: families shifted along L0 onto one curve, residuals below",
         'plot_collapse(compare(table, "baseline"))', lambda: figures.plot_collapse(found)),
        ("fits", "Hill fits of performance hit against sparsity, with bands", "plot_fits(fits)",
         lambda: figures.plot_fits(fits)),
        ("fits_log", "The same on logarithmic axes", "plot_fits(fits, log_axes=True)",
         lambda: figures.plot_fits(fits, log_axes=True)),
        ("ratios", "Relative potency with intervals", 'plot_ratios(compare(table, "baseline").potencies)',
         lambda: figures.plot_ratios(found.potencies)),
        ("ratios_k", "Ratios of k", 'plot_ratios(ratio_table(fits), quantity="k")',
         lambda: figures.plot_ratios(ratios, quantity="k")),
        ("potency", "Relative potency at every hit, by Hill curves; bars: where each family has data",
         "plot_potencies(fits)", lambda: figures.plot_potencies(fits)),
        ("hit_ratio", "Ratio of hits at every L0", "plot_hit_ratios(fits)",
         lambda: figures.plot_hit_ratios(fits)),
        ("regions", "Joint regions of k and n", "plot_regions(fits)", lambda: figures.plot_regions(fits)),
        ("residuals", "Residuals", "plot_residuals(fits)", lambda: figures.plot_residuals(fits)),
        ("evidence", "Which curve the points support", "plot_evidence(select_curve(fits))",
         lambda: figures.plot_evidence(select_curve(fits))),
    ):  # fmt: skip
        yield Entry(name, title, PAPER, call, draw)


def trained(run: Path) -> Iterator[Entry]:
    """Figures of a run: its folder holds `metrics.parquet`, `log.jsonl` and `frequencies.safetensors`."""
    table = metrics_table(pd.read_parquet(run / "metrics.parquet"))
    fits = fit(pareto_set(table), "hill")
    for name, title, call, draw in (
        ("trained_frontiers", "Frontiers of five architectures", "plot_frontiers(table)",
         lambda: figures.plot_frontiers(table)),
        ("trained_potency", "Relative potency of each architecture, by Hill curves", "plot_potencies(fits)",
         lambda: figures.plot_potencies(fits)),
        ("reconstruction", "Direction, length and bias of the reconstruction by L0; thin lines: perfect",
         "plot_reconstruction(table)", lambda: figures.plot_reconstruction(table)),
        ("high_frequency", "Latents that fire often, against the loss that the SAE adds",
         "plot_high_frequency(table)", lambda: figures.plot_high_frequency(table)),
        ("settings", "From the sparsity setting to L0", "plot_settings(table)",
         lambda: figures.plot_settings(table)),
        ("frequencies", "How often latents fire, one SAE of each architecture near L0 = 10",
         "plot_frequencies(counts, tokens)", lambda: _frequencies(table, run)),
        ("training", "L0 and FVU while training", 'plot_training("log.jsonl", families=table)',
         lambda: figures.plot_training(run / "log.jsonl", families=table)),
    ):  # fmt: skip
        yield Entry(name, title, RUN, call, draw)


def simulated() -> Iterator[Entry]:
    """Figures that need several seeds or pruned SAEs, from tables with made-up numbers."""
    rng = np.random.default_rng(0)
    yield Entry(
        "attainment", "The median frontier in the band between the best and the worst of four seeds",
        SIMULATED, "plot_attainment(table)", lambda: figures.plot_attainment(_seeds(rng)),
    )  # fmt: skip
    yield Entry(
        "budget", "Relative potency over training, with the limits of each budget; hollow: no verdict",
        SIMULATED, "plot_budget(table)", lambda: figures.plot_budget(_budgets(rng)),
    )  # fmt: skip
    yield Entry(
        "pruning", "What SAEs trace while their lowest activations are removed", SIMULATED,
        "plot_pruning(table)", lambda: figures.plot_pruning(_pruned()),
    )  # fmt: skip


def make(out: Path, run: Path | None = None, docs: Path | None = None) -> list[Path]:
    """Draw every figure into `out`; the page and its small pictures into `docs`. Returns the files."""
    from matplotlib import pyplot as plt

    entries = [*published(), *(trained(run) if run else ()), *simulated()]
    files = []
    for entry in entries:
        with figures.paper_style():
            drawn = entry.draw()
            files += figures.save_figure(drawn, out / entry.name, ("pdf", "svg", "png"))
            plt.close(np.ravel(np.asarray(drawn, dtype=object))[0].figure)
    for folder, pictures in ((out, out), *([(docs, docs / "gallery")] if docs else [])):
        text = _page(entries, "" if folder == pictures else "gallery/")
        files.append(write_text(folder / "gallery.md", text))
    if docs:
        files += [_shrink(out / f"{e.name}.png", docs / "gallery" / f"{e.name}.png") for e in entries]
    return files


def _page(entries: list[Entry], folder: str) -> str:
    """One section per figure: picture, source, call."""
    lines = [
        "# Gallery", "",
        "Every figure is one call, and takes axes or makes them. `make gallery` draws this page again, "
        "each figure as PDF, SVG and PNG.", "",
    ]  # fmt: skip
    for e in entries:
        lines += [f"## {e.title}", "", f"![{e.title}]({folder}{e.name}.png)", ""]
        lines += [f"`frontier.{e.call}` (numbers: {e.source})", ""]
    return "\n".join(lines)


def _shrink(picture: Path, small: Path) -> Path:
    """The picture `SMALL` pixels across, in 256 colours."""
    from PIL import Image

    small.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(picture) as image:
        height = round(image.height * SMALL / image.width)
        reduced = image.convert("RGB").resize((SMALL, height), Image.Resampling.LANCZOS)
        reduced.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(small, optimize=True)
    return small


def _frequencies(table: pd.DataFrame, run: Path) -> Any:
    """One SAE of each family, that with L0 nearest to 10."""
    from safetensors import safe_open

    near = table.assign(gap=np.abs(np.log(table["l0"] / 10))).sort_values("gap").groupby("family").head(1)
    chosen = dict(zip(near["family"], near["run_id"], strict=True))
    with safe_open(run / "frequencies.safetensors", framework="np") as file:
        counts = {family: file.get_tensor(chosen[family]) for family in sorted(chosen)}
        tokens = int(file.metadata()["tokens"])
    return figures.plot_frequencies(counts, tokens)


def _seeds(rng: np.random.Generator) -> pd.DataFrame:
    """Two families of four seeds on power laws with noise."""
    rows = []
    for family, scale in (("relu", 0.55), ("gated", 0.36)):
        for seed in range(4):
            l0 = np.geomspace(3, 100, 10) * np.exp(rng.normal(0, 0.05, 10))
            hit = scale * l0**-0.8 * np.exp(rng.normal(0, 0.12, 10))
            rows += [
                {"family": family, "seed": seed, "l0": x, "loss_recovered": 1 - y}
                for x, y in zip(l0, hit, strict=True)
            ]
    return pd.DataFrame(rows)


def _budgets(rng: np.random.Generator) -> pd.DataFrame:
    """Three families of eight SAEs at five budgets: one keeps its lead, another one gains its own."""
    rows: list[dict[str, Any]] = []
    for family, early, late in (("relu", 1.0, 1.0), ("topk", 1.9, 1.7), ("gated", 0.8, 1.9)):
        own = rng.normal(0, 0.06, 8)
        for share, tokens in zip(np.linspace(0, 1, 5), (10, 30, 100, 300, 1000), strict=True):
            potency = early ** (1 - share) * late**share
            for i, l0 in enumerate(np.geomspace(4, 100, 8)):
                error = 0.9 * own[i] + 0.4 * rng.normal(0, 0.06)
                hit = (0.55 - 0.15 * share) * (l0 * potency) ** -0.7 * np.exp(error)
                name = f"{family}_{i}_step{tokens}"
                new = {
                    "run_id": name,
                    "family": family,
                    "tokens_trained": tokens * 10**6,
                    "sparsity_setting": i,
                }
                rows.append({**new, "l0": l0, "loss_recovered": 1 - hit})
    return pd.DataFrame(rows)


def _pruned() -> pd.DataFrame:
    """Four SAEs and three ways of removing a share of their activations."""
    rows: list[dict[str, Any]] = []
    for l0 in (10.0, 20.0, 40.0, 80.0):
        hit = 0.6 * l0**-0.8
        rows.append({"run_id": f"relu_{l0:g}", "l0": l0, "loss_recovered": 1 - hit})
        for method, cost in (("global threshold", 0.05), ("share of maximum", 0.09), ("quantile", 0.14)):
            for share in (0.1, 0.2, 0.35, 0.5, 0.7):
                lost = hit + cost * share**2 * l0**-0.3
                new = {"run_id": f"relu_{l0:g} {method} {share}", "parent": f"relu_{l0:g}", "pruning": method}
                rows.append({**new, "l0": l0 * (1 - share), "loss_recovered": 1 - lost})
    return pd.DataFrame(rows)


def main(
    out: Annotated[Path, typer.Option(help="Folder for PDF, SVG and PNG.")] = Path("out/gallery"),
    run: Annotated[Path | None, typer.Option(help="Folder of a finished training run.")] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder for gallery.md and small pictures.")] = None,
) -> None:
    """Draw every figure once."""
    console = Console(highlight=False)
    files = make(out, run, docs)
    console.print(f"{len(files)} files in {out}" + (f" and {docs}" if docs else ""))
    if run is None:
        console.print("without --run: no figures of trained SAEs", style="dim")


if __name__ == "__main__":
    typer.run(main)
