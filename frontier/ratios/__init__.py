"""Ratios of architectures, from fits and from observed points, and whether one ratio exists."""

from frontier.ratios.from_fits import (
    SPARSITY_AXES,
    Ratio,
    RatioTable,
    hit_ratio,
    leave_one_out_ratios,
    parameter_ratio,
    ratio_table,
    refuse_unlike,
    relative_potency,
)

__all__ = [
    "SPARSITY_AXES",
    "Ratio",
    "RatioTable",
    "hit_ratio",
    "leave_one_out_ratios",
    "parameter_ratio",
    "ratio_table",
    "refuse_unlike",
    "relative_potency",
]
