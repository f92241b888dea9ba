"""What a trained SAE computes, whatever it was trained as: one of seven forms, in float32.

==================  ========================================  ========================
form                codes                                     from
==================  ========================================  ========================
`relu`              relu(z)                                   relu, p_anneal
`gated`             1[π > 0] relu(e^r (π − b_gate) + b_mag)   gated with tied weights
`jumprelu`          relu(z) 1[z > θ_i]                        jumprelu
`topk`              relu(z) at the k highest                  topk, hierarchical_topk
`abs_topk`          z at the k largest |z|                    abs_topk
`threshold`         relu(z) 1[z > θ], one θ for all           batch_topk, matryoshka
`matching_pursuit`  k steps of matching pursuit               matching_pursuit
==================  ========================================  ========================

z = (x − b_dec) W_enc + b_enc, or x W_enc + b_enc where b_dec is not subtracted; π likewise with b_gate. A
transcoder may have W_skip beside any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from trainers.architectures import (
    AbsTopK,
    Architecture,
    BatchTopK,
    Gated,
    JumpReLU,
    MatchingPursuit,
    Parameters,
    ReLU,
    TopK,
    to_jumprelu,
)
from trainers.export.files import ExportError, exportable
from trainers.sae import SAE

WEIGHTS = ("W_dec", "b_dec")
ENCODERS = {
    "gated": ("W_enc", "b_gate", "b_mag", "r_mag"), "jumprelu": ("W_enc", "b_enc", "threshold"),
    "threshold": ("W_enc", "b_enc", "threshold"), "matching_pursuit": (),
}  # fmt: skip
KINDS: dict[str, type[Architecture]] = {
    "relu": ReLU, "gated": Gated, "jumprelu": JumpReLU, "topk": TopK, "abs_topk": AbsTopK,
    "threshold": BatchTopK, "matching_pursuit": MatchingPursuit,
}  # fmt: skip


@dataclass(frozen=True)
class Form:
    """The function of one SAE.

    Attributes
    ----------
    kind : str
        A form of the table above.
    tensors : dict of str to Tensor
        Its weights; k is apart.
    subtract : bool
        Whether the encoder sees x − b_dec.
    k : int or None
        Only of topk, abs_topk and matching_pursuit.
    stops : mapping
        Only of matching_pursuit: `residual_threshold` and `stop_when_repeated`.
    """

    kind: str
    tensors: Parameters
    subtract: bool
    k: int | None = None
    stops: Mapping[str, Any] = field(default_factory=dict)

    @property
    def widths(self) -> tuple[int, int, int]:
        """d_in, number of latents, d_out."""
        size, d_out = self.tensors["W_dec"].shape
        return self.tensors["W_enc"].shape[0] if "W_enc" in self.tensors else d_out, size, d_out

    @property
    def skip(self) -> bool:
        """Whether the input reaches the output beside the latents."""
        return "W_skip" in self.tensors

    def sae(self, identity: dict) -> SAE:
        """The SAE again."""
        parameters = dict(self.tensors)
        if self.k is not None:
            parameters["k"] = torch.tensor(self.k)
        given: dict[str, Any] = {"subtract_decoder_bias": self.subtract, "skip": self.skip}
        if self.stops:
            given["stop_when_repeated"] = self.stops["stop_when_repeated"]
            parameters["residual_threshold"] = torch.tensor(float(self.stops["residual_threshold"]))
        return SAE(KINDS[self.kind](**given), parameters, identity)


def form_of(sae: SAE) -> Form:
    """The form of one of our SAEs.

    Raises
    ------
    ExportError
        If no layout has it.
    """
    if sae.shards.count > 1:
        raise ExportError(f"these are the latents of one of {sae.shards.count} shards; load the saved SAE")
    kind = form_name(type(sae.architecture))
    if kind is None:
        raise ExportError(
            f"{sae.architecture.name!r} has no form that other libraries have; its folder under saes/ is ours"
        )
    if kind == "gated" and not sae.architecture.tied:  # type: ignore[attr-defined]
        raise ExportError(
            "a Gated SAE with tied = false cannot be exported: it has magnitude weights of its own (W_mag), "
            "and the gated classes of SAELens and dictionary_learning have one encoder with a gain"
        )
    of, given = sae.architecture, dict(sae.parameters)
    names = (*WEIGHTS, *ENCODERS.get(kind, ("W_enc", "b_enc")), *(("W_skip",) if of.skip else ()))
    if kind == "gated":
        given.setdefault("r_mag", torch.zeros_like(given["b_mag"]))
    tensors = exportable({name: given[name] for name in names})
    if "threshold" in tensors:
        tensors["threshold"].clamp_(min=0)  # z must be above 0 as well
    if isinstance(of, MatchingPursuit):
        stops = {
            "residual_threshold": float(given["residual_threshold"]),
            "stop_when_repeated": of.stop_when_repeated,
        }
        return Form(kind, tensors, of.subtract_decoder_bias, int(given["k"]), stops)
    k = min(int(given["k"]), sae.dictionary_size) if "topk" in kind else None
    return Form(kind, tensors, of.subtract_decoder_bias, k)


def form_name(kind: type[Architecture]) -> str | None:
    """The form of a class, where it is one of ours or computes as one."""
    return next((name for name, of in KINDS.items() if computes_as(kind, of)), None)


def computes_as(kind: type[Architecture], of: type[Architecture]) -> bool:
    """Whether a trained SAE of one class is encoded and decoded as those of another: the same functions.

    A class of your own that only trains otherwise has the form of the class that it comes from.
    """
    same = (
        "encode",
        "decode",
        "inference",
        "pre_activations",
        "decoder",
        "around",
        "select",
        "paths",
        "pursue",
    )
    return issubclass(kind, of) and all(getattr(kind, n, None) is getattr(of, n, None) for n in same)


def as_jumprelu(form: Form) -> Form:
    """The same function with one threshold per latent.

    Raises
    ------
    ExportError
        If it has none: TopK compares latents with each other.
    """
    if form.kind == "jumprelu":
        return form
    if form.kind == "threshold":
        spread = form.tensors["threshold"].expand(form.widths[1]).clone()
        return replace(form, kind="jumprelu", tensors=form.tensors | {"threshold": spread})
    if form.kind == "gated":
        _, tensors = to_jumprelu(Gated(), form.tensors)
        return replace(form, kind="jumprelu", tensors=exportable(tensors))
    raise ExportError(f"a {form.kind} SAE is no JumpReLU SAE")


def subtracting(form: Form, wanted: bool) -> Form:
    """The same function with b_dec subtracted from the input, or not: the biases take up b_dec W_enc.

    Raises
    ------
    ExportError
        If input and output have different widths, so that b_dec cannot be subtracted.
    """
    if form.subtract == wanted:
        return form
    d_in, _, d_out = form.widths
    if d_in != d_out:
        raise ExportError(f"b_dec has {d_out} dimensions and cannot be subtracted from an input of {d_in}")
    p = form.tensors
    shift = (p["b_dec"].double() @ p["W_enc"].double()) * (1 if wanted else -1)
    if form.kind == "gated":
        gain = p["r_mag"].double().exp()
        moved = {"b_gate": _plus(p["b_gate"], shift), "b_mag": _plus(p["b_mag"], shift * gain)}
    else:
        moved = {"b_enc": _plus(p["b_enc"], shift)}
    return replace(form, tensors=p | moved, subtract=wanted)


def _plus(bias: Tensor, shift: Tensor) -> Tensor:
    return (bias.double() + shift).float()
