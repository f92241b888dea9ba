"""P-anneal: a p-norm penalty whose p falls during training."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.architectures.architecture import Knobs, Losses, Parameters
from trainers.architectures.relu import ReLU
from trainers.architectures.sums import squared_error, weighted


@dataclass(frozen=True)
class PAnneal(ReLU):
    """ReLU whose penalty is λ Σ f^p with p falling from 1 to `p_end` (Karvonen et al., arXiv 2408.00113).

    At each change of p the coefficient is set anew, so that the penalty keeps its size on the last batches:

        λ_new = λ_old Σ f^p_old / Σ f^p_new

    Attributes
    ----------
    p_end : float
        The last p; it is reached (the authors' code stops one change before it).
    changes : int
        Number of changes, evenly spaced between `start_share` and `end_share` of the run.
    window : int
        Batches over which the two sums are taken.
    """

    name = "p_anneal"
    steps_alike = False
    sweep = (0.2, 0.4, 0.8, 1.5, 3.0, 5.0)

    free_decoder_norms: bool = False
    p_end: float = 0.2
    changes: int = 10
    start_share: float = 0.3
    end_share: float = 0.9
    window: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.p_end <= self.p:
            raise ValueError(f"p_end must be above 0 and at most p = {self.p}, got {self.p_end}")
        if not 0 <= self.start_share < self.end_share <= 1:
            raise ValueError(
                f"wanted 0 <= start_share < end_share <= 1, got {self.start_share}, {self.end_share}"
            )
        for name, count in (("changes", self.changes), ("window", self.window)):
            if count < 1:
                raise ValueError(f"{name} must be 1 or above, got {count}")

    def state(self, size: int) -> dict[str, Tensor]:
        """Factor on λ, and the two sums of the current window."""
        return {"factor": torch.ones(()), "sum_old": torch.zeros(()), "sum_new": torch.zeros(())}

    def loss(
        self, p: Parameters, state: dict[str, Tensor], x: Tensor, target: Tensor, knobs: Knobs
    ) -> Losses:
        """Squared error and λ times its factor times the p-norm of this step."""
        f = self.encode(p, x)
        x_hat = self.decode(p, f)
        sizes = self.sizes(p, f)
        size = self.penalty(sizes, self.power(self.done(knobs)))
        total = squared_error(x_hat, target) + weighted(knobs.setting, knobs.ramp * size * state["factor"])
        return Losses(total, f, x_hat, self.after(state, sizes.detach(), size.detach(), knobs))

    def phase(self, knobs: Knobs) -> Hashable | None:
        """The current p, and what is done before its next change."""
        done = self.done(knobs)
        return done, self.following(knobs), self.done(knobs, 1) != done

    def following(self, knobs: Knobs) -> int:
        """Changes of p made when the window that begins at this step has passed."""
        done = self.done(knobs)
        return next((n for a in range(1, self.window + 1) if (n := self.done(knobs, a)) != done), done)

    def done(self, knobs: Knobs, ahead: int = 0) -> int:
        """Changes of p made at a step, or so many steps later."""
        share = ((knobs.step + ahead) / knobs.steps - self.start_share) / (self.end_share - self.start_share)
        return min(max(int(share * self.changes) + (share >= 0), 0), self.changes)

    def power(self, done: int) -> float:
        """P after so many changes."""
        return self.p + (self.p_end - self.p) * done / self.changes

    def after(self, state: dict[str, Tensor], sizes: Tensor, size: Tensor, knobs: Knobs) -> dict[str, Tensor]:
        """The state of the next step; sums are only taken in the window before a change."""
        done, found = self.done(knobs), dict(state)
        following = self.following(knobs)
        if following != done:
            found["sum_old"] = state["sum_old"] + size
            found["sum_new"] = state["sum_new"] + self.penalty(sizes, self.power(following))
        if self.done(knobs, 1) != done:
            ratio = found["sum_old"] / found["sum_new"].clamp_min(1e-12)
            found["factor"] = state["factor"] * torch.where(found["sum_new"] > 0, ratio, 1.0)
            found["sum_old"], found["sum_new"] = torch.zeros_like(ratio), torch.zeros_like(ratio)
        return found
