"""Budgets: each as `compare` has it alone, changes whose limits know which SAEs are at both, the figure."""

import json
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

import frontier
from frontier import cli
from frontier.metrics.checks import TableError

TOKENS = (100_000, 400_000, 1_600_000)
POTENCY = {"relu": (1.0, 1.0, 1.0), "topk": (2.0, 1.6, 1.5)}


def simulated(rng, noise=0.05, alike=0.9, count=6, named=True):
    """Power laws whose errors are alike at all budgets of an SAE; the potency of topk falls."""
    rows = []
    for family, potencies in POTENCY.items():
        own = rng.normal(0, noise, count)
        for b, (tokens, potency) in enumerate(zip(TOKENS, potencies, strict=True)):
            error = np.sqrt(alike) * own + np.sqrt(1 - alike) * rng.normal(0, noise, count)
            for i, l0 in enumerate(np.geomspace(4, 64, count)):
                hit = (0.5 - 0.1 * b) * (l0 * potency) ** -(0.6 + 0.1 * b) * np.exp(error[i])
                name = f"{family}_{i}" + (f"_step{tokens // 1000}" if b < 2 else "")
                rows.append(
                    {"run_id": name, "family": family, "sparsity_setting": i, "tokens_trained": tokens,
                     "l0": l0, "loss_recovered": 1 - hit}
                )  # fmt: skip
    return pd.DataFrame(rows).drop(columns=[] if named else ["run_id"])


@pytest.fixture(scope="module")
def table():
    return simulated(np.random.default_rng(0))


@pytest.fixture(scope="module")
def found(table):
    return frontier.compare_budgets(table)


def test_each_budget_is_a_comparison_of_its_own(table, found):
    assert [c.budget for c in found] == list(TOKENS) and found.several == 12
    for c in found:
        alone = frontier.compare(table[table["tokens_trained"] == c.budget], "relu")["topk"]
        assert (c.verdict, c.potency.ratio) == (alone.verdict, alone.potency.ratio)
        assert (c.potency.ratio_low, c.potency.ratio_high) == (
            alone.potency.ratio_low,
            alone.potency.ratio_high,
        )


def test_a_change_is_the_ratio_of_the_potencies(found):
    ratios = {c.budget: c.potency.ratio for c in found}
    assert [(c.first, c.last) for c in found.changes] == [
        *pairwise(TOKENS),
        (TOKENS[0], TOKENS[2]),
    ]
    for c in found.changes:
        assert c.ratio == pytest.approx(ratios[c.last] / ratios[c.first]) and c.saes == 12
        assert c.low < c.ratio < c.high
    assert found.overall == (found.changes[-1],)
    assert "topk: from 100,000 to 1,600,000 its potency changes by a factor" in found.to_text(width=1000)


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_the_limits_of_a_change_hold_and_use_that_errors_are_alike(alike):
    """The truth is 0.75; in larger simulations the limits hold it in 95 (alike 0.8) and 98 % (alike 0)."""
    rng = np.random.default_rng(1)
    tables = pd.concat([simulated(rng, alike=alike).assign(layer=n) for n in range(30)])
    found = frontier.compare_budgets(tables, by="layer")
    width = {(c.group["layer"], c.budget): np.log(c.potency.ratio_high / c.potency.ratio_low) for c in found}
    added = [np.hypot(width[n, TOKENS[0]], width[n, TOKENS[2]]) for n in range(30)]
    assert len(found.overall) == 30
    assert sum(c.low <= 0.75 <= c.high for c in found.overall) >= 26
    paired = [np.log(c.high / c.low) for c in found.overall]
    assert np.mean(paired) < (0.7 if alike else 1.5) * np.mean(added)


def test_without_names_errors_are_added():
    d = frontier.compare_budgets(simulated(np.random.default_rng(0), named=False))
    assert d.several == 0 and {c.saes for c in d.changes} == {0}
    assert "no SAE is known to be at several budgets" in d.notes[0]


def test_runs_of_one_name_in_two_families_are_two_saes(table, found):
    """As trainer_0 of every sweep is; the path of each evaluation has its step in it."""
    names = table["run_id"].str.replace(r"^[a-z]+_", "trainer_", regex=True)
    source = table["family"] + "/step_" + table["tokens_trained"].astype(str) + "/eval_results.json"
    d = frontier.compare_budgets(table.assign(run_id=names, source=source))
    assert d.several == 12 and {c.saes for c in d.changes} == {12}
    assert [(c.low, c.high) for c in d.changes] == [(c.low, c.high) for c in found.changes]


def test_an_sae_that_is_there_twice_at_a_budget_pairs_nothing(table):
    d = frontier.compare_budgets(pd.concat([table, table.assign(l0=1.01 * table["l0"])]), rows="all")
    assert d.several == 12 and {c.saes for c in d.changes} == {0}


def test_checkpoints_that_a_table_sets_aside_are_taken(table, found, tmp_path):
    checked = frontier.metrics_table(table)
    assert set(checked[checked["excluded_because"].isna()]["tokens_trained"]) == {TOKENS[-1]}
    assert frontier.compare_budgets(checked).to_frame().equals(found.to_frame())
    assert set(checked[checked["excluded_because"].isna()]["tokens_trained"]) == {TOKENS[-1]}  # as it was
    table.to_csv(tmp_path / "t.csv", index=False)
    again = frontier.compare_budgets(tmp_path / "t.csv").to_frame()
    pd.testing.assert_frame_equal(again, found.to_frame(), check_dtype=False)


def test_it_is_saved_and_made_again(found, tmp_path):
    again = type(found).load(found.save(tmp_path / "b.json"))
    assert again == found and again.overall == found.overall
    assert found.to_frame().columns.tolist()[:4] == ["family", "reference", "tokens_trained", "verdict"]
    assert len(found.changes[0].to_frame()) == 1
    assert "frontier.compare_budgets" in found.to_markdown()


def test_what_cannot_be_compared(table):
    with pytest.raises(
        TableError, match=r"one training budget, or none is known \(tokens_trained, steps_trained\)"
    ):
        frontier.compare_budgets(table[table["tokens_trained"] == TOKENS[0]])
    with pytest.raises(
        TableError, match="no column 'tokens_traned' of budgets; did you mean 'tokens_trained'"
    ):
        frontier.compare_budgets(table, budget="tokens_traned")
    with pytest.raises(TableError, match="tokens_trained: wanted a number above 0 for every SAE, found nan"):
        frontier.compare_budgets(table.assign(tokens_trained=table["tokens_trained"].mask(table["l0"] < 5)))


def test_steps_where_tokens_are_not_known(table):
    steps = table.rename(columns={"tokens_trained": "steps_trained"})
    d = frontier.compare_budgets(steps)
    assert d.budget_column == "steps_trained"
    assert frontier.plot_budget(d)[0].get_xlabel().startswith("Training steps\n")


def test_rows_say_their_group_and_no_number_that_a_verdict_forbids(table, found):
    layers = pd.concat([table.assign(layer=n) for n in (3, 12)])
    lines = [line.split() for line in frontier.compare_budgets(layers).to_text(width=1000).splitlines()]
    told = [(line[0], line[1]) for line in lines if "better" in line]
    assert sorted(told) == sorted((n, f"{b:,}") for n in ("3", "12") for b in TOKENS)
    one = found[0]
    low, high = f"{one.potency.ratio_low:.3f}", f"{one.potency.ratio_high:.3f}"
    assert one.is_told and f"[{low}, {high}]" in str(one)
    nothing = replace(one.potency, ratio=np.nan)
    for blank in (*(replace(one, verdict=v) for v in ("withheld", "not comparable")),
                  replace(one, potency=nothing)):  # fmt: skip
        assert not blank.is_told and low not in str(blank) and high not in str(blank)


def test_the_figure_draws_the_numbers(found):
    (ax,) = frontier.plot_budget(found)
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert lines["topk"].get_ydata().tolist() == [c.potency.ratio for c in found]
    np.testing.assert_allclose(lines["topk"].get_xdata(), np.array(TOKENS) / 1e6)
    assert set(lines["relu"].get_ydata()) == {1.0}
    edges = [line.get_ydata().tolist() for line in ax.get_lines() if line.get_label() == "_edge"]
    assert edges == [[getattr(c.potency, k) for c in found] for k in ("ratio_low", "ratio_high")]
    said = "Training tokens (millions)\n(95 % at each budget; hollow: no verdict)"
    assert (ax.get_xlabel(), ax.get_ylabel()) == (said, "L0 of relu / L0 of topk")
    open_marks = [line for line in ax.get_lines() if line.get_label() == "_open"]
    assert len(open_marks) == sum(c.verdict == "not separable" for c in found)
    assert all(to_hex(line.get_markerfacecolor()) == "#ffffff" for line in open_marks)
    plt.close("all")


def test_a_panel_for_each_cell_and_a_bar_for_one_budget(table):
    two = pd.concat([table.assign(site=s) for s in ("mlp", "attn")])
    late = (two["site"] == "attn") & (two["family"] == "topk") & (two["tokens_trained"] < TOKENS[-1])
    axes = frontier.plot_budget(frontier.compare_budgets(two[~late]))
    assert [ax.get_title(loc="left").strip() for ax in axes] == ["mlp", "attn"]
    assert [c.get_label() for c in axes[1].collections if c.get_label().startswith("_bar")] == ["_bar topk"]
    assert not [c for c in axes[0].collections if c.get_label().startswith("_bar")]
    plt.close("all")


def test_the_command(table, tmp_path, monkeypatch, capsys):
    table.to_csv(tmp_path / "t.csv", index=False)
    monkeypatch.setattr(
        sys, "argv", ["sae-frontier", "budgets", str(tmp_path / "t.csv"), "--out", str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    said = " ".join(capsys.readouterr().out.split())
    assert "Compared with relu by tokens trained" in said and "budgets.png" in said
    assert json.loads((tmp_path / "out" / "budgets.json").read_text())["type"] == "BudgetComparisons"
    assert len(pd.read_csv(tmp_path / "out" / "budget_changes.csv")) == 3


def test_layers_stand_in_the_order_of_the_table(table):
    both = pd.concat([table.assign(layer=n) for n in (3, 12)], ignore_index=True)
    found = frontier.compare_budgets(both)
    assert [c.group["layer"] for c in found] == sorted(c.group["layer"] for c in found)
