"""The CPU engine: member after member, each by the fastest path that its architecture has."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import Knobs
from trainers.family import Family
from trainers.steps.closed_forms import closed_form
from trainers.steps.closed_forms.memory import Scratch, keep_freed_memory
from trainers.steps.decoder import clip, remove_parallel
from trainers.steps.engine import (
    MemberLog,
    MemberStep,
    StepOptions,
    batch_log,
    gradients_of,
    load_optimizer,
    member_optimizer,
    optimizer_tensors,
    update,
)


class LoopEngine:
    """Members one by one, on a few threads; no member ever sees another.

    Gradients come from `closed_forms` where an architecture has one there, else from autograd.
    """

    def __init__(
        self, family: Family, options: StepOptions, threads: int = 1, closed_forms: bool = True
    ) -> None:
        self.family, self.options = family, options
        kind = family.architecture
        self.closed_form = closed_form(kind) if closed_forms else None
        self.scratch, self.threads = Scratch(), threads
        keep_freed_memory()
        self.optimizers = [
            member_optimizer(leaves, member.learning_rate, kind.betas, options.epsilon)
            for leaves, member in zip(family.leaves, family.members, strict=True)
        ]
        # Always a pool, and one thread inside each task: the sums do not depend on the number of threads.
        self.pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

    def step(self, batch: Batch, step: int, log: bool = False) -> list[MemberLog | None]:
        """One optimiser step of every active member."""
        active = self.family.active
        # This thread does what the only one of a pool would do, without passing each member to it.
        alone = self.threads == 1 and torch.get_num_threads() == 1
        found: list[MemberLog | None] = [None] * len(self.family)
        with torch.enable_grad():
            done = (map if alone else self.pool.map)(lambda m: self._member(m, batch, step, log), active)
            for m, entry in zip(active, done, strict=True):
                found[m] = entry
        return found

    def _member(self, m: int, batch: Batch, step: int, log: bool) -> MemberLog | None:
        """Gradient, clipping, Adam and decoder norms of one member."""
        leaves, options = self.family.leaves[m], self.options
        schedule = options.schedule
        knobs = Knobs(self.family.members[m].setting, schedule.ramp(step), step, schedule.steps)
        gradients, loss, state, entry = self.gradients(m, batch, knobs, log)
        kind = self.family.architecture
        with torch.no_grad():
            if kind.unit_norm:
                remove_parallel(gradients[kind.decoder], leaves[kind.decoder])
            norm = clip(gradients, options.clip)
            if not (torch.isfinite(loss) and torch.isfinite(norm)):
                self.family.diverged[m] = step
                return None
            share = schedule.learning_rate(step)
            update(self.family, m, self.optimizers[m], share, gradients, state)
        return batch_log(loss, entry[0], entry[1], batch.target, norm) if log else None

    def gradients(self, m: int, batch: Batch, knobs: Knobs, log: bool = False) -> MemberStep:
        """Gradients, loss and new state of one member, and (L0, x̂) of the batch."""
        kind, leaves, state = self.family.architecture, self.family.leaves[m], self.family.state_of(m)
        if self.closed_form is not None:
            # What overflows is found by its loss, as in torch: without a warning of numpy's.
            with torch.no_grad(), np.errstate(all="ignore"):
                return self.closed_form(kind, leaves, state, batch, knobs, self.scratch, log)
        losses = kind.training_loss(leaves, state, batch.input, batch.target, knobs)
        gradients = gradients_of(losses.total, leaves)
        l0 = float((losses.latents != 0).sum() / len(batch.input)) if log else 0.0
        return MemberStep(gradients, losses.total.detach(), losses.state, (l0, losses.reconstruction))

    def tensors(self) -> dict[str, Tensor]:
        """Adam's memory, by run_id."""
        found: dict[str, Tensor] = {}
        for m, member in enumerate(self.family.members):
            found |= optimizer_tensors(
                self.optimizers[m], list(self.family.leaves[m]), f"{member.run_id}/adam"
            )
        return found

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what `tensors` gave."""
        for m, member in enumerate(self.family.members):
            load_optimizer(self.optimizers[m], list(self.family.leaves[m]), f"{member.run_id}/adam", tensors)
