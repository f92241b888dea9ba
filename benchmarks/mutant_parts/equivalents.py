"""Faults of the sample that change nothing a caller could see, each with the reason."""

EQUIVALENT: dict[str, str] = {}
"""Name of the fault (`faults.Fault.name`) to why no test could tell."""
