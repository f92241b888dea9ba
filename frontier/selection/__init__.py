"""Which curve, how sure, what to report outside the data, and which SAE to train next."""

from frontier.selection.choosing import UNLIKELY, select_curve

__all__ = ["UNLIKELY", "select_curve"]
