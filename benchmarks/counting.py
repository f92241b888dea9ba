"""Bytes that a piece of work moves, holds at once and selects from, and its products, counted as it runs."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

PRODUCTS = ("mm", "addmm", "bmm")
SELECTIONS = ("topk",)


@dataclass(frozen=True)
class Count:
    """What was counted.

    Attributes
    ----------
    flops : float
        Of products.
    moved : float
        Bytes read and written by everything else but selections.
    selected : float
        Bytes that selections were made from.
    peak : float
        Most bytes held at once by what the work made.
    """

    flops: float
    moved: float
    selected: float
    peak: float


def counted(work: Callable[[], Any]) -> Count:
    """The count of one call."""
    with FlopCounterMode(display=False) as flops, _Traffic() as traffic:
        work()
    return Count(float(flops.get_total_flops()), traffic.moved, traffic.selected, traffic.peak)


class _Traffic(TorchDispatchMode):
    """Adds up the sizes of what operations read and write, and of the storages that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = self.selected = self.peak = self._held = 0.0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and count what goes in and comes out of it."""
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        read = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        made = [t for t in tree_leaves(found) if isinstance(t, Tensor)]
        if name in SELECTIONS:
            self.selected += _bytes(read)
        elif not func.is_view and name not in PRODUCTS and "empty" not in name:
            self.moved += _bytes(read) + _bytes(made)
        for tensor in made:
            self._watch(tensor.untyped_storage())
        return found

    def _watch(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()
        if place in self._alive and self._alive[place]() is not None:
            return

        def freed(_: Any) -> None:
            self._alive.pop(place, None)
            self._held -= size

        self._alive[place] = weakref.ref(storage, freed)
        self._held += size
        self.peak = max(self.peak, self._held)


def _bytes(tensors: list[Tensor]) -> float:
    return float(sum(t.numel() * t.element_size() for t in tensors))
