"""Curves as functions: closed forms, limits, inverses, derivatives of the links."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from frontier.curves import (
    CURVES,
    DEFAULT_FIXED,
    HILL,
    LINEAR,
    POWER,
    curve_named,
    hill,
    linear,
    power,
    weighted_line,
)
from frontier.problems import Problem

EVERY = pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
positive = st.floats(1e-6, 1e6)
steepness = st.floats(0.2, 5.0)


# Values


def test_half_way_at_k():
    # by definition; 0.4 is half of 0.8
    assert_allclose(hill(3.0, k=3.0, n=np.array([0.3, 1.0, 7.0]), top=0.8), 0.4, rtol=1e-15)


def test_hill_as_written_in_its_formula():
    x = np.array([0.001, 0.02, 1.0, 30.0])
    assert_allclose(hill(x, 0.5, 1.3, 0.9), 0.9 * x**1.3 / (0.5**1.3 + x**1.3), rtol=1e-14)


def test_hill_limits():
    # far below k it is the power law (x / k)^n, far above it is the top
    assert_allclose(hill(1e-30, k=2.0, n=1.5), (1e-30 / 2.0) ** 1.5, rtol=1e-14)
    assert hill(1e300, k=2.0, n=1.5, top=0.7) == 0.7
    assert hill(1e-300, k=1e300, n=3.0) == 0.0


@given(x=positive, k=positive, n=steepness, c=st.floats(1e-3, 1e3))
def test_scaling_x_scales_k(x, k, n, c):
    # rounding of log x is multiplied by n times its size, below 5 * 21
    assert_allclose(hill(c * x, c * k, n), hill(x, k, n), rtol=1e-12)


@given(x=positive, scale=positive, exponent=steepness, c=st.floats(1e-3, 1e3))
def test_scaling_x_scales_the_power_law(x, scale, exponent, c):
    assert_allclose(power(c * x, scale / c**exponent, exponent), power(x, scale, exponent), rtol=1e-12)


def test_line_and_power_law():
    assert_allclose(linear([0.0, 2.0], slope=3.0, intercept=1.0), [1.0, 7.0])
    assert linear(2.0, 3.0) == 6.0  # through zero unless said otherwise
    assert_allclose(power([1.0, 4.0], scale=2.0, exponent=0.5), [2.0, 4.0])


def test_arrays_of_parameters_broadcast():
    assert hill(np.ones((5, 1)), k=np.ones(3), n=2.0).shape == (5, 3)


def test_value_takes_its_own_parameters_only():
    parameters = {"k": 2.0, "n": 1.0, "top": 1.0, "slope": 9.0}
    assert HILL.value(2.0, parameters) == 0.5


# Inverses


@given(share=st.floats(1e-6, 1 - 1e-6), k=positive, n=steepness, top=st.floats(0.01, 10))
def test_inverse_undoes_hill(share, k, n, top):
    parameters = {"k": k, "n": n, "top": top}
    x = HILL.x_at(share * top, parameters)
    # near the top an error of 1e-16 in y is 1e-16 / (1 - share) in its odds
    assert_allclose(HILL.value(x, parameters), share * top, rtol=1e-12)
    assert_allclose(x, k * (share / (1 - share)) ** (1 / n), rtol=1e-8)


@given(x=positive, scale=positive, exponent=steepness)
def test_inverse_undoes_power(x, scale, exponent):
    parameters = {"scale": scale, "exponent": exponent}
    assert_allclose(POWER.x_at(POWER.value(x, parameters), parameters), x, rtol=1e-10)


@given(x=st.floats(-1e6, 1e6), slope=st.floats(0.01, 100), intercept=st.floats(-100, 100))
def test_inverse_undoes_line(x, slope, intercept):
    parameters = {"slope": slope, "intercept": intercept}
    assert_allclose(LINEAR.x_at(LINEAR.value(x, parameters), parameters), x, rtol=1e-9, atol=1e-9)


def test_heights_that_are_never_reached():
    hill_parameters = {"k": 1.0, "n": 1.0, "top": 0.8}
    found = HILL.x_at([-0.1, 0.0, 0.4, 0.8, 0.9], hill_parameters)
    assert_allclose(found, [np.nan, np.nan, 1.0, np.nan, np.nan], rtol=1e-14)
    assert np.isnan(POWER.x_at(-1.0, {"scale": 1.0, "exponent": 2.0}))
    assert np.isnan(LINEAR.x_at(2.0, {"slope": 0.0, "intercept": 1.0}))


def test_falling_curves_have_inverses_too():
    assert_allclose(HILL.x_at(0.2, {"k": 2.0, "n": -1.0, "top": 1.0}), 8.0)  # 2 * (1/4)^(1/-1)
    assert_allclose(LINEAR.x_at(1.0, {"slope": -2.0, "intercept": 5.0}), 2.0)


# Links


@EVERY
@pytest.mark.parametrize("kind", ["link", "log_link"])
def test_link_derivatives(curve, kind):
    z = np.linspace(0.2, 4, 15) if curve is LINEAR else np.linspace(-6, 6, 25)
    link, step = getattr(curve, kind), 1e-5
    value, first, second = link(z)
    (up, up1, _), (down, down1, _) = link(z + step), link(z - step)
    # central differences: h^2 / 6 of the third derivative and 1e-16 / h of rounding, below 1e-9
    assert_allclose(first, (up - down) / (2 * step), atol=1e-8)
    assert_allclose(second, (up1 - down1) / (2 * step), atol=1e-8)
    assert value.shape == first.shape == second.shape == z.shape


@EVERY
def test_log_link_is_the_logarithm(curve):
    z = np.linspace(0.1, 5, 9)
    assert_allclose(curve.log_link(z)[0], np.log(curve.link(z)[0]), rtol=1e-12, atol=1e-15)


def test_log_link_of_hill_in_the_tails():
    # log h = z - log(1 + e^z): z itself far below, -e^-z far above; its derivative is 1 - h, then -h (1 - h)
    for z in (-700.0, -300.0, -40.0):
        value, first, second = HILL.log_link(np.array([z]))
        assert_allclose([value[0], first[0]], [z, 1.0], rtol=1e-15)
        assert_allclose(second, -np.exp(z), atol=1e-15)
    for z in (40.0, 300.0, 700.0):
        value, first, second = HILL.log_link(np.array([z]))
        assert_allclose([value[0], first[0], second[0]], [-np.exp(-z), np.exp(-z), -np.exp(-z)], rtol=1e-14)
    for z in (-1e5, 1e5):
        assert np.isfinite(HILL.log_link(np.array([z]))).all()
        assert np.isfinite(HILL.link(np.array([z]))).all()


@EVERY
@given(z=st.floats(-20, 20))
def test_inverse_link(curve, z):
    if curve is LINEAR or z < 15:  # beyond, 1 - h is rounding
        assert_allclose(curve.inverse_link(curve.link(np.array([z]))[0]), z, rtol=1e-8, atol=1e-9)


def test_inverse_link_outside_its_range():
    assert np.isnan(HILL.inverse_link([-0.1, 0.0, 1.0, 1.1])).all()
    assert np.isnan(POWER.inverse_link([-1.0, 0.0])).all()


# Readable and internal parameters

READABLE = {
    "linear": {"slope": -0.7, "intercept": 0.2},
    "power": {"scale": 0.3, "exponent": 0.8},
    "hill": {"k": 0.04, "n": 1.3, "top": 0.9},
}


@EVERY
def test_internal_parameters_give_the_same_curve(curve):
    parameters = READABLE[curve.name]
    a, b, log_top, centre = curve.to_internal(parameters)
    x = np.array([0.01, 0.05, 0.4])
    z = a + b * (curve.abscissa(x) - centre)
    assert_allclose(np.exp(log_top) * curve.link(z)[0], curve.value(x, parameters), rtol=1e-13)


@EVERY
@pytest.mark.parametrize("shift", [0.0, -2.3])
def test_internal_parameters_return(curve, shift):
    parameters = READABLE[curve.name]
    a, b, log_top, centre = curve.to_internal(parameters)
    back = curve.to_readable(a + b * shift, b, log_top, centre + shift)
    assert set(back) == set(parameters)
    for name, value in parameters.items():
        assert_allclose(back[name], value, rtol=1e-13)


@EVERY
@pytest.mark.parametrize("slope", [0.4, 2.5])
def test_pinned_location_holds(curve, slope):
    a, centre = curve.pin_location(0.3)
    assert_allclose(curve.to_readable(a, slope, 0.0, centre)[curve.location], 0.3, rtol=1e-14)


@EVERY
def test_start_is_exact_without_noise(curve):
    # on data of the curve itself the transformed points lie on one line
    parameters = {**READABLE[curve.name], **DEFAULT_FIXED[curve.name]}
    x = np.geomspace(0.01, 0.3, 7)[:, None]
    y = curve.value(x, parameters)
    u = curve.abscissa(x) - curve.abscissa(x).mean()
    a, b = curve.start(u, y, np.ones_like(y), np.zeros(1))
    back = curve.to_readable(a, b, np.zeros(1), curve.abscissa(x).mean())
    for name in parameters:
        assert_allclose(back[name], parameters[name], rtol=1e-10)


def test_start_survives_values_outside_the_link():
    u = np.linspace(-1, 1, 5)[:, None]
    y = np.array([[-0.1], [0.0], [0.5], [1.0], [1.2]])
    for curve in CURVES.values():
        assert np.isfinite(curve.start(u, y, np.ones_like(y), np.zeros(1))).all()


def test_weighted_line_as_polyfit():
    # np.polyfit's weights multiply residuals, ours their squares
    rng = np.random.default_rng(0)
    u, y, w = rng.normal(size=8), rng.normal(size=8), rng.uniform(0.1, 3, 8)
    intercept, slope = weighted_line(u[:, None], y[:, None], w[:, None])
    assert_allclose([slope[0], intercept[0]], np.polyfit(u, y, 1, w=np.sqrt(w)), rtol=1e-12)


def test_weighted_line_through_one_x_is_flat():
    intercept, slope = weighted_line(np.zeros((3, 1)), np.array([[1.0], [2.0], [6.0]]), np.ones((3, 1)))
    assert (intercept[0], slope[0]) == (3.0, 0.0)


# Estimates follow the units


@pytest.mark.parametrize("errors", ["additive", "log", "relative"])
def test_fitted_k_follows_the_unit_of_x(errors):
    rng = np.random.default_rng(1)
    x = np.geomspace(0.01, 0.5, 8)
    y = hill(x, 0.7, 1.2) * np.exp(0.1 * rng.standard_normal(8))
    one, other = (Problem.of("hill", c * x, y, errors=errors).fit().parameters for c in (1.0, 3072.0))
    assert_allclose(other["k"], 3072 * one["k"], rtol=1e-9)
    assert_allclose(other["n"], one["n"], rtol=1e-9)


# Names


def test_curves_by_name():
    assert curve_named("Hill") is HILL
    assert curve_named(POWER) is POWER
    with pytest.raises(ValueError, match=r"unknown curve 'hil'.*hill"):
        curve_named("hil")
