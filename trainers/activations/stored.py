"""Activations that are there: rows in files, arrays or one's own, which stand where a language model stands.

A row's number is its token. Harvest, shuffling, caching, resume, the split and the evaluation's windows are
then those of text: a window is `ROWS` rows that lie together, and the last sixteenth of the rows is for
evaluation. Of arrays `[n, T, d]` no item has rows on both sides: those of it that would be trained on are not
used. What needs predictions (cross-entropy, KL) is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frontier.wording import listed, plural
from trainers.activations.row_sources import checked_rows, edges_of, sources_of
from trainers.language_models.left_out import LeftOut
from trainers.language_models.sites import JOINED, Site
from trainers.text import TextError

ROWS = 64
"""Rows that are read together, and held out together, where nothing else is said."""
SITE = "activations"
"""What the place is called where nothing is said."""
MOST = 2**31 - 1
"""Rows, as windows number them in 32 bits."""


class StoredActivations:
    """Rows of activations `[N, d]` or `[n, T, d]`, one source after the other.

    Parameters
    ----------
    files : path, array, rows, or a list of them
        Files, or folders of them in the order of their names (`row_files`); arrays of NumPy, torch, Zarr or
        alike; `ComputedRows` and what else has `rows`, `shape` and `inner`.
    name : str
        What the model behind them is called in tables.
    site : str
        What the place is called; of a dataset with several columns, which one.
    window : int
        Rows that are read, and held out, together.
    device : device
        Where rows are handed over, as float32. Files stay on disk; only rows that are asked for are read.
    raw_format : str, optional
        Of files without a header, the numbers of a row or a window: `float16[768]`, `float32[197, 768]`.

    Raises
    ------
    TextError
        If a file is missing, torn, of another width than the first, or holds no numbers; when rows are read,
        if one is not finite or a file has become another.
    """

    predicts = False
    """There are no logits behind rows."""
    cut = True
    """The last windows are for evaluation, the others for training."""
    start_token = None
    ignore: tuple[int, ...] = ()
    dtype = torch.float32
    files: Mapping[str, str]
    """Digests of the sources by their names; none of a store, whose own manifest has them."""
    left_out = LeftOut()
    """Rows that do not count; a run sets what its configuration says."""

    def __init__(
        self,
        files: Any,
        *,
        name: str = "",
        site: str = SITE,
        window: int = ROWS,
        device: str | torch.device = "cpu",
        raw_format: str | None = None,
    ) -> None:
        found = sources_of(files, raw_format, site)
        self.device = torch.device(device)
        self._parts, first = found.parts, found.parts[0]
        self.name = name or Path(files if isinstance(files, str | Path) else found.names[0]).stem
        width = first.shape[1]
        for part in self._parts:
            if part.shape[1] != width:
                raise TextError(
                    f"{part.name} has rows of {part.shape[1]} numbers, {first.name} of {width}; give files "
                    "of one site together, and each site a run of its own"
                )
        self._edges = edges_of(self._parts)
        if len(self) > MOST:
            raise TextError(
                f"{first.name} ...: {len(self):,} rows, at most {MOST:,} are read; name fewer files"
            )
        self.context_length = window
        if JOINED in site:
            raise TextError(
                f"these are rows of one site, not of {site}; JoinedActivations joins rows of several"
            )
        self._site = Site(found.column if site == SITE else site, width=width)
        self.revision, self.files = found.digest, found.files
        self.text = listed(found.names, 2)

    def __repr__(self) -> str:
        return f"StoredActivations({len(self):,} rows of {self._site.width} from {self.text})"

    def __len__(self) -> int:
        return int(self._edges[-1])

    @property
    def inner(self) -> int:
        """Rows of one window of the files, 1 where they have none, or not all the same."""
        found = {part.inner for part in self._parts}
        return found.pop() if len(found) == 1 else 1

    @property
    def vocabulary_size(self) -> int:
        """Rows are numbered from 0."""
        return len(self)

    def windows(self) -> np.ndarray:
        """The numbers of the rows that lie together, `[n, window]`; those of a last, shorter one fall away.

        Raises
        ------
        TextError
            If there is no whole window.
        """
        length = self.context_length
        if len(self) < length:
            raise TextError(f"{self.text}: {len(self):,} rows are less than one window of {length}")
        count = len(self) // length
        return np.arange(count * length, dtype=np.int64).reshape(count, length)

    def item_start(self, row: int) -> int:
        """The first row of the item `[T, d]` that a row is of; the row itself, where there are none."""
        if row >= len(self):
            return row
        part = int(np.searchsorted(self._edges, row, side="right")) - 1
        return row - (row - int(self._edges[part])) % self._parts[part].inner

    def protocol_of(self, text: str, windows: int, length: int) -> str:
        """What so many windows of the held-out rows are called in tables."""
        out = f", {self.left_out} ignored" if self.left_out else ""
        return f"{text}, {plural(windows, 'window')} of {length} rows, files {self.revision[:6]}{out}"

    def site(self, name: str) -> Site:
        """The one place, whatever it is called."""
        return self._site

    def counted(self, tokens: Tensor) -> Tensor:
        """Every row counts that is not left out."""
        kept, out = torch.ones_like(tokens, dtype=torch.bool), self.left_out
        if out.positions:
            places = torch.tensor(out.positions, dtype=tokens.dtype, device=tokens.device)
            kept = ~torch.isin(tokens % self.inner, places)
        if out.norms:
            kept &= out.kept_sizes(self.capture(tokens, list(out.norms))).to(tokens.device)
        return kept

    def capture(self, tokens: Tensor, sites: Sequence[str]) -> dict[str, Tensor]:
        """The rows of these numbers, `[batch, T, d]`, under every name that is asked for."""
        numbers = tokens.cpu().numpy().ravel()
        part = np.searchsorted(self._edges, numbers, side="right") - 1
        if len(self._parts) == 1:
            rows = checked_rows(self._parts[0], numbers)
        else:
            rows = np.empty((len(numbers), self._site.width), dtype=np.float32)
        for i in np.unique(part) if len(self._parts) > 1 else ():
            own = part == i
            rows[own] = checked_rows(self._parts[i], numbers[own] - self._edges[i])
        found = torch.from_numpy(rows).to(self.device).unflatten(0, tuple(tokens.shape))
        return dict.fromkeys(sites, found)
