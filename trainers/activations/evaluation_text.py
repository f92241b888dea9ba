"""The windows that SAEs are judged on: held-out text, chosen by a rule, named in one line."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from frontier.progress import Callback
from frontier.wording import plural
from trainers.activations.corpora import corpus_of
from trainers.activations.sources import Text, TokenWindows, default_length, token_windows
from trainers.activations.stored import StoredActivations
from trainers.language_models.left_out import LeftOut
from trainers.text import STANDARD_LIBRARY, TextError, TooShortError

STREAMED_SPREAD = 16
"""Of a streamed corpus, the windows are picked from so many times their number."""


def evaluation_windows(
    model: Any,
    text: Text = STANDARD_LIBRARY,
    windows: int = 128,
    context_length: int | None = None,
    *,
    split: str | None = "evaluation",
    progress: bool | Callback = True,
) -> tuple[Tensor, str]:
    """Tokens `[n, T]` int64 of evenly spread windows of the held-out text, and the protocol in one line.

    Of N windows, window floor((i + 1/2) N / n) is taken for i = 0 ... n - 1.

    Raises
    ------
    TextError
        If the held-out text has fewer windows.
    """
    if windows < 1:
        raise TextError(f"windows must be at least 1, got {windows}")
    try:
        found = _read(model, text, windows, context_length, split, progress)
    except TooShortError as error:
        raise TooShortError(f"{error}{_how_to_have_enough(0, split)}") from error
    total, length = found.tokens.shape
    if isinstance(model, StoredActivations):  # rows are cheap: as many as there are
        windows = min(windows, total)
        places = _spread(windows, total)
        return found.tokens[places].long(), model.protocol_of(found.text, windows, length)
    if total < windows:
        body = length - (model.start_token is not None)
        raise TooShortError(
            f"{found.text} is too short: it has {total * body:,} tokens in {total:,} windows, "
            f"{windows:,} windows of {length} ({windows * body:,} tokens) are needed"
            f"{_how_to_have_enough(total, split)}"
        )
    tokens = found.tokens[_spread(windows, total)].long()
    if not model.counted(tokens).any():
        raise TextError(f"{found.text}: no token of the {plural(windows, 'window')} counts; all are ignored")
    protocol = (
        f"{found.text}, {plural(windows, 'window')} of {length} tokens, {_ignored(model)}, "
        f"model {model.name} {model.revision[:6]}"
    )
    return tokens, protocol


def _how_to_have_enough(windows: int, split: str | None) -> str:
    """What is held out of a text, and what to type, where there are so few windows."""
    fewer = f"evaluation.windows = {windows}" if windows > 1 else "a shorter activations.context_length"
    if split != "evaluation":
        return f"; name more text, or ask for fewer ({fewer})"
    return (
        ". Held out is a sixteenth: one file of sixteen, or the end of a file or array that stands alone. "
        f"Name more text as evaluation.text, or ask for fewer ({fewer})"
    )


def _spread(windows: int, total: int) -> Tensor:
    return ((torch.arange(windows) * 2 + 1) * total) // (2 * windows)


def _read(
    model: Any, text: Text, windows: int, length: int | None, split: str | None, progress: bool | Callback
) -> TokenWindows:
    if corpus_of(text) is None:
        return token_windows(model, text, split=split, context_length=length, progress=progress)
    wanted = windows * STREAMED_SPREAD * (length or default_length(model))
    return token_windows(model, text, split=split, context_length=length, tokens=wanted, progress=progress)


def _ignored(model: Any) -> str:
    """Which tokens and positions are not counted, in words."""
    names = {model.start_token: "start token", getattr(model, "padding_token", None): "padding"}
    names |= {model.start_token: "start token"} if model.start_token is not None else {}
    out = getattr(model, "left_out", LeftOut())
    tokens = dict.fromkeys((*getattr(model, "ignore", ()), *out.tokens))
    ignored = out.parts(tuple(tokens), {k: v for k, v in names.items() if k is not None})
    return f"{', '.join(ignored)} ignored" if ignored else "no token ignored"
