"""L0 in another unit in one family, cell or table is doubted aloud; honest sweeps are not."""

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.doubts import Kind, Severity
from frontier.ratios.l0_units import unit_doubts

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
