"""Figures of fits and ratios along a whole axis: what is drawn is read from the artists."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

import frontier
from frontier.figures import (
    paper_style,
    plot_evidence,
    plot_hit_ratios,
    plot_potencies,
    plot_ratios,
    plot_regions,
    plot_residuals,
)
from frontier.figures.metrics_by import draw_metric
from frontier.figures.ratio_curves import draw_hit_ratio, draw_potency
from frontier.figures.regions import draw_region
from frontier.figures.residuals import draw_residual
from frontier.fits.joint import joint_region
from frontier.fits.residuals import residuals
from tests.test_figures import RATIOS, clashes, legend_words, line, lines, power_families


def band(ax):
    return [p for p in ax.get_children() if isinstance(p, Polygon)]


# Ratios along an axis


def test_potency_is_solid_where_both_have_data_and_dashed_beyond(hill20):
    gated, base = hill20["Resid", "gated"], hill20["Resid", "baseline"]
    ax = draw_potency(gated, base)
    curve, beyond = line(ax, "gated"), line(ax, "_beyond")
    x, y = curve.get_xydata()[np.isfinite(curve.get_ydata())].T
    low, high = max(gated.y.min(), base.y.min()), min(gated.y.max(), base.y.max())
    assert low <= x.min() < 1.05 * low and 0.95 * high < x.max() <= high
    # relative potency = L0(reference) / L0(family) = x_at(family) / x_at(reference), x being 1 / L0
    want = gated.x_at(float(x[3])).estimate / base.x_at(float(x[3])).estimate
    assert y[3] == pytest.approx(want, rel=1e-9)
    assert np.isfinite(beyond.get_ydata()).sum() > 20 and beyond.get_linestyle() != "-"
    assert ax.get_xlabel().startswith("Performance hit") and ax.get_ylabel() == "L0 of baseline / L0 of gated"
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_potency_bars_are_the_ranges_of_both_families(hill20):
    gated, base = hill20["Attn", "gated"], hill20["Attn", "baseline"]
    ax = draw_potency(gated, base)
    for name, fit in (("gated", gated), ("baseline", base)):
        bar = line(ax, f"_range {name}").get_xdata()
        assert bar == pytest.approx([fit.y.min(), fit.y.max()], rel=0.03)


def given_axes():
    return Figure().subplots()


def laid_out_axes():
    return Figure(layout="constrained").subplots()


@pytest.mark.parametrize("families", [2, 13])
@pytest.mark.parametrize("axes", [lambda: None, given_axes, laid_out_axes])
def test_ranges_lie_under_the_axis_of_ratios_and_take_little_of_the_page(axes, families):
    """Bars on the log axis read as ratios of 0.5 to 0.04; oracle: the boxes of what was drawn, in pixels."""
    fits = frontier.fit(power_families([f"f{i}" for i in range(families)]), "power")
    (ax,) = plot_hit_ratios(fits, axes(), reference="f0")
    figure = ax.figure
    FigureCanvasAgg(figure).draw()
    frame, edge = ax.get_window_extent(), ax.spines["bottom"].get_window_extent()
    bars = [bar.get_window_extent() for bar in ax.lines if str(bar.get_label()).startswith("_range")]
    assert len(bars) == families
    assert all(edge.y0 < bar.y0 and bar.y1 < frame.y0 for bar in bars)
    assert all(one.y0 > two.y1 - 1 for one, two in itertools.pairwise(bars))  # a pixel of the edges
    assert frame.height > 1.5 * (frame.y0 - edge.y0)
    words = ax.xaxis.get_tightbbox()
    assert words.y0 >= 0 and words.y1 <= edge.y1
    ratios = [line(ax, f"f{i}").get_ydata() for i in range(1, families)]
    drawn = np.r_[1.0, np.ravel(ratios), *(p.get_xy()[:, 1] for p in band(ax))]
    low, high = ax.get_ylim()
    assert low < np.nanmin(drawn) and np.nanmax(drawn) < high
    assert high / low < (np.nanmax(drawn) / np.nanmin(drawn)) ** 1.2  # nothing else has room on the axis


def test_potency_band_is_that_of_the_ratio_at_one_level(hill20):
    gated, base = hill20["Resid", "gated"], hill20["Resid", "baseline"]
    ax = draw_potency(gated, base)
    edge = band(ax)[0].get_xy()
    at, low = edge[5]
    # one level at a time, by the function that the tables use; the band is Wald, so only nearly equal
    one = frontier.relative_potency(gated, base, at=float(at))
    assert low == pytest.approx(one.ratio_low, rel=0.05)


def test_curves_against_l0_and_the_axes_they_are_given(hill20):
    ax = Figure().subplots()
    assert draw_hit_ratio(hill20["MLP", "gated"], hill20["MLP", "baseline"], ax) is ax
    assert ax.get_xlabel().startswith(
        "L0"
    ) and ax.get_ylabel() == "Performance hit:\ngated / baseline".replace("\n", " ")
    drawn = line(ax, "gated").get_xydata()
    at, value = drawn[np.isfinite(drawn[:, 1])][0]
    want = (
        hill20["MLP", "gated"].predict([1 / at])[0] / hill20["MLP", "baseline"].predict([1 / at])[0]
    )  # the same ratio without the curve's function
    assert value == pytest.approx(want, rel=1e-9)
    assert plt.get_fignums() == []


def test_panels_of_ratio_curves(hill20):
    for function in (plot_potencies, plot_hit_ratios):
        axes = function(hill20)
        assert [ax.get_title("left") for ax in axes] == ["Resid", "MLP", "Attn"]
        assert legend_words(axes[0].figure.legends[0]) == ["baseline", "gated"]
    with pytest.raises(ValueError, match="no family 'rel'"):
        plot_potencies(hill20, reference="rel")
    with pytest.raises(ValueError, match="3 panels to draw, found 1 axes"):
        plot_potencies(hill20, Figure().subplots())


# Regions and residuals


def test_region_is_the_joint_region_and_its_estimate(hill20):
    fit = hill20["Resid", "gated"]
    ax = draw_region(fit)
    want = joint_region(fit)[["k", "n"]].to_numpy()
    np.testing.assert_allclose(band(ax)[0].get_xy()[: len(want)], want)
    assert line(ax, fit.name).get_xydata()[0] == pytest.approx([fit.values["k"], fit.values["n"]])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("k (sparsity at half the top)", "Hill coefficient n")


def test_regions_in_panels_say_where_the_data_end(hill20):
    axes = plot_regions(hill20)
    assert axes[2].get_title("right") == "dotted: end of the data"
    last = max(hill20["Attn", f].x.max() for f in ("gated", "baseline"))
    assert line(axes[2], "_last").get_xdata()[0] == pytest.approx(last)
    assert [len(band(ax)) for ax in axes] == [2, 2, 2]


def test_fits_without_a_region_are_named(front20):
    fits = frontier.fit(front20, "hill", by=["site"], errors="additive", fixed={"n": 1})
    with pytest.raises(ValueError, match="two free parameters"):
        plot_regions(fits)
    assert plt.get_fignums() == []


def test_residuals_are_those_of_the_fit(hill20):
    fit = hill20["MLP", "gated"]
    ax = draw_residual(fit)
    drawn = line(ax, fit.name)
    np.testing.assert_allclose(drawn.get_ydata(), residuals(fit))
    np.testing.assert_array_equal(drawn.get_xdata(), np.sort(fit.x))
    assert ax.get_ylabel() == "Residual of performance hit"
    axes = plot_residuals(hill20)
    assert all(len(lines(ax, "_zero")) == 1 for ax in axes)


# Evidence


def test_evidence_bars_are_the_weights(hill20):
    found = frontier.select_curve(hill20, replicates=0)
    ax = plot_evidence(found)
    assert ax.get_yticklabels()[0].get_text() == "Resid, baseline"
    assert ax.get_yticklabels()[-1].get_text() == "all groups"
    bars = [p for p in ax.patches if isinstance(p, Rectangle)]
    for row, selection in enumerate((*found.selections, found.pooled)):
        widths = sorted(b.get_width() for b in bars if abs(b.get_y() + b.get_height() / 2 - row) < 0.01)
        assert widths == pytest.approx(sorted(c.weight for c in selection.candidates))
    assert legend_words(ax.figure.legends[0]) == ["linear", "power", "hill"]
    assert len(plot_evidence(found[0]).get_yticklabels()) == 1


# The forest plot


def test_a_doubtful_ratio_is_hollow():
    rows = RATIOS[3:].assign(doubts=["", "k is extrapolated", np.nan])
    ax = plot_ratios(rows)
    faces = [p.get_markerfacecolor() for p in lines(ax, "gated")]
    assert [f == "white" for f in faces] == [False, True, False]
    assert ax.get_xlabel().endswith("hollow: with doubts)")
    assert "hollow" not in plot_ratios(RATIOS).get_xlabel()


def pixels(low, high):
    row = RATIOS[3:4].assign(ratio=1.5, ratio_low=low, ratio_high=high)
    with paper_style("icml"):
        ax = plot_ratios(row)
        ax.texts[0].set_text("")  # the numbers
        ax.set_xlim(0.5, 3)
        canvas = FigureCanvasAgg(ax.figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba()).copy()


@pytest.mark.parametrize("share", [0.002, 0.01, 0.03, 0.1])
def test_an_interval_is_seen_however_narrow(share):
    """A marker wider than the interval hid it; oracle: the picture without an interval."""
    without = pixels(np.nan, np.nan)
    differ = (pixels(1.5 * (1 - share), 1.5 * (1 + share)) != without).any(axis=2)
    heights = differ.sum(axis=0)
    assert heights.max() > 3  # pixels of a tick, beyond the marker above and below


# Nothing overlaps


@pytest.mark.slow
@pytest.mark.parametrize("venue", ["neurips", "icml", "acl"])
def test_no_text_overlaps_or_is_cut_off(venue, hill20):
    """In two columns where there are two; the same panels in one column: test_figures_layout."""
    if venue != "neurips":
        with paper_style(venue, 2):
            for function in (plot_potencies, plot_hit_ratios, plot_regions, plot_residuals):
                assert clashes(function(hill20)[0].figure) == ([], [])
    with paper_style(venue):
        assert clashes(plot_evidence(frontier.select_curve(hill20, replicates=20)).figure) == ([], [])
        assert clashes(draw_potency(hill20[1], hill20[0]).figure) == ([], [])


def test_metric_and_region_leave_their_inputs_alone(layer20):
    before = layer20.copy(deep=True)
    draw_metric(layer20, y="shrinkage")
    assert before.equals(layer20)
