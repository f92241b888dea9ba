"""Processes of their own, forked from one that has imported what they need.

A kill, a limit and an environment are as real in them as in a fresh Python, whose start takes nine seconds of
imports. What needs a fresh one (flags of the interpreter, too little address space) starts one.
"""

import multiprocessing
import os
import resource
import sys
import tempfile
from pathlib import Path
from unittest import mock

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["trainers.cli", "trainers.tiny_lm", "trainers.train", "trainers.evaluate.runs", "numpy.testing",
     "transformers.models.gpt2.modeling_gpt2", "transformers.models.gpt2.configuration_gpt2",
     "frontier.fits", "frontier.ratios.pairs", "frontier.tables", "pyarrow.parquet", "pyarrow.dataset",
     "trainers.sweeps", "trainers.loggers", "torch.distributed.device_mesh", "torch.profiler",
     "tests.trainers.warm"]
)  # fmt: skip

THRESHOLD_ROWS = 2048
"""Of the 16,384 that a final threshold is of: eight batches of a small run, a part of a pass."""


class Forked:
    """A function's call in a process of its own; its methods are those of `subprocess.Popen`."""

    def __init__(self, function, *arguments, limits=None, environment=None):
        self._said = Path(tempfile.mkdtemp())
        given = (function, arguments, self._said, limits or {}, environment or {})
        self._process = FORKS.Process(target=_call, args=given)
        self._process.start()

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self._process.pid, number)

    def kill(self):
        self._process.kill()

    def communicate(self, timeout=300):
        """Wait; what was printed, and what was complained."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, "still at work"
        paths = (self._said / name for name in ("out", "err"))
        return tuple(p.read_text(encoding="utf-8") if p.exists() else "" for p in paths)


def sae_train(*words, limits=None, **environment):
    """`sae-train` with these words, started."""
    return Forked(_sae_train, *map(str, words), limits=limits, environment=environment)


def under_torchrun(count, *words):
    """`torchrun --nproc-per-node COUNT -m trainers` with these words, its workers forked; ended.

    What it notes for its own log needs no stack of frames with their sources, a second of reading each time.
    """
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    names = "torch.distributed.elastic.rendezvous.dynamic_rendezvous.get_method_name"

    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=count, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        start_method="forkserver", monitor_interval=0.05,
    )  # fmt: skip
    with mock.patch(names, lambda depth=2: "a step"):
        elastic_launch(config, _worker)(*map(str, words))


def _call(function, arguments, said, limits, environment):
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT), number)
    os.environ.update(environment)
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))
    function(*arguments)


def _sae_train(*words):
    from trainers import run
    from trainers.cli import main

    run.THRESHOLD_ROWS = THRESHOLD_ROWS
    sys.argv = ["sae-train", *words]
    main()


def _worker(*words):
    """The same, which returns where all went well: the launcher waits for that."""
    try:
        _sae_train(*words)
    except SystemExit as stopped:
        assert not stopped.code, f"exit code {stopped.code}"
