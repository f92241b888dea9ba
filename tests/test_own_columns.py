"""Many families of one cell, solved by blocks: against least squares of the whole, and known truths."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray

from frontier.errors import LOG, Errors, TwoComponent
from frontier.shared_shape import Cell, analysed, cells, models
from frontier.shared_shape.analysis import Analysis
from frontier.shared_shape.flips import added_columns, ranks_of
from frontier.shared_shape.models import Layout, fit_linear, placed_shifts

SIZES = (6, 5, 7, 1, 2, 3, 9, 4, 6, 7, 5, 8)
LAYOUT = Layout(SIZES, tuple(min(n, 4) for n in SIZES), 3, 2, 6, 8)


def points(sizes: tuple[int, ...], count: int = 3, sd: float = 0.05) -> tuple[NDArray[np.float64], ...]:
    """z (scaled) and hits of families on one parabola, each 0.1 further than the one before."""
    rng = np.random.default_rng(3)
    family = np.repeat(np.arange(len(sizes)), sizes)
    z = rng.uniform(-1.7, 1.7, (count, len(family)))
    z = np.take_along_axis(z, np.argsort(z + 10 * family, axis=-1), -1)
    u = z + 0.1 * family
    return z, np.exp(-2 - 0.9 * u - 0.1 * u**2 + sd * rng.standard_normal(z.shape))


def whole(layout: Layout, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """All columns of the free model, those that it shares first, the moved family's last of these."""
    family, powers = layout.family, z[..., None] ** np.arange(layout.degree + 1)
    pair = layout.base, layout.moved
    others = [f for f in range(len(layout.sizes)) if f not in pair]
    own = [powers[..., : layout.deviations(f) + 1] * (family == f)[:, None] for f in (layout.moved, *others)]
    return np.concatenate([powers, *own], -1)


@pytest.mark.parametrize("errors", [LOG, TwoComponent(0.05)])
def test_blocks_solve_the_whole_system(errors: Errors) -> None:
    """Coefficients, residuals, covariance, leverage and rank; weights are those at the optimum."""
    z, y = points(SIZES)
    t = errors.scale(y)
    fitted = fit_linear(LAYOUT.columns(z, moved=True), t, errors, LAYOUT.own(z))
    shared = fitted.theta.shape[-1]
    assert fitted.own.count > models.FEW
    for i, columns in enumerate(whole(LAYOUT, z)):
        root = fitted.root_weights[i, :, None]
        step, _, rank, _ = np.linalg.lstsq(columns * root, fitted.residuals[i], rcond=None)
        assert np.abs(columns * root @ step).max() < 1e-6 * np.abs(fitted.residuals[i]).max()
        if errors is LOG:
            theta, *_ = np.linalg.lstsq(columns, t[i], rcond=None)
            assert fitted.theta[i] == pytest.approx(theta[:shared], rel=1e-8)
        q, r = np.linalg.qr(columns * root)
        covariance = np.linalg.inv(r.T @ r)[:shared, :shared]
        assert fitted.covariance[i] == pytest.approx(covariance, rel=1e-7, abs=1e-9)
        assert fitted.basis.leverage[i] == pytest.approx((q**2).sum(-1), abs=1e-9)
        assert (fitted.basis.rank, fitted.df) == (rank, len(root) - rank)
        projector = fitted.basis.whole[i] @ fitted.basis.whole[i].T
        assert projector == pytest.approx(q @ q.T, abs=1e-9)


def test_f_among_many_families_is_that_of_statsmodels() -> None:
    z, y = points(SIZES)
    logs, own = np.log(y), LAYOUT.own(z)
    null = fit_linear(LAYOUT.columns(z, moved=False), logs, LOG, own)
    p, f = added_columns(null, LAYOUT.columns(z, moved=True), ranks_of(z, y))
    after = LAYOUT.degree + 1
    for i, columns in enumerate(whole(LAYOUT, z)):
        small = np.delete(columns, range(after, after + LAYOUT.tested), -1)
        expected = sm.OLS(logs[i], columns).fit().compare_f_test(sm.OLS(logs[i], small).fit())
        assert (f[i], p[i]) == (pytest.approx(expected[0], rel=1e-7), pytest.approx(expected[1], abs=0.05))


def test_a_verdict_is_the_same_by_blocks_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every number of every pair, for log errors and for a second component of them."""
    rng, sizes = np.random.default_rng(1), (7, 6, 8, 7, 5, 7, 9, 7, 7, 6, 7, 8)
    z, y = points(sizes, 2)
    y[1] += 0.004 * rng.standard_normal(y.shape[-1])
    many, found = [Cell(a, b, sizes) for a, b in zip(z, y, strict=True)], []
    for few in (0, 1000):
        monkeypatch.setattr(models, "FEW", few)
        found.append([numbers(a) for a in analysed(many, progress=False)])
    for blocks, one in zip(*found, strict=True):
        assert blocks == pytest.approx(one, rel=1e-5, abs=1e-7)


def numbers(analysis: Analysis | None) -> NDArray[np.float64]:
    assert analysis is not None
    return np.array(
        [
            (p.p_gate, p.p_parallel, p.shift, p.shift_se, p.shift_df, p.df, p.hit_ratio, p.hit_ratio_se,
             p.potency[12], p.potency_se[12], p.robust_se[12], p.left_out.min(), p.lower.t, p.higher.t)
            for p in analysis.pairs
        ]
    )  # fmt: skip


def test_places_of_forty_families_on_one_shape_are_found() -> None:
    """Without noise, on a cubic: the truth."""
    rng = np.random.default_rng(2)
    sizes = tuple(rng.integers(2, 9, 40).tolist())
    true = np.concatenate([[0.0], rng.uniform(-0.6, 0.6, 39)])
    z = rng.uniform(-1.7, 1.7, (2, sum(sizes)))
    u = z + np.repeat(true, sizes)
    found = placed_shifts(sizes, 8, z, np.exp(-2 - 0.9 * u - 0.1 * u**2 - 0.02 * u**3))
    assert found == pytest.approx(np.tile(true, (2, 1)), abs=1e-6)


def test_large_cells_come_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "MOST_NUMBERS", 100)
    z, y = points((4, 4, 4), 7)
    some = [Cell(a, b, (4, 4, 4)) for a, b in zip(z, y, strict=True)]
    assert [len(b.rows) for b in cells.batches(some)] == [2, 2, 2, 1]


@pytest.mark.parametrize("factor", [0.37, 1.9, 11.0])
def test_three_saes_a_family_do_not_depend_on_rounding(factor: float) -> None:
    """Each leaves one degree of freedom: the unit of hits decides nothing."""
    z, y = points((3, 3), 20)
    made = [[Cell(a, b * by, (3, 3)) for a, b in zip(z, y, strict=True)] for by in (1.0, factor)]
    for a, b in zip(*(analysed(some, progress=False) for some in made), strict=True):
        assert numbers(a) == pytest.approx(numbers(b), rel=1e-4, abs=1e-6, nan_ok=True)
        assert a is not None and b is not None
        assert a.shape.scatter.widened.p_unequal == b.shape.scatter.widened.p_unequal == 1


def test_determinant_is_that_of_all_columns_apart() -> None:
    """Of numpy, of the columns side by side; a family has as many as its points carry."""
    z, y = points(SIZES)
    own = LAYOUT.every(z).weighted(y)
    columns = own.apart(own.columns)
    assert columns.shape[-1] == sum(min(n, 3) for n in SIZES)
    expected = np.linalg.slogdet(np.swapaxes(columns, -1, -2) @ columns)[1]
    assert own.log_determinant == pytest.approx(expected, rel=1e-6)


def test_many_families_of_few_saes_choose_the_errors_that_they_have() -> None:
    """Eight of three SAEs on a power law, 60 cells; hits deviate by a share, or by an amount that few tell.

    With the unrestricted likelihood no cell of either kind had log errors.
    """
    rng = np.random.default_rng(7)
    l0 = np.geomspace(20, 300, 3) * np.exp(0.1 * rng.uniform(-1, 1, (60, 8, 3)))
    e = rng.standard_normal(l0.shape)
    log = {}
    for name, hit in {"share": 2 / l0 * np.exp(0.02 * e), "amount": 2 / l0 + 0.005 * e}.items():
        some = [Cell(np.log(a).ravel(), b.ravel(), (3,) * 8) for a, b in zip(l0, hit, strict=True)]
        log[name] = np.mean([a.shape.constant == 0 for a in analysed(some, progress=False) if a is not None])
    assert log["share"] > 0.9
    assert log["amount"] < 0.7
