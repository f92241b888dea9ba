"""What stands beside the metrics in files of known tools: carried along where it may matter, else named."""

from __future__ import annotations

from itertools import chain
from typing import Any

from frontier.metrics.names import canonical_name
from frontier.metrics.table import may_group
from frontier.readers import configs
from frontier.readers.found import Found, num

IDENTITY = frozenset({
    *configs.MODEL, *configs.HOOK, *configs.LAYER, *configs.WIDTH, *configs.INPUT, *configs.TOKENS,
    *configs.SEED, *configs.TRAINED_AS, *configs.ARCHITECTURE, *configs.ACTIVATION, *configs.OURS,
    "library_version", "sae_lens_version",
})  # fmt: skip
"""Names that the readers look at in every config."""

_PROTOCOL = ("dataset", "context_size", "exclude_special_tokens_from_reconstruction", "batch_size_prompts")
READ = {
    "eval_cfg": IDENTITY | {*_PROTOCOL},
    "eval_config": IDENTITY | {*_PROTOCOL},
    "": IDENTITY | {
        "sae_bench_commit_hash", "eval_type_id", "sae_set", "sae_id", "unique_id", "sae_lens_id",
        "sae_lens_release_id", "sae_name", "name", "run_id", "State", "state",
    },
}  # fmt: skip
"""Names that they look at in a part of their own files."""

_SETTINGS = frozenset(name for name, _ in configs.SETTINGS)


def add_beside(found: Found) -> list[str]:
    """Facts that differ from SAE to SAE, and are shared by some, into the rows; the names of all others.

    A fact that every SAE has for itself (a name, a time) groups nothing, and one that all share neither.
    """
    unused, parts = [], dict.fromkeys(part for beside in found.beside for part in beside)
    seen: set[str] = set()
    for part in parts:
        facts = [beside.get(part, {}) for beside in found.beside]
        if all(fact is facts[0] for fact in facts):
            found.pass_over(part, facts[0])
            continue
        for key in dict.fromkeys(chain.from_iterable(facts)):
            name = f"{part}.{key}" if part else key
            cells = (
                []
                if key in READ.get(part, IDENTITY)
                else _unread(found, key, name, [fact.get(key) for fact in facts])
            )
            if not cells:
                continue
            seen.add(key)
            kinds = {cell for cell in cells if cell is not None}
            groups = 1 < len(kinds) <= len(cells) / 2 and may_group(name)
            if groups or name in found.options.columns:
                for row, cell in zip(found.rows, cells, strict=True):
                    if cell is not None:
                        row.setdefault(name, cell)
            else:
                unused.append(name)
    known = {*_SETTINGS, *seen}
    passed = [
        (shape[0], key)
        for shape, keys in found.passed.items()
        for key in keys
        if key not in known and key not in READ.get(shape[0], IDENTITY)
    ]
    return unused + list(dict.fromkeys(f"{part}.{key}" if part else key for part, key in passed))


def _unread(found: Found, key: str, name: str, cells: list[Any]) -> list[Any]:
    """A fact per row, missing where it is the row's setting; empty where no row has it, or all do already."""
    if any(isinstance(cell, (dict, list)) for cell in cells) or canonical_name(key) in configs.OURS:
        return []
    if key in _SETTINGS:
        rows = zip(found.rows, cells, strict=True)
        cells = [None if num(cell) == row.get("sparsity_setting") else cell for row, cell in rows]
    cells = [None if cell != cell else cell for cell in cells]
    new = (cell is not None and name not in row for row, cell in zip(found.rows, cells, strict=True))
    return cells if any(new) else []
