"""Planted faults: which there are, that one place changes, and that the page shows the committed result."""

import json
from pathlib import Path

import pytest

from benchmarks import mutants, rows
from benchmarks.mutant_parts.faults import faults, planted, sources

ROOT = Path(__file__).parents[1]
SOURCE = '''"""Text with 1 + 2."""
LEAST = 3


def share(a: int = 0, b: float = 0.5) -> float:
    if not a or a >= b:
        raise ValueError(f"{a + 1} is too many")
    return max(a, b) - power(a, b, strict=True) * -1
'''


def test_every_kind_of_fault():
    found = {f"{f.function} {f.before} -> {f.after}" for f in faults("share.py", SOURCE)}
    assert found == {
        " 3 -> 4", "share 0 -> 1", "share 0.5 -> 1.0", "share not a or a >= b -> not a and a >= b",
        "share not a -> a", "share a >= b -> a > b", "share 1 -> 2",
        "share power(a, b, strict=True) -> power(b, a, strict=True)",
        "share max(a, b) - power(a, b, strict=True) * -1 -> max(a, b) + power(a, b, strict=True) * -1",
        "share power(a, b, strict=True) * -1 -> power(a, b, strict=True) / -1",
    }  # fmt: skip


@pytest.mark.parametrize("place", range(10))
def test_one_place_changes(place):
    fault = faults("share.py", SOURCE)[place]
    wrong = planted(fault, SOURCE)
    left = [f.name for f in faults("share.py", wrong)]
    assert sum(f.name not in left for f in faults("share.py", SOURCE)) >= 1
    assert fault.after in wrong and compile(wrong, "share.py", "exec")


def test_the_sample_stays_when_other_lines_change(tmp_path):
    (tmp_path / "share.py").write_text(SOURCE)
    subject = mutants.Subject(("share.py",), ())
    before = mutants.sample(tmp_path, subject, 4)
    (tmp_path / "share.py").write_text("NEW = True\n" + SOURCE)
    after = [f.name for f in mutants.sample(tmp_path, subject, 11) if f.before != "True"]
    assert [f.name for f in before] == after[:4]


def test_known_equivalents_are_still_in_the_sources():
    every = {
        f.name
        for subject in mutants.SUBJECTS.values()
        for path in sources(ROOT, subject.places)
        for f in faults(path, (ROOT / path).read_text(encoding="utf-8"))
    }
    assert set(mutants.EQUIVALENT) <= every


def test_the_page_shows_the_committed_results():
    page = (ROOT / mutants.PAGE).read_text(encoding="utf-8")
    modules = json.loads((ROOT / "benchmarks/results/mutants.json").read_text())["modules"]
    measured = json.loads((ROOT / "benchmarks/results/rows.json").read_text())["rows"]
    assert mutants.on_page(page, modules) == page and rows.on_page(page, measured) == page
    every = {o: [f for m in modules.values() for f in m[o]] for o in mutants.OUTCOMES}
    assert mutants.score(every) >= 0.9 and not any(row["said"] for row in measured)
