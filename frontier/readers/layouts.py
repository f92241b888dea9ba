"""Layouts in which a row is no SAE, or its family stands elsewhere: seeds as columns, headed sections."""

from __future__ import annotations

import re

import pandas as pd

from frontier.metrics.checks import TableError
from frontier.metrics.identity import architecture_in
from frontier.metrics.names import canonical_name, spec_of
from frontier.metrics.number_format import written
from frontier.wording import listed

_SEED = re.compile(r"(?P<name>.*?)[\s_.\-]*[(\[]?(?:seed|run)[\s_=\-]*(?P<seed>\d+)[)\]]?", re.IGNORECASE)


def by_seed(table: pd.DataFrame, said: list[str]) -> pd.DataFrame:
    """A table whose columns are metrics of several seeds ('l0_seed0', 'l0_seed1'), one SAE a row.

    >>> by_seed(pd.DataFrame({"k": [8], "l0_seed0": [8.1], "l0_seed1": [7.9]}), []).to_dict("records")
    [{'k': 8, 'l0': 8.1, 'seed': 0}, {'k': 8, 'l0': 7.9, 'seed': 1}]
    """
    found = {c: m for c in map(str, table.columns) if (m := _SEED.fullmatch(c)) and _is_metric(m["name"])}
    seeds = sorted({int(m["seed"][:9]) for m in found.values()})
    names = list(dict.fromkeys(m["name"] for m in found.values()))
    known = {canonical_name(str(c)) for c in table.columns if c not in found}
    if len(seeds) < 2 or "seed" in known or len(found) != len(seeds) * len(names):
        return table
    parts = []
    for seed in seeds:
        own = {c: m["name"] for c, m in found.items() if int(m["seed"][:9]) == seed}
        part = table.drop(columns=[c for c in found if c not in own]).rename(columns=own)
        parts.append(part.assign(seed=seed))
    said.append(f"columns of {len(seeds)} seeds ({listed(list(found), 3)}): one SAE a row")
    return pd.concat(parts, ignore_index=True)


def _is_metric(name: str) -> bool:
    spec = spec_of(canonical_name(name) or "")
    return spec is not None and spec.kind != "identity"


def sections(table: pd.DataFrame, said: list[str]) -> pd.DataFrame:
    """A table whose families stand in rows of their own, above their SAEs.

    >>> table = pd.DataFrame({"k": ["ReLU", "8", "TopK", "8"], "l0": [None, "9", None, "8"]})
    >>> sections(table, []).to_dict("records")
    [{'family': 'ReLU', 'k': '8', 'l0': '9'}, {'family': 'TopK', 'k': '8', 'l0': '8'}]
    """
    if len(table.columns) < 2 or not len(table):
        return table
    first = table.iloc[:, 0]
    heads = first.notna() & table.iloc[:, 1:].isna().all(axis=1)
    known = {canonical_name(str(c)) for c in table.columns}
    if "l0" not in known or known & {"family", "architecture"} - {canonical_name(str(table.columns[0]))}:
        return table
    words = [str(cell) for cell in first[heads]]
    below = [str(cell) for cell in first[~heads].dropna()]
    ends = heads & heads.shift(-1, fill_value=True)  # with no row of its own
    if not heads.iloc[0] or ends.any() or len(words) < 2 or len(set(words)) < len(words):
        return table
    if not all(map(_is_name, words)) or not all(map(written, below)):
        return table
    families = first.where(heads).ffill()
    rest = table[~heads].assign(family=families[~heads]) if "family" not in known else table
    said.append(f"families from the rows above their SAEs: {listed(words, 4)}")
    return rest[["family", *(c for c in rest.columns if c != "family")]].reset_index(drop=True)


def _is_name(text: str) -> bool:
    return bool(re.match(r"\w", text)) and written(text) is None and len(text) < 60


def refuse_families_as_columns(table: pd.DataFrame) -> None:
    """One metric of several families side by side: which metric, nobody says.

    Raises
    ------
    TableError
        When two or more number columns are called after architectures, and nothing else is measured.
    """
    names = [str(c) for c in table.columns]
    if not any(canonical_name(n) == "l0" for n in names):
        return
    others = [n for n in names if canonical_name(n) is None]
    families = [n for n in others if architecture_in(n)]
    measured = [n for n in names if _is_metric(n) and canonical_name(n) not in ("l0", "sparsity_setting")]
    if len(families) > 1 and len({architecture_in(n) for n in families}) == len(families) and not measured:
        raise TableError(
            f"the columns {listed(families, 4)} are families side by side: one row per SAE is wanted, with "
            "the columns architecture, l0 and the metric's name (loss_recovered, fvu, ...)"
        )
