"""Do the tests notice planted faults? A sample of them in each numerical module, one at a time.

    python -m benchmarks.mutants [--module engine] [--count 20] [--seed 2] [--again]

A copy of the tree takes one fault at a time (an exchanged operator, comparison, constant, argument order, a
dropped `not`); the tests of its module run until the first fails, where none does those of its neighbours.
As many are drawn in each module, from one seed; the sample stays as it is when other lines change. What
survives is printed; what nobody could see is listed with its reason in `mutant_parts/equivalent.json`. The
table goes to docs/reliability.md. After tests were written, `--again` tries what was missed, and what changes
of the code brought into the sample; the table keeps what was missed when it was first tried with this seed.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.measuring import RESULTS, arguments, between, circumstances, folder_of, write
from benchmarks.mutant_parts.faults import Fault, faults, planted, sources
from benchmarks.mutant_parts.reached import Watch, likely
from frontier.writing import write_text

ROOT = Path(__file__).parents[1]
PAGE = Path("docs/reliability.md")
SEED, COUNT = 1, 14
OUTCOMES = ("killed", "survived", "equivalent")
AT_MOST = 3600
"""Seconds that the tests of one module may take on a busy machine."""
LIKELY = 12
"""The quickest tests of a function run before all of its module's."""
OWN = ("frontier", "benchmarks")
"""Packages of this tree that are loaded here, and that the process of a fault imports anew from the copy."""
EQUIVALENT: dict[str, str] = json.loads(
    (ROOT / "benchmarks" / "mutant_parts" / "equivalent.json").read_text(encoding="utf-8")
)
"""Text of a fault (`Fault.text`) to why no test could tell."""
LEFT = (".*", "notebooks", "out", "__pycache__")
LOADED = ("hypothesis", "lmfit", "pandas", "pyarrow.parquet", "pytest", "scipy.optimize", "scipy.stats",
          "statsmodels.api", "matplotlib.pyplot", "seaborn", "polars")  # fmt: skip
"""What every process would import again."""


@dataclass(frozen=True)
class Subject:
    """Files in which faults are planted, the tests that should notice, and those of neighbours."""

    places: tuple[str, ...]
    tests: tuple[str, ...]
    wider: tuple[str, ...] = ()


def _of(place: str, *tests: str, wider: tuple[str, ...] = ()) -> Subject:
    return Subject(
        (place,), (*(f"tests/{t}.py" for t in tests), place), tuple(f"tests/{t}.py" for t in wider)
    )


SLOWEST = "test_null_error_and_coverage_of_simulated_tables"
SUBJECTS = {
    "engine": _of(
        "frontier/engine", "test_engine_derivatives", "test_engine", wider=("test_fits", "test_nist")
    ),
    "intervals": _of("frontier/intervals.py", "test_intervals", wider=("test_fits", "test_ratios")),
    "ratios": _of(
        "frontier/ratios", "test_ratios", "test_parallel", "test_intervals",
        wider=("test_joint", "test_pooling", "test_figures_ratios"),
    ),
    "pooling": _of("frontier/pooling.py", "test_pooling", wider=("test_tables",)),
    "pareto": _of(
        "frontier/pareto", "test_pareto", "test_uncertain_pareto", "test_groups",
        wider=("test_selection", "test_fits", "test_cli"),
    ),
    "metrics": _of(
        "frontier/metrics", "test_metrics", "test_metric_registry", "test_columns",
        wider=("readers/test_finished", "test_tables_runs", "test_cli"),
    ),
    "shared_shape": _of(
        "frontier/shared_shape", "test_shared_shape_numbers", "test_shared_shape", "test_verdicts",
        "test_figures_collapse", "test_comparison",
    ),
    "comparison": Subject(
        ("frontier/comparison",),
        ("tests/test_verdicts.py", "tests/test_comparison.py", "frontier/comparison", "tests/test_doubts.py",
         "tests/test_budgets.py", "tests/test_verdict_rates.py",
         "--deselect=tests/test_verdict_rates.py::" + SLOWEST),
        ("tests/test_report.py", "tests/test_cli.py"),
    ),
    "closed_forms": _of(
        "trainers/steps/closed_forms", "trainers/test_fast_steps", "trainers/test_steps",
        wider=("trainers/test_architectures", "trainers/test_penalties"),
    ),
}  # fmt: skip


def sample(tree: Path, subject: Subject, count: int, seed: int = SEED) -> list[Fault]:
    """As many faults as asked, drawn from all of the subject's files."""
    found = [f for path in sources(tree, subject.places) for f in faults(path, (tree / path).read_text())]
    return sorted(found, key=lambda f: f.rank(seed))[:count]


def run_tests(tree: Path, tests: Sequence[str], plugins: Sequence[object]) -> None:
    """In a process of its own: the tests, until one fails."""
    import pytest

    for name in [m for m in sys.modules if m.split(".")[0] in OWN]:
        del sys.modules[name]
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    options = ["-x", "-q", "-m", "not slow and not interop and not pages",
               "-p", "no:cacheprovider", "-p", "no:anyio",
               "-W", "ignore::pytest.PytestAssertRewriteWarning"]  # fmt: skip
    with open(os.devnull, "w") as none, contextlib.redirect_stdout(none), contextlib.redirect_stderr(none):
        code = pytest.main([*options, *tests], plugins=plugins)
    os._exit(int(code))


def pass_still(tree: Path, tests: Sequence[str], limit: float, plugins: Sequence[object] = ()) -> bool:
    """Whether the tests pass, in the time that they may take."""
    process = multiprocessing.get_context("fork").Process(target=run_tests, args=(tree, tests, plugins))
    process.start()
    process.join(limit)
    if process.exitcode is None:
        process.kill()
        process.join()
        return False
    return process.exitcode == 0


def tried(tree: Path, name: str, chosen: list[Fault]) -> dict[str, list[str]]:
    """Faults of one subject, one at a time: their names by outcome."""
    if not chosen:
        return {outcome: [] for outcome in OUTCOMES}
    subject, told = SUBJECTS[name], tree.parent / "reached.json"
    start = time.monotonic()
    watch = Watch(tree, sources(tree, subject.places), told)
    if not pass_still(tree, subject.tests, AT_MOST, [watch]):
        sys.exit(f"the tests of {name} fail without any fault, or take more than {AT_MOST} s")
    limit = 60 + 3 * (time.monotonic() - start)
    reached = json.loads(told.read_text(encoding="utf-8"))
    found: dict[str, list[str]] = {outcome: [] for outcome in OUTCOMES}
    for fault in chosen:
        first = likely(reached, f"{fault.path} {fault.function}", LIKELY)
        path = tree / fault.path
        source = path.read_text(encoding="utf-8")
        path.write_text(planted(fault, source), encoding="utf-8")
        stays = all(pass_still(tree, t, limit) for t in (first, subject.tests, subject.wider) if t)
        path.write_text(source, encoding="utf-8")
        outcome = "killed" if not stays else "equivalent" if fault.text in EQUIVALENT else "survived"
        found[outcome].append(fault.name)
        print(f"{outcome:10} line {fault.line:3}: {fault.name}", flush=True)
    return found


def score(found: dict[str, Any]) -> float:
    """Share of the faults that could be noticed and were."""
    return len(found["killed"]) / max(len(found["killed"]) + len(found["survived"]), 1)


def table(modules: dict[str, Any]) -> str:
    """The score of each module, of all, and the faults that no test could see, as Markdown."""
    every: dict[str, Any] = {
        key: [f for m in modules.values() for f in m[key]] for key in (*OUTCOMES, "missed")
    }
    rows = [
        {"module": name, "seed": m.get("seed", ""), "planted": sum(len(m[o]) for o in OUTCOMES),
         "noticed": len(m["killed"]), "at first": len(set(m["killed"]) - set(m["missed"])),
         "not noticed": len(m["survived"]),
         "equivalent": len(m["equivalent"]), "share": f"{100 * score(m):.0f} %"}
        for name, m in {**modules, "all": every}.items()
    ]  # fmt: skip
    listed = "".join(f"* `{f}`: {EQUIVALENT[_text(f)]}\n" for f in dict.fromkeys(every["equivalent"]))
    return f"{tabulate(rows, headers='keys', tablefmt='github')}\n\n{listed}"


def stored(last: Path) -> dict[str, Any]:
    """What is in the file of results, by module."""
    return json.loads(last.read_text(encoding="utf-8"))["modules"] if last.exists() else {}


def settled(before: dict[str, Any], names: Sequence[str]) -> dict[str, list[str]]:
    """Faults `names` that need no second try: killed ones, and survivors whose reason is known by now.

    >>> settled({"killed": ["a", "gone"], "survived": ["b"], "equivalent": ["c"]}, ["a", "b", "c", "new"])
    {'killed': ['a'], 'survived': [], 'equivalent': []}
    """
    silent = [*before.get("survived", ()), *before.get("equivalent", ())]
    return {
        "killed": [f for f in names if f in before.get("killed", ())],
        "survived": [],
        "equivalent": [f for f in names if f in silent and _text(f) in EQUIVALENT],
    }


def row(before: dict[str, Any], known: dict[str, list[str]], new: dict[str, list[str]]) -> dict[str, Any]:
    """What is stored of a module: faults by outcome, and those `missed` when they were first tried.

    >>> before = {"killed": ["a"], "survived": ["b"], "equivalent": [], "missed": ["b", "gone"]}
    >>> known = {"killed": ["a"], "survived": [], "equivalent": []}
    >>> row(before, known, {"killed": ["b", "c"], "survived": ["d"], "equivalent": []})
    {'killed': ['a', 'b', 'c'], 'survived': ['d'], 'equivalent': [], 'missed': ['b', 'd']}
    """
    found = {o: [*known[o], *new[o]] for o in OUTCOMES}
    late = [*before.get("missed", ()), *new["survived"]]
    return found | {"missed": [f for o in ("killed", "survived") for f in found[o] if f in late]}


def _text(name: str) -> str:
    """The name of a fault without which of several it is."""
    return re.sub(r" \(\d+\)$", "", name)


def on_page(text: str, modules: dict[str, Any]) -> str:
    """A page with its table made anew."""
    return between(text, "mutants", table(modules))


def main() -> None:
    """Plant, count, write the result and the page."""
    parser = arguments(__doc__, "two faults in one module")
    parser.add_argument("--module", choices=list(SUBJECTS), action="append", help="only these; others stay")
    parser.add_argument("--count", type=int, default=COUNT, help="faults per module")
    parser.add_argument("--seed", type=int, default=SEED, help="of the sample")
    parser.add_argument("--again", action="store_true", help="only what was not noticed the last time")
    asked = parser.parse_args()
    names = asked.module or (["pooling"] if asked.quick else list(SUBJECTS))
    for name in (*LOADED, *(("torch", "numba") if "closed_forms" in names else ())):
        import_module(name)
    folder = folder_of(asked)
    last = folder / "mutants.json"
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT))
        for name in names:
            chosen = sample(tree, SUBJECTS[name], 2 if asked.quick else asked.count, asked.seed)
            before = stored(last).get(name, {})
            before = before if before.get("seed") == asked.seed else {}
            known = settled(before if asked.again else {}, [f.name for f in chosen])
            new = tried(tree, name, [f for f in chosen if not any(f.name in some for some in known.values())])
            every = stored(last) | {name: row(before, known, new) | {"seed": asked.seed}}
            modules = {n: every[n] for n in SUBJECTS if n in every}
            write("mutants", circumstances("pytest", "numpy") | {"modules": modules}, folder)
    print(table(modules))
    if folder == RESULTS:
        write_text(PAGE, on_page(PAGE.read_text(encoding="utf-8"), modules))


if __name__ == "__main__":
    main()
