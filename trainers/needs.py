"""What a run will need on its device, said before its first step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from trainers.architectures import Architecture
from trainers.config_members import MemberPlan
from trainers.counting.steps import counted_step
from trainers.counting.traffic import Traffic
from trainers.evaluate.fitting import pass_bytes, window_bytes
from trainers.evaluate.linear_error import moment_bytes, solving_bytes
from trainers.family import Family
from trainers.steps.stacked import StackedEngine

SPARE = 0.03
"""Share of a device's memory that is left to its allocator and libraries."""


@dataclass(frozen=True)
class Needs:
    """Bytes, by what they are for.

    Attributes
    ----------
    training : dict of str to int
        There at the same time while a run trains: language model, activations, weights, optimiser, and the
        step (codes and gradients) of the family that needs most.
    evaluation : int
        The least that one needs: the language model, all SAEs, the moments of their errors, and one window's
        logits or codes, or what solves the moments.
    """

    training: dict[str, int]
    evaluation: int

    @property
    def most(self) -> int:
        """At the peak of either."""
        return max(sum(self.training.values()), self.evaluation)

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {_size(value)}" for name, value in self.training.items() if value)
        return f"needs {_size(sum(self.training.values()))} ({parts}); evaluation {_size(self.evaluation)}"

    def advice(self, free: int | None) -> str | None:
        """What to lower, if more is needed than the `free` bytes; None if it fits, or nobody knows."""
        if free is None or self.most <= free * (1 - SPARE):
            return None
        largest = max(self.training, key=lambda name: self.training[name])
        if sum(self.training.values()) < self.evaluation:
            largest = "evaluation"
        return (
            f"this run {self}; the device has {_size(free)} free. Most of it is for the {largest}: lower "
            f"{LOWER[largest]}"
        )


LOWER = {
    "language model": "model.dtype, or take a smaller model",
    "activations": "activations.memory_limit or activations.buffer_tokens",
    "weights": "training.dictionary_size, train fewer members in one run, or spread them with torchrun",
    "optimiser": "training.dictionary_size, train fewer members in one run, or spread them with torchrun",
    "step": "training.batch_size, or train fewer members of a family in one run",
    "evaluation": "activations.context_length, or the number of members",
}
"""By what needs most."""


def needs_of(families: list[Family], engines: list[Any], model: Any, stream: Any) -> Needs:
    """The needs of a run whose families and engines are made; steps are counted where they are stacked."""
    tensors = [t for f in families for t in (*f.parameters.values(), *f.state.values())]
    weights = sum(t.untyped_storage().nbytes() for t in tensors)
    trained = sum(v.numel() * v.element_size() for f in families for v in f.parameters.values())
    language = sum(p.numel() * p.element_size() for p in model.model.parameters()) if model.predicts else 0
    steps = [step_of(f, e, stream.batch_size) for f, e in zip(families, engines, strict=True)]
    window = window_bytes(
        model.vocabulary_size * model.predicts, stream.harvest.windows.tokens.shape[1],
        max(code_bytes(f.architecture) * latents_of(f) for f in families), pass_bytes(model),
    )  # fmt: skip
    sites = {f.site: f for f in families}
    of_errors = [
        (sum(len(f) for f in families if f.site == site), of.d_in, of.d_out) for site, of in sites.items()
    ]
    measured = max((moment_bytes(*e) + max(window, solving_bytes(*e)) for e in of_errors), default=0)
    return Needs(
        {
            "language model": language, "activations": stream.bytes_held, "weights": weights,
            "optimiser": 2 * trained, "step": max(steps, default=0),
        },
        language + trained + measured,
    )  # fmt: skip


def least_of(plans: Iterable[MemberPlan], widths: Mapping[str, int], shards: int) -> Needs:
    """What decoders of these widths, by site, and their optimiser will need, before anything is made."""
    weights = sum(4 * m.dictionary_size * widths[m.site] // shards for m in plans)
    return Needs({"weights": weights, "optimiser": 2 * weights}, weights)


def latents_of(family: Family) -> int:
    """Of each member; of a shard its own."""
    return family.parameters[family.architecture.decoder].shape[1]


def code_bytes(architecture: Architecture) -> float:
    """Bytes at the peak for each code of an evaluation, counted on a small SAE."""
    width, latents, rows = 4, 256, 128
    means = (torch.zeros(width), torch.zeros(width))
    trained, state = architecture.start(width, width, latents, means, 0), architecture.state(latents)
    p = architecture.inference(trained, state, 4)
    with torch.no_grad(), Traffic() as traffic:
        architecture.encode(p, torch.ones(rows, width)).abs()
    return traffic.peak / (rows * latents)


def step_of(family: Family, engine: Any, batch: int) -> int:
    """Bytes of one step beside weights and optimiser; the most over phases.

    Of the loop, which has no tensors that could be counted: the codes and their gradient, and the gradients
    of one member on each thread.
    """
    one = sum(v.numel() * v.element_size() for v in family.parameters.values()) // len(family)
    latents = latents_of(family)
    if not isinstance(engine, StackedEngine):
        return min(getattr(engine, "threads", 1), len(family)) * (one + 2 * 4 * batch * latents)
    phases = (False, True) if family.architecture.setting_name == "k" else (False,)
    try:
        return max(_counted(family, engine, batch, dead) for dead in phases)
    except RuntimeError:  # an architecture of one's own that looks at values: eight float32 for a code
        return len(family) * (one + 8 * 4 * batch * family.dictionary_size)


def _counted(family: Family, engine: Any, batch: int, dead: bool) -> int:
    return counted_step(
        family.architecture, [m.setting for m in family.members], family.d_in, family.dictionary_size, batch,
        d_out=None if family.d_out == family.d_in else family.d_out, half=engine.options.autocast,
        closed_form=engine.fast is not None, dead=dead,
    ).working  # fmt: skip


def _size(value: float) -> str:
    return f"{value / 1e9:.1f} GB" if value >= 1e8 else f"{value / 1e6:.1f} MB"
