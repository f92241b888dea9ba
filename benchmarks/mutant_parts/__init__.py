"""Planted faults: what can be planted in a file, and whether the tests notice."""
