"""For every test and every example in a docstring: one thread; figures that are left open are closed."""

import gc
import os
import sys

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # small matrices gain nothing from more, and sums keep their order
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
gc.disable()  # until all is imported: it would look through the modules again and again


def pytest_collection_finish():
    """From here on only what the tests make is looked through: what was imported stays."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def no_open_figures():
    """Close what a test or an example has opened."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
