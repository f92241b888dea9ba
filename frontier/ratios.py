"""Ratios of architectures: parameters, L0 at equal performance hit, performance hit at equal L0.

Direction: ratio = value(family) / value(reference), except relative potency, which is
L0(reference) / L0(family) at equal hit: 2.5 means that the family needs 2.5 times fewer active latents.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from frontier import log_ratio as lr
from frontier._format import View, interval_cell, listed, nearest, number, p_value_cell
from frontier.curve_fit import CurveFit, FrontierFits
from frontier.problems import Quantity, height, parameter, x_at
from frontier.results import Group, Result

LOWER_IS_BETTER = ("performance_hit", "delta_ce", "fvu", "mse", "kl")
HIGHER_IS_BETTER = ("loss_recovered", "loss_recovered_zero", "cosine_similarity")
SPARSITY_AXES = ("sparsity", "relative_sparsity")

Level = float | None


@dataclass(frozen=True, repr=False)
class Ratio(Result):
    """One ratio of a family to a reference, with interval, p value of 'equal', and doubts.

    Attributes
    ----------
    quantity : str
        k, n, slope, intercept, exponent, scale, top, relative_potency or hit_ratio.
    at : float or None
        The hit (relative potency) or the x (hit ratio) where it is read.
    better_when : str
        "above 1" or "below 1": the side on which the family is better; empty where neither is.
    """

    group: Group
    family: str
    reference: str
    quantity: str
    at: float | None
    ratio: float
    ratio_low: float
    ratio_high: float
    p_value: float
    df: float
    better_when: str
    level: float
    method: str
    errors: str
    doubts: tuple[str, ...] = ()
    p_adjusted: float | None = None

    @property
    def verdict(self) -> str:
        """'better', 'worse' or 'not separable' by this ratio's interval; empty where no side is better."""
        if not self.better_when or math.isnan(self.ratio_low) or math.isnan(self.ratio_high):
            return ""
        if self.ratio_low <= 1 <= self.ratio_high:
            return "not separable"
        return "better" if (self.ratio_low > 1) == (self.better_when == "above 1") else "worse"

    def to_frame(self) -> pd.DataFrame:
        """One row: the columns of `RatioTable.to_frame`."""
        return pd.DataFrame([_record(self)])

    def _view(self) -> View:
        return RatioTable((self,), tuple(self.group))._view()


@dataclass(frozen=True, repr=False)
class RatioTable(Result):
    """Ratios of families to one reference, one row per group, family and quantity."""

    ratios: tuple[Ratio, ...]
    group_columns: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Ratio]:
        return iter(self.ratios)

    def __len__(self) -> int:
        return len(self.ratios)

    def __getitem__(self, key: Any) -> Ratio:
        if isinstance(key, (int, np.integer)):
            return self.ratios[key]
        wanted = key if isinstance(key, tuple) else (key,)
        found = [r for r in self.ratios if all(w in (r.quantity, r.family, *r.group.values()) for w in wanted)]
        if len(found) != 1:
            raise KeyError(f"{len(found)} ratios match {key!r}; name group values, family and quantity so that one does")
        return found[0]

    def to_frame(self, backend: str = "pandas") -> Any:
        """The group columns, `family`, `reference`, `quantity`, `at`, `ratio`, `ratio_low`, `ratio_high`,
        `p_value`, `p_adjusted` (Holm, over the rows of one quantity), `better_when`, `df`, `errors`, `method`,
        `doubts`.
        """  # noqa: D205
        from frontier.metrics import give_back

        return give_back(pd.DataFrame([_record(r) for r in self.ratios]), backend)

    def to_markdown(self) -> str:
        """The table in Markdown."""
        from frontier.tables import ratios_table

        return ratios_table(self, style="markdown")

    def to_latex(self) -> str:
        """The table in LaTeX (booktabs)."""
        from frontier.tables import ratios_table

        return ratios_table(self, style="latex")

    def _view(self) -> View:
        varying = [c for c in self.group_columns if len({str(r.group.get(c)) for r in self.ratios}) > 1]
        rows = [
            (
                *(str(r.group[c]) for c in varying), r.family, r.reference, r.quantity,
                "" if r.at is None else number(r.at), interval_cell(r.ratio, r.ratio_low, r.ratio_high),
                p_value_cell(r.p_value), r.verdict,
            )
            for r in self.ratios
        ]  # fmt: skip
        level = self.ratios[0].level if self.ratios else 0.95
        headers = (*varying, "family", "reference", "quantity", "at", f"ratio [{100 * level:g} %]", "p", "family is")
        return View("Ratios: family / reference", headers, tuple(rows), (*self.notes, *self._doubts(varying)))

    def _doubts(self, varying: list[str]) -> list[str]:
        """Each doubt once per cell, though several of its rows share it."""
        said: dict[tuple[str, str], str] = {}
        for r in self.ratios:
            cell = ", ".join(str(r.group[c]) for c in varying)
            for d in r.doubts:
                said.setdefault((cell, d.split("; Welch")[0]), f"{cell}: {d}" if cell else d)
        return list(said.values())


def ratio_table(
    fits: FrontierFits,
    reference: str | None = None,
    *,
    at: float | None = None,
    method: str = "welch",
    level: float | None = None,
    simultaneous: str | None = None,
) -> RatioTable:
    """Every family's parameters against the reference family's, group by group, with the relative potency.

    Parameters
    ----------
    reference : name of a family
        Default: the one named relu, standard, vanilla or baseline, if there is exactly one.
    at : float, optional
        The hit for relative potency; default the geometric middle of each pair's common range.
    method : {"welch", "mover", "profile"}
    simultaneous : {None, "bonferroni", "dunnett"}
        Widens the intervals so that they hold together over all rows of one quantity.

    Raises
    ------
    ValueError
        Unknown reference, method or adjustment.
    """
    lr.method_named(method)
    name = reference_family([str(f.group.get(fits.family_column, "")) for f in fits], reference)
    pairs, notes = pairs_with(fits, name)
    asked = fits.fits[0].level if level is None and fits.fits else (level or 0.95)

    def build(levels: dict[str, float]) -> list[Ratio]:
        rows = []
        for fit, ref in pairs:
            free = [p for p in fit.problem.free_names if p in ref.problem.free_names]
            rows += [parameter_ratio(fit, ref, p, level=levels.get(p, asked), method=method) for p in free]
            rows.append(relative_potency(fit, ref, at=at, level=levels.get("relative_potency", asked), method=method))
        return rows

    rows = build({})
    if simultaneous:
        rows = [replace(r, level=asked) for r in build(_joint_levels(rows, asked, simultaneous, pairs))]
        notes = [*notes, f"intervals hold together over the rows of each quantity ({simultaneous})"]
    columns = tuple(c for c in fits.group_columns if c != fits.family_column)
    return RatioTable(tuple(_adjusted(rows)), columns, (*notes, *fits.notes))


def parameter_ratio(
    fit: CurveFit, reference: CurveFit, name: str, *, level: Level = None, method: str = "welch"
) -> Ratio:
    """value(family) / value(reference) of one parameter of two independent fits."""
    doubts = []
    if fit.curve == "hill" and name == "k":
        doubts = [f"{n} k / largest x = {number(f['k'].estimate / float(f.x.max()), 2)}" for n, f in _named(fit, reference) if f["k"].estimate > f.x.max()]
        doubts = [f"k is extrapolated: {', '.join(doubts)}."] if doubts else []
    better = {"k": "above 1", "slope": "below 1", "intercept": "below 1", "scale": "below 1"}.get(name, "")
    return _ratio(fit, reference, (parameter(name), parameter(name)), name, None, better, level, method, doubts)


def relative_potency(
    fit: CurveFit, reference: CurveFit, at: float | None = None, *, level: Level = None, method: str = "welch"
) -> Ratio:
    """L0(reference) / L0(family) at equal performance hit `at`; above 1, the family needs fewer latents.

    Parameters
    ----------
    at : float, optional
        A height (performance hit); default the geometric middle of the heights that both fits cover.

    Returns
    -------
    Ratio
        Doubts say where `at` lies outside the data of one of the fits.
    """
    at, doubts = _level_of(fit, reference, at)
    quantity = x_at(at)
    return _ratio(fit, reference, (quantity, quantity), "relative_potency", at, "above 1", level, method, doubts)


def hit_ratio(
    fit: CurveFit, reference: CurveFit, at: float | None = None, *, level: Level = None, method: str = "welch"
) -> Ratio:
    """hit(family) / hit(reference) at equal L0 `at`; below 1, the family loses less.

    Parameters
    ----------
    at : float, optional
        An L0 (or a value of x, where x is no sparsity); default the geometric middle of the common range.
    """
    low, high = common_x(fit, reference)
    doubts = []
    if at is None:
        x = math.sqrt(low * high) if low > 0 else 0.5 * (low + high)
        at = 1 / x if fit.x_name == "sparsity" else x
    else:
        x = 1 / at if fit.x_name == "sparsity" else float(at)
    if not low <= x <= high:
        doubts.append(f"{'L0' if fit.x_name == 'sparsity' else fit.x_name} = {number(at)} is outside the range that both cover.")
    quantity = height(x)
    return _ratio(fit, reference, (quantity, quantity), "hit_ratio", at, "below 1", level, "welch" if method == "profile" else method, doubts)


def common_y(fit: CurveFit, reference: CurveFit) -> tuple[float, float]:
    """Largest of the smallest heights and smallest of the largest; reversed where the ranges do not meet."""
    return _common(fit.y[fit.y > 0] if (fit.y > 0).any() else fit.y, reference.y[reference.y > 0] if (reference.y > 0).any() else reference.y)


def common_x(fit: CurveFit, reference: CurveFit) -> tuple[float, float]:
    """The same for x."""
    return _common(fit.x, reference.x)


def reference_family(families: Sequence[str], reference: str | None) -> str:
    """The reference's name among the families.

    Raises
    ------
    ValueError
        When the named one does not exist, or none is named and the choice is not clear; lists the choices.
    """
    known = list(dict.fromkeys(families))
    if reference is not None:
        if reference not in known:
            raise ValueError(f"no family {reference!r} to compare with{nearest(reference, known)}")
        return reference
    usual = [f for f in known if f.lower() in ("relu", "standard", "vanilla", "baseline")]
    if len(usual) != 1:
        raise ValueError(f"name the reference family; there are {listed(known, 12)}")
    return usual[0]


def refuse_unlike(fit: CurveFit, reference: CurveFit) -> None:
    """Refuse to compare fits of different curve, errors, axes or evaluation protocol.

    Raises
    ------
    ValueError
        Names what differs.
    """
    for what in ("curve", "errors", "x_name", "y_name"):
        a, b = getattr(fit, what), getattr(reference, what)
        if a != b:
            raise ValueError(f"cannot compare {fit.name} and {reference.name}: {what} is {a} and {b}")
    for fact in ("protocol", "ablation"):
        a, b = fit.facts.get(fact), reference.facts.get(fact)
        if a != b:
            raise ValueError(
                f"cannot compare {fit.name} and {reference.name}: {fact} is {a!r} and {b!r}; make the column equal "
                "in the table if they are"
            )


def pairs_with(fits: FrontierFits, reference: str) -> tuple[list[tuple[CurveFit, CurveFit]], list[str]]:
    """Every other family's fit with the reference's of the same group; remarks where one is missing."""
    column = fits.family_column
    if not column:
        raise ValueError(f"the fits have no family column; they are grouped by {listed(fits.group_columns)}")
    cells: dict[tuple[Any, ...], dict[str, CurveFit]] = {}
    for f in fits:
        cells.setdefault(_cell(f.group, column), {})[str(f.group[column])] = f
    pairs, notes = [], []
    for cell, members in cells.items():
        others = [f for name, f in members.items() if name != reference]
        if reference in members:
            pairs += [(f, members[reference]) for f in others]
        elif others:
            notes.append(f"no fit of {reference} in {listed(list(cell)) or 'the table'}: {listed(list(members))} not compared")
    notes += [f"{', '.join(map(str, x.group.values()))}: {x.reason}" for x in fits.failures]
    return pairs, notes


def _ratio(
    fit: CurveFit, reference: CurveFit, quantities: tuple[Quantity, Quantity], name: str, at: float | None,
    better: str, level: Level, method: str, doubts: list[str],
) -> Ratio:  # fmt: skip
    level = fit.level if level is None else level
    refuse_unlike(fit, reference)
    own = ["wald" if q.kind == "height" else f.interval_method for q, f in zip(quantities, (fit, reference), strict=True)]
    one, two = (
        lr.log_estimate(f.estimate, q, level, m) for f, q, m in zip((fit, reference), quantities, own, strict=True)
    )
    on_log_scale = quantities[0].kind == "x_at" or name in fit.problem.curve.positive
    if method == "profile" and on_log_scale and fit.problem.curve.log_x:
        found = lr.pooled_profile(fit.estimate, reference.estimate, quantities, level)
    elif method == "mover":
        found = lr.mover(one, two, level)
    else:
        method, found = "welch", lr.welch(one, two, level)
    sign = 1.0
    if name == "relative_potency" and fit.x_name == "l0":
        sign = -1.0
    low, high = sorted((sign * found.low, sign * found.high)) if math.isfinite(found.value) else (math.nan, math.nan)
    if not math.isfinite(found.value):
        doubts = [*doubts, f"{name} is not positive in one of the fits, so its ratio has no logarithm."]
    group = {k: v for k, v in fit.group.items() if reference.group.get(k) == v}
    family, ref = _family_names(fit, reference)
    return Ratio(
        group, family, ref, name, at, _exp(sign * found.value), _exp(low), _exp(high), found.p_value, found.df,
        _better(better, fit), level, method, fit.errors, tuple([*doubts, *_pair_doubts(fit, reference, found.df)]),
    )  # fmt: skip


def _level_of(fit: CurveFit, reference: CurveFit, at: float | None) -> tuple[float, list[str]]:
    low, high = common_y(fit, reference)
    if low > high:
        a, b = ((float(f.y.min()), float(f.y.max())) for f in (fit, reference))
        names = _family_names(fit, reference)
        doubt = (
            f"{names[0]} covers y {number(a[0])}-{number(a[1])}, {names[1]} {number(b[0])}-{number(b[1])}: every "
            "comparison at equal y extrapolates at least one curve."
        )
        return (math.sqrt(low * high) if at is None else at), [doubt]
    if at is None:
        return (math.sqrt(low * high) if low > 0 else 0.5 * (low + high)), []
    outside = [n for n, f in _named(fit, reference) if not f.y.min() <= at <= f.y.max()]
    return at, [f"y = {number(at)} is outside the data of {listed(outside)}: extrapolated."] if outside else []


def _pair_doubts(fit: CurveFit, reference: CurveFit, df: float) -> list[str]:
    doubts = []
    f = (fit.sigma / reference.sigma) ** 2 if reference.sigma > 0 else math.nan
    if math.isfinite(f) and f > 0:
        tail = float(lr.fdtrc(fit.df, reference.df, f)), float(lr.fdtrc(reference.df, fit.df, 1 / f))
        if 2 * min(tail) < 0.05:
            a, b = _family_names(fit, reference)
            percent = fit.errors != "additive"
            show = [f"{number(100 * s, 2)} %" if percent else number(s, 2) for s in (fit.sigma, reference.sigma)]
            doubts.append(f"Residual SD {show[0]} in {a}, {show[1]} in {b}; Welch degrees of freedom used ({number(df, 2)}).")
    for fact in ("tokens_trained", "dictionary_size"):
        a, b = fit.facts.get(fact), reference.facts.get(fact)
        if a != b and a and b:
            doubts.append(f"{fact} differs: {a} in {_family_names(fit, reference)[0]}, {b} in {_family_names(fit, reference)[1]}.")
    runs = sorted((fit.runs, reference.runs))
    if runs[0] > 0 and runs[1] > 2 * runs[0]:
        a, b = _family_names(fit, reference)
        doubts.append(
            f"{a} was selected from {fit.runs} runs, {b} from {reference.runs}: the longer search finds the luckier frontier."
        )
    return doubts


def _joint_levels(
    rows: list[Ratio], level: float, kind: str, pairs: list[tuple[CurveFit, CurveFit]]
) -> dict[str, float]:
    """Per quantity, the level of single intervals that hold together at `level`."""
    from frontier.simultaneous import joint_level

    return {q: joint_level([r for r in rows if r.quantity == q], level, kind, pairs) for q in {r.quantity for r in rows}}


def _adjusted(rows: list[Ratio]) -> list[Ratio]:
    out = list(rows)
    for quantity in {r.quantity for r in rows}:
        index = [i for i, r in enumerate(rows) if r.quantity == quantity]
        for i, p in zip(index, lr.holm(np.array([rows[i].p_value for i in index])), strict=True):
            out[i] = replace(rows[i], p_adjusted=float(p))
    return out


def _better(when: str, fit: CurveFit) -> str:
    """Which side is better, given what the axes mean."""
    if fit.x_name not in (*SPARSITY_AXES, "l0") or not when:
        return ""
    if fit.y_name in LOWER_IS_BETTER and fit.x_name in SPARSITY_AXES:
        return when
    return when if fit.y_name in (*LOWER_IS_BETTER, *HIGHER_IS_BETTER) and when == "above 1" and fit.x_name == "l0" else ""


def _named(fit: CurveFit, reference: CurveFit) -> list[tuple[str, CurveFit]]:
    return list(zip(_family_names(fit, reference), (fit, reference), strict=True))


def _family_names(fit: CurveFit, reference: CurveFit) -> tuple[str, str]:
    differ = [k for k in fit.group if fit.group[k] != reference.group.get(k)]
    if not differ:
        return fit.name, reference.name
    return tuple(", ".join(str(f.group[k]) for k in differ) for f in (fit, reference))  # type: ignore[return-value]


def _common(one: np.ndarray, two: np.ndarray) -> tuple[float, float]:
    return max(float(one.min()), float(two.min())), min(float(one.max()), float(two.max()))


def _cell(group: Group, family_column: str) -> tuple[Any, ...]:
    return tuple(v for k, v in group.items() if k != family_column)


def _exp(value: float) -> float:
    if math.isnan(value):
        return math.nan
    return math.exp(value) if value < 700 else math.inf


def _record(r: Ratio) -> dict[str, Any]:
    return {
        **r.group, "family": r.family, "reference": r.reference, "quantity": r.quantity,
        "at": math.nan if r.at is None else r.at, "ratio": r.ratio, "ratio_low": r.ratio_low,
        "ratio_high": r.ratio_high, "p_value": r.p_value,
        "p_adjusted": math.nan if r.p_adjusted is None else r.p_adjusted, "better_when": r.better_when,
        "df": r.df, "errors": r.errors, "method": r.method, "doubts": " ".join(r.doubts),
    }  # fmt: skip
