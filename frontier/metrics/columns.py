"""What the columns of the metrics table are: names, units, ranges, and the names that other tools use."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Column:
    """One column of the metrics table, as the one registry of metrics knows it.

    Attributes
    ----------
    kind : str
        `identity` (text or number that names a run), `count`, `fraction` (may be given in per cent),
        or `real`.
    low, high : float or None
        Values outside are impossible: an error, or another quantity under this name.
    aliases : tuple of str
        Names that other tools and papers use, compared without case and punctuation.
    better : str
        `higher`, `lower`, or empty where neither side is (names, knobs, ratios that are best at 1).
    falling : str
        What stands on the y axis of a comparison, where lower must be better: 1 - this column, by name.
    needs : tuple of str
        The columns that it can be computed from.
    top : float or None
        Where the falling axis levels off as L0 goes to 0: 1 for shares of what is lost. Only such an axis can
        carry a Hill curve with a fixed top; the others a power law or a line.
    place : int
        Its place among the y axes that are taken where nobody names one, from 1; 0: never.
    label : str
        On a figure's axis; default: name and unit.
    pattern : str
        Regular expression of the names, where a benchmark puts a number into them.
    """

    name: str
    kind: str
    unit: str
    meaning: str
    low: float | None = None
    aliases: tuple[str, ...] = ()
    high: float | None = None
    better: str = ""
    falling: str = ""
    needs: tuple[str, ...] = ()
    top: float | None = None
    place: int = 0
    label: str = ""
    pattern: str = ""


def _identity(name: str, meaning: str, *aliases: str) -> Column:
    return Column(name, "identity", "", meaning, None, aliases)


COLUMNS: tuple[Column, ...] = (
    _identity("architecture", "kind of SAE", "arch", "sae_architecture", "sae_class", "sae_type"),
    _identity("model", "language model", "model_name", "lm_name", "lm"),
    _identity("site", "where in the layer: residual stream, MLP, attention", "hook_site", "location"),
    _identity("layer", "index of the layer, from 0", "hook_layer", "layer_index", "layer_idx"),
    _identity("seed", "random seed of the training run", "random_seed"),
    _identity("run_id", "name of one trained SAE", "run_name", "sae_id", "sae_name", "unique_id"),
    _identity("family", "one recipe, trained at several sparsity settings; default: architecture"),
    _identity("sparsity_name", "what the setting is: lambda, k, target L0"),
    _identity("protocol", "evaluation: corpus, context length, special tokens", "eval_protocol"),
    _identity("ablation", "what loss recovered is measured against: zero or mean", "ablation_type"),
    _identity("source", "where the row comes from"),
    Column("dictionary_size", "count", "latents", "number of latents", 1,
           ("d_sae", "dict_size", "num_latents", "n_latents", "width", "n_features", "num_features")),
    Column("d_model", "count", "dimensions", "width of the activation that is encoded", 1,
           ("d_in", "activation_dim", "d_mlp", "input_dim")),
    Column("sparsity_setting", "real", "", "the knob: lambda, k or target L0", None,
           ("sparsity_coefficient", "l1_coefficient", "l1_penalty", "l0_coefficient", "sparsity_penalty",
            "lambda", "l1_coeff", "l1_alpha", "initial_sparsity_penalty", "target_l0", "k",
             "sparsity_lambda")),
    Column("tokens_trained", "count", "tokens", "training tokens", 0,
           ("training_tokens", "n_training_tokens", "n_training_samples")),
    Column("l0", "real", "latents per token", "mean number of non-zero latents per token", 0,
           ("l0_norm", "l0_mean", "mean_l0", "avg_l0", "average_l0", "l0_sparsity", "metrics/l0",
            "sparsity.l0", "l_0")),
    Column("ce_clean", "real", "nats per token", "cross-entropy of the model itself", 0,
           ("ce_loss_without_sae", "loss_original", "ce_loss_clean", "original_loss", "clean_loss",
            "downstream_loss_original", "clean_ce", "clean_ce_loss")),
    Column("ce_sae", "real", "nats per token", "cross-entropy with the SAE spliced in", 0,
           ("ce_loss_with_sae", "loss_reconstructed", "reconstructed_loss", "downstream_loss_reconstructed",
            "sae_loss", "sae_ce", "spliced_loss", "sae_ce_loss")),
    Column("ce_zero_ablation", "real", "nats per token", "cross-entropy with the site set to zero", 0,
           ("ce_loss_with_ablation", "loss_zero", "zero_ablation_loss", "downstream_loss_ablated",
            "ce_ablated", "ce_loss_zero_ablation", "zero_abl_loss", "0_abl_ce_loss")),
    Column("ce_mean_ablation", "real", "nats per token", "cross-entropy with the site set to its mean", 0,
           ("mean_ablation_loss", "loss_mean_ablation", "mean_abl_loss")),
    Column("loss_recovered", "fraction", "", "(ce_ablated - ce_sae) / (ce_ablated - ce_clean)", None,
           ("ce_loss_score", "frac_recovered", "fraction_recovered", "ce_recovered", "pct_ce_recovered",
            "percent_ce_recovered", "loss_recovered_pct", "frac_loss_recovered", "ce_loss_recovered",
            "recovered", "ce_score", "downstream_loss_recovered", "fraction_of_loss_recovered")),
    Column("performance_hit", "fraction", "", "1 - loss_recovered", None,
           ("fraction_unrecovered", "unrecovered_loss", "loss_unrecovered")),
    Column("delta_ce", "real", "nats per token", "ce_sae - ce_clean", None,
           ("delta_lm_loss", "delta_loss", "ce_increase", "ce_loss_increase")),
    Column("loss_recovered_zero", "fraction", "", "loss recovered against zero ablation"),
    Column("kl", "real", "nats per token", "mean KL(clean || with SAE)", 0,
           ("kl_div_with_sae", "kl_divergence", "kl_div")),
    Column("mse", "real", "squared activation", "mean over tokens of |x - x_hat|^2", 0, ("mse_loss",)),
    Column("fvu", "real", "", "sum |x - x_hat|^2 / sum |x - mean x|^2", 0,
           ("normalized_mse", "fraction_variance_unexplained", "frac_variance_unexplained")),
    Column("cosine_similarity", "real", "", "mean cos(x, x_hat)", -1, ("cossim", "cos_sim", "cosine_sim"), 1),
    Column("l2_ratio", "real", "", "mean |x_hat| / |x|", 0, ()),
    Column("shrinkage", "real", "", "gamma = E|x_hat|^2 / E[x_hat . x]", None,
           ("gamma", "relative_reconstruction_bias")),
    Column("alive_fraction", "fraction", "", "share of latents that fired in the evaluation", 0,
           ("frac_alive", "alive", "fraction_alive", "alive_pct", "pct_alive"), 1),
    Column("frequency_above_10pct", "fraction", "", "share of latents firing on over 10 % of tokens", 0,
           ("freq_over_10_percent",), 1),
    Column("frequency_above_1pct", "fraction", "", "share of latents firing on over 1 % of tokens", 0,
           ("freq_over_1_percent",), 1),
    Column("frequency_below_1e5", "fraction", "", "share of latents firing on under 1e-5 of tokens", 0,
           (), 1),
)  # fmt: skip

BY_NAME: dict[str, Column] = {c.name: c for c in COLUMNS}

DERIVED: dict[str, tuple[str, ...]] = {
    "sparsity": ("l0",),
    "relative_sparsity": ("d_model", "l0"),
    "performance_hit": ("loss_recovered",),
    "delta_ce": ("ce_sae", "ce_clean"),
    "expansion_factor": ("dictionary_size", "d_model"),
}
"""Columns computed on demand, and what each needs."""


def derive(column: str, *sources: np.ndarray) -> np.ndarray:
    """A derived column from the columns that `DERIVED` names for it.

    >>> derive("performance_hit", np.array([0.75])), derive("relative_sparsity", np.array([8]), np.array([2]))
    (array([0.25]), array([4.]))
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if column == "sparsity":
            return 1 / sources[0]
        if column == "performance_hit":
            return 1 - sources[0]
        if column == "delta_ce":
            return sources[0] - sources[1]
        return sources[0] / sources[1]


FIDELITY = (
    "loss_recovered",
    "performance_hit",
    "ce_sae",
    "delta_ce",
    "kl",
    "fvu",
    "mse",
    "cosine_similarity",
    "explained_variance",
    "explained_variance_legacy",
    "variance_unexplained",
    "explained_variance_about_zero",
    "frac_variance_explained",
)
"""A table needs L0 and at least one of these."""

USUAL_REFERENCES = ("relu", "standard", "vanilla", "baseline")
"""Families that others are compared with, where exactly one of them is in the table."""

HIGHER_IS_BETTER = (
    "loss_recovered",
    "loss_recovered_zero",
    "cosine_similarity",
    "alive_fraction",
    "sparsity",
    "relative_sparsity",
)
"""Of the columns above; in all others less is better."""


def direction(column: str) -> str:
    """'max' where more of a column is better, else 'min'."""
    return "max" if column in HIGHER_IS_BETTER else "min"


def falling_axis(column: str) -> str:
    """`column` itself, if less of it is better, as the y axis of a comparison must be.

    Raises
    ------
    ValueError
        Otherwise; names the axis to take instead.
    """
    if column in HIGHER_IS_BETTER:
        instead = "performance_hit" if column.startswith("loss_recovered") else "one where less is better"
        raise ValueError(f"y = {column} is better when higher; a comparison takes {instead}")
    return column


AXIS_LABELS: dict[str, str] = {
    "sparsity": "Sparsity, 1 / L0",
    "relative_sparsity": "Relative sparsity, d_model / L0",
    "performance_hit": "Performance hit, 1 − loss recovered",
    "delta_ce": "Δ cross-entropy (nats per token)",
    "l0": "L0 (active latents per token)",
    "loss_recovered": "Loss recovered",
    "fvu": "Fraction of variance unexplained",
    "kl": "KL divergence (nats per token)",
    "mse": "Mean squared error",
}


def slug(name: str) -> str:
    """A column name without case and punctuation; signs and Greek letters become words.

    >>> slug("% CE Recovered"), slug("metrics.sparsity.L0"), slug("Sparsity λ")
    ('pct_ce_recovered', 'metrics_sparsity_l0', 'sparsity_lambda')
    """
    text = "".join(SPELLED.get(letter, letter) for letter in str(name).lower())
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


SPELLED = {"%": " pct ", "λ": " lambda ", "γ": " gamma ", "δ": " delta "}

ALIASES: dict[str, str] = {slug(a): c.name for c in COLUMNS for a in (c.name, *c.aliases)}

NESTED = re.compile(
    r"^(?:eval_result_metrics|eval_results?|metrics|sae_cfg|sae_cfg_dict|metadata|summary|config"
    r"|model_performance_preservation|model_behavior_preservation|reconstruction_quality|shrinkage|sparsity"
    r"|misc_metrics|token_stats|trainer)[./]"
)
"""Prefixes of nested result files, peeled off before a name is looked up."""

GENERIC_SETTING = frozenset({"sparsity_setting", "sparsity_coefficient", "sparsity_penalty"})
"""Names of the sparsity setting that do not say what is set."""


@lru_cache(maxsize=4096)
def canonical_name(name: str) -> str | None:
    """The metrics-table column behind a name as other tools write it; None when it is not one.

    >>> canonical_name("metrics.model_performance_preservation.ce_loss_score"), canonical_name("colour")
    ('loss_recovered', None)
    """
    return ALIASES.get(_peeled(name))


def setting_name(name: str) -> str | None:
    """What the sparsity setting is, where its column's name tells: 'k', 'lambda', 'target_l0'.

    >>> setting_name("trainer.k"), setting_name("sparsity_coefficient")
    ('k', None)
    """
    peeled = _peeled(name)
    return None if peeled in GENERIC_SETTING else peeled.removeprefix("sparsity_")


def says_percent(name: str) -> bool:
    """Whether a column's name says that its values are per cent; '10_percent' there is a threshold.

    >>> says_percent("% CE recovered"), says_percent("alive_pct"), says_percent("freq_over_10_percent")
    (True, True, False)
    """
    return re.search(r"(?:^|(?<![0-9])_)(?:pct|percent|percentage)(?:_|$)", slug(name)) is not None


def read_names(names: Sequence[str], empty: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Which column is read as which of ours, and what to say about it.

    Where several columns claim one name, the exact name wins, then the first; a column with no values
    (`empty`) wins over nothing.
    """
    claims: dict[str, list[str]] = {}
    for name in names:
        target = canonical_name(name)
        if target:
            claims.setdefault(target, []).append(name)
    mapping, remarks = {}, []
    for target, claimed in claims.items():
        first, *others = sorted(claimed, key=lambda c: (c in empty, c != target))
        mapping[first] = target
        if first != target:
            remarks.append(f"{first!r} read as {target}")
        for other in others:
            if other == target:  # empty, and its name is taken
                mapping[other] = f"{target} (empty)"
            remarks.append(f"{other!r} also reads as {target}; {first!r} is used, the other is carried along")
    return mapping, remarks


def axis_label(column: str) -> str:
    """A column's label on a figure's axis."""
    spec = BY_NAME.get(column)
    unit = f" ({spec.unit})" if spec and spec.unit else ""
    return AXIS_LABELS.get(column, column.replace("_", " ").capitalize() + unit)


def _peeled(name: str) -> str:
    text = str(name).strip().lower()
    while slug(text) not in ALIASES:
        shorter = NESTED.sub("", text)
        if shorter == text:
            break
        text = shorter
    return slug(text)
