"""The explorer for notebooks, driven by setting the values of its controls; and what notebooks show."""

import importlib
import pkgutil
import sys

import pytest

import frontier
from frontier.results import Result

pytest.importorskip("ipywidgets", reason="ipywidgets is not installed (extra notebooks)")


@pytest.fixture
def explorer(layer20):
    return frontier.explore(layer20, errors="additive")


def test_it_opens_with_the_fits_of_the_first_group(explorer, hill20):
    assert [label for label, _ in explorer.group.options] == [
        "gemma-7b, Resid, layer 20",
        "gemma-7b, MLP, layer 20",
        "gemma-7b, Attn, layer 20",
    ]
    for family in ("baseline", "gated"):
        assert explorer.fits[family].values == pytest.approx(hill20["Resid", family].values)
    assert explorer.reference.value == "baseline"
    assert explorer.ratios["k", "gated"].ratio == pytest.approx(6.03, abs=0.01)  # as in README
    assert "6.28" in explorer.numbers.value and "relative potency" in explorer.numbers.value
    assert bytes(explorer.picture.value[:4]) == b"\x89PNG"


def test_dragging_the_range_refits(explorer, front20):
    before = explorer.picture.value
    low = explorer.span.value[0]
    explorer.span.value = (low, max(v for _, v in explorer.span.options if v < 200))
    want = frontier.fit(front20[front20["site"] == "Resid"], "hill", errors="additive", max_l0=200)
    assert explorer.fits["gated"].values == pytest.approx(want["gated"].values)
    assert explorer.picture.value != before


def test_choosing_group_families_and_reference(explorer, hill20):
    explorer.group.value = 1
    assert explorer.fits["gated"].values == pytest.approx(hill20["MLP", "gated"].values)
    assert explorer.span.index == (0, len(explorer.span.options) - 1)
    explorer.reference.value = "gated"
    assert explorer.ratios["k", "baseline"].reference == "gated"
    explorer.families.value = ("gated",)
    assert len(explorer.fits) == 1 and explorer.ratios is None


def test_all_saes_instead_of_the_pareto_set(explorer):
    few = explorer.fits["baseline"].n_points
    explorer.frontier_only.value = False
    assert explorer.fits["baseline"].n_points > few


def test_too_few_points_are_said_and_nothing_breaks(explorer):
    explorer.span.index = (0, 0)
    assert explorer.ratios is None and explorer.picture.value == b""
    assert "point" in explorer.numbers.value or "value" in explorer.numbers.value
    explorer.span.index = (0, len(explorer.span.options) - 1)
    assert explorer.ratios is not None


def test_it_shows_itself_in_a_notebook(explorer):
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_without_ipywidgets_the_error_names_the_extra(layer20, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r"pip install 'sae-frontier\[notebooks\]'"):
        frontier.explore(layer20)


def test_every_result_has_a_text_and_an_html_repr(hill20):
    for module in pkgutil.walk_packages(frontier.__path__, "frontier."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    def below(kind):
        return {kind, *(s for k in kind.__subclasses__() for s in below(k))}

    kinds = {k for k in below(Result) if k.__module__.startswith("frontier.")} - {Result}
    for kind in kinds:
        views = [k for k in kind.__mro__ if "_view" in vars(k) and k is not Result]
        own = all(
            any(n in vars(k) for k in kind.__mro__ if k is not Result) for n in ("__repr__", "_repr_html_")
        )
        assert views or own or kind.__name__ == "Rows", kind
    assert hill20[0]._repr_html_().startswith("<div>") and "Interval" not in hill20[0]["k"]._repr_html_()


@pytest.mark.parametrize("backend", ["pandas", "polars"])
def test_frames_come_back_in_the_asked_kind(backend, hill20, layer20):
    module = pytest.importorskip(backend, reason=f"{backend} is not installed (extra polars)")
    ratio = frontier.ratio_table(hill20, "baseline")[0]
    plan = frontier.plan(hill20[1], hill20[0])
    choice = frontier.select_curve(hill20[0], replicates=0)
    frames = [r.to_frame(backend=backend) for r in (hill20[0], ratio, plan, choice)]
    frames.append(frontier.mark_pareto(layer20, backend=backend))
    assert all(isinstance(f, module.DataFrame) for f in frames)
