"""Figures of studies: their size, and what their legends and labels say."""

import numpy as np
import pandas as pd
import pytest

from frontier.figures import paper_style
from frontier.studies.evaluation import Evaluation
from frontier.studies.figures import plot_densities, plot_inference_time
from tests.test_figures import clashes


@pytest.fixture
def six():
    """Six SAEs with made-up firing counts on a million tokens, a tenth of the latents silent."""
    rng = np.random.default_rng(0)
    counts = {f"sae_{i}": rng.integers(1, 10_000 * (i + 1), 300) * (rng.random(300) > 0.1) for i in range(6)}
    table = pd.DataFrame({"run_id": list(counts), "family": list("abcdef"), "l0": np.arange(6.0) + 4})
    return Evaluation(table, pd.DataFrame(), counts, 1_000_000)


@pytest.mark.slow
@pytest.mark.parametrize("venue", ["neurips", "icml"])
def test_six_densities_fit_on_a_page(venue, six):
    with paper_style(venue):
        panels = plot_densities(six, list(six.frequencies))
        assert clashes(panels[0].figure) == ([], [])
    heights = [ax.get_window_extent().height / panels[0].figure.dpi for ax in panels]
    assert panels[0].figure.get_figheight() < 6.5 and min(heights) > 0.5
    assert all("never" in [t.get_text() for t in ax.texts] for ax in panels)


def test_a_legend_of_pursued_codes_shows_what_is_drawn():
    table = pd.DataFrame(
        {"run_id": ["a", "b"], "parent": [None, "a"], "family": ["relu", "relu + codes"], "l0": [4.0, 3.0],
         "ce_sae": [2.0, 1.9]}
    )  # fmt: skip
    found = Evaluation(table, pd.DataFrame(), {}, 100)
    for chosen, kind in ((None, "None"), (["b"], "-")):
        ax = plot_inference_time(found, chosen=chosen)
        legend = ax.get_legend()
        handles = {t.get_text(): h for t, h in zip(legend.texts, legend.legend_handles, strict=True)}
        assert handles["pursued codes"].get_linestyle() == kind == ax.get_lines()[-1].get_linestyle()
        assert ax.get_xlabel() == "L0 (active latents per token)"
