"""How y scatters around a curve: one object per errors model, and nothing about errors anywhere else.

A model says on which scale of y the residuals have one spread sigma, and all else follows: which y it takes,
residuals, simulated y, the likelihood of y, and the curve as least squares sees it.

`scale` (what every model is) → `models` → `named` (by the words that users type).
"""

from frontier.errors.models import ADDITIVE, LOG, RELATIVE, Additive, Log, Relative, TwoComponent
from frontier.errors.named import ERRORS, errors_model, errors_named, stacked
from frontier.errors.scale import Errors

__all__ = [
    "ADDITIVE", "ERRORS", "LOG", "RELATIVE", "Additive", "Errors", "Log", "Relative", "TwoComponent",
    "errors_model", "errors_named", "stacked",
]  # fmt: skip
