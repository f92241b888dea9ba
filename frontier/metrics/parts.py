"""Parts of a table (files, sections, kinds of names) that hold the same SAEs again, with other numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from frontier.metrics.axes import default_y, values
from frontier.metrics.cells import is_text
from frontier.metrics.checks import TableError
from frontier.metrics.columns import COLUMNS
from frontier.metrics.identity import SECTION, facts_in, without_architecture
from frontier.metrics.names import slug
from frontier.metrics.one_sae import KNOBS, NAMES, last_word
from frontier.wording import listed

FEWEST = 3
"""A part is one where it holds so many SAEs of a group, and so many of them come back."""
LONGEST = 200
"""Characters of a name that is looked into."""
SAME_L0 = 0.002
"""L0 that differ by a smaller share are one."""
APART = 0.1
"""Hits of two frontiers that differ by a larger share everywhere, on one side, are not of one frontier."""

_ASIDE = ("source", "run_id", "sparsity_setting", "sparsity_name")
_KNOB = re.compile(
    r"l[01](?:=.*|\d*\.\d*)?|(?:k|lr|lambda|seed|s|bs|wd|coef|trainer|run|sae|v|ae|id|exp|no|n|idx|num|part|step|ckpt)?[=\-]?"
    r"[\d.]*(?:e-?\d*)?",
    re.IGNORECASE,
)
_FIELDS = re.compile(r"(?:(?<!\de)-|[_/. |:,])+")


def told_again(table: pd.DataFrame, part: pd.Series, codes: np.ndarray) -> list[object]:
    """Two values of `part` under which one group (`codes`) holds the same SAEs with other numbers; or none.

    They are the same where settings, or L0, come back in the other part, and no column tells the two apart.
    Where none comes back, hits that differ by a tenth at every L0, all to one side, are of two frontiers.

    >>> table = pd.DataFrame({"l0": [8.0, 16, 32] * 2, "loss_recovered": [0.6, 0.7, 0.8, 0.8, 0.85, 0.9]})
    >>> told_again(table, pd.Series(["a"] * 3 + ["b"] * 3), np.zeros(6, int))
    ['a', 'b']
    """
    if part.nunique() < 2 or "l0" not in table:
        return []
    rows = pd.DataFrame(
        {"part": part.to_numpy(), "l0": table["l0"].to_numpy(dtype=float), "y": _hits(table), "setting": None}
    )
    if "sparsity_setting" in table:
        rows["setting"] = table["sparsity_setting"].to_numpy()
    rows = rows[(rows["l0"] > 0) & rows["part"].notna()]
    for _, group in rows.groupby(_finer(table, codes)[rows.index], sort=False):
        sizes = group["part"].value_counts()
        parts = [(n, rows) for n, rows in group.groupby("part", sort=False) if sizes[n] >= FEWEST]
        for (one, rows_of_one), (other, rows_of_other) in [
            *pairwise(parts),
            *((parts[0], p) for p in parts[2:]),
        ]:
            if _come_back(rows_of_one, rows_of_other) or _contradict(rows_of_one, rows_of_other):
                return [one, other]
    return []


def sections(table: pd.DataFrame) -> Iterator[str]:
    """The sections of a table as a column, where SAEs come back in several; what their heads told is read."""
    if SECTION not in table:
        return
    section = table.pop(SECTION).astype(str)
    names = list(dict.fromkeys(section))
    families = [table[c].astype(str) for c in ("family", "architecture") if c in table]
    codes = pd.DataFrame({"all": 0, **{str(i): f for i, f in enumerate(families)}}, index=table.index)
    if told_again(table, section, codes.groupby(list(codes), sort=False).ngroup().to_numpy()):
        table["section"] = section
        yield f"section: {len(names)} blocks of rows, some with the same SAEs ({listed(names, 4)})"
    elif not facts_in([[name] for name in names]) and not all(re.fullmatch(r"part \d+", n) for n in names):
        yield f"sections play no part, as no SAE comes back in them: {listed(names, 4)}"


def parts_of_names(names: pd.Series) -> list[pd.Series]:
    """What names of SAEs say beside architecture and setting: words (a model, a corpus), whole numbers.

    >>> [part.tolist() for part in parts_of_names(pd.Series(["gpt2-relu-0", "pythia-70m-topk_k32_1"]))]
    [['gpt2', 'pythia 70m']]
    >>> [part.tolist() for part in parts_of_names(pd.Series(["3_relu_1e-4", "10_relu_1e-4"]))]
    [['', ''], ['3', '10']]
    """
    cells = [_FIELDS.split(without_architecture(str(name)[:LONGEST])) for name in names]
    words = [" ".join(field for field in fields if not _KNOB.fullmatch(field)) for fields in cells]
    found = [pd.Series(words, names.index).where(names.notna())]
    if len(set(map(len, cells))) == 1:
        for fields in zip(*cells, strict=True):
            if all(map(str.isdecimal, fields)) and len(set(fields)) > 1:
                found.append(pd.Series(fields, names.index).where(names.notna()))
    return found


def name_columns(table: pd.DataFrame) -> list[str]:
    """The columns of names of SAEs."""
    return [c for c in table.columns if c == "run_id" or (slug(c) in NAMES and is_text(table[c].dtype))]


def below_common(paths: Sequence[object]) -> list[list[str]]:
    """The parts of paths below the folder that they share.

    >>> below_common(["runs/a/all.csv", "runs/b/all.csv"])
    [['a', 'all.csv'], ['b', 'all.csv']]
    """
    split = [str(path).replace("\\", "/").split("/") for path in paths]
    shared = 0
    while len({tuple(names[: shared + 1]) for names in split}) == 1 and shared + 1 < min(map(len, split)):
        shared += 1
    return [names[shared:] for names in split]


def _hits(table: pd.DataFrame) -> np.ndarray:
    try:
        return values(table, default_y(table))
    except TableError:
        return np.full(len(table), np.nan)


def _finer(table: pd.DataFrame, codes: np.ndarray) -> np.ndarray:
    """The groups, also by every other column that tells SAEs apart."""
    names = [c.name for c in COLUMNS if c.kind == "identity" and c.name not in _ASIDE]
    names += ["dictionary_size", "d_model", "tokens_trained"]
    names += [c for c in table.columns if last_word(c) in KNOBS - {"k", "target_l0", "l1_penalty"}]
    columns = {n: table[n].to_numpy() for n in dict.fromkeys(names) if n in table}
    return (
        pd.DataFrame({"group of rows": codes, **columns})
        .groupby(["group of rows", *columns], sort=False, dropna=False)
        .ngroup()
        .to_numpy()
    )


def _come_back(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether half of the smaller part's SAEs, or more, have the setting, or the L0, of one in the other."""
    fewest = max(FEWEST, min(len(one), len(other)) / 2)
    for column in ("setting", "l0"):
        a, b = (pd.to_numeric(rows[column], errors="coerce").dropna().to_numpy() for rows in (one, other))
        near = np.abs(a[:, None] - b[None, :]) <= (SAME_L0 if column == "l0" else 1e-9) * np.abs(b)
        if min(near.any(axis=1).sum(), near.any(axis=0).sum()) >= fewest:
            return True
    return False


def _contradict(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether all points of one part lie far on one side of the other's, joined by lines on log axes."""
    (x, y), (grid, curve) = (_frontier(rows) for rows in (one, other))
    if len(grid) < FEWEST:
        return False
    inside = (x >= grid[0]) & (x <= grid[-1])
    gaps = y[inside] - np.interp(x[inside], grid, curve)
    return len(gaps) >= FEWEST and bool((gaps > APART).all() or (gaps < -APART).all())


def _frontier(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Log L0 in order and log hit."""
    rows = rows[rows["y"] > 0].sort_values("l0")
    return np.log(rows["l0"].to_numpy(dtype=float)), np.log(rows["y"].to_numpy(dtype=float))
