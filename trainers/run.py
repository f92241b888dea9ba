"""A run: its families, their step engines and their stream of activations, built from a configuration."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from frontier.writing import naming
from trainers import checkpoints, ranks, sharding, starts
from trainers.activations import ActivationStream, activation_stream
from trainers.architectures import Architecture
from trainers.architectures.registry import digest
from trainers.config import RunConfig, stated
from trainers.config_members import members
from trainers.config_saved import changed_fields
from trainers.config_sizes import located, sized
from trainers.device_memory import usable_memory
from trainers.exclusions import with_exclusions
from trainers.families import build_families
from trainers.family import Family, Schedule, Source
from trainers.needs import least_of
from trainers.origin import Origin, at_its_site, change_of, origin_of, own_origin, record_of
from trainers.precision import prepare, with_formats
from trainers.promises import assure
from trainers.sae import SAE
from trainers.sharding import pieces
from trainers.steps import Engine, engine_for
from trainers.steps.engine import StepOptions
from trainers.transcoding import check_target

THRESHOLD_ROWS = 16_384
"""Training activations on which thresholds are found, once, with the final weights.

On 100,000 activations the L0 of a BatchTopK then has an SD of 0.2 to 0.5 % over draws of these rows (k = 16,
4, 1; 256 latents, the shipped model); it is 1.2 to 2.4 % with 1,024 rows.
"""


Watch = Callable[["Run"], None]
"""Called with a run after each of its steps; what it raises ends the run."""


class RunError(RuntimeError):
    """A run that cannot be built, resumed or finished."""


@dataclass(eq=False)
class Run:
    """Everything that trains, and how far it is.

    Attributes
    ----------
    families : list of Family
        This process's members; under torchrun each process has its share.
    step : int
        Steps done.
    """

    config: RunConfig
    model: Origin
    stream: ActivationStream
    families: list[Family]
    engines: list[Engine]
    step: int = 0

    @property
    def tokens(self) -> int:
        """Activations seen so far."""
        return self.step * self.config.training.batch_size

    def saes(self) -> list[SAE]:
        """The members that did not diverge, as SAEs for raw activations; of each the latents here."""
        # The same in every process; before the first step a member has the threshold that it started with.
        wanted = self.step > 0 and any(finds_a_threshold(f.kind) for f in self.config.families)
        rows = self.rows() if wanted else {}
        budget = {"tokens_trained": self.tokens, "steps_trained": self.step}
        return [sae for f in self.families for sae in f.saes(rows.get(f.site), **budget)]

    def rows(self) -> dict[str, torch.Tensor]:
        """Scaled training activations `[n, d_in]` by site, the next of the stream, which stays there."""
        before, count = self.stream.state(), -(-THRESHOLD_ROWS // self.stream.batch_size)
        found = [{s: b.input.cpu() for s, b in self.stream.batches().items()} for _ in range(count)]
        self.stream.restore(before)
        return {site: torch.cat([part[site] for part in found]) for site in self.stream.sites}

    def release(self) -> None:
        """Let go of what training alone needs, before an evaluation on the same device."""
        self.families, self.engines = [], []
        self.stream.release()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    def diverged(self) -> dict[str, int]:
        """run_id and step of every member that was stopped."""
        return {f.members[m].run_id: step for f in self.families for m, step in f.diverged.items()}

    def told(self) -> dict[str, int]:
        """Of them those that this process says: the first shard speaks for all."""
        return {f.members[m].run_id: s for f in self.families if f.speaks for m, s in f.diverged.items()}

    def widths(self) -> list[int]:
        """d_in and d_out of each site in turn."""
        return [n for own in self.stream.widths.values() for n in own]

    def code(self) -> dict[str, str]:
        """SHA-256 of the files of the architectures that are not built in."""
        kinds = {f.kind.name: digest(f.kind) for f in self.config.families}
        return {name: found for name, found in kinds.items() if found}

    def save(self, folder: Path) -> None:
        """Write a checkpoint of this step, of all processes together."""
        tensors: dict[str, torch.Tensor] = {}
        for family, engine in zip(self.families, self.engines, strict=True):
            tensors |= family.tensors() | engine.tensors()
        state = {
            "step": self.step, "stream": self.stream.state(), "diverged": self.diverged(),
            "config": self.config.model_dump(mode="json"), "model": self.model.revision,
            "origin": record_of(self.model),
            "widths": self.widths(), "torch": torch.__version__,
            "code": self.code(), "sources": {k: v for f in self.families for k, v in f.sources.items()},
        }  # fmt: skip
        checkpoints.save(folder, self.step, tensors, state)

    def restore(self, checkpoint: Path) -> None:
        """Go on from a checkpoint; another version of torch than it was written with is named.

        Raises
        ------
        CheckpointError
            If it lacks something, or does not fit this run's tensors.
        RunError
            If it is of another configuration or another model; what differs is listed.
        """
        tensors, state = checkpoints.load_together(checkpoint)
        found = changed_fields(state["config"], self.config.model_dump(mode="json"))
        if found:
            raise RunError(f"{checkpoint} was trained with another configuration: {'; '.join(found)}")
        if state.get("widths") != self.widths():
            raise RunError(
                f"{checkpoint} has activations of width {state.get('widths')}, the model gives "
                f"{self.widths()}"
            )
        if change := change_of(state.get("origin", {"revision": state.get("model")}), self.model):
            raise RunError(
                f"{change} since {checkpoint} was written; a run goes on with what it began with: put back "
                "what was, or train anew in another folder"
            )
        try:
            self._take(tensors, state)
        except (KeyError, TypeError, RuntimeError) as error:  # a tensor that is missing or of another shape
            raise checkpoints.CheckpointError(f"{checkpoint} does not fit this run: {error}") from error
        if state.get("torch", torch.__version__) != torch.__version__:
            warnings.warn(
                f"{checkpoint.name} was written with torch {state['torch']}, this is torch "
                f"{torch.__version__}: the run goes on, but its weights may differ in their last digits from "
                "those of a run that was never stopped",
                stacklevel=4,
            )

        for name, was in state.get("code", {}).items():
            if self.code().get(name, was) != was:
                warnings.warn(
                    f"{checkpoint.name} was written with another text of {name}'s file: the run goes on with "
                    "the new one",
                    stacklevel=4,
                )

    def _take(self, tensors: Mapping[str, torch.Tensor], state: dict[str, Any]) -> None:
        """Take up the tensors and the state of a checkpoint, which any number of shards may have written."""
        if self.config.training.shards == 1 and pieces.in_parts(tensors):
            tensors = pieces.joined(tensors)
        for family, engine in zip(self.families, self.engines, strict=True):
            family.load_tensors(tensors)
            names = [m.run_id for m in family.members]
            diverged = {names.index(k): v for k, v in state["diverged"].items() if k in names}
            family.diverged.clear()
            family.diverged.update(diverged)
            engine.load_tensors(tensors)
            sources = {k: Source(*v) for k, v in state.get("sources", {}).items() if k in names}
            family.sources.update(sources)
        self.stream.restore(state["stream"])
        self.step = state["step"]


def finds_a_threshold(kind: type[Architecture]) -> bool:
    """Whether an architecture finds a threshold on training activations when it is trained."""
    return kind.threshold is not Architecture.threshold


def build_run(
    config: RunConfig, progress: bool = True, fresh: bool = True, origin: Origin | None = None
) -> Run:
    """Load the model, open the stream, and start every member of this process.

    Parameters
    ----------
    fresh : bool
        Read what `start_from` names; a run that a checkpoint is restored to needs none of it.
    origin : LanguageModel or StoredActivations, optional
        In the place of the configuration's model or files.

    Raises
    ------
    RunError
        If a GPU is asked for where there is none, or the weights will not fit.
    """
    device = chosen_device(config.model.device)
    config = with_formats(stated(config), device)
    prepare(device, config.training.precision)
    if config.training.precision == "bfloat16" and device.type != "cuda":
        raise RunError("training.precision = bfloat16 needs a GPU; take auto, or float32 on a CPU")
    model = origin_of(config, device) if origin is None else own_origin(origin)
    config = with_exclusions(located(at_its_site(config, model), model), model)
    check_target(config, model)
    given, target = config.activations, config.activations.target_site
    config = sized(config, {site: model.site(site).width for site in given.places})
    training, plans = config.training, members(config)
    sharding.check(training.shards, {m.dictionary_size for m in plans}, {f.kind for f in config.families})
    mesh = sharding.mesh_of(training.shards, device)
    mine = mesh.mine(plans)  # of all families together, so that no process has many more than another
    rows = {site: model.site(target or site).width for site in given.places}
    if advice := least_of(mine, rows, mesh.shards.count).advice(usable_memory(device)):
        raise RunError(advice)
    begun = starts.read_starts(config, mine, model, mesh.shards) if fresh else {}
    stream = activation_stream(
        model, given.places, given.text, target_site=target,
        tokens=None if given.tokens == "all" else given.tokens, context_length=given.context_length,
        batch_size=config.training.batch_size, buffer_tokens=given.buffer_tokens,
        memory_limit=given.memory_limit, centre=given.centre,
        seed=given.seed, cache=given.cache, cache_limit=given.cache_limit, progress=progress,
    )  # fmt: skip
    joined = any(model.site(site).parts for site in (*given.places, *([target] if target else [])))
    for section in config.families:
        kind = section.build(subtract_decoder_bias=target is None)
        assure(kind, joined)
        if unused := kind.left_out(section.settings or ()):
            warnings.warn(f"family {section.called}: {unused}", stacklevel=2)
    families = build_families(config, mine, model, stream, device, mesh.shards)
    starts.begin(families, begun)
    options = StepOptions(
        Schedule(training.steps, training.warmup, training.decay, training.sparsity_warmup), training.clip,
        autocast=training.precision == "bfloat16",
    )  # fmt: skip
    threads = training.threads or os.cpu_count() or 1
    engines = [
        sharding.ShardedEngine(f, options)
        if isinstance(f, sharding.ShardedFamily)
        else engine_for(f, options, training.engine, threads)
        for f in families
    ]
    return Run(config, model, stream, families, engines)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep the folder of a run to this run; a kill lets it go.

    Raises
    ------
    RunError
        If another run is at work there.
    """
    if not ranks.is_first():
        yield
        return
    lock = FileLock(folder / ".lock")
    with naming(folder / ".lock", "nothing was changed"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").touch()
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise RunError(
                f"another sae-train is at work in {folder}; wait for it, or name another folder"
            ) from error
    try:
        yield
    finally:
        lock.release()


def chosen_device(name: str) -> torch.device:
    """The device of a configuration; `auto` is the GPU where there is one.

    Raises
    ------
    RunError
        If a GPU is asked for where there is none, or the name is no device.
    """
    local = os.environ.get("LOCAL_RANK", "0")
    if name == "auto":
        return torch.device(f"cuda:{local}" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RunError(f"model.device must be auto, cpu, cuda or cuda:N, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RunError(
            f"model.device is {name}, and this machine has no GPU that torch can use; take auto or cpu"
        )
    return device
