"""Fixtures shared by the tests: the published Gemma-7B tables at layer 20, and fits of their Pareto sets."""

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest
from hypothesis import settings

import frontier

mpl.use("Agg")
settings.register_profile("same", derandomize=True, deadline=None)  # the same examples in every run
settings.load_profile("same")

ADDITIVE = {"errors": "additive"}


@pytest.fixture(scope="session", autouse=True)
def wide_terminal():
    """What is said stands in one line, where tests look for it; tests of widths ask for theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "400")
        yield


@pytest.fixture(scope="session", autouse=True)
def compiled_once():
    """A Python of its own keeps its compiled modules, even where the shell of the tests keeps none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


@pytest.fixture(scope="session")
def gemma():
    return frontier.load_dataset("gated_gemma7b")


@pytest.fixture(scope="session")
def layer20(gemma):
    return gemma[gemma["layer"] == 20].reset_index(drop=True)


@pytest.fixture(scope="session")
def front20(layer20):
    return frontier.pareto_set(layer20)


@pytest.fixture(scope="session")
def hill20(front20):
    return frontier.fit(front20, "hill", by=["site"], **ADDITIVE)


@pytest.fixture(scope="session")
def hill20_cut(front20):
    return frontier.fit(front20, "hill", by=["site"], max_l0=200, **ADDITIVE)


@pytest.fixture(scope="session")
def comparison20(layer20):
    return frontier.compare(layer20, "baseline", **ADDITIVE)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel of this checkout."""
    import hatchling  # noqa: F401  the dev extra brings it

    root = Path(__file__).parent.parent
    if not (root / "pyproject.toml").is_file():
        pytest.skip("installed without its sources: there is nothing to build a wheel from")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=root, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built
