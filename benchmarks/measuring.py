"""What the benchmarks share: rounds in turn, machine and versions, environments of peers, result files."""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from frontier.writing import write_json

RESULTS = Path("benchmarks/results")
Times = dict[str, list[float]]


def rounds(methods: Mapping[str, Callable[[], Any]], count: int) -> tuple[Times, dict[str, Any]]:
    """CPU seconds of each method in each round, methods in turn; and what each last returned."""
    times: Times = {name: [] for name in methods}
    found: dict[str, Any] = {}
    for _ in range(count):
        for name, work in methods.items():
            start = time.process_time()
            found[name] = work()
            times[name].append(time.process_time() - start)
    return times, found


def ratio(times: Times, one: str, other: str) -> float:
    """Median over the rounds of the ratio of two methods."""
    return median(a / b for a, b in zip(times[one], times[other], strict=True))


def medians(times: Times) -> dict[str, float]:
    """Median seconds of each method."""
    return {name: round(median(v), 6) for name, v in times.items()}


def circumstances(*packages: str) -> dict[str, Any]:
    """Date, machine, load and versions, the head of every result file."""
    found = {name: version(name) for name in packages}
    return {
        "date": date.today().isoformat(), "machine": processor(), "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(), "versions": found,
    }  # fmt: skip


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    return f"{name or 'unknown'} ({platform.machine()})"


def write(name: str, record: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write one result file."""
    return write_json(folder / f"{name}.json", record, indent=1, allow_nan=True)


def between(text: str, name: str, content: str) -> str:
    """A page with what stands between the marks of this name made anew.

    >>> between("a <!-- x -->\\n1\\n<!-- end of x -->", "x", "2\\n")
    'a <!-- x -->\\n2\\n<!-- end of x -->'
    """
    marks = f"(?s)(?<=<!-- {name} -->\n).*(?=<!-- end of {name} -->)"
    return re.sub(marks, lambda _: content, text)


def arguments(about: str | None, quick: str) -> argparse.ArgumentParser:
    """`--quick` and `--out`, which every benchmark has; `quick` says what is measured then."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--quick", action="store_true", help=f"{quick}; the result goes to a temporary folder"
    )
    parser.add_argument("--out", type=Path, help="folder of the result")
    return parser


def folder_of(asked: argparse.Namespace) -> Path:
    """Where the result goes: as asked; a quick one never beside the real ones."""
    return asked.out or (Path(tempfile.mkdtemp()) if asked.quick else RESULTS)


def environment(name: str, *packages: str) -> Path:
    """The interpreter of an environment of its own below `.bench/`, made at the first run.

    Raises
    ------
    RuntimeError
        If the packages cannot be installed.
    """
    folder = Path(".bench") / name
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", *packages]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{packages} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
        (folder / ".ready").touch()
    return python
