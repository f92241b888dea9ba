"""The class that a user typed: `my_sae.py:MySAE` or `package.module:Class`. Its code is the user's own."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from frontier.wording import listed, nearest
from trainers.architectures.architecture import Architecture


class ArchitectureError(ValueError):
    """An architecture that is unknown, or cannot be loaded or used: which, why, what to type."""


def class_in(typed: str) -> type[Architecture]:
    """The class; a file that has changed since it was last loaded is loaded again.

    Raises
    ------
    ArchitectureError
        If there is no such file, module or class, or its code fails; the line is named.
    """
    place, _, name = typed.rpartition(":")
    if not place or not name.isidentifier():
        raise ArchitectureError(f"wanted my_sae.py:MySAE or package.module:Class, got {typed!r}")
    module = module_in(place)
    if not isinstance(getattr(module, name, None), type):
        raise ArchitectureError(f"{place} has no class {name!r}{nearest(name, classes_in(place))}")
    return getattr(module, name)


def in_full(typed: str) -> str:
    """What a user typed with its class: of a file alone, the one architecture that it holds.

    Raises
    ------
    ArchitectureError
        If the file holds several, or none, or cannot be run.
    """
    if not typed.endswith(".py"):
        return typed
    first, *others = classes_in(typed)
    if others:
        raise ArchitectureError(
            f"{typed} holds {len(others) + 1} architectures; name one: "
            f"{listed([f'{typed}:{name}' for name in (first, *others)])}"
        )
    return f"{typed}:{first}"


def classes_in(place: str) -> list[str]:
    """The names of the architectures that a file or a module defines.

    Raises
    ------
    ArchitectureError
        If there is none, or the code there cannot be run.
    """
    module = module_in(place)
    found = [k for k in vars(module).values() if isinstance(k, type) and issubclass(k, Architecture)]
    names = [k.__name__ for k in found if k.__module__ == module.__name__]
    if not names:
        raise ArchitectureError(
            f"{place} has no architecture: wanted a subclass of trainers.architectures.Architecture"
        )
    return list(dict.fromkeys(names))


def module_in(place: str) -> ModuleType:
    """The module of a file or of a dotted name, run if it was not.

    Raises
    ------
    ArchitectureError
        If there is none, or it fails.
    """
    try:
        return _of_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and place.startswith(error.name):
            raise ArchitectureError(f"there is no module {place!r} that Python can import") from error
        raise ArchitectureError(failure(error, place)) from error
    except ArchitectureError:
        raise
    except Exception as error:
        raise ArchitectureError(failure(error, place)) from error


def _of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ArchitectureError(
            f"there is no file {path}" + ("" if path.is_absolute() else f" in {Path.cwd()}")
            + f"; `sae-train new-architecture {path}` writes one"
        )  # fmt: skip
    where = path.resolve()
    name = f"{path.stem}_{hashlib.sha256(str(where).encode()).hexdigest()[:8]}"
    content = hashlib.sha256(where.read_bytes()).hexdigest()
    before = sys.modules.get(name)
    if before is not None and getattr(before, "__content__", None) == content:
        return before
    spec = importlib.util.spec_from_file_location(name, where)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.__content__ = content  # type: ignore[attr-defined]
    sys.modules[name] = module  # dataclasses look up their annotations there
    sys.path.insert(0, str(where.parent))  # as for `python my_sae.py`
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(where.parent))
    return module


def failure(error: BaseException, place: str) -> str:
    """One line: the place, the line of it where an error arose, and the error."""
    if isinstance(error, SyntaxError):
        line: int | None = error.lineno
        said = error.msg
    else:
        line, said = line_of(error, str(Path(place).resolve())), f"{type(error).__name__}: {error}"
    return f"{place}{f', line {line}' if line else ''}: {said}"


def line_of(error: BaseException, file: str) -> int | None:
    """The last line of a file through which an error came."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno for f in reversed(frames) if f.filename == file), None)
