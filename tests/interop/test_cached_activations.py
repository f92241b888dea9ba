"""SAELens' cached activations, written by SAELens, are read to the last bit."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers.activations import StoredActivations

pytestmark = [pytest.mark.interop, pytest.mark.slow]

HERE = Path(__file__).parent


def test_every_row_is_read(tmp_path):
    python = HERE.parents[1] / ".interop" / "sae-lens" / "bin" / "python"
    assert python.exists(), f"{python} is missing: run `make interop`"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [python, HERE / "in_sae_lens_cache.py", tmp_path], check=True, env=environment, timeout=600
    )
    stored = StoredActivations(tmp_path / "cached")
    found = stored.capture(torch.arange(len(stored))[None], ["x"])["x"][0]
    np.testing.assert_array_equal(found.numpy(), np.load(tmp_path / "rows.npy").reshape(-1, 12))
    assert (stored.inner, stored.site("").name) == (8, "blocks.0.hook_mlp_out")
