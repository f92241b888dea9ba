"""Promises of trained members: finite, resumed bit for bit, in raw units, the same after saving."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from trainers.architectures import Knobs
from trainers.promises import lines
from trainers.promises.case import STEPS, WIDTH, BrokenError, Case, differs
from trainers.sae_files import load_sae, save_sae
from trainers.steps import LoopEngine, StackedEngine
from trainers.tensor_files import write_tensors

SCALE = 3.7
"""Of the activations, in the check of folding."""


def stays_finite(case: Case) -> None:
    """Loss and gradients are finite over a short run, from the first step to the last."""
    family = case.family()
    engine = case.engine(family)
    for step in range(STEPS):
        before = [{k: v.detach().clone() for k, v in leaves.items()} for leaves in family.leaves]
        states = [family.state_of(m) for m in range(len(family))]
        states = [{k: v.clone() for k, v in s.items()} for s in states]
        case.train(engine, step, step + 1)
        for m in family.diverged:
            said = f"loss or gradient is NaN or infinite at step {step} ({_setting(case, m)})"
            raise BrokenError(said, "loss", _line_of_nan(case, before[m], states[m], m, step))


def _line_of_nan(case: Case, p: Any, state: Any, m: int, step: int) -> int | None:
    """Where NaN first arises in one step of one member."""
    leaves, x = {k: v.requires_grad_() for k, v in p.items()}, case.batch(step)
    knobs = Knobs(case.settings[m], step=step, steps=STEPS)
    with lines.FirstNaN(lines.file_of(type(case.kind))) as watch:
        case.kind.training_loss(leaves, state, x, x, knobs)
    return watch.line


def resumes(case: Case) -> None:
    """Weights, state and Adam's memory on disk, taken up by a new run, give the same weights, bit for bit."""
    for which in (LoopEngine, StackedEngine):
        whole = case.family()
        case.train(case.engine(whole, which), 0, 8)
        first = case.family()
        engine = case.engine(first, which)
        case.train(engine, 0, 4)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "part.safetensors"
            write_tensors(first.tensors() | engine.tensors(), path)
            read = load_file(path)
        second = case.family()
        again = case.engine(second, which)
        second.load_tensors(read)
        again.load_tensors(read)
        case.train(again, 4, 8)
        for name, value in whole.tensors().items():
            if not torch.equal(value, second.tensors()[name]):
                raise BrokenError(
                    f"{name.partition('/')[2]} differs after a stop and a resumption: what a step needs "
                    "later belongs into `state`, and chance into a generator with a seed of its own"
                )


def nothing_fires(case: Case) -> None:
    """Without active latents the reconstruction is b_dec, the same for every token."""
    sae = _trained(case)[1]
    x = case.batch(50)
    x_hat = sae.decode(torch.zeros_like(sae.encode(x)))
    off = differs(x_hat, sae.parameters["b_dec"].expand_as(x_hat), 1e-6)
    if off is not None:
        raise BrokenError(f"decode of codes that are all 0 differs from b_dec by {off:.3g}", "decode")


def folds(case: Case) -> None:
    """An SAE trained on s·(x − c), folded, does to x what it did to that: codes and reconstruction follow."""
    kind, m = case.kind, 1
    family = case.family()
    case.train(case.engine(family), 0, 8)
    trained = {k: v.detach().double() for k, v in family.leaves[m].items()}
    state = {k: v.double() if v.is_floating_point() else v for k, v in family.state_of(m).items()}
    ready = kind.inference(trained, state, case.settings[m])
    centre = torch.linspace(-2.0, 3.0, WIDTH, dtype=torch.float64)
    folded, x = kind.fold(ready, SCALE, SCALE, centre, centre), case.batch(50, torch.float64)
    f, raw = kind.encode(ready, x), kind.encode(folded, x / SCALE + centre)
    said = (
        "an SAE folded for raw activations gives other {}, by {:.3g} of {:.3g}; the encoder has to see x as "
        "x − b_dec, and input_units to name what is in the unit of x; now it is {}"
    )
    for name, ours, wanted in (
        ("codes", raw * SCALE, f),
        ("reconstructions", (kind.decode(folded, raw) - centre) * SCALE, kind.decode(ready, f)),
    ):
        off = differs(ours, wanted, 1e-6)
        if off is not None:
            size = float(wanted.abs().max())
            raise BrokenError(said.format(name, off, size, tuple(kind.input_units)), "encode")


def folds_weights(case: Case) -> None:
    """An SAE trained at a joined site, on w · x, folded, has the same codes for x, and rebuilds x."""
    kind = case.kind
    ready = kind.inference(case.weights(), case.state(), case.settings[1])
    weights, x = torch.linspace(0.2, 3.0, WIDTH, dtype=torch.float64), case.batch(50, torch.float64)
    folded = kind.fold_weights(ready, weights, weights)
    f, raw = kind.encode(ready, x * weights), kind.encode(folded, x)
    x_hat, x_raw = kind.decode(ready, f), kind.decode(folded, raw)
    for name, ours, wanted in (("codes", raw, f), ("reconstructions", x_raw * weights, x_hat)):
        off = differs(ours, wanted, 1e-6)
        if off is not None:
            raise BrokenError(
                f"at a joined site, whose parts have weights, a folded SAE has other {name}, by {off:.3g}; "
                f"`readers` has to name what is multiplied by x, now it is {tuple(kind.readers)}, or "
                "fold_weights is to be written anew",
                "encode",
            )


def saves(case: Case) -> None:
    """A saved SAE, loaded again, has the same codes and reconstructions, to the last digit."""
    for m, sae in enumerate(_trained(case)):
        x = case.batch(60)
        with tempfile.TemporaryDirectory() as folder:
            read = load_sae(save_sae(sae, Path(folder) / "sae"))
        same = torch.equal(sae.encode(x), read.encode(x)) and torch.equal(sae(x), read(x))
        if not same or read.architecture != sae.architecture:
            raise BrokenError(f"the SAE differs after saving and loading ({_setting(case, m)})", "inference")


def _trained(case: Case) -> list[Any]:
    family = case.family()
    case.train(case.engine(family), 0, 8)
    return [family.sae(m) for m in range(len(family))]


def _setting(case: Case, m: int) -> str:
    return f"{case.kind.sparsity_name} = {case.settings[m]:.3g}"
