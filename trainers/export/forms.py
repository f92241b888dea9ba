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

The weights stay where they are, a file perhaps, until some latents of them are asked for (`Form.part`): an
SAE that no memory holds is written latents after latents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
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
from trainers.architectures.sums import plus
from trainers.export.files import ExportError, exportable
from trainers.sae import SAE

WEIGHTS = ("W_dec", "b_dec")
ENCODERS = {
    "gated": ("W_enc", "b_gate", "b_mag", "r_mag"), "jumprelu": ("W_enc", "b_enc", "threshold"),
    "threshold": ("W_enc", "b_enc", "threshold"), "matching_pursuit": (),
}  # fmt: skip
LATENT_DIMS = {"W_enc": 1, "W_dec": 0, "b_enc": 0, "b_gate": 0, "b_mag": 0, "r_mag": 0, "threshold": 0}
"""The dimension that counts latents, of the tensors that have one."""
PART_BYTES = 2**26
"""Of the weights that are worked on at a time, about."""
KINDS: dict[str, type[Architecture]] = {
    "relu": ReLU, "gated": Gated, "jumprelu": JumpReLU, "topk": TopK, "abs_topk": AbsTopK,
    "threshold": BatchTopK, "matching_pursuit": MatchingPursuit,
}  # fmt: skip


Step = Callable[[Parameters], Parameters]
"""From the weights of some latents to others of the same latents."""


@dataclass(frozen=True)
class Form:
    """The function of one SAE.

    Attributes
    ----------
    kind : str
        A form of the table above.
    stored : dict of str to Tensor
        Its weights before the `steps`; k is apart.
    subtract : bool
        Whether the encoder sees x − b_dec.
    k : int or None
        Only of topk, abs_topk and matching_pursuit.
    stops : mapping
        Only of matching_pursuit: `residual_threshold` and `stop_when_repeated`.
    steps : tuple of Step
        What has to be done to the weights, latent by latent.
    """

    kind: str
    stored: Parameters
    subtract: bool
    k: int | None = None
    stops: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    @property
    def widths(self) -> tuple[int, int, int]:
        """d_in, number of latents, d_out."""
        size, d_out = self.stored["W_dec"].shape
        return self.stored["W_enc"].shape[0] if "W_enc" in self.stored else d_out, size, d_out

    @property
    def skip(self) -> bool:
        """Whether the input reaches the output beside the latents."""
        return "W_skip" in self.stored

    @property
    def tensors(self) -> Parameters:
        """The weights of all latents, in float32."""
        return self.part(slice(0, self.widths[1]))

    def part(self, latents: slice) -> Parameters:
        """The weights of some latents, in float32; what has no latents is whole.

        Raises
        ------
        ExportError
            If a value is not finite.
        """
        found = {name: some(name, value, latents) for name, value in self.stored.items()}
        whole = latents == slice(0, self.widths[1])
        ready = exportable(found, "" if whole else f" in latents {latents.start} to {latents.stop - 1}")
        for step in self.steps:
            ready = step(ready)
        return ready

    def parts(self) -> Iterator[slice]:
        """All latents, some at a time."""
        d_in, size, d_out = self.widths
        step = max(1, PART_BYTES // (4 * (d_in + d_out)))
        return (slice(first, min(first + step, size)) for first in range(0, size, step))

    def sae(self, identity: dict) -> SAE:
        """The SAE again."""
        parameters = dict(self.tensors if self.steps else self.stored)
        if self.k is not None:
            parameters["k"] = torch.tensor(self.k)
        given: dict[str, Any] = {"subtract_decoder_bias": self.subtract, "skip": self.skip}
        if self.stops:
            given["stop_when_repeated"] = self.stops["stop_when_repeated"]
            parameters["residual_threshold"] = torch.tensor(float(self.stops["residual_threshold"]))
        return SAE(KINDS[self.kind](**given), parameters, identity)


def some(name: str, value: Tensor, latents: slice) -> Tensor:
    """Of a tensor of a form what these latents have; a view."""
    dim = LATENT_DIMS.get(name) if value.ndim else None
    return value if dim is None else value.narrow(dim, latents.start, latents.stop - latents.start)


def form_of(sae: SAE) -> Form:
    """The form of one of our SAEs.

    Raises
    ------
    ExportError
        If no layout has it.
    """
    of: Any = sae.kind
    kind = form_name(type(of))
    if kind is None:
        raise ExportError(
            f"{of.name!r} has no form that other libraries have; its folder under saes/ is ours"
        )
    if kind == "gated" and not of.tied:
        raise ExportError(
            "a Gated SAE with tied = false cannot be exported: it has magnitude weights of its own (W_mag), "
            "and the gated classes of SAELens and dictionary_learning have one encoder with a gain"
        )
    given = dict(sae.parameters)
    names = (*WEIGHTS, *ENCODERS.get(kind, ("W_enc", "b_enc")), *(("W_skip",) if of.skip else ()))
    if kind == "gated":
        given.setdefault("r_mag", torch.zeros_like(given["b_mag"]))
    tensors = {name: given[name] for name in names}
    steps = (_from_zero,) if "threshold" in tensors else ()
    if isinstance(of, MatchingPursuit):
        stops = {
            "residual_threshold": float(given["residual_threshold"]),
            "stop_when_repeated": of.stop_when_repeated,
        }
        return Form(kind, tensors, of.subtract_decoder_bias, int(given["k"]), stops)
    k = min(int(given["k"]), sae.dictionary_size * sae.shards.count) if "topk" in kind else None
    return Form(kind, tensors, of.subtract_decoder_bias, k, steps=steps)


def _from_zero(p: Parameters) -> Parameters:
    """Thresholds of 0 at least: z must be above 0 as well."""
    return p | {"threshold": p["threshold"].clamp_min(0)}


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
        return replace(form, kind="jumprelu", steps=(*form.steps, _spread))
    if form.kind == "gated":
        return replace(form, kind="jumprelu", steps=(*form.steps, _ungated))
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
    return replace(form, steps=(*form.steps, partial(_moved, 1 if wanted else -1)), subtract=wanted)


def _spread(p: Parameters) -> Parameters:
    """The one threshold for each latent."""
    return p | {"threshold": p["threshold"].expand(len(p["W_dec"])).clone()}


def _ungated(p: Parameters) -> Parameters:
    """The weights of the JumpReLU with the same output."""
    return exportable(to_jumprelu(Gated(), p)[1])


def _moved(sign: int, p: Parameters) -> Parameters:
    """Biases that take up b_dec W_enc."""
    shift = sign * product(p["b_dec"], p["W_enc"])
    if "b_gate" in p:
        gain = p["r_mag"].double().exp()
        return p | {"b_gate": plus(p["b_gate"], shift), "b_mag": plus(p["b_mag"], shift * gain)}
    return p | {"b_enc": plus(p["b_enc"], shift)}


def product(row: Tensor, columns: Tensor) -> Tensor:
    """The product of a row with columns in float64: each column's bits are the same whatever is beside it."""
    found = torch.zeros(columns.shape[1], dtype=torch.float64)
    for factor, values in zip(row.double(), columns, strict=True):
        found += factor * values.double()
    return found
