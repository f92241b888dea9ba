"""ReLU with an L1, sqrt-L1 or other p-norm penalty."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainers.architectures.architecture import Architecture, Knobs, Losses, Parameters
from trainers.architectures.sums import squared_error, weighted


@dataclass(frozen=True)
class ReLU(Architecture):
    """f = relu((x − b_dec) W_enc + b_enc), penalised by its size.

    Loss, with n_i = ‖W_dec,i‖ (Anthropic, "Circuits Updates, April 2024", section "Training Sparse
    Autoencoders"):

        mean_b ‖x − x̂‖² + λ mean_b Σ_i f_i n_i

    At a joined site n_i is the sum of the norms of the row's parts, as in the crosscoders of Lindsey et al.
    ("Sparse Crosscoders for Cross-Layer Features and Model Diffing", 2024).

    With `p` below 1 the last term is Σ_i (s f_i n_i)^p: p = 1/2 is the L1 of the square roots, p = 1/4 that
    of the fourth roots, and s = `inside_scale` the number inside the root (0.1 in the post that proposed it).

    Attributes
    ----------
    p : float
        Power of the activation in the penalty; 1 is L1.
    inside_scale : float
        s, the number that multiplies the activation inside the power.
    free_decoder_norms : bool
        True: the form of April 2024. False: the form of 2023, decoder rows of norm 1 and n_i = 1.
    epsilon : float
        Added inside the power (and its own power taken off): the slope at zero would be infinite for p < 1.
    """

    name = "relu"
    steps_alike = True
    sweep = (0.7, 1.2, 2.0, 3.5, 6.0, 10.0)
    short_runs = 3.0

    p: float = 1.0
    inside_scale: float = 1.0
    free_decoder_norms: bool = True
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.p <= 2:
            raise ValueError(f"p must be above 0 and at most 2, got {self.p}")
        if not self.inside_scale > 0:
            raise ValueError(f"inside_scale must be above 0, got {self.inside_scale}")

    @property
    def unit_norm(self) -> bool:
        """Only the form of 2023 keeps decoder rows at norm 1."""
        return not self.free_decoder_norms

    def encode(self, p: Parameters, x: Tensor) -> Tensor:
        """Relu of the pre-activations, `[..., B, F]`."""
        return self.pre_activations(p, x).relu()

    def loss(
        self, p: Parameters, state: dict[str, Tensor], x: Tensor, target: Tensor, knobs: Knobs
    ) -> Losses:
        """Squared error and λ times the penalty."""
        f = self.encode(p, x)
        x_hat = self.decode(p, f)
        size = self.penalty(self.sizes(p, f), self.p)
        total = squared_error(x_hat, target) + weighted(knobs.setting, knobs.ramp * size)
        return Losses(total, f, x_hat, {})

    def sizes(self, p: Parameters, f: Tensor) -> Tensor:
        """What is penalised: f_i n_i, or f_i where the rows have norm 1."""
        return f * self.row_norms(p).unsqueeze(-2) if self.free_decoder_norms else f

    def penalty(self, sizes: Tensor, power: float) -> Tensor:
        """mean_b Σ_i (s·size)^p, `[...]`."""
        if power == 1:
            return self.over_latents(self.inside_scale * sizes.sum(-1).mean(-1))
        inside = self.inside_scale * sizes + self.epsilon
        return self.over_latents((inside.pow(power) - self.epsilon**power).sum(-1).mean(-1))
