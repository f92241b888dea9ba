"""Each p value has one name wherever it is shown, and verdicts are explained by the test they rest on."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

import frontier
from frontier.doubts import Kind
from frontier.html_report.answer import answer

POTENCIES = {"relu": 1.0, "same": 1.0, "near": 1.07, "far": 1.5}


def cell(potencies, layer=1, saes=8, noise=0.03, seed=0, slopes=None):
    """Families that need 1 / potency times the L0 of the reference, on power laws."""
    rng, rows = np.random.default_rng(seed), []
    for family, potency in potencies.items():
        l0 = np.geomspace(15, 250, saes) * rng.lognormal(0, 0.05, saes)
        hit = 0.3 * (l0 * potency / 15) ** -(slopes or {}).get(family, 0.9) * rng.lognormal(0, noise, saes)
        rows.append(pd.DataFrame({"family": family, "layer": layer, "l0": l0, "performance_hit": hit}))
    return pd.concat(rows, ignore_index=True)


@pytest.fixture(scope="module")
def found():
    return frontier.compare(pd.concat([cell(POTENCIES, layer=i, seed=i) for i in (1, 2)]), "relu")


def holm(p):
    return multipletests(p, method="holm")[1]


@pytest.mark.parametrize("name", ["ratios", "potencies"])
def test_a_column_of_p_values_holds_one_test_in_all_its_rows(found, name):
    """Holm by statsmodels: over the rows of a quantity, and of gates over the families of a cell."""
    frame, verdicts = getattr(found, name).to_frame(), found.to_frame()
    gates = verdicts.groupby("layer", sort=False)["p_gate"].transform(holm)
    for quantity, own in frame.groupby("quantity"):
        if quantity == "relative_potency":
            np.testing.assert_allclose(own["p_gate_holm"], gates, rtol=1e-9)
            assert own["p_adjusted"].isna().all() and list(own["verdict"]) == list(verdicts["verdict"])
        else:
            np.testing.assert_allclose(own["p_adjusted"], holm(own["p_value"]), rtol=1e-9)
            assert own["p_gate_holm"].isna().all()
        log, reach = np.log(own["ratio"]), scipy.stats.t.ppf(0.975, own["df"])
        t = log / (np.log(own["ratio_high"] / own["ratio_low"]) / 2 / reach)
        np.testing.assert_allclose(own["p_value"], 2 * scipy.stats.t.sf(abs(t), own["df"]), rtol=1e-6)
    heads, _, *lines = getattr(found, name).to_markdown().splitlines()[2:]
    heads = [h.strip() for h in heads.strip("|").split("|")]
    for line in lines[: len(frame)]:
        row = dict(zip(heads, (c.strip() for c in line.strip("|").split("|")), strict=True))
        potency = "relative potency" in row.get("Quantity", "relative potency")
        assert bool(row["p of gate (Holm)"]) == potency and bool(row.get("p (Holm)")) != potency


def test_an_interval_that_excludes_1_without_a_verdict_is_explained_by_the_test_that_failed():
    torn = 0
    for seed in range(12):
        alike = {f"f{i}": 1.0 for i in range(5)}
        several = frontier.compare(cell({"relu": 1.0, "near": 1.06, **alike}, seed=seed), "relu")
        excludes = [c for c in several if not c.potency.ratio_low <= 1 <= c.potency.ratio_high]
        left = [c for c in excludes if c.verdict == "not separable"]
        named = [r for r in several.ratios.in_spite if "relative_potency" in r]
        assert len(named) == bool(left)
        for c in left[:3]:
            for remark in named:
                assert f"layer 1, {c.family}, relative_potency" in remark
                said = re.search(r"but one curve through both is not rejected \(p = (.*)\)$", remark)
                ends = [float(p) for p in said[1].split(" to ")]
                assert 0.05 < ends[0] * 1.05 and ends[0] * 0.95 < c.tests.holm < ends[-1] * 1.05
                assert remark in several.potencies.to_text(verbose=True, width=9999)
                torn += 1
    assert torn > 3


@pytest.mark.parametrize(("steep", "parallel"), [(0.9, True), (1.4, False)])
def test_the_shift_of_parallel_curves_and_the_potency_at_a_hit_have_names_of_their_own(steep, parallel):
    """Where curves cross, one is large and the other small: only the one that plays a part is shown."""
    found = frontier.compare(cell({"relu": 1, "topk": 1.3}, noise=0.02, slopes={"topk": steep}), "relu")
    (c,) = found
    text = found.to_text(verbose=True, width=999)
    heads, _, values = text[text.index("p values of the procedure") :].splitlines()[2:5]
    assert "equal L0" not in heads
    starts = [m.start() for m in re.finditer(r"\S+(?: \S+)*", heads)]
    cells = [values[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
    shown = dict(zip(re.split(r"  +", heads.strip()), cells, strict=True))
    assert bool(shown["no shift"]) == parallel == (c.tests.parallel > 0.05)
    assert ("No shift is tested" in text) != parallel
    told = dict(answer(found).cells[0].cards[0].answers)["How sure"]
    assert "for a relative potency of 1 at hit" in told and "equal L0" not in told


def test_an_sae_is_said_to_undo_limits_only_where_it_does():
    """Families of which few SAEs share hits, 200 tables: the SAE is one of the table, and nothing decides."""
    said = set()
    for seed in range(200):
        rng, parts = np.random.default_rng(seed), []
        for family, low, high in (("relu", 15, 80), ("topk", 50, 250)):
            l0 = np.exp(rng.uniform(np.log(low), np.log(high), 5))
            if family == "relu":
                l0[0] = rng.uniform(150, 400)
            hit = (
                0.3 * (l0 * (1 + seed % 3 / 3 * (family == "topk")) / 15) ** -0.9 * rng.lognormal(0, 0.08, 5)
            )
            parts.append(pd.DataFrame({"family": family, "l0": l0, "performance_hit": hit}))
        table = pd.concat(parts, ignore_index=True)
        for c in frontier.compare(table, "relu"):
            told = [str(d) for d in c.doubts if d.kind is Kind.influence]
            if not told:
                continue
            assert "decide" not in told[0]
            row, l0 = re.search(r"row (\d+) \(L0 ([\d.]+)\)", told[0]).groups()
            assert table.loc[int(row), "l0"] == pytest.approx(float(l0), rel=0.01)
            r, moved = c.potency, np.log(c.potency_range)
            half = np.log(r.ratio_high / r.ratio_low) / 2
            undone = abs(np.log(r.ratio)) > half and not (
                moved[0] > half if r.ratio > 1 else moved[1] < -half
            )
            assert ("would hold 1" in told[0]) == (undone and c.verdict in ("better", "worse"))
            said.add((c.verdict in ("better", "worse"), undone))
    assert {(True, True), (True, False), (False, False)} <= said


def test_a_potency_at_an_asked_hit_has_no_range_of_the_middle_one():
    """The jackknife is of the middle hit: beside another hit it said what was not so."""
    table = cell({"relu": 1.0, "topk": 1.5}, slopes={"topk": 1.3})
    middle = frontier.compare(table, "relu")["topk"]
    asked = frontier.compare(table, "relu", at=float(middle.band.hits[-1]))["topk"]
    assert middle.potency_range[0] < middle.potency.ratio < middle.potency_range[1]
    assert np.isnan(asked.potency_range).all() and asked.decisive_row == ""
    assert asked.potency.ratio < middle.potency_range[0]
