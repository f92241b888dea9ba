"""Steps recorded as CUDA graphs: one launch in place of a hundred, for as long as steps do the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, Protocol

import torch

from trainers.activations import Batch

EAGER_STEPS = 3
"""Steps before one is recorded: libraries choose their kernels in them."""
KEPT = 4
"""The last recorded steps that are kept: with and without dead latents, with and without a log."""

Advance = Callable[[Batch], Any]
Record = Callable[[Callable[[], Any], torch.device], "tuple[Recording, Any]"]


class Recording(Protocol):
    """What was recorded."""

    def replay(self) -> None:
        """Do it again."""


class Recorded:
    """Runs steps, and replays those of a phase that has been run before.

    A phase says which operations a step has: equal phases, equal operations. What a step returns under a
    graph is always the same memory. None as a phase is never recorded.

    Parameters
    ----------
    record : callable
        Runs a function; returns what replays it, and its result, which a replay fills anew. By default a
        CUDA graph on the batch's device.
    """

    def __init__(self, record: Record | None = None) -> None:
        self.record = record or self._cuda_graph
        self.seen: dict[Hashable, int] = {}
        self.graphs: dict[Hashable, tuple[Recording, Any]] = {}
        self.static: Batch | None = None

    def run(self, phase: Hashable | None, batch: Batch, advance: Advance) -> Any:
        """What `advance` returns for this batch."""
        self.seen[phase] = self.seen.get(phase, 0) + 1
        if phase is None or self.seen[phase] <= EAGER_STEPS:
            return advance(batch)
        static = self._filled(batch)
        if phase not in self.graphs:
            recorded = self.record(lambda: advance(static), static.input.device)
            self.graphs = {**dict(list(self.graphs.items())[1 - KEPT :]), phase: recorded}
        graph, result = self.graphs[phase]
        graph.replay()
        return result

    def _filled(self, batch: Batch) -> Batch:
        """The batch in memory that stays where it is."""
        if self.static is None:
            inputs = batch.input.clone()
            self.static = Batch(inputs, inputs if batch.target is batch.input else batch.target.clone())
        self.static.input.copy_(batch.input)
        if self.static.target is not self.static.input:
            self.static.target.copy_(batch.target)
        return self.static

    def _cuda_graph(self, work: Callable[[], Any], device: torch.device) -> tuple[Recording, Any]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device):
            # Another thread may read activations meanwhile: its work is its own.
            with torch.cuda.graph(graph, pool=_pool(device), capture_error_mode="thread_local"):
                result = work()
        return graph, result


@cache
def _pool(device: torch.device) -> Any:
    """One memory for the steps of all families: they run one after the other."""
    return torch.cuda.graph_pool_handle()
