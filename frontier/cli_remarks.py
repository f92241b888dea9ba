"""What the commands say of a table before its results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontier.terminal import say

if TYPE_CHECKING:
    import pandas as pd

    from frontier.comparison import Comparisons


UNUSED_SHOWN = 24
"""Names of unused columns that one screen has room for."""


def said(table: pd.DataFrame, verbose: bool = True, told: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Print what was recognised, changed and set aside, and return it; of many unused columns the first.

    What was `told` before is not told again.
    """
    from frontier.metrics import notes

    own = tuple(note for note in notes(table) if note not in told)
    again = _told_by_their_check(table, own)
    for note in own:
        if note == again:
            continue
        names = note.split(", ")
        if note.startswith("not used: ") and len(names) > UNUSED_SHOWN and not verbose:
            note = f"{', '.join(names[:UNUSED_SHOWN])} and {len(names) - UNUSED_SHOWN} more (--verbose)"
        say(note, "* ", "dim")
    return own


def _told_by_their_check(table: pd.DataFrame, own: tuple[str, ...]) -> str:
    """The count of rows set aside, where all are checkpoints and another note says how to have them."""
    from frontier.metrics import set_aside, set_aside_remark
    from frontier.metrics.finished import CHECKPOINT

    remark = set_aside_remark(table)
    alone = set(set_aside(table)) == {CHECKPOINT}
    return remark if alone and any(CHECKPOINT in n for n in own if n != remark) else ""


def differences(marked: pd.DataFrame) -> None:
    """Print the rows where the source's own Pareto mark is not the computed one."""
    from frontier.pareto.marks import mark_differences

    for line in mark_differences(marked):
        say(line, "* ")


def reasons(found: Comparisons, table: pd.DataFrame) -> None:
    """Print why nothing was compared, but for what reading the table has said."""
    from frontier.metrics import notes

    for reason in dict.fromkeys(found.notes):
        if reason not in notes(table):
            say(reason, "* ")


def alone(table: pd.DataFrame, family: str) -> str:
    """That all SAEs which can be used are of one family, where they are."""
    from frontier.metrics import usable

    names = list(usable(table)[family].dropna().unique()) if family in table else []
    return (
        f": every SAE that can be used is of the family {names[0]}; two are wanted" if len(names) == 1 else ""
    )
