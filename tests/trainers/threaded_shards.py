"""Shards as threads of one process: the same calls as between processes, through a list and a barrier."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from trainers.shards import Shards


class Threads(Shards):
    """One of several threads that stand for processes; each waits for all at every call."""

    def __init__(self, rank, count, board, barrier):
        self.group, self.rank, self.count = None, rank, count
        self._board, self._barrier = board, barrier

    def gathered(self, value):
        return self._all(value)

    def _all(self, value):
        self._board[self.rank] = value.detach()
        self._barrier.wait(60)
        found = torch.stack([v.to(value) for v in self._board])
        self._barrier.wait(60)
        return found

    def from_first(self, value):
        return value.copy_(self._all(value)[0])

    def to_first(self, value):
        found = self._all(value)
        return [] if self.rank else list(found.cpu())

    def _reduced(self, value, how):
        every = self._all(value)
        name = str(how).rsplit(".", 1)[-1]
        return {"SUM": every.sum, "MIN": every.amin, "MAX": every.amax}[name](0)


def in_threads(count, work):
    """What `work(shards)` gives in each of `count` threads, in their order."""
    board, barrier = [None] * count, threading.Barrier(count)

    def one(rank):
        torch.set_num_threads(1)
        try:
            return work(Threads(rank, count, board, barrier))
        except BaseException:
            barrier.abort()  # nobody waits for a thread that fell
            raise

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))
