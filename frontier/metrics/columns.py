"""What the columns of the metrics table are: names, units, ranges, and the names that other tools use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    needs, formula : tuple of str, function
        The columns that it can be computed from, and how.
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
    formula: Callable[..., np.ndarray] | None = None
    top: float | None = None
    place: int = 0
    label: str = ""
    pattern: str = ""


def _one_minus(share: np.ndarray) -> np.ndarray:
    return 1 - share


def _identity(name: str, meaning: str, *aliases: str) -> Column:
    return Column(name, "identity", "", meaning, None, aliases)


COLUMNS: tuple[Column, ...] = (
    _identity("architecture", "kind of SAE", "arch", "sae_architecture", "sae_class", "sae_type", "sae_kind",
              "sae_arch"),
    _identity("model", "language model", "model_name", "lm_name", "lm", "model_id"),
    _identity("site", "where in the layer: residual stream, MLP, attention", "hook_site", "location",
              "hook_name", "hook_point", "hook", "hookpoint", "submodule_name"),
    _identity("layer", "index of the layer, from 0", "hook_layer", "layer_index", "layer_idx", "layer_id",
              "layer_no", "layer_number", "block", "block_index", "block_idx"),
    _identity("seed", "random seed of the training run", "random_seed"),
    _identity("run_id", "name of one trained SAE", "run_name", "sae_id", "sae_name", "unique_id"),
    _identity("family", "one recipe, trained at several sparsity settings; default: architecture",
              "method", "variant", "approach", "algorithm", "sae_method", "sae_variant", "recipe"),
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
           ("training_tokens", "n_training_tokens", "n_training_samples", "train_tokens",
            "num_training_tokens")),
    Column("steps_trained", "count", "steps", "optimiser steps of the training", 0),
    Column("l0", "real", "latents per token", "mean number of non-zero latents per token", 0,
           ("l0_norm", "l0_mean", "mean_l0", "avg_l0", "average_l0", "l0_sparsity", "metrics/l0",
            "sparsity.l0", "l_0", "active_latents", "mean_active_latents", "measured_l0", "l0_measured",
            "actual_l0", "empirical_l0"),
           better="lower", label="L0 (active latents per token)"),
    Column("ce_clean", "real", "nats per token", "cross-entropy of the model itself", 0,
           ("ce_loss_without_sae", "loss_original", "ce_loss_clean", "original_loss", "clean_loss",
            "downstream_loss_original", "clean_ce", "clean_ce_loss", "ce_original", "original_ce")),
    Column("ce_sae", "real", "nats per token", "cross-entropy with the SAE spliced in", 0,
           ("ce_loss_with_sae", "loss_reconstructed", "reconstructed_loss", "downstream_loss_reconstructed",
            "sae_loss", "sae_ce", "spliced_loss", "sae_ce_loss", "ce_with_sae", "ce_reconstructed",
            "reconstructed_ce"), better="lower", place=8),
    Column("ce_zero_ablation", "real", "nats per token", "cross-entropy with the site set to zero", 0,
           ("ce_loss_with_ablation", "loss_zero", "zero_ablation_loss", "downstream_loss_ablated",
            "ce_ablated", "ce_loss_zero_ablation", "zero_abl_loss", "0_abl_ce_loss", "ce_zero",
            "zero_ablation_ce")),
    Column("ce_mean_ablation", "real", "nats per token", "cross-entropy with the site set to its mean", 0,
           ("mean_ablation_loss", "loss_mean_ablation", "mean_abl_loss")),
    Column("loss_recovered", "fraction", "", "(ce_ablated - ce_sae) / (ce_ablated - ce_clean)", None,
           ("ce_loss_score", "frac_recovered", "fraction_recovered", "ce_recovered", "frac_loss_recovered",
            "ce_loss_recovered", "recovered", "ce_score", "downstream_loss_recovered",
            "fraction_of_loss_recovered"),
           better="higher", falling="performance_hit", place=1, label="Loss recovered"),
    Column("performance_hit", "fraction", "", "1 - loss_recovered", None,
           ("fraction_unrecovered", "unrecovered_loss", "loss_unrecovered", "1_loss_recovered",
            "1_minus_loss_recovered", "one_minus_loss_recovered"), better="lower",
           needs=("loss_recovered",), formula=_one_minus, top=1, place=1,
           label="Performance hit, 1 − loss recovered"),
    Column("delta_ce", "real", "nats per token", "ce_sae - ce_clean", None,
           ("delta_lm_loss", "delta_loss", "ce_increase", "ce_loss_increase", "ce_delta", "lm_loss_increase",
            "loss_increase", "ce_diff", "ce_loss_diff", "delta_nll"),
           better="lower", needs=("ce_sae", "ce_clean"), formula=np.subtract, place=2,
           label="Δ cross-entropy (nats per token)"),
    Column("loss_recovered_zero", "fraction", "", "loss recovered against zero ablation", better="higher",
           top=1),
    Column("kl", "real", "nats per token", "mean KL(clean || with SAE)", 0,
           ("kl_div_with_sae", "kl_divergence", "kl_div"), better="lower", place=4,
           label="KL divergence (nats per token)"),
    Column("mse", "real", "squared activation", "mean over tokens of |x - x_hat|^2", 0, ("mse_loss",),
           better="lower", place=5, label="Mean squared error"),
    Column("fvu", "real", "", "sum |x - x_hat|^2 / sum |x - mean x|^2", 0,
           ("normalized_mse", "normalised_mse", "nmse", "fraction_variance_unexplained",
            "frac_variance_unexplained"), better="lower", top=1, place=3,
           label="Fraction of variance unexplained"),
    Column("explained_variance", "fraction", "", "1 - fvu by one of the three definitions of this name: the "
           "source does not say which", None,
           ("variance_explained", "explained_var", "var_explained", "fraction_of_variance_explained",
            "fraction_variance_explained", "fve", "ev", "r2", "r_squared"), 1,
           better="higher", falling="variance_unexplained", place=6),
    Column("explained_variance_legacy", "fraction", "", "mean over tokens of 1 - |e|^2 / |x - mean x|^2",
           None, (), 1, better="higher", top=1, place=7),
    Column("explained_variance_about_zero", "fraction", "", "1 - SSE / (S - (S/d)^2), S = E|x|^2: about zero "
           "and too large", None, (), 1, better="higher", top=1, place=7),
    Column("frac_variance_explained", "fraction", "", "1 - var(e) / var(x), residual centred: a constant "
           "bias is free", None, (), 1, better="higher", top=1, place=7),
    Column("cosine_similarity", "real", "", "mean cos(x, x_hat)", -1, ("cossim", "cos_sim", "cosine_sim"), 1,
           better="higher", top=1, place=9),
    Column("l2_ratio", "real", "", "mean |x_hat| / |x|", 0, ()),
    Column("shrinkage", "real", "", "gamma = E|x_hat|^2 / E[x_hat . x]", None,
           ("gamma", "relative_reconstruction_bias")),
    Column("alive_fraction", "fraction", "", "share of latents that fired in the evaluation", 0,
           ("frac_alive", "alive", "fraction_alive"), 1, better="higher"),
    Column("frequency_above_10pct", "fraction", "", "share of latents firing on over 10 % of tokens", 0,
           ("freq_over_10_percent",), 1),
    Column("frequency_above_1pct", "fraction", "", "share of latents firing on over 1 % of tokens", 0,
           ("freq_over_1_percent",), 1),
    Column("frequency_below_1e5", "fraction", "", "share of latents firing on under 1e-5 of tokens", 0,
           (), 1),
)  # fmt: skip

COMPUTED: tuple[Column, ...] = (
    Column("sparsity", "real", "", "1 / l0", better="higher", needs=("l0",), formula=np.reciprocal,
           label="Sparsity, 1 / L0"),
    Column("relative_sparsity", "real", "", "d_model / l0", better="higher", needs=("d_model", "l0"),
           formula=np.divide, label="Relative sparsity, d_model / L0"),
    Column("expansion_factor", "real", "", "dictionary_size / d_model", needs=("dictionary_size", "d_model"),
           formula=np.divide),
    Column("variance_unexplained", "real", "", "1 - explained_variance, whose definition is not given",
           better="lower", needs=("explained_variance",), formula=_one_minus, top=1, place=6),
)  # fmt: skip
"""Columns that are computed on demand and not kept."""


def _downstream(name: str, better: str, meaning: str, names: str) -> Column:
    return Column(
        name, "fraction", "", meaning, better=better, pattern=rf"(?!.*(?:std|num|llm))(?:.*_)?{names}"
    )


DOWNSTREAM: tuple[Column, ...] = (
    _downstream("absorption", "lower", "share of a feature's tokens that other latents absorb",
                r"absorption(?:_(?:rate|fraction|first_letter))?(?:_score)?"),
    _downstream("ravel", "higher", "RAVEL: one attribute changed and the others kept",
                r"(?:ravel(?:_(?:disentangle(?:ment)?|cause|iso(?:lation)?))?|disentanglement)(?:_score)?"),
    _downstream("scr", "higher", "spurious correlation removed by ablating the best latents",
                r"scr(?:_(?:metric|dir[12]))?(?:_threshold)?(?:_\d+)?(?:_score)?"),
    _downstream("tpp", "higher", "targeted probe perturbation: the wanted class changed, the others kept",
                r"tpp(?:_metric)?(?:_threshold)?(?:_\d+)?(?:_(?:total_metric|intended_diff_only|score))?"),
    _downstream("sparse_probing", "higher", "accuracy of a probe on the best latents",
                r"(?:(?:sparse|sae)_prob(?:ing|e)(?:_sae)?|sae(?=_top_\d))(?:_(?:top|k))?(?:_?\d+)?(?:_test)?"
                r"(?:_(?:accuracy|acc|f1|auc|auroc|score))?"),
    _downstream("unlearning", "higher", "knowledge removed while the rest is kept", r"unlearning(?:_score)?"),
    _downstream("autointerp", "higher", "accuracy of explanations of latents",
                r"auto_?interp(?:retability)?(?:_(?:score|accuracy|acc))?"),
)  # fmt: skip
"""Metrics of SAEBench's other evaluations; they keep their names, in which numbers may stand."""

BY_NAME: dict[str, Column] = {c.name: c for c in COLUMNS}

REASONS = ("excluded_because", "doubts")
"""Columns of words about rows."""
DERIVED: dict[str, tuple[str, ...]] = {c.name: c.needs for c in (*COLUMNS, *COMPUTED) if c.needs}
"""Columns computed on demand, and what each needs."""


def derive(column: str, *sources: np.ndarray) -> np.ndarray:
    """A computed column from the columns that `DERIVED` names for it.

    >>> derive("performance_hit", np.array([0.75])), derive("relative_sparsity", np.array([8]), np.array([2]))
    (array([0.25]), array([4.]))
    """
    formula = next(c.formula for c in (*COLUMNS, *COMPUTED) if c.name == column and c.formula)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return formula(*(np.asarray(s, dtype=float) for s in sources))


FIDELITY: tuple[str, ...] = tuple(
    c.name for c in sorted((*COLUMNS, *COMPUTED), key=lambda c: c.place) if c.place
)
"""A table needs L0 and at least one of these, or a metric whose better side is known; the usual first."""

ONE_MINUS = "1 - "
"""A column's name after this is the falling axis of one that rises to 1."""

USUAL_REFERENCES = ("relu", "standard", "vanilla", "baseline")
"""Families that others are compared with, where exactly one of them is in the table."""
