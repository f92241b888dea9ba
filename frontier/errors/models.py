"""The errors models: additive, log, relative, two components."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frontier.curves import Array, Curve
from frontier.errors.scale import Errors


class Additive(Errors):
    """One spread at every height: y = f + e."""

    name = "additive"
    as_share = False


class Log(Errors):
    """Spread in proportion to the height, and y above 0: log y = log f + e."""

    name = "log"
    residual_name = "Residual of log {y}"
    positive_curve = True

    def defined(self, y: ArrayLike) -> NDArray[np.bool_]:
        """Positive y."""
        return np.asarray(y, dtype=float) > 0

    def scale(self, y: ArrayLike) -> Array:
        """The logarithm."""
        return np.log(y)

    def unscale(self, s: ArrayLike) -> Array:
        """The exponential."""
        return np.exp(s)

    def spread(self, fitted: ArrayLike) -> Array:
        """The height itself."""
        return np.asarray(fitted, dtype=float)

    def size(self, y: ArrayLike) -> Array:
        """One more than |log y|: y near 1 is no smaller than others."""
        return 1 + np.abs(self.scale(y))

    def log_jacobian(self, y: ArrayLike) -> Array:
        """Minus log y."""
        return -np.log(y)

    def seen(self, curve: Curve, z: Array, log_top: Array) -> tuple[Array, Array, Array]:
        """The logarithm of the curve, without loss where the curve is tiny."""
        value, d1, d2 = curve.log_link(z)
        return (value + log_top if log_top.any() else value), d1, d2

    def by_top(self, value: Array) -> tuple[Array, Array | float]:
        """The logarithm of the curve moves with log top one to one."""
        return np.ones_like(value), 0.0


class Relative(Errors):
    """Spread in proportion to the height, on the scale of y: y = f (1 + e), by reweighting."""

    name = "relative"
    residual_name = "Residual of {y} / fitted"
    positive_curve = True
    reweighted = True

    def defined(self, y: ArrayLike) -> NDArray[np.bool_]:
        """Positive y: where y / f + log f has no minimum, there is no fit."""
        return np.asarray(y, dtype=float) > 0

    @property
    def held(self) -> Errors:
        """Additive, with weights 1 / f^2."""
        return ADDITIVE

    def step(self, fitted: ArrayLike) -> Array:
        """The height itself."""
        return np.asarray(fitted, dtype=float)

    def spread(self, fitted: ArrayLike) -> Array:
        """The height itself."""
        return np.asarray(fitted, dtype=float)

    def size(self, y: ArrayLike) -> Array:
        """One: residuals are shares."""
        return np.ones_like(np.asarray(y, dtype=float))


class TwoComponent(Errors):
    """A share of the height and a fixed amount: Var(y) = (sigma f)^2 + (sigma knee)^2, for y of any sign.

    The scale is asinh(y / knee), on which that variance is constant to first order; it contains log errors
    (knee -> 0) and additive ones (knee -> infinity), so that least squares on it always has a minimum.

    Source: Rocke & Lorenzato (1995), Technometrics 37, 176, for the two components; Durbin, Hardin, Hawkins &
    Rocke (2002), Bioinformatics 18, S105, and Huber et al. (2002), ibid. S96, for the scale.

    Attributes
    ----------
    knee : float, or (replicates,)
        The height at which both components are equal: sigma_add / sigma_rel.

    Examples
    --------
    >>> errors = TwoComponent(0.02)
    >>> float(errors.spread(0.0)), float(errors.residual(-0.001, 0.0).round(4))
    (0.02, -0.05)
    """

    name = "two_component"
    residual_name = "Residual of asinh({y} / knee)"

    def __init__(self, knee: ArrayLike = np.nan) -> None:
        self.knee = np.asarray(knee, dtype=float)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TwoComponent) and np.array_equal(self.knee, other.knee)

    def __hash__(self) -> int:
        return hash((self.name, self.knee.tobytes()))

    @property
    def knee_value(self) -> float:
        """The knee, of one column."""
        return float(np.ravel(self.knee)[0])

    def take(self, columns: NDArray[np.intp]) -> Errors:
        """The same, each column with its own knee."""
        return TwoComponent(self.knee[columns]) if self.knee.ndim else self

    def scale(self, y: ArrayLike) -> Array:
        """The inverse hyperbolic sine of y / knee: log(2 y / knee) far above the knee, y / knee far below."""
        return np.asarray(np.arcsinh(np.asarray(y, dtype=float) / self.knee))

    def unscale(self, s: ArrayLike) -> Array:
        """The knee times sinh."""
        return np.asarray(self.knee * np.sinh(s))

    def spread(self, fitted: ArrayLike) -> Array:
        """The root of both squared parts."""
        return np.asarray(np.hypot(fitted, self.knee))

    def size(self, y: ArrayLike) -> Array:
        """One more than the scaled |y|."""
        return 1 + np.abs(self.scale(y))

    def log_jacobian(self, y: ArrayLike) -> Array:
        """Minus the logarithm of the spread at y."""
        return -np.log(self.spread(y))

    def seen(self, curve: Curve, z: Array, log_top: Array) -> tuple[Array, Array, Array]:
        """The curve's asinh by the chain rule."""
        value, d1, d2 = super().seen(curve, z, log_top)
        spread = self.spread(value)
        slope = d1 / spread
        return self.scale(value), slope, d2 / spread - value / spread * slope**2

    def by_top(self, value: Array) -> tuple[Array, Array | float]:
        """F / spread(f), which is tanh on this scale, and one minus its square."""
        share = np.tanh(value)
        return share, 1 - share**2


ADDITIVE, LOG, RELATIVE = Additive(), Log(), Relative()
