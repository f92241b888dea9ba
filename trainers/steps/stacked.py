"""The GPU engine: all members of a family in one batched pass, under a CUDA graph where there is a GPU."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import Knobs, Losses
from trainers.family import Family
from trainers.steps.decoder import clip, remove_parallel
from trainers.steps.engine import MemberLog, StepOptions

EAGER_STEPS = 3
"""Steps before a CUDA graph is captured: libraries choose their kernels in them."""


class Pass(NamedTuple):
    """What a step leaves for a log line; under a graph, always the same memory."""

    losses: Losses
    norms: Tensor
    batch: Batch


class StackedEngine:
    """Products over the stack `[M, ...]`; members meet in no sum, so that each trains as if alone.

    Nothing in the step asks the device for a value: schedules come in as a small tensor; a member whose loss
    is not finite is masked; the masks are read when a log line or a checkpoint is.
    """

    def __init__(self, family: Family, options: StepOptions) -> None:
        self.family, self.options = family, options
        self.device = next(iter(family.parameters.values())).device
        settings = [m.setting for m in family.members]
        self.largest = max(settings)
        self.settings = torch.tensor(settings, device=self.device, dtype=torch.float64)
        self.rates = torch.tensor([m.learning_rate for m in family.members], device=self.device)
        self.moments = {k: (torch.zeros_like(v), torch.zeros_like(v)) for k, v in family.parameters.items()}
        self.count, self.done = 0, 0
        self.numbers = torch.zeros(5, dtype=torch.float64, device=self.device)  # see _set_numbers
        self.stopped_at = torch.full((len(family),), -1, device=self.device)
        for m, step in family.diverged.items():
            self.stopped_at[m] = step
        # Where steps differ in Python (P-anneal) there is no graph, which holds one step only.
        self.graphed = self.device.type == "cuda" and family.architecture.steps_alike
        self.graph: torch.cuda.CUDAGraph | None = None
        self.static: Batch | None = None
        self.last: Pass | None = None

    def step(self, batch: Batch, step: int, log: bool = False) -> list[MemberLog | None]:
        """One optimiser step of every member that is still finite."""
        self.count += 1
        self._set_numbers(step)
        self.done += 1  # since this engine was made: a resumed run warms up again
        if self.graphed and self.done > EAGER_STEPS:
            self._replay(batch, step)
        else:
            self._advance(batch, step)
        return self._log() if log else [None] * len(self.family)

    def _set_numbers(self, step: int) -> None:
        """Ramp, share of the learning rate, Adam's two corrections and the step, for the device to read."""
        schedule, (beta1, beta2) = self.options.schedule, self.family.architecture.betas
        now = (
            schedule.ramp(step), schedule.learning_rate(step), 1 - beta1**self.count, 1 - beta2**self.count,
            float(step),
        )  # fmt: skip
        self.numbers.copy_(torch.tensor(now, dtype=torch.float64))

    def _replay(self, batch: Batch, step: int) -> None:
        """The step as a CUDA graph: captured once, then one launch."""
        if self.graph is None or self.static is None:
            same = batch.target is batch.input
            inputs = batch.input.clone()
            self.static = Batch(inputs, inputs if same else batch.target.clone())
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self._advance(self.static, step)
        self.static.input.copy_(batch.input)
        if self.static.target is not self.static.input:
            self.static.target.copy_(batch.target)
        self.graph.replay()

    def _advance(self, batch: Batch, step: int) -> None:
        """Losses, gradients, clipping, Adam and decoder norms of all members; no value leaves the device."""
        family, kind, schedule = self.family, self.family.architecture, self.options.schedule
        stacked = {k: v.detach().requires_grad_() for k, v in family.parameters.items()}
        knobs = Knobs(self.settings, self.numbers[0], step, schedule.steps, largest=self.largest)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.options.autocast, cache_enabled=False
        ):
            losses = kind.training_loss(stacked, family.state, batch.input, batch.target, knobs)
        found = torch.autograd.grad(losses.total.sum(), list(stacked.values()), allow_unused=True)
        gradients = {
            k: torch.zeros_like(v) if g is None else g
            for (k, v), g in zip(stacked.items(), found, strict=True)
        }
        with torch.no_grad():
            if kind.unit_norm:
                remove_parallel(gradients[kind.decoder], family.parameters[kind.decoder])
            norms = clip(gradients, self.options.clip, members=True)
            self._mark(torch.isfinite(norms) & torch.isfinite(losses.total))
            self._adam(gradients)
            if kind.unit_norm:
                rows = family.parameters[kind.decoder]
                norm = rows.norm(dim=-1, keepdim=True).clamp_min(1e-12)
                rows.div_(self._where_trained(norm, torch.ones_like(norm)))
            for name, value in losses.state.items():
                family.state[name].copy_(self._where_trained(value, family.state[name]))
        self.last = Pass(losses, norms, batch)

    def _mark(self, finite: Tensor) -> None:
        """Stop the members that are not finite, at this step."""
        fell = ~finite & (self.stopped_at < 0)
        self.stopped_at.copy_(torch.where(fell, self.numbers[4].long(), self.stopped_at))

    def _adam(self, gradients: dict[str, Tensor]) -> None:
        """Adam with a learning rate per member; stopped members stay as they are."""
        beta1, beta2 = self.family.architecture.betas
        share, first, second = (self.numbers[i].to(self.rates.dtype) for i in (1, 2, 3))
        rates = self.rates * share
        for name, value in self.family.parameters.items():
            mean, square = self.moments[name]
            g = self._where_trained(gradients[name], torch.zeros((), dtype=value.dtype, device=self.device))
            mean.lerp_(g, 1 - beta1)
            square.mul_(beta2).addcmul_(g, g, value=1 - beta2)
            change = (mean / first) / ((square / second).sqrt() + self.options.epsilon)
            trained = self._per_member(rates * (self.stopped_at < 0), value)
            value.detach().sub_(trained * change)

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

    def _log(self) -> list[MemberLog | None]:
        """One log entry per member that is still trained."""
        assert self.last is not None
        losses, norms, batch = self.last
        spread = (batch.target - batch.target.mean(0)).square().sum()
        wrong = (losses.reconstruction.detach().float() - batch.target).square().sum((-1, -2))
        l0 = (losses.latents != 0).sum((-1, -2)) / len(batch.input)
        table = torch.stack([losses.total.detach().float(), l0, wrong / spread, norms]).T.tolist()
        self._read_marks()
        return [None if m in self.family.diverged else MemberLog(*row) for m, row in enumerate(table)]

    def tensors(self) -> dict[str, Tensor]:
        """Adam's memory, by run_id, in the same form as the loop's."""
        self._read_marks()
        found = {}
        for m, member in enumerate(self.family.members):
            for name, (mean, square) in self.moments.items():
                found[f"{member.run_id}/adam/{name}/exp_avg"] = mean[m]
                found[f"{member.run_id}/adam/{name}/exp_avg_sq"] = square[m]
                found[f"{member.run_id}/adam/{name}/step"] = torch.tensor(float(self.count))
        return found

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take up what `tensors` gave; a member that never made a step has nothing there."""
        counts = [0.0]
        for m, member in enumerate(self.family.members):
            for name, (mean, square) in self.moments.items():
                key = f"{member.run_id}/adam/{name}"
                if f"{key}/step" in tensors:
                    mean[m].copy_(tensors[f"{key}/exp_avg"])
                    square[m].copy_(tensors[f"{key}/exp_avg_sq"])
                    counts.append(float(tensors[f"{key}/step"]))
        self.count = int(max(counts))
        for m, step in self.family.diverged.items():
            self.stopped_at[m] = step
