"""The curves as lmfit models, so that lmfit users feel at home: `HillModel().fit(y, x=x)`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
from lmfit import Model, Parameters
from lmfit.model import ModelResult
from numpy.typing import ArrayLike

from frontier.curves import CURVES, DEFAULT_FIXED, VANISHING, Curve, hill, linear, power
from frontier.errors import ADDITIVE
from frontier.problems import Problem

if TYPE_CHECKING:
    from frontier.fits.curve_fit import CurveFit


class _CurveModel(Model):
    """Shared `guess`: the least-squares start of `Curve.start`, with the curve's usual bounds."""

    curve: Curve

    def guess(self, data: ArrayLike, x: ArrayLike | None = None, **values: float) -> Parameters:
        """Starting parameters from data; keyword arguments override single ones.

        Raises
        ------
        ValueError
            Without x.
        """
        if x is None:
            raise ValueError(f"{type(self).__name__}.guess needs x")
        problem = Problem.of(self.curve, np.asarray(x, dtype=float), np.asarray(data, dtype=float))
        centre = problem.abscissa.mean(axis=0)
        top = np.zeros(1)
        a, b = self.curve.start(problem.abscissa - centre, problem.y, problem.weights, top)
        start = {k: float(np.ravel(v)[0]) for k, v in self.curve.to_readable(a, b, top, centre).items()}
        parameters = self.make_params(**{**start, **values})
        for name in self.curve.positive:
            parameters[f"{self.prefix}{name}"].set(min=1e-300)
        for name in DEFAULT_FIXED[self.curve.name]:
            parameters[f"{self.prefix}{name}"].set(vary=False)
        return parameters


class LinearModel(_CurveModel):
    """Line intercept + slope * x; parameters `slope`, `intercept`."""

    curve = CURVES["linear"]

    def __init__(self, **options: Any) -> None:
        super().__init__(linear, independent_vars=["x"], **options)


class PowerModel(_CurveModel):
    """Power law scale * x**exponent; parameters `scale`, `exponent`, and `vanishing_l0` where asked for."""

    curve = CURVES["power"]

    def __init__(self, *, vanishing: bool = False, **options: Any) -> None:
        names = [*self.curve.parameters, *([VANISHING] if vanishing else [])]
        super().__init__(power, independent_vars=["x"], param_names=names, **options)


class HillModel(_CurveModel):
    """Hill curve top * x**n / (k**n + x**n); parameters `k`, `n`, `top` (fixed at 1 by `guess`).

    With `vanishing` also `vanishing_l0`: the curve in x - 1 / vanishing_l0, x a sparsity 1/L0.
    """

    curve = CURVES["hill"]

    def __init__(self, *, vanishing: bool = False, **options: Any) -> None:
        names = [*self.curve.parameters, *([VANISHING] if vanishing else [])]
        super().__init__(hill, independent_vars=["x"], param_names=names, **options)


MODELS = {"linear": LinearModel, "power": PowerModel, "hill": HillModel}


def lmfit_fit(fit: CurveFit) -> ModelResult:
    """A finished fit, run again by lmfit from its optimum with its data, weights and fixed parameters."""
    curve, errors = fit.problem.curve, fit.problem.errors.held
    weights, data = np.sqrt(fit.estimate.solution.weights[:, 0]), errors.scale(fit.y)

    def on_scale(x: Any, **parameters: float) -> Any:
        return errors.scale(curve.function(x, **parameters))

    on_scale.__signature__ = inspect.signature(curve.function)  # type: ignore[attr-defined]
    model = MODELS[fit.curve](**({"vanishing": True} if VANISHING in fit.fixed else {}))
    if errors is not ADDITIVE:
        name = f"{errors.name}({fit.curve})"
        model = Model(on_scale, independent_vars=["x"], param_names=list(fit.parameters), name=name)
    parameters = model.make_params(**fit.values)
    for name in fit.fixed:
        parameters[name].set(vary=False)
    for name in fit.problem.curve.positive - set(fit.fixed):
        parameters[name].set(min=1e-300)
    tight = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14}
    return model.fit(data, parameters, x=fit.x, weights=weights, fit_kws=tight)
