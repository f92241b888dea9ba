"""Memory that is used again: freed blocks stay with the process, scratch blocks stay with their thread.

A training step makes and drops blocks of megabytes. By default glibc returns each to the system at once, and
the next step pays for every page anew.
"""

from __future__ import annotations

import ctypes
import math
import platform
import threading

import torch
from torch import Tensor

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's malloc.h."""
KEPT = 2**30
"""Blocks below this many bytes are kept."""


def keep_freed_memory() -> bool:
    """Whether the C library agreed to keep freed blocks for the next step; only glibc knows how."""
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        change = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(change(M_MMAP_THRESHOLD, KEPT)) and bool(change(M_TRIM_THRESHOLD, KEPT))


class Scratch(threading.local):
    """Blocks by name, one set per thread; a block holds what was last written, from whichever member."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, torch.dtype], Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """The beginning of the thread's block of this name, in a shape; a block too small is replaced."""
        wanted = math.prod(shape)
        block = self._blocks.get((name, dtype))
        if block is None or len(block) < wanted:
            block = self._blocks[name, dtype] = torch.empty(wanted, dtype=dtype)
        return block[:wanted].view(shape)
