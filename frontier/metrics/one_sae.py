"""Which rows are one SAE: told by names and settings; at which steps of its training they stand."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from frontier.metrics.cells import is_missing, is_text
from frontier.metrics.columns import BY_NAME, COLUMNS
from frontier.metrics.names import canonical_name, slug, spec_of
from frontier.metrics.steps import STEP_WORDS, steps_in, without_step

STEPS = frozenset(
    "step global_step trainer_global_step training_step train_step steps n_steps training_steps iteration"
    " iterations iter epoch epochs checkpoint ckpt checkpoint_step ckpt_step checkpoint_name ckpt_name"
    " checkpoint_id ckpt_id steps_trained train_steps num_steps train_fraction training_fraction"
    " fraction_trained fraction_of_training train_frac training_progress progress percent_trained"
    " training_stage".split()
)
TOKENS = frozenset("tokens tokens_seen n_tokens num_tokens tokens_trained training_tokens_seen".split())
NAMES = frozenset(
    "trainer trainer_id sae run run_name name id sae_index sae_idx sae_number path sae_path"
    " checkpoint_path".split()
)
CLOCKS = frozenset({"timestamp", "runtime"})
"""Columns of moments; W&B's `_timestamp` and `_runtime` make rows the history of one run."""

KNOBS = frozenset(
    "lr learning_rate batch_size bandwidth warmup expansion_factor l1_penalty k target_l0".split()
)
ALIKE = 1.1
"""Rows of one name whose L0 differ by a greater factor at one step are several SAEs."""
HINT, SETTING, NAME = 1, 2, 3
"""What a row is known by: a run_id that a family shares, or any text; a setting or a name that varies."""
CONFIGS = frozenset("config config_name config_file config_path cfg".split())
"""Columns that name a setting."""
NEAR = 0.98
"""Steps of at least this share of the last are no series of checkpoints: runs end a little apart."""


def apart_in_time(table: pd.DataFrame, rows: pd.DataFrame, name: str, in_names: bool) -> np.ndarray:
    """One integer per row: equal for rows that are shown to be one SAE at several steps.

    They are shown to be so by a name, by a setting that varies, by a text where L0 are alike, or where each
    key is there at each step. A row that nothing names has a number of its own; so has each row of a key that
    two L0 at one step, or at steps that hardly differ, give away as several SAEs.

    Parameters
    ----------
    rows : frame of `key`, equal for rows that may be one SAE (`keys_of`), and `step`, by column `name`
    in_names : whether the names of the SAEs hold their steps
    """
    by = _known_by(table)
    if in_names or any(c in ("_timestamp", "_runtime") for c in table.columns):
        by[:] = NAME
    named = by == NAME
    facts = {"key": rows["key"].to_numpy(), "named": named}
    facts |= {c: table[c].where(~named).to_numpy() for c in ([] if named.all() else _own_knobs(table, rows))}
    codes = pd.DataFrame(facts).groupby(list(facts), sort=False, dropna=False).ngroup().to_numpy()
    several, told = are_several(table, codes, rows["step"].to_numpy(), by), by > 0
    if not told.all() and (each := _each_at_each(rows)):
        if each > 1:
            several = _near(codes, rows["step"])
        told = told | (each > 1) | (slug(name) in STEPS) & ~_unlike(table, codes)
    return np.where(told & ~several, codes, codes.max(initial=0) + 1 + np.arange(len(codes)))


def are_several(
    table: pd.DataFrame, keys: np.ndarray, steps: np.ndarray, by: np.ndarray | None = None
) -> np.ndarray:
    """Which rows have a key that several SAEs share: by their L0 at one step, or at steps that hardly differ.

    A name that all rows of a family share is one as long as their L0 are alike, and so is a text of any kind.
    `by` is what each row is known by; default: its names and settings.

    >>> table = pd.DataFrame({"run_id": ["a", "a", "b", "b"], "l0": [20.0, 40.0, 20.0, 40.0]})
    >>> are_several(table, np.array([0, 0, 1, 1]), np.array([1e9, 1e9 + 1024, 1e6, 1e9])).tolist()
    [True, True, False, False]
    """
    by = _known_by(table) if by is None else by
    unlike, at_once = _unlike(table, keys), pd.DataFrame({"key": keys, "step": steps})
    tied = _unlike(table, at_once.groupby(["key", "step"], dropna=False).ngroup().to_numpy())
    several = pd.Series(tied).groupby(keys).transform("any").to_numpy()
    return several | (_near(keys, steps) & (unlike | (by != NAME))) | (unlike & (by == HINT))


def _known_by(table: pd.DataFrame) -> np.ndarray:
    """What each row is known by; 0 by nothing."""
    by = np.zeros(len(table), dtype=int)
    names = [c for c in table.columns if c == "run_id" or slug(c) in NAMES]
    settings = [
        c for c in table.columns if canonical_name(str(c)) == "sparsity_setting" or slug(c) in CONFIGS
    ]
    texts = [c for c in table.columns if _tells_apart(table, str(c)) and _varies_inside(table, c)]
    for level, columns in (
        (HINT, [*texts, *(["run_id"] if "run_id" in table else [])]),
        (SETTING, [c for c in settings if _varies_inside(table, c)]),
        (NAME, [c for c in names if _varies_inside(table, c)]),
    ):
        if columns:
            by[table[columns].notna().any(axis=1).to_numpy()] = level
    return by


def _unlike(table: pd.DataFrame, keys: np.ndarray) -> np.ndarray:
    """Which rows have a key whose L0 differ plainly."""
    l0 = pd.Series(table["l0"].to_numpy() if "l0" in table else np.nan, range(len(table))).groupby(keys)
    return (l0.transform("max") > ALIKE * l0.transform("min")).to_numpy()


def _near(keys: np.ndarray, steps: Any) -> np.ndarray:
    """Which rows have a key whose steps hardly differ."""
    by_key = pd.Series(np.asarray(steps)).groupby(keys)
    return (by_key.transform("min") >= NEAR * by_key.transform("max")).to_numpy()


def _varies_inside(table: pd.DataFrame, column: str) -> bool:
    """Whether a column tells rows of a family apart: one value for all of them names nothing."""
    cells = pd.Series(words_of(table[column], str))
    family = next(
        (words_of(table[c], str) for c in ("family", "architecture") if c in table), [""] * len(cells)
    )
    return bool(cells[cells != ""].groupby(pd.Series(family)).nunique().max() > 1)


def _each_at_each(rows: pd.DataFrame) -> int:
    """How many rows a key has at a step, where each has as many at every step of several; else 0."""
    counts = rows.groupby(["key", "step"]).size()
    keys, steps = rows["key"].nunique(), rows["step"].nunique()
    full = (
        steps > 1
        and len(counts) == keys * steps
        and (counts == counts.groupby(level=0).transform("first")).all()
    )
    return int(counts.iloc[0]) if full else 0


def _own_knobs(table: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    """Number columns that nobody knows and whose values come back for other keys and steps: settings."""
    found = []
    for c in map(str, table.columns):
        known = spec_of(c) or slug(c) in STEPS | TOKENS | CLOCKS or last_word(c) in KNOBS
        if known or not pd.api.types.is_numeric_dtype(table[c].dtype) or pd.api.types.is_bool_dtype(table[c]):
            continue
        cells = pd.DataFrame({"value": table[c].to_numpy(), "key": rows["key"], "step": rows["step"]})
        again = cells.groupby("value")["key"].nunique().min() > 1
        if again and cells.groupby("value")["step"].nunique().max() > 1:
            found.append(c)
    return found


def keys_of(table: pd.DataFrame, runs: pd.Series | None, *, texts: bool) -> np.ndarray:
    """One integer per row, equal for rows that nothing but time (or numbers measured) tells apart."""
    names = [c.name for c in COLUMNS if c.kind == "identity" and c.name not in ("source", "run_id")]
    names += ["dictionary_size", "d_model", *_knobs(table), *(c for c in table.columns if slug(c) in NAMES)]
    if texts:
        names += [c for c in table.columns if _tells_apart(table, str(c))]
    columns = {n: words_of(table[n], without_step) for n in dict.fromkeys(names) if n in table}
    if runs is not None:
        columns["run_id"] = words_of(runs, str)
    if not columns:
        return np.zeros(len(table), dtype=np.int64)
    return pd.DataFrame(columns).groupby(list(columns), sort=False).ngroup().to_numpy()


def words_of(column: pd.Series, cleaned: Callable[[str], str]) -> list[str]:
    """The cells of a column as text, empty where they are missing."""
    return ["" if is_missing(cell) else cleaned(str(cell)) for cell in column.astype(object)]


def _knobs(table: pd.DataFrame) -> list[str]:
    """Columns of settings that hold something."""
    return [
        c for c in table.columns
        if (canonical_name(str(c)) == "sparsity_setting" or last_word(c) in KNOBS) and table[c].notna().any()
    ]  # fmt: skip


def _tells_apart(table: pd.DataFrame, name: str) -> bool:
    """Whether a column that is carried along is text that names something, and no moment."""
    return may_tell_apart(name) and is_text(table[name].dtype)


def may_tell_apart(name: str) -> bool:
    """Whether a column of text by this name may name something, and no moment."""
    if name in BY_NAME or name in ("doubts", "excluded_because", "parent") or slug(name) in STEPS | TOKENS:
        return False
    return not re.search(r"time|date|created|state|status|url|note", slug(name))


def names_and_steps(table: pd.DataFrame) -> tuple[pd.Series | None, np.ndarray | None]:
    """The names of the SAEs without the step in them, and the steps, where names have any."""
    named = ["run_id", *(c for c in table.columns if slug(c) in NAMES and is_text(table[c].dtype))]
    found = [table[c] for c in dict.fromkeys(named) if c in table]
    for names in found:
        together = "\n".join(map(str, names.tolist())).lower()
        if any(word in together for word in STEP_WORDS):
            steps = steps_in(names, in_names=True)
            if np.isfinite(steps).any():
                return pd.Series(words_of(names, without_step), names.index, name=names.name), steps
    return (found[0] if found else None), None


def last_word(name: object) -> str:
    """The last part of a dotted name."""
    return slug(re.split(r"[./]", str(name))[-1])
