"""One training step of SAEs of which this process has some latents: the loop's step, with sums over all."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import Knobs, Losses, Parameters
from trainers.sharding import pieces
from trainers.sharding.family import ShardedFamily
from trainers.steps.decoder import remove_parallel
from trainers.steps.engine import (
    MemberLog,
    StepOptions,
    batch_log,
    gradients_of,
    load_optimizer,
    member_optimizer,
    optimizer_tensors,
    update,
)


class ShardedEngine:
    """Member after member, by autograd; every process of a shard group makes the same calls in one order.

    The host asks the device some questions per member and step: whether it is finite, whether there are ties.
    """

    threads = 1
    """One member at a time."""

    def __init__(self, family: ShardedFamily, options: StepOptions) -> None:
        self.family, self.options = family, options
        self.optimizers = [
            member_optimizer(leaves, member.learning_rate, family.architecture.betas, options.epsilon)
            for leaves, member in zip(family.leaves, family.members, strict=True)
        ]

    def step(self, batch: Batch, step: int, log: bool = False) -> list[MemberLog | None]:
        """One optimiser step of every active member; the log is the first shard's."""
        found: list[MemberLog | None] = [None] * len(self.family)
        for m in self.family.active:
            found[m] = self._member(m, batch, step, log)
        return found

    def _member(self, m: int, batch: Batch, step: int, log: bool) -> MemberLog | None:
        """Gradient, clipping, Adam and decoder norms of one member."""
        family, schedule = self.family, self.options.schedule
        leaves, kind = family.leaves[m], family.architecture
        losses = self.losses(m, batch, step)
        gradients = gradients_of(losses.total, leaves)
        with torch.no_grad():
            if kind.unit_norm:
                remove_parallel(gradients[kind.decoder], leaves[kind.decoder])
            loss, norm = self._clip(gradients, losses.total.detach())
            if not torch.isfinite(loss + norm):
                family.diverged[m] = step
                return None
            share = schedule.learning_rate(step)
            update(family, m, self.optimizers[m], share, gradients, losses.state)
            if not log:
                return None
            fired = family.shards.total((losses.latents != 0).sum().double())
        if family.shards.rank:
            return None
        l0 = float(fired) / len(batch.input)
        return batch_log(loss, l0, losses.reconstruction, batch.target, norm)

    def losses(self, m: int, batch: Batch, step: int) -> Losses:
        """The forward pass of one member; its codes are those of these latents."""
        family, schedule, member = self.family, self.options.schedule, self.family.members[m]
        knobs = Knobs(member.setting, schedule.ramp(step), step, schedule.steps)
        leaves, x = family.leaves[m], batch.input
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.options.autocast):
            return family.part.training_loss(leaves, family.state_of(m), x, batch.target, knobs)

    def _clip(self, gradients: Parameters, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Scale the gradients to the limit on the norm of the whole member; its loss and that norm.

        What all shards have goes on as the first one has it, so that they stay alike to the last bit.
        """
        shards, dims = self.family.shards, self.family.dims
        for name in (k for k in gradients if dims[k] is None):
            gradients[name] = shards.from_first(gradients[name].contiguous())
        counted = [g for k, g in gradients.items() if dims[k] is not None or shards.rank == 0]
        norms = [torch.linalg.vector_norm(g, dtype=torch.float64) for g in counted]
        squares = torch.stack(norms).square().sum()
        first = loss.double() if shards.rank == 0 else loss.new_zeros((), dtype=torch.float64)
        square, loss = shards.total(torch.stack([squares, first]))
        norm = square.sqrt()
        factor = (self.options.clip / norm.clamp_min(1e-12)).clamp_max(1.0)
        for g in gradients.values():
            g.mul_(factor.to(g.dtype))
        return loss, norm

    def tensors(self) -> dict[str, Tensor]:
        """Adam's memory of what is here, by run_id."""
        found: dict[str, Tensor] = {}
        for m, member in enumerate(self.family.members):
            names = list(self.family.leaves[m])
            for place, value in optimizer_tensors(self.optimizers[m], names, f"{member.run_id}/adam").items():
                found |= self.family.named(place, place.split("/")[-2], value)
        return found

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up these latents of what any number of shards saved."""
        for m, member in enumerate(self.family.members):
            mine: dict[str, Tensor] = {}
            for name in self.family.leaves[m]:
                place = f"{member.run_id}/adam/{name}"
                if f"{place}/step" in tensors:
                    mine[f"{place}/step"] = tensors[f"{place}/step"]
                    for key in (f"{place}/exp_avg", f"{place}/exp_avg_sq"):
                        mine[key] = pieces.cut(tensors, key, self.family.dims[name], self.family.latents)
            load_optimizer(self.optimizers[m], list(self.family.leaves[m]), f"{member.run_id}/adam", mine)
