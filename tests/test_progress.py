"""Bars of long work: drawn late, on a terminal only, or not at all."""

import numpy as np
import pytest

from frontier import progress
from frontier.shared_shape import Cell, analysed
from frontier.shared_shape import cells as structures


class Bar:
    def __init__(self):
        self.task_ids, self.seen, self.stopped = [0], [], False

    def add_task(self, what, total):
        self.seen.append((what, total))

    def update(self, task, completed):
        self.seen.append(completed)

    def stop(self):
        self.stopped = True


@pytest.mark.parametrize("seconds, seen", [(0.0, []), (1.0, [("work", 3), 2, 3])])
def test_a_bar_is_drawn_once_work_has_taken_two_seconds(monkeypatch, seconds, seen):
    bar, clock = Bar(), iter(range(10))
    monkeypatch.setattr(progress, "_bar", lambda: bar)
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds * next(clock))
    with progress.reported(True, "work", 3) as done:
        for i in range(3):
            done(i + 1)
    assert bar.seen == seen and bar.stopped == bool(seen)


def test_a_callback_is_told_at_once():
    told = []
    with progress.reported(lambda *call: told.append(call), "work", 3) as done:
        done(2)
    assert told == [("work", 2, 3)]


def test_a_cell_counts_as_done_when_its_second_analysis_is(monkeypatch):
    """Cells with a loud family are analysed once more without it: the bar moves then too, and never back."""
    monkeypatch.setattr(structures, "TOGETHER", 4)
    error, z = 0.02 * np.random.default_rng(3).standard_normal(28), np.tile(np.linspace(2, 6, 7), 4)
    spreads = np.ones(28), np.repeat([1, 1, 1, 30], 7)
    quiet, noisy = (Cell(z, np.exp(-1 - 0.6 * z + s * error), (7,) * 4) for s in spreads)
    loud = [False] * 6 + [True] * 10
    cells = [quiet] * 6 + [noisy] * 10
    told = []
    found = analysed(cells, lambda what, done, total: told.append((done, total)))
    assert [bool(a.shape.scatter.widened.loud) for a in found] == loud
    assert told == [(n, 16) for n in (4, 6, 6, 6, 10, 14, 16)]  # batches of 4, 4, 4, 4; then 4, 4, 2
