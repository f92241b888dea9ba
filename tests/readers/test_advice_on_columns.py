"""What is said of columns that are not what their name suggests, and units that are converted."""

import math

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.metrics.checks import TableError

L0 = np.array([10.0, 20, 40, 80, 160])
HIT = np.concatenate([6 / L0, 6 / L0 / 1.7])
"""Hits of two families: 1.7 times fewer latents at equal hit."""


def table(**columns):
    rows = pd.DataFrame({"architecture": ["relu"] * 5 + ["topk"] * 5, "l0": [*L0, *L0]})
    return rows.assign(**columns)


@pytest.mark.parametrize("name", ["1-loss_recovered", "1 - loss recovered", "one_minus_loss_recovered"])
def test_one_minus_loss_recovered_is_the_hit(name):
    read = frontier.read(table(**{name: HIT}))
    np.testing.assert_allclose(read["loss_recovered"], 1 - HIT, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "ours", "side"),
    [
        ("log_loss_recovered", "loss_recovered", "higher"), ("cosine_distance", "cosine_similarity", "lower"),
        ("1-r2_explained", "explained_variance", "lower"), ("neg_mse_x", "mse", "lower"),
    ],
)  # fmt: skip
def test_what_is_made_of_a_metric_is_not_it(name, ours, side):
    with pytest.raises(TableError) as caught:
        frontier.read(table(**{name: HIT}))
    said = str(caught.value)
    assert f"{name} is not {ours} itself: give that in a column {ours}" in said
    assert f"={ours}" not in said and f"--better {side}" in said


@pytest.mark.parametrize(
    ("name", "ours", "one"),
    [
        ("delta CE (mnats)", "delta_ce", 1e-3), ("delta_ce_mnats", "delta_ce", 1e-3),
        ("delta CE (bits/token)", "delta_ce", math.log(2)), ("KL (bits)", "kl", math.log(2)),
        ("kl_millibits", "kl", math.log(2) / 1000), ("CE loss increase [bits]", "delta_ce", math.log(2)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mapped", [True, False])
def test_losses_in_other_units_become_nats(name, ours, one, mapped, tmp_path):
    table(**{name: HIT / one}).to_csv(tmp_path / "a.csv", index=False)
    read = frontier.read(tmp_path / "a.csv", columns={name: ours} if mapped else None)
    np.testing.assert_allclose(read[ours], HIT, rtol=1e-12)
    assert any(repr(name) in note and "in nats" in note for note in frontier.notes(read))


def test_nats_stay_what_they_are():
    for name in ("delta CE (nats)", "delta_ce", "kl_div (nats per token)"):
        read = frontier.read(table(**{name: HIT}))
        np.testing.assert_array_equal(read["kl" if "kl" in name else "delta_ce"], HIT)


def test_l0s_as_names_of_columns_are_told(tmp_path):
    wide = tmp_path / "wide.json"
    wide.write_text('{"relu": {"11.2": 0.57, "21.7": 0.7, "43.1": 0.8}, "topk": {"8.3": 0.6, "16.1": 0.8}}')
    with pytest.raises(TableError, match="seem to be L0s with a column each: one row per SAE is wanted"):
        frontier.read(wide)


@pytest.mark.parametrize("column", ["Group", "Notes", "Tags"])
def test_the_column_of_families_is_the_one_that_names_architectures(column):
    rows = table(loss_recovered=1 - HIT).rename(columns={"architecture": column})
    rows = rows.assign(corpus="pile", when=[f"day {i}" for i in range(10)])
    mapped = f"columns={{{column!r}: 'family'}} (--map {column}=family)"
    with pytest.raises(ValueError, match="relu, topk") as caught:
        frontier.compare(frontier.read(rows))
    assert f"({column}): {mapped} if they are families; else they hold the same" in str(caught.value)
    with pytest.raises(ValueError, match="nothing to compare; name the column that has them") as caught:
        frontier.compare(frontier.read(rows), across=[column])
    assert mapped in str(caught.value)
    with pytest.raises(ValueError, match="theirs=family"):
        frontier.compare(frontier.read(rows.assign(**{column: [f"run {i}" for i in range(10)]})))


def test_k_would_do_for_an_l0():
    rows = table(loss_recovered=1 - HIT, k=[math.nan] * 5 + [8, 16, 32, 64, 128])
    rows.loc[5:, "l0"] = math.nan
    notes = " ".join(frontier.notes(frontier.read(rows)))
    assert "set aside (k counts active latents in rows 5, 6, 7, 8, 9: as l0 it would do)" in notes


@pytest.mark.parametrize(
    ("column", "one", "two", "is_now"),
    [("model", "EleutherAI/pythia-70m", "pythia-70m", None), ("layer", "03", "3", 3), ("layer", "03", 3, 3)],
)
def test_one_model_and_one_layer_in_two_spellings(column, one, two, is_now):
    rows = table(loss_recovered=1 - HIT, **{column: [one] * 5 + [two] * 5})
    read = frontier.read(rows)
    assert len(set(read[column])) == 1 and (is_now is None or (read[column] == is_now).all())
    assert any(f"{column}: " in note and " is " in note for note in frontier.notes(read))
    assert frontier.compare(read, "relu")["topk"].potency.ratio == pytest.approx(1.7, rel=1e-6)


def test_models_of_two_owners_stay_two():
    rows = table(loss_recovered=1 - HIT, model=["a/pythia"] * 3 + ["b/pythia"] * 3 + ["pythia"] * 4)
    assert frontier.read(rows)["model"].nunique() == 3


def test_standard_errors_that_are_divided_with_their_metric_are_named():
    rows = table(loss_recovered=100 * (1 - HIT), loss_recovered_se=0.2)
    read = frontier.read(rows)
    np.testing.assert_allclose(read["loss_recovered_se"], 0.002)
    assert any("divided by 100, and so is loss_recovered_se" in note for note in frontier.notes(read))
