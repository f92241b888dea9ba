"""Matching pursuit SAE: codes are found one after the other, each from what those before have left."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainers.architectures.architecture import Architecture, Knobs, Losses, Parameters
from trainers.architectures.hierarchical_topk import rows_at
from trainers.architectures.sums import at_hand, plus, squared_error


@dataclass(frozen=True)
class MatchingPursuit(Architecture):
    """Matching pursuit over decoder rows (Costa et al. 2025, arXiv 2506.03093; SAELens `matching_pursuit`).

        r = x − b_dec;   k times:  i = argmax_j r · W_j,   v = relu(r · W_i),   f_i += v,   r −= v W_i
        loss = mean ‖x − x̂‖²

    Rows W_j have norm 1. There is no encoder: the decoder encodes, so that input and target are one site, and
    a code depends on those chosen before it. Gradients go through all k steps; the choice i has none.

    Attributes
    ----------
    stop_when_repeated : bool
        A token stops when a step adds no new latent (its value still counts): L0 is at most k then.
    residual_threshold : float
        A token stops when ‖r‖ is below this, in scaled units; 0: never.
    """

    name = "matching_pursuit"
    setting_name = "k"
    whole_settings = True
    steps_alike = True
    transcodes = False
    sweep = (1, 2, 4, 8, 16, 32)
    short_runs = 3.0
    input_units = ("residual_threshold",)

    stop_when_repeated: bool = True
    residual_threshold: float = 0.0

    def __post_init__(self) -> None:
        if not self.subtract_decoder_bias:
            raise ValueError(
                "a matching_pursuit SAE encodes by its decoder, so that it cannot be a transcoder"
            )
        if not self.residual_threshold >= 0:
            raise ValueError(f"residual_threshold must be 0 or above, got {self.residual_threshold}")

    def start(self, d_in: int, d_out: int, size: int, means: tuple[Tensor, Tensor], seed: int) -> Parameters:
        """Random unit decoder rows, b_dec the mean."""
        p = super().start(d_in, d_out, size, means, seed)
        return {k: p[k] for k in ("W_dec", "b_dec")}

    def widths(self, p: Parameters) -> tuple[int, int, int]:
        """Width, number of latents, width."""
        size, width = p["W_dec"].shape
        return width, size, width

    def fold_centre(self, p: Parameters, input_centre: Tensor, target_centre: Tensor) -> Parameters:
        """b_dec alone."""
        return {"b_dec": plus(p["b_dec"], target_centre)}

    def inference(self, p: Parameters, state: dict[str, Tensor], setting: float) -> Parameters:
        """The weights, k and the threshold of ‖r‖."""
        return dict(p) | {
            "k": torch.tensor(int(setting)), "residual_threshold": torch.tensor(self.residual_threshold)
        }  # fmt: skip

    def encode(self, p: Parameters, x: Tensor) -> Tensor:
        """Codes `[..., B, F]`."""
        return self.pursue(p, x, p["k"], int(p["k"].max()), p["residual_threshold"])

    def loss(
        self, p: Parameters, state: dict[str, Tensor], x: Tensor, target: Tensor, knobs: Knobs
    ) -> Losses:
        """Squared error."""
        k = knobs.setting
        most = int(knobs.largest or (k.max() if isinstance(k, Tensor) else k))
        f = self.pursue(p, x, k, most, self.residual_threshold)
        x_hat = self.decode(p, f)
        return Losses(squared_error(x_hat, target), f, x_hat, {})

    def pursue(self, p: Parameters, x: Tensor, k: Any, most: int, threshold: float | Tensor) -> Tensor:
        """The codes after k steps, which is one number or one per member, `most` at most."""
        rows, steps = p["W_dec"], k.view(-1, 1) if isinstance(k, Tensor) and k.ndim else k
        left = x - p["b_dec"].unsqueeze(-2)
        going = torch.ones(left.shape[:-1], dtype=torch.bool, device=left.device)
        values, places = list[Tensor](), list[Tensor]()
        for step in range(most):
            going = going & (step < steps)
            if at_hand(x) and not going.any():  # no question to the GPU: there the steps add 0
                break
            with torch.no_grad(), float32_products(x):
                place = (left @ rows.mT).argmax(-1)
            row = rows_at(rows, place)
            value = (left * row).sum(-1).relu() * going
            if self.stop_when_repeated:
                going = going & (value.detach() > 0)
                for before in places:
                    going = going & (place != before)
            values.append(value)
            places.append(place)
            left = left - value.unsqueeze(-1) * row
            if not isinstance(threshold, float) or threshold:
                going = going & (left.detach().norm(dim=-1) >= threshold)
        f = torch.zeros(*left.shape[:-1], rows.shape[-2], dtype=left.dtype, device=left.device)
        return f.scatter_add(-1, torch.stack(places, -1), torch.stack(values, -1)) if places else f


def float32_products(x: Tensor) -> AbstractContextManager[Any]:
    """Products in the weights' own precision: rounded to bfloat16, the choice of a row would be another."""
    return torch.autocast(x.device.type, enabled=False) if x.device.type != "meta" else nullcontext()
