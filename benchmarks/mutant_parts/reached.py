"""Which functions each test calls, and how long it takes: a pytest plugin, so that likely tests run first."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

Reached = dict[str, tuple[float, list[str]]]
"""Test to seconds and functions, as `path function`."""


class Watch:
    """Writes what the tests of one run of pytest reached, in files of one tree, to a JSON file."""

    def __init__(self, tree: Path, paths: list[str], out: Path) -> None:
        self.names = {str(tree / path): path for path in paths}
        self.out, self.found = out, Reached()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        """One test with its fixtures."""
        seen, start = set(), time.perf_counter()

        def called(frame: FrameType, *_: object) -> None:
            if path := self.names.get(frame.f_code.co_filename):
                seen.add(f"{path} {frame.f_code.co_qualname.replace('.<locals>', '')}")

        sys.settrace(called)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            self.found[item.nodeid] = (time.perf_counter() - start, sorted(seen))

    def pytest_sessionfinish(self) -> None:
        """Write it all."""
        self.out.write_text(json.dumps(self.found), encoding="utf-8")


def likely(reached: Reached, function: str, count: int) -> list[str]:
    """The quickest tests that call a function, as many as `count`; none where nobody knows.

    >>> likely({"a": (2.0, ["x.py f"]), "b": (1.0, ["x.py f"]), "c": (0.1, ["x.py g"])}, "x.py f", 5)
    ['b', 'a']
    """
    return sorted((t for t, (_, found) in reached.items() if function in found), key=lambda t: reached[t][0])[
        :count
    ]
