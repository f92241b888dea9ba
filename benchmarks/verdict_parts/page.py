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
counted: {tables:,} tables per cell of truth, design and noise where a row names no other number, seeds fixed before the run. The
worst cell is named. Rows marked "real" are measured on SAEs that are not part of the repository. `make verdicts` repeats it; all
cells are in
[benchmarks/results/verdicts.json](../benchmarks/results/verdicts.json).

{circumstances(record, "verdicts")}{measured_later(record)}

{cells}

Bent curves: coverage is lowest where a family three times as potent is seen at the same L0, so that the hits that both cover lie
at one end of either family's SAEs (Hill, 8 v 8); there the degree that eight SAEs support is too low for the sides to agree.

A reference that bends otherwise than the others (in the next power of log L0 beyond those in which families may differ, F test) is
doubted, with the interpolated potencies. Of tables of one shape (5 and 10 % noise, 5 to 16 SAEs of 2, 3 or 5 families, 400 tables
each) its p value is below .05 in 2.5 to 6.8 %, and in up to 16 where the reference has 5 SAEs and errs three times as much as four
or six others; where the reference falls almost straight and the others ever more steeply, in 15 to 66 % (6 and 8 SAEs) and 31 to
93 % (12 and 16). It is said where, besides, an interpolated potency is farther from the other than half of half the interval: of
tables of one shape that is no polynomial (18 designs, 200 tables each) in 0.5 to 10 %. That one interpolated potency lies outside the limits is no such sign: it does in 3 to 48 % of tables of one shape, two
points being noisier than a curve through all, and says no more of the bent ones.

{slopes(record["parts"]["unlike slopes"]["cells"])}

{unlike(record["parts"]["unlike noise"]["cells"])}

{larger(record["parts"])}

{left_out(record["parts"]["real left out"]["cells"])}"""


def measured_later(record: Record) -> str:
    """Which parts were measured again, when and where, by a run of `--only`."""
    when: dict[tuple[str, str], list[str]] = {}
    for name, part in record["parts"].items():
        if now := part.get("measured"):
            when.setdefault((now["date"], now["machine"]), []).append(name)
    return "".join(
        f" By itself on {date}, {machine}: {', '.join(names)}." for (date, machine), names in when.items()
    )


def slopes(cells: list[Record]) -> str:
    """Curves that are not parallel."""
    rows = (
        (c["truth"], c["design"], c["noise"], *(f"{c[of]:.1%}" for of in ("coverage", "band", "hit ratio")),
         f"{c['half-width']:.3f}")
        for c in cells
    )  # fmt: skip
    shown = table(rows, "curves", "SAEs", "noise", "potency", "band, at all hits", "hit ratio", "half-width")
    return f"""## Where curves are not parallel

Two curves that differ in slope differ in bend too: Hill curves of unlike n, powers of 1/L0 − 1/L*. Where parallel curves are doubtful
(p below .25), a family therefore has a bend of its own beside its slope, as far as its points carry one. With a slope alone, limits
held the potency of Hill curves with n 1.1 and 1.43 in 64 to 88 % of 150 tables, with half-widths up to a fifth smaller. Limits that
hold the truth, and half-widths of the log potency:

{shown}

Least sure is the band where one shape is seen near its L*: no polynomial in log L0 falls as steeply."""


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
held 1 in 94.9 % (98.1 % with one noise for all: too wide). Twenty with a loud one, and three, are below.

{shown}"""


def larger(parts: dict[str, Any]) -> str:
    """Many families, one loud, several seeds: all cells."""
    equal = (
        (c["design"], c["truth"], f"{c['tables']:,}", f"{c['any false verdict']:.1%}", f"{c['coverage']:.1%}",
         f"{c['coverage of the last']:.1%}")
        for c in parts["larger tables"]["cells"]
    )  # fmt: skip
    different = (
        (c["design"], c["truth"], c["potency"], f"{c['tables']:,}", f"{c['better']:.1%}", f"{c['worse']:.1%}",
         f"{c['coverage']:.1%}")
        for c in parts["differences in larger tables"]["cells"]
    )  # fmt: skip
    return f"""## Many families, a loud one, several seeds

What five families of one seed cannot show. All equal, tables in which any family is told apart (Holm's procedure is over all), and
limits that hold 1; "the last" is the loud one, where one is loud:

{table(equal, "families × SAEs, noise", "curve", "tables", "any told apart", "limits hold 1", "of the last")}

Where the second family needs 1.2 times fewer latents (1.5 with three SAEs each), and the loud one 1.9 times, the others being equal:

{table(different, "families × SAEs, noise", "curve", "potency", "tables", "better", "worse", "limits hold it")}

* **Four settings of 8 seeds** carry at most a quadratic, and 8 seeds are sure of what that leaves of a Hill curve. Held against the
  scatter of seeds alone, any of three families was told apart in 12.3 % of tables and limits held 1 in 90.0 %. What a shape misses
  does not shrink with seeds, so that settings are the unit where they scatter more than seeds do (lack of fit of replicated designs).
  Now limits are too wide rather: the misfit has one sign in all families, and cancels in their ratios. The remedy is more settings.
* Whether neighbours err alike is looked at from setting to setting: L0s that scatter by themselves put a setting's seeds in order of
  their error, and the remark stood beside 84 % of 600 comparisons on a power law. Of 300 tables it is said in 26 % now, at a level of 25.
* **A loud one of three, 5 SAEs each**, is set apart in 144 of 300 tables of another seed, and the better one is then always seen. In
  the other 156 it widens the others' limits, and in 42 of these the better one is not told apart. Its own limits are too narrow, as
  few SAEs hardly tell their noise.
* **Eight families of three SAEs** have hardly a residual each, and together decided for additive errors where they are log ones: limits
  held the truth in 88 % of 100 tables on a power law. Errors are chosen by the likelihood restricted in the families outside a pair. Three SAEs against three have 32 patterns
  of signs: where no other is as far, the F test counts, else Holm's 0.007 is never reached.
* **A loud one of twenty** is set apart in 39 of 40 tables of another seed. That it is 1.9 times better is often not seen because
  Holm's procedure asks the first of 19 families for 0.0026: the median p value of its gate is 0.006."""


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
