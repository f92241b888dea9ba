"""SAELens: evaluation files (JSON, CSV), `pretrained_saes.yaml`, and what its runs log."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from frontier.metrics.checks import TableError
from frontier.readers.configs import identity
from frontier.readers.found import Found, Row, num, table, text

TOOL = "SAELens"
MSE_FIXED, VARIANCE_FIXED = (6, 45, 2), (6, 45, 1)
"""Versions since which `mse` is per token, and `explained_variance` about the mean."""

NAMES = {
    "ce_loss_score": "loss_recovered",
    "ce_loss_with_ablation": "ce_zero_ablation",
    "ce_loss_with_sae": "ce_sae",
    "ce_loss_without_sae": "ce_clean",
    "kl_div_with_sae": "kl",
    "kl_div_with_ablation": "kl_zero_ablation",
    "cossim": "cosine_similarity",
    "relative_reconstruction_bias": "shrinkage",
    "frac_alive": "alive_fraction",
    "freq_over_1_percent": "frequency_above_1pct",
    "freq_over_10_percent": "frequency_above_10pct",
}
"""Metrics under other names here; the rest keeps its name."""

NUMBERS = {float, int}
MAY_BE_NEGATIVE = ("cossim", "average_max_encoder_cosine_sim", "average_max_decoder_cosine_sim")
JUMPRELU = "architecture jumprelu may be BatchTopK or Matryoshka, which SAELens saves as jumprelu; kept"
BLOCKS = (
    "model_behavior_preservation", "model_performance_preservation", "reconstruction_quality", "shrinkage",
    "sparsity", "token_stats", "misc_metrics",
)  # fmt: skip


PRETRAINED = ("id", "path", "l0", "variance_explained", "hook_name", "hook_point")
"""What is read of an entry of `pretrained_saes.yaml`."""


def is_result(content: dict[str, Any]) -> bool:
    """Whether a JSON dict is one SAE's evaluation."""
    return "metrics" in content and ("eval_cfg" in content or "sae_cfg" in content or "sae_set" in content)


def read_results(content: Mapping[Any, Any], path: str, found: Found) -> None:
    """Evaluations as `sae_lens.evals` writes them; one that was read from another file is not read twice."""
    for record in content.values():
        if not isinstance(record, dict) or not isinstance(record.get("metrics"), dict):
            raise TableError("not every record of this SAELens file has metrics")
        _add(record, path, found)


def _add(record: dict[str, Any], path: str, found: Found) -> None:
    evaluation = table(record.get("eval_cfg"))
    sae = text(record.get("sae_id"))
    release = text(record.get("sae_set"))
    key = text(record.get("unique_id")) or "-".join(filter(None, (release, sae)))
    config = table(record.get("sae_cfg"))
    metrics = {}
    for block, inner in record["metrics"].items():
        metrics.update(inner if isinstance(inner, dict) else {block: inner})
    version = text(evaluation.get("library_version"))
    row, changes = identity({**table(config.get("metadata")), **config}, f"{release}/{sae}")
    row |= {"run_id": key, "protocol": protocol(evaluation), "source": path}
    changes += measured(row, metrics, evaluation, version, found, key)
    owner = (TOOL, key, row["protocol"])
    beside = {"": record, "eval_cfg": evaluation, "sae_cfg": config}
    beside["sae_cfg.metadata"] = table(config.get("metadata"))
    if owner in found.owners and _same(found.owners[owner], row):
        for part, facts in beside.items():
            found.pass_over(part, facts)
        found.say("SAELens results that stand in more than one file were read once", key)
        found.repeats += 1
        return
    found.owners.setdefault(owner, row)
    if row["architecture"] == "jumprelu":
        found.say(JUMPRELU, key)
    say_changes(found, TOOL, changes, key)
    found.add(row, TOOL, version, changes, beside)


def _same(one: Row, other: Row) -> bool:
    """Whether two results of one name and protocol are one: floats from CSV may differ in the last digit."""
    pairs = [(num(one.get(name)), num(other.get(name))) for name in ("l0", "loss_recovered", "ce_sae")]
    return all(
        a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9)) for a, b in pairs
    )


def protocol(evaluation: Mapping[str, Any]) -> str | None:
    """Corpus, context length and special tokens of an `eval_cfg` or `eval_config`."""
    special = evaluation.get("exclude_special_tokens_from_reconstruction")
    return _protocol(
        text(evaluation.get("dataset")),
        text(evaluation.get("context_size")),
        special if isinstance(special, bool) else None,
    )


@lru_cache(maxsize=1024)
def _protocol(dataset: str, context: str, special: bool | None) -> str | None:
    parts = [dataset, f"{context} tokens" if context else ""]
    if special is not None:
        parts.append(f"special tokens {'excluded' if special else 'included'}")
    return ", ".join(p for p in parts if p) or None


def measured(
    row: Row,
    metrics: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    version: str,
    found: Found,
    name: str,
    *,
    always_divided: bool = False,
) -> list[tuple[str, str]]:
    """Write `metrics` into the row under our names, each with the definition that the version had.

    Returns
    -------
    list of (column, change)
    """
    changes: list[tuple[str, str]] = []
    values = list(metrics.values())
    if set(map(type, values)) <= NUMBERS and -1 not in values:  # as nearly always; one by one is slow
        row.update(zip(_names(tuple(metrics)), values, strict=True))
    else:
        _one_by_one(row, metrics, found, name)
    if "ce_zero_ablation" in row or "loss_recovered" in row:
        row["ablation"] = "zero"
    if num(row.get("mse")) is not None:
        changes.append(_mse(row, evaluation, () if always_divided else numbers_of(version)))
    if num(row.get("explained_variance")) is not None:
        changes.append(_variance(row, () if always_divided else numbers_of(version), always_divided))
    return changes


@lru_cache(maxsize=1024)
def _names(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(NAMES.get(key, key) for key in keys)


def _one_by_one(row: Row, metrics: Mapping[str, Any], found: Found, name: str) -> None:
    """Write numbers into the row; -1 is missing where nothing can be negative; other values are left out."""
    for key, value in metrics.items():
        if type(value) not in NUMBERS and num(value) is None:
            continue
        if value == -1 and key not in MAY_BE_NEGATIVE:
            found.say(f"{key}: -1 is a sentinel for missing; set to missing", name)
            row[NAMES.get(key, key)] = math.nan
        else:
            row[NAMES.get(key, key)] = value


def _mse(row: Row, evaluation: Mapping[str, Any], version: tuple[int, ...]) -> tuple[str, str]:
    if version >= MSE_FIXED:
        return "mse", ""
    prompts, context = num(evaluation.get("batch_size_prompts")), num(evaluation.get("context_size"))
    value = num(row.pop("mse"))
    if prompts and context and value is not None:
        row["mse"] = value * prompts * context
        return "mse", (
            f"multiplied by the {prompts * context:.0f} tokens of a batch, by which it was divided"
        )
    row["mse_of_unknown_scale"] = value
    return "mse_of_unknown_scale", (
        "'mse' was divided by the tokens of an evaluation batch, and no batch size is given: for ratios only"
    )


def _variance(row: Row, version: tuple[int, ...], bench: bool) -> tuple[str, str]:
    legacy = row.get("explained_variance_legacy")
    if legacy is None:
        row["explained_variance_legacy"] = row.pop("explained_variance")
        return "explained_variance_legacy", (
            "'explained_variance' without a legacy key beside it: the mean over tokens, not one ratio"
        )
    if version >= VARIANCE_FIXED:
        value = num(row.pop("explained_variance"))
        row["fvu"] = None if value is None else 1 - value
        return "fvu", "1 - explained_variance, which is about the mean since SAELens 6.45.1"
    if version or bench:
        row["explained_variance_about_zero"] = row.pop("explained_variance")
        return "explained_variance_about_zero", (
            "'explained_variance' is about zero, not about the mean, and so too large: never read as 1 - fvu"
        )
    return "explained_variance", (
        "about zero (SAELens before 6.45.1) or about the mean (since): the version is not given"
    )


def say_changes(found: Found, tool: str, changes: list[tuple[str, str]], name: str) -> None:
    """Every change that is one, as a remark."""
    for column, change in changes:
        if change:
            found.say(f"{tool} {column}: {change}", name)


def numbers_of(version: str) -> tuple[int, ...]:
    """The numbers of a version; empty when there is none.

    >>> numbers_of("6.45.2"), numbers_of("6.46.0rc1") > (6, 45, 2), numbers_of("unknown")
    ((6, 45, 2), True, ())
    """
    return tuple(int(part[:6]) for part in re.findall(r"\d+", version)[:3])


def is_csv(names: list[str]) -> bool:
    """Whether a CSV's header is one of SAELens: dotted (`json_normalize`) or with slashes (mid 2024)."""
    blocks = tuple(f"metrics.{b}." for b in BLOCKS)
    dotted = any(n.startswith(blocks) for n in names)
    return dotted or ("sae_id" in names and any(n.startswith("metrics/") for n in names))


def read_csv(records: list[dict[str, Any]], path: str, found: Found) -> None:
    """Rows of a SAELens CSV."""
    for record in records:
        nested: dict[str, Any] = {"metrics": {}, "eval_cfg": {}, "sae_cfg": {}}
        for name, value in record.items():
            if value is None or value != value:
                continue
            head, _, leaf = re.sub(r"^(metrics|eval_cfg|sae_cfg)/", r"\1.", name).partition(".")
            if head == "metrics" and leaf:
                nested["metrics"][leaf.rsplit(".", 1)[-1]] = value
            elif head in ("eval_cfg", "sae_cfg") and leaf:
                nested[head][leaf.removeprefix("metadata.")] = value
            elif name in ("context_size", "dataset"):
                nested["eval_cfg"][name] = value
            else:
                nested[name] = value
        _nominal_l0(nested, found)
        _add(nested, path, found)


def _nominal_l0(record: dict[str, Any], found: Found) -> None:
    if "l0" in record["metrics"]:
        return
    nominal = re.search(r"(?:average_)?l0[_-](\d{1,6})", text(record.get("sae_id")))
    if nominal:
        record["metrics"]["l0"] = float(nominal[1])
        found.say("l0 is nominal, from the name of the SAE; none was measured", text(record.get("sae_id")))


def is_pretrained(content: object) -> bool:
    """Whether YAML is a list of releases with their SAEs."""
    releases = table(content).values()
    return any(isinstance(r, dict) and isinstance(r.get("saes"), list) for r in releases)


def read_pretrained(content: dict[str, Any], path: str, found: Found) -> None:
    """The SAEs of `pretrained_saes.yaml`: L0, often nominal, and for some the explained variance."""
    for release, facts in content.items():
        for sae in table(facts).get("saes") or ():
            if not isinstance(sae, dict):
                raise TableError(f"release {text(release)!r} lists something else than SAEs")
            name = f"{text(release)}/{text(sae.get('id'))}"
            hook = _hook(sae)
            config = {"model": table(facts).get("model"), "hook_name": hook}
            row, changes = identity(config, f"{name}/{text(sae.get('path'))}")
            nominal = re.search(r"l0[_-](\d{1,6})", name)
            row |= {"run_id": name, "source": path, "l0": num(sae.get("l0"))}
            row["hook_name"] = hook or _usual_hook(row)
            if row["l0"] is None and nominal:
                row["l0"] = float(nominal[1])
            explained = num(sae.get("variance_explained"))
            row |= {"family": text(release), "explained_variance": explained}
            if explained is not None:
                found.say("pretrained_saes.yaml: which explained variance is not said", text(release))
            if nominal and row["l0"] == float(nominal[1]):
                row["doubts"] = "l0 is nominal"
            if row["l0"] is not None:
                found.say("pretrained_saes.yaml: l0 is often nominal; no evaluation is named", text(release))
            beside = {"": table(facts), "saes": {k: v for k, v in sae.items() if k not in PRETRAINED}}
            found.add(row, "SAELens pretrained_saes.yaml", "", changes, beside)


def _hook(sae: Mapping[str, Any]) -> str | None:
    """The hook point that an entry gives, or that stands in its id or path."""
    given = text(sae.get("hook_name")) or text(sae.get("hook_point"))
    found = re.search(
        r"blocks\.\d{1,3}\.[a-z_.]*hook_[a-z_]+[a-z]", f"{text(sae.get('id'))} {text(sae.get('path'))}"
    )
    return given or (found[0] if found else None)


def _usual_hook(row: Row) -> str | None:
    """The hook point at a layer and site, as TransformerLens names it."""
    if row["layer"] is None or row["site"] is None:
        return None
    inner = "attn.hook_z" if row["site"] in ("attn_out", "attn_z") else f"hook_{row['site']}"
    return f"blocks.{row['layer']}.{inner}"


def from_log(metrics: Mapping[str, Any], config: Mapping[str, Any], name: str, found: Found) -> None:
    """One SAE of a run's log: `losses/...`, `metrics/...`, `sparsity/...`, evaluations dotted."""
    short: dict[str, Any] = {}
    logged: dict[str, Any] = {}
    for key, value in metrics.items():
        group, _, leaf = key.replace(".", "/", 1).rpartition("/")
        if leaf in ("mse_loss", "mse") and group.endswith("losses"):
            short["mse_of_scaled_activations"] = value
        elif group.endswith("sparsity") and leaf.startswith(("below", "above")):
            short[f"{leaf}_count"] = value
        elif group.endswith("details"):
            logged[leaf] = value
        else:
            short[leaf] = value
    row, changes = identity({**logged, **config}, name)
    row |= {"run_id": name, "protocol": "last logged value"}
    version = text(config.get("sae_lens_version")) or text(config.get("library_version"))
    changes += measured(row, short, config, version, found, name)
    row["tokens_trained"] = num(logged.get("n_training_samples")) or row["tokens_trained"]
    changes += counts_as_shares(row, short, row["dictionary_size"])
    if "mse_of_scaled_activations" in row:
        changes.append(("mse_of_scaled_activations", "logged on scaled activations: for ratios only"))
    if row["architecture"] == "jumprelu":
        found.say(JUMPRELU, name)
    say_changes(found, TOOL, changes, name)
    found.add(row, f"{TOOL} log", version, changes, {"details": logged})


def counts_as_shares(row: Row, metrics: Mapping[str, Any], size: float | None) -> list[tuple[str, str]]:
    """Counts of latents as shares of the dictionary; without its size they stay counts."""
    changes = []
    for key, column in (
        ("dead_features", "alive_fraction"),
        ("below_1e-5_count", "frequency_below_1e5"),
        ("above_1e-1_count", "frequency_above_10pct"),
        ("above_1e-2_count", "frequency_above_1pct"),
    ):
        count = num(metrics.get(key))
        if count is not None and size:
            share = count / size
            row[column] = 1 - share if column == "alive_fraction" else share
            changes.append((column, f"from the count {key.removesuffix('_count')}, divided by the latents"))
    return changes
