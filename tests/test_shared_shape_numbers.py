"""What is chosen and estimated in one cell, number by number, against statsmodels, scipy and by hand."""

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.stats
import statsmodels.api as sm

import frontier
from frontier.errors import LOG
from frontier.shared_shape import MIDDLE, Cell, analysed, crossing_of
from frontier.shared_shape.cells import batches
from frontier.shared_shape.choosing import LEAST_WEIGHT, candidates, choose
from frontier.shared_shape.models import Layout
from frontier.shared_shape.pairs import Estimates, Weighted, averaged, crossing, estimates

SIZES = (8, 8)
ON = np.repeat([0.0, 1.0], 8)
LAYOUT = Layout(SIZES, (4, 4), 2, 1, 0, 1)


def cell(seed=0, sd=0.05, amount=0.0, shift=0.4, se=None):
    """Two families on one bent curve, the second shifted; errors a share of the hit and an amount."""
    rng = np.random.default_rng(seed)
    z = np.sort(rng.uniform(3, 6, (2, 8))).reshape(-1)
    u = z + shift * ON
    y = np.exp(1 - 0.9 * u - 0.08 * (u - 4.5) ** 2 + sd * rng.standard_normal(16))
    y += amount * rng.standard_normal(16)
    return Cell(z, y, SIZES, None if se is None else np.full(16, se))


def design(z, degree, deviation):
    """A polynomial, and a deviation of the second family."""
    return np.stack([*(z**j for j in range(degree + 1)), *(ON * z**j for j in range(deviation + 1))], -1)


def log_density(x, y, knee):
    """Largest log density of y under errors of one spread on the scale of log y, or of asinh(y / knee)."""
    if not knee and (y <= 0).any():
        return -np.inf, np.nan
    if not knee:
        fit = sm.OLS(np.log(y), x).fit()
        return fit.llf - np.log(y).sum(), np.sqrt(fit.scale)
    scale = np.arcsinh(y / knee)
    start = np.linalg.lstsq(x, np.log(np.maximum(y, 0.1 * y[y > 0].min())), rcond=None)[0]
    best = scipy.optimize.least_squares(lambda b: scale - np.arcsinh(np.exp(x @ b) / knee), start, xtol=1e-12)
    sd = np.sqrt(2 * best.cost / len(y))
    found = scipy.stats.norm.logpdf(best.fun, scale=sd).sum() - np.log(np.hypot(y, knee)).sum()
    return found, sd * np.sqrt(len(y) / (len(y) - x.shape[1]))


def by_hand(batch, knees, known=0.0):
    """For each knee the best (AICc, degree, deviation); Burnham & Anderson (2002), section 2.4.

    Two prices more: 4 for a deviation of degree 2, 4 n / (n - p) for errors of two components; an additive
    part below 0.9 of what is known is impossible.
    """
    z, y, n, found = batch.z[0], batch.y[0], 16, []
    for i, knee in enumerate(knees):
        scores = []
        for degree in (2, 3, 4):
            for deviation in (1, 2):
                x = design(z, degree, deviation)
                k = x.shape[1] + 1
                likelihood, sigma = log_density(x, y, knee)
                aicc = -2 * likelihood + 2 * k + 2 * k * (k + 1) / (n - k - 1)
                aicc += 4 * (deviation == 2) + 4 * n / (n - k + 1) * (knee > 0)
                aicc += 1e6 * (1 - 1e-3 * i) * (sigma * knee < 0.9 * known)
                scores.append((aicc, degree, deviation))
        found.append(min(scores))
    return found


@pytest.mark.parametrize(
    "given",
    [{"seed": 3}, {"seed": 1, "sd": 0.02, "amount": 0.004}, {"seed": 5, "amount": 0.006, "se": 0.005}],
    ids=["share", "amount", "known amount"],
)
def test_degrees_and_weights_are_those_of_aicc(given):
    (batch,) = batches([cell(**given)])
    found = choose(batch)
    hand = by_hand(batch, found.constant[:, 0], given.get("se", 0.0))
    assert found.constant[1, 0] == pytest.approx(batch.y[batch.y > 0].min() / 2)
    assert found.constant[-1, 0] == pytest.approx(2 * batch.y.max())
    score = np.array([h[0] for h in hand])
    weight = np.exp(-(score - score.min()) / 2)
    weight[weight < LEAST_WEIGHT] = 0
    used = weight > 0
    assert found.weight[:, 0] == pytest.approx(weight / weight.sum(), abs=1e-4)
    assert (found.degree[used, 0].tolist(), found.deviation[used, 0].tolist()) == (
        [h[1] for h, u in zip(hand, used, strict=True) if u],
        [h[2] for h, u in zip(hand, used, strict=True) if u],
    )


def test_the_shape_is_the_curve_of_the_points():
    """Without noise: the reference's hits at its L0, every point on it when shifted, no residual."""
    z = np.tile(np.linspace(3, 6, 8), 2)
    y = np.exp(1 - 0.9 * (z + 0.4 * ON) - 0.02 * (z + 0.4 * ON - 4.5) ** 2)
    rows = pd.DataFrame({"family": np.repeat(["relu", "topk"], 8), "l0": np.exp(z), "performance_hit": y})
    (shape,) = frontier.compare(rows, "relu").shapes
    assert shape.expected(np.exp(z[:8])) == pytest.approx(y[:8], rel=1e-6)
    assert shape.fitted == pytest.approx(y, rel=1e-6)
    assert shape.shifts == pytest.approx({"relu": 0, "topk": 0.4}, abs=1e-6)


def test_log_errors_have_no_knee():
    (found,) = analysed([cell(sd=0.01, seed=3)])
    assert found.shape.constant == 0.0


def test_hits_below_zero_leave_out_log_errors():
    one = cell(sd=0.02, amount=0.004, seed=1)
    (batch,) = batches([replace(one, y=np.where(one.y == one.y.min(), -0.001, one.y))])
    assert choose(batch).weight[0, 0] == 0 and choose(batch).weight.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("l0", "kinds"),
    [
        (np.geomspace(10, 80, 4), {(2, 1)}),  # 8 points leave 3 degrees of freedom to degree 2 alone
        (np.geomspace(10, 80, 6), {(2, 1), (3, 1), (4, 1), (2, 2), (3, 2), (4, 2)}),
        (np.repeat([10.0, 20.0, 40.0], 3), {(1, 1)}),  # three different L0 carry a line
        (np.array([10.0, 20.0]), {(1, 0)}),  # 4 points: a line and an offset
    ],
)
def test_shapes_that_the_points_can_carry(l0, kinds):
    z = np.tile(np.log(l0), 2)
    (batch,) = batches([Cell(z, np.exp(-z), (len(l0), len(l0)))])
    found = [layout for layout, _ in candidates(batch)]
    assert {(layout.degree, layout.deviation) for layout in found} == kinds
    assert [least for _, least in candidates(batch)] == [True, *[False] * (len(found) - 1)]


@pytest.mark.parametrize("degree", [2, 3, 4, 5, 6])
def test_the_degree_of_the_truth_is_the_one_that_is_chosen(degree):
    """A falling line that bends as Chebyshev's polynomial, 1 % noise; now and then AICc takes one more."""
    z, rng = np.tile(np.linspace(3, 6, 14), 2), np.random.default_rng(0)
    bend = 0.1 * np.polynomial.Chebyshev.basis(degree)((z - 4.5) / 1.5)
    logs = 1 - 0.9 * z + bend - 0.2 * np.repeat([0, 1], 14) + 0.01 * rng.standard_normal((12, 28))
    (batch,) = batches([Cell(z, np.exp(one), (14, 14)) for one in logs])
    assert (choose(batch).degree[0] == degree).sum() >= 7


def estimated(one, inflation=1.0):
    (batch,) = batches([one])
    wide = np.array([inflation]), np.array([99.0])
    return batch, estimates(LAYOUT, 1, batch.z, batch.y, LOG, *wide, np.zeros((1, 2)))[0].estimates


def widest(columns, residuals, along):
    """Variances of `along` @ coefficients, and degrees of freedom.

    With one variance of all points, or with one of each half of them (Satterthwaite), where that is larger;
    leverages are statsmodels'.
    """
    fit = sm.OLS(residuals, columns).fit()
    left = 1 - fit.get_influence().hat_matrix_diag
    squares = (along @ np.linalg.pinv(columns)) ** 2
    halves = [slice(0, 8), slice(8, 16)]
    own = [squares[:, h].sum(-1) * (residuals[h] ** 2).sum() / left[h].sum() for h in halves]
    one, apart = squares.sum(-1) * (residuals**2).sum() / left.sum(), own[0] + own[1]
    df = apart**2 / sum(v**2 / left[h].sum() for v, h in zip(own, halves, strict=True))
    return np.maximum(one, apart), np.where(apart > one, df, left.sum())


@pytest.mark.parametrize("inflation", [1.0, 4.0])
def test_the_shift_and_its_error_are_scipys(inflation):
    batch, found = estimated(cell(), inflation)

    def curve(z, a, b, c, s):
        u = z + s * ON
        return a + b * u + c * u**2

    z, t = batch.z[0], np.log(batch.y[0])
    best, covariance = scipy.optimize.curve_fit(curve, z, t, [-3, -1, 0, 0.3])
    columns = gradient_of(lambda theta: curve(z, *theta), best).T
    (variance,), (df,) = widest(columns, t - curve(z, *best), np.eye(4)[-1:])
    assert covariance[-1, -1] <= variance * (1 + 1e-6)
    assert found.shift[0] == pytest.approx(best[-1], rel=1e-5)
    assert found.shift_se[0] == pytest.approx(np.sqrt(inflation * variance), rel=1e-4)
    assert found.shift_df[0] == pytest.approx(df, rel=1e-4) and df < 12


def potency_of(coefficients, hit, z, degree=2):
    """z of the first curve less z of the second at one hit, by root finding."""
    a, d = coefficients[: degree + 1], np.r_[coefficients[degree + 1 :], [0] * (degree - 1)]
    ends = z.min() - 0.5, z.max() + 0.5
    roots = [
        scipy.optimize.brentq(lambda v, c=c: np.polynomial.polynomial.polyval(v, c) - np.log(hit), *ends)
        for c in (a, a + d)
    ]
    return roots[0] - roots[1]


def gradient_of(function, at):
    step = 1e-5
    return np.array([
        (function(at + step * e) - function(at - step * e)) / (2 * step) for e in np.eye(len(at))
    ])  # fmt: skip


def test_the_potency_its_errors_and_every_left_out_point_are_those_of_least_squares():
    batch, found = estimated(cell(sd=0.03))
    z, x, logs = batch.z[0], design(batch.z[0], 2, 1), np.log(batch.y[0])
    fit, hit = sm.OLS(logs, x).fit(), found.hits[0, MIDDLE]
    low, high = (
        np.exp([logs[:8].min(), logs[8:].min()]).max(),
        np.exp([logs[:8].max(), logs[8:].max()]).min(),
    )
    assert hit == pytest.approx(np.sqrt(low * high))

    def potency(coefficients):
        return potency_of(coefficients, hit, z)

    assert found.potency[0, MIDDLE] == pytest.approx(potency(fit.params), abs=2e-4)  # read off a grid
    g = gradient_of(potency, fit.params)
    assert found.potency_se[0, MIDDLE] == pytest.approx(np.sqrt(g @ fit.cov_params() @ g), rel=1e-3)
    assert found.df[0] == pytest.approx(widest(x, fit.resid, g[None])[1][0], rel=1e-3)
    robust = max(np.sqrt(g @ fit.cov_HC2 @ g), np.sqrt(g @ fit.cov_params() @ g))
    assert found.robust_se[0, MIDDLE] == pytest.approx(robust, rel=1e-3)
    without = [potency(sm.OLS(np.delete(logs, i), np.delete(x, i, 0)).fit().params) for i in range(len(logs))]
    assert found.left_out[0] == pytest.approx(np.array(without), abs=5e-3)
    assert np.corrcoef(found.left_out[0], without)[0, 1] > 0.999


def test_the_potency_of_a_shifted_cubic_is_scipys():
    """P(z + s) + c (z + s/2) for the second family, by least_squares; root finding, and the delta method.

    P(z) plus a straight deviation, which is not that model, gives another number.
    """
    flat = cell(sd=0.01, shift=0.9)
    bend = np.exp(-0.15 * (flat.z + 0.9 * ON - 4.5) ** 3)
    (batch,) = batches([replace(flat, y=flat.y * bend)])
    wide = np.ones(1), np.array([99.0])
    layout = replace(LAYOUT, degree=3)
    found = estimates(layout, 1, batch.z, batch.y, LOG, *wide, np.zeros((1, 2)))[0].estimates
    z, logs, hit = batch.z[0], np.log(batch.y[0]), found.hits[0, MIDDLE]

    def curve(b, at, on):
        return np.polynomial.polynomial.polyval(at + b[4] * on, b[:4]) + b[5] * (at + b[4] / 2) * on

    start = np.r_[np.polynomial.polynomial.polyfit(z[:8], logs[:8], 3), 0.8, 0]
    best = scipy.optimize.least_squares(lambda b: curve(b, z, ON) - logs, start, x_scale="jac", xtol=1e-14)
    covariance = np.linalg.inv(best.jac.T @ best.jac) * 2 * best.cost / (16 - 6)

    def potency(b):
        ends = z.min() - 0.3, z.max() + 0.3
        at = [scipy.optimize.brentq(lambda v, on=on: curve(b, v, on) - np.log(hit), *ends) for on in (0, 1)]
        return at[0] - at[1]

    assert found.potency[0, MIDDLE] == pytest.approx(potency(best.x), abs=2e-4)  # read off a grid
    g = gradient_of(potency, best.x)
    assert found.potency_se[0, MIDDLE] == pytest.approx(np.sqrt(g @ covariance @ g), rel=2e-3)
    straight = sm.OLS(logs, design(z, 3, 1)).fit().params
    other = potency_of(np.r_[straight[:4], straight[4:]], hit, z, degree=3)
    assert abs(other - potency(best.x)) > 2 * found.potency_se[0, MIDDLE]


def test_the_difference_of_hits_is_that_of_least_squares():
    batch, found = estimated(cell())
    z = batch.z[0]
    fit = sm.OLS(np.log(batch.y[0]), design(z, 2, 1)).fit()
    at = np.linspace(max(z[0], z[8]), min(z[7], z[15]), found.gap.shape[1])
    columns = np.stack([0 * at, 0 * at, 0 * at, 1 + 0 * at, at], -1)
    assert found.gap[0] == pytest.approx(columns @ fit.params, abs=1e-8)
    se = np.sqrt(widest(fit.model.exog, fit.resid, columns)[0])
    assert found.gap_se[0] == pytest.approx(se, rel=1e-6)


@pytest.mark.parametrize("short", [0, 1])
def test_signs_do_not_depend_on_which_family_has_more_points(short):
    """Without noise, the family 1.5 times as potent; one of the two has three points in the other's range."""
    z = [np.linspace(3, 6, 8), np.linspace(3, 6, 8)]
    z[short] = np.linspace(3.8, 5.2, 3)
    moved = np.repeat([0.0, np.log(1.5)], [len(v) for v in z])
    y = np.exp(1 - 0.9 * (np.concatenate(z) + moved))
    (found,) = analysed([Cell(np.concatenate(z), y, tuple(len(v) for v in z))])
    pair = found.pairs[0]
    assert pair.shift == pytest.approx(np.log(1.5), rel=1e-5)
    assert pair.potency == pytest.approx(np.log(1.5), rel=1e-3)
    assert pair.left_out == pytest.approx(np.log(1.5), rel=1e-3)
    assert pair.hit_ratio == pytest.approx(-0.9 * np.log(1.5), rel=1e-5)
    assert pair.slope == pytest.approx(-0.9, rel=1e-4)
    assert pair.starts_lower and pair.falls and pair.lower.t > 1 and pair.higher.t == 0
    middle = np.exp((max(v[0] for v in z) + min(v[-1] for v in z)) / 2)
    assert pair.hit_ratio_l0 == pytest.approx(middle, rel=1e-6)


def test_models_are_averaged_and_what_they_disagree_about_counts():
    """Two models of weight 1/4 and 3/4: the law of total variance, and units of log L0."""
    (batch,) = batches([cell()])
    gap = np.linspace(-1.0, 0.51, 121)[None]

    def model(value, se):
        given = {f.name: np.array([0.3]) for f in fields(Estimates)}
        rows = {n: np.full((1, 25), value) for n in ("hits", "potency")}
        errors = {n: np.full((1, 25), se) for n in ("potency_se", "robust_se")}
        more = {"left_out": np.zeros((1, 16)), "gap": gap, "gap_se": np.full((1, 121), 0.1)}
        one = {"shift": np.array([value]), "shift_se": np.array([se]), "df": np.array([10.0])}
        return Estimates(**{**given, **rows, **errors, **more, **one})

    row = np.array([0])
    models = [Weighted(row, np.array([w]), model(*m)) for w, m in ((0.25, (1.0, 0.2)), (0.75, (2.0, 0.4)))]
    (pair,) = averaged(models, batch, 1)
    unit, sd = float(batch.spread[0, 0]), np.sqrt(0.25 * 0.04 + 0.75 * 0.16 + 0.25 * 0.75)
    assert (pair.shift, pair.shift_se) == pytest.approx((1.75 * unit, sd * unit))
    assert pair.potency == pytest.approx(1.75 * unit) and pair.potency_se == pytest.approx(sd * unit)
    assert pair.robust_se == pytest.approx(sd * unit) and pair.slope == pytest.approx(0.3 / unit)
    assert (pair.lower.t, pair.lower.se) == pytest.approx((10.0, 0.1))
    assert (pair.higher.t, pair.higher.se) == pytest.approx((5.1, 0.1))
    assert pair.starts_lower and not pair.falls


@pytest.mark.parametrize("family", [0, 1])
def test_the_set_around_a_crossing_is_that_of_least_squares_with_bent_deviations(family):
    """statsmodels, on the points' own log L0: where |difference| / SE stays below t around its last root."""
    rng = np.random.default_rng(5)
    z = np.tile(np.linspace(3.0, 5.7, 12), 2)
    on = np.repeat([0.0, 1.0], 12)
    logs = 2 - 1.1 * z + np.where(on == family, 0.4 * (z - 4.4), 0) + 0.05 * rng.standard_normal(24)
    own = Cell(z, np.exp(logs), (12, 12))
    (found,) = analysed([own])
    assert found.shape.constant == 0
    root, low, high = crossing_of(own, found.shape, 1, 0.95)

    def columns(at, which):
        powers = np.stack([at**j for j in range(found.shape.degree + 1)], -1)
        return np.concatenate([powers, which[:, None] * powers[:, :3]], -1)

    fit = sm.OLS(logs, columns(z - 4, on)).fit()
    at = np.linspace(3.0, 5.7, 121)
    more = columns(at - 4, np.ones(121)) - columns(at - 4, np.zeros(121))
    gap, se = more @ fit.params, np.sqrt(np.einsum("ij,jk,ik->i", more, fit.cov_params(), more))
    near = np.abs(gap / se) <= scipy.stats.t.ppf(0.975, fit.df_resid)
    turn = np.flatnonzero(gap[:-1] * gap[1:] < 0)[-1]
    first, last = turn - np.argmin(near[turn::-1]), turn + np.argmin(near[turn:])
    assert (low, high) == pytest.approx((np.exp(at[first]), np.exp(at[last])))
    assert np.exp(at[turn]) < root < np.exp(at[turn + 1])


def test_the_ends_of_a_crossing():
    l0 = np.array([10.0, 20, 40, 80, 160])
    gap = np.array([2.0, -1, 1, 3, 4])  # two turns: the one at the larger L0
    for reach, ends in ((0.5, (20, 40)), (1.0, (10, 80)), (2.5, (0, 80)), (9.0, (0, np.inf))):
        assert crossing(l0, gap, gap, reach) == pytest.approx((np.sqrt(800), *ends))
    assert crossing(l0, np.abs(gap), gap, 1.0) is None


@pytest.mark.parametrize("scale", [1.0, 1e-200])  # of which products are 0
def test_a_crossing_where_the_difference_is_exactly_zero(scale):
    l0 = np.array([10.0, 20, 40, 80, 160])
    at, low, high = crossing(l0, scale * np.array([-2.0, -1, 0, 1, 3]), np.array([-2.0, -1, 0, 1, 3]), 1.5)
    assert (at, low, high) == pytest.approx((40, 10, 160))
    wide = crossing(l0, scale * np.array([-2.0, 0, 0, 1, 3]), np.array([-2.0, 0, 0, 1, 3]), 0.5)
    assert wide == pytest.approx((np.sqrt(800), 10, 80))
    for touch in ([2.0, 1, 0, 1, 3], [0.0, -1, -2, -1, 0], [0.0, 0, 0, 0, 0]):
        assert crossing(l0, scale * np.array(touch), np.array(touch), 1.5) is None


def test_points_without_any_error_differ_surely():
    """Both standard errors are 0; on the range that both cover one family is always the lower one."""
    (batch,) = batches([cell()])
    zero = np.zeros((1, 1))
    given = {f.name: np.zeros(1) for f in fields(Estimates)}
    given |= {name: zero for name in ("hits", "potency", "potency_se", "robust_se", "left_out")}
    gap = np.full((1, 121), -0.25)
    found = Estimates(**{**given, "df": np.array([10.0]), "gap": gap, "gap_se": np.zeros((1, 121))})
    (pair,) = averaged([Weighted(np.array([0]), np.ones(1), found)], batch, 1)
    assert pair.lower.t > 1e12 and pair.higher.t == 0
