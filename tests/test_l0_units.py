"""L0 in another unit in one family, cell or table is doubted aloud; honest sweeps are not."""

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.comparison.verdicts import UNITS
from frontier.doubts import Kind, Severity
from frontier.ratios.l0_units import unit_doubts, units_differ

POTENCY = {"relu": 1.0, "topk": 1.5, "gated": 1.3}


def sweep():
    """Eight SAEs a family and layer over L0 of 12 to 200, no two of the same L0."""
    rng = np.random.default_rng(0)
    return pd.DataFrame([
        {"family": f, "layer": layer, "l0": l0 * np.exp(0.05 * rng.standard_normal()),
         "loss_recovered": 1 - 2.5 / (l0 * POTENCY[f]) * np.exp(0.03 * rng.standard_normal())}
        for layer in (1, 2, 3) for f in POTENCY for l0 in np.geomspace(12, 200, 8)
    ])  # fmt: skip


def changed(change, families, layers):
    table = sweep()
    rows = table["family"].isin(families) & table["layer"].isin(layers)
    table.loc[rows, "l0"] = change(table.loc[rows, "l0"])
    return table


def flat(result):
    return " ".join(repr(result).split())


def doubted(results):
    """The pairs doubted for their unit of L0."""
    return {
        (r.group["layer"], r.family) for r in results for d in r.doubts if d.kind is Kind.other_unit
    }  # fmt: skip


def thousandth(l0):
    return l0 / 1000


EVERY = list(POTENCY)
BOTH = "L0 is below 1 in most SAEs of both: a share of the dictionary, 1/L0 or a logarithm?"


@pytest.mark.parametrize(
    ("change", "families", "layers", "said", "pairs"),
    [
        (thousandth, ["topk"], [2], "layer 2, topk: L0 of topk is about 1/1000 of that of relu: another",
         {(2, "topk")}),
        (lambda l0: 1000 * l0, ["topk"], [3], "layer 3, topk: L0 of topk is about 1000 times that of relu:",
         {(3, "topk")}),
        (lambda l0: 1 / l0, ["topk"], [2], "layer 2, topk: L0 of topk is about 1/2000 of that of relu:",
         {(2, "topk")}),
        (lambda l0: l0 / 100, ["topk"], [2], "layer 2, topk: L0 of topk is below 1 in most SAEs: a share",
         {(2, "topk")}),
        (thousandth, ["relu"], [2], "layer 2, gated): L0 of relu is about 1/1000 of that of other families:",
         {(2, "topk"), (2, "gated")}),
        (thousandth, ["topk"], [1, 2, 3], "layer 3, topk): L0 of topk is about 1/1000 of that of relu:",
         {(1, "topk"), (2, "topk"), (3, "topk")}),
        (lambda l0: 1000 * l0, ["relu"], [2], "in 2 comparisons (layer 2, topk; layer 2, gated).",
         {(2, "topk"), (2, "gated")}),
        (lambda l0: l0 / 16384, EVERY, [2], f"(layer 2, topk; layer 2, gated): {BOTH}",
         {(2, "topk"), (2, "gated")}),
        (lambda l0: l0 / 16384, EVERY, [1, 2, 3], f"In 6 comparisons: {BOTH}",
         {(layer, f) for layer in (1, 2, 3) for f in ("topk", "gated")}),
    ],
)  # fmt: skip
def test_another_unit_is_doubted_on_screen(change, families, layers, said, pairs):
    table = changed(change, families, layers)
    found = frontier.compare(table, "relu")
    assert said in flat(found)
    assert doubted(found) == pairs
    assert Kind.other_unit.severity is Severity.grave
    ratios = frontier.ratio_table(frontier.fit(table, "power"), "relu")
    assert doubted(ratios) == {(r.group["layer"], r.family) for r in ratios} & pairs


def test_honest_tables_are_not_doubted():
    """As published, with three SAEs of eight below 1, or swept where the reference was not."""
    few = changed(lambda l0: l0.where(l0 > 40, l0 / 60), ["topk"], [2])
    assert (few["l0"] < 1).sum() == 3
    elsewhere = changed(lambda l0: 15 * l0, ["topk"], [1, 2, 3])
    assert elsewhere["l0"].max() > 2000
    for table in (sweep(), few, elsewhere):
        assert not doubted(frontier.compare(table, "relu"))
    for by_layer in frontier.load_dataset("gated_gemma7b").groupby("layer"):
        found = frontier.compare(by_layer[1], "baseline")
        assert not [d for c in found for d in c.doubts if d.kind is Kind.other_unit]


@pytest.mark.parametrize(
    ("topk", "relu", "doubts"),
    [
        ("1, 3, 9", "100, 299, 900", 0),
        ("1, 3, 9", "100, 301, 900", 1),
        ("1, 3, 101", "100, 301, 900", 0),  # one L0 in common
        ("0.1, 1, 9", "2, 20, 90", 0),
        ("0.1, 0.99, 9", "2, 20, 90", 1),
    ],
)
def test_hundredfold_apart_without_a_shared_l0_or_mostly_below_one(topk, relu, doubts):
    facts = {"l0": topk}, {"l0": relu}
    assert len(list(unit_doubts(("topk", "relu"), facts))) == doubts
    assert len(list(unit_doubts(("relu", "topk"), facts[::-1]))) == doubts
    assert not list(unit_doubts(("topk", "relu"), (facts[0], {})))  # one SAE: nobody can tell


def test_plainly_other_units_leave_no_verdict():
    """Shares of 16384 latents, per cent of them, thousandths; the others of the cell keep their verdicts."""
    for change in (lambda l0: l0 / 16384, lambda l0: l0 / 163.84, thousandth, lambda l0: l0 / 400):
        table = changed(change, ["topk"], [2])
        found = {(c.group["layer"], c.family): c for c in frontier.compare(table, "relu")}
        one = found.pop((2, "topk"))
        assert (one.verdict, one.why, one.tipping) == ("withheld", UNITS, pytest.approx(np.nan, nan_ok=True))
        assert "no verdict, their units seem to differ (across=['l0'] (--across l0) compares" in one.sentence
        assert {c.verdict for c in found.values()} == {"better"}
    assert flat(frontier.compare(table, "relu")).count("withheld 0.") == 1  # the hit stands, and no ratio
    same = frontier.compare(table, "relu", across=["l0"])
    assert {c.verdict for c in same} == {"better"}


def test_l0s_below_one_that_others_share_keep_their_verdict():
    table = changed(lambda l0: l0 / 100, ["topk", "relu"], [2])
    assert {c.verdict for c in frontier.compare(table, "relu") if c.family == "topk"} == {"better"}
    assert not units_differ(({"l0": "0.1, 0.9, 20"}, {"l0": "2, 20, 90"}))


def test_a_column_of_units_leaves_no_verdict():
    table = sweep()
    table["ce_unit"] = np.where(table["family"] == "topk", "bits", "nats")
    found = {(c.group["layer"], c.family): c for c in frontier.compare(table, "relu")}
    assert {k for k, c in found.items() if c.verdict == "withheld"} == {
        (layer, "topk") for layer in (1, 2, 3)
    }
    assert "across=['ce_unit']" in found[1, "topk"].sentence


def test_hits_that_contradict_their_losses_are_doubted():
    """Loss recovered of TopK is of another run: hits half of those that its losses give."""
    table = sweep().assign(ce_clean=3.000217, ce_zero_ablation=12.000217)
    table["ce_sae"] = 3.000217 + 9 * (1 - table["loss_recovered"])
    stale = table["family"] == "topk"
    table.loc[stale, "loss_recovered"] = 1 - (1 - table.loc[stale, "loss_recovered"]) / 2
    found = frontier.compare(table, "relu")
    for c in found:
        (doubt,) = [d for d in c.doubts if d.kind is Kind.unlike_losses] or [None]
        assert (doubt is not None) == (c.family == "topk")
        if doubt:
            assert dict(doubt.numbers) == {"contradicted": 8, "points": 8, "times": 2}
            assert c.doubts[0] is doubt and doubt.kind.severity is Severity.grave
    by_losses = frontier.compare(table.drop(columns="loss_recovered"), "relu")
    assert not [d for c in by_losses for d in c.doubts if d.kind is Kind.unlike_losses]
