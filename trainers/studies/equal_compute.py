"""Multiplications per token of an SAE, and dictionary sizes at which two architectures cost the same.

Only matrix products count; thresholds, biases and norms are smaller by a factor of the width. All counts are
F (a d_in + b d_out) with whole a and b, so that equal cost has one solution.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from trainers.architectures import Architecture, Gated, HierarchicalTopK, MatchingPursuit, architecture

When = Literal["inference", "loss", "step"]


class Products(NamedTuple):
    """How often the encoder's and the decoder's product are formed."""

    encoder: int
    decoder: int


def products(of: Architecture | str, when: When = "loss") -> Products:
    """Products `[B, d_in] × [d_in, F]` and `[B, F] × [F, d_out]`, or of that cost, for one batch.

    Parameters
    ----------
    when : {"inference", "loss", "step"}
        `inference`: encode and decode. `loss`: the forward pass of training, by which the Gated SAE paper
        counts (Gated 3 against 2: hence its baseline 1.5 times as wide). `step`: forward and backward; the
        gradient of x is not needed, so that the encoder costs two products and the decoder three.

    Notes
    -----
    The auxiliary reconstruction of a Gated SAE decodes once more; frozen, its decoder gets no gradient.
    Matryoshka's prefixes are parts of one product. AuxK, which depends on how many latents are dead, and
    sparse kernels, which depend on L0, are not counted, nor HierarchicalTopK's budgets, which read the chosen
    rows alone (its loss differentiates no decoder product).

    Raises
    ------
    ValueError
        If `when` is unknown, or the number of products depends on the setting.
    """
    if when not in ("inference", "loss", "step"):
        raise ValueError(f"when must be inference, loss or step, got {when!r}")
    kind = architecture(of) if isinstance(of, str) else of
    if isinstance(kind, MatchingPursuit):
        raise ValueError("matching_pursuit forms a product per step, so that its cost depends on k")
    encoders = 2 if isinstance(kind, Gated) and not kind.tied else 1
    auxiliary = int(isinstance(kind, Gated) and kind.auxiliary)
    if when == "inference":
        return Products(encoders, 1)
    if when == "loss":
        return Products(encoders, 1 + auxiliary)
    if isinstance(kind, HierarchicalTopK):
        return Products(2, 1)
    back = (2 if kind.frozen_decoder else 3) if isinstance(kind, Gated) and auxiliary else 0
    return Products(2 * encoders, 3 + back)


def multiplications(of: Architecture | str, size: int, d_in: int, d_out: int, when: When = "loss") -> int:
    """Multiplications per token.

    >>> multiplications("gated", 2**17, 3072, 3072) / multiplications("relu", 3 * 2**16, 3072, 3072)
    1.0
    """
    found = products(of, when)
    return size * (found.encoder * d_in + found.decoder * d_out)


def equal_size(
    of: Architecture | str, reference: Architecture | str, size: int, d_in: int, d_out: int, *,
    when: When = "loss", multiple: int = 1,
) -> int:  # fmt: skip
    """Size of a dictionary that costs as much as the reference with `size` latents, rounded to a multiple.

    The Gated SAE paper sets Gated with 2^17 latents against a baseline 1.5 times as wide:

    >>> equal_size("relu", "gated", 2**17, 3072, 3072)
    196608
    """
    if size < 1 or multiple < 1:
        raise ValueError(f"size and multiple must be at least 1, got {size} and {multiple}")
    wanted = multiplications(reference, size, d_in, d_out, when) / multiplications(of, 1, d_in, d_out, when)
    return max(multiple, round(wanted / multiple) * multiple)


def as_dear(
    sections: dict[str, Any], size: int, d_in: int, d_out: int, when: When = "loss"
) -> dict[str, int]:
    """Sizes by family at which all cost as much as the dearest one has with `size` latents.

    `sections` maps names of families to architectures or their names.
    """
    dearest = max(sections.values(), key=lambda a: multiplications(a, size, d_in, d_out, when))
    return {n: equal_size(a, dearest, size, d_in, d_out, when=when) for n, a in sections.items()}
