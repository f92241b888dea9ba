"""Curves fitted to groups of SAEs, and why not to trust them."""

from frontier.fits.batch import Settings, fit_groups
from frontier.fits.fitting import (
    fit,
    fit_points,
    held,
)

__all__ = [
    "Settings",
    "fit",
    "fit_groups",
    "fit_points",
    "held",
]
