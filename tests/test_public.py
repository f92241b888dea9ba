"""The public surface: results write themselves, old names warn, one word has one meaning."""

import doctest
import inspect
import math
import re
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import frontier
from frontier import renamed
from frontier.wording import interval_cell

FITTED = (frontier.fit_points([0.01, 0.02, 0.04, 0.08], [0.05, 0.09, 0.17, 0.3]),) * 3
FUNCTIONS = [n for n in frontier.__all__ if inspect.isfunction(getattr(frontier, n))]


# Results write themselves


@pytest.fixture(scope="module")
def results(hill20, comparison20):
    ratios = frontier.ratio_table(hill20, "baseline")
    return {
        "one fit": hill20[0], "fits": hill20, "ratios": ratios, "one ratio": ratios[0],
        "comparisons": comparison20, "one comparison": comparison20[0], "interval": hill20[0]["k"],
        "pooled": frontier.pool_ratios(ratios, "relative_potency"),
        "choice of curve": frontier.select_curve(hill20[0], replicates=0),
        "choices of curves": frontier.select_curve(hill20, replicates=0),
    }  # fmt: skip


def cell_of(results):
    potency = results["comparisons"]["Resid", "gated"].potency
    return interval_cell(potency.ratio, potency.ratio_low, potency.ratio_high)


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
    for cell in {"ratios": ["2.57 [2.30, 2.87]"], "comparisons": [cell_of(results)]}.get(kind, []):
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


# Tables


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Two families of three seeds and one pruned SAE in a CSV file, with standard errors."""
    rng = np.random.default_rng(0)
    rows = [
        {"family": f, "seed": s, "run_id": f"{f}_{l0:g}_{s}", "l0": l0 * float(np.exp(rng.normal(0, 0.02))),
         "loss_recovered": 1 - 0.3 * (i + 1) * l0**-0.8 * float(np.exp(rng.normal(0, 0.03))),
         "loss_recovered_se": 0.001, "sparsity_setting": l0, "sparsity_name": "k", "shrinkage": 0.9,
         "ce_clean": 3.0, "ce_sae": 3.0 + 0.5 * (i + 1) * l0**-0.8, "ce_mean_ablation": 8.0,
         "frequency_above_10pct": 0.01, "frequency_above_1pct": 0.02}
        for i, f in enumerate(("gated", "relu")) for l0 in (5.0, 10.0, 20.0, 40.0, 80.0) for s in (0, 1, 2)
    ]  # fmt: skip
    rows.append({**rows[0], "run_id": "pruned", "parent": rows[0]["run_id"], "l0": 4.0})
    path = tmp_path_factory.mktemp("sweep") / "sweep.csv"
    frame = pd.DataFrame(rows).drop(columns="loss_recovered")
    frame.to_csv(path, index=False)
    return path


NEEDED = {
    "hypervolume": {"worst": {"l0": 200.0, "performance_hit": 1.0}}, "plot_metrics": {"y": "ce_sae"},
    "compare_budgets": None, "lack_of_fit": None, "metrics_table": None, "notes": None, "plot_training": None,
}  # fmt: skip
"""What a function cannot do without; None: not a function of a table alone."""
OF_TABLES = [
    n for n in FUNCTIONS
    if "table" in inspect.signature(getattr(frontier, n)).parameters and NEEDED.get(n, {}) is not None
    and n != "report"
]  # fmt: skip


@pytest.mark.parametrize("name", OF_TABLES)
def test_what_takes_a_table_takes_a_path(name, sweep):
    function, options = getattr(frontier, name), NEEDED.get(name, {})
    one, two = (function(source, **options) for source in (str(sweep), frontier.read(sweep)))
    assert type(one) is type(two)
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, two)
    elif isinstance(one, frontier.Comparisons | frontier.FrontierFits | frontier.ObservedRatios):
        assert one == two


# Words


ORDER = (
    "reference", "by", "x", "y", "errors", "max_l0", "at", "level", "intervals", "replicates", "seed",
    "objectives", "family", "across", "log_x", "log_y", "panels", "styles", "legend", "title", "figure",
    "backend",
)  # fmt: skip
"""Parameters that several functions share, as they follow each other in all of them."""
ELSEWHERE = {"pool_ratios": {"family"}}
"""Words with another meaning: the family that is pooled."""
GONE = {"method", "draws", "tables", "levels", "log", "log_objectives"}
"""Words of parameters that had several meanings, or several words for one."""


def test_parameters_keep_to_one_word():
    for name in FUNCTIONS:
        parameters = inspect.signature(getattr(frontier, name)).parameters
        assert not GONE & parameters.keys(), name
        if "seed" in parameters:
            assert parameters["seed"].default == 0, f"{name}: seed is that of random numbers"


KINDS_OF_VALUE = {
    "x": "a column, or numbers where all is numbers", "y": "the same", "weights": "the same",
    "vanishing_l0": "the same", "reference": "a family, or its fit", "columns": "names, or a mapping of them",
    "ratios": "any results with ratios", "families": "names, or rows that have them", "table": "a path too",
    "fits": "one, many, or a list", "path": "of a file; where it may be a Path, of any kind",
}  # fmt: skip
"""Words of parameters whose values are of several kinds, with one meaning."""


def test_a_shared_word_has_one_kind_of_value():
    """Of two functions that share a word, one takes all that the other takes, None apart."""
    kinds = {}
    for name in FUNCTIONS:
        for word, p in inspect.signature(getattr(frontier, name)).parameters.items():
            parts = re.split(r" \| (?![^\[]*\])", str(p.annotation))
            kinds.setdefault(word, set()).add(frozenset(parts) - {"None"})
    chains = {word: sorted(found, key=len) for word, found in kinds.items()}
    several = {w for w, c in chains.items() if not all(a <= b for a, b in pairwise(c))}
    assert several <= KINDS_OF_VALUE.keys()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_shared_parameters_have_one_order(name):
    own = ELSEWHERE.get(name, set())
    words = [p for p in inspect.signature(getattr(frontier, name)).parameters if p in ORDER and p not in own]
    assert words == sorted(words, key=ORDER.index)


OLD_PARAMETERS = [
    ("compare", {"method": "welch"}), ("ratio_table", {"method": "welch"}),
    ("relative_potency", {"method": "welch"}), ("hit_ratio", {"method": "welch"}),
    ("fit_frontier", {"method": "quantile", "replicates": 9}), ("pareto_probability", {"draws": 9}),
    ("calibrate", {"tables": 9}), ("compare_seeds", {"seed": "seed"}), ("attainment", {"levels": ["best"]}),
    ("plot_fits", {"log": True}),
    ("paper_style", {"columns": 1}), ("hypervolume", {"reference": {"l0": 200.0, "performance_hit": 1.0}}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), OLD_PARAMETERS)
def test_an_old_parameter_works_and_names_the_new_one(name, options, sweep, hill20):
    takes = next(iter(inspect.signature(getattr(frontier, name)).parameters))
    given = {"table": [sweep], "fits": [hill20], "source": [hill20], "fit": list(hill20)[:2]}.get(takes, [])
    old = next(iter(options))
    with pytest.warns(DeprecationWarning, match=rf"{name}\({old}=...\) is now {name}\(") as seen:
        found = getattr(frontier, name)(*given, **options)
    assert found is not None and seen[0].filename == __file__


# Examples and the table of questions


def test_every_function_has_an_example():
    for name in FUNCTIONS:
        assert ">>> " in getattr(frontier, name).__doc__, name


WRAPPED = [n for n in FUNCTIONS if hasattr(getattr(frontier, n), "__wrapped__")]


@cache
def examples_in(module):
    return {test.name for test in doctest.DocTestFinder().find(sys.modules[module]) if test.examples}


@pytest.mark.parametrize("name", WRAPPED)
def test_the_examples_of_decorated_functions_are_found(name):
    """`--doctest-modules`, which runs them once, takes those that this finder finds."""
    function = getattr(frontier, name)
    assert f"{function.__module__}.{name}" in examples_in(function.__module__)


def test_every_function_answers_a_question():
    page = (Path(__file__).parent.parent / "docs" / "questions.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|") and "frontier." in line]
    named = [re.search(r"`frontier\.(\w+)\(", row)[1] for row in rows]
    assert sorted(named) == sorted(FUNCTIONS)


# What functions take


TOLD = {"level": (0, 1, 95), "sure": (0, 1, 80), "typical_seed_sd": (-1, 1, 5), "quantile": (0, 0.6, 10),
        "potency": (-1, 0), "max_l0": (-1, 0), "vanishing_l0": (-1, 0), "target": (-1, 0), "extend": (0,),
        "replicates": (-1,), "points": (-1,), "at": ()}  # fmt: skip
"""Numbers outside what each parameter takes, as its documentation says; NaN is outside of all."""


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in frontier.curves.CURVES])
def test_numbers_out_of_range_are_refused_before_anything_is_done(name):
    """Every function that has such a parameter, with nothing else of sense in the call."""
    function = getattr(frontier, name)
    taken = inspect.signature(function).parameters
    wanted = [p for p in taken.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    assert {n for n, p in taken.items() if str(p.annotation).startswith("float")} <= TOLD.keys()
    for parameter in TOLD.keys() & taken.keys():
        for value in (*TOLD[parameter], math.nan):
            with pytest.raises(ValueError, match=f"^{parameter} must be .*found"):
                function(*FITTED[: len(wanted)], **{parameter: value})


def test_a_share_in_per_cent_is_answered_with_what_to_type():
    with pytest.raises(ValueError, match=r"found 5 \(5 % is 0.05\)"):
        frontier.compare([], typical_seed_sd=5)
    with pytest.raises(ValueError, match=r"found 95 \(95 % is 0.95\)"):
        frontier.fit([], level=95)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_result_of_the_wrong_kind_is_said_to_be_that(name, results):
    """Each result in the place of each argument that takes one; no AttributeError from the inside."""
    function = getattr(frontier, name)
    taken = list(inspect.signature(function).parameters.values())
    if not re.search(r"(Fits?|Ratio|Table|Shape|Selections?)\b", str(taken[0].annotation) if taken else ""):
        return
    for kind, wrong in {**results, "number": 3, "table": pd.DataFrame({"l0": [1.0]})}.items():
        if re.search(rf"\b{type(wrong).__name__}\b", str(taken[0].annotation)) or kind == "fits":
            continue
        with pytest.raises(TypeError, match=rf"^{name} wants .* as {taken[0].name}; found "):
            function(*[wrong, *FITTED][: sum(p.default is p.empty for p in taken)])


def test_of_many_fits_one_is_offered(hill20):
    with pytest.raises(
        TypeError, match=r"FrontierFits of 6; take one of them by its name: \['Resid', 'baseline'\]"
    ):
        frontier.plan(hill20, hill20["Resid", "baseline"])
    with pytest.raises(TypeError, match=r"plan wants one fit of frontier\.fit as reference; found str"):
        frontier.plan(hill20["Resid", "gated"], "baseline")
    with pytest.raises(ValueError, match="are one fit"):
        frontier.plan(hill20["Resid", "gated"], hill20["Resid", "gated"])


@pytest.mark.parametrize("name", [n for n in dir(frontier) if n.startswith("plot_")])
def test_a_figure_refuses_what_is_no_axes(name):
    """A family's name by place was taken for axes: AttributeError 'str' has no 'axhline'."""
    function = getattr(frontier, name)
    taken = inspect.signature(function).parameters
    (place,) = {"ax", "axes"} & taken.keys()
    needed = {n: None for n, p in taken.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    for bad in ("relu", ["relu"], 3, Figure(), [Figure().subplots(), None, Figure()]):
        with pytest.raises(TypeError, match=rf"^plot_\w+ wants matplotlib axes as {place}; found "):
            function(**needed, **{place: bad})
    with pytest.raises(TypeError) as told:
        function(**needed, **{place: "relu"})
    assert ("a family is reference='relu'" in str(told.value)) == ("reference" in taken)
