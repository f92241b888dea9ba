"""Where a run's activations come from: a language model that reads text, or files of activations."""

from __future__ import annotations

import torch

from trainers.activations.stored import ROWS, StoredActivations
from trainers.config import RunConfig
from trainers.config_sections import ActivationsSection, ModelSection
from trainers.language_models import LanguageModel, load_language_model

Origin = LanguageModel | StoredActivations


def origin_of(config: RunConfig, device: torch.device) -> Origin:
    """The model of a configuration, or its files of activations.

    Raises
    ------
    TextError
        If files of activations are named and cannot be read.
    """
    given, model = config.activations, config.model
    if not given.files:
        return load_language_model(model.name, device=device, dtype=model.dtype)
    name = "" if model.name == ModelSection().name else model.name
    site = "activations" if given.site == ActivationsSection().site else given.site
    window = given.context_length or ROWS
    return StoredActivations(given.files, name=name, site=site, window=window, device=device)
