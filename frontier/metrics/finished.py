"""Which rows are finished SAEs, each once: not steps of one run, not batches of one evaluation, not sums.

Each check takes the table being built and yields remarks; rows that are no finished SAE get a reason in
`excluded_because`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from frontier.metrics.asked import in_condition
from frontier.metrics.checks import TableError, add_text, numeric_columns, rows_named
from frontier.metrics.columns import BY_NAME
from frontier.metrics.names import slug
from frontier.metrics.number_format import decimals
from frontier.metrics.one_sae import (
    ALIKE,
    CLOCKS,
    KNOBS,
    NAMES,
    STEPS,
    TOKENS,
    apart_in_time,
    keys_of,
    last_word,
    may_tell_apart,
    names_and_steps,
    words_of,
)
from frontier.metrics.steps import are_steps, steps_in
from frontier.metrics.summaries import summary_rows
from frontier.wording import listed, number, plural

CHECKPOINT = "intermediate checkpoint"
"""Why a row is set aside that is an SAE on its way."""
OWN = "each row counts as an SAE of its own"
"""What is said of rows at several steps that nothing shows to be one SAE."""
UNFINISHED = "leaves them out"
"""What ends the remark on unfinished runs."""
EVERY_CHECKPOINT = "frontier_every_checkpoint"
"""Attribute of a table whose intermediate checkpoints are wanted."""

BATCHES = re.compile(
    r"(?:eval_)?(?:batch|window|prompt|doc|document|sequence|seq|example|sample|input)"
    r"(?:_(?:idx|index|id|no|number))?"
    r"|(?P<tokens>(?:tok|token|seq)_(?:idx|index|id|no|number|pos|position)|position|pos)"
    r"|(?P<latents>(?:latent|feature|feat|neuron|unit)(?:_(?:idx|index|id|no|number))?)"
)
SIZES = frozenset(
    "n_inputs num_inputs n_eval_inputs eval_size n_prompts eval_tokens n_eval_tokens num_eval_tokens"
    " n_batches num_batches eval_batches n_eval_batches num_eval_batches n_eval_reconstruction_batches"
    " total_tokens_eval_reconstruction".split()
)
UNEQUAL = 2.0
"""Evaluations that differ in size by this factor or more are compared only where somebody says so."""

RUN_STATES = frozenset({"state", "status", "run_state"})
STATES = frozenset(
    {"crashed", "failed", "killed", "running", "preempted", "preempting", "pending", "oom", "error"}
)


def is_of_a_moment(name: str) -> bool:
    """Whether a column says when, or on what, an SAE was measured: rows are judged by all of its values.

    >>> is_of_a_moment("Step"), is_of_a_moment("batch_idx"), is_of_a_moment("layer")
    (True, True, False)
    """
    known = slug(name) in STEPS | TOKENS | CLOCKS or last_word(name) in SIZES
    return known or BATCHES.fullmatch(slug(name)) is not None


def looked_at(names: Sequence[str], texts: Collection[str]) -> set[str]:
    """The names of a table's columns (`texts`: of text) that tell here which rows are finished SAEs.

    >>> sorted(looked_at(["sae", "corpus", "shard", "step", "l0"], ["sae", "corpus"]))
    ['corpus', 'sae', 'step']
    """
    found = {n for n in names if is_of_a_moment(n) or slug(n) in NAMES | RUN_STATES or last_word(n) in KNOBS}
    moments = any(slug(n) in STEPS | TOKENS or n == "run_id" for n in names)
    return found | {n for n in texts if moments and may_tell_apart(n)}


def unfinished_runs(table: pd.DataFrame) -> Iterator[str]:
    """Runs that a column of states calls crashed, failed, killed or still running: a doubt."""
    for name in [c for c in table.columns if slug(c) in RUN_STATES]:
        states = pd.Series(words_of(table[name], str.strip), table.index).str.lower()
        bad = states.isin(STATES).to_numpy()
        add_text(table, "doubts", bad, "run is " + states)
        bad = bad & table["excluded_because"].isna().to_numpy()
        if bad.any():
            found = sorted(set(table[name][bad].astype(str)))
            condition = f"{in_condition(str(name))} not in {found}"
            yield (
                f"{name}: {listed(sorted(set(states[bad])))} in {rows_named(bad, table)}; kept; "
                f'read(..., where="{condition}") or --where "{condition}" {UNFINISHED}'
            )


def batches(table: pd.DataFrame) -> Iterator[str]:
    """Rows that are batches of evaluations, tokens or latents: nobody can say how to average what they hold.

    Raises
    ------
    TableError
        When a column counts batches (texts, windows) through which one SAE goes.
    """
    for name in [c for c in table.columns if BATCHES.fullmatch(slug(c))]:
        found = BATCHES.fullmatch(slug(name))
        what = (found and found.lastgroup) or "batches"
        if what != "batches" and not pd.api.types.is_numeric_dtype(table[name].dtype):
            continue  # a position such as 'mlp'
        keys = keys_of(table, table.get("run_id"), texts=False)
        once = not pd.DataFrame({"key": keys, "batch": words_of(table[name], str)}).duplicated().any()
        per_sae = table[name].groupby(keys).nunique()
        if once and len(table) > 2 and 2 * int((per_sae > 1).sum()) > len(per_sae):
            raise TableError(
                f"rows are {what}, not SAEs: column {name} has up to {int(per_sae.max())} values for one "
                "SAE; give one row per SAE, "
                + (
                    "with its losses and L0"
                    if what == "latents"
                    else f"its losses and L0 averaged over the {what}"
                )
            )
    return iter(())


def checkpoints(table: pd.DataFrame) -> Iterator[str]:
    """Rows of one SAE at several steps: the last one that is usable is the SAE, the others are set aside.

    Rows at several steps that nothing shows to be one SAE stay, and that is said.
    """
    if table.attrs.get(EVERY_CHECKPOINT):
        return
    runs, in_names = names_and_steps(table)
    said = [
        (c, steps_in(table[c])) for c in table.columns if slug(c) in STEPS | TOKENS and are_steps(table[c])
    ]
    if runs is not None and in_names is not None:
        said.append((str(runs.name), in_names))
    said = [(name, steps) for name, steps in said if (steps != steps[:1]).any()]
    if not said:
        return
    ready = table["excluded_because"].isna().to_numpy() & _has_fidelity(table)
    keys = keys_of(table, runs, texts=True)
    unsure = []
    for name, steps in said:
        rows = pd.DataFrame({"key": keys, "step": steps})[ready]
        if not rows["step"].notna().any():
            continue
        rows["step"] = rows["step"].fillna(np.inf)
        told = rows.assign(key=apart_in_time(table[ready], rows, name, in_names is not None))
        before, perhaps = (
            (r["step"] < r.groupby("key")["step"].transform("max")).to_numpy() for r in (told, rows)
        )
        unsure += [name] if (perhaps & ~before).any() else []
        early = np.zeros(len(table), dtype=bool)
        early[np.flatnonzero(ready)[before]] = True
        ready &= ~early
        if early.any():
            add_text(table, "excluded_because", early, CHECKPOINT)
            yield (
                f"{plural(int(early.sum()), 'intermediate checkpoint')} set aside by {name}, the last of "
                'each SAE kept; read(..., checkpoints="all") or --checkpoints all takes them too'
            )
    if unsure:
        yield (
            f"{listed(unsure)}: {OWN}, as nothing shows rows that differ there to be one; if some are, "
            "columns={'theirs': 'run_id'} (--map theirs=run_id) names the SAE"
        )


def told_otherwise(table: pd.DataFrame) -> Iterator[str]:
    """SAEs of one name and setting in several sources: once where they differ by rounding, else a doubt."""
    if not {"source", "run_id"} <= set(table.columns) or table["source"].nunique() < 2:
        return
    if table["run_id"].is_unique:
        return
    rows = (table["excluded_because"].isna() & table["run_id"].notna()).to_numpy()
    keys = keys_of(table, table["run_id"], texts=True)
    twice = rows & (table["source"].where(rows).groupby(keys).transform("nunique").to_numpy() > 1)
    rounded = _rounded(table, keys, np.flatnonzero(twice))
    if rounded.any():
        add_text(table, "excluded_because", rounded, "another source has this SAE with more digits")
        yield f"{rows_named(rounded, table)}: another source has the same SAEs with more digits; set aside"
    kept = pd.Series(twice & ~rounded, table.index)
    twice &= ~rounded & (kept.groupby(keys).transform("sum").to_numpy() > 1)
    if twice.any():
        add_text(table, "doubts", twice, "another source has other numbers for this SAE")
        yield f"{rows_named(twice, table)}: several sources have the same SAE with other numbers; kept"


def told_twice(table: pd.DataFrame) -> Iterator[str]:
    """Rows of one source, name and setting at about the same L0 with other numbers: a doubt."""
    if "run_id" not in table or table["run_id"].is_unique or table.attrs.get(EVERY_CHECKPOINT):
        return
    rows = (table["excluded_because"].isna() & table["run_id"].notna()).to_numpy()
    keys = keys_of(table, table["run_id"], texts=True)
    l0 = table["l0"].where(rows).groupby(keys) if "l0" in table else None
    if l0 is None:
        return
    again = rows & (l0.transform("count") > 1).to_numpy()
    again &= (l0.transform("max") <= ALIKE * l0.transform("min")).to_numpy()
    if "source" in table:
        again &= (table["source"].where(rows).groupby(keys).transform("nunique") <= 1).to_numpy()
    if again.any():
        add_text(table, "doubts", again, "another row has other numbers for this SAE")
        yield f"{rows_named(again, table)}: rows of one run_id at about the same L0, with other numbers; kept"


def size_columns(names: Iterable[object]) -> list[str]:
    """The names (of a table's columns) that say on how much an SAE was evaluated: inputs, batches, tokens.

    >>> size_columns(["l0", "hyperparameters.n_inputs"])
    ['hyperparameters.n_inputs']
    """
    return [str(name) for name in names if last_word(name) in SIZES]


def are_unequal(one: object, other: object) -> bool:
    """Whether two sizes of evaluations, as numbers or text, differ by the factor `UNEQUAL` or more.

    >>> are_unequal("24", "250"), are_unequal("200", "250"), are_unequal("", "250")
    (True, False, False)
    """
    low, high = sorted(pd.to_numeric(pd.Series([one, other]), errors="coerce").fillna(0.0))
    return bool(low > 0 and high >= UNEQUAL * low)


def _rounded(table: pd.DataFrame, keys: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Rows that are another row of their key in fewer digits, as their source prints each column."""
    rounded = np.zeros(len(table), dtype=bool)
    metrics = [c for c in numeric_columns(table) if BY_NAME.get(c) and BY_NAME[c].kind != "count"]
    numbers = table[metrics].iloc[among]
    digits = numbers.map(decimals).groupby(table["source"].iloc[among].to_numpy()).transform("max").to_numpy()
    order = np.argsort(-digits.sum(axis=1), kind="stable")
    for group in pd.DataFrame({"row": order, "key": keys[among][order]}).groupby("key")["row"]:
        kept: list[int] = []
        for row in group[1]:
            apart = np.abs(numbers.iloc[kept].to_numpy() - numbers.iloc[row].to_numpy())
            rounded[among[row]] = bool((~(apart > 0.5000001 * 10.0 ** -digits[row])).all(axis=1).any())
            kept += [] if rounded[among[row]] else [row]
    return rounded


def evaluation_sizes(table: pd.DataFrame) -> Iterator[str]:
    """SAEs evaluated on half as much as others, or less: their numbers are noisier, and of other texts."""
    for name in size_columns(table.columns):
        sizes = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        if not np.isfinite(sizes).any():
            continue
        most = float(np.nanmax(sizes))
        few = np.isfinite(sizes) & (UNEQUAL * sizes <= most)
        if few.any():
            add_text(table, "doubts", few, f"evaluated on less than others ({last_word(name)})")
            yield (
                f"{name}: from {number(float(np.nanmin(sizes)), 6)} to {number(most, 6)}: "
                f"{rows_named(few, table)} were evaluated on half as much as others, or less"
            )


def _has_fidelity(table: pd.DataFrame) -> np.ndarray:
    """Rows that hold any metric but L0: a history logs its metrics at different steps."""
    metrics = [c for c in numeric_columns(table) if c not in ("l0", "tokens_trained") and BY_NAME.get(c)
               and BY_NAME[c].kind != "count" and c != "sparsity_setting"]  # fmt: skip
    return table[metrics].notna().any(axis=1).to_numpy() if metrics else np.ones(len(table), dtype=bool)


CHECKS = (batches, unfinished_runs, summary_rows, checkpoints, told_otherwise, told_twice, evaluation_sizes)
"""In the order in which they are done."""
