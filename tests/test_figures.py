"""Figures: what is drawn is read from the artists, never from the pixels."""

import re
from dataclasses import replace

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.transforms import Bbox

import frontier
from frontier.figures import (
    Style,
    family_styles,
    paper_style,
    plot_fits,
    plot_frontiers,
    plot_ratios,
    save_figure,
)
from frontier.figures.fits import draw_fit
from frontier.figures.frontiers import draw_frontier
from frontier.figures.panels import panel_titles
from frontier.figures.style import (
    COLOURS,
    MARKERS,
    PlainLogLocator,
    distinct_texts,
    figure_text,
    plain_tick,
    row_texts,
)
from frontier.metrics.checks import TableError


@pytest.fixture
def resid(layer20):
    return layer20[layer20["site"] == "Resid"].reset_index(drop=True)


@pytest.mark.parametrize("draw", [plot_frontiers, frontier.plot_attainment])
@pytest.mark.parametrize("column", ["protocol", "ablation", "layer", "n_inputs"])
def test_frontiers_of_rows_that_a_comparison_refuses_are_not_drawn_unasked(draw, column):
    """As `pareto_set` and `attainment` refuse them; rows that are not on the axes play no part."""
    half = {"family": "relu", "l0": [5.0, 10.0, 20.0], "loss_recovered": [0.7, 0.8, 0.9], "seed": 0}
    one, other = [1, 9] if column in ("layer", "n_inputs") else ["a", "b"]
    two = pd.concat([pd.DataFrame(half | {column: v}) for v in (one, other)], ignore_index=True)
    with pytest.raises(TableError, match=rf"would be compared.*across=\['{column}'\]"):
        draw(two, by="none")
    draw(two, by="none", across=column)
    draw(two, by=column)
    draw(two.assign(loss_recovered=two["loss_recovered"].where(two[column] == one)), by="none")


def lines(ax, label):
    return [line for line in ax.get_lines() if line.get_label() == label]


def line(ax, label):
    (found,) = lines(ax, label)
    return found


def legend_words(legend):
    return [text.get_text() for text in legend.get_texts()]


def power_families(names, sizes=(5, 10, 20, 40, 80, 160)):
    """Families on exact power laws of different height, with a little even-odd noise."""
    rows = [
        {
            "family": f,
            "l0": float(l0),
            "loss_recovered": 1 - (0.3 + 0.05 * i) * l0**-0.8 * (1 + 0.02 * (-1) ** j),
        }
        for i, f in enumerate(names)
        for j, l0 in enumerate(sizes)
    ]
    return pd.DataFrame(rows)


RATIOS = pd.DataFrame(
    {
        "site": ["Resid", "MLP", "Attn"] * 2,
        "family": "gated",
        "reference": "baseline",
        "quantity": ["k"] * 3 + ["relative_potency"] * 3,
        "at": [np.nan] * 3 + [0.03, 0.1, 0.08],
        "ratio": [6.03, 1.49, 5.0, 2.6, 2.4, 3.1],
        "ratio_low": [4.3, 0.18, 3.9, 2.3, 0.9, 2.6],
        "ratio_high": [8.5, np.inf, 6.5, 2.9, 4.4, 3.8],
        "p_value": [1e-6, 0.7, 1e-8, 1e-4, 0.02, 1e-3],
        "better_when": ["above 1"] * 6,
        "doubts": [""] * 6,
    }
)


# Frontier


def test_frontier_joins_the_pareto_rows_and_shows_the_others_faint(resid):
    ax = draw_frontier(resid)
    front = frontier.pareto_set(resid[resid["family"] == "baseline"])
    drawn = line(ax, "baseline")
    np.testing.assert_array_equal(drawn.get_xdata(), front["l0"])
    np.testing.assert_array_equal(drawn.get_ydata(), front["loss_recovered"])
    beaten = [b for b in lines(ax, "_beaten") if b.get_color() == drawn.get_color()]
    assert len(beaten[0].get_xdata()) == (resid["family"] == "baseline").sum() - len(front)
    assert beaten[0].get_alpha() < 0.5 and beaten[0].get_linestyle() == "None"


def test_frontier_axes(resid):
    ax = draw_frontier(resid)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("L0 (active latents per token)", "Loss recovered")
    assert ax.get_title() == ""
    assert legend_words(ax.get_legend()) == ["baseline", "gated"]


def test_frontier_draws_derived_columns_on_log_axes(resid):
    ax = draw_frontier(resid, y="delta_ce", log_y=True)
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel().replace("\n", " ") == "Δ cross-entropy (nats per token)"
    drawn = line(ax, "gated")
    assert (np.diff(drawn.get_xdata()) > 0).all() and (np.diff(drawn.get_ydata()) < 0).all()


def test_frontier_of_a_table_without_loss_recovered_draws_fvu():
    table = pd.DataFrame({"l0": [1.0, 2, 4], "fvu": [0.4, 0.2, 0.3]})
    ax = draw_frontier(table)
    assert ax.get_ylabel() == "Fraction of variance unexplained"
    np.testing.assert_array_equal(line(ax, "_frontier").get_xdata(), [1, 2, 4])  # one run a setting: all
    np.testing.assert_array_equal(line(draw_frontier(table, rows="pareto"), "_frontier").get_xdata(), [1, 2])
    assert ax.get_legend() is None


def test_frontier_draws_into_the_axes_it_is_given(resid):
    ax = Figure().subplots()
    assert draw_frontier(resid, ax) is ax
    assert plt.get_fignums() == []


def test_frontier_says_how_many_rows_it_cannot_draw(layer20):
    mlp = layer20[layer20["site"] == "MLP"]
    assert draw_frontier(mlp).get_title("right") == "1 not shown"  # L0 = -91.1
    assert draw_frontier(mlp[mlp["l0"] > 0]).get_title("right") == ""


def test_frontier_leaves_non_positive_values_off_log_axes():
    table = pd.DataFrame(
        {"l0": [1.0, 2, 4], "ce_sae": [3.0, 2.5, 2.0], "ce_clean": 2.0, "loss_recovered": [0.1, 0.5, 1.0]}
    )
    ax = draw_frontier(table, y="delta_ce", log_y=True)
    np.testing.assert_array_equal(line(ax, "_frontier").get_ydata(), [1.0, 0.5])
    assert ax.get_title("right") == "1 not shown"


def test_frontier_of_several_sites_uses_kinds_of_lines(layer20):
    ax = draw_frontier(layer20)
    assert {line(ax, f"baseline, {s}").get_linestyle() for s in ("Resid", "MLP", "Attn")} == {"-", "--", ":"}
    assert len({line(ax, f"gated, {s}").get_color() for s in ("Resid", "MLP", "Attn")}) == 1
    assert legend_words(ax.get_legend()) == ["baseline", "gated", "Resid", "MLP", "Attn"]


def test_frontier_is_not_changed_by_the_order_of_rows(resid):
    shuffled = resid.sample(frac=1, random_state=np.random.default_rng(3))
    one, two = draw_frontier(resid), draw_frontier(shuffled)
    for family in ("baseline", "gated"):
        a, b = line(one, family), line(two, family)
        np.testing.assert_array_equal(a.get_xydata(), b.get_xydata())
        assert (a.get_color(), a.get_marker()) == (b.get_color(), b.get_marker())


def test_frontier_leaves_its_table_alone(resid):
    before = resid.copy(deep=True)
    draw_frontier(resid)
    pd.testing.assert_frame_equal(resid, before)


@pytest.mark.parametrize(
    "options", [{"x": "l00"}, {"y": "loss"}, {"by": ["sight"]}, {"objectives": {"l0": "low", "kl": "min"}}]
)
def test_a_mistake_is_said_before_a_figure_is_opened(resid, options):
    with pytest.raises(TableError):
        draw_frontier(resid, **options)
    assert plt.get_fignums() == []


def test_frontiers_has_one_panel_per_group_under_one_legend(layer20):
    axes = plot_frontiers(layer20)
    assert [ax.get_title("left") for ax in axes] == ["Resid", "MLP", "Attn"]
    assert [ax.get_ylabel() for ax in axes] == ["Loss recovered", "", ""]
    assert all(ax.get_legend() is None for ax in axes)
    assert legend_words(axes[0].figure.legends[0]) == ["baseline", "gated"]
    for family in ("baseline", "gated"):
        looks = {(to_hex(line(ax, family).get_color()), line(ax, family).get_marker()) for ax in axes}
        assert looks == {family_styles(["gated", "baseline"])[family][:2]}


# Fits


def test_fit_draws_points_curve_and_band(hill20):
    fit = hill20["Resid", "gated"]
    ax = draw_fit(fit)
    points, curve = line(ax, fit.name), line(ax, "_curve")
    np.testing.assert_array_equal(points.get_xdata(), fit.x)
    np.testing.assert_array_equal(points.get_ydata(), fit.y)
    np.testing.assert_allclose(curve.get_ydata(), fit.predict(curve.get_xdata()))
    (band,) = [p for p in ax.get_children() if isinstance(p, Polygon)]
    want = fit.band(curve.get_xdata())
    np.testing.assert_allclose(band.get_xy()[: len(want)], want[["x", "low"]])
    assert (ax.get_xscale(), ax.get_xlabel()) == ("linear", "Sparsity, 1 / L0")
    assert ax.get_ylabel().replace("\n", " ") == "Performance hit, 1 − loss recovered"


@pytest.mark.parametrize("log", [False, True])
def test_fit_is_dashed_where_the_data_end(hill20, log):
    fit = hill20["Attn", "baseline"]
    ax = draw_fit(fit, log=log)
    curve = line(ax, "_curve").get_xdata()
    assert (curve.min(), curve.max()) == pytest.approx((fit.x.min(), fit.x.max()))
    below, above = lines(ax, "_beyond")
    assert below.get_xdata().max() == pytest.approx(fit.x.min())
    assert above.get_xdata().min() == pytest.approx(fit.x.max())
    assert above.get_xdata().max() == pytest.approx((1.5 if log else 1.25) * fit.x.max())
    assert above.get_alpha() < 1 and above.get_linestyle() == "--"
    (band,) = [p for p in ax.get_children() if isinstance(p, Polygon)]
    assert band.get_xy()[:, 0].min() == pytest.approx(fit.x.min())
    assert band.get_xy()[:, 0].max() == pytest.approx(fit.x.max())


def test_fit_axes_do_not_follow_the_band(front20):
    few = front20[(front20["site"] == "MLP") & (front20["family"] == "baseline")].iloc[[0, 3, 5]]
    wide = frontier.fit(few, "hill", by=["site"], errors="additive")[0]
    with_band, without = draw_fit(wide), draw_fit(wide, band=False)
    assert with_band.get_ylim() == without.get_ylim()
    assert wide.band(wide.x)["high"].max() > with_band.get_ylim()[1]


def test_fit_without_a_finite_band_is_drawn_without():
    x = np.array([0.01, 0.02, 0.04, 0.08])
    ax = draw_fit(frontier.fit_points(x, 2 * x, "linear", errors="additive"))
    assert len(lines(ax, "_curve")) == 1


def test_fit_drops_what_log_axes_cannot_show():
    x = np.array([0.01, 0.02, 0.04, 0.08, 0.1])
    fit = frontier.fit_points(x, np.array([-0.01, 0.1, 0.32, 0.66, 0.82]), "linear", errors="additive")
    ax = draw_fit(fit, log=True)
    assert line(ax, fit.name).get_xdata().tolist() == x[1:].tolist()
    drawn = np.concatenate([a.get_ydata() for a in (*lines(ax, "_curve"), *lines(ax, "_beyond"))])
    assert (drawn[np.isfinite(drawn)] > 0).all() and np.isnan(drawn).any()


def test_fits_have_one_panel_per_site_with_equal_looks(hill20):
    axes = plot_fits(hill20)
    assert [ax.get_title("left") for ax in axes] == ["Resid", "MLP", "Attn"]
    assert [bool(ax.get_ylabel()) for ax in axes] == [True, False, False]
    looks = {
        f: {(line(ax, f).get_color(), line(ax, f).get_marker()) for ax in axes} for f in ("baseline", "gated")
    }
    assert all(len(look) == 1 for look in looks.values())
    (baseline,), (gated,) = looks.values()
    assert baseline[0] != gated[0] and baseline[1] != gated[1]
    assert legend_words(axes[0].figure.legends[0]) == ["baseline", "gated"]


def test_fits_of_one_panel_end_together_but_not_absurdly_far(hill20):
    resid, _, attn = plot_fits(hill20)
    ends = [a.get_xdata().max() for a in lines(resid, "_beyond") if a.get_xdata().min() > 0.05]
    assert ends == pytest.approx([1.25 * hill20["Resid", "gated"].x.max()] * 2)
    reach = max(a.get_xdata().max() for a in lines(attn, "_beyond") if a.get_color() == "#4d4d4d")
    assert reach == pytest.approx(3 * hill20["Attn", "baseline"].x.max())


def test_fits_on_log_axes(hill20):
    for ax in plot_fits(hill20, log_axes=True):
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_fits_in_the_axes_or_the_figure_given(hill20):
    given = Figure().subplots(1, 3)
    assert list(plot_fits(hill20, given)) == list(given)
    assert legend_words(given[0].get_legend()) == ["baseline", "gated"]
    figure = Figure(layout="constrained")
    assert plot_fits(hill20, figure=figure)[0].figure is figure
    assert plt.get_fignums() == []
    with pytest.raises(ValueError, match="3 panels to draw, found 2 axes"):
        plot_fits(hill20, Figure().subplots(1, 2))


def test_fits_in_one_panel_name_site_and_family(hill20):
    (ax,) = plot_fits(hill20, panels=[])
    assert len(lines(ax, "_curve")) == 6 and lines(ax, "Resid, gated")
    with pytest.raises(ValueError, match="no group column 'sit'; did you mean 'site'"):
        plot_fits(hill20, panels="sit")
    assert len(plt.get_fignums()) == 1


def test_groups_without_a_fit_are_named(front20):
    some = front20[(front20["family"] == "gated") | (front20["site"] != "MLP") | (front20["l0"] < 20)]
    some = some[some["site"] != "Attn"]
    resid, mlp = plot_fits(frontier.fit(some, "hill", by=["site"], errors="additive"))
    assert (resid.get_title("right"), mlp.get_title("right")) == ("", "not fitted: baseline")
    none = some[(some["site"] != "MLP") | (some["l0"] < 25)]
    _, mlp = plot_fits(frontier.fit(none, "hill", by=["site"], errors="additive"))
    assert mlp.texts[0].get_text() == "not fitted:\nbaseline\ngated"


def test_fits_can_be_drawn_without_any_fit_but_not_without_groups(hill20):
    with pytest.raises(ValueError, match="no fit to draw"):
        plot_fits(replace(hill20, fits=(), failures=()))


def test_results_draw_themselves(hill20):
    assert len(hill20.plot()) == 3
    assert hill20[0].plot(colour="red").get_lines()[0].get_color() == "red"


# Ratios


def test_ratios_draw_one_row_per_comparison():
    ax = plot_ratios(RATIOS)  # relative potency by default
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Resid", "MLP", "Attn"]
    assert ax.get_xscale() == "log" and ax.yaxis_inverted()
    assert [tuple(i.get_xdata()) for i in lines(ax, "_interval")] == [(2.3, 2.9), (0.9, 4.4), (2.6, 3.8)]
    assert [p.get_xdata()[0] for p in lines(ax, "gated")] == [2.6, 2.4, 3.1]
    assert line(ax, "_one").get_xdata() == [1, 1]
    assert (
        ax.get_xlabel() == "L0 of baseline / L0 of gated at equal performance hit\n(above 1: gated is better)"
    )
    assert [t.get_text() for t in ax.texts] == ["2.60 [2.30, 2.90]", "2.4 [0.90, 4.4]", "3.10 [2.60, 3.80]"]


def test_ratios_of_a_polars_frame():
    import polars

    assert len(lines(plot_ratios(polars.from_pandas(RATIOS)), "gated")) == 3


def test_an_infinite_limit_ends_in_an_arrow():
    ax = plot_ratios(RATIOS, quantity="k")
    arrow = line(ax, "_arrow")
    assert arrow.get_marker() == ">" and arrow.get_ydata()[0] == 1
    assert arrow.get_xdata()[0] == pytest.approx(ax.get_xlim()[1])
    assert np.isfinite(lines(ax, "_interval")[1].get_xdata()).all()
    assert ax.texts[1].get_text() == "1.5 [0.18, ∞]"


def test_limits_far_away_and_missing_ratios_do_not_spoil_the_axis():
    rows = RATIOS[:3].assign(
        ratio=[6.0, np.nan, 5.0], ratio_low=[0.0, np.nan, 3.9], ratio_high=[1e5, np.nan, 6.5]
    )
    ax = plot_ratios(rows)
    assert ax.get_xlim()[1] < 20
    assert sorted(a.get_marker() for a in lines(ax, "_arrow")) == ["<", ">"]
    assert ax.texts[1].get_text() == "no ratio"


def test_ratios_of_the_table_itself(hill20):
    table = frontier.ratio_table(hill20, "baseline")
    ax = plot_ratios(table)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Resid", "MLP", "Attn"]
    drawn = [p.get_xdata()[0] for p in lines(ax, "gated")]
    assert drawn == [r.ratio for r in table if r.quantity == "relative_potency"]
    with pytest.raises(ValueError, match="did you mean 'relative_potency'"):
        plot_ratios(table, quantity="relative_potensy")
    for nothing in (RATIOS[:0], replace(table, ratios=())):
        with pytest.raises(ValueError, match="no ratio to draw"):
            plot_ratios(nothing)


# Looks


def test_families_keep_their_look_in_any_order():
    one, two = family_styles(["topk", "relu", "gated"]), family_styles(["gated", "topk", "relu"])
    assert one == two
    assert one["relu"] == ("#4d4d4d", "o", "-")
    assert next(iter(one)) == "relu"


def test_families_differ_in_colour_and_marker():
    found = family_styles([f"f{i}" for i in range(66)])
    assert len(set(found.values())) == 66
    assert len({s.colour for s in list(found.values())[:6]}) == 6
    assert len(set(COLOURS)) == 6 and len(set(MARKERS)) == 11


def test_the_reference_can_be_named_and_styles_given(resid):
    assert family_styles(["relu", "gated"], reference="gated")["gated"].colour == "#4d4d4d"
    assert (
        family_styles(["relu", "baseline"])["relu"].colour in COLOURS
    )  # two usual references: neither is one
    ax = draw_frontier(resid, styles={"gated": Style("#ff0000", "D")})
    assert (line(ax, "gated").get_color(), line(ax, "gated").get_marker()) == ("#ff0000", "D")


def test_known_architectures_look_the_same_in_every_figure():
    few, many = (
        family_styles(["relu", "TopK", "mine"]),
        family_styles(["relu", "gated", "topk", "batch_topk", "x"]),
    )
    assert few["TopK"] == many["topk"]
    assert few["mine"] != few["TopK"] and len(set(many.values())) == 5


def test_colours_that_come_again_have_another_marker_and_kind_of_line():
    found = list(family_styles([f"f{i}" for i in range(12)]).values())
    assert {s.line for s in found[:6]} == {"-"} and "-" not in {s.line for s in found[6:]}
    assert all(a.marker != b.marker for a, b in zip(found[:6], found[6:], strict=True))


@pytest.mark.parametrize(
    ("venue", "columns", "width"),
    [("neurips", 1, 5.5), ("icml", 1, 3.25), ("ICML", 2, 6.75), ("acl", 1, 3.03), ("acl", 2, 6.3)],
)
def test_paper_style_has_the_venue_s_width(venue, columns, width, hill20):
    before = dict(mpl.rcParams)
    with paper_style(venue, columns) as given:
        assert given == width
        assert (mpl.rcParams["pdf.fonttype"], mpl.rcParams["ps.fonttype"]) == (42, 42)
        assert 8 <= mpl.rcParams["font.size"] <= 9
        assert plot_fits(hill20)[0].figure.get_figwidth() == width
    assert dict(mpl.rcParams) == before


def test_paper_style_names_what_it_knows():
    with (
        pytest.raises(ValueError, match="unknown venue 'neurip'; did you mean 'neurips'"),
        paper_style("neurip"),
    ):
        pass
    with (
        pytest.raises(ValueError, match="neurips has 1 column of text, asked for 2"),
        paper_style("neurips", 2),
    ):
        pass


def written(text, renderer):
    """The extent of a text without its empty last lines: a title leaves them free for a remark."""
    box, lines_ = text.get_window_extent(renderer), text.get_text().split("\n")
    free = len(lines_) - len(text.get_text().rstrip("\n").split("\n"))
    return Bbox.from_extents(box.x0, box.y0 + box.height * free / len(lines_), box.x1, box.y1)


def clashes(figure):
    """Pairs of visible texts that overlap, and texts that leave the figure."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    texts = [t for t in figure.findobj(mpl.text.Text) if t.get_text().strip() and t.get_visible()]
    ticks = {
        id(t)
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        for t in axis.get_ticklabels(which="both")
    }
    shown = {
        id(t) for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)
        for tick in axis._update_ticks() for t in (tick.label1, tick.label2)
    }  # fmt: skip
    texts = [t for t in texts if id(t) not in ticks or id(t) in shown]
    words = [t.get_text() for t in texts]
    boxes = np.array([written(t, renderer).extents for t in texts])
    (left, low, right, high), edge = boxes.T, figure.bbox
    beyond = (left < -1) | (low < -1) | (right > edge.x1 + 1) | (high > edge.y1 + 1)
    out = [words[i] for i in np.flatnonzero(beyond)]
    (left, right), (low, high) = np.sort([left + 1, right - 1], axis=0), np.sort([low + 1, high - 1], axis=0)
    across = (left <= right[:, None]) & (left[:, None] <= right)
    upwards = (low <= high[:, None]) & (low[:, None] <= high)
    pairs = [(words[i], words[j]) for i, j in zip(*np.nonzero(np.tril(across & upwards, -1)), strict=True)]
    return out, pairs


@pytest.mark.slow
@pytest.mark.parametrize("venue", ["neurips", "icml", "acl"])
def test_no_text_overlaps_or_is_cut_off(venue, layer20, hill20, gemma):
    """In two columns where there are two; the same panels in one column: test_figures_layout."""
    with paper_style(venue, 1 if venue == "neurips" else 2):
        drawn = [plot_fits(hill20, panels=[]), plot_frontiers(layer20, y="delta_ce", log_y=True)]
        if venue == "neurips":
            drawn.append(plot_fits(frontier.fit(frontier.pareto_set(gemma), "hill")))  # 12 panels
        else:
            drawn += [plot_fits(hill20), plot_fits(hill20, log_axes=True), plot_frontiers(layer20)]
        for axes in drawn:
            assert clashes(axes[0].figure) == ([], [])
    with paper_style(venue):
        singles = [
            draw_frontier(layer20),
            draw_fit(hill20[0]),
            plot_ratios(RATIOS),
            plot_ratios(RATIOS, quantity="k"),
        ]
        for ax in singles:
            assert clashes(ax.figure) == ([], [])


def test_many_families_fit_into_a_column():
    names = ["relu", "topk", "batch_topk", "jumprelu", "gated", "matryoshka", "p_anneal", "a" * 80]
    table = power_families(names)
    with paper_style("icml"):
        (ax,) = plot_fits(frontier.fit(table, "power"))
        assert clashes(ax.figure) == ([], [])
        assert clashes(draw_frontier(table).figure)[0] == []
    assert legend_words(ax.figure.legends[0])[0] == "relu"


@pytest.mark.slow
def test_names_from_files_are_drawn_as_they_are():
    names = [r"$\frac{a}$", "_hidden", "two\nlines", "relu"]
    axes = [draw_frontier(power_families(names)), *plot_fits(frontier.fit(power_families(names), "power"))]
    for ax in axes:
        ax.figure.canvas.draw()
    words = legend_words(axes[0].get_legend())
    assert words == ["relu", r"\$\frac{a}\$", "_hidden", "two lines"]
    assert figure_text("a" * 25 + "b" * 25) == "a" * 20 + "…" + "b" * 19


HOOKS = ("blocks.12.hook_resid_post", "blocks.12.hook_mlp_out")


def test_labels_of_hooks_and_long_families_stay_distinct():
    rows = [
        [h, f"layer {n}", f] for h in HOOKS for n in (3, 12) for f in ("batch_topk_one", "batch_topk_two")
    ]
    for most in (12, 20, 40):
        assert len(set(row_texts(rows, most))) == len(rows)
    assert max(map(len, row_texts(rows, 34))) <= 34
    assert distinct_texts(["a" * 30 + c + "a" * 30 for c in "xyz"], 24) == [
        "a" * 30 + c + "a" * 30 for c in "xyz"
    ]
    titles = panel_titles([{"site": h, "layer": n} for h in HOOKS for n in (3, 12)])
    assert titles[0] == "hook_resid_post, layer 3" and len(set(titles)) == 4
    assert panel_titles([{"model": "v1.5"}, {"model": "v1.6"}]) == ["v1.5", "v1.6"]


def test_points_that_log_axes_cannot_show_are_counted():
    table = power_families(["relu", "topk"])
    table.loc[[5, 11], "loss_recovered"] = 1.0005
    fits = frontier.fit(table, "hill", errors="additive")
    (log,) = plot_fits(fits, log_axes=True)
    assert log.get_title("right").replace("\n", " ") == "2 points at or below 0 not shown"
    assert plot_fits(fits)[0].get_title("right") == ""
    assert "1 point at or below 0" in draw_fit(fits[0], log=True).get_title("right").replace("\n", " ")


# Ticks


@pytest.mark.parametrize(
    ("low", "high", "want"),
    [
        (8, 900, ["10", "30", "100", "300"]),
        (2, 60, ["2", "5", "10", "20", "50"]),
        (0.5, 20000, ["1", "10", "100", "1000", "10000"]),
        (0.003, 0.12, ["0.003", "0.01", "0.03", "0.1"]),
        (12, 19, ["12", "13.5", "15", "16.5", "18"]),
        (1e-7, 1e-6, ["$10^{-7}$", r"$2\times10^{-7}$", r"$5\times10^{-7}$", "$10^{-6}$"]),
    ],
)
def test_log_ticks_are_plain_numbers(low, high, want):
    assert [plain_tick(t) for t in PlainLogLocator().tick_values(low, high)] == want


@pytest.mark.parametrize("limits", [(0.0, 10.0), (-1.0, 5.0), (1.0, np.inf)])
def test_log_ticks_of_impossible_limits(limits):
    assert PlainLogLocator().tick_values(*limits) == []


@pytest.mark.parametrize("ratio", 10 ** np.linspace(0.02, 9, 60))
def test_log_ticks_are_few_and_inside(ratio):
    for low in (1e-6, 0.0123, 3.0, 777.0):
        ticks = PlainLogLocator().tick_values(low, low * ratio)
        assert 2 <= len(ticks) <= 8
        assert low * (1 - 1e-6) <= min(ticks) and max(ticks) <= low * ratio * (1 + 1e-6)


# Files


def test_saved_files_are_what_venues_ask_for(tmp_path, resid):
    with paper_style("icml"):
        ax = draw_frontier(resid)
    pdf, png, svg = save_figure(ax, tmp_path / "new" / "folder" / "n0.5", ("pdf", "png", "svg"))
    assert [p.name for p in (pdf, png, svg)] == ["n0.5.pdf", "n0.5.png", "n0.5.svg"]
    assert b"/CIDFontType2" in pdf.read_bytes() and b"/Type3" not in pdf.read_bytes()
    assert plt.imread(png).shape[1] == round(3.25 * 300)
    text = svg.read_text(encoding="utf-8")
    assert "Loss recovered</text>" in text and not re.search(r"<dc:date>", text)
    assert float(re.search(r'width="([\d.]+)pt"', text)[1]) == pytest.approx(3.25 * 72)


def test_saving_knows_its_formats(tmp_path, resid):
    ax = draw_frontier(resid)
    with pytest.raises(ValueError, match="unknown figure format 'pgn'; did you mean 'png'"):
        save_figure(ax, tmp_path / "a", "pgn")
    assert save_figure(ax.figure, tmp_path / "a.pdf", "png") == [tmp_path / "a.png"]
    assert list(tmp_path.iterdir()) == [tmp_path / "a.png"]
