"""Which SAE it is: architecture, model, site, layer, width and sparsity setting, from configs and names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from frontier.metrics.cells import number_in
from frontier.metrics.columns import BY_NAME
from frontier.metrics.identity import architecture_in, place_in
from frontier.metrics.names import canonical_name
from frontier.readers.found import num, text

CLASSES = {
    "autoencoder": "relu",
    "autoencodernew": "relu",
    "sparseautoencoder": "relu",
    "vanillasae": "relu",
    "sparsecoder": "topk",
    "sae": "",
}
"""Classes of known tools whose names do not tell the architecture."""

MODEL = ("model_name", "lm_name", "model")
HOOK = ("hook_name", "hook_point", "submodule_name", "hookpoint", "hook_point_in")
LAYER = ("hook_layer", "layer")
WIDTH = ("d_sae", "dict_size", "num_latents", "dictionary_size")
INPUT = ("d_in", "activation_dim", "d_model")
TOKENS = ("training_tokens", "total_training_tokens", "n_training_tokens", "n_training_samples")
SEED = ("seed", "init_seed")
TRAINED_AS = ("training_architecture", "trained_architecture", "original_architecture")
ARCHITECTURE = ("architecture", "trainer_class", "dict_class", "activation")
ACTIVATION = ("activation_fn_str", "activation_fn")
OURS = ("architecture", "family", "model", "layer", "seed", "dictionary_size", "d_model")
"""Columns that a config may also give under any other known name."""
SETTINGS = (
    ("target_l0", "target_l0"),
    ("l0_coefficient", "l0_coefficient"),
    ("l1_coefficient", "lambda"),
    ("l1_penalty", "lambda"),
    ("sparsity_penalty", "lambda"),
    ("initial_sparsity_penalty", "initial_lambda"),
    ("k", "k"),
)
"""Names of the sparsity setting in configs, and what is set; in TopK kinds `k` comes first."""

_WIDTH = re.compile(
    r"(?:width|dict)[-_]?2(?:pow|\^)(?P<power>\d{1,2})|(?:width|dict|d_sae|latents?)[-_]?(?P<rounded>\d{1,4}[km])(?![a-z0-9])"
    r"|-(?P<last>\d{1,4}k)(?:/|$)|[-_]w(?P<short>\d{1,4}k)(?![a-z0-9])"
)


def of_class(name: str) -> str:
    """The architecture that a class, given by name or path, is of; the last part of the path where unknown.

    >>> of_class("dictionary_learning.dictionary.AutoEncoderNew"), of_class("<class 'x.BatchTopKSAE'>")
    ('relu', 'batch_topk')
    """
    last = re.sub(r"^<class '|'>$", "", name.strip()).rpartition(".")[2]
    return architecture_in(last) or CLASSES.get(last.lower(), last)


def identity(config: Mapping[str, Any], names: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Columns that say which SAE it is, and what was changed on the way.

    Parameters
    ----------
    config : flat dict under the tool's own names
    names : release and path names, where the config is silent or known to be wrong
    """
    try:
        row, changes = _cached_identity(tuple(config.items()), names)
    except TypeError:  # lists in the config
        return _identity(config, names)
    return dict(row), list(changes)


@lru_cache(maxsize=4096)
def _cached_identity(items: tuple[Any, ...], names: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    return _identity(dict(items), names)  # the SAEs of one sweep share most of it


def _identity(config: Mapping[str, Any], names: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    config = _usual(config)
    architecture, changes = _architecture(config, names)
    hook = text(_first(config, HOOK))
    site, layer = place_in(hook or names)
    if not hook and layer is None and site is None:
        site, layer = place_in(names)
    given = num(_first(config, LAYER))
    row = {
        "architecture": architecture or None,
        "model": text(_first(config, MODEL)) or None,
        "site": site or hook or None,
        "layer": int(given) if given is not None and given.is_integer() else layer,
        "dictionary_size": num(_first(config, WIDTH)) or _width_in(names),
        "d_model": num(_first(config, INPUT)),
        "seed": text(_first(config, SEED)) or None,
        "tokens_trained": num(_first(config, TOKENS)),
    }
    if text(config.get("family")):
        row["family"] = text(config["family"])
    for key, meaning, value in _settings(config, "topk" in architecture):
        row["sparsity_setting"], row["sparsity_name"] = value, meaning
        if key == "initial_sparsity_penalty":
            changes.append(("sparsity_setting", "the setting at the start of the annealing"))
        break
    return row, changes


def _usual(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config, with what stands under other known names ('arch', 'width') under ours too."""
    names = {canonical_name(str(key)): key for key in config}
    return {**config, **{n: config[names[n]] for n in OURS if n in names and n not in config}}


def _architecture(config: Mapping[str, Any], names: str) -> tuple[str, list[tuple[str, str]]]:
    name = of_class(text(_first(config, ARCHITECTURE)))
    trained = architecture_in(text(_first(config, TRAINED_AS)))
    if trained and trained != name:
        return trained, [("architecture", f"saved as {name or 'nothing'}, trained as {trained}")]
    activation = text(_first(config, ACTIVATION))
    if name == "standard" and architecture_in(activation) == "topk":
        return "topk", [("architecture", "saved as standard with activation topk")]
    if name not in ("", "jumprelu", "standard"):
        return name, []
    hint = architecture_in(names)
    if name == "jumprelu" and hint in ("batch_topk", "matryoshka_batch_topk"):
        return hint, [("architecture", f"saved as jumprelu for inference; the name says {hint}")]
    if name == "standard" and hint in ("p_anneal", "standard_april_update"):
        return hint, [("architecture", f"saved as standard; the name says {hint}")]
    if not name and hint:
        return hint, [("architecture", "read from the name")]
    return name, []


def _settings(config: Mapping[str, Any], topk: bool) -> Iterator[tuple[str, str, float]]:
    """The sparsity settings that the config gives, the likeliest first; -1 is how configs write unknown."""
    given = [(key, meaning) for key, meaning in SETTINGS if key in config]
    for key, meaning in sorted(given, key=lambda s: topk and s[0] != "k"):
        value = num(config[key])
        if value is not None and value != -1:
            yield key, meaning, value


def _first(config: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    for key in keys:
        if key in config:
            value = config[key]
            if value is not None and value != "" and value != -1:
                return value
    return None


@lru_cache(maxsize=4096)
def _width_in(names: str) -> float | None:
    found = _WIDTH.search(names)
    if found is None:
        return None
    rounded = found["rounded"] or found["last"] or found["short"]
    return number_in(rounded, BY_NAME["dictionary_size"]) if rounded else 2.0 ** int(found["power"])
