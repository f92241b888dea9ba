"""A language model's weights, tokenizer and config, by folder or name: safetensors only, no foreign code."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

import frontier
from frontier.wording import listed, nearest, one_line

SHIPPED = "tiny_lm"
_PACKAGE = Path(frontier.__file__).parent
SHIPPED_FOLDERS = (_PACKAGE / "data" / SHIPPED, _PACKAGE.parent / "data" / SHIPPED)
"""In an installed wheel, and in a checkout."""

NO_HUB = ("connect", "Connect", "Timeout", "offline", "Offline", "resolve host", "Max retries")
"""What errors say where the hub cannot be reached."""
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
HUB_SECONDS = 10
"""Patience with the hub when it is asked whether it has a model."""
DTYPES = ("float32", "bfloat16", "float16", "float64")


class LanguageModelError(ValueError):
    """A language model that cannot be loaded, or cannot do what it is asked; the message is one line."""


def load_folder_or_name(
    name: str | Path | None, dtype: str | torch.dtype
) -> tuple[Any, Any, dict[str, Any], str]:
    """Model, tokenizer (None if there is none), config as stored, and the name to print."""
    source, label = _source(name)
    if isinstance(source, Path):
        _check_folder(source)
    else:
        _check_hub(source)
    config = _config(source, label)
    return _model(source, label, pick_dtype(dtype)), _tokenizer(source), config, label


def pick_device(device: str | torch.device) -> torch.device:
    """The device by name; "auto" is a GPU if there is one."""
    if str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise LanguageModelError(f"no device {str(device)!r} here: {_first_line(error)}") from error
    return found


def pick_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """A floating-point type by name."""
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise LanguageModelError(f"no dtype {name!r} for a language model{nearest(name, DTYPES)}")
    return getattr(torch, name)


def _source(name: str | Path | None) -> tuple[str | Path, str]:
    """What transformers is given, a folder or a name on the hub, and the name to print."""
    if name is None or str(name) == SHIPPED:
        for folder in SHIPPED_FOLDERS:
            if (folder / "config.json").is_file():
                return folder, SHIPPED
        raise LanguageModelError(
            f"the shipped model is not installed; looked in {listed(SHIPPED_FOLDERS)}; "
            "`python -m trainers.tiny_lm --out data/tiny_lm` makes it"
        )
    path = Path(name).expanduser()
    if path.is_dir():
        return path, path.resolve().name
    text = str(name)
    if isinstance(name, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise LanguageModelError(
            f"no folder {text!r}; wanted one in Hugging Face format, or a name on the hub"
        )
    if difflib.get_close_matches(text, [SHIPPED], cutoff=0.8):  # before the hub is asked
        raise LanguageModelError(f"no language model {text!r}{nearest(text, [SHIPPED])}")
    return text, text


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        found = listed(sorted(p.name for p in folder.iterdir()), 6) or "nothing"
        raise LanguageModelError(f"{folder} is no Hugging Face model: no config.json among {found}")
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(p.name for pattern in PICKLED for p in folder.glob(pattern))
    if pickled:
        raise LanguageModelError(
            f"{folder} holds only pickled weights ({listed(pickled, 3)}), which can run code "
            "when they are read; save the model again with save_pretrained, which writes safetensors"
        )
    raise LanguageModelError(f"{folder} holds no weights; wanted model.safetensors")


def _check_hub(name: str) -> None:
    """Nothing, if a model is in the local cache or on the hub; asked once (transformers asks many times)."""
    from huggingface_hub import model_info, try_to_load_from_cache

    try:
        if not isinstance(try_to_load_from_cache(name, "config.json"), str):
            model_info(name, timeout=HUB_SECONDS)
    except Exception as error:  # of the hub, of its network library, or of a name that is none
        raise _failed(name, name, error) from error


def _config(source: str | Path, label: str) -> dict[str, Any]:
    from transformers import PretrainedConfig

    try:
        return PretrainedConfig.get_config_dict(source)[0]
    except (OSError, ValueError) as error:
        raise _failed(source, label, error) from error


def _model(source: str | Path, label: str, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        with _quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported, and refused below with names and shapes
            )
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError) as error:
        raise _failed(source, label, error) from error
    model, report = loaded
    if report["mismatched_keys"]:
        found = min(report["mismatched_keys"], key=str)  # (name, stored, wanted); transformers 4: the name
        shapes = f" is {list(found[1])}, wanted {list(found[2])}" if isinstance(found, tuple) else ""
        name = found[0] if shapes else found
        raise LanguageModelError(f"the weights of {label} do not fit its config: {name}{shapes}")
    missing = sorted(report["missing_keys"])
    if missing:
        raise LanguageModelError(f"the weights of {label} lack {listed(missing, 3)}; they would be random")
    unused = sorted(report["unexpected_keys"])
    if unused:
        warnings.warn(f"the model {label} does not use its weights {listed(unused, 3)}", stacklevel=4)
    return model


def _tokenizer(source: str | Path) -> Any:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if isinstance(source, Path) and not any(source.glob("*token*")) and not any(source.glob("vocab*")):
        return None
    try:
        if _saved_by_transformers_5(source):
            with _quiet():  # transformers 4 remarks on the name
                return PreTrainedTokenizerFast.from_pretrained(source)
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise LanguageModelError(
            f"the tokenizer of {source} cannot be loaded: {_first_line(error)}"
        ) from error


def _saved_by_transformers_5(source: str | Path) -> bool:
    """Whether a folder's tokenizer is of a class that transformers 4 knows under another name only."""
    config = Path(source) / "tokenizer_config.json"
    return config.is_file() and '"TokenizersBackend"' in config.read_text(encoding="utf-8")


def _failed(source: str | Path, label: str, error: Exception) -> LanguageModelError:
    text = str(error)
    if isinstance(source, Path):
        return LanguageModelError(f"the model in {source} cannot be loaded: {_first_line(error)}")
    if "safetensors" in text:
        why = (
            f"it has no safetensors weights on the hub, and pickled ones are not read ({_first_line(error)})"
        )
    elif any(word in f"{type(error).__name__} {text}" for word in NO_HUB):
        why = "it is not in the local cache and the hub cannot be reached; give a folder, or go online once"
    elif type(error).__name__ == "RepositoryNotFoundError":
        why = "the hub has none of that name, or it is private; a folder is given with a slash, as ./model"
    else:
        why = _first_line(error)
    return LanguageModelError(f"no language model {label!r}: {why}")


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return one_line(lines[0] if lines else type(error).__name__)[:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' own progress bars and loading reports."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
