"""What all changes of trained SAEs share: identity, codes, decoder, and activations to fit them on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from trainers.architectures import Architecture
from trainers.language_models import LanguageModel
from trainers.sae import SAE, reconstruction


class VariantError(ValueError):
    """A change of a trained SAE that cannot be made; the message is one line."""


def run_id_of(sae: Any, place: int) -> str:
    """The SAE's own name, or that which `evaluate` gives it."""
    return str(sae.identity.get("run_id", f"sae_{place}"))


def variant_identity(
    sae: Any, parent: str, change: str, setting: float | None = None, setting_name: str | None = None
) -> dict[str, Any]:
    """The columns of a changed SAE: those of its parent, with a family, a name and a setting of its own.

    The family is "<family of the parent> + <change>"; without a setting the parent's stays.
    """
    known = dict(sae.identity)
    kind = getattr(getattr(sae, "architecture", None), "name", "sae")
    family = known.get("family") or known.get("architecture") or kind
    own: dict[str, Any] = {
        "family": f"{family} + {change}",
        "parent": parent,
        "run_id": f"{parent} + {change}",
    }
    if setting is not None:
        own |= {"sparsity_setting": setting, "sparsity_name": setting_name or change}
        own["run_id"] += f" {setting:.6g}"
    return known | own


class SharedCodes:
    """The codes of one SAE, computed once per batch however many variants ask for them."""

    def __init__(self, sae: Any) -> None:
        self.sae = sae
        self._input: Tensor | None = None
        self._codes: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Codes `[n, F]` of activations `[n, d_in]`; those of the last batch are remembered."""
        if self._codes is None or self._input is not x:
            self._input, self._codes = x, self.sae.encode(x)
        return self._codes


class Variant:
    """An SAE-like object that decodes like its parent; subclasses say how it encodes."""

    def __init__(self, sae: Any, identity: dict[str, Any]) -> None:
        self.parent, self.identity = sae, identity
        self.dictionary_size, self.d_in, self.d_out = sae.dictionary_size, sae.d_in, sae.d_out

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.identity['run_id']!r})"

    def encode(self, x: Tensor) -> Tensor:
        """Codes `[n, F]`."""
        raise NotImplementedError

    def decode(self, f: Tensor) -> Tensor:
        """The parent's reconstruction `[n, d_out]`."""
        return self.parent.decode(f)

    def reconstruct(self, x: Tensor, f: Tensor) -> Tensor:
        """The parent's output `[n, d_out]` for x with these codes."""
        return reconstruction(self.parent, x, f)

    def metrics(self, x: Tensor, f: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The parent's own metrics, of these codes."""
        own = getattr(self.parent, "metrics", None)
        return own(x, f, target) if own else {}

    def __call__(self, x: Tensor) -> Tensor:
        """x̂ `[n, d_out]`."""
        return self.reconstruct(x, self.encode(x))


@torch.no_grad()
def linear_decoder(sae: Any, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Rows `[F, d_out]` and bias `[d_out]` of a decoder x̂ = f · rows + bias, read off any SAE-like object.

    Raises
    ------
    VariantError
        If the decoder is not of this form.
    """
    if isinstance(sae, SAE) and type(sae.architecture).decode is Architecture.decode:
        rows, bias = sae.rows, sae.parameters["b_dec"]
        return (rows, bias) if device is None else (rows.to(device), bias.to(device))
    size = sae.dictionary_size
    bias = sae.decode(torch.zeros(1, size, device=device))[0]
    unit = max(1.0, float(bias.norm()))  # one latent alone must not drown in the bias
    places = torch.arange(size, device=device)
    one_hot = torch.nn.functional.one_hot
    parts = [unit * one_hot(p, size).to(bias.dtype) for p in places.split(1024)]
    rows = torch.cat([(sae.decode(part) - bias) / unit for part in parts])
    probe = unit * torch.rand(4, size, generator=torch.Generator().manual_seed(0)).to(bias) / size**0.5
    wanted, found = sae.decode(probe), probe @ rows + bias
    if not torch.allclose(found, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max())):
        raise VariantError(
            f"the decoder of {run_id_of(sae, 0)!r} is not a matrix and a bias: "
            f"its output differs by {float((found - wanted).abs().max()):.3g} from theirs"
        )
    return rows, bias


def require_plain(model: LanguageModel, *sites: str) -> None:
    """Nothing, if none of these sites is joined: one squared error would be that of its loudest part.

    Raises
    ------
    VariantError
        Names the site.
    """
    for name in sites:
        if model.site(name).parts:
            raise VariantError(f"{name} is a joined site; this study is for SAEs of one site")


def activations_of(
    model: LanguageModel, tokens: Tensor, site: str, target_site: str | None = None, batch_size: int = 16
) -> Iterator[tuple[Tensor, Tensor]]:
    """Input `[n, d_in]` and target `[n, d_out]` at the counted positions, batch by batch, in float32."""
    target = target_site or site
    require_plain(model, site, target)
    for part in tokens.split(batch_size):
        counted = model.counted(part.to(model.device))
        found = model.capture(part, list(dict.fromkeys((site, target))))
        yield found[site][counted].float(), found[target][counted].float()
