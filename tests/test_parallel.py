"""Shared parameters and tests of parallel curves, against independent computations."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.optimize import least_squares

import frontier
from frontier.ratios.parallel import parallelism, shared_fit

X = np.geomspace(0.004, 0.3, 9)


@pytest.fixture(scope="module")
def fits():
    rng = np.random.default_rng(3)
    out = []
    for k, n in ((0.2, 1.0), (0.5, 0.8)):
        out.append(
            frontier.fit_points(
                X, frontier.hill(X, k, n) * np.exp(0.1 * rng.standard_normal(9)), "hill", errors="log"
            )
        )
    return out


def residuals(parameters, fits, shared):
    """log y - log Hill of two groups with n, k or both in common; another parametrisation, in (log k, n)."""
    if shared == ("n",):
        pairs = [(parameters[0], parameters[2]), (parameters[1], parameters[2])]
    elif shared == ("k",):
        pairs = [(parameters[0], parameters[1]), (parameters[0], parameters[2])]
    else:
        pairs = [tuple(parameters)] * 2
    return np.concatenate(
        [
            np.log(f.y) - np.log(frontier.hill(f.x, np.exp(a), b))
            for f, (a, b) in zip(fits, pairs, strict=True)
        ]
    )


@pytest.mark.parametrize(
    ("shared", "start"), [(("n",), [-1.6, -0.7, 0.9]), (("k",), [-1.2, 0.9, 0.9]), (("k", "n"), [-1.2, 0.9])]
)
def test_shared_fit_equals_scipy(fits, shared, start):
    theirs = least_squares(residuals, start, args=(fits, shared), xtol=1e-15, ftol=1e-15, gtol=1e-15)
    found = shared_fit(fits, shared)
    assert_allclose(found.rss, 2 * theirs.cost, rtol=1e-9)
    free = sum(f.rss for f in fits)
    extra = 4 - len(start)
    f = (2 * theirs.cost - free) / extra / (free / 14)
    assert_allclose((found.f, found.p_f), (f, stats.f.sf(f, extra, 14)), rtol=1e-6)
    assert found.df == 18 - len(start)


def test_common_k_ratio_of_gemma(hill20):
    # GATED_DATA section 3, "Hill, common n: k ratio": 2.72, 3.98, 2.74
    for site, printed in (("Resid", 2.72), ("MLP", 3.98), ("Attn", 2.74)):
        own = shared_fit([hill20[site, "gated"], hill20[site, "baseline"]], ["n"]).separate
        ks = [v["k"] for v in own.values()]
        assert_allclose(ks[0] / ks[1], printed, atol=0.0051)


def test_welch_test_of_slopes_of_two_lines():
    # For lines the Welch test of slopes is the textbook one from scipy's linregress standard errors.
    rng = np.random.default_rng(9)
    data = [(X, 2 * X + 0.01 * rng.standard_normal(9)), (X, 2.2 * X + 0.05 * rng.standard_normal(9))]
    a, b = (frontier.fit_points(x, y, "linear", errors="additive") for x, y in data)
    s = [stats.linregress(x, y) for x, y in data]
    v = [r.stderr**2 for r in s]
    df = sum(v) ** 2 / sum(i**2 / 7 for i in v)
    p = 2 * stats.t.sf(abs(s[0].slope - s[1].slope) / np.sqrt(sum(v)), df)
    assert parallelism(a, b).p_welch == pytest.approx(p, rel=1e-8)


def test_what_cannot_be_tested_is_said(fits):
    fixed = frontier.fit_points(
        X, frontier.hill(X, 0.2, 1.0) * (1 + 0.01 * np.sin(9 * X)), "hill", errors="log", fixed={"n": 1}
    )
    with pytest.raises(ValueError, match="parallel by construction"):
        parallelism(fixed, fits[0])
    with pytest.raises(ValueError, match="'top' is not a free parameter"):
        shared_fit(fits, ["top"])
    with pytest.raises(ValueError, match="two or more fits"):
        shared_fit(fits[:1], ["n"])
    with pytest.raises(ValueError, match="each once; found 2 fits"):
        shared_fit([fits[0], fits[0]], ["n"])
    with pytest.raises(ValueError, match=r"name what the fits share: k, n, say"):
        shared_fit(fits, [])
    power = frontier.fit_points(fits[0].x, fits[0].y, "power", errors="additive")
    with pytest.raises(ValueError, match="fits of one curve, found hill, power"):
        shared_fit([fits[0], power], ["n"])
    assert (
        "Parallel curves" in repr(parallelism(*fits)) and "Shared n" in shared_fit(fits, ["n"])._repr_html_()
    )


def test_welch_of_one_shared_parameter_is_the_textbook_test():
    """Of two slopes it is the t test, of three means Welch's analysis of variance (statsmodels)."""
    from statsmodels.stats.oneway import anova_oneway

    rng = np.random.default_rng(9)
    data = [(X, 2 * X + 0.01 * rng.standard_normal(9)), (X, 2.2 * X + 0.05 * rng.standard_normal(9))]
    lines = [frontier.fit_points(x, y, "linear", errors="additive") for x, y in data]
    assert shared_fit(lines, ["slope"]).p_welch == pytest.approx(parallelism(*lines).p_welch, rel=1e-8)
    logs = [rng.normal(0.1 * i, s, size) for i, (s, size) in enumerate([(0.1, 5), (0.3, 6), (0.2, 8)])]
    means = [
        frontier.fit_points(x := np.geomspace(0.01, 0.1, len(v)), np.exp(v) * x, "power", errors="log",
                            fixed={"exponent": 1})
        for v in logs
    ]  # fmt: skip
    expected = anova_oneway(logs, use_var="unequal").pvalue
    assert shared_fit(means, ["scale"]).p_welch == pytest.approx(expected, rel=1e-6)


def twins(count, sizes, noises, seed):
    """Fits of two families of one n whose k differ, as many tables."""
    rng = np.random.default_rng(seed)
    rows = []
    for size, noise, k in zip(sizes, noises, (0.05, 0.08), strict=True):
        x = np.geomspace(0.008, 0.135, size)
        hit = frontier.hill(x, k, 1.0) * np.exp(noise * rng.standard_normal((count, size)))
        shape = np.repeat(np.arange(count), size), np.tile(1 / x, count), hit.ravel()
        rows.append(pd.DataFrame(dict(zip(("table", "l0", "performance_hit"), shape, strict=True), family=k)))
    how = {"by": ["family", "table"], "errors": "log", "intervals": "wald"}
    fits = list(frontier.fit(pd.concat(rows), "hill", **how))
    return list(zip(fits[:count], fits[count:], strict=True))


@pytest.mark.parametrize(("sizes", "noises"), [((5, 5), (0.08, 0.08)), ((12, 5), (0.04, 0.12))])
def test_a_true_shared_n_is_rejected_as_often_as_said(sizes, noises):
    """Of 300 tables 5 % are 15, give or take 3 binomial SD of 3.8; F takes variances as equal."""
    found = [shared_fit(pair, ["n"]) for pair in twins(300, sizes, noises, 1)]
    assert 3 < sum(f.p_welch < 0.05 for f in found) < 27
    if noises[0] == noises[1]:
        assert 3 < sum(f.p_f < 0.05 for f in found) < 27


def test_a_true_common_curve_is_rejected_no_more_often_than_said():
    """Truth: one k and one n in three families; two parameters at once err on the safe side."""
    rng = np.random.default_rng(2)
    hits = frontier.hill(X, 0.2, 1.0) * np.exp(
        np.array([0.03, 0.06, 0.12])[:, None] * rng.standard_normal((150, 3, 9))
    )
    cells = pd.MultiIndex.from_product([range(150), list("abc"), 1 / X], names=["table", "family", "l0"])
    table = pd.DataFrame({"performance_hit": hits.ravel()}, index=cells).reset_index()
    fits = list(frontier.fit(table, "hill", by=["table", "family"], errors="log", intervals="wald"))
    found = [shared_fit(fits[i : i + 3], ["k", "n"]).p_welch for i in range(0, 450, 3)]
    assert 0 < sum(p < 0.05 for p in found) < 16, "7.5 give or take 3 binomial SD of 2.7"
