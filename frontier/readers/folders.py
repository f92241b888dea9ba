"""Folders, scanned to the bottom: what can be read is read, and what cannot is named."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from frontier.metrics import metrics_table, per_cent, require_metrics
from frontier.metrics.checks import TableError
from frontier.readers.found import Found, num, printable
from frontier.readers.logged import finish
from frontier.readers.our_runs import ASKED, in_pilots, without_ours
from frontier.readers.recognise import KINDS, is_looked_into, read_file
from frontier.wording import listed, plural

LOGS = (" run", " log")
"""How the kinds of files end that are a part of a log."""
MANY = 200
"""From so many files on a progress bar is shown, on a terminal."""


@contextmanager
def all_is_kept() -> Iterator[None]:
    """No search for garbage meanwhile: what thousands of files say stays, and each search would visit it."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


def scan(folder: str, found: Found) -> None:
    """Every result file in a folder and the folders in it into `found`; broken ones are named in a remark.

    Raises
    ------
    TableError
        When none can be read.
    """
    kinds, lacking = Counter[str](), ""
    unread: list[str] = []
    asked: list[str] = []
    files, not_evaluated = without_ours(files_in(folder, unread, asked), folder)
    not_evaluated += filter(None, map(in_pilots, asked))
    for path in tracked(files, "Reading", MANY):
        frames, rows, told, repeats = len(found.frames), len(found.rows), found.told, found.repeats
        try:
            kind = read_file(path, found)
            problem = _keep_tables_of_metrics(found, frames) if len(found.frames) > frames else ""
        except (TableError, OSError) as error:
            name = _inside(path, folder)
            said = str(error).replace(printable(path), name, 1)
            found.broken.append((said if said.startswith(name) else f"{name}: {said}")[:300])
            found.forget(rows, frames)
            continue
        if any(num(row.get("l0")) is not None for row in found.rows[rows:]) or len(found.frames) > frames:
            kinds[kind] += 1
        elif found.told > told or found.repeats > repeats or kind.endswith(LOGS):
            kinds[kind] += 1
        elif kind in ("plain table", "configuration"):
            found.ignored.append(_inside(path, folder))
            lacking = f"{_inside(path, folder)}: {problem}" if problem else lacking
        else:
            name = _inside(path, folder)
            count = len(found.rows) - rows
            problem = problem or (f"no L0 in {plural(count, 'row')}" if count else "no number in it")
            found.broken.append(f"{name}, a {kind}: {problem}"[:300])
            found.forget(rows, frames)
    finish(found)
    _agree(found, folder)
    _say_files(found, kinds, unread)
    if not_evaluated and not found.rows and not found.frames:
        raise TableError(listed([*not_evaluated, *found.broken], 3, "; "))
    if not_evaluated:
        found.say(f"{plural(len(not_evaluated), 'run')} left out: {listed(not_evaluated, 3, '; ')}")
    if not found.rows and not found.frames:
        reason = f"; {found.broken[0] if found.broken else lacking}" if found.broken or lacking else ""
        raise TableError(
            f"{folder}: no SAE metrics in {len(files)} files ending in {listed(list(KINDS[:11]))} "
            f"({len(found.broken)} broken, {len(found.ignored)} of other content){reason}"
        )


def _keep_tables_of_metrics(found: Found, first: int) -> str:
    """Check each plain table of a folder by itself: scale and names may differ from file to file.

    Returned is why the last one without metrics is none.
    """
    problem = ""
    for i in range(len(found.frames) - 1, first - 1, -1):
        path, frame = found.frames[i]
        scales = list(per_cent.scales(frame))
        table = found.options.sided(metrics_table(found.options.marked(frame)))
        try:
            require_metrics(table, path)
        except TableError as error:
            problem = str(error).removeprefix(f"{path}: ")
            del found.frames[i]
        else:
            found.frames[i] = (path, table)
            found.scales[path] = scales
    return problem


def _agree(found: Found, folder: str) -> None:
    """Shares under one name in several plain tables on one scale, where some tell that of the others."""
    tables = {_inside(path, folder): frame for path, frame in found.frames if path in found.scales}
    told = {_inside(path, folder): shares for path, shares in found.scales.items()}
    for name, ours in per_cent.agreed({name: told[name] for name in tables}):
        per_cent.divided(tables[name], ours)
        found.say(f"{ours}: divided by 100, as it is per cent in other files under this name", name)


def files_in(folder: str, unread: list[str], asked: list[str] | None = None) -> Iterator[str]:
    """Files of known endings in a stable order, however deep; a config beside a result is read with it.

    What cannot be looked into goes to `unread`, with the reason; folders with an `asked.toml` go to `asked`.
    """
    open_folders = [iter(_entries(folder, folder, unread))]
    while open_folders:
        entry = next(open_folders[-1], None)
        if entry is None:
            open_folders.pop()
            continue
        problem = ""
        try:
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith((".", "__")):
                    open_folders.append(iter(_entries(entry.path, folder, unread)))
            elif (
                entry.is_symlink() and entry.is_dir() and entry.name != "latest-run"
            ):  # of W&B, to one of them
                problem = "a link to a folder, not followed"
            elif entry.name == ASKED and asked is not None:
                asked.append(os.path.dirname(entry.path))
            elif is_looked_into(entry.name):
                if entry.is_file():
                    yield entry.path
                else:
                    problem = "no plain file" if os.path.exists(entry.path) else "a link to nothing"
        except OSError as error:
            problem = _reason(error)
        if problem:
            unread.append(f"{_inside(entry.path, folder)} ({problem})")


def _entries(path: str, folder: str, unread: list[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as opened:
            entries = sorted(opened, key=lambda entry: in_order(entry.name))
    except OSError as error:
        unread.append(f"{_inside(path, folder)} ({_reason(error)})")
        return []
    beside = any(entry.name == "eval_results.json" for entry in entries)
    return [entry for entry in entries if not (beside and entry.name == "config.json")]


def in_order(name: str) -> list[tuple[int, str]]:
    """What names sort by so that 'layer_3' comes before 'layer_10'.

    >>> sorted(["layer_10", "layer_3", "layer"], key=in_order)
    ['layer', 'layer_3', 'layer_10']
    """
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), part) if i % 2 else (-1, part) for i, part in enumerate(parts) if part or i == 0]


def _inside(path: str, folder: str) -> str:
    return printable(os.path.relpath(path, folder))


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def tracked(files: list[str], doing: str, many: int) -> Iterable[str]:
    """The files themselves, under a progress bar where there are so many and somebody looks."""
    if len(files) < many or not sys.stderr.isatty():
        return files
    from rich.console import Console
    from rich.progress import track

    return track(files, doing, console=Console(stderr=True), transient=True)


def _say_files(found: Found, kinds: Counter[str], unread: list[str]) -> None:
    if kinds:
        found.recognised.append(", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    found.say_left_out("broken files")
    if found.ignored:
        found.say(f"{len(found.ignored)} files without SAE metrics left out: {listed(found.ignored, 3)}")
    if unread:
        short = [name if len(name) < 120 else f"{name[:40]}...{name[-70:]}" for name in unread]
        found.say(f"{len(unread)} not looked into: {listed(short, 5)}")
