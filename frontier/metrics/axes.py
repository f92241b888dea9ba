"""Which columns can be an axis, which way they are better, and which curves may hold for them.

What is known of a metric stands in the registry (`columns`); for others the user says it, and it travels
with the table. A direction is never guessed.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from frontier.metrics.cells import holds_per_cent
from frontier.metrics.checks import TableError
from frontier.metrics.columns import BY_NAME, DERIVED, FIDELITY, ONE_MINUS, REASONS, Column, derive
from frontier.metrics.names import bare_name, canonical_name, column_named, slug
from frontier.wording import in_shell, listed, nearest, number

NO_COUNT = re.compile(
    r"acc|score|loss|auc|(?:^|_)(?:f1|time|id|seed|epoch|steps?|lr|rate|size|ce|ppl)(?:_|$)"
)
"""Words of columns that hold no number of latents."""

_METRIC = re.compile(r"loss|score|recov|variance|mse|err|kl|ce|acc|auc|cos|fid|qual")
_LIKELY = (
    ("recov|(?:loss|ce)_rec(?:_|$)", "loss_recovered"), ("^kl|_kl(?:_|$)|kullback", "kl"),
    ("delta|increase|degradation", "delta_ce"), ("explained|r2|fve", "explained_variance"),
    ("unexplained|nmse|fvu", "fvu"), ("mse|squared_err", "mse"), ("cos", "cosine_similarity"),
)  # fmt: skip
"""Words in names of metrics, and which of ours they may be."""
_CHANGED = re.compile(
    r"(?:^|_)(?:1|one|minus|log\d*|ln|neg|negative|inv|inverse|recip\w*|dist|distance|sqrt|rank|zscore)(?:_|$)"
)
"""Words in names of what was computed from a metric."""
_SPREAD = re.compile(r"(?:^|_)(?:std|sd|se|sem|var|min|max|count)(?:_|$)")
OF_L0 = frozenset({"l0", *(name for name, needs in DERIVED.items() if "l0" in needs)})
"""What stands on the x axis: L0, and what is computed from it."""
BETTER = "frontier_better"
SIDES = ("higher", "lower")


def values(table: pd.DataFrame, column: str) -> np.ndarray:
    """A column's numbers, computed ones (sparsity, performance_hit, 1 - explained_variance, ...) on demand.

    Returns
    -------
    ndarray of float, shape (rows,)

    Raises
    ------
    TableError
        When the table has neither the column nor what it is computed from; nearest names are offered.
    """
    needs = DERIVED.get(column, ())
    if needs and all(n in table for n in needs):
        return derive(column, *(_floats(table, n) for n in needs))
    if column in table:
        return _floats(table, column)
    if column.startswith(ONE_MINUS):
        return 1 - values(table, column.removeprefix(ONE_MINUS))
    if needs:
        lacking = [n for n in needs if n not in table]
        asked = (
            l0_question(table) if lacking == ["l0"] else f"; the table has {listed(list(table.columns), 30)}"
        )
        raise TableError(f"{column} needs {listed(lacking)}{asked}")
    if column == "l0":
        raise TableError(f"no L0 column{l0_question(table)}")
    derived = [name for name, sources in DERIVED.items() if all(n in table for n in sources)]
    known = dict.fromkeys([*map(str, table.columns), *derived])
    raise TableError(f"no column {column!r}{nearest(column, [c for c in known if c not in REASONS])}")


def better_of(table: pd.DataFrame, column: str) -> str:
    """'higher' or 'lower', as the user or else the registry says; empty where neither does."""
    said = table.attrs.get(BETTER, {}).get(column)
    return said or known_better(column)


def known_better(column: str) -> str:
    """What the registry says of a column's better side; empty where it does not know.

    >>> known_better("ce_sae"), known_better("1 - ravel"), known_better("l2_ratio")
    ('lower', 'lower', '')
    """
    spec = column_named(column)
    return spec.better if spec else ""


def goal(table: pd.DataFrame, column: str) -> str:
    """'max' where more of a column is better, 'min' where less is.

    Raises
    ------
    TableError
        Where nobody has said so; says what to type.
    """
    better = better_of(table, column)
    if not better:
        values(table, column)
        raise TableError(
            f"is a higher or a lower {column} better? Nobody has said: better={{{column!r}: 'higher'}} "
            "where the table is read, --better higher (or lower) in the command"
        )
    return "max" if better == "higher" else "min"


def falling_axis(table: pd.DataFrame, column: str) -> str:
    """The y axis of a comparison of `column`, where lower must be better: itself, or 1 minus it.

    Raises
    ------
    TableError
        Where nobody has said which side is better, or where better is higher without a bound.
    """
    if goal(table, column) == "min":
        return column
    spec = column_named(column)
    known = known_falling(spec) if spec else ""
    if known:
        return known
    most = values(table, column)
    largest = float(np.nanmax(most)) if np.isfinite(most).any() else np.nan
    if spec or not largest <= 1:
        raise TableError(
            f"y = {column} is better when higher and has no bound (largest value {number(largest)}), so no "
            "axis falls to 0; give it as a share of the best possible value, or take another y"
        )
    return ONE_MINUS + column


def known_falling(spec: Column) -> str:
    """What falls to 0 where a metric of the registry gets better; empty where nothing does.

    >>> known_falling(column_named("loss_recovered")), known_falling(column_named("cosine_similarity"))
    ('performance_hit', '1 - cosine_similarity')
    """
    if spec.better == "lower":
        return spec.name
    rises_to_one = spec.better == "higher" and (spec.kind == "fraction" or spec.high == 1)
    return spec.falling or (ONE_MINUS + spec.name if rises_to_one else "")


def has_top(column: str) -> bool:
    """Whether a y axis levels off at a known height, so that a Hill curve with a fixed top may hold.

    >>> has_top("fvu"), has_top("1 - explained_variance_legacy"), has_top("delta_ce")
    (True, True, False)
    """
    spec = column_named(column)
    return spec is not None and spec.top is not None


def falls_to_zero(column: str) -> bool:
    """Whether the best value of a y axis is known to be 0, as of fidelities but a cross-entropy itself.

    >>> [falls_to_zero(y) for y in ("fvu", "1 - cosine_similarity", "delta_ce", "ce_sae", "perplexity")]
    [True, True, True, False, False]
    """
    spec = column_named(column)
    return spec is not None and spec.name != "ce_sae" and (spec.place > 0 or spec.top is not None)


def usual_curve(y: str) -> str:
    """The curve that is fitted where nobody names one: Hill where the axis has a top, else a power law."""
    return "hill" if has_top(y) else "power"


def usual_curve_remark(y: str) -> str:
    """What to say of that choice; empty where it is the Hill curve."""
    if has_top(y):
        return ""
    return f"{y} has no known upper bound: a power law is fitted, not a Hill curve with top 1"


def y_axis(table: pd.DataFrame, y: str | None = None, *, over_l0: bool = True) -> str:
    """The y axis asked for, by our name or another tool's, or else the default.

    Raises
    ------
    TableError
        When it is L0 or what is computed from it, which is the x axis (`over_l0`).

    >>> y_axis(pd.DataFrame({"loss_recovered": [0.9]}), "CE loss score")
    'loss_recovered'
    """
    if y is None:
        return default_y(table)
    if not isinstance(y, str):
        raise TableError(f"y must be the name of one column, found {y!r}")
    found = next((n for n in (y, bare_name(y)) if n in table), canonical_name(y) or y)
    if over_l0 and found in OF_L0:
        metrics = [c for c in FIDELITY if is_known(table, c)] + other_metrics(table)
        raise TableError(
            f"y = {y} is the x axis here; y is a metric that is read over L0: {listed(metrics, 6)}"
        )
    return found


def default_y(table: pd.DataFrame) -> str:
    """What stands on the y axis where nobody says: the first that the table knows, less being better.

    The order is the registry's: `performance_hit`, `delta_ce` (where no ablated loss is given), `fvu`, `kl`,
    `mse`, 1 - explained variance in its definitions, `ce_sae`, 1 - `cosine_similarity`; at last the one other
    metric whose better side is known.

    Raises
    ------
    TableError
        When there is none of them, or several others.
    """
    if not len(table):
        raise TableError("the table has no rows")
    usual, others = known_axes(table), other_metrics(table)
    if usual:
        return usual[0]
    if len(others) == 1:
        return falling_axis(table, others[0])
    if others:
        raise TableError(f"which metric is y? The table has {listed(others, 12)}; name one (y=, --y)")
    raise TableError(f"no default y axis ({listed(FIDELITY)}); {question(table)}")


def known_axes(table: pd.DataFrame) -> list[str]:
    """The usual y axes of which a table has some number, the first taken by default.

    >>> known_axes(pd.DataFrame({"fvu": [0.2], "loss_recovered": [0.9]}))
    ['performance_hit', 'fvu']
    """
    return list(dict.fromkeys(a for c in FIDELITY if is_known(table, a := falling_axis(table, c))))


def other_metrics(table: pd.DataFrame) -> list[str]:
    """Metrics of the table beside the usual ones, whose better side the registry or the user knows."""
    usual = {*BY_NAME, *DERIVED}
    return [
        c for c in map(str, table.columns) if c not in usual and better_of(table, c) and is_known(table, c)
    ]


def question(table: pd.DataFrame) -> str:
    """What to type where a table holds only metrics that the registry does not know."""
    unknown = sorted(
        unknown_numbers(table), key=lambda c: (bool(_SPREAD.search(slug(c))), not _METRIC.search(slug(c)))
    )
    if not unknown:
        return f"name a column; the table has {listed([str(c) for c in table.columns], 30)}"
    first = unknown[0]
    ours = next((name for pattern, name in _LIKELY if re.search(pattern, slug(first))), "")
    as_ours = in_shell(f"{first}={ours}")
    itself = f"if {first} is {ours}, say columns={{{first!r}: {ours!r}}} (--map {as_ours}); "
    side, other = SIDES
    if _CHANGED.search(slug(first)):
        itself = f"{first} is not {ours} itself: give that in a column {ours}; "
        side, other = SIDES if "log" in slug(first) else SIDES[::-1]
    return (
        f"{itself if ours else ''}if {' or '.join(unknown[:3])} is {'another' if ours else 'a'} metric, say "
        f"which side is better: better={{{first!r}: {side!r}}} (or {other!r}), in the command "
        f"--y {in_shell(first)} --better {side}"
    )


def l0_question(table: pd.DataFrame) -> str:
    """What to type where a table has no L0: which column may hold it; empty where none may.

    >>> print(l0_question(pd.DataFrame({"active": [8.0]})))
    ; if 'active' is L0, say columns={'active': 'l0'} (--map active=l0)
    """
    numbers = [c for c in unknown_numbers(table) if not NO_COUNT.search(slug(c))]
    if "sparsity" in table and pd.Series(values(table, "sparsity")).median() > 1:
        numbers.insert(0, "sparsity")  # which is 1/L0 here
    sizes = [c for c in numbers if re.fullmatch(r"\d+(?:[.,]\d+)?", c.strip())]
    if len(sizes) > 2 and len(sizes) == len(numbers):
        return (
            f"; {listed(sizes, 3)} seem to be L0s with a column each: one row per SAE is wanted, with its L0 "
            "in a column l0 and its metric in another"
        )
    named = [c for c in numbers if re.search(r"(?:^|_)l_?0(?:_|$)", slug(c))]
    of_it = [
        c
        for c in named
        if re.search(r"^1_|inv|recip|log|frac|share|dens|pct|per_?cent|std|sd|se|var", slug(c))
    ]
    if named and named == of_it:
        return _not_itself(named)
    named = [c for c in named if c not in of_it]
    if len(named) > 1:
        return (
            f"; {listed(named, 4)} seem to be the L0 of several families or evaluations: one row per SAE is "
            f"wanted, with a column architecture; or name the one that is meant ({_as_l0(named[0])})"
        )
    names = set(map(str, table.get("sparsity_name", pd.Series(dtype=object)).dropna()))
    if not named and names and names <= {"k", "target_l0"}:
        return (
            f"; if {' or '.join(sorted(names))} counts active latents in every row, as k of TopK does, "
            f"say columns={{'sparsity_setting': 'l0'}} ({_as_l0('sparsity_setting')})"
        )
    likely = named or [c for c in numbers if re.search(r"activ|sparsity|nonzero|firing|latent|feat", slug(c))]
    if likely and all(re.search(r"frac|share|dens|pct|per_?cent", slug(c)) for c in likely):
        return _not_itself(likely)
    if not (likely or numbers):
        return (
            "; one row per SAE is wanted, with its L0 in a column (--map theirs=l0 where it has another name)"
        )
    column = (likely or numbers)[0]
    which = repr(column) if likely or len(numbers) == 1 else f"one of {listed(numbers, 6)}, say {column!r},"
    return f"; if {which} is L0, say columns={{{column!r}: 'l0'}} ({_as_l0(column)})"


def _not_itself(columns: list[str]) -> str:
    return f"; {listed(columns, 3)} is not L0 itself: give the number of active latents in a column l0"


def _as_l0(column: str) -> str:
    return f"--map {in_shell(f'{column}=l0')}"


def unknown_numbers(table: pd.DataFrame) -> list[str]:
    """Columns of numbers, or of text such as '62 %', that the registry does not know."""
    return [
        str(c)
        for c in table.columns
        if column_named(str(c).removesuffix("_se")) is None
        and (holds_per_cent(table[c]) or pd.api.types.is_numeric_dtype(table[c].dtype))
        and not pd.api.types.is_bool_dtype(table[c].dtype)
    ]


def is_known(table: pd.DataFrame, column: str) -> bool:
    """Whether a column, or what it is computed from, holds any number."""
    try:
        return bool(np.isfinite(values(table, column)).any())
    except TableError:
        return False


def _floats(table: pd.DataFrame, column: str) -> np.ndarray:
    try:
        return table[column].to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError):
        side = f"better={{{column!r}: 'higher'}}"
        asked = f"; {side} (or 'lower') reads them as a metric" if holds_per_cent(table[column]) else ""
        raise TableError(f"column {column} holds text, expected numbers{asked}") from None
