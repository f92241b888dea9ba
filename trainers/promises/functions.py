"""Promises of an architecture's functions, on weights near their start, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainers.architectures import Losses, Parameters
from trainers.architectures.named_code import line_of
from trainers.evaluate.tally import OTHER_COLUMNS
from trainers.promises import lines
from trainers.promises.case import SIZE, STEPS, TOKENS, WIDTH, BrokenError, Case, differs, stacked


def starts(case: Case) -> None:
    """`start` gives named float tensors, the same for the same seed, with the rows of a decoder."""
    kind = case.kind
    first, again = (kind.start(WIDTH, WIDTH, SIZE, case.means, 3) for _ in range(2))
    if not isinstance(first, dict) or not all(isinstance(v, Tensor) for v in first.values()):
        raise BrokenError("start has to return a dict of tensors", "start")
    for name, value in first.items():
        if value.dtype != torch.float32 or not bool(torch.isfinite(value).all()):
            raise BrokenError(f"{name} must be finite float32, is {_kind_of(value)}", "start")
        if not torch.equal(value, again[name]):
            raise BrokenError(f"{name} differs between two starts with the same seed", "start")
    _shape(first.get(kind.decoder), (SIZE, WIDTH), f"{kind.decoder} (decoder rows [F, d_out])", "start")
    _shape(first.get("b_dec"), (WIDTH,), "b_dec [d_out]", "start")
    if (widths := kind.widths(first)) != (WIDTH, SIZE, WIDTH):
        raise BrokenError(f"widths must be {(WIDTH, SIZE, WIDTH)} (d_in, F, d_out), are {widths}", "widths")
    for name in (*kind.estimated,):
        if name not in first:
            raise BrokenError(f"`estimated` names {name!r}, which start does not give", "start")


def shapes(case: Case) -> None:
    """Loss, codes, reconstruction and state have their shapes, for one member and for a stack."""
    kind, x = case.kind, case.batch(0, torch.float64)
    parts = [case.weights(i) for i in range(3)]
    settings = torch.tensor(case.settings, dtype=torch.float64)
    states = stacked([case.state() for _ in parts])
    for of, front in (("one member", ()), ("a stack of three", (3,))):
        if front:
            found = case.loss(stacked(parts), x, settings, state=states, largest=max(case.settings))
        else:
            found = case.loss(parts[1], x, case.settings[1])
        if not isinstance(found, Losses):
            raise BrokenError(
                f"loss has to return Losses(total, latents, reconstruction, state), not {found!r:.60}"
            )
        _shape(found.total, front, f"total of {of}")
        _shape(found.latents, (*front, TOKENS, SIZE), f"latents of {of} [B, F]")
        _shape(found.reconstruction, (*front, TOKENS, WIDTH), f"reconstruction of {of} [B, d_out]")
        for name, value in found.state.items():
            if name not in states:
                raise BrokenError(f"loss changes a state {name!r} that `state` does not begin")
            _shape(value, (*front, *states[name].shape[1:]), f"state {name!r} of {of}")
    ready = kind.inference(parts[1], case.state(), case.settings[1])
    f = kind.encode(ready, x)
    _shape(f, (TOKENS, SIZE), "codes [B, F]", "encode")
    _shape(kind.decode(ready, f), (TOKENS, WIDTH), "reconstruction [B, d_out]", "decode")
    for name, values in kind.metrics(ready, x, f, x).items():
        if name in OTHER_COLUMNS:
            raise BrokenError(f"metric {name!r} is a column of the table already; name it anew", "metrics")
        _shape(values, (TOKENS,), f"metric {name!r}, a value per token", "metrics")


def keeps_state(case: Case) -> None:
    """Every state that `state` begins is given back by the loss, at some step of a run."""
    names, x = case.kind.state(SIZE).keys(), case.batch(0, torch.float64)
    given: set[str] = set()
    for step in range(STEPS):
        given |= case.loss(case.weights(), x, case.settings[1], step).state.keys()
    if lost := [name for name in names if name not in given]:
        raise BrokenError(
            f"loss does not return state {lost[0]!r}, which `state` begins, so that it stays as it was; its "
            "new value belongs into Losses(total, latents, reconstruction, state)"
        )


def keeps_the_sign(case: Case) -> None:
    """Codes are 0 or above, in training and trained, where the class does not say `signed`."""
    if case.kind.signed:
        return
    for i, setting in enumerate(case.settings):
        p, x = case.weights(i), case.batch(i, torch.float64)
        with torch.no_grad():
            ready = case.kind.inference(p, case.state(), setting)
            codes = {"loss": case.loss(p, x, setting).latents, "encode": case.kind.encode(ready, x)}
        for method, f in codes.items():
            if (least := float(f.min())) < 0:
                raise BrokenError(
                    f"a code of {method} is {least:.3g}, below 0, and `signed` is False: what is done to "
                    "trained SAEs takes it for 0; say signed = True in the class, or end with .relu()",
                    method,
                )


def tokens_independent(case: Case) -> None:
    """What a trained SAE makes of a token does not hang on the tokens beside it."""
    kind, x = case.kind, case.batch(0, torch.float64)
    with torch.no_grad():
        ready = kind.inference(case.weights(), case.state(), case.settings[1])
        whole = kind.decode(ready, kind.encode(ready, x))
        alone = torch.cat([kind.decode(ready, kind.encode(ready, one)) for one in x.split(1)])
    if not torch.allclose(whole, alone, rtol=1e-9, atol=1e-9, equal_nan=True):
        raise BrokenError(
            "the reconstruction of a token changes with the tokens beside it; choose over a batch in `loss` "
            "alone, and let `inference` give `encode` a threshold",
            "encode",
        )


def changes_nothing(case: Case) -> None:
    """Loss, encode and decode leave their arguments as they are: activations are shared by all members."""
    p, x, state = case.weights(), case.batch(0, torch.float64), case.state()
    leaves = {k: v.clone().requires_grad_() for k, v in p.items()}
    given = {f"parameter {k}": v.detach() for k, v in leaves.items()}
    given |= {f"state {k}": v for k, v in state.items()} | {"the activations": x}
    before = {k: v.clone() for k, v in given.items()}
    file = lines.file_of(type(case.kind))
    with lines.Changes(given, file) as watch:
        case.loss(leaves, x, case.settings[1], state=state)
        with torch.no_grad():
            ready = case.kind.inference({k: v.detach() for k, v in leaves.items()}, state, case.settings[1])
            case.kind.decode(ready, case.kind.encode(ready, x))
    changed = [k for k, v in before.items() if not torch.equal(v, given[k])]
    if name := next(iter([*watch.found, *changed]), None):
        raise BrokenError(f"{name} is changed in place; make a new tensor", "loss", watch.found.get(name))


def asks_no_device(case: Case) -> None:
    """A step works on tensors without values: nothing is read back, nothing is made on another device.

    On a GPU a question (`if tensor`, `.item()`, `.tolist()`, `nonzero`) waits for all work before it.
    """
    parts = [case.weights(i) for i in range(3)]
    far = {k: v.to("meta").requires_grad_() for k, v in stacked(parts).items()}
    state = {k: v.to("meta") for k, v in stacked([case.state() for _ in parts]).items()}
    x, settings = case.batch(0, torch.float64).to("meta"), torch.tensor(case.settings, dtype=torch.float64)
    ramp = torch.ones((), dtype=torch.float64, device="meta")
    largest = max(case.settings)
    try:
        found = case.loss(far, x, settings.to("meta"), state=state, ramp=ramp, largest=largest)
        torch.autograd.grad(found.total.sum(), list(far.values()), allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        line = line_of(error, lines.file_of(type(case.kind)))
        raise BrokenError(
            f"the step asks the device for a value, or mixes devices: {error}", "loss", line
        ) from error


def steps_alike(case: Case) -> None:
    """A class that says `steps_alike` does not look at the step, so that a GPU may replay a recorded one."""
    if not case.kind.steps_alike:
        return
    parts, x = case.weights(1), case.batch(0, torch.float64)
    first = case.loss(parts, x, case.settings[1]).total
    for step in (1, STEPS // 2, STEPS - 1):
        if not torch.equal(case.loss(parts, x, case.settings[1], step=step).total, first):
            raise BrokenError(f"steps_alike is said, and the loss differs between step 0 and step {step}")


def gradients(case: Case) -> None:
    """Gradients are the slopes of the loss, but of the parameters that `estimated` names."""
    p = {k: v.requires_grad_() for k, v in case.weights().items()}
    x, setting = case.batch(0, torch.float64), case.settings[1]
    found = torch.autograd.grad(case.loss(p, x, setting).total, list(p.values()), allow_unused=True)
    random = torch.Generator().manual_seed(5)
    for (name, value), gradient in zip(p.items(), found, strict=True):
        if name in case.kind.estimated:
            continue
        gradient = torch.zeros_like(value) if gradient is None else gradient
        for _ in range(2):
            along = torch.randn(value.shape, generator=random, dtype=torch.float64)
            with torch.no_grad():
                ends = [case.loss(p | {name: value + e * along}, x, setting).total for e in (1e-6, -1e-6)]
            slope, given = float(ends[0] - ends[1]) / 2e-6, float((gradient * along).sum())
            if not abs(slope - given) <= 1e-4 * max(abs(slope), abs(given)) + 1e-6:
                raise BrokenError(
                    f"the gradient of {name} is {given:.4g} along a direction in which the loss rises by "
                    f'{slope:.4g}; if that is meant (straight-through, detached): estimated = ("{name}",)'
                )


def members_independent(case: Case) -> None:
    """A stack gives every member what it has alone: loss, gradients, state; and nothing is remembered."""
    parts, x = [case.weights(i) for i in range(3)], case.batch(0, torch.float64)
    states = stacked([case.state() for _ in parts])
    settings = torch.tensor(case.settings, dtype=torch.float64)
    together = _answer(case, stacked(parts), x, settings, states, largest=max(case.settings))
    for m, (part, setting) in enumerate(zip(parts, case.settings, strict=True)):
        alone = _answer(case, part, x, setting, case.state())
        again = _answer(case, part, x, setting, case.state())
        for name, value in alone.items():
            if not torch.equal(value, again[name]):
                raise BrokenError(f"{name} differs between two calls with the same arguments")
            off = differs(together[name][m], value, 1e-8)
            if off is not None:
                raise BrokenError(
                    f"{name} of a member in a stack differs by {off:.3g} from what it has alone"
                )


def _answer(
    case: Case, p: Parameters, x: Tensor, setting: Any, state: Parameters, **more: Any
) -> Mapping[str, Tensor]:
    """Loss, gradients and new state under their names."""
    leaves = {k: v.clone().requires_grad_() for k, v in p.items()}
    found = case.loss(leaves, x, setting, state=state, **more)
    grads = torch.autograd.grad(found.total.sum(), list(leaves.values()), allow_unused=True)
    named = {
        f"the gradient of {k}": torch.zeros_like(v) if g is None else g
        for (k, v), g in zip(leaves.items(), grads, strict=True)
    }
    return {"the loss": found.total.detach()} | named | {f"state {k}": v for k, v in found.state.items()}


def _shape(value: Any, wanted: tuple[int, ...], name: str, method: str = "loss") -> None:
    if not isinstance(value, Tensor):
        raise BrokenError(f"{name} must be a tensor, is {type(value).__name__}", method)
    if tuple(value.shape) != wanted:
        raise BrokenError(f"{name} must have shape {list(wanted)}, has {list(value.shape)}", method)


def _kind_of(value: Tensor) -> str:
    return str(value.dtype) if value.dtype != torch.float32 else "not finite"
