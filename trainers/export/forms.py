"""What a trained SAE computes, whatever it was trained as: one of five forms, in float32.

=============  ================================================  ========================
form           codes                                             from
=============  ================================================  ========================
`relu`         relu(z)                                           relu, p_anneal
`gated`        1[π > 0] relu(e^r (π − b_gate) + b_mag)           gated with tied weights
`jumprelu`     relu(z) 1[z > θ_i]                                jumprelu
`topk`         relu(z) at the k highest                          topk
`threshold`    relu(z) 1[z > θ], one θ for all                   batch_topk, matryoshka
=============  ================================================  ========================

z = (x − b_dec) W_enc + b_enc, or x W_enc + b_enc where b_dec is not subtracted; π likewise with b_gate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainers.architectures import (
    Architecture,
    BatchTopK,
    Gated,
    JumpReLU,
    Parameters,
    ReLU,
    TopK,
    to_jumprelu,
)
from trainers.export.files import ExportError, exportable
from trainers.sae import SAE

WEIGHTS = ("W_enc", "W_dec", "b_dec")
BIASES = {
    "gated": ("b_gate", "b_mag", "r_mag"), "jumprelu": ("b_enc", "threshold"),
    "threshold": ("b_enc", "threshold"),
}  # fmt: skip
KINDS: dict[str, type[Architecture]] = {
    "relu": ReLU, "gated": Gated, "jumprelu": JumpReLU, "topk": TopK, "threshold": BatchTopK,
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
        Only of topk.
    """

    kind: str
    tensors: Parameters
    subtract: bool
    k: int | None = None

    @property
    def widths(self) -> tuple[int, int, int]:
        """d_in, number of latents, d_out."""
        return (*self.tensors["W_enc"].shape, self.tensors["W_dec"].shape[1])

    def sae(self, identity: dict) -> SAE:
        """The SAE again."""
        parameters = dict(self.tensors)
        if self.k is not None:
            parameters["k"] = torch.tensor(self.k)
        return SAE(KINDS[self.kind](subtract_decoder_bias=self.subtract), parameters, identity)


def form_of(sae: SAE) -> Form:
    """The form of one of our SAEs.

    Raises
    ------
    ExportError
        If no layout has it.
    """
    kind = next((k for k, of in KINDS.items() if computes_as(type(sae.architecture), of)), None)
    if kind is None:
        raise ExportError(
            f"{sae.architecture.name!r} has no form that other libraries have; its folder under saes/ is ours"
        )
    if kind == "gated" and not sae.architecture.tied:  # type: ignore[attr-defined]
        raise ExportError(
            "a Gated SAE with tied = false cannot be exported: it has magnitude weights of its own (W_mag), "
            "and the gated classes of SAELens and dictionary_learning have one encoder with a gain"
        )
    names = (*WEIGHTS, *BIASES.get(kind, ("b_enc",)))
    given = dict(sae.parameters)
    if kind == "gated":
        given.setdefault("r_mag", torch.zeros_like(given["b_mag"]))
    tensors = exportable({name: given[name] for name in names})
    if "threshold" in tensors:
        tensors["threshold"].clamp_(min=0)  # z must be above 0 as well
    k = min(int(given["k"]), sae.dictionary_size) if kind == "topk" else None
    return Form(kind, tensors, sae.architecture.subtract_decoder_bias, k)


def computes_as(kind: type[Architecture], of: type[Architecture]) -> bool:
    """Whether a trained SAE of one class is encoded and decoded as those of another: the same functions.

    A class of your own that only trains otherwise has the form of the class that it comes from.
    """
    same = ("encode", "decode", "inference", "pre_activations", "decoder")
    return issubclass(kind, of) and all(getattr(kind, n) is getattr(of, n) for n in same)


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
