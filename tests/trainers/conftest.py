"""One thread of torch in every test of the trainers; a small run."""

import shutil

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="module")
def few_rows():
    """Final thresholds are those of fewer rows, here and in processes of their own."""
    from processes import THRESHOLD_ROWS

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainers.run.THRESHOLD_ROWS", THRESHOLD_ROWS)
        yield


@pytest.fixture
def as_before():
    """The architectures that are known after a test are those before it."""
    from trainers.architectures.registry import _TYPED, ARCHITECTURES

    before = dict(ARCHITECTURES), dict(_TYPED)
    yield
    for table, was in zip((ARCHITECTURES, _TYPED), before, strict=True):
        table.clear()
        table.update(was)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A small run, trained and evaluated; see `small_runs`."""
    from small_runs import small

    from trainers.evaluate.runs import evaluate_run
    from trainers.train import train

    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(small(), folder, progress=False)
    evaluate_run(folder, progress=False)
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of it, to spoil."""
    return shutil.copytree(finished, tmp_path / "copied")
