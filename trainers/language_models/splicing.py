"""Reading and replacing activations inside a foreign model: hooks, early stop, modules held constant."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from trainers.language_models.sites import Site, SiteError

Work = TypeVar("Work", bound=Callable[..., Any])
_PASSES = threading.RLock()


def alone(work: Work) -> Work:
    """Passes of language models, which patch modules for their duration: one thread at a time."""

    @wraps(work)
    def waiting(*given: Any, **named: Any) -> Any:
        with _PASSES:
            return work(*given, **named)

    return cast(Work, waiting)


class _AllSeen(Exception):
    """Raised inside a forward pass once every site has been read; never leaves this file."""


Change = Callable[[Tensor], Tensor | None]
"""Sees an activation `[B, T, width]`; returns what takes its place, or None to leave it."""


@contextmanager
def hooked(model: nn.Module, site: Site, change: Change, shape: tuple[int, ...]) -> Iterator[None]:
    """A context in which every forward pass shows the site's activation to `change`.

    `shape` is the `[B, T]` of the tokens: some models (OPT) flatten it away before the MLP.
    """
    state: dict[str, Tensor] = {}

    def shown(found: Tensor) -> Tensor | None:
        value = _unflattened(found, shape, site)
        new = change(value)
        if new is None:
            return None
        if site.rejoin:
            state["added"] = new - value
        return new.to(found.dtype).reshape(found.shape)

    with ExitStack() as stack:
        module = model.get_submodule(site.module)
        if site.kind == "output":
            handle = module.register_forward_hook(lambda _m, _a, output: _output(shown, output, site))
        else:
            handle = module.register_forward_pre_hook(
                lambda _m, args, kwargs: _input(shown, args, kwargs, site), with_kwargs=True
            )
        stack.callback(handle.remove)
        if site.rejoin:
            block = model.get_submodule(site.rejoin)
            stack.callback(block.register_forward_hook(lambda _m, _a, output: _added(state, output)).remove)
        yield


@contextmanager
def replaced(
    model: nn.Module, site: Site, new: Tensor, keep: Tensor, shape: tuple[int, ...]
) -> Iterator[None]:
    """A context in which every part of a site has its new activation where `keep [B, T, 1]`.

    Elsewhere a part keeps what it has in that pass, which the parts before it may have changed.
    """
    own = site.split(new)
    with ExitStack() as stack:
        # What rejoins the output of a block is added before a part replaces that output.
        for part in sorted(site.places, key=lambda p: p.rejoin is None):
            stack.enter_context(hooked(model, part, partial(merged, own[part.name], keep, part.name), shape))
        yield


def read(
    run: Callable[[], Any], model: nn.Module, sites: dict[str, Site], shape: tuple[int, ...]
) -> dict[str, Tensor]:
    """Activations `[B, T, width]` at several sites; the forward pass `run` stops after the last of them."""
    found: dict[str, Tensor] = {}

    def note(name: str) -> Change:
        def change(value: Tensor) -> None:
            found[name] = value.detach().clone()  # a later step of the model may work in place
            if len(found) == len(sites):
                raise _AllSeen

        return change

    with ExitStack() as stack, torch.no_grad():
        for name, site in sites.items():
            stack.enter_context(hooked(model, site, note(name), shape))
        try:
            run()
        except _AllSeen:
            pass
    missing = [n for n in sites if n not in found]
    if missing:
        raise SiteError(f"site {missing[0]!r} is never reached: its module does not run in a forward pass")
    return {name: found[name] for name in sites}


@contextmanager
def constant(outputs: dict[nn.Module, Any]) -> Iterator[None]:
    """A context in which these modules return what they are given here, and compute nothing."""
    own = {module: module.__dict__.get("forward") for module in outputs}
    try:
        for module, output in outputs.items():
            module.forward = lambda *_args, _output=output, **_kwargs: _output
        yield
    finally:
        for module, forward in own.items():
            del module.forward
            if forward is not None:
                module.forward = forward


@contextmanager
def recorded(modules: list[nn.Module], into: dict[nn.Module, Any]) -> Iterator[None]:
    """A context in which the outputs of these modules are put into a dict, as they are."""
    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(lambda m, _a, out: into.__setitem__(m, out)).remove)
        yield


def with_first(output: Any, new: Tensor) -> Any:
    """A module's output with its first tensor replaced."""
    return (new, *output[1:]) if isinstance(output, tuple) else new


def merged(new: Tensor, keep: Tensor, site: str, old: Tensor) -> Tensor:
    """The new activation where `keep [B, T, 1]`, the old one elsewhere."""
    if tuple(new.shape) != tuple(old.shape):
        raise SiteError(f"the replacement at {site} has shape {tuple(new.shape)}; wanted {tuple(old.shape)}")
    return torch.where(keep, new.to(old.device, old.dtype), old)


class Splice:
    """One batch of tokens, cut open at one site: the clean run is kept, and only what follows is run again.

    A joined site is cut open at all its parts at once.

    `value` is the clean activation `[B, T, width]`, `logits` the clean logits `[B, T, V]`. Calling it with a
    new activation gives the same logits as `LanguageModel.spliced_logits`.

    Notes
    -----
    Blocks before the site's (of parts: the first), attention where it ran before the site, and the module of
    a plain site whose output is replaced are not computed again. In families of models that are not in the
    table of sites every call is a full pass.
    """

    @alone
    def __init__(self, model: Any, tokens: Tensor, site: Site) -> None:
        self._model, self._tokens, self._site = model, tokens, site
        self._keep = model.counted(tokens)[..., None]
        self._modules = [model.model.get_submodule(p.module) for p in site.places]
        record: dict[nn.Module, Any] = {}
        values: dict[str, Tensor] = {}
        reached: list[nn.Module] = []

        def note(name: str, value: Tensor) -> None:
            if not values:
                reached.extend(record)  # what was complete when the first part was reached
            values[name] = value.detach().clone()

        blocks, attention = self._skippable()
        shape = tuple(tokens.shape)
        with torch.no_grad(), ExitStack() as stack:
            stack.enter_context(recorded([*blocks, *attention, *self._modules], record))
            for part in site.places:
                stack.enter_context(hooked(model.model, part, partial(note, part.name), shape))
            self.logits = model._logits(tokens)
        self.value = site.beside(values)
        self._own = record[self._modules[0]] if site.kind == "output" else None
        self._before = {m: record[m] for m in attention if m in reached and m not in self._modules}
        self._before |= dict.fromkeys(blocks, record[blocks[-1]] if blocks else None)

    @alone
    def __call__(self, new: Tensor) -> Tensor:
        """Logits `[B, T, V]` with the new activation at the counted positions."""
        model, shape = self._model.model, tuple(self._tokens.shape)
        if self._own is not None:
            new = merged(new, self._keep, self._site.name, self.value)
            first = self._own[0] if isinstance(self._own, tuple) else self._own
            own = {self._modules[0]: with_first(self._own, new.to(first.dtype).reshape(first.shape))}
            with constant(self._before | own):
                return self._model._logits(self._tokens)
        with constant(self._before), replaced(model, self._site, new, self._keep, shape):
            return self._model._logits(self._tokens)

    def _skippable(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """Blocks before the first part's, and the attention of that block (to skip if it ran first)."""
        layout, layers = self._model._layout, [p.layer for p in self._site.places if p.layer is not None]
        if layout is None or len(layers) < len(self._site.places):
            return [], []
        layer = min(layers)
        blocks = list(self._model.model.get_submodule(layout.blocks))
        return blocks[:layer], [blocks[layer].get_submodule(layout.attention)]


def _output(shown: Change, output: Any, site: Site) -> Any:
    first = output[0] if isinstance(output, tuple) else output
    if not isinstance(first, Tensor):
        raise SiteError(f"site {site.name!r}: {site.module} returns {type(first).__name__}, wanted a tensor")
    new = shown(first)
    return None if new is None else with_first(output, new)


def _input(shown: Change, args: tuple, kwargs: dict[str, Any], site: Site) -> tuple[tuple, dict] | None:
    """The first positional input, or the one called hidden_states."""
    key = next((k for k in ("hidden_states", "x", "input") if k in kwargs), None)
    first = args[0] if args else kwargs.get(key) if key else None
    if not isinstance(first, Tensor):
        raise SiteError(f"site {site.name!r}: {site.module} has no input that is a tensor of activations")
    new = shown(first)
    if new is None:
        return None
    return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, str(key): new})


def _added(state: dict[str, Tensor], output: Any) -> Any:
    if "added" not in state:
        return None
    first = output[0] if isinstance(output, tuple) else output
    return with_first(output, first + state.pop("added").to(first.dtype))


def _unflattened(value: Tensor, shape: tuple[int, ...], site: Site) -> Tensor:
    if value.ndim == 2 and value.shape[0] == shape[0] * shape[1]:
        value = value.view(*shape, -1)
    if value.ndim != 3 or tuple(value.shape[:2]) != tuple(shape) or not value.is_floating_point():
        raise SiteError(
            f"site {site.name!r} ({site.kind} of {site.module}) has shape {tuple(value.shape)}; "
            f"wanted activations [batch {shape[0]}, tokens {shape[1]}, width]"
        )
    return value
