"""Steps of training in names and cells: 'trainer_3_step_4882', 'checkpoint-500', 'best' and 'last'."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import pandas as pd

BEFORE_LAST = 1e300
"""The step of a checkpoint called best, beside one called last."""

_STEP_IN_NAME = re.compile(
    r"[_\-./ =]?(?:global_|training_|train_)?(?:steps?|checkpoints?|ckpt|iter(?:ation)?s?)[_\-= /]*"
    r"(?P<step>\d+(?:\.\d+)?)(?P<scale>[kmb]?)(?=$|[_\-./ ])"
    r"|(?:^|[_\-/ ])ae_(?P<ae>\d+)(?=$|\.pt)"
    r"|[_\-./ ](?P<before>\d+(?:\.\d+)?)(?P<unit>[kmb]?)[_\- ]?(?:steps|tokens|toks)(?=$|[_\-./ ])"
    r"|[_\-./ ](?P<end>final|last|latest)(?=$|[_\-./ ])",
    re.IGNORECASE,
)
STEP_WORDS = ("step", "ckpt", "checkpoint", "iter", "ae_", "tok", "final", "last", "latest")
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}


@lru_cache(maxsize=8192)
def without_step(name: str) -> str:
    """A name without the step, checkpoint or 'final' in it.

    >>> without_step("trainer_3_step_4882"), without_step("topk/checkpoint-500"), without_step("topk_final")
    ('trainer_3', 'topk', 'topk')
    """
    return _STEP_IN_NAME.sub("", name)


def steps_in(cells: Iterable[object], in_names: bool = False) -> np.ndarray:
    """The steps that cells give: numbers, or in names; 'final' is infinite."""
    if isinstance(cells, pd.Series) and pd.api.types.is_numeric_dtype(cells.dtype):
        return cells.to_numpy(dtype=float, na_value=np.nan)
    return np.array([_step(cell, in_names) for cell in cells], dtype=float)


def _step(cell: object, in_names: bool) -> float:
    if isinstance(cell, (int, float, np.number)) and not isinstance(cell, bool):
        return float(cell)
    if not isinstance(cell, str):
        return np.nan
    if cell.strip().lower() == "best" and not in_names:
        return BEFORE_LAST
    found = _STEP_IN_NAME.search(f" {cell}")
    if found is None:
        plain = re.fullmatch(r"(\d+)(?:\.pt)?", cell.strip())
        return float(plain[1]) if plain and not in_names else np.nan
    if found["end"]:
        return np.inf
    digits = found["step"] or found["ae"] or found["before"]
    return float(digits) * _SCALES[(found["scale"] or found["unit"] or "").lower()]
