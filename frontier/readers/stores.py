"""Stores of runs, by their own clients: Weights & Biases' API, Trackio, MLflow."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from inspect import signature
from typing import Any, cast

from frontier.metrics.checks import TableError
from frontier.readers.found import Found, flat
from frontier.readers.logged import Log
from frontier.readers.optional import optional
from frontier.wording import listed, nearest

MOST_RUNS = 5000


def _first(runs: Iterable[Any], found: Found) -> Iterator[Any]:
    """The runs of a store, of very many the first; that there are more is said."""
    for i, run in enumerate(runs):
        if i >= MOST_RUNS:
            found.say(f"the first {MOST_RUNS} runs are read")
            return
        yield run


def read_wandb(rest: str, name: str, found: Found) -> None:
    """The runs of `entity/project`, or the one of `entity/project/run`, by `wandb.Api`.

    Raises
    ------
    TableError
        When the address has not these parts, or the project cannot be read.
    """
    wandb: Any = optional("wandb", "wandb")
    parts = [p for p in rest.split("/") if p]
    if len(parts) not in (2, 3):
        raise TableError(
            "an address of Weights & Biases is wandb://entity/project or wandb://entity/project/run"
        )
    try:
        api = wandb.Api()
        runs = [api.run("/".join(parts))] if len(parts) == 3 else _whole_runs(api, "/".join(parts))
        for run in _first(runs, found):
            log = Log(str(run.name), name)
            log.values = {k: v for k, v in flat(dict(run.summary)).items() if not k.startswith("_wandb")}
            log.config = {k: v for k, v in dict(run.config).items() if not k.startswith("_")}
            if str(run.state) != "finished":
                log.doubt = f"run is {run.state}"
            found.logs["wandb", str(run.id)] = log
    except Exception as error:  # its errors have no common class: those of its service are plain ones
        raise TableError(
            f"{name} of Weights & Biases cannot be read ({type(error).__name__}); `wandb login` or "
            "WANDB_API_KEY gives access"
        ) from None
    found.recognised.append(f"{len(found.logs)} Weights & Biases runs")


def _whole_runs(api: Any, path: str) -> Iterable[Any]:
    """The runs of a project, a page at a time with all that is asked of them; lazy ones ask one by one."""
    whole = {"lazy": False} if "lazy" in signature(api.runs).parameters else {}
    return cast(Iterable[Any], api.runs(path, **whole))


def read_trackio(rest: str, name: str, found: Found) -> None:
    """The runs of a project in Trackio's local store (TRACKIO_DIR).

    Raises
    ------
    TableError
        When there is no such project.
    """
    trackio: Any = optional("trackio", "trackio")
    storage: Any = optional("trackio.sqlite_storage", "trackio").SQLiteStorage
    project = rest.strip("/")
    try:
        runs = list(trackio.Api().runs(project))
    except ValueError:
        known = list(storage.get_projects())
        raise TableError(f"Trackio has no project {project!r}{nearest(project, known)}") from None
    for run in _first(runs, found):
        log = Log(run.name, name, config={k: v for k, v in (run.config or {}).items() if k[:1] != "_"})
        entries = storage.get_logs(project, run=run.name, run_id=run.id)
        for entry in sorted(entries, key=lambda e: e.get("step") or 0):
            log.values |= {k: v for k, v in entry.items() if k not in ("step", "timestamp")}
        found.logs["trackio", run.id] = log
    found.recognised.append(f"{len(found.logs)} Trackio runs")


def read_mlflow(rest: str, name: str, found: Found) -> None:
    """The runs of an MLflow store: a folder `mlruns`, or a file `mlflow.db`.

    Raises
    ------
    TableError
        When it is no such store.
    """
    client_of: Any = optional("mlflow.tracking", "mlflow").MlflowClient
    path = os.path.abspath(os.path.expanduser(rest))
    if not os.path.exists(path):
        raise TableError(f"no MLflow store {name}")
    client = client_of(tracking_uri=f"sqlite:///{path}" if os.path.isfile(path) else f"file://{path}")
    try:
        experiments = [e.experiment_id for e in client.search_experiments()]
        runs = client.search_runs(experiments, max_results=MOST_RUNS + 1) if experiments else []
    except Exception as error:
        raise TableError(f"{name} is no MLflow store: {type(error).__name__}") from error
    if not runs:
        raise TableError(f"{name}: no runs in {listed(experiments) or 'it'}")
    for run in _first(runs, found):
        log = Log(run.info.run_name or run.info.run_id, name, dict(run.data.metrics), dict(run.data.params))
        if run.info.status != "FINISHED":
            log.doubt = f"run is {run.info.status.lower()}"
        found.logs["mlflow", run.info.run_id] = log
    found.recognised.append(f"{len(found.logs)} MLflow runs")
