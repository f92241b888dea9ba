"""The GPU engine: all members of a family in one batched pass, differentiated by autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import Knobs
from trainers.family import Family
from trainers.steps.decoder import clip, normalise, remove_parallel
from trainers.steps.engine import MemberLog, StepOptions


class StackedEngine:
    """Products over the stack `[M, ...]`; members meet in no sum, so that each trains as if alone.

    Nothing in the step asks the device for a value: a member whose loss is not finite is masked, and the masks are
    read when a log line is.
    """

    def __init__(self, family: Family, options: StepOptions) -> None:
        self.family, self.options = family, options
        some = next(iter(family.parameters.values()))
        self.device = some.device
        self.settings = torch.tensor([m.setting for m in family.members], device=self.device)
        self.rates = torch.tensor([m.learning_rate for m in family.members], device=self.device)
        self.moments = {
            k: (torch.zeros_like(v), torch.zeros_like(v)) for k, v in family.parameters.items()
        }
        self.count = 0
        self.finite = torch.ones(len(family), dtype=torch.bool, device=self.device)
        for m in family.diverged:
            self.finite[m] = False

    def step(self, batch: Batch, step: int, log: bool = False) -> list[MemberLog | None]:
        """One optimiser step of every member that is still finite."""
        family, schedule = self.family, self.options.schedule
        stacked = {k: v.detach().requires_grad_() for k, v in family.parameters.items()}
        knobs = Knobs(self.settings, schedule.ramp(step), step, schedule.steps, step * len(batch.input))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.autocast):
            losses = family.architecture.training_loss(stacked, family.state, batch.input, batch.target, knobs)
        found = torch.autograd.grad(losses.total.sum(), list(stacked.values()), allow_unused=True)
        gradients = {
            k: torch.zeros_like(v) if g is None else g for (k, v), g in zip(stacked.items(), found, strict=True)
        }
        with torch.no_grad():
            if family.architecture.unit_norm:
                remove_parallel(gradients["W_dec"], family.parameters["W_dec"])
            norms = clip(gradients, self.options.clip, members=True)
            self.finite &= torch.isfinite(norms) & torch.isfinite(losses.total)
            self.adam(gradients, self.rates * schedule.learning_rate(step))
            if family.architecture.unit_norm:
                normalise(family.parameters["W_dec"])
            for name, value in losses.state.items():
                family.state[name].copy_(self._where_finite(value, family.state[name]))
        return self._log(losses, batch, norms, step) if log else [None] * len(family)

    def adam(self, gradients: dict[str, Tensor], rates: Tensor) -> None:
        """Adam with a learning rate per member; members that are not finite stay as they are."""
        self.count += 1
        beta1, beta2 = self.family.architecture.betas
        first, second = 1 - beta1**self.count, 1 - beta2**self.count
        for name, value in self.family.parameters.items():
            mean, square = self.moments[name]
            g = self._where_finite(gradients[name], torch.zeros((), device=self.device))
            mean.lerp_(g, 1 - beta1)
            square.mul_(beta2).addcmul_(g, g, value=1 - beta2)
            change = (mean / first) / ((square / second).sqrt() + self.options.epsilon)
            rate = self._per_member(rates * self.finite, value)
            value.detach().sub_(rate * change)

    def _where_finite(self, value: Tensor, other: Tensor) -> Tensor:
        return torch.where(self._per_member(self.finite, value), value, other)

    @staticmethod
    def _per_member(values: Tensor, like: Tensor) -> Tensor:
        return values.view(-1, *[1] * (like.ndim - 1))

    def _log(self, losses, batch: Batch, norms: Tensor, step: int) -> list[MemberLog | None]:
        """One log entry per member that is still finite; the others are marked as diverged."""
        spread = (batch.target - batch.target.mean(0)).square().sum()
        wrong = (losses.reconstruction.detach().float() - batch.target).square().sum((-1, -2))
        l0 = (losses.latents != 0).sum((-1, -2)) / len(batch.input)
        table = torch.stack([losses.total.detach().float(), l0, wrong / spread, norms]).T.tolist()
        finite = self.finite.tolist()
        for m, fine in enumerate(finite):
            if not fine:
                self.family.diverged.setdefault(m, step)
        return [MemberLog(*row) if fine else None for row, fine in zip(table, finite, strict=True)]

    def tensors(self) -> dict[str, Tensor]:
        """Adam's memory, by run_id, in the same form as the loop's."""
        found = {}
        for m, member in enumerate(self.family.members):
            for name, (mean, square) in self.moments.items():
                found[f"{member.run_id}/adam/{name}/exp_avg"] = mean[m]
                found[f"{member.run_id}/adam/{name}/exp_avg_sq"] = square[m]
                found[f"{member.run_id}/adam/{name}/step"] = torch.tensor(float(self.count))
        return found

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take up what `tensors` gave."""
        for m, member in enumerate(self.family.members):
            for name, (mean, square) in self.moments.items():
                mean[m].copy_(tensors[f"{member.run_id}/adam/{name}/exp_avg"])
                square[m].copy_(tensors[f"{member.run_id}/adam/{name}/exp_avg_sq"])
                self.count = int(tensors[f"{member.run_id}/adam/{name}/step"])
        for m in self.family.diverged:
            self.finite[m] = False
