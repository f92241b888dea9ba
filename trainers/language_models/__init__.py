"""Language models that SAEs are trained on and judged by: load, read a site, replace it, compare outputs."""

from trainers.language_models.loading import LanguageModelError
from trainers.language_models.model import LanguageModel, kl_from, load_language_model, next_token_losses
from trainers.language_models.sites import SiteError
from trainers.language_models.splicing import Splice

__all__ = [
    "LanguageModel", "LanguageModelError", "SiteError", "Splice", "kl_from", "load_language_model",
    "next_token_losses",
]  # fmt: skip
