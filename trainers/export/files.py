"""Folders written whole; JSON and tensors read as data: bounded, checked, nothing in them is ever run."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from frontier.readers.opening import bounded
from frontier.wording import listed, nearest, one_line
from frontier.writing import whole_folder
from trainers.shards import Shards
from trainers.tensor_files import TensorsInParts

LARGEST_JSON = 4 * 2**20
"""Bytes of a configuration; those of the libraries have a few thousand."""

Sizes = dict[str, tuple[str | int, ...]]
"""Tensor names to their shapes; a word is a size that the layout names."""
LATENTS = ("d_sae", "dict_size", "num_latents")
"""The words for the number of latents."""


TORN = (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError)
"""What torch raises over files that are not whole."""


class ExportError(ValueError):
    """An SAE that a layout cannot hold exactly."""


class LayoutError(ValueError):
    """A folder that holds no SAE that can be read."""


@dataclass(frozen=True)
class Weights:
    """Tensors of a file, made some latents at a time.

    Attributes
    ----------
    shapes : mapping of str to (torch.dtype, list of int)
        Of the whole tensors, in the order of the file.
    dims : mapping of str to int or None
        The dimension of each that counts latents.
    parts : iterable of (int, mapping of str to Tensor)
        The first latent of each part, and the tensors of its latents.
    more : mapping of str to Tensor
        Tensors without latents.
    """

    shapes: Mapping[str, tuple[torch.dtype, list[int]]]
    dims: Mapping[str, int | None]
    parts: Iterable[tuple[int, Mapping[str, Tensor]]]
    more: Mapping[str, Tensor] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """As safetensors."""
        with TensorsInParts(path, self.shapes) as file:
            for first, tensors in self.parts:
                for name, part in tensors.items():
                    if self.dims[name] is not None or not first:
                        file.write(name, part, self.dims[name], first)

    def pack(self, path: Path) -> None:
        """As PyTorch's own file, which is written from one that is only mapped into memory."""
        plain = path.with_name(".tensors")
        self.write(plain)
        there = load_file(plain)
        with path.open("wb") as file:
            torch.save({name: there[name] for name in self.shapes} | dict(self.more), file)
        plain.unlink()


def sizes_of(wanted: Sizes, sizes: Mapping[str, int]) -> dict[str, tuple[torch.dtype, list[int]]]:
    """The shapes of float32 tensors whose sizes have names."""
    return {
        name: (torch.float32, [sizes[s] if isinstance(s, str) else s for s in shape])
        for name, shape in wanted.items()
    }


def latent_dim(shape: tuple[str | int, ...]) -> int | None:
    """The dimension that counts latents, in whatever words a layout names them."""
    return next((i for i, word in enumerate(shape) if word in LATENTS), None)


def write_folder(folder: Path, contents: Mapping[str, Any]) -> Path:
    """Write files of a folder, and their digests: tensors by the ending of the name, the rest as JSON."""
    with whole_folder(folder) as draft:
        for name, content in contents.items():
            if not isinstance(content, Weights):
                text = json.dumps(content, indent=2, allow_nan=False)
                (draft / name).write_text(text + "\n", encoding="utf-8")
            elif name.endswith(".pt"):
                content.pack(draft / name)
            else:
                content.write(draft / name)
    return folder


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises
    ------
    LayoutError
        If it is too large, no JSON, or no object.
    """
    try:
        found = json.loads(bounded(str(path), LARGEST_JSON).decode("utf-8-sig"))
    except RecursionError:
        raise LayoutError(f"{path} is nested too deep for a configuration") from None
    except (ValueError, OSError) as error:
        raise LayoutError(f"{path} cannot be read as JSON: {one_line(error)}") from error
    if not isinstance(found, dict):
        raise LayoutError(f"{path} holds {type(found).__name__}, wanted an object")
    return found


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises
    ------
    LayoutError
        If it is torn or no such file.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:
        raise LayoutError(f"{path} is no whole safetensors file: {one_line(error)}") from error


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch file, by `weights_only`: a pickle that does more is refused, not run.

    Raises
    ------
    LayoutError
        If it is torn, holds something else than named tensors, or would unfold to more than its size.
    """
    zipped = zipfile.is_zipfile(path)
    if zipped:
        with zipfile.ZipFile(path) as archive:
            packed = [i.filename for i in archive.infolist() if i.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise LayoutError(f"{path} holds compressed records ({listed(packed, 2)}); PyTorch writes none")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on protocols: it is read or refused
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)  # noqa: TID251  no pickle
    except UnpicklingError as error:
        raise LayoutError(
            f"{path} holds more than tensors, or is no PyTorch file, and was not loaded: {_first(error)}"
        ) from error
    except TORN as error:
        raise LayoutError(f"{path} is no whole PyTorch file: {_first(error)}") from error
    if not isinstance(found, dict) or not found:
        raise LayoutError(f"{path} holds {type(found).__name__}, wanted a dict of tensors")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise LayoutError(f"{path} holds {type(value).__name__} under {name!r:.60}, wanted named tensors")
        _refuse_unfolding(path, name, value)
    return {k: v.detach() for k, v in found.items()}


def _refuse_unfolding(path: Path, name: str, value: Tensor) -> None:
    """Sparse and expanded tensors, and those without data: small files that become large."""
    plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
    if not plain or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise LayoutError(f"{path}: {name} {list(value.shape)} is no plain tensor with all of its data")


def _first(error: Exception) -> str:
    """The first sentence of an error of torch, which may have a page."""
    return one_line(error).split(". ")[0][:200]


def checked(
    found: Mapping[str, Tensor], wanted: Sizes, sizes: Mapping[str, int], where: Path, shards: Shards
) -> dict[str, Tensor]:
    """The tensors that are wanted, as float32; of each the latents of one shard.

    Raises
    ------
    LayoutError
        If one is missing, unknown, of another shape, not floating point, or not finite.
    """
    for name in wanted:
        if name not in found:
            near = nearest(name, found) if found else "; there are none"
            raise LayoutError(f"{where} has no tensor {name}{near}")
    more = [one_line(name)[:60] for name in found if name not in wanted]
    if more:
        raise LayoutError(f"{where} has tensors that its class does not: {listed(more, 4)}")
    ready = {}
    for name, shape in wanted.items():
        value = found[name]
        expected = [sizes[s] if isinstance(s, str) else s for s in shape]
        if list(value.shape) != expected:
            words = ", ".join(f"{s} = {sizes[s]}" if isinstance(s, str) else str(s) for s in shape)
            raise LayoutError(f"{where}: {name} has shape {list(value.shape)}, wanted [{words}]")
        value = shards.part(value, latent_dim(shape))
        ready[name] = _finite_float(name, value, lambda what: LayoutError(f"{where}: {what}"))
    return ready


def _finite_float(name: str, value: Tensor, error: Callable[[str], ValueError]) -> Tensor:
    if not value.is_floating_point():
        raise error(f"{name} is {str(value.dtype).removeprefix('torch.')}, wanted floating point")
    ready = value.detach().to("cpu", torch.float32).contiguous()
    bad = sum(int((~some.isfinite()).sum()) for some in ready.view(-1).split(2**24))
    if bad:
        raise error(f"{name} has {bad} of {ready.numel()} values that are not finite")
    return ready


def exportable(parameters: Mapping[str, Tensor], place: str = "") -> dict[str, Tensor]:
    """Weights as float32 on the CPU; `place` says of which latents.

    Raises
    ------
    ExportError
        If a value is not finite.
    """
    return {
        k: _finite_float(k, v, lambda what: ExportError(f"the SAE cannot be exported: {what}{place}"))
        for k, v in parameters.items()
    }


def whole_number(value: Any, name: str, where: Path, most: int) -> int:
    """A count of a configuration or of a tensor without dimensions.

    Raises
    ------
    LayoutError
        If it is none from 1 to `most`.
    """
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_floating_point():
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        shown = one_line(value)[:60]
        raise LayoutError(f"{where}: {name} is {shown}, wanted a whole number from 1 to {most}")
    return value
