"""What every architecture says: starting weights, loss, and the encoder and decoder of the trained SAE.

Each file beside this one writes its mathematics for ONE SAE, and so does an architecture of your own
(docs/own_architecture.md). The dots in the shapes below are the members of a family: the same lines serve one
SAE (`W_enc [d_in, F]`) and a stack of them (`W_enc [M, d_in, F]`).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from trainers.architectures import penalties
from trainers.architectures.sums import plus
from trainers.shards import ALONE, Shards

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
    may_be_dead: bool | None = None
    """Whether a latent may be dead: False where it is known that none is; None: whoever wants it looks."""


class Losses(NamedTuple):
    """One forward pass: the loss per member, and what the log and the next step need."""

    total: Tensor
    """Loss `[...]`, to be differentiated."""
    latents: Tensor
    """Codes `[..., B, F]`."""
    reconstruction: Tensor
    """x̂ `[..., B, d_out]`, scaled units."""
    state: dict[str, Tensor] = {}  # noqa: RUF012  a default, which nobody changes
    """New values of the state that is not trained by gradients."""


@dataclass(frozen=True)
class Architecture:
    """Options of one kind of SAE, its start, its loss and its encoder; the subclasses are the architectures.

    A subclass is a frozen dataclass whose fields, each with a default, are the options of a configuration. It
    has to say `loss` and `encode`; all else has a default.

    Attributes
    ----------
    subtract_decoder_bias : bool
        The encoder sees x − b_dec; false for transcoders, whose output lives elsewhere.
    skip : bool
        Of a transcoder: a matrix from input to output beside the latents, t̂ = f W_dec + b_dec + x W_skipᵀ,
        trained from 0 (Paulo et al. 2025, arXiv 2501.18823). An autoencoder's would learn to copy.
    parts : tuple of int
        Of a joined target site: the widths of its parts, which a run fills in.
    independence, contrastive, frequency, frequency_limit : float
        Weights of the optional penalties in `penalties.py`, 0 by default, and the firing rate above which a
        latent counts as too frequent.
    """

    subtract_decoder_bias: bool = True
    skip: bool = False
    parts: tuple[int, ...] = ()
    independence: float = 0.0
    contrastive: float = 0.0
    frequency: float = 0.0
    frequency_limit: float = 0.1

    name: ClassVar[str]
    """In tables and folders; of a class that says none, the class's own name (MySAE: my_sae)."""
    setting_name: ClassVar[str] = "lambda"
    """What a setting is: lambda, k or target_l0; the last two are L0s, so that no pilot is needed."""
    whole_settings: ClassVar[bool] = False
    """Settings are whole numbers."""
    sweep: ClassVar[tuple[float, ...]] = (0.1, 0.3, 1.0, 3.0, 10.0)
    """Settings that spread over an L0 of 1 to 50 on the shipped model: where pilots begin."""
    learning_rate: ClassVar[float] = 5e-3
    """Default at the scale of the shipped model, in runs of `long_run` steps or more."""
    short_runs: ClassVar[float] = 1.0
    """Shorter runs have (long_run / steps)^rise times that rate (three digits), at most this many times."""
    long_run: ClassVar[int] = 5000
    rise: ClassVar[float] = 0.5
    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    decoder: ClassVar[str] = "W_dec"
    """The parameter whose rows `[F, d_out]` are what the latents write."""
    readers: ClassVar[tuple[str, ...]] = ("W_enc",)
    """Parameters `[d_in, F]` that are multiplied by x: the weights of a joined site's parts are folded in."""
    input_units: ClassVar[tuple[str, ...]] = ("b_enc",)
    """Parameters in the unit of the input (biases, thresholds): the scale of the activations is folded in."""
    estimated: ClassVar[tuple[str, ...]] = ()
    """Parameters whose gradient is meant to differ from the loss's slope (straight-through, detached)."""
    transcodes: ClassVar[bool] = True
    """May write to another site than it reads."""
    signed: ClassVar[bool] = False
    """Codes may be negative: a latent fires where its code is not 0, and sizes are |f|."""
    shards: ClassVar[Shards] = ALONE
    """The processes that share its latents (`trainers.sharding`)."""
    steps_alike: ClassVar[bool] = False
    """The loss does the same at every step (no `knobs.step`), so that a GPU may replay one recorded step."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()

    @classmethod
    def default_rate(cls, steps: int) -> float:
        """Adam's learning rate in a run of so many steps that states none (docs/learning_rates.md)."""
        times = min(cls.short_runs, max(1.0, (cls.long_run / steps) ** cls.rise))
        return float(f"{cls.learning_rate * times:.3g}") if times > 1 else cls.learning_rate

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
        rows = self.directions(size, d_out, random)
        if self.subtract_decoder_bias and d_in == d_out:
            encoder = rows.T.contiguous()
        else:  # input and output live in different spaces; a small encoder leaves more latents alive
            encoder = TRANSCODER_ENCODER_NORM * self.directions(d_in, size, random, dim=0)
        b_enc = torch.zeros(size) if self.subtract_decoder_bias else -means[0].cpu() @ encoder
        found = {"W_enc": encoder, "b_enc": b_enc, "W_dec": rows, "b_dec": means[1].cpu().clone()}
        return found | ({"W_skip": torch.zeros(d_out, d_in)} if self.skip else {})

    def directions(self, rows: int, columns: int, random: torch.Generator, dim: int = -1) -> Tensor:
        """Random directions `[rows, columns]` of norm 1 along `dim`."""
        return torch.nn.functional.normalize(torch.randn(rows, columns, generator=random), dim=dim)

    def state(self, size: int) -> dict[str, Tensor]:
        """Tensors that a step changes without a gradient, at their start."""
        return {}

    def loss(
        self, p: Parameters, state: dict[str, Tensor], x: Tensor, target: Tensor, knobs: Knobs
    ) -> Losses:
        """The training loss of one batch; `x [B, d_in]`, `target [B, d_out]`."""
        raise NotImplementedError

    def phase(self, knobs: Knobs) -> Hashable | None:
        """Which operations the loss has at a step: equal phases, equal operations; None: not known.

        A GPU replays a recorded step while the phase stays.
        """
        return () if self.steps_alike else None

    def training_loss(
        self, p: Parameters, state: dict[str, Tensor], x: Tensor, target: Tensor, knobs: Knobs
    ) -> Losses:
        """The loss, of what a skip leaves, and the optional penalties that are switched on."""
        around = self.around(p, x)
        found = self.loss(p, state, x, target if around is None else target - around, knobs)
        if around is not None:
            found = found._replace(reconstruction=found.reconstruction + around)
        return found._replace(total=self.penalised(found.total, found.latents))

    def penalised(self, total: Tensor, f: Tensor) -> Tensor:
        """The loss with the optional penalties of the codes."""
        if self.independence:
            total = total + self.independence * penalties.dependence(f)
        if self.contrastive:
            total = total + self.contrastive * penalties.overlap(f)
        if self.frequency:
            sizes = f.abs() if self.signed else f
            total = total + self.frequency * penalties.excess_frequency(sizes, self.frequency_limit)
        return total

    def encode(self, p: Parameters, x: Tensor) -> Tensor:
        """Codes `[..., B, F]` of a trained SAE."""
        raise NotImplementedError

    def decode(self, p: Parameters, f: Tensor) -> Tensor:
        """x̂ = f W_dec + b_dec, `[..., B, d_out]`."""
        return self.over_latents(f @ p["W_dec"]) + p["b_dec"].unsqueeze(-2)

    def over_latents(self, part: Tensor) -> Tensor:
        """A sum over latents, as it is; where they are divided over devices, `sharding` adds up all parts."""
        return part

    def row_norms(self, p: Parameters) -> Tensor:
        """What a penalty weighs codes by, n_i = ‖W_dec,i‖ `[..., F]`.

        Of a joined site the sum of its parts' norms, as in a crosscoder (Lindsey et al. 2024).
        """
        rows = p[self.decoder]
        if not self.parts:
            return rows.norm(dim=-1)
        return torch.stack([part.norm(dim=-1) for part in rows.split(self.parts, dim=-1)]).sum(0)

    def around(self, p: Parameters, x: Tensor) -> Tensor | None:
        """What reaches the output beside the latents, x W_skipᵀ `[..., B, d_out]`; None if nothing does."""
        return x @ p["W_skip"].mT if self.skip else None

    def inference(self, p: Parameters, state: dict[str, Tensor], setting: float) -> Parameters:
        """What `encode` needs of one trained SAE: its weights, and k or a threshold where it has one."""
        return dict(p)

    def state_of(self, p: Parameters, size: int) -> dict[str, Tensor]:
        """The state at the start of a member that goes on from a trained SAE, whose parameters `p` are."""
        return {k: p.get(k, v) for k, v in self.state(size).items()}

    def threshold(self, p: Parameters, x: Tensor, setting: float) -> Tensor | None:
        """A threshold found on training activations `x [n, d_in]` with the final weights; None: none is.

        What it gives takes the place of `threshold` in what `inference` gives.
        """
        return None

    def shared(self, p: Parameters) -> dict[int, Parameters]:
        """Where one trained SAE is evaluated as several: their weights by their setting; most are one."""
        return {}

    def left_out(self, settings: Sequence[float]) -> str:
        """What of the options no SAE of these settings has, in words; empty where all is used."""
        return ""

    def widths(self, p: Parameters) -> tuple[int, int, int]:
        """d_in, number of latents and d_out of one SAE."""
        return p["W_enc"].shape[0], *p[self.decoder].shape

    def metrics(self, p: Parameters, x: Tensor, f: Tensor, target: Tensor) -> dict[str, Tensor]:
        """More columns of the metrics table: a value per token `[n]` each, whose mean is reported."""
        return {}

    def fold(
        self, p: Parameters, input_scale: float, target_scale: float,
        input_centre: Tensor | None = None, target_centre: Tensor | None = None,
    ) -> Parameters:  # fmt: skip
        """Parameters for raw activations, from those trained on scaled ones, `scale · (x − centre)`.

        For an autoencoder (one scale s) b_dec and what is in `input_units` is divided by s, all else stays,
        and codes come out in units of x. For a transcoder the codes keep the unit of the input and the
        decoder takes up the ratio of the scales.

        Raises
        ------
        ValueError
            If the scales differ and the encoder subtracts b_dec.
        """
        if input_scale != target_scale and self.subtract_decoder_bias:
            raise ValueError(
                "with two scales the encoder cannot subtract b_dec, which is in the target's unit"
            )
        units = dict.fromkeys(self.input_units, input_scale) | {"b_dec": target_scale}
        folded = {k: v / units[k] if k in units else v for k, v in p.items()}
        if input_scale != target_scale:
            for name in (self.decoder, "W_skip") if self.skip else (self.decoder,):
                folded[name] = folded[name] * (input_scale / target_scale)
        if input_centre is None or target_centre is None:
            return folded
        folded |= self.fold_centre(folded, input_centre.double(), target_centre.double())
        if self.skip:
            folded["b_dec"] = plus(folded["b_dec"], -folded["W_skip"].double() @ input_centre.double())
        return folded

    def fold_weights(
        self, p: Parameters, input_weights: Tensor | None, target_weights: Tensor | None
    ) -> Parameters:
        """Parameters for activations whose coordinates are not multiplied by weights `[d]` any more.

        Codes stay what they are. It needs an encoder whose `readers` alone see x.
        """
        found = dict(p)
        if input_weights is not None:
            found |= {k: p[k] * input_weights.unsqueeze(-1) for k in self.readers if k in p}
            found |= {"W_skip": p["W_skip"] * input_weights} if self.skip else {}
        if target_weights is not None:
            found |= {k: p[k] / target_weights for k in (self.decoder, "b_dec")}
            found |= {"W_skip": found["W_skip"] / target_weights.unsqueeze(-1)} if self.skip else {}
        return found

    def fold_centre(self, p: Parameters, input_centre: Tensor, target_centre: Tensor) -> Parameters:
        """The parameters that change when x and y are read as they are, instead of without their centres.

        An encoder that sees x only as x − b_dec is served by b_dec + centre. Any other has to take
        centre · W_enc off its bias: a class with other names of weights says so here.
        """
        changed = {"b_dec": plus(p["b_dec"], target_centre)}
        if not self.subtract_decoder_bias:
            changed["b_enc"] = plus(p["b_enc"], -input_centre @ p["W_enc"].double())
        return changed

    def pre_activations(self, p: Parameters, x: Tensor, weight: str = "W_enc", bias: str = "b_enc") -> Tensor:
        """(x − b_dec) W_enc + b_enc `[..., B, F]`; b_dec goes through W_enc, so that x is not copied."""
        shift = p[bias].unsqueeze(-2)
        if self.subtract_decoder_bias:
            shift = shift - p["b_dec"].unsqueeze(-2) @ p[weight]
        return x @ p[weight] + shift
