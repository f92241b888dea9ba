"""Means and spreads written among the SAEs are no SAEs; the ratio is that of the simulated table without."""

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.metrics.summaries import REASON, _summary

TRUE = 1.7
"""L0(relu) / L0(topk) at equal hit: both families lie on hit = 6 / (L0 * potency)."""


def sweep(seeds=(0,)):
    rng = np.random.default_rng(4)
    return pd.DataFrame([
        {"seed": seed, "architecture": f, "l0": l0,
         "loss_recovered": 1 - 6 / (l0 * potency) * np.exp(0.01 * rng.standard_normal())}
        for seed in seeds for f, potency in (("relu", 1.0), ("topk", TRUE)) for l0 in (12, 25, 50, 100, 200)
    ])  # fmt: skip


def summed(table, **labels):
    """Means of each family's L0 and loss recovered below the SAEs, under some labels."""
    means = table.groupby("architecture", as_index=False)[["l0", "loss_recovered"]].mean()
    return pd.concat([table, means.assign(**labels)], ignore_index=True)


def potency(table):
    ratio = frontier.compare(table, "relu")["topk"].potency
    assert ratio.ratio_low < TRUE < ratio.ratio_high < 1.1 * TRUE
    return ratio


def checked(table, count):
    """The SAEs' own comparison, with `count` rows at the end set aside and said."""
    read = frontier.read(table)
    aside = read["excluded_because"].eq(REASON).fillna(False).tolist()
    assert aside == [False] * (len(table) - count) + [True] * count
    assert any("no SAE; set aside" in note for note in frontier.notes(read))
    return potency(read)


@pytest.mark.parametrize("word", ["mean", "Avg.", "mean ± std", "std", "Mean (n=2)", "mean over seeds"])
def test_means_and_spreads_in_the_column_of_seeds(word):
    table = sweep((0, 1))
    with_means = summed(table, seed=word)
    found = checked(with_means, 2)
    assert found.ratio == pytest.approx(potency(table).ratio, rel=1e-12)


def test_means_at_each_setting_beside_the_seeds():
    table = sweep((0, 1))
    by = table.groupby(["architecture", "l0"], as_index=False)["loss_recovered"]
    spread = by.std().assign(seed="std")
    spread["l0"] = spread["l0"] / 100
    found = checked(pd.concat([table, by.mean().assign(seed="mean"), spread], ignore_index=True), 20)
    assert found.ratio == pytest.approx(potency(table).ratio, rel=1e-12)


@pytest.mark.parametrize(
    ("column", "cells", "word"),
    [
        ("k", [1, 2, 4, 8, 16] * 2, "mean"), ("layer", [3] * 10, "mean"), ("dict_size", [4096] * 10, "avg"),
        ("run", [f"x{i}" for i in range(10)], "mean"), ("notes", [None] * 10, "average over all"),
        ("trial", list(range(10)), "mean"), ("corpus", ["pile"] * 10, "mean"),
    ],
)  # fmt: skip
def test_means_in_whatever_column(column, cells, word, tmp_path):
    table = sweep().drop(columns="seed").assign(**{column: cells})
    summed(table, **{column: word}).to_csv(tmp_path / "a.csv", index=False)
    read = frontier.read(tmp_path / "a.csv")
    assert read["excluded_because"].notna().tolist() == [False] * 10 + [True] * 2
    potency(read)


@pytest.mark.parametrize("label", ["Avg.", "Overall", "Alle zusammen"])
def test_the_mean_of_all_families_is_no_family(label):
    table = sweep().drop(columns="seed")
    mean = {"architecture": label, "l0": table["l0"].mean(), "loss_recovered": table["loss_recovered"].mean()}
    checked(pd.concat([table, pd.DataFrame([mean])], ignore_index=True), 1)


def test_a_column_of_means_and_sds():
    means, sds = sweep().drop(columns="seed").assign(stat="mean"), sweep().drop(columns="seed")
    sds = sds.assign(stat="std", l0=sds["l0"] / 50, loss_recovered=0.01)
    checked(pd.concat([means, sds], ignore_index=True), 10)


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("pooling", ["mean", "max"] * 10), ("pooling", ["mean", "cls"] * 10), ("seed", ["mean"] * 20),
        ("n_ctx", [128, "max"] * 10), ("ablated_to", ["mean"] * 20), ("init", ["total", None] * 10),
    ],
)  # fmt: skip
def test_words_that_are_settings_are_none(column, cells):
    table = sweep((0, 1)).assign(**{column: cells})
    assert frontier.read(table)["excluded_because"].isna().all()


def test_the_last_sae_of_a_family_of_its_own_is_no_mean():
    one = pd.DataFrame([{"architecture": "gated", "l0": 80.0, "loss_recovered": 0.93}])
    table = pd.concat([sweep().drop(columns="seed"), one], ignore_index=True)
    assert frontier.read(table)["excluded_because"].isna().all()


def test_labels():
    told = ("Mean", "TOTAL:", "average of 3 seeds", "Mean (std)", "max_pool", "sum types", "minmax", "")
    assert [_summary(cell) for cell in told] == ["mean", "total", "average", "mean", "", "", "", ""]
