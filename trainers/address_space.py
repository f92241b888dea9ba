"""A limit on address space that would end torch without a word."""

from __future__ import annotations

LEAST_ADDRESS_SPACE = 2.2e9
"""Bytes: with 1.6 GB torch ends in std::bad_alloc or LLVM aborts, from 1.8 to 2 GB one waits for ever."""


def lack_of_address_space() -> str:
    """What is wrong with the limit (`ulimit -v`) for torch and its compiled loops; empty if nothing."""
    try:
        import resource
    except ImportError:  # no such limits on this system
        return ""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY or limit >= LEAST_ADDRESS_SPACE:
        return ""
    return (
        f"the limit on address space (ulimit -v) is {limit / 1e9:.2g} GB; torch and its compiled loops "
        f"need {LEAST_ADDRESS_SPACE / 1e9:.2g} GB before they train; raise it"
    )
