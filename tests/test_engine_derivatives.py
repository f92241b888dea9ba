"""What the engine minimises against its definition, and its derivatives against differences of it."""

from types import SimpleNamespace

import numpy as np
import pytest

from frontier.curves import HILL, POWER
from frontier.engine.newton import DECREMENT, FLAT, _flat, _verdict
from frontier.engine.objective import (
    GRADIENT,
    HESSIAN,
    INFORMATION,
    RELATIVE_FLOOR,
    Task,
    from_search,
    search_sums,
    sums,
    to_search,
)  # fmt: skip
from frontier.errors import ADDITIVE, LOG, RELATIVE, TwoComponent

THETA = np.array([[-0.3], [0.9], [-0.1]])
ERRORS = {"additive": ADDITIVE, "log": LOG, "two_component": TwoComponent(0.05), "relative": RELATIVE}


def task(curve, errors, top):
    """Twelve points with weights and 20 % noise, so that no residual is near 0."""
    rng = np.random.default_rng(1)
    u = np.linspace(-2.0, 2.0, 12)[:, None]
    y = np.exp(THETA[2]) * curve.link(THETA[0] + THETA[1] * u)[0] * np.exp(0.2 * rng.standard_normal((12, 1)))
    return Task.of(curve, errors, (True, True, top), u, y, rng.uniform(0.5, 2.0, (12, 1)))


def by_definition(given, theta):
    """Half the weighted squares on the errors' scale; for relative errors the quasi-likelihood."""
    f = np.exp(theta[2]) * given.curve.link(theta[0] + theta[1] * given.u)[0]
    if given.errors is RELATIVE:
        # y / f + log f, less its least value at f = y
        return float((given.w * (given.y / f + np.log(f) - 1 - np.log(given.y))).sum())
    return float((given.w * (given.errors.scale(given.y) - given.errors.scale(f)) ** 2).sum()) / 2


def differences(function, at, step=1e-5):
    """Derivatives of a function of (3, 1) by each entry."""
    return np.array([
        (function(at + step * e[:, None]) - function(at - step * e[:, None])) / (2 * step) for e in np.eye(3)
    ])  # fmt: skip


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("curve", [HILL, POWER], ids=["hill", "power"])
def test_the_objective_and_its_derivatives(curve, errors):
    top = curve.has_top
    given = task(curve, ERRORS[errors], top)
    theta = THETA + np.array([[0.1], [-0.2], [0.15 if top else 0.1]])
    found, free = sums(given, theta, top=top), range(3 if top else 2)
    assert found[0] == pytest.approx(by_definition(given, theta), rel=1e-9)
    gradient = differences(lambda t: by_definition(given, t), theta)
    own = np.array([found[GRADIENT[i], 0] for i in free])
    assert own == pytest.approx(gradient[list(free)], rel=1e-6)
    for i in free:
        row = differences(lambda t, i=i: sums(given, t, top=top)[GRADIENT[i], 0], theta)
        assert [found[HESSIAN[i][j], 0] for j in free] == pytest.approx(row[list(free)], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("errors", ["additive", "log", "two_component"])
def test_the_information_is_that_of_the_slopes(errors):
    given = task(HILL, ERRORS[errors], True)
    found = sums(given, THETA, top=True)

    def fitted(theta):
        f = np.exp(theta[2]) * HILL.link(theta[0] + theta[1] * given.u)[0]
        return given.errors.scale(f)[:, 0]

    slopes = differences(fitted, THETA)
    expected = np.einsum("in,n,jn->ij", slopes, given.w[:, 0], slopes)
    assert found[np.array(INFORMATION), 0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("errors", ERRORS)
def test_along_the_search_the_derivatives_are_those_of_the_same_objective(errors):
    given = task(HILL, ERRORS[errors], True)
    place = to_search(given, THETA) + np.array([[0.1], [-0.1], [0.2]])
    np.testing.assert_allclose(from_search(given, to_search(given, THETA)), THETA, rtol=1e-12)
    # the third number is the log of the curve's height at the anchor
    at = np.exp(THETA[2]) * HILL.link(THETA[0] + THETA[1] * given.anchor)[0]
    assert to_search(given, THETA)[2] == pytest.approx(np.log(at), rel=1e-9)
    found = search_sums(given, place)
    gradient = differences(lambda p: by_definition(given, from_search(given, p)), place)
    assert [found[i, 0] for i in GRADIENT] == pytest.approx(gradient, rel=1e-6, abs=1e-8)
    for i in range(3):
        row = differences(lambda p, i=i: search_sums(given, p)[GRADIENT[i], 0], place)
        assert [found[j, 0] for j in HESSIAN[i]] == pytest.approx(row, rel=1e-5, abs=1e-7)


def test_points_of_weight_zero_may_hold_any_numbers():
    given = task(HILL, ADDITIVE, True)
    u, y, w = (np.r_[v, v[:1]] for v in (given.u, given.y, given.w))
    u[-1], y[-1], w[-1] = 1e6, -1e6, 0.0
    more = Task.of(HILL, ADDITIVE, (True, True, True), u, y, w)
    np.testing.assert_allclose(sums(more, THETA, top=True), sums(given, THETA, top=True), rtol=1e-12)
    for name in ("peak", "anchor", "floor"):
        assert getattr(more, name) == pytest.approx(getattr(given, name))
    assert given.floor == pytest.approx(RELATIVE_FLOOR * given.y.max())
    # the mean of u by the weight in the sum of squares
    assert given.anchor == pytest.approx(
        (given.w * given.y**2 * given.u).sum() / (given.w * given.y**2).sum()
    )


def test_flat_is_where_parameters_moved_by_their_own_size_change_nothing():
    total = np.zeros((17, 4))
    total[1] = 2.0
    place = np.array([[0.0, 0.0, 3.0, -3.0]])
    total[GRADIENT[0]] = np.array([0.9, 1.1, 0.26, -0.24]) * FLAT * 2.0
    given = SimpleNamespace(free=(0,))
    assert _flat(given, place, total).tolist() == [True, False, False, True]


def test_a_search_ends_where_a_step_promises_little_and_moves_little():
    """Columns: enough, too much promised, damped, run off, damped without end, no lower a, undecided."""
    given = SimpleNamespace(noise=np.zeros(7))
    total = np.zeros((17, 7))
    total[1], total[2], total[4, 5] = 2.0, -9.0, -np.inf
    goal = 1e-3
    promise = 2.0 * np.array([0.9 * goal, 1.1 * goal, 0.0, 0.9 * DECREMENT, 1.0, 1.0, 0.9 * goal])
    damping = np.array([0, 0, 0.1, 0, 1e11, 0, 0])
    step = np.array([[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]])
    calm, lost = _verdict(given, np.zeros((1, 7)), total, step, promise, damping, goal)
    assert calm.tolist() == [True, False, False, False, False, False, False]
    assert lost.tolist() == [False, False, False, True, True, True, False]
