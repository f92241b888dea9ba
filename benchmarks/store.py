"""A store of activations written and read once: CPU time, and memory beside what the imports take.

`python -m benchmarks.store`: 0.25, 1 and 4 GB of rows of 512 bfloat16 numbers, made at no cost, each step in
a process of its own. Rows are read in batches of 4,096 with buffers of 64 MB, every chunk's digest compared.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.measuring import RESULTS, arguments, between, circumstances, folder_of, write
from frontier.writing import write_text

PAGE = Path("docs/stored_activations.md")
WIDTH, LENGTH, BATCH = 512, 128, 4096
SIZES = (0.25, 1.0, 4.0)
"""10⁹ bytes."""


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
    folder = folder_of(asked)
    write("store", circumstances("torch", "safetensors", "fsspec") | {"rows": found}, folder)
    if folder == RESULTS:
        table = tabulate(found, headers="keys", tablefmt="github", disable_numparse=True)
        write_text(PAGE, between(PAGE.read_text(encoding="utf-8"), "store", table + "\n"))


if __name__ == "__main__":
    main()
