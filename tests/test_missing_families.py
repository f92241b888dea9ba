"""A family that is compared in some cells and cannot be in others is named, whatever took its rows."""

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.missing_families import missing

POTENCY = {"relu": 1.0, "topk": 1.5, "gated": 1.3}


def sweep(layers=(1, 2, 3, 4), families=tuple(POTENCY)):
    """Six SAEs a family and layer, alike but for the family's potency and 3 % of noise."""
    rng = np.random.default_rng(0)
    return pd.DataFrame([
        {"family": f, "layer": layer, "l0": l0,
         "loss_recovered": 1 - 3 / (l0 * POTENCY.get(f, 1.2)) * np.exp(0.03 * rng.standard_normal())}
        for layer in layers for f in families for l0 in np.geomspace(10, 160, 6)
    ])  # fmt: skip


def of(table, family, *layers):
    return (table["family"] == family) & table["layer"].isin(layers)


def without(way, family="topk", layers=(2,)):
    table = sweep()
    rows = of(table, family, *layers)
    match way:
        case "absent":
            return table[~rows]
        case "no hit":
            table.loc[rows, "loss_recovered"] = np.nan
        case "negative L0":
            table.loc[rows, "l0"] *= -1
        case "above max_l0":
            table.loc[rows, "l0"] *= 100
    return table


WAYS = ("absent", "no hit", "negative L0", "above max_l0")


def flat(result):
    return " ".join(repr(result).split())


@pytest.mark.parametrize("way", WAYS)
def test_a_family_missing_from_a_cell_is_named(way):
    options = {"max_l0": 200} if way == "above max_l0" else {}
    table = without(way)
    found = frontier.compare(table, "relu", **options)
    assert "layer 2: no usable topk, not compared" in flat(found)
    assert flat(found).count("not compared") == 1 and len(found) == 7
    ratios = frontier.ratio_table(frontier.fit(table, "power", **options), "relu")
    about = [n for n in ratios.notes if "layer 2" in n]
    assert len(about) == 1 and "topk" in about[0]  # a fit that failed has its own reason
    pooled = flat(frontier.pool_ratios(found.potencies, family="topk"))
    assert "topk has no ratio in 1 of 4 cells (layer 2) where other families have one." in pooled
    assert "has no ratio" not in flat(frontier.pool_ratios(found.potencies, family="gated"))


def test_a_missing_reference_and_a_lone_one_are_said_as_before():
    table = sweep()
    table = table[~(of(table, "relu", 3) | of(table, "topk", 4) | of(table, "gated", 4))]
    notes = frontier.compare(table, "relu").notes
    assert "layer 3: no usable relu, not compared" in notes
    assert any(n.startswith("layer 4: no family beside relu has points") for n in notes)
    assert frontier.observed_potency(table, "relu").notes[-2:] == notes[-2:]
    assert not any("topk" in n for n in notes)


def test_a_whole_table_says_nothing():
    assert not [n for n in frontier.compare(sweep(), "relu").notes if "compared" in n]


def test_cells_that_lack_the_same_are_one_remark():
    families = ["relu", "topk", "gated"]
    cells = {f"layer {i}": families for i in range(12)} | {f"layer {i}": ["relu", "gated"] for i in (3, 7)}
    assert missing(cells, "relu") == ["layer 3; layer 7: no usable topk, not compared"]
    cells |= {f"layer {i}": ["topk"] for i in range(4)} | {"layer 9": ["relu", "topk"]}
    assert missing(cells, "relu", "fit of") == [
        "layer 0; layer 1; layer 2; layer 3: no fit of relu, not compared",
        "layer 7: no fit of topk, not compared",
        "layer 9: no fit of gated, not compared",
    ]


@pytest.mark.parametrize("cells", [6, 30])
def test_families_that_live_in_different_cells_by_design_are_one_short_line(cells):
    """Each family in a cell of its own beside the reference; and ten families, each missing elsewhere."""
    apart = {f"layer {i}": ["relu", f"family {i}"] for i in range(cells)}
    patchwork = {
        f"layer {i}": ["relu", *(f"family {j}" for j in range(10) if (i + j) % 5)] for i in range(cells)
    }
    for one in (apart, patchwork):
        (line,) = missing(one, "relu")
        assert line.startswith(f"not every family is compared in all {cells} cells: family ")
        assert len(line) < 180
    counted = sum("family 1" in own for own in patchwork.values())
    assert f"family 1 in {counted}, " in line
