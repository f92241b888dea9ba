"""The sums that the losses of several architectures share."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def plus(value: Tensor, more: Tensor) -> Tensor:
    """The sum, taken in float64, in the value's own type."""
    return (value.double() + more).to(value.dtype)


def at_hand(value: Tensor) -> bool:
    """Whether Python may ask for what is in a tensor: on the CPU, if it has memory there."""
    return value.is_cpu and type(value) is Tensor


def variance(target: Tensor) -> Tensor:
    """Mean ‖x − x̄‖² of a batch `[...]`, without gradient."""
    target = target.detach()
    return (target - target.mean(-2, keepdim=True)).square().sum(-1).mean(-1)


def squared_error(x_hat: Tensor, target: Tensor) -> Tensor:
    """Mean over the batch of ‖target − x̂‖², `[...]`."""
    return (x_hat - target).square().sum(-1).mean(-1)


def weighted(factor: Any, value: Tensor) -> Tensor:
    """Factor × value, where the factor is one number or one per member."""
    if isinstance(factor, Tensor):
        factor = factor.to(value.dtype)
    return factor * value
