"""The tables of the pages, made from the result file; they stand between marks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, isfinite
from typing import Any

from tabulate import tabulate

from benchmarks.measuring import between

Rows = Sequence[Mapping[str, Any]]
Of = Callable[[float], float]


def cell(
    row: Mapping[str, Any], value: str, digits: int = 3, null: float | None = None, of: Of = float
) -> str:
    """A number with its interval; bold where that excludes `null`."""
    found = [row[f"{value}{end}"] for end in ("", "_low", "_high")]
    if any(v is None or not isfinite(v) for v in found):
        return "–"
    middle, low, high = (f"{of(v):.{digits}f}".replace("-", "−") for v in found)
    text = f"{middle} [{low}, {high}]"
    bold = null is not None and not found[1] <= null <= found[2]
    left_out = row.get("left_out")
    return (f"**{text}**" if bold else text) + (f", without {left_out}" if left_out else "")


def grid(
    rows: Rows, down: str, across: str, value: str, heads: Mapping[Any, str] | None = None, **how: Any
) -> str:
    """A table with a row per value of `down` and a column per value of `across` that has a number."""
    known = [r for r in rows if r[value] is not None]
    columns = list(dict.fromkeys(r[across] for r in known))
    lines = []
    for name in dict.fromkeys(r[down] for r in known):
        mine = {r[across]: cell(r, value, **how) for r in rows if r[down] == name}
        lines.append([name, *(mine.get(c, "–") for c in columns)])
    return plain(lines, ["", *((heads or {}).get(c, _head(c)) for c in columns)])


def plain(lines: Sequence[Sequence[Any]], heads: Sequence[str]) -> str:
    """Lines as a table."""
    return tabulate(lines, heads, tablefmt="github", disable_numparse=True) + "\n"


def _head(value: Any) -> str:
    return f"L0 {value:g}" if isinstance(value, float) else str(value)


def only(rows: Rows, **wanted: Any) -> list[dict[str, Any]]:
    """The rows in which these columns have these values."""
    return [dict(r) for r in rows if all(r[k] == v for k, v in wanted.items())]


def after_training(found: Mapping[str, Any]) -> dict[str, str]:
    """The tables of docs/after_training.md by name."""
    pruning, shrinkage, pursuit, tuning = (
        found[n] for n in ("pruning", "shrinkage", "pursuit", "finetuning")
    )
    gamma = sorted(shrinkage["gamma"], key=lambda r: (r["family"], -r["l0"]))
    differences = [r for r in shrinkage["differences"] if r["metric"] == "ce_sae"]
    return {
        "halving": grid(only(pruning["cost"], metric="ce_sae"), "base", "method", "cost"),
        "behind": grid(only(pruning["behind"], metric="ce_sae"), "base", "method", "behind", null=0),
        "behind in squared error": grid(
            only(pruning["behind"], metric="fvu"), "base", "method", "behind", digits=4, null=0
        ),
        "halving each": _each(only(pruning["per SAE"], metric="ce_sae"), "base", "cost"),
        "against trained": _each(
            _with_l0(only(pruning["against trained"], metric="ce_sae"), pruning["per SAE"]),
            "base", "against_trained", null=0,
        ),
        "gamma": _each(gamma, "family", "shrinkage"),
        "less gated": grid(only(differences, reference="gated"), "family", "l0", "difference", null=0),
        "less gated in squared error": grid(
            only(shrinkage["differences"], metric="fvu", reference="gated"),
            "family", "l0", "difference", null=0,
        ),
        "less relu": grid(
            [r for r in only(differences, reference="relu") if r["family"] != "gated"],
            "family", "l0", "difference", null=0,
        ),
        "ablations": grid(
            only(found["ablations"]["differences"], metric="ce_sae"), "family", "l0", "difference", null=0
        ),
        "gradient": grid(
            pursuit["gradient over exact"], "family", "target", "mse_ratio",
            {t: f"{t} latents" for t in (1, 2, 4, 8, 16)},
        ),
        "dictionaries": grid(
            only(pursuit["dictionaries"], metric="fvu"), "family", "l0", "difference",
            {t: f"{t} latents" for t in (2, 4, 8, 15)}, digits=1, null=0, of=lambda v: 100 * v,
        ),
        "dictionaries in nats": grid(
            only(pursuit["dictionaries"], metric="ce_sae"), "family", "l0", "difference",
            {t: f"{t} latents" for t in (2, 4, 8, 15)}, null=0,
        ),
        "encoders": _each(sorted(pursuit["encoders"], key=lambda r: -r["l0"]), "family", "cost", null=0),
        "tuning": grid(
            tuning["ratios"], "family", "metric", "log_ratio",
            {"kl": "KL", "ce_sae": "cross-entropy", "mse": "squared error"}, null=0, of=exp,
        ),
        "tuning over control": grid(
            tuning["kl over control"], "family", "metric", "log_ratio", {"kl": "KL over that of MSE"},
            null=0, of=exp,
        ),
    }  # fmt: skip


def _with_l0(rows: Rows, known: Rows) -> list[dict[str, Any]]:
    places = {(r["base"], r["setting"]): r["l0"] for r in known}
    return [dict(r) | {"l0": places[r["base"], r["setting"]]} for r in rows]


def _each(rows: Rows, down: str, value: str, **how: Any) -> str:
    """A row per family: what each of its SAEs has, with its L0."""
    lines = []
    for name in dict.fromkeys(r[down] for r in rows):
        mine = [r for r in rows if r[down] == name]
        lines.append([name, "; ".join(f"L0 {r['l0']:.3g}: {cell(r, value, **how)}" for r in mine)])
    return plain(lines, ["", "by SAE"])


def looking_inside(found: Mapping[str, Any]) -> dict[str, str]:
    """The tables of docs/looking_inside.md by name."""
    hits = {r["family"]: r for r in found["separation"]["hits"]}
    potency = {r["family"]: r for r in found["separation"]["potency"]}
    penalties, anatomy = found["penalties"], found["anatomy"]
    parts = {(r["sparsity_setting"], r["dictionary_size"]): r for r in anatomy["widths"]["fvu_rest"]}
    whole = {(r["sparsity_setting"], r["dictionary_size"]): r for r in anatomy["widths"]["fvu"]}
    sizes = sorted({size for _, size in parts})
    return {
        "sweeps": plain(
            [[r["study"], r["family"], cell(r, "log_ratio", 2, of=exp), f"{exp(r['rms']):.2f}",
              f"{exp(r['worst']):.2f}"] for r in found["sweeps"]["found over wanted"]],
            ["study", "family", "found / target", "typical factor (rms)", "worst"],
        ),
        "separation": plain(
            [[f, f"{h['mean']:.3f} (SD {h['std']:.3f})",
              cell(potency[f], "relative_potency", 2) if f in potency else ""] for f, h in hits.items()],
            ["", "hit at L0 8", "relative potency over relu"],
        ),
        "frequency": _frequency(found["frequency"]),
        "penalty potency": plain(
            [[r["family"], cell(r, "relative_potency", 2)] for r in penalties["potency"]],
            ["", "relative potency over L1"],
        ),
        **{
            f"penalty {name}": grid(
                only(penalties["differences"], metric=metric), "family", "l0", "difference",
                digits=digits, null=0,
            )
            for name, metric, digits in (
                ("nats", "ce_sae", 3), ("length", "l2_ratio", 3),
                ("direction", "cosine_similarity", 4), ("fvu", "fvu", 3),
            )
        },
        "penalty sizes": plain(
            [[r["family"], cell(r, "median")] for r in penalties["medians"]], ["", "median activation"]
        ),
        "widths": plain(
            [[f"L0 {k:g}",
              *(f"{whole[k, s]['fvu']:.3f}, rest {cell(parts[k, s], 'fvu_rest')}" for s in sizes)]
             for k in sorted({k for k, _ in parts})],
            ["", *(f"{s} latents" for s in sizes)],
        ),
        "width steps": _steps(anatomy["steps"]),
        "latents": plain(
            [[r["family"], f"{r['l0']:.3g}", cell(r, "error_from_latents"),
              f"{r['error_from_latents_more']:.3f}"] for r in anatomy["latents"]],
            ["", "L0", "share that the latents predict, at least", "unlimited text would add about"],
        ),
        "recovery": plain(
            [[name, r["family"], r["at true"], r["best"], r["best l0"], r["ratio"], r["at end"]]
             for name in ("correlated", "independent") for r in found["recovery"][name]["families"]],
            ["features", "", "mean max cosine at the true L0", "of the best SAE", "best L0",
             "over the true L0", "seeds at an end"],
        ),
        "transcoders": plain(
            [[r["family"], r["exponent"], r["n"], _best_curve(r["weights"])]
             for r in found["transcoders"]["steepness"]],
            ["family", "power exponent", "Hill n", "best curve, share of the evidence"],
        ),
        "equal cost": plain(
            [[r["family"], found["equal_cost"]["sizes"][r["family"]], cell(r, "relative_potency", 2)]
             for r in found["equal_cost"]["potency"]],
            ["", "latents", "relative potency over gated"],
        ),
    }  # fmt: skip


def _best_curve(weights: Mapping[str, float]) -> str:
    best = max(weights, key=lambda name: weights[name])
    return f"{best}, {weights[best]:.2f}"


def _frequency(found: Mapping[str, Any]) -> str:
    lines = []
    for name, part in found.items():
        if " at " in name:
            share, at = name.split(" at ")
            for r in part["latents"]:
                ends = {"n": r["latents"], "n_low": r["low"], "n_high": r["high"]}
                lines.append([share, at, r["family"], cell(ends, "n", 0), r["over_relu"] or ""])
    return plain(lines, ["latents with", "delta CE", "family", "number", "share over relu's"])


def _steps(rows: Rows) -> str:
    names = {"fvu_rest": "rest", "fvu_from_input": "linear in x"}
    lines = [
        [f"L0 {r['sparsity_setting']:g}", names[r["metric"]], f"{r['to'] // 2} → {r['to']}",
         cell(r, "change", 4, null=0)]
        for r in sorted(rows, key=lambda r: (r["sparsity_setting"], r["metric"], r["to"]))
    ]  # fmt: skip
    return plain(lines, ["", "part of the error", "latents", "change"])


def on_page(text: str, tables: Mapping[str, str]) -> str:
    """A page with its tables made anew."""
    for name, table in tables.items():
        text = between(text, name, table)
    return text
