"""Names of columns: as other tools write them, as this project does, and on axes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from frontier.metrics.columns import BY_NAME, COLUMNS, COMPUTED, DOWNSTREAM, ONE_MINUS, Column


def slug(name: str) -> str:
    """A column name without case and punctuation; signs and Greek letters become words.

    >>> slug("% CE Recovered"), slug("metrics.sparsity.L0"), slug("Sparsity λ")
    ('pct_ce_recovered', 'metrics_sparsity_l0', 'sparsity_lambda')
    """
    return _slug(str(name))


@lru_cache(maxsize=4096)
def _slug(name: str) -> str:
    text = "".join(SPELLED.get(letter, letter) for letter in name.lower())
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


SPELLED = {"%": " pct ", "λ": " lambda ", "γ": " gamma ", "δ": " delta "}

ALIASES: dict[str, str] = {slug(a): c.name for c in COLUMNS for a in (c.name, *c.aliases)}

NESTED = re.compile(
    r"^(?:eval_result_metrics|eval_results?|metrics|sae_cfg|sae_cfg_dict|metadata|summary|config"
    r"|model_performance_preservation|model_behavior_preservation|reconstruction_quality|shrinkage|sparsity"
    r"|misc_metrics|token_stats|trainer|sae|cfg|sae_config|details|hparams|hyperparameters|results?)[./]"
)
"""Prefixes of nested result files, peeled off before a name is looked up."""

EVALUATED = re.compile(r"^(?:eval|evaluation|val|validation|test|final)[./_ ]+")
"""Prefixes of metrics that somebody evaluated; 'eval_seed' is no seed of training, and stays what it is."""

UNITS = re.compile(
    r"\s*(?:[(\[](?:mean|avg|average|nats?|nats?\s*(?:/|per)\s*tok(?:en)?|latents?"
    r"|per token|tokens?|features?|[↑↓]|(?:higher|lower|more|less) is better)[)\]]|[↑↓])\s*$"
)
"""What people write behind a name without meaning another quantity."""

SHARE = re.compile(r"\s*[(\[](?:fraction|frac|share)[)\]]$")
"""The same behind shares alone: an 'L0 (fraction)' is no L0."""

_PERCENT = re.compile(r"(?:^|(?<![0-9])_)(?:in_)?(?:pct|perc|percent|percentage)(?:_|$)")

PER_CENT, FRACTION = " (%)", " (fraction)"
"""Behind the name of a share of ours: its scale, as `columns` may say it."""

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
    return _PERCENT.search(slug(name)) is not None


def says_fraction(name: str) -> bool:
    """Whether a column's name says that its values are fractions.

    >>> says_fraction("fvu (fraction)"), says_fraction("frac_recovered")
    (True, False)
    """
    return SHARE.search(str(name).lower()) is not None


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


def bare_name(name: str) -> str:
    """The name of a share without the words that say per cent; any other as it is.

    >>> bare_name("Probe accuracy (%)"), bare_name("Probe accuracy")
    ('probe_accuracy', 'Probe accuracy')
    """
    return _without_percent(slug(name)) if says_percent(name) else name


@lru_cache(maxsize=4096)
def column_named(name: str) -> Column | None:
    """What the registry knows of a column of the metrics table; None where it knows nothing.

    >>> column_named("scr_metric_threshold_10").better, column_named("1 - cosine_similarity").better
    ('higher', 'lower')
    >>> column_named("colour") is None
    True
    """
    if name.startswith(ONE_MINUS):
        of = column_named(name.removeprefix(ONE_MINUS))
        if of is None:
            return Column(name, "real", "", name, better="lower")
        low = None if of.high is None else 1 - of.high
        return Column(name, of.kind, of.unit, f"1 - ({of.meaning})", low, better="lower", top=of.top)
    known = {**BY_NAME, **{c.name: c for c in COMPUTED}}.get(name)
    if known:
        return known
    word = _without_percent(slug(name))
    found = next((c for c in DOWNSTREAM if re.fullmatch(c.pattern, word)), None)
    return replace(found, name=name) if found else None


def spec_of(name: str) -> Column | None:
    """What the registry knows of a column that is kept in the table, or of what a `_se` column belongs to.

    >>> spec_of("l0_se").name, spec_of("sparsity") is None, spec_of("colour") is None
    ('l0', True, True)
    """
    name = name.removesuffix("_se")
    computed = name.startswith(ONE_MINUS) or any(c.name == name for c in COMPUTED)
    return None if computed else column_named(name)


def axis_label(column: str) -> str:
    """A column's label on a figure's axis."""
    spec = column_named(column)
    if spec and spec.label:
        return spec.label
    unit = f" ({spec.unit})" if spec and spec.unit else ""
    words = column.replace(ONE_MINUS, "1 − ").replace("_", " ")
    return words[:1].upper() + words[1:] + unit


def _without_percent(word: str) -> str:
    """A slug without the words that say per cent.

    >>> _without_percent("pct_ce_recovered"), _without_percent("freq_over_10_percent")
    ('ce_recovered', 'freq_over_10_percent')
    """
    return _PERCENT.sub("_", word).strip("_") if _PERCENT.search(word) else word


_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_MEAN = re.compile(
    r"(?:mean|avg|average)[\s_.]+(?P<after>.+)|(?P<before>.+?)[\s_./]+(?:mean|avg|average)", re.I
)
_SPREAD = ("std", "sd", "stdev", "stddev", "se", "sem", "stderr", "min", "max", "median", "var", "count")


def means_beside_spreads(names: Sequence[str]) -> dict[str, str]:
    """Columns of means, beside which a spread shows what they are, and the metric that each is the mean of.

    Alone, 'loss_recovered_mean' may be what is recovered of a mean ablation.

    >>> means_beside_spreads(["frac_recovered_mean", "frac_recovered_std", "kl_mean"])
    {'frac_recovered_mean': 'frac_recovered'}
    """
    words, found = {slug(name) for name in names}, {}
    for name in names:
        told = _MEAN.fullmatch(name)
        base = told and (told["after"] or told["before"])
        if not told or not base or canonical_name(name) or slug(base) in words:
            continue
        spec = BY_NAME.get(canonical_name(base) or "")
        spreads = {slug(f"{base}_{word}") for word in _SPREAD} | {slug(f"{word}_{base}") for word in _SPREAD}
        if spec is not None and spec.kind in ("real", "fraction") and spreads & words:
            found[name] = base
    return found


STANDARD_ERROR = ("se", "sem", "stderr", "std_err", "std_error", "standard_error")
"""Words for it beside a metric's name; a standard deviation is another number."""


def errors_beside(names: Sequence[str], read: Mapping[str, str]) -> dict[str, str]:
    """Columns of standard errors, and what they are here: `<metric>_se` of the metric whose name they have.

    `read` is which column is read as which of ours.

    >>> names = ["l0", "CE recovered (%)", "CE recovered_se (%)", "fvu", "stderr_fvu"]
    >>> errors_beside(names, {"CE recovered (%)": "loss_recovered"})
    {'CE recovered_se (%)': 'loss_recovered_se', 'stderr_fvu': 'fvu_se'}
    """
    words = {word: name for name in names for word in _bare(name)}
    own = {name: name for name in names if name not in read}
    found = {}
    for theirs, ours in {**read, **own}.items():
        spec = BY_NAME.get(ours)
        if spec is None or spec.kind == "identity" or f"{ours}_se" in names:
            continue
        stems = [*_bare(theirs), _peeled(theirs), ours]
        spelled = (w for s in stems for e in STANDARD_ERROR for w in (f"{s}_{e}", f"{e}_{s}"))
        if beside := next((words[w] for w in spelled if w in words), None):
            found[beside] = f"{ours}_se"
    return found


def _bare(name: str) -> list[str]:
    """A name without units and per cent, and without per cent alone."""
    return [_without_percent(slug(_without_units(name.strip().lower()))), _without_percent(slug(name))]


def _peeled(name: str) -> str:
    """A name as the list of aliases has it; 'ceLossScore' too."""
    word = _without_prefixes(name)
    spaced = _HUMP.sub("_", str(name))
    if word not in ALIASES and spaced != name:
        spaced = _without_prefixes(spaced)
        return spaced if spaced in ALIASES else word
    return word


def _without_prefixes(name: str) -> str:
    text = _without_units(str(name).strip().lower())
    while (word := _known_word(text)) is None:
        shorter = NESTED.sub("", text)
        if shorter == text:
            return _evaluated(text) or slug(text)
        text = shorter
    return word


def _without_units(text: str) -> str:
    """A name without the units and arrows behind it.

    >>> _without_units("loss recovered (mean) ↑"), _without_units("l0 (std)"), _without_units("l0 (fraction)")
    ('loss recovered', 'l0 (std)', 'l0 (fraction)')
    """
    shorter = UNITS.sub("", text)
    return text if not shorter else shorter if shorter == text else _without_units(shorter)


def _evaluated(text: str) -> str | None:
    """The metric that a name such as 'eval/l0' is; None where it is none.

    >>> _evaluated("eval/l0"), _evaluated("eval_seed"), _evaluated("val/l1_penalty")
    ('l0', None, None)
    """
    word = _known_word(EVALUATED.sub("", text)) if EVALUATED.match(text) else None
    spec = BY_NAME[ALIASES[word]] if word else None
    measured = spec is not None and spec.kind in ("real", "fraction") and spec.name != "sparsity_setting"
    return word if measured else None


def _known_word(text: str) -> str | None:
    """The alias that a name is; for shares also with a word for per cent around it."""
    word = slug(text)
    if word in ALIASES:
        return word
    bare = slug(SHARE.sub("", text)) if SHARE.search(text) else _without_percent(word)
    return bare if bare in ALIASES and _is_share(BY_NAME[ALIASES[bare]]) else None


def _is_share(spec: Column) -> bool:
    return spec.kind == "fraction" or spec.name == "fvu"
