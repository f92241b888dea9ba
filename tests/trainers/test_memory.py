"""Memory of a long run is flat: what a step keeps would show as a slope."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from processes import Forked
from small_runs import FAMILIES, small

from trainers.steps import LoopEngine
from trainers.train import train

pytestmark = pytest.mark.slow
OWN = Path("/proc/self/statm")


def measured(folder):
    """Train for 10,000 steps in a process of its own; print every 500th step and the memory there."""
    real, seen = LoopEngine.step, []

    def step(self, *given):
        if given[1] % 500 == 0:
            seen.append((given[1], int(OWN.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")))
        return real(self, *given)

    LoopEngine.step = step
    sizes = {"steps": 10_000, "batch_size": 4, "dictionary_size": 16, "checkpoint_every": 2500}
    train(small([FAMILIES[1]], training=sizes), Path(folder), progress=False)
    print(json.dumps(seen))


@pytest.mark.skipif(not OWN.exists(), reason="this system does not tell a process's memory in /proc")
def test_ten_thousand_steps_keep_nothing(tmp_path):
    """Over the last 8,000 steps the resident memory grows by less than 100 bytes a step.

    The median over 500 steps each: the allocator takes megabytes at once, at one checkpoint or another.
    """
    said, complained = Forked(measured, str(tmp_path / "run")).communicate()
    assert said, complained
    steps, memory = np.array([s for s in json.loads(said) if s[0] >= 2000]).T
    assert len(steps) == 16 and np.median(np.diff(memory)) < 500 * 100
