"""Which rows belong together: cells, families inside them, runs of one setting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frontier.metrics import usable, values
from frontier.metrics.checks import TableError
from frontier.metrics.one_sae import are_several
from frontier.metrics.spellings import bare
from frontier.metrics.steps import without_step
from frontier.missing_families import missing
from frontier.results import Group, in_words
from frontier.wording import MISSING, listed, nearest, plural

Codes = NDArray[np.integer[Any]]

IDENTITY = ("model", "site", "layer")
"""Default cells: rows that differ in one of these never share a frontier."""

SIZE = "dictionary_size"
"""A default cell as well, where every size holds every family."""

BUDGET = "tokens_trained"
"""A default cell as well, where SAEs are there at several budgets (`checkpoints="all"`)."""

PROTOCOL = ("protocol", "ablation", *IDENTITY)
"""Rows that differ in one of these never meet in one fit unless the column is named in `across`."""

POOLED = (*PROTOCOL, SIZE, BUDGET)
"""Columns of which a group that holds several values says so."""

HYPERPARAMETERS = (SIZE, BUDGET, "learning_rate", "lr")
"""What a search tries besides the sparsity setting."""

RECIPE = (
    "family", "architecture", SIZE, "sparsity_name", "sparsity_setting", BUDGET, "learning_rate", "lr",
)  # fmt: skip
"""Runs equal in these (L0 where the setting is unknown) differ by their seed only."""

SPLITS = {SIZE: "every size holds every family", BUDGET: "SAEs are there at several budgets"}
"""Why a column that nobody named splits a table."""

NO_CELLS = "none"
"""What `by` is called where all rows are one cell."""

REMEMBERED = "frontier_cells"
"""Where a Pareto set keeps the default cells that it was taken in, so that a fit through it has the same."""


class Pair(NamedTuple):
    """A family and the reference in one cell, by their group's number."""

    cell: Group
    family: int
    reference: int


@dataclass(frozen=True, eq=False)
class Groups:
    """A table's rows in groups: a cell (model, site, layer, ...) and in it one family.

    Attributes
    ----------
    columns : names of the columns whose values name a group, in the order asked for
    family : the one among them that names the family; empty where families are not kept apart
    codes : shape (rows,), the number of each row's group
    names : the values that name each group, in order of first appearance
    notes : which column split the table unasked, and of what a group holds several values

    Examples
    --------
    >>> table = pd.DataFrame({"family": ["relu", "topk"] * 2, "layer": [3, 3, 4, 4]})
    >>> groups = Groups.of(table)
    >>> groups.cells, groups.family, groups.codes.tolist()
    (('layer',), 'family', [0, 1, 2, 3])
    """

    columns: tuple[str, ...]
    family: str
    codes: Codes
    names: tuple[Group, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, table: pd.DataFrame, by: Sequence[str] | str | None = None, family: str | None = "family"
    ) -> Groups:
        """The groups of a metrics table.

        Parameters
        ----------
        by : column names, optional
            The cells. Default: model, site and layer where present, dictionary_size where every size holds
            every family, and tokens_trained where SAEs are there at several budgets. `"none"` or `[]`: all
            rows are one cell.
        family : column name or None
            Families are kept apart, unless it is None or `by` tells them apart already.

        Raises
        ------
        TableError
            When a named column does not exist.
        """
        cells = default_cells(table, family) if by is None else _asked(table, by)
        columns = _with_family(table, cells, family)
        column = next((c for c in (family, "architecture") if c and c in columns), "")
        found = cls(tuple(columns), column if family is not None else "", np.empty(0, int), ()).on(table)
        split = [
            f"{column} splits the groups, as {why} (by=[...] to decide otherwise)"
            for column, why in SPLITS.items()
            if by is None and column in cells
        ]
        return replace(found, notes=(*split, *_spelled_alike(table, found), *_pooled(table, found)))

    def on(self, rows: pd.DataFrame) -> Groups:
        """The same columns over other rows."""
        codes, names = group_codes(rows, self.columns)
        return replace(self, codes=codes, names=tuple(names))

    @property
    def cells(self) -> tuple[str, ...]:
        """The columns that name a cell; families meet inside a cell only."""
        return tuple(c for c in self.columns if c != self.family)

    def cell_of(self, group: Group) -> Group:
        """The cell that a group stands in."""
        return {c: group[c] for c in self.cells}

    def rows_of(self, number: int) -> NDArray[np.intp]:
        """Positions of one group's rows."""
        return np.flatnonzero(self.codes == number)

    def pairs(self, reference: str) -> tuple[list[Pair], list[str]]:
        """Every other family with the reference of its cell, and remarks on what cells lack."""
        by_cell: dict[tuple[Any, ...], dict[str, int]] = {}
        for i, name in enumerate(self.names):
            by_cell.setdefault(tuple(name[c] for c in self.cells), {})[str(name[self.family])] = i
        cells = [(dict(zip(self.cells, cell, strict=True)), members) for cell, members in by_cell.items()]
        pairs = [
            Pair(group, i, members[reference])
            for group, members in cells
            if reference in members
            for name, i in members.items()
            if name != reference
        ]
        return pairs, missing({in_words(group) or "the table": own for group, own in cells}, reference)


def default_cells(table: pd.DataFrame, family: str | None = "family") -> list[str]:
    """Model, site and layer where present; sizes where each holds every family; budgets of one SAE apart.

    A size holds a family with two SAEs or more: one is no frontier. A Pareto set keeps the cells that it was
    taken in.
    """
    kept = table.attrs.get(REMEMBERED)
    if kept is not None and all(c in table for c in kept):
        return list(kept)
    cells = [c for c in IDENTITY if c in table and table[c].notna().any()]
    rows = usable(table)
    cells += [BUDGET] if BUDGET in rows and varies(rows[BUDGET]) and saes_at_several(rows, BUDGET) else []
    if SIZE not in table or not varies(table[SIZE]):
        return cells
    families = [c for c in (family, "architecture") if c and c in table][:1]
    runs = rows.groupby([*cells, SIZE, *families], dropna=False).size()
    sizes = rows[[*cells, SIZE]].drop_duplicates()
    groups = rows[[*cells, *families]].drop_duplicates()
    whole = sizes.merge(groups, on=cells) if cells else sizes.merge(groups, how="cross")
    split = len(sizes) > len(sizes[cells].drop_duplicates()) if cells else True
    return [*cells, SIZE] if split and len(runs) == len(whole) and (runs > 1).all() else cells


def saes_of(rows: pd.DataFrame, columns: Iterable[str] = ()) -> pd.Series:
    """One number per SAE, whatever its step: its names differ by the step alone; -1 for a row without a name.

    SAEs differ by these columns as well, by model, site, layer, family, seed and sparsity setting. A name
    that several SAEs share (`are_several`) is none.

    >>> rows = {"run_id": ["a_step100", "a", "b", "a", None], "family": ["topk"] * 3 + ["relu"] * 2}
    >>> saes_of(pd.DataFrame(rows)).tolist()
    [0, 0, 1, 2, -1]
    """
    if "run_id" not in rows:
        return pd.Series(-1, rows.index)
    told = dict.fromkeys((*columns, *IDENTITY, "family", "seed", "sparsity_setting"))
    names = [
        rows[c].map(lambda name: without_step(str(name)), na_action="ignore").rename(c)
        for c in ("source", "run_id")
        if c in rows
    ]
    codes = codes_of([*(rows[c] for c in told if c in rows), *names])
    named = rows["run_id"].notna().to_numpy()
    if BUDGET in rows:
        named = named & ~are_several(rows, codes, rows[BUDGET].to_numpy(dtype=float, na_value=np.nan))
    return pd.Series(codes, rows.index).where(named, -1)


def saes_at_several(rows: pd.DataFrame, column: str, columns: Iterable[str] = ()) -> int:
    """How many SAEs (see `saes_of`) are there at several values of a column."""
    pairs = pd.DataFrame({"sae": saes_of(rows, columns), "at": rows[column]}).dropna().drop_duplicates()
    return int((pairs["sae"][pairs["sae"] >= 0].value_counts() > 1).sum())


def group_codes(table: pd.DataFrame, columns: Sequence[str]) -> tuple[Codes, list[Group]]:
    """One integer per row, and the values that name each group, in order of first appearance.

    Missing group values form a group of their own.
    """
    if not columns:
        return np.zeros(len(table), dtype=np.int64), [{}] if len(table) else []
    codes = codes_of([table[c] for c in columns])
    first = np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1))
    rows = zip(*(table[c].iloc[first] for c in columns), strict=True)
    return codes, [{c: _scalar(v) for c, v in zip(columns, row, strict=True)} for row in rows]


def codes_of(columns: Sequence[pd.Series]) -> Codes:
    """One integer per row, the same where all columns agree (missing with missing), by first appearance.

    As `groupby(..., sort=False, dropna=False).ngroup()`, in a fifth of the time on small tables.

    >>> codes_of([pd.Series(["b", "a", "b", None]), pd.Series([1, 1, 1, 2])]).tolist()
    [0, 1, 0, 2]
    """
    codes, _ = pd.factorize(columns[0], use_na_sentinel=False)
    for column in columns[1:]:
        own, levels = pd.factorize(column, use_na_sentinel=False)
        codes, _ = pd.factorize(codes.astype(np.int64) * len(levels) + own)
    return np.asarray(codes, dtype=np.int64)


def setting_codes(table: pd.DataFrame, columns: Sequence[str] = (), ignoring: Sequence[str] = ()) -> Codes:
    """One integer per row: equal for runs of one group (`columns`) that differ by their seed only.

    Runs are replicates when they agree in family, architecture, dictionary size and sparsity setting; where
    the setting is not known, when they agree in L0 (a TopK family). Columns in `ignoring` may differ.
    """
    wanted = [c for c in dict.fromkeys((*columns, *RECIPE)) if c in columns or c not in ignoring]
    keys = pd.DataFrame({c: table[c] for c in wanted if c in table}, index=table.index)
    known = keys["sparsity_setting"].notna() if "sparsity_setting" in keys else pd.Series(False, keys.index)
    keys["_l0"] = np.where(known.to_numpy(), 0.0, values(table, "l0"))
    return codes_of([keys[c] for c in keys])


def varies(column: pd.Series) -> bool:
    """Whether a column holds more than one value, missing ones aside."""
    return len(column.dropna().unique()) > 1


def as_text(column: pd.Series) -> pd.Series:
    """A column as text, whole numbers as in the names of groups; missing differs from known.

    >>> as_text(pd.Series([1.0, 2.5, None])).tolist()
    ['1', '2.5', '(missing)']
    """
    text = column.astype("string")
    if pd.api.types.is_float_dtype(column.dtype):
        text = text.str.removesuffix(".0")
    return text.fillna(MISSING)


def _asked(table: pd.DataFrame, by: Sequence[str] | str) -> list[str]:
    """The columns that `by` names."""
    columns = [by] if isinstance(by, str) else list(by)
    if columns == [NO_CELLS] and NO_CELLS not in table:
        return []
    for column in columns:
        if column not in table:
            raise TableError(f"no column {column!r} to group by{nearest(str(column), list(table.columns))}")
    return list(dict.fromkeys(columns))


def _with_family(table: pd.DataFrame, cells: list[str], family: str | None) -> list[str]:
    """`cells` and the family's column, unless a cell column tells families apart already."""
    if family not in (None, "family", *table.columns):
        raise TableError(f"no column {family!r} to group by{nearest(str(family), list(table.columns))}")
    if family is None or family not in table or family in cells:
        return cells
    keys = [c for c in cells if c == "architecture"] if family == "family" else []
    if keys and table.groupby(keys, dropna=False)[family].nunique(dropna=False).max() <= 1:
        return cells
    return [*cells, family]


def _spelled_alike(table: pd.DataFrame, groups: Groups) -> Iterator[str]:
    """What is said of families whose names differ in case, spaces and hyphens alone."""
    if not groups.family:
        return
    names: dict[str, list[str]] = {}
    for name in usable(table)[groups.family].dropna().unique():
        names.setdefault(bare(str(name)), []).append(str(name))
    for alike in names.values():
        if len(alike) > 1:
            told = listed([repr(n) for n in alike], 4)
            yield f"{told} are taken for different families; if they are one, spell them alike"


def _pooled(table: pd.DataFrame, groups: Groups) -> Iterator[str]:
    """What is said of groups that hold several values of a column which often makes a difference."""
    for column in POOLED:
        if column in groups.columns or column not in table or table[column].nunique(dropna=False) < 2:
            continue
        rows = usable(table)
        text, codes = as_text(rows[column]), groups.on(rows).codes
        several = text.groupby(codes).transform("nunique") > 1
        if several.any():
            found = listed(list(dict.fromkeys(text[several])), 4)
            count = plural(len(np.unique(codes[several.to_numpy()])), "group")
            yield f"{column} {found} pooled in {count} (name {column} in by to keep them apart)"


def _scalar(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if pd.isna(value):
        return MISSING
    return int(value) if isinstance(value, float) and value.is_integer() else value
