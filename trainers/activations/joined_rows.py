"""Rows of several sites side by side, where no language model reads them: what crosscoders of files see."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from frontier.wording import listed
from trainers.activations.stored import StoredActivations
from trainers.language_models.sites import JOINED, Site, joined
from trainers.text import TextError


class JoinedActivations(StoredActivations):
    """Rows of several sites, row i of each beside row i of the others, as one joined site.

    Parameters
    ----------
    parts : sequence of StoredActivations
        Each with a `site` of its own; of as many rows, on one device. No stores.

    Raises
    ------
    TextError, SiteError
        If rows or windows differ in number, or one is a store; if two parts have one site.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).standard_normal((256, 4)).astype(np.float32)
    >>> early, late = (StoredActivations(r, site=s) for r, s in ((rows, "layer.1"), (2 * rows, "layer.2")))
    >>> JoinedActivations([early, late]).site("").name
    'layer.1+layer.2'
    """

    def __init__(self, parts: Sequence[StoredActivations]) -> None:
        self.parts, first = list(parts), parts[0]
        for part in self.parts:
            if not part.cut:  # its windows are those of the held-out rows alone
                raise TextError(
                    f"{part!r} is a store, and cannot be joined; give the files of rows themselves"
                )
        for other in self.parts[1:]:
            unlike = {
                "rows": (len(first), len(other)),
                "rows a window": (first.context_length, other.context_length),
                "rows a window of the files": (first.inner, other.inner),
            }
            for what, (ours, theirs) in unlike.items():
                if ours != theirs:
                    raise TextError(
                        f"{first.text} has {ours:,} {what}, {other.text} {theirs:,}; joined sites have row "
                        "for row the same items"
                    )
        self._site = joined([part.site("") for part in self.parts])
        self.device, self.context_length = first.device, first.context_length
        self.name = JOINED.join(dict.fromkeys(part.name for part in self.parts))
        self.text = listed([part.text for part in self.parts])
        self.revision = hashlib.sha256("".join(p.revision for p in self.parts).encode()).hexdigest()[:12]
        self.files = {f"{p.site('').name}: {name}": d for p in self.parts for name, d in p.files.items()}

    def __repr__(self) -> str:
        return f"JoinedActivations({len(self):,} rows of {self._site.width} at {self._site.name})"

    def __len__(self) -> int:
        return len(self.parts[0])

    @property
    def inner(self) -> int:
        """Rows of one window of the files, 1 where they have none."""
        return self.parts[0].inner

    def item_start(self, row: int) -> int:
        """The first row of the item that a row is of."""
        return min(part.item_start(row) for part in self.parts)

    def site(self, name: str) -> Site:
        """A part by its name, else the joined site, whatever it is called."""
        return next((p.site("") for p in self.parts if p.site("").name == name), self._site)

    def capture(self, tokens: Tensor, sites: Sequence[str]) -> dict[str, Tensor]:
        """The rows of these numbers, `[batch, T, width]`, of each part that is named, else of all."""
        own = {p.site("").name: p.capture(tokens, [""])[""] for p in self.parts}
        whole = torch.cat(list(own.values()), dim=-1)
        return {name: own.get(name, whole) for name in sites}
