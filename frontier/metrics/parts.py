"""Parts of a table (files, sections, kinds of names) that hold the same SAEs again, with other numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby, pairwise

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
SAME_L0, NEAR_L0 = 0.002, 0.02
"""L0 that differ by a smaller share are one; and where hits have to differ too."""
APART = 0.1
"""Hits of two frontiers that differ by a larger share everywhere, on one side, are not of one frontier."""

_ASIDE = ("source", "run_id", "sparsity_setting", "sparsity_name")
_KNOB = re.compile(
    r"l[01](?:=.*|\d*\.\d*)?|(?:k|lr|lambda|seed|s|bs|wd|coef|trainer|run|sae|v|ae|id|exp|no|n|idx|num|part|step|ckpt)?[=\-]?"
    r"[\d.]*(?:e-?\d*)?",
    re.IGNORECASE,
)
_FIELDS = re.compile(r"(?:(?<!\de)-|[_/. |:,])+")


def comparable(table: pd.DataFrame, codes: np.ndarray) -> pd.DataFrame:
    """L0, hit, setting and group of each row: groups are `codes` by every column that tells SAEs apart."""
    names = [c.name for c in COLUMNS if c.kind == "identity" and c.name not in _ASIDE]
    names += ["dictionary_size", "d_model", "tokens_trained"]
    names += [c for c in table.columns if last_word(c) in KNOBS - {"k", "target_l0", "l1_penalty"}]
    finer = pd.DataFrame({"codes": codes, **{n: table[n].to_numpy() for n in names if n in table}})
    setting = table.get("sparsity_setting", pd.Series(np.nan, table.index))
    return pd.DataFrame(
        {
            "group": finer.groupby(list(finer), sort=False, dropna=False).ngroup().to_numpy(),
            "l0": values(table, "l0") if "l0" in table else np.nan,
            "hit": _hits(table),
            "setting": pd.to_numeric(setting, errors="coerce").to_numpy(dtype=float, na_value=np.nan),
        },
        table.index,
    )


def told_again(rows: pd.DataFrame, part: pd.Series, hits_too: bool = False) -> list[object]:
    """Two values of `part` under which one group of `comparable` rows holds the same SAEs again; or none.

    They are the same where settings, or L0, come back in the other part; or where hits differ by a tenth at
    every L0, all to one side, as those of two frontiers do. With `hits_too`, only where both is so.

    >>> table = pd.DataFrame({"l0": [8.0, 16, 32] * 2, "loss_recovered": [0.6, 0.7, 0.8, 0.8, 0.85, 0.9]})
    >>> told_again(comparable(table, np.zeros(6, int)), pd.Series(["a"] * 3 + ["b"] * 3))
    ['a', 'b']
    """
    tests = (_contradict, partial(_come_back, near=NEAR_L0 if hits_too else SAME_L0))
    suffices = all if hits_too else any
    numbers, names = pd.factorize(part)
    rows = rows.assign(part=numbers)[(rows["l0"].to_numpy() > 0) & (numbers >= 0)]
    rows = rows.sort_values(["group", "part", "l0"])
    of, saes = rows[["group", "part"]].to_numpy(), rows[["l0", "hit", "setting"]].to_numpy()
    ends = [0, *(np.flatnonzero((of[1:] != of[:-1]).any(axis=1)) + 1), len(rows)]
    held = [(of[a], saes[a:b]) for a, b in pairwise(ends) if b - a >= FEWEST]
    for _, group in groupby(held, lambda part: part[0][0]):
        parts = list(group)
        for (one, its), (other, theirs) in [*pairwise(parts), *((parts[0], p) for p in parts[2:])]:
            if suffices(test(its, theirs) for test in tests):
                return [names[one[1]], names[other[1]]]
    return []


def sections(table: pd.DataFrame) -> Iterator[str]:
    """The sections of a table as a column, where SAEs come back in several; what their heads told is read."""
    if SECTION not in table:
        return
    section = table.pop(SECTION).astype(str)
    names = list(dict.fromkeys(section))
    families = [table[c].astype(str) for c in ("family", "architecture") if c in table]
    codes = pd.DataFrame({"all": 0, **{str(i): f for i, f in enumerate(families)}}, index=table.index)
    same = comparable(table, codes.groupby(list(codes), sort=False).ngroup().to_numpy())
    if told_again(same, section):
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


def _come_back(one: np.ndarray, other: np.ndarray, near: float) -> bool:
    """Whether half of the smaller part's SAEs, or more, have the setting, or the L0, of one in the other."""
    fewest = max(FEWEST, min(len(one), len(other)) / 2)
    for column, share in ((2, 1e-9), (0, near)):
        a, b = (np.sort(rows[:, column][np.isfinite(rows[:, column])]) for rows in (one, other))
        if len(a) and len(b) and min(_with_partner(a, b, share), _with_partner(b, a, share)) >= fewest:
            return True
    return False


def _with_partner(numbers: np.ndarray, others: np.ndarray, share: float) -> int:
    """How many of some numbers differ by no larger share from one of others, both in order."""
    after = np.searchsorted(others, numbers)
    nearest = [abs(numbers - others[np.clip(i, 0, len(others) - 1)]) for i in (after - 1, after)]
    return int((np.minimum(*nearest) <= share * abs(numbers)).sum())


def _contradict(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether all points of one part lie far on one side of the other's, joined by lines on log axes."""
    (x, y), (grid, curve) = (np.log(rows[rows[:, 1] > 0, :2]).T for rows in (one, other))
    if len(grid) < FEWEST:
        return False
    inside = (x >= grid[0]) & (x <= grid[-1])
    gaps = y[inside] - np.interp(x[inside], grid, curve)
    return len(gaps) >= FEWEST and bool((gaps > APART).all() or (gaps < -APART).all())
