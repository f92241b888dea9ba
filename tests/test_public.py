"""The public surface: results write themselves, old names warn, one word has one meaning."""

import inspect

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import frontier
from frontier import renamed

FUNCTIONS = [n for n in frontier.__all__ if inspect.isfunction(getattr(frontier, n))]


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


# Results write themselves


@pytest.fixture(scope="module")
def results(hill20, comparison20):
    ratios = frontier.ratio_table(hill20, "baseline")
    return {
        "one fit": hill20[0], "fits": hill20, "ratios": ratios, "one ratio": ratios[0],
        "comparisons": comparison20, "one comparison": comparison20[0], "interval": hill20[0]["k"],
        "pooled": frontier.pool_ratios(ratios, "relative_potency"),
        "choice of curve": frontier.select_curve(hill20[0], replicates=0),
        "choices of curves": frontier.select_curves(hill20, replicates=0),
    }  # fmt: skip


KINDS = (
    "one fit", "fits", "ratios", "one ratio", "comparisons", "one comparison", "interval", "pooled",
    "choice of curve", "choices of curves",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_has_four_faces(results, kind):
    result = results[kind]
    assert repr(result) == result.to_text() or kind == "interval"  # which shows how it is made
    assert "<table>" in result.to_html()
    assert r"\toprule" in result.to_latex() and "|" in result.to_markdown()
    written = (result.to_html(), result.to_latex(), result.to_markdown(), result.to_text(verbose=True))
    for cell in ("2.57 [2.30, 2.87]",) if kind in ("ratios", "comparisons") else ():
        assert all(cell in face for face in written), kind


def test_the_faces_leave_nothing_out(results):
    doubts = {str(d) for r in results["ratios"] for d in r.doubts}
    for face in (results["ratios"].to_markdown(), results["ratios"].to_text(verbose=True, width=10_000)):
        assert doubts and all(d in face.replace("\\", "") for d in doubts)


# Old names


@pytest.mark.parametrize("name", renamed.PUBLIC)
def test_an_old_name_works_and_names_the_new_one(name):
    with pytest.warns(DeprecationWarning, match=f"frontier.{name} is now") as seen:
        old = getattr(frontier, name)
    assert callable(old) and name not in frontier.__all__
    assert seen[0].filename == __file__
    new = renamed.PUBLIC[name].new
    assert new == renamed.FACES or new.removeprefix("frontier.") in frontier.__all__


def test_a_figure_of_one_result_is_that_of_many_with_one(hill20, layer20):
    fit, base = hill20["Resid", "gated"], hill20["Resid", "baseline"]
    for one in (frontier.plot_fits(fit), frontier.plot_residuals(fit), frontier.plot_regions(fit)):
        assert len(one) == 1
    (ax,) = frontier.plot_potencies(fit, reference=base)
    curve = next(line for line in ax.get_lines() if line.get_label() == "gated").get_ydata()
    many = frontier.plot_potencies(hill20, reference="baseline")[0]
    same = next(line for line in many.get_lines() if line.get_label() == "gated").get_ydata()
    np.testing.assert_array_equal(curve, same)
    with pytest.raises(ValueError, match="reference must be a CurveFit"):
        frontier.plot_potencies(fit, reference="baseline")
    (ax,) = frontier.plot_frontiers(layer20, panels=[])
    assert {t.get_text() for t in ax.get_legend().get_texts()} >= {"baseline", "gated", "Resid", "MLP"}


def test_families_stand_in_one_order_in_every_legend():
    rows = [
        {"family": f, "l0": l0, "loss_recovered": 1 - 0.3 * (i + 1) * l0**-0.8}
        for i, f in enumerate(("topk", "gated", "relu", "jumprelu"))
        for l0 in (5.0, 10.0, 20.0, 40.0, 80.0)
    ]
    table = pd.DataFrame(rows)
    fits = frontier.fit(table, "power", errors="log")
    drawn = [frontier.plot_frontiers(table), frontier.plot_fits(fits), frontier.plot_potencies(fits)]
    drawn += [frontier.plot_residuals(fits), frontier.plot_metrics(table, y="loss_recovered")]
    for axes in drawn:
        legend = axes[0].figure.legends[0]
        assert [t.get_text() for t in legend.get_texts()] == ["relu", "gated", "jumprelu", "topk"]
