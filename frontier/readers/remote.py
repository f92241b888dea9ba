"""Files on a network by fsspec: hf://, s3://, gs://, https:// and what else it knows.

Result files are copied into a cache and read there as any folder is; weights and what is too large are left.
The cache is asked again at every read: a file whose size, date or checksum is another is copied anew. Its
folders are named by digests, so that no address stands on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from pathlib import Path, PurePosixPath
from typing import Any

from frontier.metrics.checks import TableError
from frontier.readers.folders import scan, tracked
from frontier.readers.found import Found, printable
from frontier.readers.opening import LARGEST
from frontier.readers.optional import optional
from frontier.readers.recognise import is_looked_into, read_file
from frontier.wording import listed, plural
from frontier.writing import write_text

MOST_FILES = 20_000
MOST_BYTES = 2 * 2**30
TRIES = 3
MANY = 5
"""From so many copies on a progress bar is shown, on a terminal."""
PAUSE = 0.5
"""Seconds before the second try; twice that before the third."""
EXTRAS = {"hf": "hub", "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
"""Extras by scheme; `remote` for the others."""
ACCESS = {
    "hf": "`hf auth login` or HF_TOKEN gives access to what is private",
    "s3": "AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY give access",
    "gs": "`gcloud auth application-default login` gives access",
}
FRESH = ("etag", "ETag", "LastModified", "Last-Modified", "mtime", "updated", "blob_id", "oid", "md5Hash")
"""Facts of a file that change when it does."""


def read_files(address: str, name: str, found: Found) -> None:
    """The result files at an address, or the one file that it names.

    Raises
    ------
    TableError
        When there is nothing, or too much, or no access; the address is not repeated.
    """
    scheme = address.partition("://")[0]
    fs, root = open_address(address, scheme, name)
    cache = cache_folder() / hashlib.sha256(address.encode()).hexdigest()[:16]
    single, files = _listed(fs, root, scheme, name, found)
    folder = cache if single else cache / name
    left = _copied(fs, files, folder, cache / "seen.json", scheme, name)
    if left:
        found.say(
            f"{plural(len(left), 'file')} larger than {LARGEST // 2**20} MB not read: {listed(left, 3)}"
        )
    copies = str(cache) + os.sep
    try:
        if single:
            found.recognised.append(read_file(str(folder / next(iter(files))), found))
            found.say_left_out("broken parts")
        else:
            scan(str(folder), found)
    except TableError as error:
        raise TableError(str(error).replace(copies, "")) from error
    _named(found, copies)


def cache_folder() -> Path:
    """Where copies are kept: SAE_FRONTIER_CACHE, or sae-frontier in the user's cache folder."""
    chosen = os.environ.get("SAE_FRONTIER_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen) if chosen else Path(base) / "sae-frontier"


def open_address(address: str, scheme: str, name: str) -> tuple[Any, str]:
    """The file system of an address, and where in it; `name` is what may be said of it.

    Raises
    ------
    ImportError, TableError
        If its client is missing; if it is no kind of address that is known.
    """
    extra = EXTRAS.get(scheme, "remote")
    fsspec: Any = optional("fsspec", extra)
    if scheme == "hf":
        optional("huggingface_hub", extra)
    try:
        fs, root = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise ImportError(f"{scheme}:// needs a client: pip install 'sae-frontier[{extra}]'") from error
    except ValueError as error:
        known = sorted(fsspec.available_protocols())
        if scheme not in known:
            raise TableError(
                f"{scheme}:// is no kind of address that is known: {listed(known, 12)}"
            ) from error
        raise TableError(f"{name}: {reason_of(error, scheme)}") from error
    return fs, str(root)


def _listed(
    fs: Any, root: str, scheme: str, name: str, found: Found
) -> tuple[bool, dict[str, dict[str, Any]]]:
    """Whether the address is one file, and what is to be copied, by path below it."""
    if scheme in ("http", "https") and not is_looked_into(name):
        raise TableError(f"{name}: an address of the web must be that of one file, with a known ending")
    try:
        fs.invalidate_cache()
        about = tried(lambda: fs.info(root))
        if about["type"] == "file":
            return True, {name: about}
        inside = tried(lambda: fs.find(root, detail=True))
    except Exception as error:
        raise TableError(f"{name} cannot be reached: {reason_of(error, scheme)}") from None
    below = root.rstrip("/") + "/"
    wanted = {p.removeprefix(below): i for p, i in inside.items() if is_looked_into(PurePosixPath(p).name)}
    files = {p: i for p, i in wanted.items() if _safe(p)}
    if outside := [printable(p) for p in wanted if p not in files]:
        found.say(f"{plural(len(outside), 'file')} named outside the folder not read: {listed(outside, 3)}")
    size = sum(int(i.get("size") or 0) for i in files.values() if int(i.get("size") or 0) <= LARGEST)
    if not files:
        raise TableError(f"{name}: no result files among {plural(len(inside), 'file')}")
    if len(files) > MOST_FILES or size > MOST_BYTES:
        raise TableError(
            f"{name} has {plural(len(files), 'result file')} of {size / 2**20:.0f} MB together; at most "
            f"{MOST_FILES} and {MOST_BYTES // 2**20} MB are copied: name a folder inside"
        )
    return False, dict(sorted(files.items()))


def _safe(path: str) -> bool:
    """Whether a path from a server stays in its folder."""
    parts = PurePosixPath(path).parts
    return bool(parts) and ".." not in parts and not path.startswith(("/", "\\")) and "\\" not in path


def _copied(
    fs: Any, files: dict[str, dict[str, Any]], folder: Path, seen_at: Path, scheme: str, name: str
) -> list[str]:
    """Bring the folder to what is there now; the files that are too large."""
    seen: dict[str, str] = {}
    if seen_at.is_file():
        try:
            seen = dict(json.loads(seen_at.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            seen = {}
    large = [p for p, about in files.items() if int(about.get("size") or 0) > LARGEST]
    now = {p: _mark(about) for p, about in files.items() if p not in large}
    for gone in seen.keys() - now.keys():
        (folder / gone).unlink(missing_ok=True)
    due = [p for p, mark in now.items() if not mark or seen.get(p) != mark or not (folder / p).is_file()]
    for path in tracked(due, "Copying", MANY):
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(place.name + ".draft")
        try:
            tried(lambda p=path, d=draft: fs.get_file(files[p]["name"], str(d)))
        except Exception as error:
            draft.unlink(missing_ok=True)
            raise TableError(f"{name}/{path} cannot be copied: {reason_of(error, scheme)}") from None
        os.replace(draft, place)
    if due:
        write_text(seen_at, json.dumps({p: m for p, m in now.items() if m}))
    return large


def _mark(about: dict[str, Any]) -> str:
    """A digest of what changes when a file does; empty where the server says nothing of the kind."""
    facts = {k: str(about[k]) for k in (*FRESH, "size") if about.get(k) is not None}
    if about.get("lfs"):
        facts["lfs"] = str(about["lfs"])
    known = facts.keys() - {"size"}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16] if known else ""


def tried(action: Any) -> Any:
    """Do it, again after a pause where the network failed."""
    for i in range(TRIES):
        try:
            return action()
        except (FileNotFoundError, PermissionError, IsADirectoryError, NotImplementedError):
            raise
        except Exception as error:
            if i == TRIES - 1 or _status(error) in (401, 403, 404):
                raise
            time.sleep(PAUSE * 2**i)


def _status(error: Exception) -> int | None:
    """The status of the answer that a client made an error of."""
    if str(error).startswith("Forbidden"):  # gcsfs
        return 403
    known = getattr(error, "response", None), error, error
    found = (getattr(e, name, None) for e, name in zip(known, ("status_code", "status", "code"), strict=True))
    return next((s for s in found if isinstance(s, int)), None)


def reason_of(error: Exception, scheme: str) -> str:
    """Why, without the address: an error of a client repeats it, with what stands in it."""
    status = _status(error)
    if isinstance(error, FileNotFoundError) or status == 404:
        reason = "there is no such place, or it is private"
    elif isinstance(error, PermissionError) or status in (401, 403):
        reason = "access is refused"
    else:
        reason = re.sub(r"\S*://\S*", "...", type(error).__name__ + (f", status {status}" if status else ""))
    return f"{reason}; {ACCESS[scheme]}" if scheme in ACCESS else reason


def _named(found: Found, cache: str) -> None:
    """Speak of what was read by its path at the address."""

    def plain(text: Any) -> Any:
        return text.replace(cache, "") if isinstance(text, str) else text

    found.frames = [(plain(path), frame) for path, frame in found.frames]
    for row in found.rows:
        row |= {k: plain(v) for k, v in row.items() if k in ("source", "run_id")}
    for log in found.logs.values():
        log.path = plain(log.path)
    found.broken = [plain(text) for text in found.broken]
    found.said = {plain(remark): [plain(w) for w in where] for remark, where in found.said.items()}
