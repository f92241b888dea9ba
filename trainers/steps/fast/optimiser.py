"""Adam of a stack: each member's tensors in one fused call, clipped and stopped by numbers on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.architectures import Parameters


class StackedAdam:
    """The moments of a stack, and one update of them.

    Attributes
    ----------
    moments : dict of str to (Tensor [M, ...], Tensor [M, ...])
    """

    def __init__(self, parameters: Parameters, betas: tuple[float, float], epsilon: float) -> None:
        self.betas, self.epsilon = betas, epsilon
        self.moments = {k: (torch.zeros_like(v), torch.zeros_like(v)) for k, v in parameters.items()}

    def update(
        self, parameters: Parameters, gradients: Parameters, factors: Tensor, rates: Tensor, stopped: Tensor,
        count: Tensor,
    ) -> None:  # fmt: skip
        """One step of every member that is not stopped.

        Parameters
        ----------
        factors : Tensor [M]
            What its gradient is multiplied by: below 1 where it is clipped.
        rates : Tensor [M]
            Learning rates.
        stopped : Tensor [M] of bool
            Members that stay as they are.
        count : Tensor []
            Steps including this one.
        """
        names = list(parameters)
        exact = parameters[names[0]].dtype == torch.float64  # the fused kernel divides by a float32
        if exact:
            for g in gradients.values():
                g.mul_(factors.view(-1, *[1] * (g.ndim - 1)))
        divisors, skipped, steps = (1 / factors).float(), stopped.float(), count.float()
        for m in range(len(rates)):
            # the kernel goes through memory: a transposed gradient would meet other weights than its own
            own = [gradients[n][m].contiguous() for n in names]
            torch._fused_adam_(
                [parameters[n].detach()[m] for n in names], own,
                [self.moments[n][0][m] for n in names], [self.moments[n][1][m] for n in names],
                [], [steps] * len(names), lr=rates[m], beta1=self.betas[0], beta2=self.betas[1],
                weight_decay=0.0, eps=self.epsilon, amsgrad=False, maximize=False,
                grad_scale=None if exact else divisors[m], found_inf=skipped[m],
            )  # fmt: skip


def norms(gradients: Parameters) -> Tensor:
    """Norm of each member's gradient `[M]`, in one pass over it."""
    found = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients.values()]
    return torch.linalg.vector_norm(torch.stack(found), dim=0)
