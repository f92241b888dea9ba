"""Activations that lie in files: arrays of rows, which stand where a language model stands.

A row's number is its token. Harvest, shuffling, caching, resume, the split and the evaluation's windows are
then those of text: a window is `ROWS` rows that lie together, and the last sixteenth of the rows is for
evaluation. What needs predictions (cross-entropy, KL) is missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from frontier.wording import listed, plural
from trainers.language_models.left_out import LeftOut
from trainers.language_models.sites import Site
from trainers.text import TextError

ROWS = 64
"""Rows that are read together, and held out together, where nothing else is said."""
MOST = 2**31 - 1
"""Rows, as windows number them in 32 bits."""
ENDINGS = (".npy", ".safetensors")
WANTED = "activations"
"""Name of the tensor in a safetensors file that holds several."""
MANIFEST = "store.json"
"""In a folder that is a store (`store`)."""
SAMPLED = 64
"""Pieces of a large file that its digest is made of."""
PIECE = 2**16


class StoredActivations:
    """Rows of activations in `.npy` and `.safetensors` files, `[N, d]` or `[n, T, d]`, one after the other.

    Parameters
    ----------
    files : path or paths
        Files, or folders of them (in the order of their names).
    name : str
        What the model behind them is called in tables.
    site : str
        What the place is called.
    window : int
        Rows that are read, and held out, together.
    device : device
        Where rows are handed over, as float32. Files stay on disk; only rows that are asked for are read.

    Raises
    ------
    TextError
        If a file is missing, torn, of another width than the first, or holds no numbers.
    """

    predicts = False
    """There are no logits behind rows."""
    cut = True
    """The last windows are for evaluation, the others for training."""
    start_token = None
    ignore: tuple[int, ...] = ()
    dtype = torch.float32

    def __init__(
        self,
        files: str | Path | Sequence[str | Path],
        *,
        name: str = "",
        site: str = "activations",
        window: int = ROWS,
        device: str | torch.device = "cpu",
    ) -> None:
        places = _places(files)
        self.device = torch.device(device)
        self._parts = [_opened(p) for p in places]
        self.name = name or (Path(files) if isinstance(files, str | Path) else places[0]).stem
        width = self._parts[0].shape[1]
        for place, part in zip(places, self._parts, strict=True):
            if part.shape[1] != width:
                raise TextError(
                    f"{place} has rows of {part.shape[1]} numbers, {places[0]} of {width}; give files of one "
                    "site together, and each site a run of its own"
                )
        self._edges = np.cumsum([0, *(len(p) for p in self._parts)])
        if len(self) > MOST:
            raise TextError(
                f"{places[0]} ...: {len(self):,} rows, at most {MOST:,} are read; name fewer files"
            )
        self.context_length = window
        self._site = Site(site, "", "output", None, width)
        self.revision = _digest(places)
        self.left_out = LeftOut()
        """Rows that do not count; a run sets what its configuration says."""
        self.text = f"{listed([p.name for p in places], 2)}"

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
        rows = np.empty((len(numbers), self._site.width), dtype=np.float32)
        part = np.searchsorted(self._edges, numbers, side="right") - 1
        for i in np.unique(part):
            own = part == i
            rows[own] = self._parts[i].rows(numbers[own] - self._edges[i])
        found = torch.from_numpy(rows).to(self.device).unflatten(0, tuple(tokens.shape))
        return dict.fromkeys(sites, found)


class _Part:
    """The rows of one file, read when they are asked for."""

    def __init__(self, place: Path, array: Any, shape: Sequence[int], kind: str) -> None:
        if len(shape) not in (2, 3) or kind != "f" or not np.prod(shape):
            raise TextError(
                f"{place} holds an array of shape {tuple(shape)} of {'numbers' if kind == 'f' else kind!r}; "
                "wanted activations [N, d] or [n, T, d] as floating-point numbers"
            )
        self.place, self._array, self.inner = place, array, int(shape[1]) if len(shape) == 3 else 1
        self._bytes = place.stat().st_size
        self.shape = (int(np.prod(shape[:-1])), int(shape[-1]))

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Some rows as float32."""
        if self.place.stat().st_size != self._bytes:
            raise TextError(
                f"{self.place} has another size than when it was opened; start again with whole files"
            )
        outer, inner = np.divmod(numbers, self.inner)
        first, place = np.unique(outer, return_inverse=True)
        found = _floats(self._array, first)[place]
        return found if self.inner == 1 else found[np.arange(len(inner)), inner]


def _floats(array: Any, index: np.ndarray) -> np.ndarray:
    """Rows, in rising order, of an array in memory or of a slice of a safetensors file, and no others."""
    if isinstance(array, np.ndarray):
        return np.asarray(array[index], dtype=np.float32)
    neighbours = np.split(index, np.flatnonzero(np.diff(index) > 1) + 1)
    return torch.cat([array[int(n[0]) : int(n[-1]) + 1].float() for n in neighbours]).numpy()


def _opened(place: Path) -> _Part:
    try:
        if place.suffix == ".npy":
            array = np.load(place, mmap_mode="r", allow_pickle=False)
            return _Part(place, array, array.shape, array.dtype.kind)
        tensors = safe_open(place, framework="pt")
        names = list(tensors.keys())
        if len(names) != 1 and WANTED not in names:
            raise TextError(f"{place} holds {listed(names, 5)}; wanted one tensor, or one named {WANTED!r}")
        piece = tensors.get_slice(WANTED if WANTED in names else names[0])
        return _Part(place, piece, piece.get_shape(), "f" if "F" in piece.get_dtype() else piece.get_dtype())
    except (ValueError, EOFError, OSError, SafetensorError) as error:
        if isinstance(error, TextError):
            raise
        raise TextError(f"{place} cannot be read as an array of activations: {error}") from error


def _places(files: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that are named, those of folders in the order of their names."""
    found: list[Path] = []
    for given in [files] if isinstance(files, str | Path) else files:
        place = Path(given)
        if (place / MANIFEST).is_file():
            raise TextError(f"{place} is a store of activations; name it alone, as one path")
        inside = sorted(p for p in place.iterdir() if p.suffix in ENDINGS) if place.is_dir() else [place]
        if not inside or not all(p.is_file() for p in inside):
            raise TextError(f"no activations at {place}: wanted a file or folder of {' or '.join(ENDINGS)}")
        if wrong := [p for p in inside if p.suffix not in ENDINGS]:
            raise TextError(f"{wrong[0]}: activations are read from {' and '.join(ENDINGS)} files")
        found += inside
    if not found:
        raise TextError("no file of activations is named")
    return found


def _digest(places: Sequence[Path]) -> str:
    """A hash of sizes and of pieces spread evenly over every file, whole where it is small."""
    digest = hashlib.sha256()
    for place in places:
        size = place.stat().st_size
        digest.update(str(size).encode())
        starts = np.unique(np.linspace(0, max(size - PIECE, 0), SAMPLED).astype(np.int64))
        with place.open("rb") as raw:
            for start in starts.tolist() if size > SAMPLED * PIECE else range(0, size, PIECE):
                raw.seek(start)
                digest.update(raw.read(PIECE))
    return digest.hexdigest()
