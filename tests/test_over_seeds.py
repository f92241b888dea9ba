"""Means over seeds on one text: intervals against the truth, what is left out, and the plain t interval."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from frontier.studies.evaluation import EvaluationError
from frontier.studies.over_seeds import over_seeds


def of_seeds(values, errors, **more):
    return pd.DataFrame({"family": "a", "seed": range(len(values)), "x": values, "x_se": errors, **more})


def test_without_noise_of_the_text_it_is_the_t_interval_of_the_seeds():
    values = [1.0, 1.4, 1.1]
    (found,) = over_seeds(of_seeds(values, 0.0), "x", ["family"], batches=16).to_dict("records")
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (found["x"], found["x_low"], found["x_high"]) == pytest.approx((np.mean(values), low, high))
    assert found["seed_sd"] == pytest.approx(np.std(values, ddof=1)) and found["seeds"] == 3


def test_without_scatter_of_the_seeds_it_is_the_interval_of_the_text():
    (found,) = over_seeds(of_seeds([2.0] * 3, 0.1), "x", ["family"], batches=16).to_dict("records")
    half = stats.t.ppf(0.975, 15) * 0.1
    assert (found["x_low"], found["x_high"]) == pytest.approx((2 - half, 2 + half))


@pytest.mark.parametrize(("seeds", "text"), [(1.0, 0.0), (1.0, 0.5), (0.5, 1.0), (0.1, 1.0)])
def test_intervals_hold_the_truth(seeds, text):
    """Seeds of SD 1 and the like, and an error of the text that all three share, known from 16 batches."""
    rng, held, tables = np.random.default_rng(0), 0, 1500
    parts = []
    for number in range(tables):
        values = rng.normal(0, seeds, 3) + rng.normal(0, text)
        error = text * np.sqrt(rng.chisquare(15) / 15)
        parts.append(of_seeds(values, error).assign(family=number))
    found = over_seeds(pd.concat(parts), "x", ["family"], batches=16)
    held = ((found["x_low"] <= 0) & (found["x_high"] >= 0)).mean()
    assert 0.935 < held < 0.985


def test_what_one_seed_lacks_is_left_out_of_all_and_named():
    """Else seeds would be means over other settings."""
    parts = [of_seeds([s, s, s], 0.1, setting=s) for s in (1.0, 2.0, 3.0)]
    parts[2].loc[1, "x"] = np.nan
    (found,) = over_seeds(pd.concat(parts), "x", ["family"], batches=16, within="setting").to_dict("records")
    assert found["x"] == 1.5 and found["left_out"] == "3.0"
    (alone,) = over_seeds(parts[2], "x", ["family"], batches=16).to_dict("records")
    assert np.isnan(alone["x"]) and alone["seeds"] == 0


def test_several_intervals_hold_together():
    one, several = (
        over_seeds(of_seeds([1.0, 1.2, 1.1], 0.0), "x", ["family"], batches=16, comparisons=n) for n in (1, 5)
    )
    widths = [float((t["x_high"] - t["x_low"]).iloc[0]) for t in (one, several)]
    assert widths[1] / widths[0] == pytest.approx(stats.t.ppf(0.995, 2) / stats.t.ppf(0.975, 2))


def test_one_seed_is_no_unit():
    with pytest.raises(EvaluationError, match="a has one seed; the seed is the unit here"):
        over_seeds(of_seeds([1.0], 0.1), "x", ["family"], batches=16)
