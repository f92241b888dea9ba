"""Rescale and shift: the magnitudes of a trained SAE fitted anew, what it detects left as it is.

The L1 penalty makes activations too small (shrinkage). This baseline of the Gated SAE paper
(arXiv 2404.16014, section 5.2) cures that alone: where f_i > 0 it becomes a_i f_i + c_i, with decoder and
detections frozen. The squared error is quadratic in (a, c), so that its minimum is found from second moments,
with no learning rate; bounds keep a_i above 0, and c_i at 0 or above, so that no detection is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from trainers.architectures import Gated, ReLU
from trainers.language_models import LanguageModel
from trainers.sae import SAE, reconstruction
from trainers.studies.variants import (
    SharedCodes,
    Variant,
    VariantError,
    activations_of,
    linear_decoder,
    run_id_of,
    variant_identity,
)

CHANGE = "rescale and shift"
SMALLEST_GAIN = 0.01
RIDGE = 1e-4
"""Pull towards a = 1, c = 0, as a share of each latent's own curvature plus one firing: for rare latents."""
LARGEST = 8192
"""Latents; the moments are a matrix of twice that many rows and columns."""


@dataclass(frozen=True, eq=False)
class Moments:
    """The squared error as a function of θ = (a, c): θᵀ H θ − 2 gᵀ θ + constant, summed over tokens.

    Attributes
    ----------
    hessian : Tensor [2F, 2F]
        Float64.
    gradient : Tensor [2F]
    constant : float
        Σ ‖t − b‖².
    tokens : int
    """

    hessian: Tensor
    gradient: Tensor
    constant: float
    tokens: int

    def error(self, theta: Tensor) -> float:
        """Mean squared error per token of gains and shifts `[2F]`."""
        value = theta @ self.hessian @ theta - 2 * self.gradient @ theta
        return (float(value) + self.constant) / self.tokens


@torch.no_grad()
def moments(sae: Any, activations: Iterable[tuple[Tensor, Tensor]]) -> Moments:
    """The moments of an SAE over batches of input and target.

    With G = [f, sign f] and D the decoder rows, H = GᵀG ∘ [[DDᵀ, DDᵀ], [DDᵀ, DDᵀ]] and
    g_i = Σ G_i ⟨t − b, D_i⟩.

    Raises
    ------
    VariantError
        If the dictionary is too large, or there are no activations.
    """
    size = sae.dictionary_size
    if size > LARGEST:
        raise VariantError(
            f"{size} latents; rescaling holds {2 * LARGEST}² moments at most, {LARGEST} latents"
        )
    rows, _ = linear_decoder(sae)
    products = gradient = None
    constant, tokens = 0.0, 0
    for x, target in activations:
        f = sae.encode(x).float()
        both = torch.cat([f, f.sign()], dim=1)  # [n, 2F]
        rest = target - reconstruction(sae, x, torch.zeros_like(f))
        along = (rest @ rows.T).repeat(1, 2)
        more, slope = (both.T @ both).double(), (both * along).sum(0, dtype=torch.float64)
        products = more if products is None else products.add_(more)
        gradient = slope if gradient is None else gradient.add_(slope)
        constant += float(rest.square().sum(dtype=torch.float64))
        tokens += len(x)
    if products is None or gradient is None:
        raise VariantError(f"no activations to fit the magnitudes of {run_id_of(sae, 0)!r} on")
    gram = (rows.double() @ rows.double().T).repeat(2, 2)
    return Moments(products.mul_(gram), gradient, constant, tokens)


def best_magnitudes(found: Moments, ridge: float = RIDGE) -> tuple[Tensor, Tensor]:
    """Gains and shifts `[F]` of least squared error, a ≥ 0.01 and c ≥ 0; 1 and 0 of silent latents."""
    size = len(found.gradient) // 2
    start = torch.cat([torch.ones(size), torch.zeros(size)]).double().to(found.gradient.device)
    diagonal = found.hessian.diagonal()
    typical = diagonal[diagonal > 0].median() if bool((diagonal > 0).any()) else diagonal.new_ones(())
    pull = ridge * (diagonal + typical / max(found.tokens, 1))
    unit = (diagonal + pull).clamp_min(1e-300).rsqrt()  # every variable with curvature 1
    matrix = ((found.hessian + pull.diag()) * unit * unit[:, None]).cpu().numpy()
    slope = ((found.gradient + pull * start) * unit).cpu().numpy()
    low = (torch.where(start == 1, SMALLEST_GAIN, 0.0) / unit).cpu().numpy()
    steepest = float(np.abs(slope).max()) + 1e-300
    solved: Any = minimize(  # type: ignore[call-overload]  # the stubs have no method with jac=True and bounds
        lambda v: (0.5 * v @ (image := matrix @ v) - slope @ v, image - slope),
        (start / unit).cpu().numpy(), jac=True, method="L-BFGS-B", bounds=[(b, None) for b in low],
        options={"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-15, "gtol": 1e-7 * steepest, "maxcor": 30},
    )  # fmt: skip
    theta = torch.from_numpy(solved.x).to(unit) * unit
    theta = torch.where(diagonal > 0, theta, start)
    return theta[:size].float(), theta[size:].float()


class Rescaled(Variant):
    """An SAE-like object with gains and shifts where its parent fires."""

    def __init__(self, sae: Any, parent: str, gain: Tensor, shift: Tensor) -> None:
        super().__init__(sae, variant_identity(sae, parent, CHANGE))
        self.gain, self.shift = gain, shift
        self._codes = SharedCodes(sae)

    def encode(self, x: Tensor) -> Tensor:
        """A f + c sign f where f fires `[n, F]`."""
        f = self._codes(x)
        return f * self.gain.to(f) + self.shift.to(f) * f.sign()


def rescale(
    saes: Sequence[Any],
    model: LanguageModel,
    training_tokens: Tensor,
    site: str,
    target_site: str | None = None,
    *,
    batch_size: int = 16,
) -> list[Any]:
    """A family "<family> + rescale and shift": each SAE with magnitudes fitted on training text.

    ReLU SAEs become Gated ones with the same detections, ready to be saved and exported; others are wrapped.

    Parameters
    ----------
    training_tokens : Tensor
        Windows `[n, T]` of training text; a few hundred tokens per latent at the least.
    """
    found = []
    for place, sae in enumerate(saes):
        parts = activations_of(model, training_tokens, site, target_site, batch_size)
        gain, shift = best_magnitudes(moments(sae, parts))
        parent = run_id_of(sae, place)
        ours = isinstance(sae, SAE) and type(sae.architecture) is ReLU
        found.append(as_gated(sae, parent, gain, shift) if ours else Rescaled(sae, parent, gain, shift))
    return found


def as_gated(sae: SAE, parent: str, gain: Tensor, shift: Tensor) -> SAE:
    """The Gated SAE that fires where a ReLU SAE does, with magnitude a f + c.

    The ReLU's pre-activation is the gate; the magnitude a ((x − b_dec) W_enc + b_enc) + c has r_mag = ln a
    and b_mag = a b_enc + c.
    """
    p = dict(sae.parameters)
    bias = p.pop("b_enc")
    gain, shift = gain.to(bias), shift.to(bias)
    p |= {"b_gate": bias, "r_mag": gain.log(), "b_mag": gain * bias + shift}
    of = sae.architecture
    kind = Gated(subtract_decoder_bias=of.subtract_decoder_bias, skip=of.skip)
    return SAE(kind, p, variant_identity(sae, parent, CHANGE))
