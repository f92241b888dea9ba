"""From a table to verdicts in one call."""

from frontier.comparison.comparing import compare
from frontier.comparison.comparison import Comparison, Comparisons, PotencyBand, Tests
from frontier.comparison.verdicts import VERDICTS

__all__ = ["VERDICTS", "Comparison", "Comparisons", "PotencyBand", "Tests", "compare"]
