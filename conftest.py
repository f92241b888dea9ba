"""For every test and every example in a docstring: one thread; figures that are left open are closed."""

import os
import sys

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # small matrices gain nothing from more, and sums keep their order
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


@pytest.fixture(autouse=True)
def no_open_figures():
    """Close what a test or an example has opened."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
