"""Numbers that nobody reads are asked about where they cover a family's frontier twice, and only there."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.guard import guard
from frontier.metrics.checks import TableError

L0 = np.array([10.0, 20, 40, 80, 160])
TRUE = 1.7
"""L0(relu) / L0(topk) at equal hit, both on hit = 6 / (L0 * potency)."""


def rows(family, factor=1.0, l0=L0, seed=0, **columns):
    noise = np.exp(0.01 * np.random.default_rng(seed).standard_normal(len(l0)))
    hit = factor * 6 / (l0 * {"relu": 1.0, "topk": TRUE}[family]) * noise
    return pd.DataFrame({"architecture": family, "l0": l0, "loss_recovered": 1 - hit, **columns})


def both(column, one, two, factor, l0=L0, only_topk=False):
    """Both families at one value, and both or TopK alone at the other, where hits are a factor as large."""
    frames = [rows("relu", **{column: one}), rows("topk", seed=1, **{column: one})]
    frames += [] if only_topk else [rows("relu", factor, l0, 2, **{column: two})]
    return pd.concat([*frames, rows("topk", factor, l0, 3, **{column: two})], ignore_index=True)


@pytest.mark.parametrize("only_topk", [True, False])
@pytest.mark.parametrize(
    ("column", "one", "two"),
    [
        ("n_ctx", 128, 1024), ("eval.context_length", 128.0, 1024.5), ("noise_scale", 0.0, 0.5),
        ("depth", 0.25, 0.83), ("model_layer", 3, 10), ("setup", 1, 2), ("x", 0.1, 0.7),
    ],
)  # fmt: skip
def test_two_frontiers_of_one_family_are_a_question(column, one, two, only_topk):
    table = both(column, one, two, 0.5, only_topk=only_topk)
    with pytest.raises(TableError, match=f"'{column}' is not used, and would split one group"):
        frontier.compare(table, "relu")
    found = frontier.compare(frontier.read(table, where=f"`{column}` == {one}"), "relu")["topk"]
    assert found.potency.ratio_low < TRUE < found.potency.ratio_high


def test_evaluations_are_asked_about_whatever_their_l0():
    for column in ("n_ctx", "layer_frac", "depth"):
        with pytest.raises(TableError, match=f"'{column}' is not used"):
            frontier.compare(both(column, 0.25, 0.8, 0.5, l0=1.3 * L0, only_topk=True), "relu")


@pytest.mark.parametrize(
    ("column", "one", "two", "factor", "l0"),
    [
        ("learning_rate", 1e-4, 1e-3, 0.5, L0), ("lr_scale", 0.5, 1.0, 0.5, L0),
        ("dropout", 0.0, 0.5, 0.5, L0), ("x", np.arange(5), np.arange(5, 10), 0.5, L0),
        ("trainer.adam_beta1", 0.0, 0.9, 0.5, L0), ("aux_alpha", 0.0, 0.03, 0.5, L0),
        ("x", 0.1, 0.7, 0.5, 1.3 * L0), ("x", 0.1, 0.7, 0.97, L0),
    ],
)  # fmt: skip
def test_searches_and_what_makes_no_difference_go_through(column, one, two, factor, l0):
    found = frontier.compare(both(column, one, two, factor, l0), "relu")["topk"]
    assert 1.5 < found.potency.ratio < 2.0


@pytest.mark.parametrize("column", ["eval/dead_latents", "dead_units", "eval_seconds"])
def test_what_an_evaluation_finds_goes_through(column):
    assert frontier.compare(both(column, 0, 2, 0.97, only_topk=True), "relu")["topk"].verdict == "better"


def test_settings_pair_saes_whose_l0_moved_with_the_text():
    """At lambda known, L0 7 % apart on another text; without it, such L0s are of no one SAE."""
    table = both("x", 0.1, 0.7, 0.5, 1.07 * L0)
    assert frontier.compare(table, "relu")["topk"].verdict == "better"
    with pytest.raises(TableError, match="'x' is not used"):
        frontier.compare(table.assign(l1_coefficient=list(1 / L0) * 4), "relu")


def test_tables_of_many_saes_are_asked_about_in_little_memory():
    """SAEs are held against each other in order: 2 * 10^4 squared distances would fill 3 GB."""
    l0 = np.geomspace(10, 1000, 10_000)
    table = both("x", 0.1, 0.7, 0.5, l0)
    tracemalloc.start()
    with pytest.raises(TableError, match="'x' is not used"):
        guard(table, [], family="architecture")
    assert tracemalloc.get_traced_memory()[1] < 1e8
    tracemalloc.stop()
