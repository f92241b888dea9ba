# ruff: noqa: E501 (lines of the page)
"""docs/verdicts.md: the acceptance table, and what it does not tell by itself."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.page_text import Record, circumstances, table


def verdicts(record: Record) -> str:
    """docs/verdicts.md: the acceptance table, every row."""
    answers = {True: "yes", False: "**no**", None: "not measured"}
    rows = [r for part in record["parts"].values() for r in part["rows"]]
    tables = record["parts"]["equal families"]["tables"]
    cells = table(
        ((r["what"], r["must"], r["found"], answers[r["met"]]) for r in rows),
        "what",
        "must show",
        "found",
        "met",
    )
    return f"""# What verdicts hold to

Simulated tables with a known truth go through `frontier.compare` with its defaults, from rows to words, and what it says is
counted: {tables:,} tables per cell of truth, design and noise, seeds fixed before the run. The worst cell is named. Rows marked
"real" are measured on SAEs that are not part of the repository. `make verdicts` repeats it; all cells are in
[benchmarks/results/verdicts.json](../benchmarks/results/verdicts.json).

{circumstances(record, "verdicts")}

{cells}

Bent curves: coverage is lowest where a family three times as potent is seen at the same L0, so that the hits that both cover lie
at one end of either family's SAEs (Hill, 8 v 8); there the degree that eight SAEs support is too low for the sides to agree.

A reference that bends otherwise than the others (in the next power of log L0 beyond those in which families may differ, F test) is
doubted, with the interpolated potencies. Of tables of one shape (5 and 10 % noise, 5 to 16 SAEs of 2, 3 or 5 families, 400 tables
each) it is said in 2.5 to 6.8 %, and in up to 16 where the reference has 5 SAEs and errs three times as much as four or six others.
Where the reference falls almost straight and the others ever more steeply it is said in 15 to 66 % (6 and 8 SAEs) and 31 to 93 %
(12 and 16). That one interpolated potency lies outside the limits is no such sign: it does in 3 to 48 % of tables of one shape, two
points being noisier than a curve through all, and says no more of the bent ones.

{unlike(record["parts"]["unlike noise"]["cells"])}

{left_out(record["parts"]["real left out"]["cells"])}"""


def unlike(cells: list[Record]) -> str:
    """Families of which one errs more than the other."""
    rows = (
        (c["design"], c["noise"], c["truth"], f"{c['false verdicts']:.1%}", f"{c['coverage']:.1%}")
        for c in cells
    )
    shown = table(rows, "SAEs", "noise of the last", "curve", "told apart", "limits hold 1")
    return f"""## Where one family errs more than the other

Between two families each counts with its own noise where that is larger (Welch); three and more vouch for one noise unless it is
denied. Few SAEs hardly tell their noise, three next to nothing: where the loud family is the smaller of two, equal families are
told apart more often than in the 5 % that are promised, and limits hold the truth less often. With one noise for both, 16 v 6 at
3 times are told apart in 18 %, and limits hold in 73 % (600 tables of another seed). A remark names the family that errs more: the
remedy is more SAEs of it.

Where one of three and more families errs more than three times as much as the median one, the others are compared without it.
Equal families of which the last errs 8 times as much: of four with 7 SAEs each 4.0 % of 600 tables told some family apart, and limits
held 1 in 94.9 % (98.1 % with one noise for all: too wide); of three with 5 SAEs each, 10 times, 6.2 %, nearly all of it the loud
family itself, and 94.6 %.

{shown}"""


def left_out(cells: list[dict[str, Any]] | None) -> str:
    """Why no band of the shared shape holds an SAE beyond the others, and what it takes."""
    if not cells:
        return ""
    rows = (
        (
            c["band"], c["place"], f"{c['held']:.2f}", f"{math.exp(c['half-width']):.2f}",
            f"{c['of one family']:.0%} {c['that family']}" if c["held"] < 1 else "",
        )
        for c in cells
    )  # fmt: skip
    shown = table(rows, "band", "place", "holds", "factor each way", "missed, most often")
    return f"""
## Beyond the last SAE

Fitted without one SAE, a band should hold it. Between the others it does. At the ends, those that are missed are of one or two
architectures that bend there as no other of their cell does, and in every cell the same: that cannot be known without the SAE
itself. One more degree in the common shape helps little. A cubic through the five SAEs of the family alone holds what was asked
for, at the price of a band that spans the factors below. **Therefore no potency is given beyond the hits that both families
reach**: `potency_at` refuses there, and bands end with the data.

{shown}
"""
