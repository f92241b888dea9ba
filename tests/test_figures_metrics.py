"""Figures of tables, logs and counts: what is drawn is read from the artists."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from frontier.figures import (
    family_styles,
    paper_style,
    plot_attainment,
    plot_frequencies,
    plot_high_frequency,
    plot_metrics,
    plot_pruning,
    plot_reconstruction,
    plot_settings,
    plot_training,
    training_log,
)
from frontier.figures.metrics_by import draw_metric
from frontier.metrics.checks import TableError
from frontier.metrics.frequencies import frequency_bins, latents_by_frequency
from frontier.pareto.uncertain import attainment
from tests.test_figures import clashes, legend_words, line, lines


@pytest.fixture
def trained():
    """Two families over lambda and one over k, with every metric that the figures show."""
    rows = []
    for i, (family, name) in enumerate((("relu", "lambda"), ("gated", "lambda"), ("topk", "k"))):
        for setting, l0 in zip((1.0, 2.0, 4.0), (32.0, 16.0, 8.0), strict=True):
            hit = (0.5 - 0.1 * i) * l0**-0.7
            rows.append(
                {
                    "family": family, "sparsity_name": name, "l0": l0, "loss_recovered": 1 - hit,
                    "sparsity_setting": setting if name == "lambda" else l0, "ce_clean": 1.0,
                    "ce_sae": 1 + hit, "cosine_similarity": 1 - hit / 2, "l2_ratio": 1 - hit / 3,
                    "shrinkage": 1 - hit / 4, "frequency_above_10pct": l0 / 400,
                    "frequency_above_1pct": l0 / 50,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


# Metrics


def test_a_metric_is_drawn_in_order_of_x(trained):
    ax = draw_metric(trained.sample(frac=1, random_state=np.random.default_rng(0)), y="cosine_similarity")
    rows = trained[trained["family"] == "relu"].sort_values("l0")
    np.testing.assert_array_equal(line(ax, "relu").get_xdata(), rows["l0"])
    np.testing.assert_array_equal(line(ax, "relu").get_ydata(), rows["cosine_similarity"])
    assert ax.get_xlabel() == "L0 (active latents per token)"
    assert "Cosine similarity" in ax.get_ylabel() and ax.get_xscale() == "log"
    assert line(ax, "_perfect").get_ydata()[0] == 1


def test_seeds_are_joined_one_by_one(trained):
    twice = pd.concat([trained.assign(seed=0), trained.assign(seed=1, l0=trained["l0"] * 1.1)])
    ax = draw_metric(twice, y="shrinkage")
    assert [len(lines(ax, label)) for label in ("relu", "_seed")] == [1, 3]
    assert (np.diff(line(ax, "relu").get_xdata()) > 0).all() and len(line(ax, "relu").get_xdata()) == 3


def test_reconstruction_has_the_panels_that_the_table_knows(trained):
    assert len(plot_reconstruction(trained)) == 3
    assert len(plot_reconstruction(trained.drop(columns="l2_ratio"))) == 2
    with pytest.raises(TableError, match="none of cosine_similarity, l2_ratio, shrinkage"):
        plot_reconstruction(trained[["family", "l0", "loss_recovered"]])
    with pytest.raises(TableError, match="no column 'cosine'"):
        plot_metrics(trained, y=["cosine"])
    assert len(plt.get_fignums()) == 2


@pytest.mark.parametrize("draw", [plot_reconstruction, plot_settings])
def test_protocols_are_drawn_together_only_where_asked_for(trained, draw):
    both = pd.concat([trained.assign(protocol="with BOS"), trained.assign(protocol="without BOS")])
    with pytest.raises(TableError, match="different protocol"):
        draw(both)
    assert len(draw(both, across=["protocol"])) == len(draw(trained))


def test_high_frequency_latents_stand_against_delta_loss_in_per_cent(trained):
    axes = plot_high_frequency(trained)
    assert [ax.get_ylabel().replace("\n", " ") for ax in axes] == [
        "Latents firing on > 10 % of tokens",
        "Latents firing on > 1 % of tokens",
    ]
    assert axes[0].get_xlabel() == "Δ cross-entropy (nats per token)"
    drawn = line(axes[0], "topk")
    rows = trained[trained["family"] == "topk"].sort_values("ce_sae")
    np.testing.assert_allclose(drawn.get_xdata(), rows["ce_sae"] - 1)
    np.testing.assert_allclose(drawn.get_ydata(), rows["frequency_above_10pct"])
    axes[1].figure.canvas.draw()
    assert "20 %" in [t.get_text() for t in axes[1].get_yticklabels()]


def test_settings_have_one_panel_per_kind(trained):
    axes = plot_settings(trained)
    assert [ax.get_xlabel() for ax in axes] == [
        r"Sparsity coefficient $\lambda$",
        "k (latents kept per token)",
    ]
    assert len(lines(axes[0], "relu")) == 1 and not lines(axes[0], "topk")
    np.testing.assert_array_equal(line(axes[1], "topk").get_xdata(), line(axes[1], "topk").get_ydata())
    with pytest.raises(TableError, match="no sparsity_setting"):
        plot_settings(trained.drop(columns="sparsity_setting"))


def test_settings_that_coincide_are_all_seen(trained):
    """BatchTopK has the L0 of TopK: the line below is the broader one, and its markers the larger ones."""
    twin = trained[trained["family"] == "topk"].assign(family="batch_topk", l0=lambda t: 1.01 * t["l0"])
    below, above = (lines(plot_settings(pd.concat([twin, trained]))[0], n)[0] for n in ("batch_topk", "topk"))
    assert below.get_markersize() > 1.5 * above.get_markersize()
    assert below.get_linewidth() > 2 * above.get_linewidth() and below.get_zorder() <= above.get_zorder()
    alone = line(plot_settings(trained)[1], "topk")
    assert alone.get_markersize() == above.get_markersize(), "a line that nothing covers is as before"


# Pruning


def pruned_table():
    rows = [
        {"run_id": "a", "l0": 20.0, "loss_recovered": 0.95},
        {"run_id": "b", "l0": 40.0, "loss_recovered": 0.97},
    ]
    rows += [
        {
            "run_id": f"{p}-{m}-{q}",
            "parent": p,
            "pruning": m,
            "l0": l0 * q,
            "loss_recovered": y - 0.05 * (1 - q),
        }
        for p, l0, y in (("a", 20.0, 0.95), ("b", 40.0, 0.97))
        for m in ("threshold", "quantile")
        for q in (0.5, 0.8)
    ]
    return pd.DataFrame(rows)


def test_pruning_draws_one_line_per_parent_and_method():
    ax = plot_pruning(pruned_table())
    assert [len(lines(ax, m)) for m in ("threshold", "quantile")] == [2, 2]
    first = lines(ax, "threshold")[0]
    np.testing.assert_allclose(first.get_xdata(), [10, 16, 20])  # ends in its parent
    np.testing.assert_allclose(first.get_ydata(), [0.925, 0.94, 0.95])
    np.testing.assert_array_equal(line(ax, "as trained").get_xdata(), [20, 40])
    assert legend_words(ax.get_legend()) == ["as trained", "quantile", "threshold"]
    renamed = pruned_table().rename(columns={"pruning": "sparsity_name"})  # as the trainer writes it
    assert len(lines(plot_pruning(renamed), "quantile")) == 2
    with pytest.raises(TableError, match="no row has a parent"):
        plot_pruning(pruned_table().drop(columns="parent"))
    with pytest.raises(TableError, match="no column 'how'"):
        plot_pruning(pruned_table(), pruning="how")


# Frequencies


def test_frequencies_are_shares_of_all_latents():
    counts = np.array([0, 0, 1, 10, 100, 100, 1000, 5000])
    ax = plot_frequencies({"relu": counts}, 10_000, per_decade=1)
    drawn = line(ax, "relu: 25 % dead")
    np.testing.assert_allclose(drawn.get_xdata(), 10.0 ** np.arange(-4.5, 0), rtol=1e-9)
    # Up to 1e-4 one latent, 1e-3 one, 1e-2 two, 1e-1 one, 1 one, of eight: "above 1 %" starts at an edge.
    np.testing.assert_allclose(drawn.get_ydata(), [1 / 8, 1 / 8, 2 / 8, 1 / 8, 1 / 8])
    assert not ax.collections and not ax.patches, "fills of several SAEs hide each other"
    assert [v.get_xdata()[0] for v in lines(ax, "_landmark")] == [0.01, 0.1]


def test_an_sae_that_never_fires_is_in_the_legend():
    ax = plot_frequencies({"relu": [3, 40], "gated": [0, 0], "topk": [5, 0]}, 1000)
    drawn = {v.get_label(): max(v.get_ydata()) for v in ax.lines if v.get_label() != "_landmark"}
    assert drawn == {"topk: 50 % dead": 0.5, "gated: 100 % dead": 0, "relu": 0.5}
    assert len({(v.get_color(), v.get_marker(), v.get_linestyle()) for v in ax.lines[:3]}) == 3
    assert legend_words(ax.figure.legends[0]) == ["relu", "gated: 100 % dead", "topk: 50 % dead"]


@pytest.mark.parametrize(
    ("counts", "tokens", "message"),
    [
        ({}, 10, "no SAE"),
        ({"a": [1]}, 0, "at least 1"),
        ({"a": [11]}, 10, "a: counts must lie between 0 and the 10 tokens"),
        ({"a": []}, 10, "a: counts"),
    ],
)
def test_impossible_counts_are_refused(counts, tokens, message):
    with pytest.raises(ValueError, match=message):
        plot_frequencies(counts, tokens)
    assert plt.get_fignums() == []


def test_every_count_has_a_bin():
    for tokens in (1, 9, 10, 1000, 16384):
        counts = np.arange(1, min(tokens, 2000) + 1)
        assert latents_by_frequency(counts, tokens).sum() == len(counts)
    assert frequency_bins(1)[-1] == 1 and len(frequency_bins(1, 2)) == 3


# Seeds


def test_attainment_draws_the_surfaces():
    rng = np.random.default_rng(1)
    rows = [
        {
            "family": f,
            "seed": s,
            "l0": float(l0),
            "loss_recovered": 1 - a * l0**-0.8 * np.exp(rng.normal(0, 0.1)),
        }
        for f, a in (("relu", 0.5), ("topk", 0.4))
        for s in range(3)
        for l0 in (4, 8, 16, 32)
    ]
    table = pd.DataFrame(rows)
    ax = plot_attainment(table)
    want = attainment(table, y="loss_recovered")
    want = want[(want["family"] == "relu") & (want["level"] == "median")]
    drawn = line(ax, "relu")
    np.testing.assert_allclose(drawn.get_ydata()[:-1], want["y"])
    assert drawn.get_drawstyle() == "steps-post"
    assert ax.get_title("right") == "best to worst of 3 runs"
    assert legend_words(ax.get_legend()) == ["relu", "topk"]


# Training


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.jsonl"
    members = ("relu_0.5_seed0", "relu_2_seed0", "batch_topk_8_seed0")
    lines_ = []
    for s in (1, 2, 4):
        logged = {m: {"loss": 5 / s, "l0": 40 / s + i, "fvu": 0.5 / s} for i, m in enumerate(members)}
        lines_.append({"step": s, "tokens": 10 * s, "members": logged})
    path.write_text("".join(json.dumps(entry) + "\n" for entry in lines_))
    return path


def test_training_curves_by_step(log):
    axes = plot_training(log)
    assert [ax.get_xlabel() for ax in axes] == ["Training step"] * 2
    assert [ax.get_ylabel().replace("\n", " ") for ax in axes] == [
        "L0 (active latents per token)",
        "Fraction of variance unexplained",
    ]
    assert len(lines(axes[0], "relu")) == 2 and len(lines(axes[0], "batch_topk")) == 1
    np.testing.assert_array_equal(lines(axes[0], "relu")[0].get_xydata(), [[1, 40], [2, 20], [4, 10]])
    looks = family_styles(["relu", "batch_topk"])
    assert to_hex(line(axes[1], "batch_topk").get_color()) == looks["batch_topk"].colour


def test_flat_lines_of_several_families_do_not_hide_each_other():
    """At equal k two families have the same L0 throughout: their dashes take turns; others stay whole."""
    rows = [
        {"step": s, "tokens": s, "run_id": run, "l0": l0, "fvu": 1 / s}
        for run, at in (("topk_8", [8, 8]), ("batch_topk_8", [8, 8]), ("relu_1", [40, 9]))
        for s, l0 in zip((1, 2), at, strict=True)
    ]
    l0, fvu = plot_training(pd.DataFrame(rows))
    (one_at, one), (other_at, other) = (line(l0, n)._unscaled_dash_pattern for n in ("topk", "batch_topk"))
    assert one == other and sum(one) == 2 * abs(other_at - one_at) and one[0] == one[1]
    assert line(l0, "relu").get_linestyle() == "-" == line(fvu, "topk").get_linestyle()


def test_families_of_runs_can_be_given(log):
    names = {"relu_0.5_seed0": "one", "relu_2_seed0": "two", "batch_topk_8_seed0": "three"}
    assert {h.get_label() for h in plot_training(log, families=names)[0].get_lines()} == {
        "one",
        "two",
        "three",
    }
    table = pd.DataFrame({"run_id": list(names), "family": list(names.values()), "l0": 3.0, "fvu": 0.1})
    assert len(lines(plot_training(log, families=table, x="tokens")[0], "two")) == 1


def test_a_torn_last_line_is_left_out_and_other_files_are_refused(log, tmp_path):
    whole = len(training_log(log))
    log.write_text(log.read_text() + '{"step": 8, "tok')
    assert len(training_log(log)) == whole == 9
    other = tmp_path / "other.jsonl"
    other.write_text('{"loss": 1}\n{"loss": 2}\n')
    with pytest.raises(ValueError, match="line 1: not the log of a run"):
        training_log(other)
    with pytest.raises(ValueError, match="'fuv' was not logged; did you mean 'fvu'"):
        plot_training(log, metrics=["fuv"])
    other.write_text("")
    with pytest.raises(ValueError, match="no logged step"):
        training_log(other)


# Layout


@pytest.mark.slow
@pytest.mark.parametrize("venue", ["neurips", "icml", "acl"])
def test_no_text_overlaps_or_is_cut_off(venue, trained, log):
    with paper_style(venue, 1 if venue == "neurips" else 2):
        for axes in (
            plot_reconstruction(trained), plot_high_frequency(trained), plot_settings(trained),
            plot_training(log),
        ):  # fmt: skip
            assert clashes(axes[0].figure) == ([], [])
    with paper_style(venue):
        counts = np.random.default_rng(0).integers(1, 3000, 512)
        for ax in (
            plot_pruning(pruned_table()),
            plot_frequencies({"relu": counts, "topk": counts // 9}, 10_000),
        ):
            assert clashes(ax.figure) == ([], [])


def test_axes_in_axes_out(trained, log):
    ax = Figure().subplots()
    assert draw_metric(trained, ax, y="shrinkage") is ax
    assert plot_pruning(pruned_table(), Figure().subplots()).get_legend() is not None
    assert len(plot_training(log, Figure().subplots(1, 2))) == 2
    assert plt.get_fignums() == []
