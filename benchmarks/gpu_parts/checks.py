"""Is the step right on this device: against float64, as a graph, across a resume, without a question."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from trainers.activations import Batch, Scaling
from trainers.architectures import ARCHITECTURES, Knobs, architecture
from trainers.family import Family, Member, Schedule
from trainers.steps import StackedEngine
from trainers.steps.engine import StepOptions
from trainers.steps.fast import Halves

D, MEMBERS = 64, 3


class Scale(NamedTuple):
    """How much is checked on a kind of device; a CPU, which records no graph, only shows that it runs."""

    size: int
    batch: int
    steps: int


UNTIED = 2
"""A batch without two latents within float32's rounding at the edge of the chosen ones, at either scale; in
batch 1 at the CPU's scale two are 1.4e-7 apart, and HierarchicalTopK's gradients differ by 6e-3."""
SCALES = {"cuda": Scale(512, 256, 16), "cpu": Scale(128, 64, 6)}


def scale_of(device: torch.device) -> Scale:
    """That of a GPU on any device but a CPU."""
    return SCALES.get(device.type, SCALES["cuda"])


def engine_on(device: torch.device, name: str, half: bool = True, **how: Any) -> StackedEngine:
    """A small family of an architecture on its GPU engine, closed forms included."""
    kind, scale = architecture(name), how.get("scale", scale_of(device))
    settings = [2.0, 5.0, 9.0] if kind.setting_name == "k" else [0.1, 0.5, 2.0]
    mean = torch.zeros(D)
    family = Family(
        name, kind, [Member(f"m{i}", s, i, 1e-3) for i, s in enumerate(settings[:MEMBERS])], d_in=D, d_out=D,
        dictionary_size=scale.size, scaling=Scaling(1.0, 1.0, mean, mean), device=device,
    )  # fmt: skip
    options = StepOptions(Schedule(scale.steps), autocast=half and device.type == "cuda")
    halves = Halves(torch.bfloat16 if half else torch.float32, wide=half and device.type == "cuda")
    return StackedEngine(family, options, how.get("halves", halves))


def batch_on(device: torch.device, seed: int) -> Batch:
    """Sparse sums of random directions."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.randn(200, D, generator=torch.Generator().manual_seed(0))
    shape = scale_of(device).batch, 200
    codes = torch.rand(shape, generator=random) * (torch.rand(shape, generator=random) < 0.05)
    x = (codes @ directions).to(device)
    return Batch(x, x)


@contextmanager
def poisoned() -> Iterator[None]:
    """Memory that nobody wrote holds NaN, so that a sum that reads it is seen."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    before, torch.utils.deterministic.fill_uninitialized_memory = (
        torch.utils.deterministic.fill_uninitialized_memory, True,
    )  # fmt: skip
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = before
        torch.use_deterministic_algorithms(False)


def gradients(device: torch.device) -> dict[str, Any]:
    """Relative error of every gradient of every architecture to autograd's in float64 on the CPU.

    In bfloat16 a TopK kind chooses another latent where two are within rounding: a few rows differ whole.
    """
    found: dict[str, Any] = {}
    for name in ARCHITECTURES:
        for half in (False, True):
            with poisoned():
                errors = _errors(device, name, half)
            key = f"{name}, {'bfloat16' if half else 'float32'}"
            limit = 1e-3 if not half else 0.3 if architecture(name).setting_name == "k" else 0.05
            found[key] = errors | {"right": max(errors.values()) < limit}
    return found


def _errors(device: torch.device, name: str, half: bool) -> dict[str, float]:
    scale = scale_of(device)
    ours, oracle = (
        engine_on(device, name, half),
        engine_on(torch.device("cpu"), name, halves=None, scale=scale),
    )
    oracle.family.parameters = {k: v.double() for k, v in oracle.family.parameters.items()}
    oracle.family.state = {k: v.double() for k, v in oracle.family.state.items()}
    given = batch_on(device, UNTIED)
    wanted = Batch(*(t.cpu().double() for t in (given.input, given.input)))

    def step(engine: StackedEngine, batch: Batch) -> Any:
        knobs = Knobs(engine.settings, engine.settings.new_ones(()), 3, scale.steps, engine.largest, False)
        return engine._closed(batch, knobs) if engine.fast else engine._by_autograd(batch, knobs)

    found, exact = step(ours, given).gradients, step(oracle, wanted).gradients
    return {
        k: float((found[k].cpu().double() - g).norm() / g.norm().clamp_min(1e-12)) for k, g in exact.items()
    }


def _trained(engine: StackedEngine, device: torch.device, first: int, last: int) -> StackedEngine:
    for step in range(first, last):
        engine.step(batch_on(device, step), step)
    return engine


def _differences(one: StackedEngine, other: StackedEngine) -> list[str]:
    pairs = zip(one.family.parameters.items(), other.family.parameters.values(), strict=True)
    return [name for (name, a), b in pairs if not torch.equal(a, b)]


def graphs(device: torch.device) -> dict[str, Any]:
    """Parameters that differ in a bit between recorded steps and eager ones."""
    found, steps = {}, scale_of(device).steps
    for name in ARCHITECTURES:
        eager = engine_on(device, name)
        eager.recorded = None
        found[name] = _differences(
            _trained(engine_on(device, name), device, 0, steps), _trained(eager, device, 0, steps)
        )
    return found | {"right": not any(found.values())}


def resumed(device: torch.device) -> dict[str, Any]:
    """Parameters that differ in a bit between a run and one that was stopped amid its graph and resumed."""
    found, steps = {}, scale_of(device).steps
    for name in ARCHITECTURES:
        whole, half = engine_on(device, name), engine_on(device, name)
        _trained(whole, device, 0, steps)
        _trained(half, device, 0, steps // 2)
        again = engine_on(device, name)
        kept = {k: v.clone() for k, v in (half.family.tensors() | half.tensors()).items()}
        again.family.load_tensors(kept)
        again.load_tensors(kept)
        found[name] = _differences(whole, _trained(again, device, steps // 2, steps))
    return found | {"right": not any(found.values())}


def questions(device: torch.device) -> dict[str, Any]:
    """Steps under `set_sync_debug_mode("error")`: what asked the device for a value, by architecture."""
    found: dict[str, Any] = {}
    for name in ARCHITECTURES:
        engine, batches = (
            engine_on(device, name),
            [batch_on(device, s) for s in range(scale_of(device).steps)],
        )
        engine.step(batches[0], 0)  # sends the schedule, and looks once at how long latents were silent
        try:
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("error")
            for step, batch in enumerate(batches[1:], start=1):
                engine.step(batch, step)
            found[name] = None
        except RuntimeError as error:
            found[name] = str(error).splitlines()[0]
        finally:
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")
    return found | {"right": not any(found.values())}
