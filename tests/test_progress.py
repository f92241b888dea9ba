"""Bars of long work: drawn late, on a terminal only, or not at all."""

import pytest

from frontier import progress


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
