"""What every architecture says: starting weights, loss, and the encoder and decoder of the trained SAE.

Each file beside this one writes its mathematics for ONE SAE. The dots in the shapes below are the members of
a family: the same lines serve one SAE (`W_enc [d_in, F]`) and a stack of them (`W_enc [M, d_in, F]`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from trainers.architectures import penalties

Parameters = dict[str, Tensor]


TRANSCODER_ENCODER_NORM = 0.1
"""Length of a transcoder's encoder columns at the start: of 1, 0.3 and 0.1 the best for most."""


class Knobs(NamedTuple):
    """What the training loop tells a loss at one step."""

    setting: Any
    """The sparsity setting: λ, k or a target L0; a number for one SAE, a tensor `[M]` for a stack."""
    ramp: float | Tensor = 1.0
    """Sparsity warm-up, 0 to 1."""
    step: int = 0
    steps: int = 1
    """Steps of the whole run."""
    largest: float | None = None
    """Largest setting of a stack, so that nobody has to ask the device for it."""


class Losses(NamedTuple):
    """One forward pass: the loss per member, and what the log and the next step need."""

    total: Tensor
    """Loss `[...]`, to be differentiated."""
    latents: Tensor
    """Codes `[..., B, F]`."""
    reconstruction: Tensor
    """x̂ `[..., B, d_out]`, scaled units."""
    state: dict[str, Tensor]
    """New values of the state that is not trained by gradients."""


@dataclass(frozen=True)
class Architecture:
    """Options of one kind of SAE; the subclasses are the seven architectures.

    Attributes
    ----------
    subtract_decoder_bias : bool
        The encoder sees x − b_dec; false for transcoders, whose output lives elsewhere.
    independence, contrastive, frequency, frequency_limit : float
        Weights of the optional penalties in `penalties.py`, 0 by default, and the firing rate above which a
        latent counts as too frequent.
    """

    subtract_decoder_bias: bool = True
    independence: float = 0.0
    contrastive: float = 0.0
    frequency: float = 0.0
    frequency_limit: float = 0.1

    name: ClassVar[str]
    setting_name: ClassVar[str] = "lambda"
    learning_rate: ClassVar[float] = 5e-3
    """Default at the scale of the shipped model."""
    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)

    @property
    def sparsity_name(self) -> str:
        """What a setting is: lambda, k, or a target L0."""
        return self.setting_name

    @property
    def unit_norm(self) -> bool:
        """Whether decoder rows are kept at norm 1."""
        return True

    def start(self, d_in: int, d_out: int, size: int, means: tuple[Tensor, Tensor], seed: int) -> Parameters:
        """Starting weights of one SAE: random unit decoder rows, the encoder their transpose, b_dec the mean.

        The encoder of a transcoder is random by itself, and short.

        Parameters
        ----------
        means : (Tensor [d_in], Tensor [d_out])
            Mean input and mean target, in scaled units.
        seed : int
            The same seed gives the same weights whatever the setting.
        """
        random = torch.Generator().manual_seed(seed)
        rows = torch.nn.functional.normalize(torch.randn(size, d_out, generator=random), dim=-1)
        if self.subtract_decoder_bias and d_in == d_out:
            encoder = rows.T.contiguous()
        else:  # input and output live in different spaces; a small encoder leaves more latents alive
            directions = torch.nn.functional.normalize(torch.randn(d_in, size, generator=random), dim=0)
            encoder = TRANSCODER_ENCODER_NORM * directions
        b_enc = torch.zeros(size) if self.subtract_decoder_bias else -means[0].cpu() @ encoder
        return {"W_enc": encoder, "b_enc": b_enc, "W_dec": rows, "b_dec": means[1].cpu().clone()}

    def state(self, size: int) -> dict[str, Tensor]:
        """Tensors that a step changes without a gradient, at their start."""
        return {}

    def loss(
        self, p: Parameters, state: dict[str, Tensor], x: Tensor, target: Tensor, knobs: Knobs
    ) -> Losses:
        """The training loss of one batch; `x [B, d_in]`, `target [B, d_out]`."""
        raise NotImplementedError

    def training_loss(
        self, p: Parameters, state: dict[str, Tensor], x: Tensor, target: Tensor, knobs: Knobs
    ) -> Losses:
        """The loss, and the optional penalties that are switched on."""
        found = self.loss(p, state, x, target, knobs)
        if not (self.independence or self.contrastive or self.frequency):
            return found
        total = found.total
        if self.independence:
            total = total + self.independence * penalties.dependence(found.latents)
        if self.contrastive:
            total = total + self.contrastive * penalties.overlap(found.latents)
        if self.frequency:
            total = total + self.frequency * penalties.excess_frequency(found.latents, self.frequency_limit)
        return found._replace(total=total)

    def encode(self, p: Parameters, x: Tensor) -> Tensor:
        """Codes `[..., B, F]` of a trained SAE."""
        raise NotImplementedError

    def decode(self, p: Parameters, f: Tensor) -> Tensor:
        """x̂ = f W_dec + b_dec, `[..., B, d_out]`."""
        return f @ p["W_dec"] + p["b_dec"].unsqueeze(-2)

    def inference(self, p: Parameters, state: dict[str, Tensor], setting: float) -> Parameters:
        """What `encode` needs of one trained SAE: its weights, and k or a threshold where it has one."""
        return dict(p)

    def pre_activations(self, p: Parameters, x: Tensor, weight: str = "W_enc", bias: str = "b_enc") -> Tensor:
        """(x − b_dec) W_enc + b_enc `[..., B, F]`; b_dec goes through W_enc, so that x is not copied."""
        shift = p[bias].unsqueeze(-2)
        if self.subtract_decoder_bias:
            shift = shift - p["b_dec"].unsqueeze(-2) @ p[weight]
        return x @ p[weight] + shift


def variance(target: Tensor) -> Tensor:
    """Mean ‖x − x̄‖² of a batch."""
    return (target - target.mean(0)).square().sum(-1).mean()


def squared_error(x_hat: Tensor, target: Tensor) -> Tensor:
    """Mean over the batch of ‖target − x̂‖², `[...]`."""
    return (x_hat - target).square().sum(-1).mean(-1)


def weighted(factor: Any, value: Tensor) -> Tensor:
    """Factor × value, where the factor is one number or one per member."""
    if isinstance(factor, Tensor):
        factor = factor.to(value.dtype)
    return factor * value
