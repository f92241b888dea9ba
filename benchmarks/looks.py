"""False verdicts of a whole head to head: `python -m benchmarks.looks` simulates it, planner and all.

SAEs are drawn in the place of trained ones: families that share one frontier, noise on every hit, another L0
than was aimed at. All else is the code of `sae-train versus`: rounds, the levels of the looks, verdicts, and
the planner that puts further SAEs where the fits so far say. Counted are contests in which any pair gets a
verdict at any look; the rows with a potency say what the looks find.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import track
from tabulate import tabulate

from benchmarks.measuring import RESULTS, arguments, between, circumstances, folder_of, write
from benchmarks.verdict_parts.truths import TRUTHS, Array, Curve, Noise, needing_fewer
from frontier.comparison import Comparison
from frontier.writing import write_text
from trainers.head_to_head.contest import Asked, Outcome, looks_of
from trainers.head_to_head.looks import DECIDED, looked
from trainers.head_to_head.rounds import Rules, Targets

PAGE = Path("docs/head_to_head.md")
SEED = 20261129
MOST = 0.06
"""Share of contests between equal families that may end with a verdict."""
OFF_TARGET = 0.1
"""An SAE's L0 is up to so much, in log L0, from the one that was aimed at."""


@dataclass(frozen=True)
class Case:
    """Families whose frontiers are one curve, or the candidate's that of a potency; a budget of SAEs."""

    truth: str
    noise: Noise
    rivals: int = 1
    saes: int = 40
    potency: float = 1.0


CASES = {
    "Hill, 5 %": Case("Hill", Noise(0.05)),
    "floor, 2 %": Case("floor", Noise(0.02)),
    "convex, 10 %": Case("convex", Noise(0.10)),
    "Hill, 5 %, 20 SAEs": Case("Hill", Noise(0.05), saes=20),
    "Hill, 5 %, two rivals": Case("Hill", Noise(0.05), rivals=2, saes=45),
    "Hill, 5 %, potency 1.2": Case("Hill", Noise(0.05), potency=1.2),
    "Hill, 10 %, potency 1.2": Case("Hill", Noise(0.10), potency=1.2),
}


@dataclass
class Drawn:
    """A maker that draws SAEs."""

    curves: dict[str, Curve]
    case: Case
    rng: np.random.Generator

    def made(self, number: int, targets: Targets) -> pd.DataFrame:
        """SAEs near these L0s."""
        parts = []
        for family, l0s in targets.items():
            l0: Array = np.array(l0s) * np.exp(OFF_TARGET * self.rng.uniform(-1, 1, len(l0s)))
            hit = self.case.noise.on(self.rng, self.curves[family](l0)[None], False)[0]
            parts.append(pd.DataFrame({"family": family, "l0": l0, "performance_hit": hit}))
        return pd.concat(parts, ignore_index=True)

    def affordable(self, trained: int) -> int:
        """What is left of the budget of SAEs."""
        return self.case.saes - trained


def simulated(case: Case, rng: np.random.Generator, contests: int) -> list[Outcome]:
    """So many contests, their looks made in one call as the layers of one table."""
    rivals = tuple(f"rival {i + 1}" for i in range(case.rivals))
    curve = TRUTHS[case.truth]
    curves = dict.fromkeys(rivals, curve) | {"candidate": needing_fewer(curve, case.potency)}
    rules = Rules("candidate", rivals, 20, 300)
    going = {i: looks_of(rules, Drawn(curves, case, rng)) for i in range(contests)}
    asked = {i: next(g) for i, g in going.items()}
    ended: dict[int, Outcome] = {}
    while asked:
        by_level: dict[float, dict[int, Asked]] = {}
        for i, one in asked.items():
            by_level.setdefault(one.level, {})[i] = one
        asked = {}
        for some in by_level.values():
            for i, found in looked_at_once(some).items():
                try:
                    asked[i] = going[i].send(found)
                except StopIteration as stop:
                    ended[i] = stop.value
    return [ended[i] for i in range(contests)]


def looked_at_once(asked: dict[int, Asked]) -> dict[int, list[Comparison]]:
    """The comparisons of looks at one level."""
    parts = [
        one.table[one.table["family"].isin(["candidate", *one.undecided])].assign(layer=i)
        for i, one in asked.items()
    ]
    rivals = sorted({r for one in asked.values() for r in one.undecided})
    level = next(iter(asked.values())).level
    found: dict[int, list[Comparison]] = {i: [] for i in asked}
    for c in looked(pd.concat(parts, ignore_index=True), "candidate", rivals, level, by="layer"):
        found[int(c.group["layer"])].append(c)
    return found


def rates(name: str, contests: int) -> dict[str, Any]:
    """What so many contests of a case end with."""
    case, rng = CASES[name], np.random.default_rng([SEED, list(CASES).index(name)])
    ends = simulated(case, rng, contests)
    told = [any(v.verdict in DECIDED for v in e.verdicts) for e in ends]
    better = [all(v.verdict == "better" for v in e.verdicts) for e in ends]
    held = [
        v.potency_low <= case.potency <= v.potency_high for e in ends for v in e.verdicts if v.potency > 0
    ]
    return {
        "case": name, "potency": case.potency, "contests": contests, "with a verdict": float(np.mean(told)),
        "better": float(np.mean(better)), "interval holds the truth": float(np.mean(held)),
        "SAEs": float(np.mean([e.looks[-1].trained for e in ends])),
    }  # fmt: skip


def on_page(text: str, cases: list[dict[str, Any]]) -> str:
    """A page with its table made anew."""
    head = (
        "families",
        "SAEs",
        "contests",
        "end with a verdict",
        "better",
        "limits hold the truth",
        "SAEs used",
    )
    shown = [
        (
            c["case"], CASES[c["case"]].saes, c["contests"], f"{c['with a verdict']:.1%}",
            f"{c['better']:.1%}", f"{c['interval holds the truth']:.1%}", f"{c['SAEs']:.1f}",
        )
        for c in cases
    ]  # fmt: skip
    return between(text, "looks", tabulate(shown, head, tablefmt="github", disable_numparse=True) + "\n")


def written(found: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """These cases written among those of an earlier result, in the order of `CASES`; all of them."""
    path = folder / "looks.json"
    before = json.loads(path.read_text(encoding="utf-8"))["cases"] if path.exists() else []
    known = {c["case"]: c for c in (*before, *found)}
    cases = [known[name] for name in CASES if name in known]
    write("looks", circumstances("numpy", "scipy", "pandas") | {"most": MOST, "cases": cases}, folder)
    if folder == RESULTS:
        write_text(PAGE, on_page(PAGE.read_text(encoding="utf-8"), cases))
    return cases


def main() -> None:
    """Simulate every case, print it, write the result."""
    parser = arguments(__doc__, "20 contests a case")
    parser.add_argument("--contests", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    asked = parser.parse_args()
    contests = 20 if asked.quick else asked.contests
    found = []
    for name in track(asked.only, description="cases"):
        found.append(rates(name, contests))
        print(json.dumps(found[-1]), flush=True)
    table = pd.DataFrame(written(found, folder_of(asked)))
    equal = table[table["potency"] == 1]
    if len(equal):
        mean = np.average(equal["with a verdict"], weights=equal["contests"])
        print(f"false verdicts: {mean:.1%} of contests, must be at most {MOST:.0%}")


if __name__ == "__main__":
    main()
