"""What a user asks of a table that is read: which columns are ours, and which rows."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping

import pandas as pd

from frontier.metrics.axes import BETTER, SIDES, known_better, unknown_numbers, values, y_axis
from frontier.metrics.cells import is_text, read_metric
from frontier.metrics.checks import NOTES, TableError
from frontier.metrics.columns import BY_NAME, DERIVED
from frontier.metrics.names import FRACTION, PER_CENT, canonical_name, errors_beside, spec_of
from frontier.metrics.nats import nats_as_asked
from frontier.metrics.per_cent import as_share
from frontier.wording import listed, nearest, plural

IGNORED = "ignored"
"""What a column is mapped to that is to play no part."""

_BACKTICKS = re.compile(r"`([^`]*)`")
_ALLOWED = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.Invert, ast.USub, ast.BinOp,
    ast.BitAnd, ast.BitOr, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In,
    ast.NotIn, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple,
)  # fmt: skip


def renamed_as_asked(table: pd.DataFrame, columns: Mapping[str, str] | None) -> pd.DataFrame:
    """The table with columns renamed as the user says; one that is mapped to 'ignored' is left out.

    Parameters
    ----------
    columns : dict of a column's name in the file to its name here, behind that of a share also its scale:
        'fvu (%)', 'fvu (fraction)'

    Raises
    ------
    TableError
        A column that is not there, or a name that is no column of the metrics table.

    >>> renamed_as_asked(pd.DataFrame({"active": [8], "note": ["x"]}), {"active": "l0", "note": "ignored"})
       l0
    0   8
    """
    if not columns:
        return table
    for theirs, ours in columns.items():
        if theirs not in table:
            raise TableError(f"no column {theirs!r} to map{nearest(theirs, [str(c) for c in table.columns])}")
        if ours != IGNORED and spec_of(_without_scale(ours)) is None:
            raise TableError(f"{theirs!r} cannot be mapped to {ours!r}{nearest(ours, [*BY_NAME, IGNORED])}")
    gone = [theirs for theirs, ours in columns.items() if ours == IGNORED]
    table = table.copy(deep=False)
    said = [nats_as_asked(table, theirs, ours) for theirs, ours in columns.items()]
    table.attrs[NOTES] = [*table.attrs.get(NOTES, ()), *filter(None, said)]
    meant = {theirs: ours for theirs, ours in columns.items() if ours != IGNORED}
    metrics = {theirs: _without_scale(ours) for theirs, ours in meant.items()}
    errors = errors_beside([str(c) for c in table.columns], metrics)
    mapped = {f"{ours}_se" for ours in metrics.values()}
    meant |= {se: ours for se, ours in errors.items() if ours in mapped and se not in columns}
    claimed = {*meant.values(), *map(_without_scale, meant.values())}
    given_way = {ours: f"source_{ours}" for ours in claimed if ours in table and ours not in meant}
    return table.drop(columns=gone).rename(columns=given_way).rename(columns=meant)


def _without_scale(ours: str) -> str:
    """A name of ours without the scale behind it, where it is that of a share."""
    bare = ours.removesuffix(PER_CENT).removesuffix(FRACTION)
    return bare if bare == ours or canonical_name(ours) == bare else ours


def with_better(
    table: pd.DataFrame, better: Mapping[str, str] | str | None, y: str | None = None
) -> pd.DataFrame:
    """The table, which from now on knows which side of some metrics is better.

    Such a column of text, say '62 %', is read as known metrics are, and one whose name says per cent, say
    'accuracy (%)', becomes a column of shares without the %.

    Parameters
    ----------
    better : dict of column to "higher" or "lower"; or one of the two words
        A word alone is about `y`, or else about the one number column that the registry does not know.

    Raises
    ------
    TableError
        Another word, the other side of a metric that is known, a column that does not exist, or a word alone
        where several columns could be meant.
    """
    if better is None:
        return table
    if isinstance(better, str):
        better = {y or _the_unknown(table, better): better}
    said = {}
    for theirs, side in better.items():
        column = y_axis(table, theirs, over_l0=False)
        if side not in SIDES:
            raise TableError(f"better must be 'higher' or 'lower', found {side!r} for {column}")
        known = known_better(column)
        if known not in ("", side):
            raise TableError(
                f"a {known} {column} is better (docs/columns.md), found better={{{column!r}: {side!r}}} "
                f"(--better {side}); leave it out, or rename the column if it holds another quantity"
            )
        notes, signed = list[str](), set[str]()
        if column in table and not known and is_text(table[column].dtype):
            notes += read_metric(table, column, signed)
        values(table, column)  # raises where there is no such column, or it holds text
        if column in table and not known:
            table, column, more = as_share(table, column, side, signed)
            notes += more
        table.attrs[NOTES] = [*table.attrs.get(NOTES, ()), *notes]
        said[column] = side
    table.attrs[BETTER] = {**table.attrs.get(BETTER, {}), **said}
    return table


def _the_unknown(table: pd.DataFrame, side: str) -> str:
    unknown = unknown_numbers(table)
    if len(unknown) != 1:
        found = listed(unknown, 12) or "no number column that is not known already"
        raise TableError(
            f"better={side!r} is about which column? Found {found}; say better={{name: {side!r}}}"
        )
    return unknown[0]


def rows_where(table: pd.DataFrame, condition: str | None) -> tuple[pd.DataFrame, list[str]]:
    """The rows for which a condition on columns holds, and what to say of it.

    Comparisons of columns with numbers and text, `in` lists, and, or, not: the part of pandas' queries that
    can do nothing else. A name with spaces stands between backticks; one with dots may.

    Raises
    ------
    TableError
        Another expression, an unknown column, or a condition that no row meets.

    >>> table = pd.DataFrame({"l0": [8.0, 16.0], "protocol": ["a", "b"]})
    >>> rows_where(table, "protocol == 'b' and l0 < 20")[0]["l0"].tolist()
    [16.0]
    """
    if condition is None:
        return table, []
    tree, given = _parsed(condition)
    text = ast.unparse(tree)
    words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    frame = pd.DataFrame({w: _column(table, given.get(w, w)) for w in words}, index=table.index)
    try:
        kept = frame.eval(text, engine="python", local_dict={}, global_dict={})
        mask = pd.Series(kept, index=table.index).fillna(False).astype(bool)
    except Exception as error:  # whatever pandas finds wrong with a comparison
        raise TableError(f"the condition {condition!r} cannot be evaluated: {error}") from None
    count = int(mask.sum())
    if not count:
        told = "; ".join(f"{given.get(w, w)} is {listed(list(frame[w].unique()), 6)}" for w in sorted(words))
        raise TableError(f"no row meets {condition!r}; {told}")
    return table[mask.to_numpy()], [f"kept {count} of {plural(len(table), 'row')}: {condition}"]


def conditions_joined(condition: str | None) -> list[ast.expr]:
    """The parts of a condition that all have to hold, each name that of a column.

    >>> [ast.unparse(part) for part in conditions_joined("layer == 3 and (l0 < 20 or seed == 0)")]
    ['layer == 3', 'l0 < 20 or seed == 0']
    """
    ahead = [_named(condition).body] if condition is not None else []
    found: list[ast.expr] = []
    while ahead:
        part = ahead.pop(0)
        if isinstance(part, ast.BoolOp) and isinstance(part.op, ast.And):
            ahead = part.values + ahead
        else:
            found.append(part)
    return found


def words_in(condition: str | None) -> set[str]:
    """The names of columns in a condition.

    >>> sorted(words_in("layer == 3 and (`my set` == 'a' or eval.n < 2)"))
    ['eval.n', 'layer', 'my set']
    """
    nodes = ast.walk(_named(condition)) if condition is not None else ()
    return {n.id for n in nodes if isinstance(n, ast.Name)}


def in_condition(column: str) -> str:
    """A column's name as it stands in a condition: between backticks where it is no plain or dotted name.

    >>> in_condition("eval.n_inputs"), in_condition("my set")
    ('eval.n_inputs', '`my set`')
    """
    plain = all(part.isidentifier() and not keyword.iskeyword(part) for part in column.split("."))
    return column if plain else f"`{column}`"


def is_equal(column: str, value: object) -> str:
    """The condition that a column has a value.

    >>> is_equal("protocol", "pile"), is_equal("layer", 3)
    ("protocol == 'pile'", 'layer == 3')
    """
    plain = value.item() if hasattr(value, "item") else value
    return f"{in_condition(column)} == {plain!r}"


class _StandIns(dict[str, str]):
    """Columns whose names have other signs than Python's, and a name for each that the condition has not."""

    def __init__(self, condition: str) -> None:
        super().__init__()
        self.begin = "column_"
        while self.begin in condition:
            self.begin += "_"

    def __missing__(self, name: str) -> str:
        return self.setdefault(name, f"{self.begin}{len(self)}")


class _Dotted(ast.NodeTransformer):
    """Dotted names, which would be attributes, as names of columns."""

    def __init__(self, named: _StandIns) -> None:
        self.named = named

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        name = ast.unparse(node)
        if not re.fullmatch(r"[^\W\d]\w*(?:\.\w+)+", name):
            return node
        return ast.Name(self.named[name], ast.Load())


def _named(condition: str) -> ast.Expression:
    """A condition as Python reads it, the names of columns as they are, whatever signs they have."""
    tree, given = _parsed(condition)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = given.get(node.id, node.id)
    return tree


def _parsed(condition: str) -> tuple[ast.Expression, dict[str, str]]:
    """A condition as Python reads it, and the columns behind the names that stand for one that is none."""
    named = _StandIns(condition)
    text = _BACKTICKS.sub(lambda m: named[m[1]], condition)
    wanted = 'write comparisons such as "protocol == \'a\' and l0 < 100" or "layer in [3, 5]"'
    try:
        tree = ast.parse(text.strip(), mode="eval") if len(text) <= 2000 else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if tree is None:
        raise TableError(f"the condition {condition[:200]!r} is no expression; {wanted}")
    tree = _Dotted(named).visit(tree)
    nodes = list(ast.walk(tree))
    odd = next((n for n in nodes if not isinstance(n, _ALLOWED)), None)
    lacks = [k.__name__ for k in (ast.Name, ast.Compare) if not any(isinstance(n, k) for n in nodes)]
    if odd is not None or lacks:
        what = f"holds {type(odd).__name__.lower()}" if odd is not None else "compares no column"
        raise TableError(f"the condition {condition!r} {what}, which is not allowed; {wanted}")
    return tree, {placeholder: name for name, placeholder in named.items()}


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    """A column by our name or the source's, or one that can be computed."""
    found = name if name in table else canonical_name(name) or name
    if found in table:
        return table[found]
    if found not in DERIVED:
        raise TableError(f"no column {name!r} to choose rows by{nearest(name, map(str, table.columns))}")
    return pd.Series(values(table, found), index=table.index)
