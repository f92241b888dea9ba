"""Two layers of two families from closed-form curves, of known potencies; pooled they show neither's.

relu's hit is (1 + L0 / m) ** -0.6, with an m for each layer; topk needs `POTENCY` times fewer latents.
"""

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.readers import TableError, read

POTENCY = {3: 1.7, 10: 2.9}
MIDDLE = {3: 8.0, 10: 1.5}
L0 = {"relu": [10, 20, 40, 80, 160], "topk": [8, 16, 32, 64, 128]}


def rows(layer, families=("relu", "topk"), seed=0, shift=1.0):
    """SAEs of a layer with noise of half a per cent; `shift` times the L0 of the families."""
    rng = np.random.default_rng([layer, seed])
    found = []
    for family in families:
        l0 = shift * np.array(L0[family])
        relu = l0 * (POTENCY[layer] if family == "topk" else 1)
        hit = (1 + relu / MIDDLE[layer]) ** -0.6 * np.exp(0.005 * rng.standard_normal(l0.size))
        found.append(pd.DataFrame({"architecture": family, "l0": l0, "loss_recovered": (1 - hit).round(6)}))
    return pd.concat(found, ignore_index=True)


def potencies(source, **options):
    """By layer (None where there is none), topk's relative potency."""
    found = frontier.compare(read(source), reference="relu", **options).to_frame()
    layers = found["layer"] if "layer" in found else [None] * len(found)
    return dict(zip(layers, found["relative_potency"], strict=True))


def is_right(found):
    """Both layers, each within 3 % of its true potency."""
    return found == pytest.approx(POTENCY, rel=0.03)


def way_out(source, words):
    with pytest.raises(TableError, match=words) as error:
        frontier.compare(read(source), reference="relu")
    return str(error.value)
