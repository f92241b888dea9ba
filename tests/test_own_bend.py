"""A reference that bends otherwise than the shape that it shares: said with the interpolated potencies.

Oracles: curves with a known bend, ordinary least squares of numpy, and the level of a test on tables of one
shape.
"""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import frontier
from frontier.doubts import Kind, has
from frontier.shared_shape import Cell, analysed

FAMILIES = {"relu": (55, 1000), "topk": (20, 640), "gated": (20, 640), "jumprelu": (25, 640)}


def table(bent, noise=0.01, points=8, seed=0, families=FAMILIES):
    """Families steeper at large L0; relu bends as they do, or (`bent`) falls almost straight."""
    rng = np.random.default_rng(seed)
    rows = []
    for i, (name, ends) in enumerate(families.items()):
        z = np.log(np.geomspace(*ends, points))
        at = z - (0.9 if name == "relu" and not bent else 0.0)
        y = -3.6 - 0.1 * i - 0.65 * (at - 4) - 0.15 * np.maximum(at - 4, 0) ** 2 - 0.08 * (at - 4) ** 3 / 3
        if name == "relu" and bent:
            y = -3.1 - 0.6 * (z - 4) - 0.045 * (z - 4) ** 2
        y = np.exp(y + noise * rng.standard_normal(points))
        rows += [
            {"architecture": name, "l0": math.exp(a), "loss_recovered": 1 - b}
            for a, b in zip(z, y, strict=True)
        ]
    return pd.DataFrame(rows)


def the_doubt(found):
    kinds = {d for c in found for d in c.doubts if d.kind is Kind.own_bend}
    assert len(kinds) == 1  # one for all comparisons of the cell
    return kinds.pop()


def interpolated(rows, one, two, hit):
    """L0 of `two` over that of `one` on straight lines between points in log-log."""
    logs = []
    for name in (one, two):
        own = rows[rows["architecture"] == name].sort_values("l0", ascending=False)
        logs.append(np.interp(np.log(hit), np.log(1 - own["loss_recovered"]), np.log(own["l0"])))
    return math.exp(logs[1] - logs[0])


def test_a_reference_with_a_bend_of_its_own_is_doubted_in_numbers():
    rows = table(bent=True, points=16)
    found = frontier.compare(rows)
    doubt = the_doubt(found)
    assert doubt.numbers["p"] < 0.01 and doubt.family == "relu"
    for c in found:
        expected = interpolated(rows, c.family, "relu", c.potency.at)
        assert doubt.numbers[f"interpolated {c.family}"] == pytest.approx(expected, rel=1e-6)
    assert "relu bends otherwise than the other families" in str(doubt)
    assert "; all 3 lie" in str(doubt)


def test_a_bend_that_does_not_matter_is_not_said():
    """Told by its p value, while every interpolated potency is nearer than half the interval's half-width."""
    found = frontier.compare(table(bent=True, points=12))
    assert not any(has(c.doubts, Kind.own_bend) for c in found)
    for c in found:
        apart = abs(math.log(c.potency.ratio / interpolated(
            table(bent=True, points=12), c.family, "relu", c.potency.at)))  # fmt: skip
        assert apart < 0.5 * math.log(c.potency.ratio_high / c.potency.ratio_low) / 2


def test_families_of_one_shape_are_not_doubted():
    assert not any(has(c.doubts, Kind.own_bend) for c in frontier.compare(table(bent=False)))


def test_the_sentence_says_on_which_side_of_the_limits_the_interpolated_potency_lies():
    """Of two families, the sentence names both, and nothing of others."""
    pair = {name: FAMILIES[name] for name in ("relu", "topk")}
    found = frontier.compare(table(bent=True, points=16, families=pair))
    doubt, c = the_doubt(found), found[0]
    inside = c.potency.ratio_low <= doubt.numbers["interpolated topk"] <= c.potency.ratio_high
    assert "relu bends otherwise than topk" in str(doubt)
    assert f"{'inside' if inside else 'outside'} {c.potency.ratio:.2g}"[:10] in str(doubt)
    assert "interpolation" not in str(doubt)


def test_the_p_value_is_that_of_least_squares():
    """A straight reference and a straight family with log errors: its own square, by the textbook's F."""
    rng = np.random.default_rng(4)
    z = np.sort(rng.uniform(2, 6, (2, 30)), axis=-1)
    logs = -1 - 0.7 * z + 0.03 * rng.standard_normal(z.shape)
    logs[0] -= 0.012 * (z[0] - 4) ** 2
    cell = Cell(z.ravel(), np.exp(logs).ravel(), (30, 30))
    shape = analysed([cell], progress=False)[0].shape
    assert (shape.degree, shape.deviation, shape.constant) == (2, 1, 0.0)
    on = np.repeat([1.0, 0.0], 30)
    null = np.column_stack([np.ones(60), z.ravel(), z.ravel() ** 2, on, on * z.ravel()])
    more = np.column_stack([null, on * z.ravel() ** 2])
    rss = [np.linalg.lstsq(m, logs.ravel(), rcond=None)[1][0] for m in (null, more)]
    expected = stats.f.sf((rss[0] - rss[1]) / rss[1] * 54, 1, 54)
    found = shape.scatter.p_own_bend
    assert found == pytest.approx(expected, rel=0.5) and found >= expected * (1 - 1e-9)  # families' own noise


def test_it_is_said_of_few_tables_of_one_shape():
    """At its level of 5 %: 400 tables, and three standard errors of that share."""
    rng = np.random.default_rng(7)
    cells = []
    for _ in range(400):
        z = np.sort(np.linspace(3, 6.5, 6) + rng.normal(0, 0.1, (3, 6)), axis=-1).ravel()
        u = z - 4.8 + np.repeat([0, 0.4, -0.3], 6)
        cells.append(Cell(z, np.exp(-4 - 0.75 * u - 0.06 * u**2 + 0.05 * rng.standard_normal(18)), (6, 6, 6)))
    said = np.mean([a.shape.scatter.p_own_bend < 0.05 for a in analysed(cells, progress=False)])
    assert said <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_without_room_nothing_is_said():
    """Two SAEs of the reference have no bend."""
    rows = table(bent=True)
    few = pd.concat([rows.iloc[[1, 6]], rows[rows["architecture"] != "relu"]])
    assert not any(has(c.doubts, Kind.own_bend) for c in frontier.compare(few))
