"""The sections of docs/looking_inside.md: what families show beside their frontiers, over three seeds."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

import frontier
from benchmarks.page_parts import figures
from benchmarks.page_parts.runs import SITE, Pages, records
from frontier.studies.frequency import SHARES, how_many, share_curves, share_ratio
from frontier.studies.over_seeds import over_seeds
from frontier.studies.paired_frontiers import compare_curves
from frontier.studies.transcoders import steepness
from frontier.wording import number
from trainers.studies.activation_sizes import activation_sizes
from trainers.studies.configurations import KINDS, SIZES, recovery_study
from trainers.studies.cross_fitted_maps import GROUPS
from trainers.studies.error_anatomy import Anatomy, error_anatomy
from trainers.studies.true_l0 import at_true_l0, best_l0

SWEEPS = ("penalties", "equal_cost")
AT_L0 = 8.0
DELTA_CE = (0.15, 0.25)
PENALTY_L0 = (3.5, 7.0, 12.0, 40.0)


def sweeps(pages: Pages) -> dict[str, Any]:
    """L0 found over L0 wanted."""
    parts = []
    for study in SWEEPS:
        for sweep in json.loads((pages.folder(study) / "sweep.json").read_text(encoding="utf-8")):
            wanted = dict(zip(sweep["settings"], sweep["target_l0"], strict=True))
            mine = pages.table(study)[lambda t, name=sweep["family"]: t["family"] == name]
            off = np.log(mine["l0"] / mine["sparsity_setting"].map(wanted))
            parts.append(pd.DataFrame({"study": study, "family": sweep["family"], "seed": mine["seed"],
                                       "log_ratio": off, "log_ratio_se": 0.0}))  # fmt: skip
    table = pd.concat(parts).dropna()
    of = ["study", "family"]
    found = over_seeds(table.assign(place=0), "log_ratio", of, batches=16)
    spread = table.groupby(of, sort=False)["log_ratio"].agg(
        rms=lambda v: float(np.sqrt((v**2).mean())), worst=lambda v: float(v.abs().max())
    )
    return {"found over wanted": records(found.merge(spread.reset_index()))}


def separation(pages: Pages) -> dict[str, Any]:
    """Hits at an L0 of 8, and relative potency over ReLU, seed by seed."""
    table = pages.table()
    rows = []
    for (family, seed), part in table.groupby(["family", "seed"], sort=False):
        part = part.sort_values("l0")
        x, y = np.log(part["l0"]), np.log(1 - part["loss_recovered"])
        rows.append({"family": family, "seed": seed, "hit": float(np.exp(np.interp(np.log(AT_L0), x, y)))})
    hits = pd.DataFrame(rows).groupby("family", sort=False)["hit"].agg(["mean", "std"]).reset_index()
    return {"hits": records(hits), "potency": records(_by_seeds(table, "relu"))}


def _by_seeds(table: pd.DataFrame, reference: str) -> pd.DataFrame:
    found = frontier.compare_seeds(table, reference, across=("dictionary_size",)).to_frame()
    names = [c for c in found if c == "family" or c.startswith(("relative_potency", "hit_", "y_"))]
    return found[names]


def frequency(pages: Pages) -> dict[str, Any]:
    """Latents above and below the frequencies of the JumpReLU paper, at a loss; SAEs are the units."""
    table, made = pages.table(), {}
    for share in SHARES:
        curves = share_curves(table, share)
        for at in DELTA_CE:
            found = how_many(table, at, share)
            rows = found.to_frame().assign(over_relu=None)
            if "relu" in found.counts:
                others = [f for f in found.counts if f != "relu"]
                ratios = {f: _ratio(share_ratio(curves[f], curves["relu"], at)) for f in others}
                rows["over_relu"] = rows["family"].map(ratios)
            made[f"{share} at {at:g}"] = {"latents": records(rows), "left out": found.left_out}
    pages.draw(figures.frequency_shares, table)
    pages.draw(figures.frequency_densities, pages.evaluation("after_training", 0))
    counts = pages.evaluation()
    most = {name: float(c.max()) / counts.tokens for name, c in counts.frequencies.items()}
    name = max(most, key=lambda n: most[n])
    made["most frequent"] = {"run_id": name, "frequency": round(most[name], 3)}
    return made | {"tokens": counts.tokens}


def penalties(pages: Pages) -> dict[str, Any]:
    """Roots of L1 against L1: potency, differences at equal L0, sizes of activations."""
    parts, medians = [], []
    for seed, saes in pages.saes("penalties"):
        found = pages.evaluation("penalties", seed)
        for metric in ("ce_sae", "fvu", "cosine_similarity", "l2_ratio"):
            parts.append(compare_curves(found, "L1", PENALTY_L0, metric=metric).assign(seed=seed))
        names = found.table.set_index("run_id")["family"]
        some = activation_sizes(_nearest(found.table, saes, 12.0), pages.model, pages.tokens, SITE)
        if not seed:
            pages.draw(figures.penalty_activations, {names[one.run_id]: one for one in some})
        for one in some:
            at, name = one.median(), names[one.run_id]
            medians.append({"family": name, "seed": seed, "l0": one.l0, "median": at.estimate,
                            "median_se": (at.high - at.low) / 3.92})  # fmt: skip
    table, sizes = pages.table("penalties"), pd.DataFrame(medians)
    by_setting = table.groupby(["family", "sparsity_setting"], as_index=False, sort=False)
    differences = pd.concat(parts)
    pages.draw(figures.penalty_parts, table)
    return {
        "potency": records(_by_seeds(table, "L1")),
        "differences": records(
            over_seeds(differences, "difference", ["metric", "family", "l0"], batches=16, comparisons=8)
        ),
        "values": records(differences.groupby(["metric", "family", "l0"], as_index=False)["value"].mean()),
        "medians": records(over_seeds(sizes, "median", ["family"], batches=len(pages.tokens))),
        "silent": records(by_setting[["l0", "alive_fraction"]].mean()),
    }


def _nearest(table: pd.DataFrame, saes: list[Any], l0: float) -> list[Any]:
    gap = np.log(table["l0"] / l0).abs()
    names = set(table.loc[gap.groupby(table["family"]).idxmin(), "run_id"])
    return [s for s in saes if s.identity["run_id"] in names]


def anatomy(pages: Pages) -> dict[str, Any]:
    """What errors are made of: TopK by size, and SAEs of all families near L0 10."""
    fvu, changes = [], []
    for seed, saes in pages.saes("widths"):
        found = error_anatomy(saes, pages.model, pages.held_out(400), SITE, latents=False)
        table = found.table.assign(seed=seed)
        fvu.append(table)
        changes += [_steps(found, one, other).assign(seed=seed) for one, other in pairwise(SIZES)]
    others = []
    for study in ("after_training", "penalties"):
        for seed, saes in pages.saes(study):
            mine = _nearest(pages.evaluation(study, seed).table, saes, 10.0)
            others.append(error_anatomy(mine, pages.model, pages.held_out(400), SITE).table.assign(seed=seed))
    widths, shares = pd.concat(fvu), pd.concat(others)
    pages.draw(figures.error_anatomy, widths)
    of = ["sparsity_setting", "dictionary_size"]
    mean = partial(over_seeds, batches=GROUPS)
    names = ("fvu", "fvu_rest", "fvu_from_input")
    return {
        "widths": {n: records(mean(widths, n, of)) for n in names},
        "steps": records(mean(pd.concat(changes), "change", ["metric", "sparsity_setting", "to"])),
        "latents": records(
            mean(shares, "error_from_latents", ["family"]).merge(
                shares.groupby("family", as_index=False)[["l0", "error_from_latents_more"]].mean()
            )
        ),
        "edges": sorted({e for t in (widths, shares) for e in t["ridges_at_edge"] if e}),
    }


def _steps(found: Anatomy, one: int, other: int) -> pd.DataFrame:
    """Change of the parts of the error from one size to another, paired by group of windows."""
    rows, half = [], float(student.ppf(0.975, GROUPS - 1))
    for setting, part in found.table.groupby("sparsity_setting"):
        names = part.set_index("dictionary_size")["run_id"]
        if {one, other} <= set(names.index):
            for metric in ("fvu_rest", "fvu_from_input"):
                gap = found.difference(metric, names[other], names[one])
                se = (gap.high - gap.low) / 2 / half
                rows.append({"metric": metric, "sparsity_setting": setting, "to": other,
                             "change": gap.estimate, "change_se": se})  # fmt: skip
    return pd.DataFrame(rows, columns=["metric", "sparsity_setting", "to", "change", "change_se"])


def _ratio(found: frontier.Interval) -> str:
    return str(found) if np.isfinite(found.high) else f"above {number(found.low, 2)}"


def recovery(pages: Pages) -> dict[str, Any]:
    """The L0 that finds known features best, over the true one, with and without correlation."""
    made = {}
    for name, kinds, truth in (
        ("correlated", KINDS, {}),
        ("independent", ("jumprelu",), {"correlation": 0.0, "rank": None}),
    ):
        table = recovery_study(kinds, **truth)
        if not truth:
            pages.draw(figures.true_l0, table)
        best = best_l0(table)
        at = at_true_l0(table).set_index("family")
        made[name] = {
            "families": [
                {"family": f, "at true": _text(at.loc[f]), "best": str(b.reached), "best l0": str(b.best),
                 "ratio": str(b.ratio), "at end": b.at_end}
                for f, b in best.items()
            ],
            "saes": records(table[["family", "seed", "sparsity_setting", "l0", "fvu", "mean_max_cosine"]]),
        }  # fmt: skip
    return made


def _text(row: Any) -> str:
    if np.isnan(row["value"]):
        return "not reached"
    return str(frontier.Interval(float(row["value"]), float(row["low"]), float(row["high"]), 0.95))


def transcoders(pages: Pages) -> dict[str, Any]:
    """Whether the hits of transcoders grow faster than 1/L0."""
    table = pages.table("transcoders")
    pages.draw(figures.transcoders, table)
    rows = [
        {"family": s.family, "exponent": str(s.exponent), "n": str(s.n), "growth": s.growth,
         "weights": {k: round(v, 3) for k, v in s.weights.items()}, "points": s.points, "outside": s.outside}
        for s in steepness(table)
    ]  # fmt: skip
    hits = table.assign(hit=1 - table["loss_recovered"], alive=table["alive_fraction"])
    dense = hits.loc[hits.groupby(["family", "seed"])["l0"].idxmax()]
    return {"steepness": rows, "densest": records(dense[["family", "seed", "l0", "hit", "alive"]])}


def equal_cost(pages: Pages) -> dict[str, Any]:
    """ReLU of Gated's size and of its cost, against Gated."""
    table = pages.table("equal_cost")
    pages.draw(figures.equal_compute, table)
    sizes = {str(f): int(v) for f, v in table.groupby("family")["dictionary_size"].first().items()}
    return {"potency": records(_by_seeds(table, "gated")), "sizes": sizes}


SECTIONS: dict[str, Callable[[Pages], dict[str, Any]]] = {
    f.__name__: f
    for f in (sweeps, separation, frequency, penalties, anatomy, recovery, transcoders, equal_cost)
}
