"""Two processes under torchrun (CPU, gloo) against one: the same run, its steps timed by a wall clock.

`python -m benchmarks.torchrun` prints the table and writes `benchmarks/results/torchrun.json`. Members are
shared out between the processes; each fills its part of the activation buffer. Every process has one
thread, so a second one brings a second core, where there is one free: on a machine whose cores are shared
and loaded wall-clock ratios are rough, and the CPU time of all processes together stands beside them.
Rounds of one and two processes take turns.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from tabulate import tabulate

from benchmarks.measuring import arguments, circumstances, folder_of, write

MEMBERS, DICTIONARY, BATCH, STEPS, WARM = 8, 1024, 2048, 25, 5


def worker(folder: Path, members: int, steps: int) -> None:
    """One process: build the run, train, report the seconds of the steps after the first few."""
    import torch

    from trainers import ranks
    from trainers.config import RunConfig
    from trainers.run import build_run
    from trainers.train import steps as training_steps

    torch.set_num_threads(1)
    config = RunConfig.model_validate({
        "model": {"device": "cpu"},
        "activations": {"tokens": 60_000},
        "training": {
            "steps": WARM + steps, "batch_size": BATCH, "dictionary_size": DICTIONARY, "threads": 1,
            "engine": "loop", "checkpoint_every": 10**6, "log_every": 10**6,
        },
        "families": [{"architecture": "topk", "settings": [2.0 + 2 * m for m in range(members)]}],
    })  # fmt: skip
    with ranks.process_group():
        run = build_run(config, progress=False)
        start = wall = 0.0
        for done, _ in enumerate(training_steps(run, folder), start=1):
            if done == WARM:
                ranks.barrier()
                start, wall = time.process_time(), time.perf_counter()
            if done == WARM + steps - 1:  # the last step writes a checkpoint
                ranks.barrier()
                used = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - start}
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
                mine = sum(len(f) for f in run.families)
                report = used | {"megabytes": memory, "members": mine}
                (folder / f"rank{ranks.rank()}.json").write_text(json.dumps(report), encoding="utf-8")


def launch(processes: int, members: int, steps: int) -> dict[str, Any]:
    """One run with so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
            "-m", "benchmarks.torchrun", "--worker", folder, str(members), str(steps),
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        if done.returncode:
            raise RuntimeError(f"torchrun ended with {done.returncode}: {done.stderr.strip()[-600:]}")
        reports = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(Path(folder).glob("rank*.json"))]
    return {
        "wall": max(r["wall"] for r in reports), "cpu": sum(r["cpu"] for r in reports),
        "megabytes": [round(r["megabytes"]) for r in reports], "members": [r["members"] for r in reports],
    }  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    asked = arguments(__doc__, "two members, few steps, one round").parse_args()
    members, steps, rounds = (2, 3, 1) if asked.quick else (MEMBERS, STEPS, 3)
    found: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for _ in range(rounds):
        for processes, runs in found.items():
            runs.append(launch(processes, members, steps))
    trained = members * (steps - 1)
    rows = [
        (p, round(trained / median(r["wall"] for r in runs), 2), round(median(r["cpu"] for r in runs), 2),
         runs[-1]["megabytes"])
        for p, runs in found.items()
    ]  # fmt: skip
    faster = median(a["wall"] / b["wall"] for a, b in zip(found[1], found[2], strict=True))
    dearer = median(b["cpu"] / a["cpu"] for a, b in zip(found[1], found[2], strict=True))
    print(tabulate(rows, ("processes", "member steps / s (wall)", "CPU s, all processes", "peak MB of each")))
    print(
        f"two processes: {faster:.2f} × the throughput of one by the wall clock, {dearer:.2f} × its CPU time"
    )
    record = {
        **circumstances("torch", "sae-frontier"),
        "note": "two cores for two processes; on cores that others load the wall clock says less",
        "backend": "gloo", "threads_per_process": 1, "rounds": rounds, "members": members,
        "dictionary": DICTIONARY, "batch": BATCH, "steps": steps - 1,
        "runs": {str(p): runs for p, runs in found.items()},
        "throughput_of_two_to_one": round(faster, 3), "cpu_of_two_to_one": round(dearer, 3),
    }  # fmt: skip
    write("torchrun", record, folder_of(asked))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
