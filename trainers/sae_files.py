"""Trained SAEs on disk: one folder each, `sae.safetensors` and `sae.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from trainers.architectures import architecture, options
from trainers.sae import SAE

FORMAT = 1


class SAEFileError(ValueError):
    """A folder that holds no SAE of ours, or a torn one."""


def save_sae(sae: SAE, folder: Path) -> Path:
    """Write one SAE; its folder appears complete or not at all."""
    draft = folder.with_name(f".draft_{folder.name}")
    draft.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in sae.parameters.items()}, draft / "sae.safetensors")
    about = {
        "format": FORMAT, "architecture": sae.architecture.name, "options": options(sae.architecture),
        "identity": sae.identity,
    }  # fmt: skip
    (draft / "sae.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    if folder.exists():
        for name in ("sae.safetensors", "sae.json"):
            (draft / name).replace(folder / name)
        draft.rmdir()
    else:
        draft.replace(folder)
    return folder


def load_sae(folder: str | Path) -> SAE:
    """Read one SAE.

    Raises
    ------
    SAEFileError
        If a file is missing, torn, or of a later format.
    """
    folder = Path(folder)
    try:
        about = json.loads((folder / "sae.json").read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise SAEFileError(f"{folder} has format {about['format']}; this version reads {FORMAT}")
        kind = architecture(about["architecture"], **about["options"])
        return SAE(kind, load_file(folder / "sae.safetensors"), about["identity"])
    except (OSError, KeyError, TypeError, json.JSONDecodeError, SafetensorError) as error:
        raise SAEFileError(f"{folder} holds no readable SAE (sae.json, sae.safetensors): {error}") from error


def load_saes(folder: str | Path) -> Iterator[SAE]:
    """Every SAE in the folders below, in the order of their names."""
    found = sorted(p.parent for p in Path(folder).glob("*/sae.json"))
    if not found:
        raise SAEFileError(f"{folder} holds no SAEs; wanted folders with sae.json and sae.safetensors")
    for one in found:
        yield load_sae(one)
