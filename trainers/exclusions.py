"""What a configuration leaves out of training and evaluation, set on the model that reads the text."""

from __future__ import annotations

import torch

from trainers.activations.harvest import CHUNK_TOKENS
from trainers.activations.sources import token_windows
from trainers.activations.stored import StoredActivations
from trainers.config import ConfigError, RunConfig
from trainers.language_models.left_out import LeftOut
from trainers.origin import Origin
from trainers.text import TextError

MEDIAN_TOKENS = 16_384
"""Tokens of the training text on which the median norm of a site is taken: of files from all over them."""


def leave_out(model: Origin, config: RunConfig) -> None:
    """Have a model leave out what a configuration does.

    Raises
    ------
    ConfigError
        If a token is not in the vocabulary, or rows have no tokens or positions.
    """
    given = config.activations
    tokens, places = tuple(given.exclude_tokens or ()), tuple(given.exclude_positions or ())
    if isinstance(model, StoredActivations):
        if tokens:
            raise ConfigError("activations.exclude_tokens is for a text; activations.files have no tokens")
        if places and (model.inner == 1 or model.inner <= max(places)):
            windows = f"windows of {model.inner} rows" if model.inner > 1 else "rows [N, d] without windows"
            raise ConfigError(f"activations.exclude_positions has {max(places)}; the files have {windows}")
    for token in tokens:
        if token >= model.vocabulary_size:
            raise ConfigError(
                f"activations.exclude_tokens has {token}, which is not in the vocabulary of {model.name} "
                f"(0 to {model.vocabulary_size - 1})"
            )
    norms = {model.site(site).name: limit for site, limit in (given.norm_limits or {}).items()}
    if strange := sorted(norms.keys() - set(_read(config, model))):
        raise ConfigError(f"activations.norm_limits has {strange[0]}, which this run does not read")
    model.left_out = LeftOut(tuple(sorted(set(tokens))), tuple(sorted(set(places))), norms)


def _read(config: RunConfig, model: Origin) -> list[str]:
    """The places that a run reads, by the model's names; of a joined site each of its parts."""
    return list(dict.fromkeys(p.name for site in config.activations.places for p in model.site(site).places))


def with_exclusions(config: RunConfig, model: Origin) -> RunConfig:
    """The configuration with its limits of norms, once the model leaves out all that it says."""
    leave_out(model, config)
    config = with_limits(config, model)
    leave_out(model, config)
    return config


def with_limits(config: RunConfig, model: Origin) -> RunConfig:
    """The configuration with the norms above which it leaves out, to six digits, by site.

    The median at a site is that of the counted positions of `MEDIAN_TOKENS` tokens of the training text.
    """
    given = config.activations
    if given.exclude_norms_above is None:
        return config
    sites, norms = _read(config, model), []
    tokens = _sample(config, model)
    for batch in tokens.split(max(1, CHUNK_TOKENS // tokens.shape[1])):
        counted = model.counted(batch)
        found = model.capture(batch, sites)
        norms.append(torch.stack([found[s][counted.to(found[s].device)].float().norm(dim=-1) for s in sites]))
    medians = torch.cat(norms, dim=1).median(dim=1).values.tolist()
    limits = {s: float(f"{given.exclude_norms_above * m:.6g}") for s, m in zip(sites, medians, strict=True)}
    section = given.model_copy(update={"exclude_norms_above": None, "norm_limits": limits})
    return config.model_copy(update={"activations": section})


def _sample(config: RunConfig, model: Origin) -> torch.Tensor:
    """Windows of the training text `[n, T]`; all of a short one."""
    given = config.activations
    least = MEDIAN_TOKENS if given.tokens == "all" else min(given.tokens, MEDIAN_TOKENS)
    try:
        found = token_windows(
            model, given.text, context_length=given.context_length, tokens=least, progress=False
        )
    except TextError:
        found = token_windows(model, given.text, context_length=given.context_length, progress=False)
    return found.tokens.long()
