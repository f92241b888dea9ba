"""Trained SAEs on disk: one folder each, `sae.safetensors` and `sae.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from frontier.writing import check_sums, whole_folder
from trainers.architectures import (
    BUILT_IN,
    Architecture,
    ArchitectureError,
    Parameters,
    architecture,
    known,
    options,
)
from trainers.architectures.registry import origin
from trainers.piloting import in_pilots, said_of_pilots
from trainers.sae import SAE
from trainers.sae_parts import read_part, shapes_in, write_parts
from trainers.shards import ALONE, Shards
from trainers.tensor_files import write_tensors

FORMAT = 1


class SAEFileError(ValueError):
    """A folder that holds no SAE of ours, or a torn one."""


def save_sae(sae: SAE, folder: Path) -> Path:
    """Write one SAE; its folder appears complete, with digests of its files, or not at all.

    Of one that is divided every shard makes the same call; the first writes what a whole one would be.
    """
    if sae.shards.rank:
        write_parts(sae, folder)
        return folder
    about = {
        "format": FORMAT, "architecture": sae.architecture.name, "options": options(sae.architecture),
        "identity": sae.identity,
    }  # fmt: skip
    if code := origin(type(sae.architecture)):
        about["code"] = code  # what to type to name the class; nothing is ever loaded for it
    with whole_folder(folder) as draft:
        if sae.shards.count > 1:
            write_parts(sae, draft / "sae.safetensors")
        else:
            write_tensors(sae.parameters, draft / "sae.safetensors")
        (draft / "sae.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return folder


def load_sae(folder: str | Path, shards: Shards = ALONE) -> SAE:
    """Read one SAE; without a `run_id` of its own it has that of its folder.

    Parameters
    ----------
    shards : Shards
        Processes that read an even part of its latents each; they encode, decode and evaluate it together.

    Raises
    ------
    SAEFileError
        If a file is missing, torn, not as it was written, or of a later format.
    """
    folder = Path(folder)
    try:
        about, weights = _about(folder), folder / "sae.safetensors"
        _check_known(folder, about)
        kind = architecture(about["architecture"], **about["options"])
        _check_shapes(kind, shapes_in(weights))
        check_sums(folder)
        if shards.count == 1:
            return SAE(kind, load_file(weights), about["identity"])
        from trainers.sharding import part_of  # slow to import

        return SAE(part_of(kind, shards), read_part(weights, kind, shards), about["identity"])
    except SAEFileError:
        raise
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise SAEFileError(
            f"{folder} holds no readable SAE (sae.json, sae.safetensors): {error}{several_below(folder)}"
        ) from error


def _about(folder: Path) -> dict:
    """What is said of an SAE; its `run_id` is there."""
    about = json.loads((folder / "sae.json").read_text(encoding="utf-8"))
    if about["format"] != FORMAT:
        raise SAEFileError(f"{folder} has format {about['format']}; this version reads {FORMAT}")
    identity = {"run_id": folder.name, **about["identity"]}
    return about | {"identity": identity | {"run_id": str(identity["run_id"])}}


def _check_known(folder: Path, about: dict) -> None:
    """Refuse an SAE of a class that was not named; its code is never loaded because a folder says so."""
    name, code = about["architecture"], str(about.get("code", ""))[:200]
    try:
        known(name)
    except ArchitectureError as error:
        if not code:
            raise
        raise SAEFileError(
            f"{folder} holds an SAE of your own architecture {name!r}, whose class nobody has named here; "
            f'--use {code} does, in Python trainers.register("{code}")'
        ) from error


def _check_shapes(kind: Architecture, parameters: Parameters) -> None:
    """Refuse missing, foreign and misshapen tensors."""
    d_in, size, d_out = kind.widths(parameters)
    found = {k: tuple(v.shape) for k, v in parameters.items()}
    # A small SAE of the same kind shows which tensor has which dimensions, whatever the size; where it does
    # not (a dimension is made of others), one of the size itself.
    wanted = _shapes_of(kind, 3, 3 if d_in == d_out else 5, 7)
    wanted = {k: tuple({3: d_in, 5: d_out, 7: size}.get(n, n) for n in shape) for k, shape in wanted.items()}
    if wanted != found and type(kind) not in BUILT_IN:
        wanted = _shapes_of(kind, d_in, d_out, size)
    wrong = sorted(k for k in found.keys() | wanted.keys() if found.get(k) != wanted.get(k))
    if wrong:
        faults = (f"{k} should be {wanted.get(k, 'absent')}, is {found.get(k, 'absent')}" for k in wrong)
        raise SAEFileError(f"tensors do not fit a {kind.name} SAE: {'; '.join(faults)}")


def _shapes_of(kind: Architecture, d_in: int, d_out: int, size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of an SAE of these widths."""
    start = kind.start(d_in, d_out, size, (torch.zeros(d_in), torch.zeros(d_out)), seed=0)
    return {k: tuple(v.shape) for k, v in kind.inference(start, kind.state(size), 1).items()}


def load_saes(folder: str | Path) -> Iterator[SAE]:
    """Every finished SAE of a run, or of the folders below, in the order of their names."""
    for one in sae_folders(folder):
        yield load_sae(one)


def sae_folders(folder: str | Path) -> list[Path]:
    """The folders below that hold an SAE, of a run those in `saes`, in the order of their names."""
    found = _places(folder)
    if not found:
        for run in (Path(folder), Path(folder).parent):  # a run, or its saes
            if in_pilots(run):
                raise SAEFileError(said_of_pilots(run))
        raise SAEFileError(
            f"{folder} holds no SAEs; wanted a run, or folders with sae.json and sae.safetensors"
        )
    return found


def several_below(folder: str | Path) -> str:
    """What to type where one SAE is wanted and a folder of several is named; empty elsewhere."""
    found = _places(folder)
    return f"; `load_saes` reads the {len(found)} below it, {found[0]} is the first" if found else ""


def _places(folder: str | Path) -> list[Path]:
    return [p.parent for saes in ("", "saes/") for p in sorted(Path(folder).glob(f"{saes}*/sae.json"))]


def run_id_of(folder: Path) -> str:
    """The run_id of the SAE in a folder, whose weights are not read.

    Raises
    ------
    SAEFileError
        If what is said of it cannot be read.
    """
    try:
        return _about(folder)["identity"]["run_id"]
    except SAEFileError:
        raise
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SAEFileError(f"{folder} holds no readable SAE (sae.json): {error}") from error
