"""The held-out text of a run: it is there, is not trained on, and is the same when the SAEs are measured."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from torch import Tensor

from frontier.wording import listed, plural
from trainers import ranks
from trainers.activations import evaluation_windows
from trainers.activations.sources import is_files
from trainers.config import RunConfig
from trainers.origin import Origin, recorded
from trainers.run import RunError
from trainers.text import TextError, is_cut, shared_files

READ = re.compile(r"(?P<name>.* held-out) (?P<digest>[0-9a-f]{12})(?P<rest>.*)", re.DOTALL)
"""What a protocol says of the text, and of the windows that were chosen."""


def read_held_out(config: RunConfig, model: Origin, progress: bool = False) -> tuple[Tensor, str]:
    """The windows `[n, T]` on which the SAEs of a configuration are measured, and the protocol."""
    windows, length = config.evaluation.windows, config.activations.context_length
    return evaluation_windows(model, config.evaluation_text, windows, length, progress=progress)


def check_evaluation_text(config: RunConfig, model: Origin) -> dict[str, Any]:
    """What a run keeps of its held-out text, if the evaluation can be made and sees no text of the training.

    Raises
    ------
    TextError
        If the held-out text is missing or too short, or a file is also trained on.
    """
    refuse_shared_text(config, model)
    return {"text": config.evaluation_text, "protocol": read_held_out(config, model)[1]}


def refuse_shared_text(config: RunConfig, model: Origin) -> None:
    """Nothing, if no file of text is trained on and evaluated on.

    Raises
    ------
    TextError
        Names such files.
    """
    training, evaluation = config.activations.text, config.evaluation_text
    if model.predicts and all(is_files(text) for text in (training, evaluation)):
        shared = shared_files(training, evaluation)
        if shared:
            raise TextError(
                f"evaluation.text has {plural(len(shared), 'file')} that activations.text trains on "
                f"({listed([p.name for p in shared], 3)}); leave evaluation.text out to hold some text out"
            )


def check_same_text(folder: Path, config: RunConfig, model: Origin, protocol: str) -> None:
    """Nothing, if the text that is held out is that of the training; a word, if it is whole files.

    A file that is cut in two, and now is shorter, holds out what was trained on. Files of activations are
    looked at themselves (`origin.change_of`).

    Raises
    ------
    RunError
        Says what to do.
    """
    text, was = config.evaluation_text, recorded(folder).get("held_out", {})
    then, now = (READ.match(p) for p in (was.get("protocol", ""), protocol))
    if then is None or now is None or then["digest"] == now["digest"]:
        return
    if model.files or was.get("text") != text:
        return
    of_files = model.predicts and is_files(text)
    if not of_files and then["rest"] != now["rest"]:
        return  # other windows, of which the digest is
    said = f"the text {now['name']} has changed since {folder} was trained"
    if of_files and not is_cut(text):
        if ranks.is_first():
            warnings.warn(f"{said}: these are metrics on the new text", stacklevel=3)
        return
    raise RunError(
        f"{said}: what is held out may have been trained on; put back what was, or name another text as "
        f"evaluation.text in {folder / 'config.toml'}"
    )
