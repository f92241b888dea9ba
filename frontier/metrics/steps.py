"""Steps of training in names and cells: 'trainer_3_step_4882', 'checkpoint-500', 'best' and 'last'."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import pandas as pd

from frontier.metrics.cells import is_missing

BEFORE_LAST = 1e300
"""The step of a checkpoint called best, beside one called last."""

_STEP_IN_NAME = re.compile(
    r"(?:[_\-./ ](?:checkpoints?|ckpts?)(?=/))?"
    r"[_\-./ =]?(?:global_|training_|train_)?(?:steps?|checkpoints?|ckpt|iter(?:ation)?s?)[_\-= /]*"
    r"(?P<step>\d+(?:\.\d+)?)(?P<scale>[kmb]?)(?=$|[_\-./ ])"
    r"|(?:^|(?:[_\-./ ](?:checkpoints?|ckpts?)(?=/))?[_\-/ ])ae_(?P<ae>\d+)(?=$|\.pt)"
    r"|[_\-./ ](?P<before>\d+(?:\.\d+)?)(?P<unit>[kmb]?)[_\- ]?(?:steps|tokens|toks)(?=$|[_\-./ ])"
    r"|(?:[_\-./ ](?:checkpoints?|ckpts?)(?=/))?[_\-./ ](?P<end>final|last|latest)(?=$|[_\-./ ])",
    re.IGNORECASE,
)
STEP_WORDS = ("step", "ckpt", "checkpoint", "iter", "ae_", "tok", "final", "last", "latest")
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "%": 1.0}
_STEP = re.compile(r"(?P<step>\d+(?:\.\d+)?(?:e\+?\d+)?)\s*(?P<scale>[kmb%]?)(?:\.pt)?", re.IGNORECASE)
_PATH = re.compile(r"[A-Za-z].*/|/.*[A-Za-z]|\.(?:pt|safetensors)$")
_STAGES = ("init initial initialization start", "early", "mid middle", "late", "end final last latest")
"""Words for times of a training, in their order."""
_STAGE = {word: float(i) for i, words in enumerate(_STAGES) for word in words.split()}


@lru_cache(maxsize=8192)
def without_step(name: str) -> str:
    """A name without the step, checkpoint or 'final' in it.

    >>> without_step("trainer_3_step_4882"), without_step("topk/checkpoint-500"), without_step("topk_final")
    ('trainer_3', 'topk', 'topk')
    >>> without_step("topk/trainer_1/checkpoints/step_1000")
    'topk/trainer_1'
    """
    return _STEP_IN_NAME.sub("", name)


def steps_in(cells: Iterable[object], in_names: bool = False) -> np.ndarray:
    """The steps that cells give: numbers, or in names; 'final' is infinite.

    >>> steps_in(["1k", "step_10000", "final"]).tolist(), steps_in(["early", "late"]).tolist()
    ([1000.0, 10000.0, inf], [1.0, 3.0])
    """
    if isinstance(cells, pd.Series) and pd.api.types.is_numeric_dtype(cells.dtype):
        return cells.to_numpy(dtype=float, na_value=np.nan)
    cells = list(cells)
    words = [str(cell).strip().lower() for cell in cells]
    if not in_names and all(
        word in _STAGE for cell, word in zip(cells, words, strict=True) if not is_missing(cell)
    ):
        return np.array([_STAGE.get(word, np.nan) for word in words], dtype=float)
    return np.array([_step(cell, in_names) for cell in cells], dtype=float)


def are_steps(column: pd.Series) -> bool:
    """Whether each cell of a column that is called after steps, if it holds anything, says which step.

    A path without one, among others, is that of the finished SAE.

    >>> are_steps(pd.Series(["25%", "100%"])), are_steps(pd.Series(["warm", "10k"]))
    (True, False)
    >>> are_steps(pd.Series(["trainer_0/checkpoints/ae_500.pt", "trainer_0/ae.pt"]))
    True
    """
    unread = column[np.isnan(steps_in(column))]
    return all(is_missing(cell) or _PATH.search(str(cell)) for cell in unread)


def _step(cell: object, in_names: bool) -> float:
    if isinstance(cell, (int, float, np.number)) and not isinstance(cell, bool):
        return float(cell)
    if not isinstance(cell, str):
        return np.nan
    if cell.strip().lower() == "best" and not in_names:
        return BEFORE_LAST
    found = _STEP_IN_NAME.search(f" {cell}")
    if found is None:
        plain = None if in_names else _STEP.fullmatch(cell.strip())
        return float(plain["step"]) * _SCALES[plain["scale"].lower()] if plain else np.nan
    if found["end"]:
        return np.inf
    digits = found["step"] or found["ae"] or found["before"]
    return float(digits) * _SCALES[(found["scale"] or found["unit"] or "").lower()]
