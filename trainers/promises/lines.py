"""Which line: of an error, of a return, of the operation that changed a tensor or made the first NaN."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from trainers.architectures import Architecture, ArchitectureError
from trainers.architectures.named_code import line_of
from trainers.architectures.registry import origin


def file_of(kind: type[Architecture]) -> str:
    """The file in which a class is written; of a class typed into a shell, the name of that cell."""
    try:
        return inspect.getfile(kind)
    except (OSError, TypeError):
        own = (v for v in vars(kind).values() if inspect.isfunction(v))
        return next((f.__code__.co_filename for f in own), "")


def beginning(kind: type[Architecture], method: str) -> int | None:
    """The line at which a method begins, if it is written in the file of the class."""
    code = getattr(getattr(kind, method, None), "__code__", None)
    return code.co_firstlineno if code is not None and code.co_filename == file_of(kind) else None


@contextmanager
def own_fault(kinds: Iterable[type[Architecture]]) -> Iterator[None]:
    """Inside, an error from the code of an architecture that is not built in names its line.

    Raises
    ------
    ArchitectureError
        In the place of that error.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, ArchitectureError):
        raise
    except Exception as error:
        for kind in kinds:
            if origin(kind) is not None and (line := line_of(error, file_of(kind))):
                raise ArchitectureError(
                    f"{shown(file_of(kind))}, line {line}: {type(error).__name__}: {error}"
                ) from error
        raise


def shown(file: str) -> str:
    """A path as short as it can be."""
    near = os.path.relpath(file) if os.path.isabs(file) else file
    return file if near.startswith("..") else near


def here(file: str) -> int | None:
    """The line of the file that is at work now."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename != file:
        frame = frame.f_back
    return frame.f_lineno if frame else None


@contextmanager
def returns(file: str) -> Iterator[dict[str, int]]:
    """Inside, the line at which each function of the file last returned, by its name."""
    found: dict[str, int] = {}

    def inside(frame: FrameType, event: str, _: Any) -> Any:
        if event == "return":
            found[frame.f_code.co_name] = frame.f_lineno
        return inside

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        return inside if frame.f_code.co_filename == file else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield found
    finally:
        sys.settrace(before)


class Changes(TorchDispatchMode):
    """Which watched tensors an operation writes to, and the line of the first."""

    def __init__(self, watched: dict[str, Tensor], file: str) -> None:
        super().__init__()
        self.places = {v.untyped_storage().data_ptr(): k for k, v in watched.items() if v.numel()}
        self.file = file
        self.found: dict[str, int | None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and look at what it writes to."""
        for spec, value in zip(func._schema.arguments, args, strict=False):
            if isinstance(value, Tensor) and spec.alias_info is not None and spec.alias_info.is_write:
                name = self.places.get(value.untyped_storage().data_ptr())
                if name is not None:
                    self.found.setdefault(name, here(self.file))
        return func(*args, **(kwargs or {}))


class FirstNaN(TorchDispatchMode):
    """The line at which NaN first came out of numbers that had none."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file
        self.line: int | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and look at what comes out."""
        found = func(*args, **(kwargs or {}))
        if self.line is None and _has_nan(found) and not any(_has_nan(a, numbers=False) for a in args):
            self.line = here(self.file)
        return found


def _has_nan(value: Any, numbers: bool = True) -> bool:
    """Whether a tensor, or one of a list, has NaN; numbers in the code arrive as tensors without rank."""
    if isinstance(value, list | tuple):
        return any(_has_nan(v, numbers) for v in value)
    if not isinstance(value, Tensor) or not value.is_floating_point() or not (numbers or value.ndim):
        return False
    return bool(torch.isnan(value).any())
