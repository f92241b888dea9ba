"""What `auto` means for number formats: on a GPU bfloat16 products, elsewhere float32 throughout."""

from __future__ import annotations

import torch

from trainers.config import RunConfig


def with_formats(config: RunConfig, device: torch.device) -> RunConfig:
    """The configuration with `auto` written out for a device, so that a run keeps what it began with."""
    usual = "bfloat16" if device.type == "cuda" else "float32"
    model, training = config.model, config.training
    if model.dtype == "auto":
        model = model.model_copy(update={"dtype": usual})
    if training.precision == "auto":
        training = training.model_copy(update={"precision": usual})
    return config.model_copy(update={"model": model, "training": training})


def prepare(device: torch.device, precision: str) -> None:
    """Make a GPU the current one, and let its float32 products be TF32 where halves were asked for."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high" if precision == "bfloat16" else "highest")


def formats(config: RunConfig, device: torch.device) -> str:
    """The device and its number formats in words.

    >>> from trainers.recipes import example
    >>> formats(with_formats(example(), torch.device("cpu")), torch.device("cpu"))
    'cpu, float32'
    """
    if device.type != "cuda":
        return f"{device.type}, {config.training.precision}"
    name = f"{device}, {torch.cuda.get_device_name(device)}"
    model = f"language model in {config.model.dtype}"
    if config.training.precision == "float32":
        return f"{name}, float32, {model}"
    return f"{name}, products in bfloat16, weights in float32, TF32 elsewhere, {model}"
