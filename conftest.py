"""For every test and every example in a docstring: figures that are left open are closed."""

import sys

import pytest


@pytest.fixture(autouse=True)
def no_open_figures():
    """Close what a test or an example has opened."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
