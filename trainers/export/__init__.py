"""SAEs in the layouts of other libraries: `export` writes a folder that they load, `load` reads theirs.

No such library is imported. What a layout cannot hold exactly is refused with the reason; nothing is
approximated. `sae_lens`, `dictionary_learning` and `sparsify` (read alone) are one file each; `forms` turns
our architectures into the few functions that the layouts know, `places` translates sites, `facts` is what
is written and read about an SAE beside its weights, `files` reads tensors and JSON and runs nothing in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frontier.wording import nearest
from frontier.writing import DamagedError, check_sums
from trainers.export import dictionary_learning, sae_lens, sparsify
from trainers.export.files import ExportError, LayoutError, write_folder
from trainers.language_models.sites import JOINED
from trainers.sae import SAE
from trainers.sae_files import SAEFileError, load_sae, several_below
from trainers.shards import ALONE, Shards

__all__ = ["LAYOUTS", "READ", "ExportError", "LayoutError", "export", "load"]

LAYOUTS = {"sae-lens": sae_lens, "dictionary-learning": dictionary_learning}
"""Name of a layout to its module, which has FILES, `contents` and `read`."""

READ = LAYOUTS | {"sparsify": sparsify}
"""Layouts that are read; sparsify's is not written."""
OURS = ("sae.json", "sae.safetensors")


def export(
    sae: SAE, folder: str | Path, layout: str = "sae-lens", known: Mapping[str, Any] | None = None
) -> Path:
    """The folder, in which SAELens or dictionary_learning find this SAE; it appears complete or not at all.

    Beside their files it has the digests of these (`SHA256SUMS`), which `load` compares.

    Parameters
    ----------
    layout : {"sae-lens", "dictionary-learning"}
        Whose folder it is; underscores do as well.
    known : mapping, optional
        More that is known of the SAE, such as its row of the metrics table: its `l0` and `context_length` are
        taken.

    Raises
    ------
    ExportError
        If the layout is unknown, or cannot hold this SAE exactly.
    WriteError
        If the folder cannot be written.
    """
    name = layout.replace("_", "-")
    if name not in LAYOUTS:
        raise ExportError(f"unknown layout {layout!r}{nearest(name, LAYOUTS)}")
    if sae.shards.count > 1:
        raise ExportError(f"these are the latents of one of {sae.shards.count} shards; load the saved SAE")
    if sae.architecture.parts or any(JOINED in str(sae.identity.get(k)) for k in ("site", "target_site")):
        raise ExportError(
            f"an SAE of a joined site ({sae.identity.get('site')}) cannot be exported: {layout} has one site "
            "an SAE; its own folder holds it, and load_sae reads that"
        )
    facts = {**sae.identity, **{k: v for k, v in (known or {}).items() if k in ("l0", "context_length")}}
    return write_folder(Path(folder), LAYOUTS[name].contents(sae, facts))


def load(folder: str | Path, shards: Shards = ALONE) -> SAE:
    """The SAE in a folder of SAELens, dictionary_learning, sparsify or ours; which one, its files tell.

    The identity holds what the folder says: run_id (the folder's name), source, architecture, model, site,
    layer, sizes, seed and sparsity setting, under the names that the trainers use.

    Parameters
    ----------
    shards : Shards
        Processes that have an even part of its latents each; each reads its own, the first compares digests.

    Raises
    ------
    LayoutError
        If the folder holds no SAE, several, or one that is torn, malformed or not supported; in one line.
    """
    folder = Path(folder)
    layouts = {name: module.FILES for name, module in READ.items()} | {"ours": OURS}
    complete = [name for name, files in layouts.items() if all((folder / f).is_file() for f in files)]
    if len(complete) > 1:
        raise LayoutError(f"{folder} holds several layouts ({', '.join(complete)}); keep the files of one")
    if not complete:
        raise LayoutError(f"{folder} {_what_is_missing(folder, layouts)}")
    try:
        if complete == ["ours"]:
            return load_sae(folder, shards)
        found = READ[complete[0]].read(folder, shards)
        if shards.rank == 0:
            check_sums(folder)
    except (SAEFileError, DamagedError) as error:
        raise LayoutError(" ".join(str(error).split())) from error
    return found if shards.count == 1 else _divided(found, shards)


def _divided(sae: SAE, shards: Shards) -> SAE:
    """An SAE as what it is: the latents of one shard."""
    from trainers.sharding import part_of  # slow to import

    identity = sae.identity | {"dictionary_size": sae.dictionary_size * shards.count}
    return SAE(part_of(sae.architecture, shards), sae.parameters, identity)


def _what_is_missing(folder: Path, layouts: Mapping[str, tuple[str, str]]) -> str:
    if not folder.is_dir():
        return "is no folder"
    for files in layouts.values():
        there = [f for f in files if (folder / f).is_file()]
        if there:
            absent = next(f for f in files if f not in there)
            return f"has {there[0]} but no {absent} beside it"
    wanted = " or ".join(" and ".join(files) for files in layouts.values())
    return f"holds no SAE; wanted {wanted}{several_below(folder)}"
