"""What pruning costs: each method for each SAE, against the global threshold and sparser training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from frontier.studies.evaluation import Evaluation, EvaluationError
from frontier.studies.paired_frontiers import LeftOut, estimate, over_saes

METHODS = ("top k", "share of maximum", "quantile", "global threshold")
BEST_OF_THE_POST = "global threshold"


def pruning_costs(
    evaluation: Evaluation, share: float = 0.5, metric: str = "ce_sae", level: float = 0.95
) -> pd.DataFrame:
    """What each method costs each SAE where it leaves this share of its L0; a row per SAE and method.

    Columns beside `parent`, `base` (its family), `method` and `l0` (of the SAE as it is), each with `_se`,
    `_low` and `_high` from differences paired by batch; missing where a sweep does not reach:

    - `cost`: metric of the pruned SAE less that of the SAE as it is;
    - `behind`: less that of the global threshold at the same L0;
    - `against_trained`: less that of SAEs of the same family that were trained to this L0 (interpolated).
    """
    left, rows, table = LeftOut(evaluation), [], pruned_rows(evaluation)
    for base, family in table.groupby("base", sort=False):
        trained = list(dict.fromkeys(family["parent"]))
        for parent, members in family.groupby(family["parent"].astype(str), sort=False):
            curves = {m: list(part["run_id"]) for m, part in members.groupby("method", sort=False)}
            l0, own = left.metric(str(parent), "l0"), left.metric(str(parent), metric)
            found = {m: left.curve(ids, metric, share * l0) for m, ids in curves.items()}
            beside = {"cost": own, "against_trained": left.curve(trained, metric, share * l0)}
            if BEST_OF_THE_POST in found:
                beside["behind"] = found[BEST_OF_THE_POST]
            for method, values in found.items():
                row = {"parent": parent, "base": base, "method": method, "l0": l0[0], "metric": metric}
                rows.append(row | _columns({k: values - v for k, v in beside.items()}, level))
    return pd.DataFrame(rows)


def compare_methods(costs: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Means over the SAEs of each family, the SAE as the unit: cost, and how far behind the threshold.

    `cost` is over the `saes` that the method reaches, `behind` over the `saes_behind` that the threshold
    reaches too; the intervals of `behind` hold together for all methods of a family (Bonferroni). `left_out`
    and `left_out_behind` name the other SAEs.
    """
    rows = []
    for base, part in costs.groupby("base", sort=False):
        wide = part.pivot_table(index="parent", columns="method", values="cost", dropna=False, sort=False)
        for method in wide:
            row = {"family": base, "method": method} | _over_reached(wide[method], "cost", level)
            if BEST_OF_THE_POST in wide and method != BEST_OF_THE_POST:
                gaps = wide[method] - wide[BEST_OF_THE_POST]
                row |= _over_reached(gaps, "behind", level, len(wide.columns) - 1)
            rows.append(row)
    return pd.DataFrame(rows)


def _over_reached(values: pd.Series, name: str, level: float, comparisons: int = 1) -> dict[str, object]:
    """The mean over the SAEs that have a value, with how many they are and the names of the others."""
    end = "" if name == "cost" else f"_{name}"
    found = over_saes(values.dropna(), level, comparisons)
    missing = ", ".join(map(str, values.index[values.isna()]))
    return {
        name: found.value, f"{name}_low": found.low, f"{name}_high": found.high,
        f"saes{end}": int(values.notna().sum()), f"left_out{end}": missing,
    }  # fmt: skip


def pruned_rows(evaluation: Evaluation) -> pd.DataFrame:
    """The pruned rows, with their `method` and the family `base` of their parent.

    Raises
    ------
    EvaluationError
        If there are none.
    """
    table = evaluation.table
    found = table[table["sparsity_name"].isin(METHODS)] if "parent" in table else table[:0]
    found = found[found["parent"].notna()] if len(found) else found
    if not len(found):
        raise EvaluationError("this evaluation holds no pruned SAEs; `prune` makes one")
    base = [f.removesuffix(f" + {m}") for f, m in zip(found["family"], found["sparsity_name"], strict=True)]
    return found.assign(method=found["sparsity_name"], base=base)


def _columns(differences: dict[str, np.ndarray], level: float) -> dict[str, float]:
    columns: dict[str, float] = {}
    for name, values in differences.items():
        found = estimate(values, level)
        ends = {"": found.value, "_se": found.se, "_low": found.low, "_high": found.high}
        columns |= {name + end: value for end, value in ends.items()}
    return columns
