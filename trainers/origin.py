"""Where a run's activations come from: a language model that reads text, or files of activations."""

from __future__ import annotations

import torch

from trainers import ranks
from trainers.activations.store import ActivationStore, is_store
from trainers.activations.stored import ROWS, SITE, StoredActivations
from trainers.config import RunConfig
from trainers.config_sections import ActivationsSection, ModelSection
from trainers.language_models import LanguageModel, load_language_model
from trainers.text import TextError

Origin = LanguageModel | StoredActivations


def origin_of(config: RunConfig, device: torch.device) -> Origin:
    """The model of a configuration, or its files or store of activations; the first process hashes it.

    Raises
    ------
    TextError
        If files of activations are named and cannot be read.
    """
    model = opened(config, device)
    if isinstance(model, LanguageModel) and ranks.world_size() > 1:
        if ranks.any_true(ranks.of_first(lambda: model.glimpse) != model.glimpse):
            raise TextError(f"the processes do not have the same {model.name}; give each the same files")
        model.revision = ranks.of_first(lambda: model.revision)
    return model


def own_origin(given: Origin) -> Origin:
    """What is given in Python in the place of a configuration's model or files.

    Raises
    ------
    TypeError
        If it is neither; what to type is said.
    """
    if not hasattr(given, "capture"):
        raise TypeError(
            "wanted load_language_model(...) or StoredActivations(array, name=..., site=...) in the place of "
            f"the model, found {type(given).__name__}"
        )
    return given


def opened(config: RunConfig, device: torch.device) -> Origin:
    """The same, each process for itself."""
    given, model = config.activations, config.model
    if not given.files:
        return load_language_model(model.name, device=device, dtype=model.dtype)
    alone = given.files[0] if isinstance(given.files, list) and len(given.files) == 1 else given.files
    if isinstance(alone, str) and is_store(alone):
        return of_the_site(ActivationStore(alone, device=device), given)
    name = "" if model.name == ModelSection().name else model.name
    site = SITE if given.site == ActivationsSection().site else given.site
    window, form = given.context_length or ROWS, given.raw_format
    return StoredActivations(given.files, name=name, site=site, window=window, device=device, raw_format=form)


def of_the_site(store: ActivationStore, given: ActivationsSection) -> ActivationStore:
    """The store, if a configuration that names a site or a length names those that were harvested.

    Raises
    ------
    TextError
        Says what the store holds.
    """
    own = store.site("").name
    if given.site not in (ActivationsSection().site, store.about["asked"], own):
        raise TextError(f"{store.place} holds {own}, activations.site is {given.site}; leave site out")
    if given.context_length not in (None, store.context_length):
        raise TextError(
            f"{store.place} was made with windows of {store.context_length} tokens, "
            f"activations.context_length is {given.context_length}; leave context_length out"
        )
    for field in ("exclude_tokens", "exclude_positions", "exclude_norms_above", "norm_limits"):
        if getattr(given, field):
            raise TextError(
                f"{store.place} has the rows that its harvest kept; leave activations.{field} out"
            )
    return store
