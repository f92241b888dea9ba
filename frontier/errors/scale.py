"""What every errors model is: a scale of y on which residuals have one spread, and all that follows."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frontier.curves import Array, Curve
from frontier.wording import number


class Errors:
    """Errors of constant spread on some scale of y (here y itself).

    Arrays broadcast; the first axis is points where a method sums. `sigma` is the residual SD on the scale,
    of a point of weight 1; a point of weight w has sigma / sqrt(w).

    Attributes
    ----------
    name : str
        What users call it.
    residual_name : str
        Label of a residual axis, with {y} for the name of y.
    as_share : bool
        Whether sigma is a share of the height (shown in per cent) and not an amount of y.
    positive_curve : bool
        Whether the curve must lie above 0.
    reweighted : bool
        Whether the weights of the squares follow the fitted curve.
    """

    name: ClassVar[str] = ""
    residual_name: ClassVar[str] = "Residual of {y}"
    as_share: ClassVar[bool] = True
    positive_curve: ClassVar[bool] = False
    reweighted: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"<{self.name} errors>"

    @property
    def knee_value(self) -> float:
        """The knee of two components, of one column; NaN for other models."""
        return float("nan")

    @property
    def held(self) -> Errors:
        """The model of the squares once their weights are held where they are."""
        return self

    def take(self, columns: NDArray[np.intp]) -> Errors:
        """The same for some of the columns of a batch."""
        return self

    def defined(self, y: ArrayLike) -> NDArray[np.bool_]:
        """Which y the model gives a density, shape of y."""
        return np.isfinite(np.asarray(y, dtype=float))

    def scale(self, y: ArrayLike) -> Array:
        """The y on the scale on which residuals are taken."""
        return np.asarray(y, dtype=float)

    def unscale(self, s: ArrayLike) -> Array:
        """The inverse of `scale`."""
        return np.asarray(s, dtype=float)

    def step(self, fitted: ArrayLike) -> Array | float:
        """SD of scale(y) around scale(fitted), over sigma."""
        return 1.0

    def spread(self, fitted: ArrayLike) -> Array:
        """SD of y at a fitted height, over sigma, to first order."""
        return np.ones_like(np.asarray(fitted, dtype=float))

    def variance(self, fitted: ArrayLike) -> Array:
        """Variance of y at a fitted height, over sigma^2, to first order."""
        return self.spread(fitted) ** 2

    def weights_of(self, y: ArrayLike, on_y: ArrayLike) -> Array:
        """Weights of squared residuals on this scale where those on y itself are `on_y`, as 1 / se(y)^2.

        se(scale(y)) is se(y) / spread(y) to first order; for log errors the weight is (y / se)^2.

        >>> from frontier.errors import ADDITIVE, LOG
        >>> LOG.weights_of(0.2, 1 / 0.01**2).round(6).item(), ADDITIVE.weights_of(0.2, 4.0).item()
        (400.0, 4.0)
        """
        return np.asarray(on_y, dtype=float) * self.variance(y)

    def size(self, y: ArrayLike) -> Array:
        """How large y is on the scale of the residuals: what rounding is measured against."""
        return np.abs(self.scale(y))

    def residual(self, y: ArrayLike, fitted: ArrayLike) -> Array:
        """Residual of y from a fitted height, on the scale on which all have the spread sigma."""
        return np.asarray((self.scale(y) - self.scale(fitted)) / self.step(fitted))

    def observed(self, fitted: ArrayLike, residual: ArrayLike) -> Array:
        """The y that has this residual."""
        return self.unscale(self.scale(fitted) + self.step(fitted) * np.asarray(residual, dtype=float))

    def draw(
        self, rng: np.random.Generator, fitted: Array, sigma: float, weights: ArrayLike = 1.0,
        replicates: int = 1,
    ) -> Array:  # fmt: skip
        """Simulated y, (points, replicates), around fitted heights of shape (points,)."""
        sd = sigma / np.sqrt(np.broadcast_to(np.asarray(weights, dtype=float), fitted.shape))
        return self.observed(fitted[:, None], sd[:, None] * rng.standard_normal((len(fitted), replicates)))

    def log_jacobian(self, y: ArrayLike) -> Array:
        """Logarithm of |d scale / dy|, shape of y: what makes densities of scale(y) densities of y."""
        return np.zeros_like(np.asarray(y, dtype=float))

    def log_likelihood(self, y: Array, rss: Array, weights: Array) -> Array:
        """Maximised log-likelihood of y, per column, of a fit with this weighted sum of squares.

        -N/2 (log(2 pi rss / N) + 1) + sum(log w) / 2 + sum(log Jacobian); points of weight 0 do not count.
        `weights` are those at the optimum. With reweighted errors the curve is near the maximum, not at it.
        Source: Burnham & Anderson (2002), section 2.2; Box & Cox (1964), section 3, for the Jacobian.
        """
        inside = weights > 0
        n = inside.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = -0.5 * n * (np.log(2 * np.pi * np.maximum(rss, 1e-300) / n) + 1)
        return np.asarray(value + self.log_density(y, weights))

    def log_density(self, y: Array, weights: Array) -> Array:
        """The part of a log-likelihood that does not depend on the fit, per column."""
        inside = weights > 0
        terms = 0.5 * np.log(np.where(inside, weights, 1.0)) + self.log_jacobian(np.where(inside, y, 1.0))
        return np.asarray(np.where(inside, terms, 0.0).sum(axis=0))

    def seen(self, curve: Curve, z: Array, log_top: Array) -> tuple[Array, Array, Array]:
        """The curve top * h(z) on this scale, and two derivatives by z (see `curves`)."""
        value, d1, d2 = curve.link(z)
        if not log_top.any():
            return value, d1, d2
        top = np.exp(log_top)
        return top * value, top * d1, top * d2

    def by_top(self, value: Array) -> tuple[Array, Array | float]:
        """How a value v of `seen` moves with t = log top: (k, m).

        dv/dt = k, d2v/dt2 = m k, d2v/dtdz = m dv/dz.
        """
        return value, 1.0

    def sigma_text(self, sigma: float) -> str:
        """A residual SD for readers.

        >>> from frontier.errors import ADDITIVE, LOG
        >>> LOG.sigma_text(0.05), ADDITIVE.sigma_text(0.004)
        ('5 %', '0.0040')
        """
        return f"{number(100 * sigma, 2)} %" if self.as_share else number(sigma, 2)
