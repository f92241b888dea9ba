"""How much memory a device has for this process."""

from __future__ import annotations

import os
from pathlib import Path

import torch

SYSTEM, OWN = Path("/proc/meminfo"), Path("/proc/self/statm")
CONTAINER = Path("/sys/fs/cgroup/memory.max")


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free; None where the system does not tell.

    On a CPU swap counts too, and each of torchrun's processes of a machine has an equal share.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    try:
        lines = (line.split() for line in SYSTEM.read_text(encoding="ascii").splitlines())
        kilobytes = {words[0]: int(words[1]) for words in lines}
        return 1024 * (kilobytes["MemAvailable:"] + kilobytes["SwapFree:"]) // _processes()
    except (OSError, ValueError, KeyError, IndexError):  # not Linux
        return None


def usable_memory(device: torch.device) -> int | None:
    """Bytes that are free or that this process holds; None where the system does not tell."""
    free = free_memory(device)
    if free is None:
        return None
    if device.type == "cuda":
        return free + torch.cuda.memory_reserved(device)
    held = int(OWN.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")
    return min(free + held, _limit_of_container() // _processes())


def _processes() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _limit_of_container() -> int:
    """What a container may use; more than any machine has where nobody set it."""
    try:
        return int(CONTAINER.read_text(encoding="ascii"))
    except (OSError, ValueError):  # not in one, or "max"
        return 2**63
