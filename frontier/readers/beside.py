"""What stands beside the metrics in files of known tools: carried along where it may matter, else named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from frontier.metrics.names import canonical_name
from frontier.metrics.table import says_nothing
from frontier.readers import configs
from frontier.readers.found import Beside, Found, Row, num

IDENTITY = frozenset({
    *configs.MODEL, *configs.HOOK, *configs.LAYER, *configs.WIDTH, *configs.INPUT, *configs.TOKENS,
    *configs.SEED, *configs.TRAINED_AS, *configs.ARCHITECTURE, *configs.ACTIVATION, *configs.OURS,
    "batch_size_prompts", "context_size", "library_version", "sae_lens_version",
})  # fmt: skip
"""Names that the readers look at in every config."""

READ = IDENTITY | {
    "dataset", "exclude_special_tokens_from_reconstruction", "sae_bench_commit_hash", "eval_type_id",
    "sae_set", "sae_id", "unique_id", "sae_lens_id", "sae_lens_release_id", "sae_name", "name", "run_id",
    "State", "state",
}  # fmt: skip
"""Names that they look at in their own files."""

_SETTINGS = frozenset(name for name, _ in configs.SETTINGS)


def add_beside(found: Found) -> list[str]:
    """Facts that differ from SAE to SAE, and are shared by some, into the rows; the names of all others.

    A fact that every SAE has for itself (a name, a time) groups nothing, and one that all share neither.
    """
    values: dict[str, dict[int, Any]] = defaultdict(dict)
    for i, (row, beside) in enumerate(zip(found.rows, found.beside, strict=True)):
        for name, value in _unread(row, beside):
            values[name][i] = value
    constant: list[str] = []
    for name, cells in values.items():
        kinds = len(set(map(str, cells.values())))
        groups = 1 < kinds <= len(found.rows) / 2 and not says_nothing(name)
        if not groups and name not in found.options.columns:
            constant.append(name)
            continue
        for i, value in cells.items():
            found.rows[i].setdefault(name, value)
    known = {*READ, *_SETTINGS, *values}
    passed = [name for name in found.passed if name.rpartition(".")[2] not in known and name not in known]
    return constant + passed


def _unread(row: Row, beside: Beside) -> Iterator[tuple[str, Any]]:
    for part, facts in beside.items():
        for key, value in facts.items():
            if value is None or key in READ or isinstance(value, (dict, list)) or value != value:
                continue
            if key in _SETTINGS and num(value) == row.get("sparsity_setting"):
                continue
            name = f"{part}.{key}" if part else key
            if name not in row and canonical_name(key) not in configs.OURS:
                yield name, value
