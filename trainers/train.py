"""The training loop: from a configuration to trained SAEs, resumable at any moment."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch

from frontier.wording import listed
from frontier.writing import file_name, remove_drafts
from trainers import checkpoints, kept, ranks
from trainers.config import RunConfig, has_content, write_config
from trainers.device_memory import usable_memory
from trainers.held_out import check_evaluation_text, check_same_text
from trainers.interruption import Stopped, held
from trainers.log_lines import last_step
from trainers.needs import Needs, needs_of
from trainers.origin import Origin
from trainers.precision import formats
from trainers.promises.lines import own_fault
from trainers.run import Run, RunError, Watch, build_run
from trainers.run_log import RunLog, environment
from trainers.sae_files import save_sae
from trainers.steps.engine import MemberLog


def train(
    config: RunConfig,
    folder: str | Path,
    *,
    progress: bool | Literal["bar"] = True,
    resume: bool = False,
    origin: Origin | None = None,
    watch: Watch | None = None,
) -> Run:
    """Train every member of a configuration and write the SAEs to `folder`.

    Parameters
    ----------
    folder : path
        Gets `config.toml`, `environment.json`, `log.jsonl`, `checkpoints/`, `kept/` where SAEs at named steps
        are wanted and, at the end, `saes/`.
    progress : bool or "bar"
        A bar, and before it how large the dictionaries are and what they need; or the bar alone.
    origin : LanguageModel or StoredActivations, optional
        What the activations are of, in the place of the configuration's model or files; `evaluate_run` takes
        the same as `model`.
    watch : callable, optional
        Is called with the run after each step; what it raises ends the run.
    resume : bool
        Go on from the last checkpoint in `folder`; the final weights are those of a run that was never
        stopped.

    Raises
    ------
    RunError
        If the folder holds another run, nothing to resume, or memory does not suffice.
    CheckpointError
        If a checkpoint cannot be written or read; the last complete one is intact.
    Stopped
        After SIGINT, SIGTERM or SIGUSR1: the step was finished and a checkpoint written.
    """
    folder = Path(folder)
    if not resume and (folder / "config.toml").exists():
        raise RunError(f"{folder} holds a run already; resume it, or name another folder")
    with enough_memory(config), own_fault([f.kind for f in config.families]):
        fresh = not (resume and checkpoints.complete(folder / "checkpoints"))
        run = build_run(config, bool(progress) and ranks.is_first(), fresh, origin)
        held_out = check_evaluation_text(config, run.model)
        if resume:
            check_same_text(folder, config, run.model, held_out["protocol"])
            go_on(run, folder)
            kept.say_missed(folder, run.config, run.step)
        needs = fitting_needs(run)
        if ranks.is_first():
            for place in (folder, folder / "checkpoints", folder / "saes", *folder.glob(f"{kept.KEPT}/*")):
                remove_drafts(place)
            if not (resume and has_content(folder / "config.toml")):
                write_config(run.config, folder / "config.toml")
            environment(folder / "environment.json", run, held_out)
        ranks.barrier()
        with (
            RunLog(run, folder, progress, f"{formats(run.config, run.model.device)}; {needs}") as log,
            held() as signalled,
            run.stream.ahead.at_work(),
        ):
            for logs in steps(run, folder, signalled):
                log.write(run.step, logs)
                if watch:
                    watch(run)
    saes = run.saes()
    for sae in saes:
        save_sae(sae, folder / "saes" / file_name(sae.identity["run_id"]))
    if not ranks.any_true(bool(saes)):
        raise RunError(
            f"every member diverged ({listed([f'{k} at step {v}' for k, v in run.diverged().items()], 3)}); "
            "lower training.learning_rate, or look at the settings"
        )
    return run


def fitting_needs(run: Run) -> Needs:
    """What a run will need on its device.

    Raises
    ------
    RunError
        If it has not so much; what to lower is said.
    """
    needs = needs_of(run.families, run.engines, run.model, run.stream)
    if advice := needs.advice(usable_memory(run.model.device)):
        raise RunError(advice)
    return needs


def go_on(run: Run, folder: Path) -> None:
    """Bring a run to its newest checkpoint that can be read; it stays at its start if stopped before one.

    Raises
    ------
    CheckpointError
        If there are checkpoints and none can be read.
    RunError
        If there is none, though the run had got beyond the first.
    """
    found = checkpoints.complete(folder / "checkpoints")
    for checkpoint in reversed(found):
        try:
            run.restore(checkpoint)
        except checkpoints.CheckpointError as error:
            if checkpoint == found[0]:
                raise
            warnings.warn(f"{error}; going on from the one before", stacklevel=3)
        else:
            return
    if (folder / "saes").exists() or last_step(folder) >= run.config.training.checkpoint_every:
        raise RunError(
            f"{folder} has trained, and its checkpoints are gone; to train from the start again, "
            "run its config.toml with another --out"
        )


def steps(
    run: Run, folder: Path, signalled: Callable[[], int | None] = lambda: None
) -> Iterator[dict[str, MemberLog] | None]:
    """Train to the end; after each step its log, where one is due.

    Raises
    ------
    Stopped
        After a step and a checkpoint, if `signalled` gives a number in any process.
    """
    training = run.config.training
    while run.step < training.steps:
        due = (run.step + 1) % training.log_every == 0 or run.step + 1 == training.steps
        batches = run.stream.batches()
        logs = {}
        for family, engine in zip(run.families, run.engines, strict=True):
            for member, entry in zip(
                family.members, engine.step(batches[family.site], run.step, due), strict=True
            ):
                if entry is not None:
                    logs[member.run_id] = entry
        run.step += 1
        if kept.is_due(run.config, run.step):  # before the checkpoint: after a kill the step comes again
            kept.keep(run.saes(), folder, run.step)
        stop = ranks.any_true(signalled() is not None)
        if stop or run.step % training.checkpoint_every == 0 or run.step == training.steps:
            run.save(folder / "checkpoints")
        yield logs if due else None
        if stop:
            place = f" after step {run.step} of {training.steps}, which is saved"
            raise Stopped(signalled() or signal.SIGTERM, place)


@contextmanager
def enough_memory(config: RunConfig) -> Iterator[None]:
    """Turn a lack of memory into advice."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise
        training = config.training
        raise RunError(
            f"out of memory with batches of {training.batch_size} and {len(config.families)} families; lower "
            "training.batch_size or training.expansion (dictionary_size), train fewer members in one run, or "
            "spread them with torchrun. The last checkpoint is intact"
        ) from error
