"""`make torture` in small: one try of most faults, and its last full result on the page."""

import json
import re
from pathlib import Path

import pytest
from processes import sae_train

from benchmarks import torture

ROOT = Path(__file__).parents[2]
ELSEWHERE = ("SIG", "files limited")  # in test_train, test_run_damage and test_poor_surroundings


@pytest.mark.slow
def test_each_fault_is_survived_once(tmp_path, monkeypatch):
    faults = {k: (once, 1, 1) for k, (once, *_) in torture.FAULTS.items() if not k.startswith(ELSEWHERE)}
    monkeypatch.setattr(torture, "FAULTS", faults)
    monkeypatch.setattr(torture.Bench, "command", lambda bench, *words: sae_train(*words, "--quiet"))
    assert not [row for row in torture.tried(tmp_path, quick=True) if row["lost"]]


def test_a_fault_that_is_not_survived_is_counted(tmp_path, monkeypatch):
    class Nothing:
        def __init__(self, place):
            pass

    monkeypatch.setattr(torture, "Bench", Nothing)
    monkeypatch.setattr(torture, "FAULTS", {"always lost": (lambda bench: False, 3, 2)})
    assert torture.tried(tmp_path) == [{"fault": "always lost", "tried": 3, "survived": 0, "lost": 3}]


def test_the_page_shows_the_committed_result():
    record = json.loads((ROOT / "benchmarks" / "results" / "torture.json").read_text())
    page = (ROOT / torture.PAGE).read_text(encoding="utf-8")
    assert torture.on_page(page, record["faults"]) == page
    assert {row["fault"] for row in record["faults"]} == set(torture.FAULTS)
    assert sum(row["lost"] for row in record["faults"]) == 0 and record["cpu_seconds"] < 15 * 60
    assert re.search(r"\| SIGKILL at two random moments", page)
