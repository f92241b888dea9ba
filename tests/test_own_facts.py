"""A column that nobody reads and that sets two families apart is a doubt; one that names them is none."""

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.doubts import Kind

L0 = np.array([12, 25, 50, 100, 200, 400])


def table(column, relu, topk):
    """Two families of six SAEs on hit = 6 / (L0 * potency), with a column of one's own, potency 1.7."""
    rng = np.random.default_rng(8)
    frames = [
        pd.DataFrame({
            "architecture": f, "l0": L0, column: cells,
            "loss_recovered": 1 - 6 / (L0 * potency) * np.exp(0.01 * rng.standard_normal(6)),
        })
        for f, potency, cells in (("relu", 1.0, relu), ("topk", 1.7, topk))
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def test_values_with_commas_are_whole():
    """'pile, owt' is another mixture than 'owt, code', though both hold owt."""
    found = doubts(table("training_mix", "pile, owt", "owt, code"))
    assert str(found["training_mix"]) == "training_mix differs: owt, code in topk, pile, owt in relu."


def doubts(rows):
    found = frontier.compare(rows, "relu")["topk"].doubts
    return {d.quantity: d for d in found if d.kind in (Kind.confounded, Kind.other_unit)}


@pytest.mark.parametrize(
    ("column", "relu", "topk"),
    [
        ("context_length", 128, 1024), ("include_bos", True, False),
        ("n_tokens", 1e8, 1e9), ("tokens (M)", 100, 1000), ("steps", 1000, 40000), ("trainer.steps", 1, 2),
        ("optimiser", "adam", "lion"), ("noise_scale", 0.0, 0.5), ("gpu_precision", "bf16", "fp32"),
        ("eval_set", "relu texts", "owt"), ("config.corpus", "pile", "owt"), ("normalized", "yes", "no"),
    ],
)  # fmt: skip
def test_what_sets_families_apart_is_a_doubt(column, relu, topk):
    rows = table(column, relu, topk)
    found = doubts(rows)
    assert list(found) == [column] and found[column].kind is Kind.confounded
    assert f"{column} differs: " in str(found[column])
    assert not doubts(rows.assign(**{column: relu}))
    seeds = pd.concat([rows.assign(seed=s, l0=rows["l0"] * (1 + s / 100)) for s in (0, 1, 2)])
    told = frontier.compare_seeds(seeds, "relu")[0].doubts
    assert column in {d.quantity for d in told if d.kind is Kind.confounded}
    ratios = frontier.ratio_table(frontier.fit(rows, "power"), "relu")
    assert all(column in {d.quantity for d in r.doubts} for r in ratios)


@pytest.mark.parametrize("column", ["unit", "ce_units"])
def test_another_unit_is_a_doubt_of_its_kind(column):
    found = doubts(table(column, "nats", "bits"))
    assert found[column].kind is Kind.other_unit


@pytest.mark.parametrize(
    ("column", "relu", "topk"),
    [
        ("activation_fn", "a", "b"), ("dict_class", "AutoEncoder", "AutoEncoderTopK"), ("release", "a", "b"),
        ("nonlin", "relu", "topk"), ("eval_file", "relu.json", "topk.json"), ("shown as", "ReLU", "TopK SAE"),
        ("colour", "red", "blue"), ("trainer.use_aux", False, True), ("aux_alpha", 0.0, 0.03),
        ("config.l1_norm", "a", "b"), ("remark", list("abcdef"), list("ghijkl")), ("notes", "a", "b"),
        ("aux_kind", None, "dead"), ("eval_seconds", np.linspace(1, 2, 6), np.linspace(3, 4, 6)),
        ("lr", 1e-3, 1e-4),
        ("steps", [9990, 9991, 9992, 9993, 9994, 9995], 10000),
    ],
)  # fmt: skip
def test_what_names_a_family_or_belongs_to_it_is_none(column, relu, topk):
    assert not doubts(table(column, relu, topk))


def test_a_column_that_groups_or_may_differ_is_none():
    rows = table("n_ctx", 128, 1024)
    found = frontier.compare(rows, "relu", across=["n_ctx"])["topk"]
    assert not [d for d in found.doubts if d.kind is Kind.confounded]
