# ruff: noqa: E501 (lines of the page)
"""docs/benchmarks.md, docs/cost.md and docs/verdicts.md from the result files: `python -m benchmarks.page`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import RESULTS
from benchmarks.page_text import Record, circumstances, met, milliseconds, table
from benchmarks.verdict_parts.page import verdicts

PAGE, COST, VERDICTS = Path("docs/benchmarks.md"), Path("docs/cost.md"), Path("docs/verdicts.md")
PEERS = {
    "dictionary_learning": "dictionary_learning", "sae_lens": "SAELens, one at a time",
    "sae_lens_multi": "SAELens, MultiSAETrainer", "sparsify": "sparsify",
}  # fmt: skip
LEADS = {"dictionary_learning": 3, "sae_lens": 3, "sae_lens_multi": 3, "sparsify": 2}
"""How many times faster than each the TopK step is meant to be."""


def most(cell: Record) -> float | None:
    """The ratio to the dense floor that is aimed at in a cell of ours."""
    kind, density, narrow = cell["architecture"], cell["density"], cell["d"] == 64
    if kind in ("relu", "jumprelu"):
        return 0.9 if density < 0.15 else 1.2
    if kind == "gated":
        return 1.8
    return {"topk": 0.9 if narrow else 0.55, "batch_topk": 1.3 if narrow else 0.9}.get(kind)


def training(r: Record) -> tuple[str, list[str]]:
    """Our cells beside the others' of the same shape and architecture."""
    cells = [c for c in r["cells"] if "ratio" in c]
    others = {
        (c["method"], c["architecture"], c["d"], c["F"]): c["ratio"] for c in cells if c["method"] != "ours"
    }
    rows, missed = [], []
    for c in (c for c in cells if c["method"] == "ours"):
        aim, shape = most(c), (c["architecture"], c["d"], c["F"])
        peers = {m: others[m, *shape] for m in PEERS if (m, *shape) in others}
        place = f"{c['architecture']}, density {c['density']}, d {c['d']}, F {c['F']:,}"
        if aim is not None and c["ratio"] > aim:
            missed.append(f"training step of {place}: {c['ratio']:.2f} of the dense floor, aim {aim}")
        missed += [
            f"training step of {place}: {PEERS[m]} needs {ratio / c['ratio']:.2f} times ours, aim {lead}"
            for m, ratio in peers.items()
            if ratio / c["ratio"] <= (lead := LEADS[m] if c["architecture"] == "topk" else 1)
        ]
        rows.append((
            c["architecture"], c["density"], c["d"], f"{c['F']:,}", c["members"], f"{c['ms']:,.1f}", f"**{c['ratio']:.2f}**",
            "–" if aim is None else f"{aim} {met(c['ratio'] <= aim)}",
            *(f"{peers[m]:.2f}" if m in peers else "–" for m in PEERS),
        ))  # fmt: skip
    head = ("architecture", "density", "d", "F", "members", "ours, ms", "ours", "aim met", *PEERS.values())
    skipped = "".join(f"\n\nNot measured: {k}, {v}." for k, v in r["skipped"].items())
    when = f", on {r['others_measured']} beside the same floor" if "others_measured" in r else ""
    failed = [c for c in r["cells"] if "failed" in c]
    skipped += "".join(
        f"\n\nFailed: {PEERS.get(c['method'], 'ours')}, {c.get('architecture', 'all')}, d {c['d']}, F {c['F']}: {c['failed']}."
        for c in failed
    )
    text = f"""{table(rows, *head)}

Batches of {r["batch"]:,} activations. All columns after "ours, ms" are CPU time as a ratio to the dense floor, {r["floor"]}, measured in
turn with the steps in the same process ({r["steps"]} rounds). "density" is that of our codes (of the gates for Gated; k/F for the TopK
kinds); the others' steps are dense, only their selection depends on k, and they are measured at 0.03 alone{when}.{skipped}

Where the rest goes (profiles of 2026-11-21, d 128, F 1,024): a TopK step at k/F 0.05 is 36 % encoder, 16 % selection, 26 % sums
over the selected latents (of them 6 % sorting), and Adam, decoder norms and bookkeeping. A JumpReLU step at density 0.1 needs ∂f
whole, as with a bandwidth of 2 many pre-activations are within the estimator's window: 24 % encoder, 22 % ∂f, 23 % sums, 7 %
selection. What these steps do besides products is in compiled loops (`trainers/steps/closed_forms/kernels.py`): with
numpy's and torch's passes in their place selection took a third of a TopK step, and 11 cells at d 64 and 128 missed their aims."""
    return text, missed


def pareto_sets(r: Record) -> tuple[str, list[str]]:
    """Cells, traps, table door."""
    rows, missed = [], []
    for c in r["cells"]:
        size = f"{c['rows']:,}" if c["groups"] == 1 else f"{c['groups']:,} × {c['rows'] // c['groups']:,}"
        aimed = c["rows"] >= 100_000
        rows.append((
            c["objectives"], c["points"], size, milliseconds(c["seconds"]["ours"]), f"{c['best_peer']} {milliseconds(c['seconds'][c['best_peer']])}",
            f"{c['to_best_peer']:.2f}", f"{c['aim']} {met(c['met'])}" if aimed else "–", f"{c['worst_peer']} × {c['worst_peer_to_ours']:,}",
            f"{c['to_one_lexsort']:.2f}", milliseconds(c["seconds"].get("table")),
        ))  # fmt: skip
        if aimed and not c["met"]:
            missed.append(
                f"Pareto set, {c['objectives']} objectives, {c['points']}, {size}: {c['to_best_peer']} of {c['best_peer']}, aim {c['aim']}"
            )
    for c in r["table_against_sort_values"]:
        if not c["met"]:
            missed.append(
                f"`pareto_set` of {c['rows']:,} rows by {c['families']:,} families ({c['family']}): {c['ratio']} × `sort_values`, aim 3"
            )
    head = (
        "objectives",
        "points",
        "rows",
        "ours, ms",
        "best peer, ms",
        "ratio",
        "aim met",
        "worst peer",
        "to one lexsort",
        "table door, ms",
    )
    doors = [
        (
            c["family"],
            f"{c['rows']:,}",
            f"{c['families']:,}",
            milliseconds(c["seconds"]["pareto_set"]),
            milliseconds(c["seconds"]["sort_values"]),
            c["ratio"],
            f"{c['aim']} {met(c['met'])}",
        )
        for c in r["table_against_sort_values"]
    ]
    agree = "All answers agree." if all(c["agree"] for c in r["cells"]) else "**Not all answers agree.**"
    text = f"""{table(rows, *head)}

ours: `frontier.pareto.nondominated`, which also checks that every number is finite. Groups are "groups × rows of each".
Best and worst are those of the packages that were run in the cell (moocore, pymoo, paretoset with numba; looped over
sorted slices, their grouped calls, or one call with extra columns); paretoset compares each point with the whole front
and is left out of the large cells where all points lie on it. {agree} "table door" is `frontier.pareto_set` on a frame
it has not seen, with checks, slack and ties. Ratios are medians of those within a round. Aims are set from 100,000 rows on;
the cells of 20,000 show what a filter that compares with the whole front costs.

{table(doors, "family column", "rows", "families", "pareto_set, ms", "sort_values, ms", "ratio", "aim met")}"""
    return text, missed


def start_up(r: Record) -> tuple[str, list[str]]:
    """Processes, checks, sizes."""
    text = table([(f"`{k}`", f"{v:.0f}") for k, v in r["milliseconds"].items()], "fresh process", "CPU, ms")
    text += "\n\n" + table(
        [(c["what"], c["ratio"], f"{c['aim']} {met(c['met'])}") for c in r["checks"]],
        "what",
        "ratio",
        "aim met",
    )
    text += f"\n\nModules of the trainer (torch, transformers, ...) loaded by an analysis with all public names, a comparison and a figure: `{r['trainer_modules_in_analysis']}`."
    every = r["milliseconds"]["import frontier, every public name"] / r["milliseconds"]["import pandas"]
    text += f"\n\nNames are loaded when they are first used: `import frontier` alone loads next to nothing, and all public names together (scipy, statsmodels, matplotlib, seaborn) cost {every:.1f} times `import pandas`."
    installed = r.get("installed")
    if installed:
        rows = [
            (f"`pip install {k}`", f"{v['megabytes']:,.0f}", v["our_packages"], ", ".join(f"{n} {m:.0f}" for n, m in v["largest"].items()))
            for k, v in installed.items() if isinstance(v, dict)
        ]  # fmt: skip
        text += (
            "\n\n"
            + table(rows, "fresh environment", "MB", "of these ours", "largest, MB")
            + "\n\nBytecode included, pip left out; torch is the build for the CPU."
        )
    missed = [f"{c['what']}: {c['ratio']}, aim {c['aim']}" for c in r["checks"] if not c["met"]]
    if r["trainer_modules_in_analysis"] != "[]":
        missed.append(f"an analysis loads {r['trainer_modules_in_analysis']}")
    return text, missed


def evaluation(r: Record) -> tuple[str, list[str]]:
    """Seconds and ratios."""
    text = f"{r['members']} TopK SAEs with random weights, dictionary {r['dictionary']:,}, {r['windows']} windows of 128 tokens, shipped model, one thread.\n\n"
    text += table([(k, f"{v:.2f}") for k, v in r["seconds"].items()], "what", "CPU s")
    text += "\n\n" + table(r["ratios"].items(), "ratio", "value")
    return (
        text
        + f"\n\nLargest difference of loss recovered, together and alone: {r['largest_difference_of_loss_recovered']:.1e}.",
        [],
    )


def fits(r: Record) -> tuple[str, list[str]]:
    """Speeds, extras, R."""
    faster = r["engine_is_faster_by"]
    rows = [(k, f"{v:,.0f}", f"{faster[k]:,.0f}") for k, v in r["fits_per_second"].items()]
    figures = r["R, documented"]
    rows += [(f"R {k} (documented)", v, "–") for k, v in figures["fits per second"].items()]
    text = table(rows, "method", "fits per second", "engine is faster by")
    more = {k: v for k, v in r.items() if "profile" in k or k.startswith("bootstrap, ") or "failures" in k}
    more |= {
        f"documented, both parameters: {k}, intervals per second": v
        for k, v in figures["profile intervals of both parameters per second"].items()
    }
    text += "\n\n" + table(more.items(), "what", "value")
    missed = [] if r["bootstrap under 1 s"] else ["the bootstrap of 20 groups takes more than 1 s of CPU"]
    return text + f"\n\nDocumented figures: {figures['measured']}.", missed


def torchrun(r: Record) -> tuple[str, list[str]]:
    """Two processes against one."""
    text = f"""{r["members"]} members, dictionary {r["dictionary"]:,}, batches of {r["batch"]:,}, one thread a process: two processes did
{r["throughput_of_two_to_one"]:.2f} times the steps of one by the wall clock, for {r["cpu_of_two_to_one"]:.2f} times its CPU time ({r["rounds"]} rounds, in turn).
{r["note"][0].upper() + r["note"][1:]}."""
    return text, []


def exponent(fit: Record | None) -> str:
    """An exponent with its 95 % interval."""
    return "–" if fit is None else f"{fit['exponent']:.2f} ({fit['low']:.2f} to {fit['high']:.2f})"


def scaling(r: Record) -> tuple[str, list[str]]:
    """Refers to its own page."""

    rows = [(s["subject"], s["along"], exponent(s["time"]), exponent(s["memory"])) for s in r["subjects"]]
    return table(
        rows, "what", "grows with", "exponent of time", "exponent of memory"
    ) + "\n\nHow they were fitted: [cost.md](cost.md).", []


SECTIONS: list[tuple[str, str, Callable[[Record], tuple[str, list[str]]]]] = [
    ("training", "Training a family", training),
    ("pareto_sets", "Pareto sets", pareto_sets),
    ("fits", "Fits and intervals", fits),
    ("evaluation", "Evaluating a family", evaluation),
    ("start_up", "Start-up and size", start_up),
    ("torchrun", "Two processes", torchrun),
    ("scaling", "How cost grows", scaling),
]


def cost(record: Record) -> str:
    """docs/cost.md."""
    rows = [
        (s["subject"], s["along"], f"{s['sizes'][0]:,} to {s['sizes'][-1]:,}", exponent(s["time"]), exponent(s["memory"]),
         f"{s['seconds'][-1]:.2g} s", f"{s['megabytes'][-1]:.0f} MB")
        for s in record["subjects"]
    ]  # fmt: skip
    head = (
        "what",
        "grows with",
        "sizes",
        "exponent of time",
        "exponent of memory",
        "time at the largest",
        "memory at the largest",
    )
    versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    return f"""# How cost grows

cost = a · size^b, fitted by this project's own tool (`frontier.fit_points(..., "power", errors="log")`) to measured
CPU time (one thread) and growth of resident memory; b with its 95 % profile interval. Written by
`python -m benchmarks.page` from what `python -m benchmarks.scaling` measured, [benchmarks/results/scaling.json](../benchmarks/results/scaling.json).
{record["date"]}, {record["machine"]}, {record["cpus"]} shared cores, load {record["load"]}; Python {record["python"]}, {versions}.

{table(rows, *head)}

The rest stands still while one size grows: training is ReLU, width 128, 4 members, dictionary 1,024, batches of
2,048 tokens; evaluation is TopK on the shipped model, 8 members, dictionary 1,024, 8 windows of 128 tokens;
`pareto_set` 100,000 rows in 100 groups; `fit` Hill curves with profile intervals, 8 SAEs a group.

How to read it: an exponent of 1 means twice the size, twice the cost; well below 1 a constant part (a start, the
language model's own passes) is still paid off at the sizes measured, so the cost of larger ones grows faster than the
fit says. The intervals suppose independent scatter around one power law; where a constant part bends the curve they
are too narrow to be believed to the second digit. "–": no growth, growth below 4 MB, or too few sizes above it.
"""


def main() -> None:
    """Write the pages."""
    parts, missed = [], []
    for name, title, write in SECTIONS:
        path = RESULTS / f"{name}.json"
        if not path.exists():
            parts.append(f"## {title}\n\n`python -m benchmarks.{name}` has not been run.")
            continue
        record = json.loads(path.read_text(encoding="utf-8"))
        text, lacks = write(record)
        missed += lacks
        parts.append(f"## {title}\n\n{circumstances(record, name)}\n\n{text}")
    path = RESULTS / "scaling.json"
    if path.exists():
        COST.write_text(cost(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    path = RESULTS / "verdicts.json"
    if path.exists():
        VERDICTS.write_text(verdicts(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    misses = "\n".join(f"- {line}" for line in missed) or "- nothing that was measured"
    PAGE.write_text(
        "# Benchmarks\n\nRatios against other packages, measured side by side in one process on one thread (medians of "
        "CPU time, methods in turn),\non a machine shared with other work: times can move by a factor of two, ratios are "
        "steadier. `make bench` runs them;\nthe numbers are in `benchmarks/results`. This page is "
        "written by `python -m benchmarks.page`.\n\n## What missed its aim\n\n"
        + misses
        + "\n\n"
        + "\n\n".join(parts)
        + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
