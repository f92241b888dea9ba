"""An adaptive elastic-net SAE: an L1 penalty weighted per latent, and an L2 penalty.

    loss = mean ‖x − x̂‖² + λ mean Σ_i (w_i f_i + ridge f_i² / 2),   w_i = (m̄ / (m_i + m̄/10))^power / norm

m_i is the running mean of latent i where it fires and m̄ their mean: a latent with large codes is penalised
less, as in the adaptive lasso (Zou 2006; Zou & Zhang 2009 for the elastic net), so that it shrinks less. The
weights have mean 1, which leaves λ its meaning.
"""

from dataclasses import dataclass

import torch

from trainers.architectures import Losses, ReLU, squared_error, weighted


@dataclass(frozen=True)
class AdaptiveElasticNet(ReLU):
    """ReLU codes; rows of norm 1; the weights of the penalty follow the latents."""

    power_of_weights: float = 1.0
    ridge: float = 0.05
    memory: float = 0.98
    free_decoder_norms: bool = False

    steps_alike = True
    sweep = (0.7, 1.2, 2.0, 3.5, 6.0, 10.0)

    def state(self, size):
        """Running mean of each latent where it fires, and how much of the mean is filled."""
        return {"mean": torch.zeros(size), "filled": torch.zeros(size)}

    def loss(self, p, state, x, target, knobs):
        """Squared error and the weighted penalty."""
        f = self.encode(p, x)
        x_hat = self.decode(p, f)
        weights = self.weights(state)
        size = (weights.unsqueeze(-2) * f + self.ridge * f.square() / 2).sum(-1).mean(-1)
        total = squared_error(x_hat, target) + weighted(knobs.setting, knobs.ramp * size)
        return Losses(total, f, x_hat, self.after(state, f.detach()))

    def weights(self, state):
        """Weights [..., F] with mean 1; all 1 before anything has fired."""
        mean = state["mean"] / state["filled"].clamp_min(1e-6)
        middle = mean.mean(-1, keepdim=True)
        weights = (middle / (mean + middle / 10).clamp_min(1e-12)).pow(self.power_of_weights)
        weights = torch.where(middle > 0, weights, torch.ones_like(weights))
        return weights / weights.mean(-1, keepdim=True)

    def after(self, state, f):
        """The running means after a batch; latents that did not fire keep theirs."""
        count = (f > 0).sum(-2)
        now = f.sum(-2) / count.clamp_min(1)
        keep = torch.where(count > 0, self.memory, 1.0).to(f.dtype)
        return {
            k: keep * state[k] + (1 - keep) * v for k, v in (("mean", now), ("filled", torch.ones_like(now)))
        }
