"""From a table to verdicts in one call."""

from frontier.comparison.budget_comparison import BudgetChange, BudgetComparison, BudgetComparisons
from frontier.comparison.budgets import compare_budgets
from frontier.comparison.comparing import compare
from frontier.comparison.comparison import Comparison, Comparisons, PotencyBand, Tests
from frontier.comparison.verdicts import VERDICTS

__all__ = [
    "VERDICTS",
    "BudgetChange",
    "BudgetComparison",
    "BudgetComparisons",
    "Comparison",
    "Comparisons",
    "PotencyBand",
    "Tests",
    "compare",
    "compare_budgets",
]
