"""The closed procedure on pairs made by hand: what each number of a pair decides."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from frontier.comparison.verdicts import Decision, decisions
from frontier.groups import Group
from frontier.ratios.observed import ObservedRatio
from frontier.shared_shape.pair_curves import HITS, MIDDLE
from frontier.shared_shape.pairs import Pair, Side
from frontier.shared_shape.scatter import Scatter, Widened

NONE = Side(0.0, 0.01)
SCATTER = Scatter(0.05, 12.0, 0.5, 0.5, 0.0, 1.0, 0, 1.0, Widened(False, 1.0, 1.0, 12.0))
BY_SEED = replace(SCATTER, widened=replace(SCATTER.widened, by_seed=True))


def pair(**changes: object) -> Pair:
    """A family that needs 0.74 times the L0 of the reference, surely, on parallel curves."""
    of_hits = {"potency": 0.3, "potency_se": 0.05, "robust_se": 0.05, "hits": 0.1}
    found = Pair(
        p_gate=1e-4, p_parallel=0.5, shift=0.3, shift_se=0.05, shift_df=12.0, slope=-0.5,
        **{name: np.full(HITS, value) for name, value in of_hits.items()}, left_out=np.full(16, 0.3),
        df=12.0, lower=Side(6.0, 0.025), higher=NONE, hit_ratio=-0.15, hit_ratio_se=0.025, hit_ratio_l0=60.0,
        own=2.0, starts_lower=True, falls=True,
    )  # fmt: skip
    return replace(found, **changes)  # type: ignore[arg-type]


def at_middle(value: float, se: float = 0.05) -> dict[str, np.ndarray]:
    return {"potency": np.full(HITS, value), "potency_se": np.full(HITS, se)}


def seen(low: float, high: float, crossing: tuple[float, ...] = ()) -> ObservedRatio:
    middle = float(np.sqrt(low * high))
    ratio = (middle, low, high, 0.1, 0.2, crossing)
    return ObservedRatio(Group({}), "topk", "relu", "relative_potency", *ratio)


def decided(one: Pair, observed: ObservedRatio | None = None, **options: object) -> Decision:
    scatter = options.pop("scatter", SCATTER)
    return decisions([one], [observed], scatter, **options)[0]  # type: ignore[arg-type]


def reach(level: float, df: float = 12.0) -> float:
    return float(scipy.stats.t.ppf(1 - level / 2, df))


def test_each_step_down_of_holm_has_a_larger_level():
    found = decisions([pair(p_gate=p) for p in (0.02, 1e-4, 0.01)], [None] * 3, SCATTER)
    assert [d.level for d in found] == pytest.approx([0.05, 0.05 / 3, 0.05 / 2])  # Holm (1979)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("t, sure", [(1.02, True), (0.98, False)])
def test_a_shift_and_the_own_curve_decide_at_the_two_sided_quantile(side, t, sure):
    """Each alone just beyond, or just short of, the quantile of its own degrees of freedom."""
    named = ("better" if side > 0 else "worse") if sure else "not separable"
    by_shift = pair(shift=side * t * reach(0.05, 5.0) * 0.05, shift_df=5.0, **at_middle(side * 1.0))
    by_curve = pair(shift=side * 1.0, df=5.0, **at_middle(side * t * reach(0.05, 5.0) * 0.05))
    assert decided(by_shift).verdict == decided(by_curve).verdict == named


def test_a_shift_against_the_own_curve_is_no_verdict():
    assert decided(pair(**at_middle(-0.3))).verdict == "not separable"


@pytest.mark.parametrize(
    "low, high, verdict",
    [(6.0, 0.0, "better"), (0.0, 6.0, "worse"), (6.0, 6.0, "crossing"), (0.0, 0.0, "not separable")],
)
@pytest.mark.parametrize("shared", ["l0", "hits"])
def test_curves_that_are_not_parallel_are_judged_by_their_sides(low, high, verdict, shared):
    ends = np.linspace(0.05 * low, -0.05 * high, HITS)
    one = pair(p_parallel=1e-4, lower=Side(low, 0.02), higher=Side(high, 0.02), potency=ends)
    if shared == "hits":
        one = replace(one, hit_ratio=np.nan)
    assert decided(one).verdict == verdict


@pytest.mark.parametrize("first, last, verdict", [(0.3, -0.2, "crossing"), (0.3, 0.2, "withheld")])
def test_a_crossing_whose_ratios_lie_on_one_side_is_withheld(first, last, verdict):
    sides = {"lower": Side(6.0, 0.02), "higher": Side(6.0, 0.02)}
    found = decided(pair(p_parallel=1e-4, **sides, potency=np.linspace(first, last, HITS)))
    assert (found.verdict, "one side of 1" in found.why) == (verdict, verdict == "withheld")


@pytest.mark.parametrize("low, high", [(1.0, 1.1), (1.7, 1.9)])
@pytest.mark.parametrize("swapped", [False, True])
def test_points_wholly_beyond_the_limits_veto_and_points_that_touch_them_do_not(low, high, swapped):
    """The limits are exp(0.3 ± 0.109) = 1.21 to 1.51."""
    one = pair(shift=-0.3, **at_middle(-0.3)) if swapped else pair()
    beyond = (1 / high, 1 / low) if swapped else (low, high)
    touching = (1 / 3, 1 / 1.4) if swapped else (1.4, 3.0)
    assert decided(one, seen(*beyond)).verdict == "withheld"
    assert decided(one, seen(*touching)).verdict == ("worse" if swapped else "better")


@pytest.mark.parametrize("p, verdict", [(0.04, "withheld"), (0.06, "crossing")])
def test_a_crossing_of_a_shape_that_does_not_fit_is_withheld(p, verdict):
    sides = {"lower": Side(6.0, 0.02), "higher": Side(6.0, 0.02)}
    one = pair(p_parallel=1e-4, **sides, potency=np.linspace(0.3, -0.3, HITS))
    scatter = replace(SCATTER, p_lack_of_fit=p)
    assert decided(one, scatter=scatter).verdict == verdict
    assert decided(one, seen(0.5, 0.9), scatter=scatter).verdict == "withheld"


def test_tipping_points_solve_their_own_equation():
    """|d| = t √(SE² + 2 SD²), for the side that the verdict names and the nearer one of a crossing."""
    sides = {"lower": Side(6.0, 0.02), "higher": Side(4.0, 0.03)}
    t = reach(0.05)
    apart = {"p_parallel": 1e-4, **sides, "potency": np.linspace(0.3, -0.3, HITS)}
    expected = {
        "better": (decided(pair(**{**apart, "higher": NONE})), sides["lower"]),
        "worse": (decided(pair(**{**apart, "lower": NONE})), sides["higher"]),
        "crossing": (decided(pair(**apart)), sides["higher"]),
    }
    for verdict, (found, side) in expected.items():
        assert found.verdict == verdict
        sd = found.tipping
        assert side.t * side.se == pytest.approx(t * np.sqrt(side.se**2 + 2 * sd**2), rel=1e-9)
    parallel = decided(pair())
    d, se = 0.3 * 0.5, 0.05 * 0.5  # a log potency times the slope is a log hit
    assert d == pytest.approx(t * np.hypot(se, np.sqrt(2) * parallel.tipping), rel=1e-9)


def test_seeds_in_the_data_leave_nothing_to_tip():
    assert np.isnan(decided(pair(), scatter=BY_SEED).tipping)
    assert decided(pair(), scatter=BY_SEED, typical_seed_sd=9.0).verdict == "better"


def test_the_middle_hit_is_read_and_no_other():
    potency = np.full(HITS, -0.3)
    potency[MIDDLE] = 0.3
    assert decided(pair(potency=potency)).verdict == "better"
