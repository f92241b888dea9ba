"""What an architecture promises, checked in about a second: `check`, and `sae-train check my_sae.py`.

`case` is the small family on which all is checked, `functions` the promises of the bare functions, `training`
those of trained and saved members, `lines` finds the line that broke one, `report` runs them all. The
built-in architectures keep the same promises (tests/trainers/test_promises.py).
"""

from trainers.promises.report import Outcome, Report, assure, check

__all__ = ["Outcome", "Report", "assure", "check"]
