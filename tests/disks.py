"""Real disks that are full, and permissions that hold for root too, where the system allows them."""

import ctypes
import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

OVERRIDES = 1 << 1 | 1 << 2
"""The capabilities CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


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


class CapabilityHeader(ctypes.Structure):
    """Version 3 of Linux' sets of capabilities; process 0 is the thread that asks."""

    _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))


@contextmanager
def permissions_hold():
    """Inside, this thread must obey the permissions of folders, as root's need not.

    Root stays the owner, without the right to override what is not allowed; skipped where that is not known.
    """
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions of folders are another thing on this system")
    if os.geteuid():
        yield
        return
    system, header, sets = ctypes.CDLL(None), CapabilityHeader(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if not hasattr(system, "capget") or system.capget(ctypes.byref(header), sets):
        pytest.skip("root may write everywhere, and there is no capset to give that up")
    before = sets[0]
    sets[0] &= ~OVERRIDES
    assert system.capset(ctypes.byref(header), sets) == 0
    try:
        yield
    finally:
        sets[0] = before
        assert system.capset(ctypes.byref(header), sets) == 0


def in_one_line(errors, *parts):
    """Whether the errors of a command are one line with all of these."""
    return errors.count("\n") == 1 and "Traceback" not in errors and all(p in errors for p in parts)
