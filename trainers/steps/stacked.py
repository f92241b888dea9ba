"""The GPU engine: all members of a family in one batched pass, under a CUDA graph where there is a GPU."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import Knobs, TopK
from trainers.family import Family
from trainers.steps.decoder import remove_parallel
from trainers.steps.engine import MemberLog, StepOptions, gradients_of
from trainers.steps.fast import Halves, Step, fast_step
from trainers.steps.fast.optimiser import StackedAdam, norms
from trainers.steps.graphs import Recorded
from trainers.steps.late import ReadLate, SentAhead


class Pass(NamedTuple):
    """What a step leaves for a log line; under a graph, always the same memory."""

    table: Tensor | None
    """Loss, L0, FVU and gradient norm of each member `[M, 4]`, where a log is due."""
    oldest: Tensor | None
    """Tokens since the longest silent latent of any member fired."""


class StackedEngine:
    """Products over the stack `[M, ...]`; members meet in no sum, so that each trains as if alone.

    Nothing in the step asks the device for a value: schedules lie there ahead of their steps; a member whose
    loss is not finite is masked; the masks are read when a log line or a checkpoint is.

    Parameters
    ----------
    halves : Halves, optional
        How the closed forms of `fast` take their products; None: autograd on the architecture's loss alone.
        By default the closed forms on a GPU.
    """

    def __init__(self, family: Family, options: StepOptions, halves: Halves | str | None = "auto") -> None:
        self.family, self.options = family, options
        self.device = next(iter(family.parameters.values())).device
        if isinstance(halves, str):
            halves = Halves.on_gpu(options.autocast) if self.device.type == "cuda" else None
        self.halves = halves
        self.fast = None if halves is None else fast_step(family.architecture)
        settings = [m.setting for m in family.members]
        self.largest = max(settings)
        self.settings = torch.tensor(settings, device=self.device, dtype=torch.float64)
        self.rates = torch.tensor([m.learning_rate for m in family.members], device=self.device)
        self.adam = StackedAdam(family.parameters, family.architecture.betas, options.epsilon)
        self.count = self.lag = 0  # optimiser steps, and how many fewer they are than steps of the run
        self.ahead = self._sent_ahead()
        self.numbers = torch.zeros(4, dtype=torch.float64, device=self.device)
        self.stopped_at = torch.full((len(family),), -1, device=self.device)
        for m, step in family.diverged.items():
            self.stopped_at[m] = step
        self.recorded = Recorded() if self.device.type == "cuda" else None
        self.silence = ReadLate()

    def step(self, batch: Batch, step: int, log: bool = False) -> list[MemberLog | None]:
        """One optimiser step of every member that is still finite."""
        if step - self.count != self.lag:  # a run that was resumed from a loop's memory
            self.lag, self.ahead = step - self.count, self._sent_ahead()
        self.count += 1
        self.numbers.copy_(self.ahead.at(step))
        may_be_dead = self._may_be_dead(step, len(batch.input))
        knobs = Knobs(
            self.settings, self.numbers[0], step, self.options.schedule.steps, self.largest, may_be_dead
        )
        if self.recorded is None:
            left = self._advance(batch, knobs, log)
        else:
            phase = self._phase(knobs, log)
            left = self.recorded.run(phase, batch, lambda given: self._advance(given, knobs, log))
        if left.oldest is not None:
            self.silence.post(step, left.oldest)
        return [None] * len(self.family) if left.table is None else self._log(left.table)

    def _sent_ahead(self) -> SentAhead:
        return SentAhead(self._numbers, self.options.schedule.steps, self.device)

    def _numbers(self, step: int) -> tuple[float, float, float, float]:
        """Ramp, share of the learning rate, optimiser steps and the step, for the device to read."""
        schedule = self.options.schedule
        return schedule.ramp(step), schedule.learning_rate(step), step - self.lag + 1.0, float(step)

    def _phase(self, knobs: Knobs, log: bool) -> Hashable | None:
        phase = self.family.architecture.phase(knobs)
        return None if phase is None else (phase, knobs.may_be_dead, log)

    def _may_be_dead(self, step: int, tokens: int) -> bool:
        """Whether a latent can have become dead by this step, from the last silence that is known.

        Silence grows by a batch a step at most: a number that comes late errs on the safe side, where the
        term of dead latents is masked, so that the result never depends on when it came.
        """
        kind = self.family.architecture
        if not isinstance(kind, TopK) or not kind.aux_coefficient:
            return False
        known = self.silence.read()
        if known is None:  # the start, or after a resume: looked at once
            known = step - 1, float(self.family.state["idle"].max())
            self.silence.known = known
        most = known[1] + (step - 1 - known[0]) * tokens
        knobs = Knobs(0.0, step=step, steps=self.options.schedule.steps)
        return bool(kind.dead(torch.tensor(most), knobs, tokens))

    def _advance(self, batch: Batch, knobs: Knobs, log: bool = False) -> Pass:
        """Losses, gradients, clipping, Adam and decoder norms of all members; no value leaves the device."""
        family, kind = self.family, self.family.architecture
        found = self._closed(batch, knobs) if self.fast else self._by_autograd(batch, knobs)
        with torch.no_grad():
            gradients = found.gradients
            if kind.unit_norm:
                remove_parallel(gradients[kind.decoder], family.parameters[kind.decoder])
            sizes = norms(gradients)
            self._mark(torch.isfinite(sizes) & torch.isfinite(found.total))
            stopped = self.stopped_at >= 0
            share, count = self.numbers[1].to(self.rates.dtype), self.numbers[2]
            factors = (self.options.clip / sizes.clamp_min(1e-12)).clamp_max(1.0)
            self.adam.update(family.parameters, gradients, factors, self.rates * share, stopped, count)
            if kind.unit_norm:
                rows = family.parameters[kind.decoder]
                norm = torch.linalg.vector_norm(rows, dim=-1, keepdim=True).clamp_min(1e-12)
                rows.div_(self._where_trained(norm, torch.ones_like(norm)))
            for name, value in found.state.items():
                family.state[name].copy_(self._where_trained(value, family.state[name]))
            oldest = family.state["idle"].amax() if isinstance(kind, TopK) else None
            table = self._table(found, sizes, batch) if log else None
        return Pass(table, oldest)

    @torch.no_grad()
    def _closed(self, batch: Batch, knobs: Knobs) -> Step:
        """The step in closed form."""
        assert self.fast is not None
        assert self.halves is not None
        family = self.family
        p = {k: v.detach() for k, v in family.parameters.items()}
        return self.fast(family.architecture, p, family.state, batch, knobs, self.halves)

    def _by_autograd(self, batch: Batch, knobs: Knobs) -> Step:
        """The step as the architecture's loss defines it."""
        family = self.family
        stacked = {k: v.detach().requires_grad_() for k, v in family.parameters.items()}
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.options.autocast, cache_enabled=False
        ):
            losses = family.architecture.training_loss(
                stacked, family.state, batch.input, batch.target, knobs
            )
        gradients = gradients_of(losses.total.sum(), stacked)
        error = losses.reconstruction.detach() - batch.target
        return Step(gradients, losses.total.detach(), losses.latents.detach(), error, losses.state)

    def _mark(self, finite: Tensor) -> None:
        """Stop the members that are not finite, at this step."""
        fell = ~finite & (self.stopped_at < 0)
        self.stopped_at.copy_(torch.where(fell, self.numbers[3].long(), self.stopped_at))

    def _where_trained(self, value: Tensor, other: Tensor) -> Tensor:
        return torch.where(self._per_member(self.stopped_at < 0, value), value, other)

    @staticmethod
    def _per_member(values: Tensor, like: Tensor) -> Tensor:
        return values.view(-1, *[1] * (like.ndim - 1))

    def _read_marks(self) -> None:
        """Bring the marks of stopped members from the device."""
        for m, step in enumerate(self.stopped_at.tolist()):
            if step >= 0:
                self.family.diverged.setdefault(m, step)

    @staticmethod
    def _table(found: Step, sizes: Tensor, batch: Batch) -> Tensor:
        """The numbers of a log line, a row per member."""
        spread = (batch.target - batch.target.mean(0)).square().sum()
        wrong = found.error.square().sum((-1, -2))
        l0 = (found.latents != 0).sum((-1, -2)) / len(batch.input)
        return torch.stack([found.total.float(), l0, wrong / spread, sizes]).T

    def _log(self, table: Tensor) -> list[MemberLog | None]:
        """One log entry per member that is still trained."""
        rows = table.tolist()
        self._read_marks()
        return [None if m in self.family.diverged else MemberLog(*row) for m, row in enumerate(rows)]

    def tensors(self) -> dict[str, Tensor]:
        """Adam's memory, by run_id, in the same form as the loop's."""
        self._read_marks()
        found = {}
        for m, member in enumerate(self.family.members):
            for name, (mean, square) in self.adam.moments.items():
                found[f"{member.run_id}/adam/{name}/exp_avg"] = mean[m]
                found[f"{member.run_id}/adam/{name}/exp_avg_sq"] = square[m]
                found[f"{member.run_id}/adam/{name}/step"] = torch.tensor(float(self.count))
        return found

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what `tensors` gave; a member that never made a step has nothing there."""
        counts = [0.0]
        for m, member in enumerate(self.family.members):
            for name, (mean, square) in self.adam.moments.items():
                key = f"{member.run_id}/adam/{name}"
                if f"{key}/step" in tensors:
                    mean[m].copy_(tensors[f"{key}/exp_avg"])
                    square[m].copy_(tensors[f"{key}/exp_avg_sq"])
                    counts.append(float(tensors[f"{key}/step"]))
        self.count = int(max(counts))
        self.silence = ReadLate()
        for m, step in self.family.diverged.items():
            self.stopped_at[m] = step
