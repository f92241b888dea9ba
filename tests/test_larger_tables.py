"""The acceptance table's larger tables: drawn as they say, and its rows are those of its cells."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import verdicts
from benchmarks.verdict_parts import larger
from benchmarks.verdict_parts.truths import NAMES, TRUTHS

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "verdicts.json"
PARTS = ("larger tables", "differences in larger tables")


def deviations(table: pd.DataFrame, potency: float, l0: pd.Series) -> pd.Series:
    return np.log(table["performance_hit"] / TRUTHS["Hill"](potency * l0))


def test_families_lie_on_their_curves_each_with_its_own_noise() -> None:
    """SDs of 1,600 deviations are known to 1.8 %, their means to SD / 40."""
    table = larger.one_seed(8, [0.05, 0.05, 0.4])("Hill", [1, 1.2, 1.9], np.random.default_rng(0), 200)
    for name, potency, sd in zip(NAMES, (1, 1.2, 1.9), (0.05, 0.05, 0.4), strict=False):
        of = table[table["family"] == name]
        assert (of.groupby("layer").size() == 8).all() and of["layer"].nunique() == 200
        found = deviations(of, potency, of["l0"])
        assert found.std() == pytest.approx(sd, rel=0.06) and abs(found.mean()) < sd / 10


def test_seeds_of_few_settings_scatter_about_their_setting() -> None:
    draw = larger.several_seeds(4, 8, 0.02)
    table = draw("Hill", [1, 1, 1.2], np.random.default_rng(0), 50)
    for f, potency in enumerate((1, 1, 1.2)):
        of = table[(table["layer"] == 3) & (table["family"] == NAMES[f])]
        assert (of.groupby("sparsity_setting")["seed"].nunique() == 8).all() and len(of) == 32
        of = table[table["family"] == NAMES[f]]
        middle = (20 * 10 ** ((of["sparsity_setting"] - 1) / 3)) * 1.15**f
        assert np.log(of["l0"] / middle).std() == pytest.approx(0.02, rel=0.06)
        assert deviations(of, potency, middle).std() == pytest.approx(0.02, rel=0.06)


def test_every_cell_is_counted_and_a_better_one_of_thirty_is_seen() -> None:
    equal, different = larger.equal(8), larger.different(8)
    assert list(equal["design"].unique()) == list(different["design"].unique()) == list(larger.CELLS)
    assert [(equal["design"] == d).sum() for d in larger.CELLS] == [
        len(c.truths) for c in larger.CELLS.values()
    ]
    loud = {design for design, cell in larger.CELLS.items() if cell.loud}
    assert loud == set(different.loc[different["potency"] == "1.9", "design"])
    assert different.iloc[0][["better", "worse"]].tolist() == [1, 0]


@pytest.mark.parametrize("name", PARTS)
def test_rows_of_the_table_are_those_of_its_cells(name: str) -> None:
    part = json.loads(RESULTS.read_text(encoding="utf-8"))["parts"][name]
    rows = verdicts.judged(name, pd.DataFrame(part["cells"]))
    assert [(r.what, r.found, r.met) for r in rows] == [
        (r["what"], r["found"], r["met"]) for r in part["rows"]
    ]
    assert {c["tables"] for c in part["cells"]} <= set(range(part["tables"] + 1))
