"""Weights & Biases: the runs table as CSV, the public-API recipe, run summaries; several SAEs per run."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import frontier.readers.dictionary_learning as dictionary_learning
import frontier.readers.openmoss as openmoss
import frontier.readers.sae_lens as sae_lens
import frontier.readers.sparsify as sparsify
from frontier.metrics.checks import TableError
from frontier.readers.beside import IDENTITY
from frontier.readers.found import Found, Row, flat, num, text
from frontier.readers.opening import python_dict

L0 = ("l0", "effective_l0")
API = ("summary", "config", "name")
MARKS = ("State", "Created", "Runtime", "Sweep", "Notes", "User", "Tags")
_GROUPS = "|".join(("losses", "metrics", "sparsity", "details", *sae_lens.BLOCKS))
_MEMBER = re.compile(rf"(?:(?P<name>.+)/)?(?:{_GROUPS})[./].+")
_TRAINER = re.compile(r"(?P<name>[^/]+?-\d+)[/.](?P<key>.+)")
"""One trainer of several in a run, whatever its class: `AutoEncoderTopK-0/l0`, `JumpRelu-3.layer`."""


def is_runs_table(names: list[str]) -> bool:
    """Whether a header is that of a runs table downloaded as CSV, or of several SAEs side by side."""
    told = sum(mark in names for mark in MARKS)
    return ("Name" in names and (told >= 2 or "State" in names)) or any(map(_is_l0_of_trainer, names))


def _is_l0_of_trainer(name: str) -> bool:
    found = _TRAINER.fullmatch(name)
    return found is not None and found["key"] in L0


def is_chart(names: list[str]) -> bool:
    """Whether a header is that of a chart downloaded as CSV: one metric over steps, a column per run."""
    return any(name.endswith(("__MIN", "__MAX")) for name in names)


def is_history(names: list[str]) -> bool:
    """Whether rows are the steps at which a known tool logged: its last values are the SAE's."""
    known = any(map(_is_l0_of_trainer, names)) or any(_MEMBER.fullmatch(name) for name in names)
    return known and "_step" in names


def is_api_export(names: list[str]) -> bool:
    """Whether a header is that of the public-API recipe."""
    return set(API) <= set(names)


def is_api_record(content: dict[str, Any]) -> bool:
    """Whether a JSON dict is a run as the public API gives it."""
    return isinstance(content.get("summary"), dict) and isinstance(content.get("config"), dict)


def is_summary(content: dict[str, Any]) -> bool:
    """Whether a JSON dict is a run's `wandb-summary.json`."""
    return "_runtime" in content or "_step" in content


def read_runs_table(records: list[dict[str, Any]], path: str, found: Found) -> list[Row]:
    """Rows of a runs table; returned are those of no tool that is known, under their own names."""
    left = []
    for i, record in enumerate(records):
        values = {k: v for k, v in record.items() if v is not None and v == v and k != "Name"}
        name = text(record.get("Name")) or f"run {i}"
        before = len(found.rows)
        if not read_run(values, values, name, found):
            left.append({"run_id": name, **{k: v for k, v in values.items() if k != "State"}})
            _finish(left[-1:], path, text(record.get("State")))
        _finish(found.rows[before:], path, text(record.get("State")))
    found.say("Weights & Biases keeps the last logged value, which need not be the final evaluation")
    return left


def read_api_export(records: list[dict[str, Any]], path: str, found: Found) -> list[Row]:
    """Rows of the public-API recipe, whose cells are dicts as text; as `read_runs_table`."""
    left = []
    for i, record in enumerate(records):
        name = text(record.get("name")) or f"run {i}"
        try:
            summary, config = flat(python_dict(record["summary"])), flat(python_dict(record["config"]))
            config |= {
                k: v for k, v in record.items() if k not in (*API, "state") and v == v and k not in config
            }
        except TableError as error:
            found.broken.append(f"{path}, run {name}: {error}")
            continue
        before = len(found.rows)
        if not read_run(summary, config, name, found):
            left.append({"run_id": name, **config, **summary})
            _finish(left[-1:], path, text(record.get("state")))
        _finish(found.rows[before:], path, text(record.get("state")))
    found.say("Weights & Biases keeps the last logged value, which need not be the final evaluation")
    return left


def _finish(rows: list[Row], path: str, state: str) -> None:
    for row in rows:
        row["source"] = path
        if state and state.lower() != "finished":
            row |= {"doubts": f"run is {state.lower()}", "state": state.lower()}


def read_run(metrics: Mapping[str, Any], config: Mapping[str, Any], name: str, found: Found) -> bool:
    """One run of a known tool as one row per SAE; False when no tool is recognised."""
    if sparsify.is_log(metrics):
        before = len(found.rows)
        sparsify.from_log(metrics, _settings(config), name, found)
        logged = set(filter(sparsify.is_metric, metrics))
        for i in range(before, len(found.rows)):
            found.beside[i] = {"": _unread({**config, **metrics}, logged)}
        return True
    members = _members(metrics)
    names = sorted(filter(None, members), key=len, reverse=True)
    settings = _settings(config, "", names)
    logged = {key for keys in members.values() for key in keys.values()}
    for member, keys in members.items():
        own = {**settings, **_settings(config, member, names)} if member else settings
        whole = f"{name}/{member}" if member else name
        values = {short: metrics[key] for short, key in keys.items()}
        if openmoss.is_log(values):
            openmoss.from_log(values, own, whole, found)
        elif dictionary_learning.is_log(values):
            dictionary_learning.from_log(values, own, whole, found)
        else:
            sae_lens.from_log(values, own, whole, found)
        beside = found.beside[-1]
        left = _unread({**config, **metrics}, logged, member, names)
        found.beside[-1] = {**beside, "": {**left, **beside.get("", {})}}
    return bool(members)


def _unread(
    facts: Mapping[str, Any], logged: Collection[str], member: str = "", others: Collection[str] = ()
) -> dict[str, Any]:
    """What stands in a run beside the metrics of one SAE, but for what tells which SAE it is."""
    taken = {**_leaves(facts, "", others), **_leaves(facts, member, others)}
    left = {}
    for key, value in facts.items():
        owner = _owner(key, others)
        leaf = re.split(r"[./]", key)[-1]
        if key not in logged and owner in ("", member) and not (leaf in IDENTITY and taken.get(leaf) == key):
            left[key.partition(f"{owner}.")[2] or leaf if owner else key] = value
    return left


def _members(metrics: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What each SAE logged: its name for it, and the run's; one SAE alone has the name ''."""
    members: dict[str, dict[str, str]] = {}
    for key, value in metrics.items():
        member = _MEMBER.fullmatch(key)
        if num(value) is None:
            continue
        if member:
            name = member["name"] or ""
            members.setdefault(name, {})[key[len(name) + 1 :] if name else key] = key
        elif trainer := _TRAINER.fullmatch(key):
            members.setdefault(trainer["name"], {})[trainer["key"]] = key
    if not members and dictionary_learning.is_log(metrics):
        return {"": {key: key for key in metrics if key in dictionary_learning.LOGGED}}
    # What a run logs once (tokens, learning rate) is no SAE of its own.
    return {n: keys for n, keys in members.items() if any(re.split(r"[./]", k)[-1] in L0 for k in keys)}


def _settings(config: Mapping[str, Any], member: str = "", others: Collection[str] = ()) -> dict[str, Any]:
    """The config under the last parts of its names: what stands under one SAE's name, or under none's."""
    return {leaf: config[key] for leaf, key in _leaves(config, member, others).items()}


def _leaves(config: Mapping[str, Any], member: str, others: Collection[str]) -> dict[str, str]:
    inner: dict[str, str] = {}
    for key in config:
        owner = _owner(key, others)
        leaf = re.split(r"[./]", key)[-1]
        if owner == member and ("/" not in key or owner) and (leaf not in inner or owner):
            inner[leaf] = key
    return inner


def _owner(key: str, members: Collection[str]) -> str:
    """The SAE under whose name something stands; empty where it is the run's."""
    return next((m for m in members if f".{m}." in f".{key.replace('/', '.')}"), "")
