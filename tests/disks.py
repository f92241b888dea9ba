"""Real disks that are full, and commands that permissions hold for, where the system allows them."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@contextmanager
def small_disk(folder, kilobytes):
    """A file system of its own, of so many kilobytes; the test is skipped where none can be mounted."""
    folder.mkdir()
    if not shutil.which("mount"):
        pytest.skip("a small disk is a mounted one, and there is no mount")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk, left):
    """Fill a disk but for so many kilobytes."""
    room = shutil.disk_usage(disk).free - 1024 * left
    (disk / "filling").write_bytes(b"x" * room)


def ordinary(*words):
    """A command that must obey the permissions of folders, as root's do not, run to its end.

    Root stays the owner, without the right to override what is not allowed; skipped where that is not known.
    """
    words = [sys.executable, *map(str, words)]
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions of folders are another thing on this system")
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root may write everywhere, and there is no setpriv to give that up")
        words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *words]
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=120)


def in_one_line(errors, *parts):
    """Whether the errors of a command are one line with all of these."""
    return errors.count("\n") == 1 and "Traceback" not in errors and all(p in errors for p in parts)
