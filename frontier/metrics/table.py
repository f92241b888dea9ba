"""The metrics table: one row per trained SAE, the one shape of data that travels between all steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from frontier.metrics import checks, finished, parts, per_cent
from frontier.metrics.asked import with_better
from frontier.metrics.axes import (
    better_of,
    l0_question,
    other_metrics,
    question,
    unknown_numbers,
)
from frontier.metrics.axes import default_y as default_y
from frontier.metrics.axes import values as values
from frontier.metrics.axes import y_axis as y_axis
from frontier.metrics.cells import clean_names, holds_nothing, read_numbers
from frontier.metrics.checks import NOTES as NOTES
from frontier.metrics.checks import TableError
from frontier.metrics.columns import COLUMNS, DERIVED, FIDELITY, REASONS
from frontier.metrics.frames import flat
from frontier.metrics.frames import give_back as give_back
from frontier.metrics.frames import to_pandas as to_pandas
from frontier.metrics.identity import (
    layers_in_families,
    models_or_architectures,
    places,
    settings_in_families,
    told_by_cells,
    told_by_names,
    without_family,
)
from frontier.metrics.impossible import impossible_l0, impossible_values
from frontier.metrics.losses import hits_given, recovered_from_losses, weak_ablations
from frontier.metrics.names import (
    canonical_name,
    errors_beside,
    means_beside_spreads,
    read_names,
    setting_name,
    slug,
    spec_of,
)
from frontier.metrics.nats import losses_in_nats
from frontier.metrics.spellings import padded_layers, spellings
from frontier.metrics.steps import are_steps
from frontier.metrics.summaries import summary_cells
from frontier.wording import inert, listed, plural

CHECKED = "frontier_checked"
UNUSED = "frontier_unused"
"""Attribute of a table: what stood in its files beside the metrics, and is not carried along."""

WRITTEN = frozenset({
    "pareto_optimal", "slack", "tie_id", "group_runs", "parent", "started_from", "tokens_before",
    "learning_rate", "lr", "state", "status",
})  # fmt: skip
"""Columns that this project writes or looks at beside those of the registry."""

RUNS_TABLE = frozenset({
    "name", "notes", "user", "tags", "created", "runtime", "sweep", "group", "job_type", "date", "comment",
})  # fmt: skip
"""Columns of a table of runs that say nothing of an SAE."""

MACHINES = frozenset({
    "device", "hostname", "host", "git_hash", "wandb_name", "wandb_project", "wandb_entity", "wandb_id",
    "save_dir", "output_dir", "entity", "project", "url", "path",
})  # fmt: skip
"""What configs say of machines and places; the last part of a name."""

GROUPED = frozenset({
    "group", "tags", "project", "wandb_project", "notes", "comment", "sweep", "job_type", "save_dir",
    "output_dir",
})  # fmt: skip
"""Those among them by which runs are put together: they matter where SAEs come back in several."""


def metrics_table(source: Any, *, better: Mapping[str, str] | str | None = None) -> pd.DataFrame:
    """A checked copy of `source` under this project's column names.

    Columns under other tools' names are renamed, per cent becomes fractions, text and sentinels become
    missing, loss recovered is computed from or held against the losses. No row is dropped: one that cannot
    be used has its reason in `excluded_because`, an odd one a word in `doubts`. What was done is listed by
    `notes(table)`. A table that was checked before comes back as a plain copy.

    Parameters
    ----------
    source : anything that `read` takes
        A path, a pandas, polars or other narwhals-readable data frame, a list of dict, or a dict of lists.
    better : dict of column to "higher" or "lower", optional
        Which side of a metric that the registry does not know is better; a word alone where only one is
        unknown. The table carries it along.

    Raises
    ------
    TableError
        When it is no table, a number column holds only text, or two columns claim one name.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.metrics_table([{"L0": 5, "frac_recovered": 0.8}])
    >>> list(table.columns[:2])
    ['l0', 'loss_recovered']
    """
    if isinstance(source, (str, Path)):
        from frontier.readers import read  # readers make metrics tables, so they come after this module

        return read(source, better=better)
    table = to_pandas(source)
    if table.attrs.get(CHECKED) == _recognised(table) and set(REASONS) <= set(table.columns):
        table = with_better(table.copy(), better)
        return add_notes(table, *impossible_l0(table))
    table, in_nats = losses_in_nats(flat(table))
    table, names, remarks = _renamed(table)
    remarks = [*in_nats, *remarks]
    for column in REASONS:
        table[column] = _text_column(table, column)
    signed = set[str]()
    for check in (
        summary_cells,
        partial(read_numbers, called=names, signed=signed),
        clean_names,
        models_or_architectures,
        told_by_names,
        layers_in_families,
        settings_in_families,
        told_by_cells,
        padded_layers,
        spellings,
        places,
        checks.sentinels,
        impossible_l0,
        partial(per_cent.fractions, called=names, signed=signed),
        impossible_values,
        checks.fractional_counts,
        hits_given,
        recovered_from_losses,
        weak_ablations,
        checks.known_bugs,
        checks.hits_outside,
        per_cent.fvu_above_one,
        checks.other_meanings,
        parts.sections,
        checks.repeats,
        *finished.CHECKS,
    ):
        remarks += check(table)
    checks.whole_counts(table)
    if "architecture" in table:
        given = table.get("family", table["architecture"])
        table["family"] = given.where(given.notna(), table["architecture"])
    remarks += without_family(table)
    table = _ordered(with_better(table, better))
    table.attrs[CHECKED] = _recognised(table)
    return add_notes(table, *remarks)


def notes(table: pd.DataFrame) -> tuple[str, ...]:
    """What was recognised, changed, flagged and set aside on reading; polars frames carry no notes.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.metrics_table([{"L0": 5, "frac_recovered": 0.8}])
    >>> frontier.notes(table)
    ("'L0' read as l0", "'frac_recovered' read as loss_recovered")
    """
    said = tuple(inert(n) for n in getattr(table, "attrs", {}).get(NOTES, ()))
    if CHECKED not in getattr(table, "attrs", {}):
        return said
    unread = [c for c in unread_columns(table) if table[c].notna().any()]
    unread += table.attrs.get(UNUSED, ())
    return (*said, inert(f"not used: {', '.join(dict.fromkeys(unread))}")) if unread else said


def add_notes(table: pd.DataFrame, *remarks: str) -> pd.DataFrame:
    """The same table with further notes."""
    known = notes(table)
    table.attrs[NOTES] = [*table.attrs.get(NOTES, ()), *(r for r in map(inert, remarks) if r not in known)]
    return table


def usable(table: pd.DataFrame) -> pd.DataFrame:
    """The rows without a reason in `excluded_because`."""
    return table[table["excluded_because"].isna()] if "excluded_because" in table else table


def unread_columns(table: pd.DataFrame) -> list[str]:
    """The columns that play no part here: neither of the metrics table nor written by this project."""
    names = [str(c) for c in table.columns]
    known = {*DERIVED, *REASONS, *WRITTEN}
    counts, sizes = finished.STEPS | finished.TOKENS, finished.size_columns(table.columns)
    ours = [
        c for c in names
        if c.lower() in known or c in sizes or spec_of(c) or c.startswith("source_")
        or (slug(c) in counts and are_steps(table[c]))
    ]  # fmt: skip
    return [c for c in names if c not in ours and better_of(table, c) == ""]


def says_nothing(name: str) -> bool:
    """Whether a column that nobody reads is known to say nothing of an SAE: nobody is asked about it.

    >>> says_nothing("User"), says_nothing("_timestamp"), says_nothing("cfg.device"), says_nothing("corpus")
    (True, True, True, False)
    """
    last = slug(name.rpartition(".")[2])
    return name.startswith("_") or slug(name) in RUNS_TABLE or last in MACHINES


def may_group(name: str) -> bool:
    """Whether a column that nobody reads may put SAEs together.

    >>> may_group("Group"), may_group("config.save_dir"), may_group("created"), may_group("corpus")
    (True, True, False, True)
    """
    return not says_nothing(name) or slug(name.rpartition(".")[2]) in GROUPED


def set_aside(table: pd.DataFrame) -> dict[str, int]:
    """How many rows are set aside, by reason."""
    if "excluded_because" not in table:
        return {}
    return {str(k): int(v) for k, v in table["excluded_because"].value_counts().items()}


def set_aside_remark(table: pd.DataFrame) -> str:
    """One sentence on the rows set aside; empty when there are none."""
    counts = set_aside(table)
    if not counts:
        return ""
    reasons = "; ".join(f"{count} because {reason}" for reason, count in counts.items())
    return f"{sum(counts.values())} of {plural(len(table), 'row')} set aside: {reasons}"


def require_metrics(table: pd.DataFrame, origin: str) -> pd.DataFrame:
    """`table` itself, if it can be placed on a frontier.

    Raises
    ------
    TableError
        When L0 or every fidelity column is missing; the message lists what was found.
    """
    found = listed([str(c) for c in table.columns if c not in REASONS], 30)
    if "l0" not in table:
        asked = l0_question(table)
        raise TableError(
            f"{origin}: no L0 column (l0, L0, l0_norm, ...) among {found or 'no columns'}{asked}"
        )
    if not any(c in table for c in FIDELITY) and not other_metrics(table):
        asked = f"; {question(table)}" if unknown_numbers(table) else ""
        raise TableError(f"{origin}: no fidelity column ({listed(FIDELITY)}) among {found}{asked}")
    if not len(table):
        raise TableError(f"{origin}: no rows")
    return table


def _recognised(table: pd.DataFrame) -> str:
    """The columns that the checks look at: a table that gained or lost one is checked again.

    One text: pandas copies what a table carries, item by item, at every step.
    """
    return "\n".join(sorted(str(c) for c in table.columns if str(c) in DERIVED or canonical_name(str(c))))


def _renamed(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """The table under our names, what each column was called, and what to say about it."""
    means = means_beside_spreads(list(map(str, table.columns)))
    table = table.rename(columns=means)
    claimed = [c for c in table.columns if canonical_name(c)]
    table, together = _settings_together(table)
    claimed = [c for c in claimed if c in table]
    mapping, remarks = read_names(claimed, {c for c in claimed if len(table) and holds_nothing(table[c])})
    errors = errors_beside([str(c) for c in table.columns], mapping)
    remarks += [f"{theirs!r} read as {ours}" for theirs, ours in errors.items()]
    mapping |= errors
    names = {ours: theirs for theirs, ours in mapping.items()}
    table = table.rename(columns=mapping)
    setting = setting_name(names["sparsity_setting"]) if "sparsity_setting" in names else None
    if setting and "sparsity_name" not in table:
        table["sparsity_name"] = setting
    said = [f"{mean!r} is the mean of {metric}" for mean, metric in means.items()]
    return table, names, [*said, *together, *remarks]


def _settings_together(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One column of sparsity settings where several are given, say k and l1_penalty: per row the one set.

    A setting of 0 beside another is one that is not set. Where a row has two, the columns stay apart.
    """
    claims = [c for c in table.columns if canonical_name(c) == "sparsity_setting" and setting_name(c)]
    if len(claims) < 2 or "sparsity_setting" in table or "sparsity_name" in table:
        return table, []
    given = table[claims].apply(pd.to_numeric, errors="coerce")
    several = (given.notna().sum(axis="columns") > 1).to_numpy()[:, None] & (given == 0).to_numpy()
    given = given.mask(several)
    if (given.notna().sum(axis="columns") > 1).any():
        return table, []
    names = given.notna().idxmax(axis="columns").map(setting_name).where(given.notna().any(axis="columns"))
    together = table.drop(columns=claims)
    together["sparsity_setting"] = given.bfill(axis="columns").iloc[:, 0]
    together["sparsity_name"] = names
    return together, [f"sparsity_setting: per row the one of {', '.join(claims)} that is set"]


def _text_column(table: pd.DataFrame, column: str) -> pd.Series:
    """A column of reasons, of text or missing, whatever a file made of it."""
    if column not in table:
        return pd.Series(pd.NA, index=table.index, dtype=object)
    cells = table[column].astype(object)
    return cells.where(cells.notna() & (cells != ""), pd.NA)


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    known = [c.name for c in COLUMNS if c.name in table]
    rest = [c for c in table.columns if c not in known and c not in REASONS]
    return table[[*known, *rest, *REASONS]]
