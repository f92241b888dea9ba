"""Where a run's activations come from: a language model that reads text, or files of activations."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from frontier.wording import listed
from trainers import ranks
from trainers.activations.sources import name_of
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


def record_of(model: Origin) -> dict[str, Any]:
    """What a run keeps of its model or files, by which it is seen whether they are the same later."""
    return {"name": model.name, "revision": model.revision, "files": dict(model.files)}


def change_of(was: Mapping[str, Any], model: Origin) -> str:
    """What has become another since the record, in words; empty where nothing has."""
    then, now = str(was.get("revision"))[:6], str(model.revision)[:6]
    if was.get("revision") in (None, model.revision):
        return ""
    if model.predicts:
        return f"the weights of {model.name} have changed ({then} then, {now} now)"
    files = was.get("files", {})
    other = [name for name in files | model.files if files.get(name) != model.files.get(name)]
    which = f": {listed(other, 3)}" if files else f" ({then} then, {now} now)"
    return f"the activations of {model.name} have changed{which}"


def at_its_site(config: RunConfig, model: Origin) -> RunConfig:
    """The configuration with the site of its store; a word, if it names a text that is not read.

    Rows are their own text. A store that was harvested from the text that is named is of that text.
    """
    given = config.activations
    if not given.files:
        return config
    store, named = model if isinstance(model, ActivationStore) else None, name_of(given.text)
    if given.text != ActivationsSection().text and not (store and store.text.startswith(f"{named} ")):
        of = f", of {store.text}" if store else ""
        warnings.warn(
            f"activations.text is {named} and is not read: activations.files are the rows that are trained "
            f"on{of}; leave text out",
            stacklevel=3,
        )
    if store is None:
        return config
    own = given.model_copy(update={"site": store.site("").name})
    return config.model_copy(update={"activations": own})


def recorded(folder: Path) -> dict[str, Any]:
    """What a run keeps of its surroundings; nothing where it is lost."""
    try:
        return json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


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
