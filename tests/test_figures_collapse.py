"""The collapse plot: families shifted onto one curve, read from the artists."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from frontier.figures import paper_style
from frontier.figures.collapse import plot_collapse
from frontier.shared_shape import SharedShape
from tests.test_figures import clashes, legend_words, line

POTENCY = {"relu": 1.0, "gated": 1.6, "topk": 2.5}


def shape(group, seed=0, noise=0.05):
    """Families on y = 0.6 (L0 potency)^-0.8, whose collapse is known by construction."""
    names = tuple(f for f in POTENCY for _ in range(7))
    z = np.tile(np.log(np.geomspace(8, 120, 7)), 3)
    shifts = {f: float(np.log(p)) for f, p in POTENCY.items()}
    exact = 0.6 * np.exp(-0.8 * (z + [shifts[n] for n in names]))
    y = exact * np.exp(noise * np.random.default_rng(seed).normal(0, 1, len(z)))
    return SharedShape(
        group, "relu", "performance_hit", names, z, y, shifts, np.array([np.log(0.6), -0.8]), 0.0, 1.0, 0.0,
        0.05, 17.0, 0.5, 0.0, 0.5, False,
    )  # fmt: skip


def test_points_stand_at_l0_times_potency_on_the_common_curve():
    cell = shape({"site": "MLP"}, noise=0.0)
    ((above, below),) = plot_collapse(cell)
    for family, potency in POTENCY.items():
        drawn = line(above, family)
        np.testing.assert_allclose(drawn.get_xdata(), potency * np.geomspace(8, 120, 7))
        np.testing.assert_allclose(drawn.get_ydata(), 0.6 * drawn.get_xdata() ** -0.8)
    x, y = line(above, "_curve").get_xydata().T
    np.testing.assert_allclose(y, 0.6 * x**-0.8, rtol=1e-6)
    assert (above.get_xscale(), above.get_yscale()) == ("log", "log")
    assert below.get_xlabel() == "L0 × relative potency" and above.get_xlabel() == ""
    own = np.array(cell.names) == "topk"
    np.testing.assert_array_equal(line(below, "topk").get_ydata(), cell.residuals[own])


def test_one_pair_of_panels_per_cell_under_one_legend():
    axes = plot_collapse([shape({"site": s, "layer": 3}, i) for i, s in enumerate(("MLP", "Attn"))])
    assert axes.shape == (2, 2)
    assert [ax.get_title("left") for ax in axes[:, 0]] == ["MLP", "Attn"]
    assert legend_words(axes[0, 0].figure.legends[0]) == ["relu", "gated", "topk"]
    given = plt.figure().subplots(2, 1)
    assert list(plot_collapse(shape({}), given)[0]) == list(given)
    with pytest.raises(ValueError, match="2 cells to draw in two panels each, found 2 axes"):
        plot_collapse([shape({}), shape({})], given)
    with pytest.raises(ValueError, match="no cell"):
        plot_collapse([])


def test_hits_at_or_below_zero_are_counted():
    hits = shape({}).y
    hits[3] = -0.0004
    ((above, _),) = plot_collapse(replace(shape({}), y=hits, knee=0.01))  # errors of two components
    assert above.get_title("right").replace("\n", " ") == "1 point at or below 0 not shown"


@pytest.mark.slow
@pytest.mark.parametrize("venue", ["neurips", "icml", "acl"])
def test_no_text_overlaps_or_is_cut_off(venue):
    cells = [shape({"site": s, "layer": n}, n) for s in ("blocks.3.hook_mlp_out", "ln1") for n in (3, 12)]
    with paper_style(venue):
        for drawn in (plot_collapse(cells[0]), plot_collapse(cells)):
            assert clashes(drawn[0, 0].figure) == ([], [])
