"""Several processes under `torchrun`: which members are mine, and when all have come so far."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


class LostProcess(RuntimeError):
    """The processes cannot go on, as one of them has ended; `first` is true in the one that says so."""

    def __init__(self, message: str, first: bool) -> None:
        super().__init__(message)
        self.first = first


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun started; nothing to do where it did not."""
    if "RANK" not in os.environ or dist.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    store, place, count = next(dist.rendezvous("env://"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=place, world_size=count)
    try:
        yield
    except RuntimeError as error:
        if not is_of_a_lost_process(error):
            raise
        raise LostProcess(f"another of {count} processes has ended", _first_to_say(store)) from error
    finally:
        dist.destroy_process_group()


def is_of_a_lost_process(error: RuntimeError) -> bool:
    """Whether an error is what a collective gives when a process at its other end is gone."""
    ours = type(error) is RuntimeError and any(w in str(error).lower() for w in ("gloo", "nccl", "by peer"))
    return ours or isinstance(error, dist.DistError)


def _first_to_say(store: dist.Store) -> bool:
    """Whether no other process has said it; if the store went with the lost process, all do."""
    try:
        return store.add("lost process", 1) == 1
    except RuntimeError:
        return True


def rank() -> int:
    """Number of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process writes what is written once."""
    return rank() == 0


def barrier() -> None:
    """Wait until every process is here."""
    if dist.is_initialized():
        dist.barrier()


def mine(items: Sequence[T]) -> list[T]:
    """The share of this process of the items: every `world_size`-th, so that cheap and dear ones spread."""
    return list(items[rank() :: world_size()])


def of_first(make: Callable[[], str]) -> str:
    """What the first process finds, in every process; the others do not look."""
    if world_size() == 1:
        return make()
    return _from(0, make() if is_first() else "")


def of_any(text: str) -> str:
    """The text of the first process that has one, in every process; empty where none has."""
    if world_size() == 1:
        return text
    source = torch.tensor(rank() if text else world_size())
    dist.all_reduce(source, op=dist.ReduceOp.MIN)
    return "" if source == world_size() else _from(int(source), text)


def _from(source: int, text: str) -> str:
    """The text of one process, in every process."""
    found = text.encode(errors="surrogateescape") if rank() == source else b""
    size = torch.tensor(len(found))
    dist.broadcast(size, src=source)
    letters = torch.frombuffer(bytearray(found or bytes(int(size))), dtype=torch.uint8)
    dist.broadcast(letters, src=source)
    return letters.numpy().tobytes().decode(errors="surrogateescape")


def any_true(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    if not dist.is_initialized():
        return flag
    value = torch.tensor(int(flag))
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value)
