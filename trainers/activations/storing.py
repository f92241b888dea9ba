"""A store of activations written, by one process or many: each writes its own shards, a kill costs one."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frontier.progress import Callback, reported
from frontier.wording import nearest
from frontier.writing import WriteError, remove_drafts, whole_file, write_json
from trainers.activations.harvest import CHUNK_TOKENS, DTYPES, ActivationError, Harvest, check_finite
from trainers.activations.row_files import WANTED
from trainers.activations.row_sources import MANIFEST
from trainers.activations.sizes import readable
from trainers.activations.sources import TokenWindows
from trainers.activations.store import CHUNKS, FORMAT, Files, chunks_digest, header_of
from trainers.tensor_files import write_tensors

SHARD_BYTES = 2**28
"""Of a shard, at least (but for the last one), and so of the memory that writing needs."""
RESERVE = 2**28
"""Bytes that are left free on a disk."""
OVERHEAD = 2**12
"""Bytes of a header and a file system's rounding."""


@dataclass(frozen=True)
class Written:
    """What a store holds now, and what is left to write for other processes.

    Attributes
    ----------
    rows, size, shards : int
        Rows to train on, bytes and shards of the whole store.
    lacking : int
        Shards that are not there yet.
    """

    folder: Path
    rows: int
    size: int
    shards: int
    lacking: int

    def __str__(self) -> str:
        whole = f"{self.folder}: {self.rows:,} rows, {readable(self.size)} in {self.shards} shards"
        if self.lacking:
            return f"{whole}, of which {self.lacking} are not there yet: other parts write them"
        return f'{whole}, complete; [activations] files = "{self.folder}" trains on it'


def write_store(
    model: Any,
    windows: TokenWindows,
    held_out: TokenWindows,
    site: str,
    folder: str | Path,
    *,
    part: tuple[int, int] = (1, 1),
    limit: int | None = None,
    dtype: str | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
    shard_bytes: int = SHARD_BYTES,
    progress: bool | Callback = False,
) -> Written:
    """Harvest the activations of a site into a store, or this process's part of it; go on where one is begun.

    Parameters
    ----------
    windows, held_out : TokenWindows
        What is trained on, and what is evaluated on, whose `text` is the evaluation's protocol.
    part : (int, int)
        Part i of n: every n-th shard.
    limit : int, optional
        Bytes that the whole store may have.
    dtype : {"float32", "bfloat16", "float16"}, optional
        By default the model's own, which loses nothing.

    Raises
    ------
    ActivationError
        If the site is joined; if it does not fit the limit or the disk (before anything is written, and again
        before each shard), the folder holds something else, or an activation is not finite.
    WriteError
        If the system refuses; the shards that are there are whole.
    """
    folder, dtype = Path(folder), dtype or str(model.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise ValueError(f"no storage type {dtype!r}{nearest(dtype, DTYPES)}")
    if model.site(site).parts:
        raise ActivationError(
            f"a store has rows of one site, {site} is joined; harvest each part to a store of its own"
        )
    harvest = partial(Harvest, model, site=site, chunk_tokens=chunk_tokens, dtype=DTYPES[dtype])
    harvests = {"train": harvest(windows), "held_out": harvest(held_out, shuffled=False)}
    about = plan(harvests, site, held_out.text, shard_bytes)
    shards = [(name, s) for name in harvests for s in about[name]["shards"]]
    sizes = {s["name"]: s["rows"] * harvests[n].bytes_per_row + OVERHEAD for n, s in shards}
    parts = {n: sum(sizes[s["name"]] for s in about[n]["shards"]) for n in harvests}
    begun = _begun(folder, about)
    due = {s["name"] for _, s in shards if not (begun and _digest(folder, about, s))}
    _refuse(folder, parts, sum(sizes[name] for name in due), limit, harvests["train"])
    if not begun:
        write_json(folder / MANIFEST, about)
    mine = [(n, s) for n, s in shards[part[0] - 1 :: part[1]] if s["name"] in due]
    with reported(progress, "harvesting activations", sum(s["rows"] for _, s in mine)) as report:
        done = 0
        for name, shard in mine:
            for rows in _write_shard(folder, harvests[name], shard):
                report(done := done + rows)
    lacking = _completed(folder, about)
    return Written(folder, harvests["train"].total_rows, sum(parts.values()), len(shards), lacking)


def plan(harvests: dict[str, Harvest], asked: str, protocol: str, shard_bytes: int) -> dict[str, Any]:
    """The manifest before anything is harvested: the same in every process."""
    train, held_out = harvests["train"], harvests["held_out"]
    counts = held_out.counted.sum(1).tolist()
    about: dict[str, Any] = {
        "format": FORMAT, "layer": train.site.layer, "width": train.d_in, "asked": asked,
        "harvest": train.identity(),
    }  # fmt: skip
    for name, harvest in harvests.items():
        about[name] = {"rows": harvest.rows, "shards": list(_shards(name, harvest, shard_bytes))}
    about["held_out"] |= {"protocol": protocol, "windows": counts, "hash": held_out.identity()["tokens_hash"]}
    return about


def _shards(part: str, harvest: Harvest, shard_bytes: int) -> Iterator[dict[str, Any]]:
    """Chunks that lie together, until a shard has its bytes."""
    first, rows, number = 0, 0, 0
    for chunk, count in enumerate(harvest.rows, start=1):
        rows += count
        if rows * harvest.bytes_per_row >= shard_bytes or chunk == len(harvest):
            yield {"name": f"{part}_{number:05d}.safetensors", "chunks": [first, chunk], "rows": rows}
            first, rows, number = chunk, 0, number + 1


def _begun(folder: Path, about: dict[str, Any]) -> bool:
    """Whether this store is begun there already.

    Raises
    ------
    ActivationError
        If something else is there; what differs is named.
    """
    if not (folder / MANIFEST).is_file():
        if folder.exists() and any(not p.name.startswith(".") for p in folder.iterdir()):
            raise ActivationError(f"{folder} is not empty and has no {MANIFEST}; name an empty folder")
        return False
    try:
        theirs = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for part in ("train", "held_out"):
            for shard in theirs[part]["shards"]:
                shard.pop("sha256", None)
    except (ValueError, KeyError, TypeError) as error:
        raise ActivationError(f"{folder / MANIFEST} is torn; remove {folder}") from error
    if theirs == about:
        return True
    ours, them = ({**a.pop("harvest"), **a} for a in (dict(about), theirs))
    differ = [k for k in ours if them.get(k) != ours[k]]
    short = [f"{k} {them.get(k)!r} there, {ours[k]!r} here" for k in differ if not isinstance(ours[k], dict)]
    raise ActivationError(
        f"{folder} holds other activations ({'; '.join(short or differ)}): name another folder, or remove it"
    )


def _refuse(folder: Path, parts: dict[str, int], missing: int, limit: int | None, train: Harvest) -> None:
    """Nothing, if a store fits its limit, and what is missing of it the disk.

    Fewer tokens do not make what is held out smaller.
    """
    lower, size = "lower activations.tokens or take a smaller --dtype", sum(parts.values())
    if limit is not None and size > limit:
        fit = int(train.total_rows * (limit - parts["held_out"]) / parts["train"])
        raise ActivationError(
            f"{folder} would have {readable(size)}, {readable(parts['held_out'])} of it held out; its limit "
            f"is {readable(limit)}: "
            + (f"about {fit:,} rows fit; {lower}" if fit > 0 else "no row fits; lower evaluation.windows")
            + ", or raise --limit"
        )
    free = _free(folder)
    if missing + RESERVE > free:
        raise ActivationError(
            f"{folder} needs {readable(missing)} more, {readable(free)} are free there; {lower}, or name a "
            "folder on another disk"
        )


def _write_shard(folder: Path, harvest: Harvest, shard: dict[str, Any]) -> Iterator[int]:
    """Harvest one shard and write it; after each chunk its rows."""
    size = shard["rows"] * harvest.bytes_per_row
    if _free(folder) < size + RESERVE:
        raise ActivationError(
            f"stopped before the disk of {folder} is full: {readable(_free(folder))} are free, a shard needs "
            f"{readable(size)}; free some space, the same command goes on"
        )
    chunks = range(*shard["chunks"])
    rows, digests = torch.empty(shard["rows"], harvest.d_in, dtype=harvest.dtype), []
    for chunk, place in zip(chunks, rows.split([harvest.rows[c] for c in chunks]), strict=True):
        place.copy_(harvest.read(chunk)[0])
        check_finite(harvest, [chunk], place, place)
        digests.append(_bytes_digest(place))
        yield len(place)
    said = json.dumps({"rows": [harvest.rows[c] for c in chunks], "sha256": digests})
    with whole_file(folder / shard["name"], "the shards before it are whole") as draft:
        write_tensors({WANTED: rows}, draft, {CHUNKS: said})


def _bytes_digest(rows: Tensor) -> str:
    return hashlib.sha256(rows.contiguous().view(torch.uint8).numpy().data).hexdigest()


def _digest(folder: Path, about: dict[str, Any], shard: dict[str, Any]) -> str | None:
    """The digest of a shard that is there; None if it is not, or has another size."""
    place = folder / shard["name"]
    if not place.is_file():
        return None
    try:
        start, said = header_of(Files(folder), shard["name"])
    except (ValueError, KeyError, TypeError):
        return None
    size = start + shard["rows"] * about["width"] * DTYPES[about["harvest"]["dtype"]].itemsize
    return chunks_digest(said) if place.stat().st_size == size else None


def _completed(folder: Path, about: dict[str, Any]) -> int:
    """How many shards are missing; if none is, the manifest gets their digests."""
    lacking = 0
    for part in ("train", "held_out"):
        for shard in about[part]["shards"]:
            found = _digest(folder, about, shard)
            lacking += found is None
            shard["sha256"] = found
    if not lacking:
        try:
            write_json(folder / MANIFEST, about)
        except WriteError:  # a part that ended at the same moment took our draft away
            if json.loads((folder / MANIFEST).read_text(encoding="utf-8")) != about:
                raise
        remove_drafts(folder)  # all shards are there: nobody writes another
    return lacking


def _free(folder: Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    return shutil.disk_usage(there).free
