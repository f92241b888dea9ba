"""Replicated runs: families compared over seeds, scatter within a setting, lack of fit."""

from frontier.seeds.comparing import (
    DESIGNS,
    POWER,
    SeedComparisons,
    compare_seeds,
    lack_of_fit,
    paired_batches,
    within_setting,
)

__all__ = [
    "DESIGNS",
    "POWER",
    "SeedComparisons",
    "compare_seeds",
    "lack_of_fit",
    "paired_batches",
    "within_setting",
]
