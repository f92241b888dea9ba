"""`calibrate` on comparisons: what it counts agrees with known truths, and with `compare` on such tables."""

from dataclasses import replace

import numpy as np
import pytest

import frontier
from benchmarks.verdict_parts.simulated import bent_shapes
from benchmarks.verdict_parts.truths import DESIGNS, TRUTHS, Noise, Study, needing_fewer
from frontier.calibration.verdict_rates import VerdictCalibration, _cells, _expected, verdict_rates

HILL = TRUTHS["Hill"]


def tables(design, noise, potency=1.0, count=1, seed=1):
    """A comparison of Hill curves, each of `count` layers a table of its own."""
    study = Study([HILL, needing_fewer(HILL, potency)], design, noise)
    return frontier.compare(study.tables(np.random.default_rng(seed), count), "relu", by="layer")


def both(points):
    return [(points, 20, 300)] * 2


@pytest.fixture(scope="module")
def six():
    return tables(both(6), Noise(0.05))


@pytest.mark.slow
def test_null_error_and_coverage_of_simulated_tables():
    """At most 7 % told apart and 93 % covered, within 3.3 binomial errors.

    The coverage is a mean over eight truths, as in the acceptance table; a single one has 89 to 94 %.
    """
    count = 100
    found = verdict_rates(tables(DESIGNS["12/12"], Noise(0.05), count=8), seed=4, replicates=count)
    for family in found.families:
        assert 0 < family.told_apart <= 0.07 + 3.3 * (0.07 * 0.93 / count) ** 0.5
        assert family.reversed <= 0.01 and family.tables == count
    assert found.null_error == pytest.approx(np.mean([f.told_apart for f in found.families]))
    assert 0.93 - 3.3 * (0.07 * 0.93 / (8 * 2 * count)) ** 0.5 <= found.covered < 1


def with_shape(found, **changes):
    """The comparison, with numbers of its shape set to others."""
    return replace(found, shapes=(replace(found.shapes[0], **changes),))


@pytest.mark.slow
def test_power_is_that_of_compare_on_tables_of_the_true_curve():
    """An independent way: Hill curves with this potency, drawn anew, through the whole of `compare`."""
    said = [c.verdict == "better" for c in tables(both(10), Noise(0.12), potency=1.2, count=150)]
    assert 0.3 < np.mean(said) < 0.95
    found = verdict_rates(with_shape(tables(both(10), Noise(0.12)), sigma=0.12), replicates=150)
    assert abs(found.power - np.mean(said)) < 3.3 * (2 * 0.25 / 150) ** 0.5


@pytest.mark.slow
def test_power_grows_with_n_and_with_the_potency_and_falls_with_noise():
    found = with_shape(tables(both(8), Noise(0.1)), sigma=0.1)
    shape = found.shapes[0]
    thrice = {name: np.repeat(getattr(shape, name), 3) for name in ("z", "y")}
    more = with_shape(found, **thrice, names=tuple(np.repeat(shape.names, 3).tolist()))
    base = verdict_rates(found, replicates=80).power
    assert verdict_rates(more, replicates=80).power > base + 0.1
    assert verdict_rates(found, potency=1.5, replicates=80).power > base + 0.1
    assert verdict_rates(with_shape(found, sigma=0.2), replicates=80).power < base - 0.1


@pytest.mark.slow
def test_a_potency_below_one_is_seen_as_worse():
    found = tables(both(12), Noise(0.03))
    one, other = (verdict_rates(found, potency=p, replicates=40) for p in (1.25, 1 / 1.25))
    assert one.power > 0.9 and other.power > 0.9 and one.families[0].reversed == 0


def test_simulated_cells_keep_l0_families_and_errors():
    """Residuals of a million hits have the cell's SD, on the curve that the shape draws."""
    shape = tables(both(12), Noise(0.05)).shapes[0]
    cells = _cells(shape, np.zeros((40_000, 1)), np.random.default_rng(0))
    hits = np.stack([c.y for c in cells])
    assert cells[0].sizes == (12, 12) and np.array_equal(cells[0].z, shape.z)
    residuals = shape.errors.residual(hits, _expected(shape, shape.z))
    assert residuals.std() == pytest.approx(shape.sigma, rel=0.01)
    assert abs(residuals.mean()) < 4 * shape.sigma / 1000
    inside = np.linspace(np.log(30), np.log(200), 50)
    assert _expected(shape, inside) == pytest.approx(shape.expected(np.exp(inside)))


def test_beyond_its_points_the_shape_goes_on_falling():
    shape = tables(both(8), Noise(0.3), seed=3).shapes[0]
    beyond = _expected(shape, np.linspace(np.log(300) + 2, np.log(300) + 8, 100))
    assert (np.diff(beyond) <= 0).all() and (beyond > 0).all()


@pytest.mark.slow
def test_five_families_are_judged_together(monkeypatch):
    """Holm over the families: any of four told apart in 5 % of cells, not in 19."""
    study = Study([HILL] * 5, [(8, 20, 300)] * 5, Noise(0.05))
    found = frontier.compare(study.tables(np.random.default_rng(2), 1), "relu", by="layer")
    monkeypatch.setattr("frontier.calibration.verdict_rates.LEAST", 30)
    rates = verdict_rates(found, replicates=100)
    assert len(rates.families) == 4 and rates.families[0].tables == 30
    assert rates.null_error <= 0.07 + 3.3 * (0.07 * 0.93 / 100) ** 0.5
    assert rates.null_error >= max(f.told_apart for f in rates.families)


@pytest.mark.parametrize("count", [1, 20])
def test_exact_points_have_no_null_error_and_full_power(count):
    found = verdict_rates(tables(both(8), Noise(), potency=1.5), replicates=count)
    assert found.power == 1 and found.families[0].tables == count


def test_result_is_a_sentence_a_frame_and_a_file(tmp_path):
    compared = tables(both(8), Noise(0.05), count=2)
    seen = []
    found = frontier.calibrate(compared, replicates=20, seed=5, progress=seen.append)
    assert seen == ["layer 0", "layer 1"]
    assert found == frontier.calibrate(compared, replicates=20, seed=5)
    assert found != frontier.calibrate(compared, replicates=20, seed=6)
    assert found.sentence.startswith("On tables like yours, equal families are told apart in ")
    assert "% of cells; a potency of 1.2 is seen in" in found.sentence
    assert "On tables like yours" in repr(found) and repr(found).count("\n") < 20
    frame = found.to_frame()
    assert list(frame["layer"]) == [0, 1] and (frame["tables"] == 20).all()
    assert VerdictCalibration.load(found.save(tmp_path / "v.json")) == found


@pytest.mark.slow
def test_a_table_is_compared_first(layer20):
    table = frontier.calibrate(layer20, "baseline", replicates=10, seed=1)
    assert table == frontier.calibrate(frontier.compare(layer20, "baseline"), replicates=10, seed=1)
    assert [f.reference for f in table.families] == ["baseline"] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"potency": 1.0}, "not 1"),
        ({"potency": -2.0}, "above 0"),
        ({"replicates": 0}, "1 or more"),
        ({"at": 0.1}, "at= is for fits"),
        ({"reference": "topk"}, "reference is 'relu'"),
    ],
)
def test_bad_options_are_named(options, message, six):
    with pytest.raises(ValueError, match=message):
        frontier.calibrate(six, **options)


def test_nothing_to_compare_is_said():
    rows = [{"family": f, "l0": v, "loss_recovered": 1 - 1 / v} for f in "ab" for v in (10.0, 20, 40)]
    rows = [r | {"layer": i} for i, r in enumerate(rows)]
    found = frontier.calibrate(frontier.compare(rows, "a", by="layer"), replicates=10)
    assert not found.cells and "Nothing to calibrate" in repr(found)


@pytest.mark.slow
def test_limits_hold_on_curves_that_bend_more_than_the_shape_can():
    """One family seen further up than the other, at a potency of 1, 1.3 and 3.

    A polynomial that rises beyond its points once moved the L0 at hits inside them, and a deviation in powers
    of L0 once stood for a shift: on such curves 0 to 73 % of the limits held the truth. Limits that are 15 %
    too narrow fail here too.
    """
    count = 30
    found = bent_shapes(count)
    assert found["coverage"].min() >= 0.93 - 3.3 * (0.07 * 0.93 / count) ** 0.5
    assert found["coverage"].mean() >= 0.95 and found["false verdicts"].mean() <= 0.05
    wide = found.groupby("design")["width"].median()
    assert wide["8 v 8"] > 2 * wide["16 v 16"], "more and surer points tell more"
