"""Shared parameters and tests of parallel curves, against independent computations."""

import numpy as np
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
    assert (
        "Parallel curves" in repr(parallelism(*fits)) and "Shared n" in shared_fit(fits, ["n"])._repr_html_()
    )


def test_the_likelihood_ratio_counts_every_point():
    """Lines by numpy: the sum over groups of N log(RSS common / RSS own) is chi-squared(2)."""
    rng = np.random.default_rng(4)
    xs = np.linspace(1, 6, 6), np.linspace(1, 9, 9)
    ys = [1 + 2 * x + rng.normal(0, 0.5, len(x)) + 0.3 * i for i, x in enumerate(xs)]
    fits = [frontier.fit_points(x, y, "linear", errors="additive") for x, y in zip(xs, ys, strict=True)]
    common = np.polyfit(np.concatenate(xs), np.concatenate(ys), 1)
    gain = 0.0
    for x, y in zip(xs, ys, strict=True):
        own, shared = (((y - np.polyval(line, x)) ** 2).sum() for line in (np.polyfit(x, y, 1), common))
        gain += len(x) * np.log(shared / own)
    found = shared_fit(fits, ("slope", "intercept"))
    assert found.p_likelihood == pytest.approx(stats.chi2.sf(gain, 2), rel=1e-6)
    assert 0.001 < found.p_likelihood < 0.9, "a p value that says something"
