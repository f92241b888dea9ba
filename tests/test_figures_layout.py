"""Figures of several panels at the widths of papers: readable, no text on another or off the page."""

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier import figures
from tests.test_figures import HOOKS, clashes, power_families

pytestmark = pytest.mark.slow

LEAST = (0.8, 0.8)
"""Inches, across and upwards, below which the axes of a panel are not readable."""


@pytest.fixture(scope="module")
def hooks():
    """Three long-named families at two long-named sites of two layers, with seeded noise."""
    rng = np.random.default_rng(0)
    names = ["standard", "batch_topk_with_auxiliary_k_loss", "matryoshka_nested_prefix_8_levels"]
    cells = [power_families(names).assign(site=h, layer=n) for h in HOOKS for n in (3, 12)]
    table = pd.concat(cells, ignore_index=True)
    hit = (1 - table["loss_recovered"]) * np.exp(rng.normal(0, 0.05, len(table)))
    return table.assign(
        loss_recovered=1 - hit, cosine_similarity=1 - hit / 2, l2_ratio=1 - hit / 3, shrinkage=1 - hit / 4,
        ce_clean=3.0, ce_sae=3 + hit, frequency_above_10pct=table["l0"] / 400,
        frequency_above_1pct=table["l0"] / 200, sparsity_setting=table["l0"],
        sparsity_name=np.where(table["family"] == "standard", "lambda", "k"),
    )  # fmt: skip


def of_fits(fits, reference):
    yield figures.plot_fits(fits)
    yield figures.plot_fits(fits, log_axes=True)
    yield figures.plot_potencies(fits, reference=reference)
    yield figures.plot_hit_ratios(fits, reference=reference)
    yield figures.plot_regions(fits)
    yield figures.plot_residuals(fits)


def of_metrics(table):
    yield figures.plot_reconstruction(table)
    yield figures.plot_high_frequency(table)
    yield figures.plot_settings(table)


def of_log():
    members = {"relu_1_seed0": {"loss": 5.0, "l0": 40.0, "fvu": 0.5}, "topk_8_seed0": {"l0": 8.0, "fvu": 0.4}}
    log = pd.DataFrame(
        [{"step": s, "tokens": 9 * s, "run_id": m, **v} for s in (1, 2, 4) for m, v in members.items()]
    )
    yield figures.plot_training(log)


def check(axes):
    figure = axes[0].figure
    assert clashes(figure) == ([], [])
    sizes = [(box.width / figure.dpi, box.height / figure.dpi) for box in map(_extent, axes)]
    assert min(w for w, _ in sizes) >= LEAST[0] and min(h for _, h in sizes) >= LEAST[1], sizes


def _extent(ax):
    return ax.get_window_extent()


@pytest.mark.parametrize("venue", ["neurips", "icml", "acl"])
def test_panels_are_readable_in_one_column(venue, layer20, hill20):
    with figures.paper_style(venue) as width:
        for axes in (figures.plot_frontiers(layer20), *of_fits(hill20, "baseline"), *of_log()):
            assert axes[0].figure.get_figwidth() == width
            check(axes)


@pytest.mark.parametrize("venue", ["neurips", "icml"])
def test_panels_with_long_names_are_readable_in_one_column(venue, hooks):
    fits = frontier.fit(hooks, "hill")
    with figures.paper_style(venue):
        for axes in (figures.plot_frontiers(hooks), *of_fits(fits, "standard"), *of_metrics(hooks)):
            check(axes)


@pytest.mark.parametrize("venue", ["neurips", "icml"])
def test_rows_with_long_names_are_readable_in_one_column(venue, hooks):
    ratios = frontier.ratio_table(frontier.fit(hooks, "hill"), "standard")
    with figures.paper_style(venue):
        ax = figures.plot_ratios(ratios)
        assert clashes(ax.figure) == ([], [])
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert len(labels) == 8 == len(set(labels))


def test_panels_without_a_fit_say_so_in_place_of_axes(front20):
    some = front20[(front20["site"] != "MLP") | (front20["l0"] < 25)]
    fits = frontier.fit(some, "hill", by=["site"], errors="additive")
    for draw in (figures.plot_residuals, figures.plot_regions, figures.plot_fits):
        mlp = next(ax for ax in draw(fits) if ax.get_title("left") == "MLP")
        assert mlp.texts[0].get_text().split("\n")[1:] == ["baseline", "gated"]
        assert not len(mlp.get_xticks()) and not any(s.get_visible() for s in mlp.spines.values())
