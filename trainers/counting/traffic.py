"""Bytes, floating-point operations and memory of everything that torch does inside a `with`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

SELECTION = {"topk", "sort", "kthvalue"}
GATHERED = {"gather": 0, "index_select": 0, "index": 0, "take_along_dim": 0}
"""Operations that read of this argument as much as they give."""
BAGS = {
    "_embedding_bag": 0,
    "_embedding_bag_forward_only": 0,
    "_embedding_bag_per_sample_weights_backward": 1,
}
"""Operations that read a row of this argument for each index."""
WRITES_PART = {"scatter_": "one", "scatter": "one", "scatter_add_": "both"}
"""Operations that write as much as they are given; `both` reads it before."""
IN_PLACE_ALONE = {"_fused_adam_"}
FREE = {"empty", "empty_like", "new_empty", "empty_strided", "device", "detach", "alias"}


@dataclass(frozen=True)
class Operation:
    """One kernel."""

    name: str
    read: int
    """Bytes."""
    written: int
    flops: int = 0
    """Of products alone."""
    half: bool = False
    """Its inputs are bfloat16 or float16."""

    @property
    def kind(self) -> str:
        """product, selection, optimiser or pass (all that goes over its inputs once)."""
        if self.flops:
            return "product"
        if self.name in SELECTION:
            return "selection"
        return "optimiser" if self.name.startswith("_fused_adam") else "pass"


class Traffic(TorchDispatchMode):
    """Counts what happens inside it.

    An operation reads each input once and writes each output once; a view costs nothing, a broadcast input
    its own size. Memory is that of the storages made inside, and goes when they go: nothing is rounded up, no
    workspace is counted. Inside a `FakeTensorMode` nothing is computed.

    Parameters
    ----------
    width : int, optional
        Memory of tensors with this last dimension alone.

    Attributes
    ----------
    operations : list of Operation
    held, peak : int
        Bytes of the storages made inside: those that are there now, and the most at one time.
    """

    def __init__(self, width: int | None = None) -> None:
        super().__init__()
        self._width = width
        self.operations: list[Operation] = []
        self.held = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and write down what it moves."""
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        # Adam gives nothing, and without memory torch would try it on memory of its own.
        skipped = name in IN_PLACE_ALONE and any(isinstance(t, FakeTensor) for t in given)
        out = None if skipped else func(*args, **kwargs)
        made = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        fresh = self._track(given, made)
        if name not in FREE:
            found = _moved(func, name, args, given, made, fresh)
            if found[0] or found[1]:
                half = bool(given) and given[0].dtype in (torch.bfloat16, torch.float16)
                self.operations.append(Operation(name, *found, _flops(func, args, kwargs, out), half))
        return out

    def _track(self, given: list[Tensor], made: list[Tensor]) -> list[Tensor]:
        """Take note of new storages; the outputs that are in one."""
        before = {_key(t) for t in given}
        fresh = [t for t in made if _key(t) not in before]
        for t in fresh:
            storage, key = t.untyped_storage(), _key(t)
            if key not in self._known and self._width in (None, *t.shape[-1:]):
                self._known.add(key)
                self.held += storage.nbytes()
                weakref.finalize(storage, self._forget, key, storage.nbytes())
        self.peak = max(self.peak, self.held)
        return fresh

    def _forget(self, key: int, size: int) -> None:
        if key in self._known:
            self._known.remove(key)
            self.held -= size


def _key(t: Tensor) -> int:
    return t.untyped_storage()._cdata


def _moved(
    func: Any, name: str, args: tuple, given: list[Tensor], made: list[Tensor], fresh: list[Tensor]
) -> tuple[int, int]:
    """Bytes read and written by one operation."""
    changed = [a for i, a in enumerate(args) if _mutated(func, i)]
    changed = [t for t in tree_leaves(changed) if isinstance(t, Tensor)]
    if not changed and not fresh:  # a view
        return 0, 0
    written = sum(_size(t) for t in (*changed, *fresh))
    if name in WRITES_PART:
        index, source = args[2], args[3]
        part = index.numel() * (args[0].element_size())
        read = _size(index) + (_size(source) if isinstance(source, Tensor) else 0)
        if fresh:
            return read + _size(args[0]), written + part
        return read + (part if WRITES_PART[name] == "both" else 0), part
    if name in ("copy_", "fill_", "zero_"):
        return sum(_size(t) for t in given if t is not args[0]), written
    if name in BAGS:
        table, index = args[BAGS[name]], args[BAGS[name] + 1]
        others = sum(_size(t) for t in given if t is not table)
        return others + index.numel() * table.shape[-1] * table.element_size(), written
    if name in GATHERED:
        source = args[GATHERED[name]]
        others = sum(_size(t) for t in given if t is not source)
        return others + sum(_size(t) for t in made), written
    return sum(_size(t) for t in given), written


def _mutated(func: Any, place: int) -> bool:
    arguments = func._schema.arguments
    return place < len(arguments) and arguments[place].is_write


def _size(t: Tensor) -> int:
    """Bytes of what is really there: a broadcast dimension counts once."""
    return t.element_size() * prod(n for n, s in zip(t.shape, t.stride(), strict=True) if s != 0 or n == 0)


def _flops(func: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> int:
    count: Callable[..., int] | None = flop_registry.get(func.overloadpacket)
    if count is None:
        return 0
    if func._overloadname.startswith("dtype"):  # (a, b, out_dtype): the counter knows two arguments
        args = tuple(a for a in args if isinstance(a, Tensor))
    return count(*args, **kwargs, out_val=out)
