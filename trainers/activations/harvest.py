"""Activations of a text, harvested in fixed chunks of windows, the same to the last bit whoever asks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from frontier.wording import listed
from trainers.activations.sources import TokenWindows
from trainers.language_models.left_out import LeftOut

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

CHUNK_TOKENS = 4096
"""Tokens that the language model reads at a time."""

Rows = tuple[Tensor, Tensor | None]
"""Input activations `[n, d_in]` and target activations `[n, d_out]` (None: the target is the input)."""


class Harvest:
    """Activations at one site, or at an input and a target site, chunk by chunk.

    Windows are shuffled once, with a seed that never changes, and cut into chunks. A chunk is always the same
    windows in one forward pass: alone or with others, on one process or many, live or cached, its activations
    are the same to the last bit (on the same machine with the same number of threads).

    Parameters
    ----------
    chunk_tokens : int
        About so many tokens per forward pass; at least one window.
    dtype : torch.dtype
        What activations are stored in.
    counted : Tensor, optional
        Of another harvest of these windows, where counting costs passes of the model.
    shuffled : bool
        Windows keep their order without.
    """

    ahead = 0
    """Chunks that are read while another is used."""

    def __init__(
        self,
        model: Any,
        windows: TokenWindows,
        site: str,
        target_site: str | None = None,
        *,
        chunk_tokens: int = CHUNK_TOKENS,
        dtype: torch.dtype = torch.float32,
        counted: Tensor | None = None,
        shuffled: bool = True,
    ) -> None:
        self.model, self.windows, self.dtype = model, windows, dtype
        self.site = model.site(site)
        self.target_site = None if target_site is None else model.site(target_site)
        if self.target_site is not None and self.target_site.name == self.site.name:
            self.target_site = None
        self.d_in = self.site.width
        self.d_out = self.d_in if self.target_site is None else self.target_site.width
        order = torch.arange(len(windows.tokens))
        if shuffled:
            order = torch.randperm(len(windows.tokens), generator=torch.Generator().manual_seed(0))
        self._chunks = order.split(max(1, chunk_tokens // windows.tokens.shape[1]))
        if counted is None:
            counted = _counted(model, windows.tokens, self._chunks)
        self.counted = counted
        """Which tokens of the windows give a row `[n, T]`."""
        per_window = counted.sum(1)
        self.rows = [int(per_window[chunk].sum()) for chunk in self._chunks]
        """Activations per chunk."""
        self.bytes_per_row = (self.d_in + (self.d_out if self.target_site else 0)) * dtype.itemsize

    def __len__(self) -> int:
        return len(self._chunks)

    @property
    def total_rows(self) -> int:
        """Activations of the whole text."""
        return sum(self.rows)

    @property
    def names(self) -> list[str]:
        """The sites that are read."""
        return [s.name for s in (self.site, self.target_site) if s is not None]

    def tokens_of(self, chunk: int) -> Tensor:
        """The windows of one chunk `[n, T]` int64."""
        return self.windows.tokens[self._chunks[chunk]].long()

    def read(self, chunk: int) -> Rows:
        """The activations of one chunk, counted positions only, on the model's device."""
        return read_together([self], chunk)[0]

    def counted_rows(self, chunk: int, found: Mapping[str, Tensor]) -> Rows:
        """Of the activations `[n, T, width]` of a chunk by site, those at counted positions."""
        places = self.counted[self._chunks[chunk]].flatten().nonzero()[:, 0].to(self.model.device)
        rows = [found[name].flatten(0, 1).index_select(0, places).to(self.dtype) for name in self.names]
        return rows[0], rows[1] if len(rows) == 2 else None

    def windows_of(self, chunk: int) -> list[int]:
        """The windows of the text that a chunk holds."""
        return self._chunks[chunk].tolist()

    def identity(self) -> dict[str, Any]:
        """What decides the activations, as JSON; two harvests with the same identity give the same rows."""
        tokens = hashlib.sha256(self.windows.tokens.numpy().tobytes())
        tokens.update(self.counted.numpy().tobytes())
        out = getattr(self.model, "left_out", None)
        return {
            "model": self.model.name,
            "revision": self.model.revision,
            "model_dtype": _name(self.model.dtype),
            "site": self.site.name,
            "target_site": self.target_site.name if self.target_site else None,
            "text": self.windows.text,
            "tokens_hash": tokens.hexdigest()[:16],
            "windows": len(self.windows.tokens),
            "context_length": self.windows.tokens.shape[1],
            "chunk_windows": len(self._chunks[0]),
            "activations": self.total_rows,
            "dtype": _name(self.dtype),
        } | ({"left_out": str(out)} if out else {})


def _counted(model: Any, tokens: Tensor, chunks: Sequence[Tensor]) -> Tensor:
    """Which tokens count; where that costs passes of the model, each process looks at its share of chunks."""
    dear = bool(getattr(model, "left_out", LeftOut()).norms)
    together = dear and dist.is_available() and dist.is_initialized()
    rank, world = (dist.get_rank(), dist.get_world_size()) if together else (0, 1)
    found = torch.zeros(tokens.shape, dtype=torch.uint8)
    for chunk in chunks[rank::world]:
        found[chunk] = model.counted(tokens[chunk].long()).to(found)
    if together:
        sent = found.to(carrier(model.device))
        dist.all_reduce(sent)
        found = sent.cpu()
    return found.bool()


def read_together(harvests: Sequence[Harvest], chunk: int) -> list[Rows]:
    """One chunk of several harvests of the same windows, in one pass of the language model."""
    first = harvests[0]
    if first.ahead:  # of a store
        return [h.read(chunk) for h in harvests]
    names = list(dict.fromkeys(name for h in harvests for name in h.names))
    found = first.model.capture(first.tokens_of(chunk), names)
    return [h.counted_rows(chunk, found) for h in harvests]


class ActivationError(ValueError):
    """Activations that cannot be used, or a stream that cannot go on."""


def distinct_sites(model: Any, names: Sequence[str]) -> list[str]:
    """The sites of a model under the names that it gives them.

    Raises
    ------
    ActivationError
        If there is none, or two names are of one place.
    """
    found = [model.site(name).name for name in names]
    for name, place in zip(names, found, strict=True):
        if found.count(place) > 1:
            also = [n for n, p in zip(names, found, strict=True) if p == place]
            raise ActivationError(f"sites name {place} twice ({listed(also)}); leave {name} out once")
    if not found:
        raise ActivationError("no site is named")
    return found


def check_finite(harvest: Harvest, chunks: Sequence[int], input: Tensor, target: Tensor | None) -> None:
    """Nothing, if all activations of a buffer are finite; one synchronisation for the whole buffer.

    Raises
    ------
    ActivationError
        Names the site, the chunk and its first windows.
    """
    named = [(harvest.site.name, input)]
    if harvest.target_site is not None and target is not None:
        named.append((harvest.target_site.name, target))
    sizes = [harvest.rows[c] for c in chunks]
    for name, rows in named:
        finite = torch.stack([part.isfinite().all() for part in rows.split(sizes)]).tolist()
        if not all(finite):
            place = finite.index(False)
            part = rows.split(sizes)[place]
            windows = harvest.windows_of(chunks[place])[:4]
            hint = "" if harvest.dtype == torch.float32 else f" (or too large for {_name(harvest.dtype)})"
            raise ActivationError(
                f"activations of {name} are not finite{hint}: {int((~part.isfinite()).sum()):,} of "
                f"{part.numel():,} values in chunk {chunks[place]} of {harvest.windows.text} "
                f"(windows {', '.join(map(str, windows))}, ...); {finite.count(False)} of {len(finite)} "
                "chunks of this buffer are affected"
            )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def carrier(device: torch.device) -> torch.device:
    """Where tensors have to be for a broadcast: NCCL carries only those on a GPU, gloo those on the CPU."""
    nccl = device.type == "cuda" and "nccl" in str(dist.get_backend_config())
    return device if nccl else torch.device("cpu")
