"""One trained SAE, in the units of the activations that it was trained for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from trainers.architectures import Architecture, Parameters
from trainers.shards import Shards


@dataclass(frozen=True, eq=False)
class SAE:
    """A sparse autoencoder (or transcoder) ready for use.

    Attributes
    ----------
    architecture : Architecture
        Its kind and options.
    parameters : dict of str to Tensor
        `W_enc [d_in, F]`, `W_dec [F, d_out]`, `b_dec [d_out]` and what else the architecture has.
    identity : dict
        What is known of it, under the column names of the metrics table.
    """

    architecture: Architecture
    parameters: Parameters = field(repr=False)
    identity: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Architecture:
        """The architecture over all latents, also of an SAE of which some are here."""
        return getattr(self.architecture, "whole", self.architecture)

    @property
    def shards(self) -> Shards:
        """The processes that have as many other latents each; of a whole SAE this one alone."""
        return self.architecture.shards

    @property
    def dictionary_size(self) -> int:
        """Number of latents, of those that are here."""
        return self.architecture.widths(self.parameters)[1]

    @property
    def d_in(self) -> int:
        """Width of the input."""
        return self.architecture.widths(self.parameters)[0]

    @property
    def d_out(self) -> int:
        """Width of the output; that of the input unless it is a transcoder."""
        return self.architecture.widths(self.parameters)[2]

    @property
    def rows(self) -> Tensor:
        """What the latents write `[F, d_out]`."""
        return self.parameters[self.architecture.decoder]

    def encode(self, x: Tensor) -> Tensor:
        """Codes `[..., F]` of activations `[..., d_in]`."""
        f = self.architecture.encode(self.parameters, _rows(x, self.d_in, "activations"))
        return f.view(*x.shape[:-1], self.dictionary_size)

    def decode(self, f: Tensor) -> Tensor:
        """Reconstruction `[..., d_out]` of codes `[..., F]`."""
        x_hat = self.architecture.decode(self.parameters, _rows(f, self.dictionary_size, "codes"))
        return x_hat.view(*f.shape[:-1], self.d_out)

    def reconstruct(self, x: Tensor, f: Tensor) -> Tensor:
        """The output `[..., d_out]` of x with these codes: what they decode to, and what goes around them."""
        around = self.architecture.around(self.parameters, _rows(x, self.d_in, "activations"))
        found = self.decode(f)
        return found if around is None else found + around.view(found.shape)

    def __call__(self, x: Tensor) -> Tensor:
        """x̂ `[..., d_out]`."""
        return self.reconstruct(x, self.encode(x))

    def metrics(self, x: Tensor, f: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Metrics of the architecture's own, a value per token `[n]` each."""
        return self.architecture.metrics(self.parameters, x, f, target)

    def points(self) -> list[SAE]:
        """What is evaluated of it: itself; of HierarchicalTopK an SAE per budget, this one their `parent`."""
        shared = self.architecture.shared(self.parameters)
        if len(shared) < 2:
            return [self]
        name, found = self.identity.get("run_id", "sae"), []
        for k, p in shared.items():
            own = {"run_id": name if k == max(shared) else f"{name} at k {k}", "sparsity_setting": float(k)}
            found.append(SAE(self.architecture, p, self.identity | own | {"parent": name}))
        return found

    def to(self, device: Any) -> SAE:
        """The same SAE on another device."""
        moved = {k: v.to(device) for k, v in self.parameters.items()}
        return SAE(self.architecture, moved, self.identity)


def reconstruction(sae: Any, x: Tensor, f: Tensor) -> Tensor:
    """The output of any SAE-like object for x with codes f: its `reconstruct`, else what it decodes."""
    return sae.reconstruct(x, f) if hasattr(sae, "reconstruct") else sae.decode(f)


def _rows(values: Tensor, width: int, name: str) -> Tensor:
    if values.shape[-1] != width:
        raise ValueError(f"{name} must be [..., {width}] for this SAE, got {list(values.shape)}")
    return values.reshape(-1, width)
