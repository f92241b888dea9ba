"""Linear, power and Hill curves as plain functions of arrays.

Every curve here is one link function h of a straight line, times an optional top:

    y = top * h(a + b * (X(x) - centre)),   X(x) = x for the line, log(x - 1/L*) for power and Hill,

with h(z) = z (linear), exp(z) (power) and 1 / (1 + exp(-z)) (Hill), and L* the L0 from which on the curve is
0 (`vanishing_l0`; infinite unless asked for). (a, b, log top) are the internal parameters in which curves are
estimated: the height at the centre and the steepness are nearly uncorrelated where k and n are not. What a
user reads is slope and intercept, scale and exponent, or k, n and top.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from frontier.wording import nearest

Array = NDArray[np.float64]
VANISHING = "vanishing_l0"
Internal = tuple[Array, Array, Array]
"""(a, b, log top), each of shape (replicates,)."""


def linear(x: ArrayLike, slope: ArrayLike, intercept: ArrayLike = 0.0) -> Array:
    """Straight line: intercept + slope * x.

    Examples
    --------
    >>> import frontier
    >>> frontier.linear([1, 2], slope=3, intercept=1)
    array([4., 7.])
    """
    x, slope, intercept = (np.asarray(v, dtype=float) for v in (x, slope, intercept))
    return np.asarray(intercept + slope * x)


def power(x: ArrayLike, scale: ArrayLike, exponent: ArrayLike, vanishing_l0: ArrayLike = np.inf) -> Array:
    """Power law for x > 0: scale * (x - 1 / vanishing_l0)**exponent, 0 where x = 1/L0 is not above 1/L*.

    Examples
    --------
    >>> import frontier
    >>> frontier.power([1, 4], scale=2, exponent=0.5)
    array([2., 4.])
    """
    scale, exponent = (np.asarray(v, dtype=float) for v in (scale, exponent))
    return np.asarray(scale * beyond(x, vanishing_l0) ** exponent)


def hill(
    x: ArrayLike, k: ArrayLike, n: ArrayLike, top: ArrayLike = 1.0, vanishing_l0: ArrayLike = np.inf
) -> Array:
    """Hill curve for x > 0: top * x**n / (k**n + x**n); k is the x at half the top.

    With `vanishing_l0` in x - 1 / vanishing_l0 instead of x = 1/L0: the curve is 0 from that L0 on.

    >>> float(hill(2.0, k=2.0, n=0.7)), float(hill(1 / 768, k=0.1, n=1.0, vanishing_l0=768))
    (0.5, 0.0)
    """
    k, n, top = (np.asarray(v, dtype=float) for v in (k, n, top))
    with np.errstate(divide="ignore"):
        return np.asarray(top * expit(n * (np.log(beyond(x, vanishing_l0)) - np.log(k))))


def beyond(x: ArrayLike, vanishing_l0: ArrayLike) -> Array:
    """X - 1 / vanishing_l0, 0 where it is negative."""
    x = np.asarray(x, dtype=float)
    if np.all(np.isinf(vanishing_l0)):
        return x
    return np.maximum(x - 1 / np.asarray(vanishing_l0, dtype=float), 0.0)


# Links: value and first two derivatives of h, and of log h.


def _identity(z: Array) -> Internal:
    return z, np.ones_like(z), np.zeros_like(z)


def _log_identity(z: Array) -> Internal:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(z), 1 / z, -1 / z**2


def _exp(z: Array) -> Internal:
    h = np.exp(z)
    return h, h, h


def _log_exp(z: Array) -> Internal:
    return z, np.ones_like(z), np.zeros_like(z)


def _expit(z: Array) -> Internal:
    with np.errstate(over="ignore"):
        h = 1 / (1 + np.exp(-z))  # a third faster than scipy's expit
    h1 = h * (1 - h)
    return h, h1, h1 * (1 - 2 * h)


def _log_expit(z: Array) -> Internal:
    e = np.exp(-np.abs(z))
    near = 1 / (1 + e)
    far = e * near  # the smaller of h and 1 - h, without loss far from the middle
    return np.minimum(z, 0) - np.log1p(e), np.where(z >= 0, far, near), -far * near


@dataclass(frozen=True)
class Curve:
    """One curve family: its functions, and the way between readable and internal parameters.

    Attributes
    ----------
    parameters : tuple of str
        Readable parameters, in the order of the function's arguments.
    positive : frozenset of str
        Those that are estimated and tested on the log scale.
    location, steepness : str
        The readable names behind a (`intercept`, `scale`, `k`) and b (`slope`, `exponent`, `n`).
    """

    name: str
    function: Callable[..., Array]
    parameters: tuple[str, ...]
    positive: frozenset[str]
    location: str
    steepness: str
    link: Callable[[Array], Internal]
    log_link: Callable[[Array], Internal]
    inverse_link: Callable[[ArrayLike], Array]
    log_x: bool

    @property
    def has_top(self) -> bool:
        """Whether the curve levels off at a top."""
        return "top" in self.parameters

    def abscissa(self, x: ArrayLike) -> Array:
        """X(x): x itself for the line, log x otherwise."""
        x = np.asarray(x, dtype=float)
        return np.log(x) if self.log_x else x

    def value(self, x: ArrayLike, parameters: Mapping[str, Any]) -> Array:
        """The curve's height at x, shape of x."""
        names = (*self.parameters, *(p for p in (VANISHING,) if p in parameters))
        return self.function(x, **{p: parameters[p] for p in names})

    def x_at(self, y: ArrayLike, parameters: Mapping[str, float]) -> Array:
        """The x at which the curve reaches height y; NaN where it never does.

        Source: the closed-form inverse of each curve; for Hill x = k * (y / (top - y))**(1/n).
        """
        y = np.asarray(y, dtype=float)
        a, b, log_top, centre = self.to_internal(parameters)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            position = centre + (self.inverse_link(y / np.exp(log_top)) - a) / b
            x = np.exp(position) if self.log_x else position
        return np.where(np.isfinite(position), x + 1 / parameters.get(VANISHING, np.inf), np.nan)

    def to_internal(self, parameters: Mapping[str, float]) -> tuple[float, float, float, float]:
        """(a, b, log top, centre) of readable parameters, at a centre where a is simplest."""
        if self.name == "linear":
            return parameters["intercept"], parameters["slope"], 0.0, 0.0
        if self.name == "power":
            return float(np.log(parameters["scale"])), parameters["exponent"], 0.0, 0.0
        return 0.0, parameters["n"], float(np.log(parameters["top"])), float(np.log(parameters["k"]))

    def to_readable(
        self, a: ArrayLike, b: ArrayLike, log_top: ArrayLike, centre: ArrayLike
    ) -> dict[str, Array]:
        """Readable parameters of internal ones; arrays broadcast."""
        a, b, c = (np.asarray(v, dtype=float) for v in (a, b, centre))
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            if self.name == "linear":
                return {"slope": b, "intercept": a - b * c}
            if self.name == "power":
                return {"scale": np.exp(a - b * c), "exponent": b}
            return {"k": np.exp(c - a / b), "n": b, "top": np.exp(np.asarray(log_top, dtype=float))}

    def pin_location(self, value: float) -> tuple[float, float]:
        """(a, centre) that hold the location parameter at `value` for every steepness."""
        if self.name == "linear":
            return value, 0.0
        return (0.0, float(np.log(value))) if self.has_top else (float(np.log(value)), 0.0)

    def start(self, u: Array, y: Array, weights: Array, log_top: Array) -> tuple[Array, Array]:
        """Starting (a, b), each of shape (replicates,), from one weighted straight-line fit.

        `u` (points, replicates) is X(x) - centre. The line goes through y, log y or logit(y / top);
        values outside the link's range are clipped here, for the start only.
        """
        if self.log_x:
            peak = np.max(np.where(weights > 0, y, -np.inf), axis=0)
            floor = np.maximum(1e-3 * peak, 1e-300)
            target = np.maximum(y, floor)
            if self.has_top:
                share = np.clip(target / np.exp(log_top), 1e-12, 1 - 1e-3)
                target = logit(share)
            else:
                target = np.log(target)
        else:
            target = y
        return weighted_line(np.broadcast_to(u, y.shape), target, weights)


def weighted_line(u: Array, target: Array, weights: Array) -> tuple[Array, Array]:
    """Intercept at u = 0 and slope of the weighted least-squares line, per column."""
    total = weights.sum(axis=0)
    mean_u = (weights * u).sum(axis=0) / total
    mean_t = (weights * target).sum(axis=0) / total
    centred = u - mean_u
    spread = (weights * centred**2).sum(axis=0)
    slope = (weights * centred * target).sum(axis=0) / np.where(spread > 0, spread, 1.0)
    return mean_t - slope * mean_u, slope


def _logit(share: ArrayLike) -> Array:
    share = np.asarray(share, dtype=float)
    return logit(np.where((share > 0) & (share < 1), share, np.nan))


def _log(share: ArrayLike) -> Array:
    share = np.asarray(share, dtype=float)
    return np.log(np.where(share > 0, share, np.nan))


LINEAR = Curve(
    "linear", linear, ("slope", "intercept"), frozenset(), "intercept", "slope",
    _identity, _log_identity, lambda s: np.asarray(s, dtype=float), log_x=False,
)  # fmt: skip
POWER = Curve(
    "power", power, ("scale", "exponent"), frozenset({"scale"}), "scale", "exponent",
    _exp, _log_exp, _log, log_x=True,
)  # fmt: skip
HILL = Curve(
    "hill", hill, ("k", "n", "top"), frozenset({"k", "top"}), "k", "n",
    _expit, _log_expit, _logit, log_x=True,
)  # fmt: skip

CURVES: dict[str, Curve] = {c.name: c for c in (LINEAR, POWER, HILL)}
DEFAULT_FIXED: dict[str, dict[str, float]] = {"linear": {}, "power": {}, "hill": {"top": 1.0}}
"""Held fixed unless freed by name: performance hit cannot exceed 1 by definition of its scale."""


def curve_named(name: str | Curve) -> Curve:
    """The curve called `name`.

    Raises
    ------
    ValueError
        When there is none; the message offers the nearest names.
    """
    if isinstance(name, Curve):
        return name
    try:
        return CURVES[str(name).lower()]
    except KeyError:
        raise ValueError(f"unknown curve {name!r}{nearest(str(name), CURVES)}") from None
