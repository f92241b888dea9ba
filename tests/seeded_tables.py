"""Metrics tables of families with settings and seeds, a layer a table, from arrays."""

import numpy as np
import pandas as pd


def seeded(families):
    """Rows of arrays of l0 and hit, (layers, seeds, settings), by family."""
    parts = []
    for name, (l0, hit) in families.items():
        layer, seed, setting = np.indices(hit.shape)
        columns = {"layer": layer, "seed": seed, "sparsity_setting": setting}
        columns |= {"l0": np.broadcast_to(l0, hit.shape), "performance_hit": hit}
        parts.append(pd.DataFrame({k: v.ravel() for k, v in columns.items()}).assign(family=name))
    return pd.concat(parts, ignore_index=True)
