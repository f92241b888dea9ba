"""A candidate against its rivals: `trainers.versus`, `sae-train versus`.

`asking` (the question, `budget`) → `levelling` (sizes, one range of L0) → `tuning` (learning rates) →
`contest`: rounds of SAEs (`rounds`; `making` trains them), a look after each (`looks`, at the level of
`spending`), until every pair is decided or the budget is spent → `fairness`, `result`. All in `versus`.
"""

from trainers.head_to_head.budget import VersusError
from trainers.head_to_head.result import Versus
from trainers.head_to_head.versus import versus

__all__ = ["Versus", "VersusError", "versus"]
