"""Curves fitted to groups of SAEs, and why not to trust them."""

from frontier.fits.fitting import (
    Settings,
    fit,
    fit_groups,
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
