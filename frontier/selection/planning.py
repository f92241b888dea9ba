"""How many more SAEs a question needs, and at which L0: greedy optimal designs from the fits at hand.

The fitted curves and residual SDs are taken as the truth; each further SAE goes where it helps most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from frontier.doubts import Doubt, Kind
from frontier.fits.curve_fit import CurveFit
from frontier.fits.doubts import is_perfect
from frontier.problems import Array, Quantity, height, parameter, x_at
from frontier.ratios import Ratio, hit_ratio, refuse_unlike, relative_potency
from frontier.records import recorded
from frontier.selection.assurance import width_quantile
from frontier.selection.candidates import specs_of
from frontier.selection.design import Apart, Design, Width, gathered, greedy, without_strays
from frontier.selection.planned import Addition, Plan
from frontier.wording import nearest, number, plural

GOALS = ("halve", "tell_apart")
ATTEMPTS = 40
"""Searches for a plan that is wide enough of its target."""
CANDIDATES = 60
"""Log-spaced values of L0 at which a further SAE is considered."""
FEW_DF = 5
"""Fewer degrees of freedom than this set the residual SD, and so the plan, only roughly."""


@recorded
def plan(
    fit: CurveFit,
    reference: CurveFit | None = None,
    *,
    goal: str = "halve",
    quantity: str | None = None,
    at: float | None = None,
    l0_range: tuple[float, float] | None = None,
    rival: str | None = None,
    target: float | None = None,
    sure: float | None = 0.8,
    most: int = 200,
) -> Plan:
    """How many more SAEs, of which family and at which L0, until an interval halves or two curves part.

    Greedy: each further SAE goes to the candidate (60 log-spaced L0, either family) that helps most; the
    picks are gathered into a handful of values of L0, and the same search over those gives the plan.

    "halve": the interval's width is 2 t se, with the standard error from the information matrix at the fitted
    parameters and residual SD (c-optimal design), and Welch's degrees of freedom, which grow. So many SAEs
    are planned that the width falls below the target in the share `sure` of the truths that the fits leave
    open (simulated: 85 to 90 % of plans from noisy tables reach it).
    "tell_apart": delta = sqrt(sum of squared gaps between the fitted curve and the rival refitted to it) /
    sigma (T-optimal design); with a reference both families' squares add up.

    Source: Fedorov (1972), Theory of Optimal Experiments, for the search; Atkinson & Fedorov (1975),
    Biometrika 62, 57, for T-optimality.

    Parameters
    ----------
    fit, reference : CurveFit
        With a reference the quantity is a ratio, and SAEs of both families may be added.
    goal : {"halve", "tell_apart"}
    quantity : str, optional
        "relative_potency" (default with a reference), "hit_ratio", or a parameter; without a reference "x_at"
        (default), "height" or a parameter.
    at : float, optional
        The hit (relative_potency, x_at), or the L0 (hit_ratio, height; x where x is no sparsity). Default the
        middle of the data.
    l0_range : (low, high), optional
        Where SAEs may be added; default the range of the data. In x where x is no sparsity.
    rival : curve name, optional
        Default power, or Hill where the fit is the power law.
    target : float, optional
        The delta to reach (default 2), or the share of the present width (default 0.5).
    sure : float, optional
        "halve": the share of truths in which the planned SAEs reach the target; None takes the fits for the
        truth, which reaches it in one of three cases.
    most : int
        Where the search ends.

    Raises
    ------
    ValueError
        Unknown goal, quantity or curve; fits that must not be compared or have no noise; an empty range.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> found = frontier.plan(fits["Attn", "gated"], fits["Attn", "baseline"], goal="halve")
    >>> print(type(found).__name__)
    Plan
    """
    if goal not in GOALS:
        raise ValueError(f"unknown goal {goal!r}{nearest(goal, GOALS)}")
    fits = _usable(fit, reference)
    low, high, beyond = _range(fits, l0_range)
    names = _names(fits)
    design, what, level = _question(fits, goal, quantity, at, rival, target)
    gain = level**2 if goal == "tell_apart" else level**-2
    grid = np.geomspace(low, high, CANDIDATES)

    def search(wanted: float) -> tuple[list[Array], list[tuple[int, int]], list[float]]:
        first, _ = greedy(design([grid] * len(fits)), wanted, most)
        own = [gathered([float(grid[j]) for m, j in first if m == i], low, high) for i in range(len(fits))]
        return without_strays(design, own, wanted, most)

    sure = sure if goal == "halve" else None
    if sure is not None:
        asked = _quantity(fits, quantity, at)[0]
        places, picks, gains, reached = _assured(fits, asked, search, level, sure)
    else:
        places, picks, gains = search(gain)
        reached = gains[-1] >= gain * (1 - 1e-9)
    path = tuple(math.sqrt(g) if goal == "tell_apart" else 1 / math.sqrt(g) for g in gains)
    additions = tuple(
        Addition(names[m], float(place), picks.count((m, j)))
        for m, family in enumerate(places)
        for j, place in enumerate(family)
        if (m, j) in picks
    )
    return Plan(
        goal, what, _axis(fit), additions, len(picks), reached, path, level, _needed(gains, gain), most, low,
        high, tuple(_doubts(fits, names, beyond)), tuple(_notes(fits, low, high, beyond, sure)),
        math.nan if sure is None else sure,
    )  # fmt: skip


def _assured(
    fits: Sequence[CurveFit],
    asked: Quantity,
    search: Callable[[float], tuple[list[Array], list[tuple[int, int]], list[float]]],
    width: float,
    sure: float,
) -> tuple[list[Array], list[tuple[int, int]], list[float], bool]:
    """The smallest plan whose width stays below the target in the share `sure` of truths.

    The search aims at smaller and smaller expected widths until it does.
    """
    aim = 1.0
    for _ in range(ATTEMPTS):
        places, picks, gains = search((aim * width) ** -2)
        added = [_x(f, np.array([places[m][j] for i, j in picks if i == m])) for m, f in enumerate(fits)]
        likely = width_quantile(fits, asked, added, sure)
        short = gains[-1] < (aim * width) ** -2 * (1 - 1e-9)
        if likely <= width or short:
            return places, picks, gains, likely <= width
        aim *= min(max(width / likely, 0.6), 0.98)
    return places, picks, gains, False


def _question(
    fits: Sequence[CurveFit],
    goal: str,
    quantity: str | None,
    at: float | None,
    rival: str | None,
    target: float | None,
) -> tuple[Callable[[Sequence[Array]], Design], str, float]:
    """The design for given places, what it is about, and the delta or width to reach."""
    fit = fits[0]
    if goal == "tell_apart":
        rival = rival or ("hill" if fit.curve == "power" else "power")
        spec = specs_of(fit, (fit.curve, rival), None)[1]
        wanted = 2.0 if target is None else float(target)
        return (
            lambda places: Apart(fits, spec, _xs(fits, places)),
            f"tell {fit.curve} from {spec.label}",
            wanted,
        )
    asked, what = _quantity(fits, quantity, at)
    width = 1 / math.sqrt(Width(fits, asked, [np.empty(0)] * len(fits)).gain())
    wanted = width * (0.5 if target is None else float(target))
    return lambda places: Width(fits, asked, _xs(fits, places)), what, wanted


def _usable(fit: CurveFit, reference: CurveFit | None) -> list[CurveFit]:
    fits = [fit] if reference is None else [fit, reference]
    if reference is not None:
        refuse_unlike(fit, reference)
        if reference is fit or (reference.group == fit.group and np.array_equal(reference.y, fit.y)):
            raise ValueError(
                f"fit and reference are one fit ({fit.name}): a plan for their ratio wants two families; "
                "without reference it is for this family alone"
            )
    for f in fits:
        if is_perfect(f) or not f.sigma > 0:
            raise ValueError(f"the fit of {f.name} leaves no residuals; there is no noise to plan for")
    return fits


def _axis(fit: CurveFit) -> str:
    return "L0" if fit.x_name in ("sparsity", "l0") else fit.x_name


def _x(fit: CurveFit, places: Array) -> Array:
    """Values of x at places on the plan's axis; also the way back."""
    return 1 / places if fit.x_name == "sparsity" else places


def _xs(fits: Sequence[CurveFit], places: Sequence[Array]) -> list[Array]:
    return [_x(f, p) for f, p in zip(fits, places, strict=True)]


def _range(fits: Sequence[CurveFit], asked: tuple[float, float] | None) -> tuple[float, float, bool]:
    """Ends of the search, and whether it leaves the data."""
    data = np.concatenate([_x(f, f.x) for f in fits])
    low, high = (
        (float(data.min()), float(data.max())) if asked is None else (float(asked[0]), float(asked[1]))
    )
    if not 0 < low < high < math.inf:
        raise ValueError(f"l0_range must be two positive numbers, the smaller first, found {(low, high)}")
    return low, high, asked is not None and (low < 0.999 * data.min() or high > 1.001 * data.max())


def _names(fits: Sequence[CurveFit]) -> list[str]:
    if len(fits) == 1:
        return [fits[0].name]
    ratio = relative_potency(fits[0], fits[1])
    return [ratio.family, ratio.reference]


def _quantity(fits: Sequence[CurveFit], name: str | None, at: float | None) -> tuple[Quantity, str]:
    """The quantity (the same of each family) and its name in words."""
    fit, axis = fits[0], _axis(fits[0])
    name = name or ("relative_potency" if len(fits) == 2 else "x_at")
    free = fit.problem.free_names
    known = (*(("relative_potency", "hit_ratio") if len(fits) == 2 else ("x_at", "height")), *free)
    if name not in known:
        raise ValueError(f"cannot plan for {name!r}{nearest(name, known)}")
    if name in free:
        return parameter(name), f"the ratio of {name}" if len(fits) == 2 else name
    if name in ("relative_potency", "x_at"):
        at = _middle(fits, relative_potency, fit.y) if at is None else at
        return x_at(at), f"{name if len(fits) == 2 else axis} at y = {number(at)}"
    at = _middle(fits, hit_ratio, _x(fit, fit.x)) if at is None else at
    return height(float(_x(fit, np.array(at)))), f"{name} at {axis} = {number(at)}"


def _middle(fits: Sequence[CurveFit], ratio: Callable[[CurveFit, CurveFit], Ratio], values: Array) -> float:
    """Where a ratio is read by default; the geometric middle of the values of a single fit."""
    if len(fits) == 2:
        at = ratio(fits[0], fits[1]).at
        assert at is not None
        return at
    positive = values[values > 0]
    return math.sqrt(float(positive.min() * positive.max()))


def _needed(gains: Sequence[float], gain: float) -> float:
    """SAEs until the gain is reached; beyond the last one by the slope of the second half."""
    n = len(gains) - 1
    if gains[-1] >= gain * (1 - 1e-9):
        return float(n)
    slope = (gains[-1] - gains[n // 2]) / max(n - n // 2, 1)
    return n + (gain - gains[-1]) / slope if slope > 0 else math.inf


def _doubts(fits: Sequence[CurveFit], names: Sequence[str], beyond: bool) -> Iterator[Doubt]:
    for f, name in zip(fits, names, strict=True):
        if f.df < FEW_DF:
            df = plural(int(f.df), "degree")
            text = f"The residual SD of {name} rests on {df} of freedom: the plan is rough."
            yield Doubt(Kind.few_points, text, name, numbers={"df": f.df})
    if beyond:
        text = "The range leaves the data: the fitted curves are taken to hold there."
        yield Doubt(Kind.extrapolated, text)


def _notes(
    fits: Sequence[CurveFit], low: float, high: float, beyond: bool, sure: float | None
) -> Iterator[str]:
    where = "" if beyond else ", inside the range of the data"
    axis = _axis(fits[0])
    taken = (
        f"So many SAEs are planned that the target is reached in {100 * sure:g} % of the truths that the "
        "fits leave open; the limits given are the expected ones, new SAEs as noisy as those at hand"
        if sure is not None
        else "The fitted curves and residual SDs are taken as the truth, new SAEs as noisy as those at hand"
    )
    yield (
        f"{axis} from {number(low)} to {number(high)} was searched{where}. {taken}; several at one {axis} "
        "are several seeds, or settings close by."
    )
