"""What every imported column means: tool, version, definition, and what was changed on reading."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from frontier.metrics.columns import BY_NAME
from frontier.readers.found import Origin

PLAIN = "plain table"
PROVENANCE = "frontier_provenance"
COLUMNS = ("column", "tool", "version", "rows", "definition", "changed")

RATIO_OF_MEANS = "(CE ablated - CE SAE) / (CE ablated - CE clean), ratio of means, zero ablation"

DEFINITIONS: dict[str, str] = {
    "explained_variance": "definition unknown: one of the three that go by this name",
    "explained_variance_legacy": "mean over tokens of 1 - |e|^2 / |x - mean x|^2 (SAEBench paper)",
    "explained_variance_about_zero": "1 - SSE / (S - (S/d)^2) with S = E|x|^2: about zero, too large",
    "frac_variance_explained": "1 - var(e) / var(x), residual centred: a constant bias is free; batch mean",
    "mean_error_norm": "E|x - x_hat|, not squared",
    "mse_of_unknown_scale": "E|x - x_hat|^2 / tokens in a batch, a number not given; ratios only",
    "mse_of_scaled_activations": "E|x - x_hat|^2 on normalised activations; ratios only",
    "mean_of_ratios_recovered": "loss recovered as printed: mean over batches of each batch's ratio",
    "downstream_loss_ratio": "(ablated - clean) / (ablated - with SAE): reciprocal of loss recovered",
    "kl_zero_ablation": "mean KL(clean || zero-ablated), nats per token",
    "kl_div_score": "(KL ablated - KL with SAE) / KL ablated",
    "l2_ratio": "mean over tokens of |x_hat| / |x|",
    "l0_before_topk": "latents above zero before TopK is applied",
    "protocol": "corpus, context length, special tokens, as far as the file gives them",
    "run_id": "name of the SAE in its file",
    "source": "file",
}
"""What a column means, whichever tool of those read here wrote it."""

BY_TOOL: dict[tuple[str, str], str] = {
    ("SAELens", "shrinkage"): "mean |x_hat|^2 / mean x . x_hat per batch, then averaged",
    ("SAELens", "l0"): "mean over tokens, special tokens excluded by default",
    (
        "SAELens",
        "loss_recovered",
    ): RATIO_OF_MEANS,
    (
        "SAEBench",
        "loss_recovered",
    ): RATIO_OF_MEANS,
    ("SAEBench", "alive_fraction"): "share of latents that fired on the evaluation tokens: a lower bound",
    ("SAEBench", "shrinkage"): "mean |x_hat|^2 / mean x . x_hat per batch, then averaged",
    (
        "dictionary_learning",
        "loss_recovered",
    ): "mean over batches of ratios, or, where changed, the ratio of means; zero ablation, BOS included",
    (
        "dictionary_learning",
        "alive_fraction",
    ): "share of latents that fired; 1/d_sae before 2024-12-18 (bug)",
    ("sparsify", "fvu"): "SSE / centred sum of squares within the batch, training text, bf16",
    ("sparsify", "l0"): "k, not measured",
    ("OpenMOSS", "loss_recovered"): "1 / downstream_loss_ratio, zero ablation",
    ("OpenMOSS", "l0"): "latents above zero",
    ("SAELens pretrained_saes.yaml", "l0"): "often nominal, from the path",
}


def records(columns: dict[Origin, dict[str, int]]) -> Iterable[dict[str, Any]]:
    """One record per column of each origin."""
    for origin, counts in columns.items():
        changed = dict(origin.changes)
        for column, rows in counts.items():
            if column in ("doubts", "excluded_because"):
                continue
            yield {
                "column": column,
                "tool": origin.tool,
                "version": origin.version,
                "rows": rows,
                "definition": _definition(origin.tool, column),
                "changed": changed.get(column, ""),
            }


def _definition(tool: str, column: str) -> str:
    if tool == PLAIN:
        return f"taken as: {BY_NAME[column].meaning}" if column in BY_NAME else "as the source writes it"
    said = BY_TOOL.get((tool, column)) or BY_TOOL.get((tool.removesuffix(" log"), column))
    if said or column in DEFINITIONS:
        return said or DEFINITIONS[column]
    return BY_NAME[column].meaning if column in BY_NAME else "as the source writes it"


def by_origin(frame: pd.DataFrame, origins: Sequence[Origin]) -> dict[Origin, dict[str, int]]:
    """Per origin the columns that came from it, and in how many rows they hold something."""
    codes = {origin: i for i, origin in enumerate(dict.fromkeys(origins))}
    known = frame.notna().groupby([codes[origin] for origin in origins]).sum()
    counts = zip(codes, known.to_dict("records"), strict=True)
    return {origin: {str(c): int(n) for c, n in columns.items() if n} for origin, columns in counts}


def write(table: pd.DataFrame, columns: dict[Origin, dict[str, int]]) -> None:
    """Keep the provenance in the table's attributes, as JSON text: pandas copies attributes at every step."""
    merged: dict[tuple[str, ...], dict[str, Any]] = {}
    for record in records(columns):
        key = tuple(str(record[c]) for c in COLUMNS if c != "rows")
        if key in merged:
            merged[key]["rows"] += record["rows"]
        else:
            merged[key] = record
    table.attrs[PROVENANCE] = json.dumps(list(merged.values()))


def provenance(table: pd.DataFrame) -> pd.DataFrame:
    """Where every column of a table that was read comes from.

    Returns
    -------
    DataFrame
        `column`, `tool`, `version`, `rows` (how many have a value from there), `definition`, and what was
        `changed` on reading. Empty for a table that was not read from a file.
    """
    kept = getattr(table, "attrs", {}).get(PROVENANCE)
    return pd.DataFrame(json.loads(kept) if kept else [], columns=list(COLUMNS))
