"""The batched engine against scipy's least squares, closed forms, and data that have no answer."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import least_squares, minimize_scalar
from scipy.special import expit, logit

from frontier import engine
from frontier.curves import CURVES, HILL, LINEAR, POWER
from frontier.engine.objective import RELATIVE_FLOOR

ERRORS = ("additive", "log", "relative")
TIGHT = {"method": "lm", "xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 2000}


def height(curve, theta, u):
    """The curve written out again: top * h(a + b u)."""
    a, b, log_top = theta
    z = a + b * u
    return np.exp(log_top) * {"hill": expit, "power": np.exp, "linear": lambda v: v}[curve.name](z)


def simulated(low, high, points, noise, sets, seed, n=1.1):
    """Hill curves (k = 1) from `low` to `high` over equally spaced log x, lognormal noise; u, y."""
    log_x = np.linspace(logit(low), logit(high), points) / n
    u = log_x - log_x.mean()
    y = expit(n * log_x)[:, None] * np.exp(
        noise * np.random.default_rng(seed).standard_normal((points, sets))
    )
    return u[:, None], y


def tangents(curve, theta, u):
    """Derivatives of `height` by a, b and log top, one row each."""
    f = height(curve, theta, u)
    slope = {"hill": f * (1 - f / np.exp(theta[2])), "power": f, "linear": np.ones_like(f)}[curve.name]
    return np.stack([slope, slope * u, f])


def scipy_best(curve, u, y, errors, starts, free=(0, 1), fixed=(0.0, 0.0, 0.0), weights=1.0):
    """Least rss over several starts of scipy's Levenberg-Marquardt (MINPACK), and its theta."""
    free, root = list(free), np.sqrt(weights)

    def whole(part):
        theta = np.array(fixed, dtype=float)
        theta[free] = part
        return theta

    def residual(part):
        f = height(curve, whole(part), u)
        return np.nan_to_num((np.log(y) - np.log(f) if errors == "log" else y - f) * root, nan=1e6)

    def jacobian(part):
        slopes = tangents(curve, whole(part), u)[free]
        return -np.nan_to_num(
            slopes / height(curve, whole(part), u) if errors == "log" else slopes
        ).T * np.reshape(root, (-1, 1))

    with np.errstate(all="ignore"):
        ends = [least_squares(residual, np.array(s, float)[free], jacobian, **TIGHT) for s in starts]
    best = min(ends, key=lambda end: end.cost)
    return 2 * best.cost, whole(best.x)


def starts_for(curve, y):
    """Three plain starts that know nothing of the engine's."""
    middle = float(np.exp(np.mean(np.log(np.abs(y)))))
    a = {"hill": logit(min(middle, 0.9)), "power": np.log(middle), "linear": middle}[curve.name]
    return [(a, 1.0, 0.0), (a, 3.0, 0.0), (a + 0.5, 0.3, 0.0)]


# Equality with scipy


@pytest.mark.parametrize("errors", ["additive", "log"])
@pytest.mark.parametrize("curve", [HILL, POWER, LINEAR], ids=lambda c: c.name)
def test_best_optimum_as_scipy(curve, errors):
    for low, high in ((0.05, 0.85), (0.005, 0.1)):
        u, y = simulated(low, high, 8, 0.1, 12, seed=1)
        if curve is LINEAR:
            u = np.exp(u)
        found = engine.solve(curve, u, y, errors=errors)
        for column in range(y.shape[1]):
            rss, theta = scipy_best(curve, u[:, 0], y[:, column], errors, starts_for(curve, y[:, column]))
            # 1e-10: the rss is flat at the optimum, so both solvers know it far better than the parameters
            assert found.rss[column] == pytest.approx(rss, rel=1e-10)
            # MINPACK stops when the rss stands still, which leaves about its square root in the parameters
            assert_allclose(found.theta[:, column], theta, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("errors", ["additive", "log"])
def test_free_top_as_scipy(errors):
    u, y = simulated(0.05, 0.95, 10, 0.03, 10, seed=2)
    y = 0.4 * y
    found = engine.solve(HILL, u, y, errors=errors, free=(True,) * 3, theta=np.full((3, 10), np.nan))
    for column in range(10):
        starts = [(0.0, 1.0, np.log(t)) for t in (0.3, 0.5, 2.0)] + [(0.0, 3.0, np.log(0.5))]
        rss, theta = scipy_best(HILL, u[:, 0], y[:, column], errors, starts, free=(0, 1, 2))
        assert found.rss[column] == pytest.approx(rss, rel=1e-10)
        assert_allclose(found.theta[:, column], theta, rtol=1e-4, atol=1e-4)


def test_free_top_far_above_the_data():
    # y stays below a tenth of the top: the valley between k and top, where 225 of 500 fits used to be lost
    u, y = simulated(0.005, 0.1, 6, 0.02, 200, seed=3)
    free, unknown = (True,) * 3, np.full((3, 200), np.nan)
    found = engine.solve(HILL, u, y, free=free, theta=unknown)
    rng = np.random.default_rng(0)
    for _ in range(4):  # no other start may find an optimum that was missed, or a better one
        start = np.stack(
            [rng.normal(-4, 2, 200), np.exp(rng.normal(0, 0.5, 200)), rng.exponential(1.5, 200) - 1]
        )
        other = engine.solve(HILL, u, y, free=free, theta=start)
        best = np.where(found.converged, found.rss, np.inf)
        missed = other.converged & (other.rss < best * (1 - 1e-8))
        assert missed.sum() <= 4  # one in fifty, all of them with a top of more than 50 times the data


@pytest.mark.parametrize("curve", [HILL, POWER], ids=lambda c: c.name)
def test_relative_errors_as_reweighted_scipy(curve):
    u, y = simulated(0.02, 0.5, 9, 0.15, 6, seed=4)
    y[0, 3] = -0.001  # relative errors are there for values that have no logarithm
    found = engine.solve(curve, u, y, errors="relative")
    assert found.converged.all()
    for column in range(6):
        floor = RELATIVE_FLOOR * np.abs(y[:, column]).max()
        theta, weights = np.array(starts_for(curve, y[:, column])[0]), np.ones(9)
        for _ in range(300):
            before = theta
            _, theta = scipy_best(curve, u[:, 0], y[:, column], "additive", [theta], weights=weights)
            weights = 1 / np.maximum(height(curve, theta, u[:, 0]), floor) ** 2
            if np.abs(theta - before).max() < 1e-9:
                break
        assert_allclose(found.theta[:, column], theta, rtol=1e-5, atol=1e-5)
        assert_allclose(found.weights[:, column], weights, rtol=1e-4)


def test_relative_errors_where_the_floor_holds():
    # one fitted value below a thousandth of the largest y: its weight is that of the floor
    u = np.log(np.array([1e-4, 0.1, 0.2, 0.5, 1.0]))[:, None]
    y = np.array([-1e-3, 0.09, 0.21, 0.48, 1.03])[:, None]
    found = engine.solve(POWER, u, y, errors="relative")
    floor = 1e-3 * 1.03
    fitted = height(POWER, found.theta[:, 0], u[:, 0])
    assert fitted[0] < floor < fitted[1]
    assert_allclose(found.weights[:, 0], 1 / np.maximum(fitted, floor) ** 2, rtol=1e-12)
    slopes = np.stack([fitted, fitted * u[:, 0]])
    # the reweighted normal equations hold
    assert_allclose(
        slopes @ (found.weights[:, 0] * (y[:, 0] - fitted)), 0, atol=1e-10 * np.abs(slopes).max() / floor
    )


def test_line_is_the_closed_form():
    # np.polyfit solves the normal equations; weights there multiply residuals, here squares
    rng = np.random.default_rng(5)
    x, y, w = rng.uniform(0, 3, 12), rng.normal(size=12), rng.uniform(0.5, 2, 12)
    found = engine.solve(LINEAR, x[:, None], y[:, None], w[:, None])
    assert_allclose(found.theta[1::-1, 0], np.polyfit(x, y, 1, w=np.sqrt(w)), rtol=1e-11)


def test_power_in_logs_is_a_straight_line():
    rng = np.random.default_rng(6)
    u, y = rng.normal(size=9), np.exp(rng.normal(size=9))
    found = engine.solve(POWER, u[:, None], y[:, None], errors="log")
    assert_allclose(found.theta[1::-1, 0], np.polyfit(u, np.log(y), 1), rtol=1e-12)


# The start target of FITTING.md, section 7


@pytest.mark.parametrize("points", [6, 10])
@pytest.mark.parametrize("low,high", [(0.005, 0.1), (0.0005, 0.01)])
@pytest.mark.parametrize("errors", ["additive", "log"])
def test_low_range_starts(low, high, points, errors):
    # 1,000 sets converge; scipy, 0.1 s a set, looks at every 80th (all 1,000 were compared once: 100 %)
    u, y = simulated(low, high, points, 0.1, 1000, seed=7)
    found = engine.solve(HILL, u, y, errors=errors)
    assert found.converged.all()
    for column in range(0, 1000, 80):
        rss, _ = scipy_best(HILL, u[:, 0], y[:, column], errors, starts_for(HILL, y[:, column]))
        assert found.rss[column] <= rss * (1 + 1e-8)


def test_second_start_when_points_exceed_the_top():
    # y above 1 can make two minima (about 1 set in 20,000 at 20 % noise): scipy, started steep and flat
    u, y = simulated(0.3, 0.99, 6, 0.2, 1000, seed=3)
    y = y[:, [669]]
    steep, flat = (scipy_best(HILL, u[:, 0], y[:, 0], "log", [s])[0] for s in ((5, 2.5, 0), (2, 1, 0)))
    assert steep < flat * 0.99
    assert engine.solve(HILL, u, y, errors="log").rss[0] == pytest.approx(steep, rel=1e-10)


@pytest.mark.parametrize(
    "errors,noise,points", [("additive", 0.02, 6), ("relative", 0.1, 6), ("log", 0.1, 10)]
)
def test_a_top_beyond_all_data_is_not_an_estimate(errors, noise, points):
    # at 1e8 times the data a further rise of the top changes y by rounding: no minimum there can be trusted
    u, y = simulated(0.005, 0.1, points, noise, 1500, seed=3)
    found = engine.solve(HILL, u, y, errors=errors, free=(True,) * 3, theta=np.full((3, 1500), np.nan))
    assert found.converged.sum() > 700
    assert np.nanmax(found.theta[2] - np.log(y.max(axis=0))) < np.log(1e8)


# Fixed parameters, weights, padding, blocks


@pytest.mark.parametrize("errors", ["additive", "log"])
@pytest.mark.parametrize(
    "curve,free,fixed",
    [
        (HILL, (0,), (0.0, 1.0, 0.0)),  # n = 1
        (HILL, (1,), (0.0, 0.0, 0.0)),  # k fixed at exp(centre)
        (HILL, (0, 1), (0.0, 0.0, np.log(0.9))),  # another top
        (HILL, (1, 2), (-0.5, 0.0, 0.0)),
        (HILL, (0, 2), (0.0, 1.2, 0.0)),
        (POWER, (0,), (0.0, 0.8, 0.0)),
        (POWER, (1,), (-0.7, 0.0, 0.0)),
        (LINEAR, (0,), (0.0, 0.2, 0.0)),
        (LINEAR, (1,), (0.0, 0.0, 0.0)),  # through zero
    ],
)
def test_fixed_parameters_as_scipy(curve, free, fixed, errors):
    u, y = simulated(0.1, 0.8, 8, 0.1, 4, seed=9)
    u = np.exp(u) if curve is LINEAR else u
    theta = np.array([[np.nan if i in free else fixed[i]] * 4 for i in range(3)])
    found = engine.solve(curve, u, y, errors=errors, free=tuple(i in free for i in range(3)), theta=theta)
    starts = [(a, b, t) for a in (-1.0, 0.5) for b in (0.5, 2.0) for t in (-0.1, 0.5)]
    for column in range(4):
        rss, _ = scipy_best(curve, u[:, 0], y[:, column], errors, starts, free=free, fixed=fixed)
        assert found.rss[column] == pytest.approx(rss, rel=1e-10)
        held = [i for i in range(3) if i not in free]
        assert_array_equal(found.theta[held, column], np.array(fixed)[held])


@pytest.mark.parametrize("errors", ["log", "relative"])
def test_a_line_of_fixed_slope_starts_where_it_is_positive(errors):
    """The middle of y less slope times that of u puts this line below 0 at the first points."""
    u, y = np.linspace(-2, 2, 5)[:, None], np.array([0.5, 0.4, 1.1, 1.9, 3.2])[:, None]
    theta = np.array([[np.nan], [1.0], [0.0]])
    found = engine.solve(LINEAR, u, y, errors=errors, free=(True, False, False), theta=theta)

    def objective(a):  # sum of squared logs; quasi-likelihood of a variance like the square of the mean
        f = a + u
        return float(((np.log(y / f)) ** 2).sum() if errors == "log" else (y / f + np.log(f)).sum())

    best = minimize_scalar(objective, bounds=(2.0 + 1e-9, 20), method="bounded", options={"xatol": 1e-10})
    assert found.converged[0] and (found.theta[0] + u > 0).all()
    assert found.theta[0, 0] == pytest.approx(best.x, abs=1e-6)


def test_nothing_free_is_an_evaluation():
    u, y = simulated(0.1, 0.8, 5, 0.1, 3, seed=10)
    theta = np.array([[0.1] * 3, [1.1] * 3, [0.0] * 3])
    found = engine.solve(HILL, u, y, free=(False,) * 3, theta=theta)
    assert found.converged.all()
    assert_allclose(found.rss, ((y - height(HILL, theta[:, :1], u)) ** 2).sum(0), rtol=1e-14)


@pytest.mark.parametrize("errors", ERRORS)
def test_a_weight_of_two_is_the_point_twice(errors):
    u, y = simulated(0.02, 0.5, 7, 0.1, 5, seed=11)
    weights = np.ones_like(y)
    weights[2] = 2.0
    once = engine.solve(HILL, u, y, weights, errors=errors)
    twice = engine.solve(HILL, np.r_[u, u[2:3]], np.r_[y, y[2:3]], errors=errors)
    assert_allclose(once.theta, twice.theta, rtol=1e-9)
    assert_allclose(once.rss, twice.rss, rtol=1e-12)
    assert_allclose(once.information, twice.information, rtol=1e-9)


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("filler", [0.3, -1.0, np.nan, np.inf])
def test_points_of_weight_zero_do_not_count(errors, filler):
    u, y = simulated(0.02, 0.5, 7, 0.1, 5, seed=12)
    plain = engine.solve(HILL, u, y, errors=errors)
    weights = np.r_[np.ones_like(y), np.zeros((3, 5))]
    padded = engine.solve(HILL, np.r_[u, u[:3]], np.r_[y, np.full((3, 5), filler)], weights, errors=errors)
    assert_allclose(padded.theta, plain.theta, rtol=1e-10)
    assert_allclose(padded.rss, plain.rss, rtol=1e-12)


@pytest.mark.parametrize("errors", ERRORS)
def test_an_answer_does_not_depend_on_the_batch(errors):
    size = engine.BLOCK // 6
    u, y = simulated(0.02, 0.7, 6, 0.3, size + 3, seed=13)
    together = engine.solve(HILL, u, y, errors=errors)
    assert together.theta.shape == (3, size + 3)
    for column in (0, 1, size - 1, size, size + 2):
        alone = engine.solve(HILL, u, y[:, [column]], errors=errors)
        # NumPy sums one column in another order, so equal to rounding, not to the bit
        assert_allclose(together.theta[:, column], alone.theta[:, 0], rtol=1e-9, atol=1e-12)
        assert_allclose(together.rss[column], alone.rss[0], rtol=1e-12)


def test_one_abscissa_for_all_or_one_for_each():
    u, y = simulated(0.02, 0.7, 6, 0.1, 4, seed=14)
    shared = engine.solve(HILL, u, y)
    own = engine.solve(HILL, np.repeat(u, 4, axis=1), y)
    assert_allclose(shared.theta, own.theta, rtol=1e-12)


def test_no_replicates_at_all():
    found = engine.solve(HILL, np.zeros((4, 1)), np.zeros((4, 0)))
    assert found.theta.shape == (3, 0)
    assert found.converged.shape == (0,)


def test_a_bad_start_is_replaced():
    u, y = simulated(0.02, 0.7, 6, 0.1, 4, seed=15)
    bad = np.array([[300.0] * 4, [-500.0] * 4, [0.0] * 4])
    assert_allclose(engine.solve(HILL, u, y, theta=bad).rss, engine.solve(HILL, u, y).rss, rtol=1e-12)


def test_replaced_takes_columns():
    u, y = simulated(0.02, 0.7, 6, 0.1, 4, seed=16)
    all_four, last = engine.solve(HILL, u, y), engine.solve(HILL, u, 2 * y[:, 3:])
    mixed = all_four.replaced(np.array([1]), last)
    assert_array_equal(mixed.theta[:, 1], last.theta[:, 0])
    assert_array_equal(mixed.theta[:, 0], all_four.theta[:, 0])


# What a solution reports


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("curve", [HILL, POWER, LINEAR], ids=lambda c: c.name)
def test_gradient_and_information_by_finite_differences(curve, errors):
    u, y = simulated(0.1, 0.8, 8, 0.1, 1, seed=17)
    u = np.exp(u) if curve is LINEAR else u
    found = engine.solve(curve, u, y, errors=errors)
    theta, w = found.theta[:, 0], found.weights[:, 0]
    size = 3 if curve.has_top else 2

    def fitted(t):
        f = height(curve, t, u[:, 0])
        return np.log(f) if errors == "log" else f

    step = 1e-5 * np.eye(3)
    jacobian = np.stack([(fitted(theta + s) - fitted(theta - s)) / 2e-5 for s in step])[:size]
    residual = (np.log(y[:, 0]) if errors == "log" else y[:, 0]) - fitted(theta)
    assert found.rss[0] == pytest.approx(w @ residual**2, rel=1e-12)
    # central differences of step 1e-5 are good to about 1e-10 of the largest entry
    information = (jacobian * w) @ jacobian.T
    assert_allclose(found.information[:size, :size, 0], information, atol=1e-8 * information.max())
    scale = np.sqrt(found.rss[0] * np.diag(information))
    assert_allclose(found.gradient[:size, 0], -2 * (jacobian * w) @ residual, atol=1e-8 * scale.max())


def stationary(curve, u, y, weights, errors, found):
    """Cosine between residual and each tangent, and the residual's share of y; written without the engine."""
    u, y = np.where(weights > 0, u, u[0]), np.where(weights > 0, y, y[0])
    value = height(curve, found.theta, u)
    target, slopes = y, tangents(curve, found.theta, u)
    if errors == "log":
        target, slopes, value = np.log(y), slopes / value, np.log(value)
    if errors == "relative":
        largest = np.abs(y * (weights > 0)).max(axis=0)
        weights = weights / np.maximum(value, RELATIVE_FLOOR * largest) ** 2
    length = np.sqrt((weights * (target - value) ** 2).sum(0))
    along = (weights * (target - value) * slopes).sum(1) / np.sqrt((weights * slopes**2).sum(1))
    size = np.sqrt((weights * (target**2 + (errors == "log"))).sum(0))
    return np.abs(along) / length, length / size


MIXED = [(HILL, False), (HILL, True), (POWER, False), (LINEAR, False)]


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize(
    "curve,free_top", MIXED, ids=lambda v: getattr(v, "name", "free top" if v else "top 1")
)
def test_converged_means_stationary(curve, free_top, errors):
    # 12 x 8,400: about 100,000 fits of 3 to 12 points; noise 1 to 60 %, rising, flat and falling data,
    # a few values below zero where the errors model takes them
    sets, points = 8400, 12
    rng = np.random.default_rng(18)
    u = np.sort(rng.normal(0, rng.uniform(0.2, 3, sets), (points, sets)), axis=0)
    truth = np.stack([rng.normal(-2, 2, sets), rng.normal(1, 1, sets), np.zeros(sets)])
    base = CURVES["hill"] if curve is HILL else POWER
    y = np.maximum(height(base, truth, u), 1e-9)
    y *= np.exp(rng.uniform(0.01, 0.6, sets) * rng.standard_normal(y.shape))
    if errors != "log":
        y = np.where(rng.random(y.shape) < 0.01, -0.1 * y, y)
    weights = (np.arange(points)[:, None] < rng.integers(3, points + 1, sets)).astype(float)
    theta = np.full((3, sets), np.nan)
    theta[2] = np.nan if free_top else 0.0
    found = engine.solve(curve, u, y, weights, errors=errors, free=(True, True, free_top), theta=theta)

    ok = found.converged
    for values in (found.theta, found.rss, found.gradient, found.information):
        assert np.isfinite(values[..., ok]).all()
        assert np.isnan(values[..., ~ok]).all()
    with np.errstate(all="ignore"):
        cosine, closeness = stationary(curve, u, y, weights, errors, found)
    count = 3 if free_top else 2
    # 1e-6: DECREMENT allows about 1e-7; residuals that are rounding point nowhere
    at_rest = (cosine[:count] < 1e-6).all(axis=0) | (closeness < 1e-12)
    assert at_rest[ok].all()
    # two parameters nearly always have an optimum; a free top often has not (it runs off to a power law)
    assert ok.mean() > (0.4 if free_top else 0.9)


# Data without an answer


STEP = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
SIX = np.linspace(-2, 2, 6)
DEGENERATE = {
    "constant": np.full(6, 0.3),
    "zero": np.zeros(6),
    "falling": np.linspace(0.9, 0.1, 6),
    "step": STEP,
    "soft step": 0.98 * STEP + 0.01,
    "one point up": np.array([0.0, 0, 0, 0, 0, 1]),
    "negative": -np.linspace(0.1, 0.9, 6),
    "some negative": np.array([-0.1, 0.0, 0.1, 0.2, 0.4, 0.7]),
    "above the top": np.array([0.5, 0.9, 1.5, 2.0, 3.0, 5.0]),
    "tiny": 1e-12 * np.linspace(0.1, 0.9, 6),
    "huge": 1e12 * np.linspace(0.1, 0.9, 6),
    "all scales": 10.0 ** np.linspace(-12, 12, 6),
    "missing": np.array([0.1, np.nan, 0.2, 0.3, 0.4, 0.5]),
    "infinite": np.array([0.1, np.inf, 0.2, 0.3, 0.4, 0.5]),
}


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("free_top", [False, True], ids=["top 1", "free top"])
def test_degenerate_data(name, free_top):
    y = DEGENERATE[name]
    for u in (SIX, np.repeat([-1.0, 1.0], 3), np.zeros(6), 1e-9 * SIX, 1e6 * SIX):
        for curve in (HILL,) if free_top else (HILL, POWER, LINEAR):
            for errors in ERRORS:
                theta = np.array([[np.nan], [np.nan], [np.nan if free_top else 0.0]])
                found = engine.solve(
                    curve, u[:, None], y[:, None], errors=errors, free=(True, True, free_top), theta=theta
                )
                if not found.converged[0]:
                    assert np.isnan(found.theta).all()
                    continue
                with np.errstate(all="ignore"):
                    cosine, closeness = stationary(
                        curve, u[:, None], y[:, None], np.ones((6, 1)), errors, found
                    )
                cosine = np.nan_to_num(cosine[: 3 if free_top else 2])
                # u of 1e6 makes b matter a million times less: its tangent is known to 1e-10 only
                assert closeness[0] < 1e-12 or (cosine < 1e-6).all(), (u, curve.name, errors)


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("name", ["missing", "infinite", "step", "one point up"])
def test_no_optimum_is_not_converged(name, errors):
    found = engine.solve(HILL, SIX[:, None], DEGENERATE[name][:, None], errors=errors)
    assert not found.converged[0]


def test_infimum_counts_when_asked():
    # n held at 1,000 on a step: k slides freely between the points, and the rss is that of 0 and 1 beside it
    y = np.array([0.02, 0.05, 0.03, 0.97, 0.94, 0.98])
    theta, held = np.array([[0.0], [1000.0], [0.0]]), (True, False, False)
    strict = engine.solve(HILL, SIX[:, None], y[:, None], free=held, theta=theta)
    found = engine.solve(HILL, SIX[:, None], y[:, None], free=held, theta=theta, infimum=True)
    assert not strict.converged[0]
    assert found.converged[0]
    assert found.rss[0] == pytest.approx(((y - STEP) ** 2).sum(), rel=1e-9)


def test_infimum_changes_no_minimum():
    u, y = simulated(0.02, 0.7, 6, 0.1, 50, seed=20)
    asked, plain = (engine.solve(HILL, u, y, infimum=flag) for flag in (True, False))
    assert_array_equal(asked.theta, plain.theta)


def test_nonpositive_y_has_no_logarithm():
    found = engine.solve(HILL, SIX[:, None], DEGENERATE["some negative"][:, None], errors="log")
    assert not found.converged[0]


def test_top_at_infinity_is_not_converged():
    # a power law with curvature upwards: the Hill fit improves for ever as the top rises
    y = 0.01 * np.exp(0.8 * SIX + 0.05 * SIX**2)
    found = engine.solve(HILL, SIX[:, None], y[:, None], free=(True,) * 3, theta=np.full((3, 1), np.nan))
    assert not found.converged[0]


def test_same_x_everywhere_cannot_be_fitted():
    found = engine.solve(HILL, np.zeros((5, 1)), np.linspace(0.1, 0.2, 5)[:, None])
    assert not found.converged[0]


def test_an_empty_column_is_not_converged():
    u, y = simulated(0.02, 0.7, 6, 0.1, 3, seed=21)
    weights = np.ones_like(y)
    weights[:, 1] = 0.0
    for top in (0.0, np.nan):
        theta = np.array([[np.nan] * 3, [np.nan] * 3, [top] * 3])
        found = engine.solve(HILL, u, y, weights, free=(True, True, bool(np.isnan(top))), theta=theta)
        assert_array_equal(found.converged, [True, False, True])


def test_fewer_points_than_parameters():
    theta = np.full((3, 1), np.nan)
    found = engine.solve(
        HILL, np.array([[-1.0], [1.0]]), np.array([[0.1], [0.2]]), free=(True,) * 3, theta=theta
    )
    assert not found.converged[0]


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
def test_scales(errors, scale):
    # scaling y scales the power law's and the line's height, and leaves the exponent alone
    u, y = simulated(0.02, 0.5, 7, 0.1, 3, seed=19)
    for curve, shape in ((POWER, 1), (HILL, 1)):
        theta = np.full((3, 3), np.nan)
        theta[2] = 0.0 if curve is POWER else np.log(scale)
        reference = engine.solve(curve, u, y, errors=errors)
        scaled = engine.solve(curve, u, scale * y, errors=errors, theta=theta)
        assert_allclose(scaled.theta[shape], reference.theta[shape], rtol=1e-8)


def test_perfect_data_give_the_truth():
    truth = np.array([[-1.3], [0.8], [0.0]])
    u = SIX[:, None]
    for curve in (HILL, POWER):
        for errors in ERRORS:
            found = engine.solve(curve, u, height(curve, truth, u), errors=errors)
            assert_allclose(found.theta[:2], truth[:2], rtol=1e-12)
            assert found.rss[0] < 1e-28
