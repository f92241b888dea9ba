"""Transcoders: trained through the configuration, hits outside 0 to 1 kept, growth of the hit judged."""

import numpy as np
import pandas as pd
import pytest

from frontier import metrics_table
from frontier.studies.transcoders import steepness
from trainers.config import checked
from trainers.evaluate.runs import evaluate_run
from trainers.studies import configurations as studies
from trainers.train import train

pytestmark = pytest.mark.slow

S = 1 / np.array([64, 32, 16, 8, 4, 3, 2])
NOISE = 1 + 0.02 * np.array([1, -1, 1, -1, 1, -1, 1])


def table(hits, family="relu"):
    return pd.DataFrame({"family": family, "l0": 1 / S, "loss_recovered": 1 - np.asarray(hits)})


@pytest.mark.parametrize(("exponent", "growth"), [(2.0, "faster"), (0.4, "slower"), (1.0, "undecided")])
def test_growth_is_judged_by_both_intervals(exponent, growth):
    # a Hill curve far below its top is a power law, so that both exponents are the true one
    (found,) = steepness(table(0.2 * NOISE * (S / S.max()) ** exponent))
    assert found.growth == growth
    assert exponent in found.exponent
    assert sum(found.weights.values()) == pytest.approx(1)
    if growth == "faster":
        assert found.weights["linear(intercept=0)"] < 0.01
    assert growth in repr(found)


def test_hits_below_zero_stay_in_the_fits():
    hits = 0.3 * (S / S.max()) ** 2 - 0.01
    assert (hits < 0).sum() == 3
    kept = metrics_table(table(hits))
    assert kept["excluded_because"].isna().all()
    (found,) = steepness(table(hits), errors="additive")
    assert (found.outside, found.points, found.growth) == (3, 7, "faster")


def test_the_study_trains_transcoders(tmp_path):
    content = studies.transcoders().model_dump()
    content["training"] |= {"steps": 5, "batch_size": 64, "dictionary_size": 32, "threads": 1}
    content["activations"] |= {"tokens": 4000}
    content["evaluation"] |= {"windows": 8}
    content["families"] = [f | {"settings": f["settings"][-2:]} for f in content["families"]]
    run = train(checked(content), tmp_path / "run", progress=False)
    found = evaluate_run(tmp_path / "run", model=run.model, progress=False)
    assert set(found["family"]) == {"relu", "gated", "topk"} and len(found) == 18  # three seeds
    assert set(found["site"]) == {"mlp_in.1"} and set(found["target_site"]) == {"mlp_out.1"}
    for sae in run.saes():
        assert not sae.architecture.subtract_decoder_bias  # b_dec lives in the output's space
    # five steps of training: some do more harm than the mean; the rows are there all the same
    assert metrics_table(found)["excluded_because"].isna().sum() == (found["l0"] > 0).sum()
