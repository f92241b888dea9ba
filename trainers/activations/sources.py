"""Windows of tokens to read activations from: text files, token arrays, streamed corpora."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frontier.progress import Callback, reported
from trainers.activations.corpora import StreamedCorpus, corpus_of
from trainers.activations.stored import StoredActivations
from trainers.activations.token_arrays import ARRAY_FILES, checked_array, read_array
from trainers.language_models.left_out import LeftOut
from trainers.text import (
    EVALUATION_SHARE,
    STANDARD_LIBRARY,
    ContentHash,
    TextError,
    TooShortError,
    documents,
    windows,
)

Text = str | Path | Sequence[str | Path] | StreamedCorpus | np.ndarray | Tensor
"""What text may be: `standard-library`, files and folders of text, an `.npy` or `.safetensors` file of token
ids, `datasets:NAME`, a `StreamedCorpus`, or an array of token ids `[n, T]` or `[N]`."""

LONGEST_DEFAULT = 1024
"""Windows are no longer than this unless `context_length` says so."""

SAMPLED_BYTES = 16
"""Bytes per token of a window, of the pieces that a part of a text is made of."""


@dataclass(frozen=True, eq=False)
class TokenWindows:
    """Windows of token ids as the model reads them, start token included."""

    tokens: Tensor
    """[n, T] int32."""
    text: str
    """Name of the text, its split, and the hash of what was read: `standard-library train 1f0e...`."""


def token_windows(
    model: Any,
    text: Text,
    *,
    split: str | None = "train",
    context_length: int | None = None,
    tokens: int | None = None,
    progress: bool | Callback = True,
) -> TokenWindows:
    """The windows of a text, all of them or enough for `tokens` tokens.

    Parameters
    ----------
    model : LanguageModel or StoredActivations
        Gives the tokenizer, the start token and the bounds; stored rows are their own text.
    split : {"train", "evaluation"}, optional
        Files are split by the hash of their path, one file and one array by position (the last sixteenth is
        for evaluation), a streamed corpus by the number of the document. None gives everything.
    context_length : int, optional
        Tokens per window, the start token included; default: the width of a token array `[n, T]`, else what
        the model can read, at most 1024. Rows `[n, T]` are taken as they are; everything else gets the start
        token in front.
    tokens : int, optional
        Use so many tokens. Files are then read in pieces from all over the text, only as many as needed (see
        `documents`); arrays and streamed corpora are used from their beginning.

    Raises
    ------
    TextError
        If the text is missing, or shorter than one window or than `tokens`.
    """
    if tokens is not None and tokens < 1:
        raise TextError(f"tokens must be at least 1, got {tokens}")
    if isinstance(model, StoredActivations):
        return _of_array(model, model.text, model.windows(), split if model.cut else None, None, tokens)
    if isinstance(text, str | Path) and str(text).endswith(ARRAY_FILES):
        name, array = Path(text).name, read_array(Path(text))
    elif isinstance(text, np.ndarray | Tensor):
        name, array = "token array", text
    else:
        length = checked_length(model, context_length or default_length(model))
        return _of_documents(model, text, split, length, tokens, progress)
    return _of_array(model, name, array, split, context_length, tokens)


def is_files(text: Text) -> bool:
    """Whether a text is made of files of characters: no array, no streamed corpus."""
    parts = [text] if isinstance(text, str | Path) else text
    if not isinstance(parts, Sequence):
        return False
    return all(corpus_of(p) is None and not str(p).endswith(ARRAY_FILES) for p in parts)


def default_length(model: Any) -> int:
    """Tokens per window where nothing is said: what the model can read, at most 1024."""
    return min(model.context_length, LONGEST_DEFAULT)


def checked_length(model: Any, length: int) -> int:
    """A window length that the model can read."""
    shortest = 1 + (model.start_token is not None)
    if not shortest <= length <= model.context_length:
        raise TextError(
            f"windows of {length} tokens: {model.name} reads {shortest} to {model.context_length} at a time"
        )
    return length


def _of_documents(
    model: Any, text: Any, split: str | None, length: int, tokens: int | None, progress: bool | Callback
) -> TokenWindows:
    body = length - (model.start_token is not None)
    wanted = None if tokens is None else -(-tokens // body)
    digest = ContentHash()
    found: list[np.ndarray] = []
    with reported(progress, "reading text", wanted or 0) as report:
        items = digest.over(_documents(text, split, tokens, length))
        for row in islice(windows(items, model.encode, length, model.start_token), wanted):
            found.append(row.astype(np.int32))
            if len(found) % 1000 == 0:
                report(len(found))
    name = f"{name_of(text)}{_split_name(split)} {digest.text()}"
    require(name, len(found), body, tokens, wanted or 1)
    return TokenWindows(torch.from_numpy(np.stack(found)), name)


def _documents(text: Any, split: str | None, tokens: int | None, length: int) -> Iterable:
    corpus = corpus_of(text)
    if corpus is None:
        return documents(text, split, sample=None if tokens is None else SAMPLED_BYTES * length)
    if tokens is None:
        raise TextError(f"{corpus.name} is streamed and may have no end: say how many `tokens` to use")
    return corpus.documents(split)


def _of_array(
    model: Any, name: str, array: Any, split: str | None, length: int | None, tokens: int | None
) -> TokenWindows:
    if split not in (None, "train", "evaluation"):
        raise TextError(f"split must be 'train' or 'evaluation', got {split!r}")
    if array.ndim not in (1, 2):
        raise TextError(f"{name} has shape {tuple(array.shape)}; wanted token ids [n, T] or [N]")
    if array.ndim == 2:
        if length not in (None, array.shape[1]):
            raise TextError(f"{name} has windows of {array.shape[1]} tokens, context_length is {length}")
        body = checked_length(model, array.shape[1])
    else:
        length = checked_length(model, length or default_length(model))
        body = length - (model.start_token is not None)
        array = array[: len(array) // body * body].reshape(-1, body)
    cut = len(array) - len(array) // EVALUATION_SHARE
    if split == "train" and isinstance(model, StoredActivations):
        cut = model.item_start(cut * body) // body
    part = {None: slice(None), "train": slice(None, cut), "evaluation": slice(cut, None)}[split]
    wanted = None if tokens is None else -(-tokens // body)
    rows = array[part][:wanted]
    unit = "rows" if isinstance(model, StoredActivations) else "tokens"
    require(f"{name}{_split_name(split)}", len(rows), body, tokens, wanted or 1, unit=unit)
    rows = checked_array(name, rows, model.vocabulary_size)
    _say_end_padding(model, f"{name}{_split_name(split)}", rows)
    digest = hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()[:12]
    if length is not None and body < length:
        rows = np.concatenate([np.full((len(rows), 1), model.start_token, np.int32), rows], axis=1)
    return TokenWindows(torch.from_numpy(rows), f"{name}{_split_name(split)} {digest}")


def require(
    name: str, found: int, body: int, tokens: int | None, wanted: int, *, unit: str = "tokens"
) -> None:
    """Nothing, if there are enough windows; else an error that counts the tokens.

    Raises
    ------
    TooShortError
        Names how many tokens there are and how many are needed.
    """
    if found >= wanted:
        return
    there = f"{name} is too short: it has {found * body:,} {unit}"
    there += f" in {found:,} full windows of {body}" if body > 1 else ""
    if tokens is None:
        raise TooShortError(f"{there}; at least {wanted * body:,} {unit} are needed")
    raise TooShortError(
        f'{there}, {tokens:,} are wanted; ask for fewer or for all (tokens = "all" in a '
        f"configuration, None in Python), or name more {'text' if unit == 'tokens' else 'files'}"
    )


def require_places(model: Any, windows: TokenWindows) -> None:
    """Nothing, if the places that a model leaves out are in these windows.

    Raises
    ------
    TextError
        Names one that is not.
    """
    places, length = getattr(model, "left_out", LeftOut()).positions, windows.tokens.shape[1]
    if places and max(places) >= length:
        raise TextError(
            f"activations.exclude_positions has {max(places)}; {windows.text} has windows of {length} "
            f"tokens, 0 to {length - 1}"
        )


def _say_end_padding(model: Any, name: str, rows: np.ndarray) -> None:
    """A word, if rows are padded with the end-of-text token, and that counts as text."""
    end = getattr(model, "end_token", None)
    if end is None or end in (*model.ignore, *model.left_out.tokens) or rows.shape[1] < 2:
        return
    padded = int((rows[:, -2:] == end).all(1).sum())
    if padded:
        unknown = ", which has no padding token" if model.padding_token is None else ""
        warnings.warn(
            f"{name}: {padded:,} of {len(rows):,} windows end in several tokens {end} (end of text); they "
            f"count as text for {model.name}{unknown}. activations.exclude_tokens = [{end}] leaves them out",
            stacklevel=4,
        )


def name_of(text: Any) -> str:
    """What a text is called in a protocol."""
    corpus = corpus_of(text)
    if corpus is not None:
        return corpus.name
    if isinstance(text, str | Path):
        return str(text) if str(text) == STANDARD_LIBRARY else Path(text).resolve().name
    return "+".join(name_of(one) for one in text)


def _split_name(split: str | None) -> str:
    return {None: "", "train": " train", "evaluation": " held-out"}[split]
