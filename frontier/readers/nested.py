"""Rows inside nested JSON: the one list of SAEs is found, wherever it stands, with the facts around it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from frontier.metrics.checks import TableError
from frontier.metrics.names import canonical_name, slug
from frontier.readers.configs import architecture_in
from frontier.readers.found import flat
from frontier.wording import in_shell, listed, nearest

DEEPEST = 8
BATCHES = frozenset(
    "batches tokens windows prompts documents docs sequences examples samples latents".split()
)
HISTORIES = frozenset("history log logs steps checkpoints epochs training trajectory curve".split())
"""What lists are called whose items are no SAEs, or one SAE at several times."""

MOST_FACTS = 100
"""Facts of one dict beside the results; one with more holds something per latent."""

Rows = dict[str, list[dict[str, Any]]]


def rows_in(content: Any, rows_at: str | None = None) -> list[dict[str, Any]] | None:
    """The records of SAEs in nested JSON, each with the plain facts that stand above it.

    Parameters
    ----------
    rows_at : str, optional
        The names on the way to them, with dots, where there are several such lists.

    Returns
    -------
    list of dict
        None where there are none.

    >>> rows_in({"layer": 8, "per_sae": [{"l0": 20, "mse": 1}, {"l0": 40, "mse": 2}]})
    [{'layer': 8, 'l0': 20, 'mse': 1}, {'layer': 8, 'l0': 40, 'mse': 2}]

    Raises
    ------
    TableError
        When there are several and none is named, or none of that name.
    """
    found: Rows = {}
    for way, record in _records(content, (), {}, 0):
        found.setdefault(".".join(way), []).append(record)
    if rows_at is not None:
        inside = {way: rows for way, rows in found.items() if way == rows_at or way.endswith(f".{rows_at}")}
        if not inside:
            raise TableError(f"no list of SAEs under {rows_at!r}{nearest(rows_at, list(found))}")
        found = inside
    if not found:
        return None
    if len(found) > 1:
        return _families(found)
    return next(iter(found.values()))


def _records(
    content: Any, way: tuple[str, ...], above: dict[str, Any], depth: int
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every dict that has an L0, with the names on the way to it and the facts above it."""
    if depth > DEEPEST:
        return
    if isinstance(content, list):
        listed_under = slug(way[-1]) if way and not _name_saes(content) else ""
        if len(content) > 1 and listed_under in BATCHES and _holds_l0(content, depth):
            raise TableError(
                f"its rows are {listed_under}, not SAEs (under {'.'.join(way)}); give one row per SAE, its "
                f"losses and L0 averaged over the {listed_under}"
            )
        for step, inner in enumerate(content):
            if isinstance(inner, dict):
                facts = {**above, "step": step} if listed_under in HISTORIES else above
                yield from _records(inner, way, facts, depth + 1)
        return
    if not isinstance(content, dict):
        return
    columns = _as_columns(content)
    if columns:
        for record in columns:
            yield way, {**above, **record}
        return
    if _has_l0(content):
        yield way, {**above, **flat(content)}
        return
    nested: dict[str, Any] = {str(k): v for k, v in content.items() if isinstance(v, (dict, list))}
    plain = {k: v for k, v in content.items() if not isinstance(v, (dict, list))}
    for name, inner in nested.items():  # settings beside the results
        if isinstance(inner, dict) and not _holds_l0(inner, depth + 1):
            facts = flat(inner, f"{name}.")
            plain |= facts if len(facts) <= MOST_FACTS else {}
    named = [name for name, inner in nested.items() if isinstance(inner, dict) and _has_l0(inner)]
    for name, inner in nested.items():
        if len(named) > 1 and name in named:  # records by name
            yield way, {"run_id": name, **above, **plain, **flat(inner)}
        elif canonical_name(name) is None or isinstance(inner, list):
            yield from _records(inner, (*way, name), {**above, **plain}, depth + 1)


def _name_saes(content: list[Any]) -> bool:
    """Whether the items of a list say which SAE they are, each its own."""
    own = ("architecture", "family", "run_id", "sparsity_setting")
    first = content[0] if content and isinstance(content[0], dict) else {}
    return any(canonical_name(name) in own for name in flat(first))


def _holds_l0(content: Any, depth: int) -> bool:
    """Whether an L0 stands anywhere in it."""
    if depth > DEEPEST or not isinstance(content, (dict, list)):
        return False
    if isinstance(content, list):
        return any(_holds_l0(inner, depth + 1) for inner in content)
    return any(canonical_name(str(k)) == "l0" or _holds_l0(v, depth + 1) for k, v in content.items())


def _has_l0(record: dict[str, Any]) -> bool:
    return any(canonical_name(str(name)) == "l0" for name in flat(record, depth=2))


def _as_columns(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of a dict of equally long columns with an L0; empty where it is none."""
    lists = {str(k): v for k, v in content.items() if isinstance(v, list)}
    l0 = next((v for k, v in lists.items() if canonical_name(k) == "l0"), None)
    if not l0 or any(isinstance(cell, (dict, list)) for cell in l0):
        return []
    columns = {name: cells for name, cells in lists.items() if len(cells) == len(l0)}
    if any(canonical_name(name) for name in lists.keys() - columns.keys()):
        return []
    plain = {k: v for k, v in content.items() if not isinstance(v, (dict, list))}
    return [plain | {name: cells[i] for name, cells in columns.items()} for i in range(len(l0))]


def _families(found: Rows) -> list[dict[str, Any]]:
    """Lists whose names differ in nothing but the architecture that they name: one table.

    Raises
    ------
    TableError
        When they are lists of other things.
    """
    kinds = [architecture_in(way.rpartition(".")[2]) for way in found]
    if all(kinds) and len(set(kinds)) == len(kinds) and len({w.rpartition(".")[0] for w in found}) == 1:
        return [
            {"architecture": way.rpartition(".")[2], **record}
            for way, rows in found.items()
            for record in rows
        ]
    names = [f"{way} ({len(rows)} rows)" for way, rows in found.items()]
    raise TableError(
        f"it holds {len(found)} lists of SAEs, {listed(names, 4)}; name one: "
        f'read(..., rows_at="{next(iter(found))}") (--rows-at {in_shell(next(iter(found)))})'
    )
