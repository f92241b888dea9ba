"""Tensors on disk, as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors to a draft, with the permissions that the umask gives (safetensors' own are 0600).

    Raises
    ------
    OSError
        If the system refuses.
    """
    path.touch()
    mode = path.stat().st_mode
    ready = {k: v.detach().contiguous().cpu() for k, v in tensors.items()}
    try:
        save_file(ready, path, metadata)
    except SafetensorError as error:  # of the system, as a tensor has nothing else that can fail
        raise OSError(str(error)) from error
    path.chmod(mode)
