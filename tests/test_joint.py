"""Joint regions: the exact ellipse of a line, the profile limits inside, coverage."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import frontier
from frontier.fits.joint import joint_region

X = np.geomspace(0.004, 0.3, 9)


def test_the_region_of_a_line_is_the_textbook_ellipse():
    y = 2 * X + 0.1 + 0.01 * np.random.default_rng(1).standard_normal(9)
    fit = frontier.fit_points(X, y, "linear", errors="additive")
    region = joint_region(fit, level=0.9)
    # (beta - b)' X'X (beta - b) = 2 s^2 F(0.9; 2, 7) on the boundary (Draper & Smith, eq. 2.6.12)
    design = np.column_stack([X, np.ones(9)])
    d = region[["slope", "intercept"]].to_numpy() - [fit["slope"].estimate, fit["intercept"].estimate]
    form = np.einsum("ri,ij,rj->r", d, design.T @ design, d)
    assert_allclose(form, 2 * fit.sigma**2 * stats.f.ppf(0.9, 2, 7), rtol=1e-6)


def test_the_region_holds_more_than_the_separate_intervals(hill20):
    fit = hill20["Resid", "gated"]
    region = joint_region(fit)
    # F(2) > F(1): the region's extent exceeds the profile interval of each parameter
    for name in ("k", "n"):
        assert region[name].min() < fit[name].low and region[name].max() > fit[name].high
    assert np.corrcoef(np.log(region["k"]), region["n"])[0, 1] < -0.98  # GATED_DATA section 3: -0.994
    assert not region["open"].any()


@pytest.mark.slow
def test_the_region_covers():
    # 300 tables with known truth: the truth's sum of squares lies below the threshold in about 95 %
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(300):
        y = frontier.hill(X, 0.4, 1.1) * np.exp(0.1 * rng.standard_normal(9))
        fit = frontier.fit_points(X, y, "hill", errors="log", intervals="wald")
        truth = ((np.log(y) - np.log(frontier.hill(X, 0.4, 1.1))) ** 2).sum()
        region = joint_region(fit, points=8)
        edge = np.array(
            [((np.log(y) - np.log(frontier.hill(X, *r))) ** 2).sum() for r in region[["k", "n"]].to_numpy()]
        )
        assert np.ptp(edge) < 1e-6 * edge.max()  # every boundary point lies on one contour
        inside += truth <= edge[0]
    assert 0.905 <= inside / 300 <= 0.985  # 99.9 % binomial band


def test_what_has_no_region_is_said():
    y = frontier.hill(X, 0.4, 1.1)
    with pytest.raises(ValueError, match="leaves no residuals"):
        joint_region(frontier.fit_points(X, y, "hill", errors="log"))
    with pytest.raises(ValueError, match="two free parameters"):
        joint_region(
            frontier.fit_points(X, y * (1 + 0.1 * np.sin(40 * X)), "hill", errors="log", fixed={"n": 1})
        )


def test_an_open_region_is_open():
    # With one degree of freedom F(0.999; 2, 1) is half a million: even a curve at 0 is not excluded.
    y = np.array([0.02, 0.06, 0.1])
    fit = frontier.fit_points([0.01, 0.02, 0.05], y, "hill", errors="additive", intervals="wald")
    assert fit.rss * (1 + 2 * stats.f.ppf(0.999, 2, 1)) > (y**2).sum()
    assert joint_region(fit, level=0.999)["open"].any() and not joint_region(fit, level=0.5)["open"].any()
