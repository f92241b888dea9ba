"""Memory of a long run is flat: what a step keeps would show as a slope."""

import os
from pathlib import Path

import numpy as np
import pytest
from small_runs import FAMILIES, small

from trainers.steps import LoopEngine
from trainers.train import train

pytestmark = pytest.mark.slow
OWN = Path("/proc/self/statm")


@pytest.mark.skipif(not OWN.exists(), reason="this system does not tell a process's memory in /proc")
def test_ten_thousand_steps_keep_nothing(tmp_path, monkeypatch):
    """Over the last 8,000 steps the resident memory grows by less than 100 bytes a step."""
    real, seen = LoopEngine.step, []

    def step(self, *given):
        if given[1] % 500 == 0:
            seen.append((given[1], int(OWN.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")))
        return real(self, *given)

    monkeypatch.setattr(LoopEngine, "step", step)
    sizes = {"steps": 10_000, "batch_size": 16, "dictionary_size": 16, "checkpoint_every": 2500}
    train(small([FAMILIES[1]], training=sizes), tmp_path / "run", progress=False)
    steps, memory = np.array([s for s in seen if s[0] >= 2000]).T
    assert len(steps) == 16 and np.polyfit(steps, memory, 1)[0] < 100
