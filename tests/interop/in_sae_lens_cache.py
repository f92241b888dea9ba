"""Runs where SAELens is, without our code: a folder of cached activations, as its runner writes one.

python in_sae_lens_cache.py FOLDER      writes FOLDER/cached and FOLDER/rows.npy, the activations in its order
"""

import sys
from pathlib import Path

import numpy as np
import torch
from datasets import Array2D, Dataset, Features, Sequence, Value
from sae_lens.cache_activations_runner import CacheActivationsRunner

WINDOWS, LENGTH, WIDTH, SHARDS = 1200, 8, 12, 3


def main(folder):
    folder, random = Path(folder), np.random.default_rng(0)
    features = Features(
        {
            "blocks.0.hook_mlp_out": Array2D(shape=(LENGTH, WIDTH), dtype="float32"),
            "token_ids": Sequence(Value(dtype="int32"), length=LENGTH),
        }
    )
    shards, rows = folder / "cached" / ".tmp_shards", []
    for i in range(SHARDS):
        rows.append(random.standard_normal((WINDOWS, LENGTH, WIDTH)).astype(np.float32))
        columns = {
            "blocks.0.hook_mlp_out": torch.from_numpy(rows[-1]),
            "token_ids": torch.zeros(WINDOWS, LENGTH, dtype=torch.int32),
        }
        Dataset.from_dict(columns, features=features).save_to_disk(shards / f"shard_{i:05d}", num_shards=1)
    CacheActivationsRunner._consolidate_shards(shards, folder / "cached", copy_files=False)
    np.save(folder / "rows.npy", np.concatenate(rows))


if __name__ == "__main__":
    main(sys.argv[1])
