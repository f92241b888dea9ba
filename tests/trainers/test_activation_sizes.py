"""Sizes of activations: medians against numpy, histograms that hold everything, intervals by window."""

import matplotlib
import numpy as np
import pytest
import torch

from trainers import load_language_model
from trainers.activations import evaluation_windows
from trainers.architectures import ReLU
from trainers.sae import SAE
from trainers.studies.activation_sizes import activation_sizes

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def measured():
    model = load_language_model()
    tokens = evaluation_windows(model, "standard-library", 12, None, progress=False)[0]
    random = torch.Generator().manual_seed(0)
    weights = {
        "W_enc": torch.randn(128, 40, generator=random), "b_enc": torch.zeros(40), "b_dec": torch.zeros(128),
        "W_dec": torch.randn(40, 128, generator=random),
    }  # fmt: skip
    sae = SAE(ReLU(), weights, {"run_id": "a", "input_scale": 0.02})
    x = model.capture(tokens, ["mlp_out.1"])["mlp_out.1"][model.counted(tokens)]
    return sae, x, activation_sizes([sae], model, tokens, "mlp_out.1")[0]


def test_median_and_l0_are_those_of_the_plain_values(measured):
    sae, x, found = measured
    f = sae.encode(x) * sae.parameters["W_dec"].norm(dim=1) * 0.02
    slow = f[f > 0].numpy()
    assert found.l0 == pytest.approx(len(slow) / len(x)) and found.tokens == len(x)
    assert found.median().estimate == pytest.approx(np.median(slow), rel=0.01)
    assert found.median().low < found.median().estimate < found.median().high
    density, edges = found.histogram()
    assert density.sum() / 10 == pytest.approx(found.l0)  # ten bins a decade
    assert density[np.searchsorted(edges, np.median(slow)) - 1] > 0


def test_the_figure_marks_each_median(measured):
    from matplotlib import pyplot as plt

    from trainers.studies.figures.penalties import plot_activation_sizes

    found = measured[2]
    ax = plot_activation_sizes({"L1": found})
    assert ax.lines[0].get_xdata()[0] == pytest.approx(found.median().estimate)
    plt.close("all")


def test_parts_are_drawn_for_every_family():
    import pandas as pd
    from matplotlib import pyplot as plt

    from trainers.studies.figures.penalties import PARTS, plot_parts

    rows = [
        {"family": f, "l0": k, "ce_clean": 1.0} | {m: 1.5 for m in PARTS} | {f"{m}_se": 0.1 for m in PARTS}
        for f in ("L1", "sqrt-L1")
        for k in (2.0, 4.0, 8.0)
    ]
    panels = plot_parts(pd.DataFrame(rows), reference="L1")
    assert [len(p.containers) for p in panels] == [2, 2, 2, 2]
    assert panels[2].get_ylabel() == "FVU" and panels[0].get_legend() is not None
    plt.close("all")
