"""A store of activations written and read once, and read from a slow place: CPU time, memory, waiting.

`python -m benchmarks.store`: 0.25, 1 and 4 GB of rows of 512 bfloat16 numbers, made at no cost, each step in
a process of its own. Rows are read in batches of 4,096 with buffers of 64 MB, every chunk's digest compared.

Then a store in a slow place, side by side with and without reading ahead: a file system that waits before
each read as a network does, and steps that wait as for a GPU.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from tabulate import tabulate

from benchmarks.measuring import RESULTS, arguments, between, circumstances, folder_of, write
from frontier.writing import write_text

PAGE = Path("docs/stored_activations.md")
WIDTH, LENGTH, BATCH = 512, 128, 4096
SIZES = (0.25, 1.0, 4.0)
"""10⁹ bytes."""
PLACES = {"50 ms, 100 MB/s": (0.05, 1e8), "10 ms, 1 GB/s": (0.01, 1e9)}
"""Slow places: seconds before an answer, and bytes per second of each of the reads under way."""
STEPS = (0.005, 0.02, 0.08)
"""Seconds of a step."""
ROUNDS = 3
"""Of each pass; the shortest counts, as others may be at work."""


def made(folder: Path, rows: int) -> None:
    """A store of so many rows of a model that costs nothing."""
    import torch

    from trainers.activations.sources import TokenWindows
    from trainers.activations.storing import write_store
    from trainers.language_models.sites import Site

    class Rows:
        predicts, start_token, ignore, name, revision = True, None, (), "rows", "0"
        dtype, device, context_length = torch.bfloat16, torch.device("cpu"), LENGTH
        rows = torch.randn(BATCH, WIDTH, generator=torch.Generator().manual_seed(0)).bfloat16()

        def site(self, name: str) -> Site:
            return Site("here.0", "", "output", 0, WIDTH)

        def counted(self, tokens: Any) -> Any:
            return torch.ones_like(tokens, dtype=torch.bool)

        def capture(self, tokens: Any, sites: Any) -> dict[str, Any]:
            return {"here.0": self.rows[: tokens.numel()].view(*tokens.shape, WIDTH)}

    tokens = torch.zeros(rows // LENGTH, LENGTH, dtype=torch.int32)
    write_store(Rows(), TokenWindows(tokens, "rows"), TokenWindows(tokens[:8], "held out"), "here", folder)


def used(folder: Path, rows: int) -> None:
    """One pass over the store in batches."""
    from trainers.activations import ActivationStore, activation_stream

    stream = activation_stream(
        ActivationStore(folder), "here", batch_size=BATCH, memory_limit="64 MB", progress=False
    )
    for _ in range(rows // BATCH):
        next(stream)


class Slow(LocalFileSystem):
    """Files here that are read as from far away."""

    protocol = "slow"
    wait, rate = 0.0, 1e9

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("slow://"))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        """Some bytes, after a while."""
        found = super().cat_file(path, start=start, end=end, **options)
        time.sleep(self.wait + len(found) / self.rate)
        return found


def slowly(folder: Path, rows: int, step: float, prefetch: bool) -> float:
    """Seconds of a pass over a store at a slow place, each batch used for so long."""
    from trainers.activations import ActivationStore, activation_stream

    store = ActivationStore(f"slow://{folder}")
    stream = activation_stream(
        store, "here", batch_size=BATCH, buffer_tokens=2**16, prefetch=prefetch, progress=False
    )
    next(stream)  # the first buffer, which nobody could have read before
    start = time.perf_counter()
    for _ in range(rows // BATCH - 1):
        time.sleep(step)
        next(stream)
    stream.release()
    return time.perf_counter() - start


def side_by_side(folder: Path, rows: int, steps: Sequence[float]) -> list[dict[str, Any]]:
    """With and without reading ahead, one after the other at each place and step."""
    fsspec.register_implementation("slow", Slow, clobber=True)
    found = []
    for place, (Slow.wait, Slow.rate) in PLACES.items():
        for step in steps:
            passes = [[slowly(folder, rows, step, ahead) for ahead in (False, True)] for _ in range(ROUNDS)]
            without, ahead = map(min, zip(*passes, strict=True))
            least = step * (rows // BATCH - 1)
            found.append(
                {
                    "place": place, "step, ms": round(step * 1e3), "steps alone, s": round(least, 1),
                    "without, s": round(without, 1), "ahead, s": round(ahead, 1),
                    "ratio": round(without / ahead, 2),
                }
            )  # fmt: skip
            print(json.dumps(found[-1]), flush=True)
    return found


def measured(work: Callable[[Path, int], None], folder: Path, rows: int, pipe: Any) -> None:
    """In a process of its own: CPU seconds and memory of one step."""
    import torch

    import trainers.activations.storing  # noqa: F401 (before the clock starts)

    torch.set_num_threads(1)
    before, start = peak(), time.process_time()
    work(folder, rows)
    pipe.send((time.process_time() - start, peak() - before))


def peak() -> float:
    """The highest memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def step(work: Callable[[Path, int], None], folder: Path, rows: int) -> tuple[float, float]:
    """One step in a fresh process."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=measured, args=(work, folder, rows, theirs))
    process.start()
    process.join()
    return ours.recv()


def main() -> None:
    """Measure each size, print, write the result and the page's table."""
    asked = arguments(__doc__, "the smallest size alone").parse_args()
    found = []
    for size in SIZES[:1] if asked.quick else SIZES:
        rows = int(size * 1e9) // (WIDTH * 2) // LENGTH * LENGTH
        with tempfile.TemporaryDirectory() as place:
            row: dict[str, Any] = {"GB": size, "rows": f"{rows:,}"}
            for name, work in (("write", made), ("read", used)):
                seconds, memory = step(work, Path(place) / "store", rows)
                row |= {f"{name}, CPU-s": round(seconds, 1), f"{name}, peak MB": round(memory)}
            found.append(row)
            print(json.dumps(row), flush=True)
    with tempfile.TemporaryDirectory() as place:
        rows = 2**18
        made(Path(place) / "store", rows)
        slow = side_by_side(Path(place) / "store", rows, STEPS[:1] if asked.quick else STEPS)
    folder = folder_of(asked)
    write("store", circumstances("torch", "safetensors", "fsspec") | {"rows": found, "slow": slow}, folder)
    if folder == RESULTS:
        text = PAGE.read_text(encoding="utf-8")
        for name, values in (("store", found), ("slow", slow)):
            table = tabulate(values, headers="keys", tablefmt="github", disable_numparse=True)
            text = between(text, name, table + "\n")
        write_text(PAGE, text)


if __name__ == "__main__":
    main()
