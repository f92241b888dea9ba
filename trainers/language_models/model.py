"""A frozen causal language model: run it, capture sites, splice, ablate, compare outputs."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from trainers.language_models.left_out import LeftOut
from trainers.language_models.loading import LanguageModelError, load_folder_or_name, pick_device
from trainers.language_models.sites import (
    JOINED,
    Layout,
    Site,
    block_count,
    find_site,
    joined,
    layout_of,
)
from trainers.language_models.splicing import Splice, alone, read, replaced

GLIMPSE = 256
"""Numbers of each weight that a quick comparison sees."""
VOLATILE = ("transformers_version", "dtype", "torch_dtype", "architectures", "use_cache")
"""Entries of a config that do not change what the model computes; nor do those that begin with `_`."""
REMEMBERED = 2**24
"""Token ids, 4 bytes each, that a model keeps of texts it has encoded: a second look at them is quick."""

MASKS = 64
"""Batches of tokens of which it is remembered where activations are too long."""


class LanguageModel:
    """A frozen causal language model in evaluation mode.

    Parameters
    ----------
    model : PreTrainedModel
        A causal LM of transformers. Its parameters are frozen in place.
    tokenizer : PreTrainedTokenizer, optional
    name : str
    ignore : sequence of int, optional
        Tokens whose positions are not counted: no SAE sees them and a splice leaves them alone. By default
        the start token and the padding token, wherever they stand.
    config : dict, optional
        The config as stored, for `revision`; by default the model's own.

    Notes
    -----
    Padding stands on the right, where causal attention keeps it from the other tokens. Passes that skip work
    patch modules for their duration: other threads wait.
    """

    predicts = True
    """Its logits give cross-entropy and KL."""
    files: Mapping[str, str] = MappingProxyType({})
    """It has no files of activations."""

    def __init__(
        self, model: Any, tokenizer: Any = None, *, name: str, ignore: Sequence[int] | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.model: nn.Module = model.eval().requires_grad_(False)
        self.tokenizer, self.name = tokenizer, name
        settings = model.config.get_text_config()
        self.device: torch.device = next(model.parameters()).device
        self.dtype: torch.dtype = next(model.parameters()).dtype
        self.d_model: int = settings.hidden_size
        self.vocabulary_size: int = settings.vocab_size
        self.context_length: int = getattr(settings, "max_position_embeddings", None) or 2**31
        source = settings if tokenizer is None else tokenizer
        self.start_token: int | None = _one(getattr(source, "bos_token_id", None))
        self.padding_token: int | None = _one(getattr(source, "pad_token_id", None))
        self.end_token: int | None = _one(getattr(source, "eos_token_id", None))
        known = [t for t in (self.start_token, self.padding_token) if t is not None]
        self.ignore: tuple[int, ...] = tuple(sorted(set(known if ignore is None else ignore)))
        self._layout: Layout | None = layout_of(model.config)
        self._config = model.config.to_diff_dict() if config is None else config
        self._sites: dict[str, Site] = {}
        self._encoded: dict[bytes, array[int]] = {}
        self._room = REMEMBERED
        self.left_out = LeftOut()
        """What is left out beside `ignore`; a run sets what its configuration says."""
        self._small: dict[tuple[str, str, bytes], Tensor] = {}

    def __repr__(self) -> str:
        kind = type(self.model).__name__
        return f"LanguageModel({self.name!r}, {kind}, d_model {self.d_model}, {self.device})"

    @cached_property
    def revision(self) -> str:
        """First twelve digits of the SHA-256 of the config and the weights as they were loaded."""
        return self._digest(None)

    @property
    def glimpse(self) -> str:
        """The same over the first numbers of each weight: quick, for processes that compare their models."""
        return self._digest(GLIMPSE)

    def _digest(self, most: int | None) -> str:
        plain = {k: v for k, v in self._config.items() if k not in VOLATILE and k[0] != "_"}
        digest = hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode())
        for name, weight in sorted(self.model.named_parameters()):
            digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
            seen = weight.detach().contiguous().flatten()[:most]
            digest.update(seen.cpu().view(torch.uint8).numpy().data)
        return digest.hexdigest()[:12]

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens; their names inside the text are text."""
        if self.tokenizer is None:
            raise LanguageModelError(f"{self.name} has no tokenizer; give token ids")
        digest = hashlib.sha256(text.encode()).digest()
        if digest in self._encoded:
            return self._encoded[digest].tolist()
        options = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
        found: list[int] = self.tokenizer(text, **options)["input_ids"]
        if len(found) <= self._room:
            self._encoded[digest] = array("i", found)
            self._room -= len(found)
        return found

    @alone
    def site(self, name: str) -> Site:
        """The site of that name, or of names joined by +; `trainers/language_models/sites.py` lists them."""
        if name not in self._sites:
            if JOINED in name:
                self._sites[name] = joined([self.site(part.strip()) for part in name.split(JOINED)])
                return self._sites[name]
            site = find_site(name, self.model, self._layout)
            probe = torch.zeros(2, 3, dtype=torch.long, device=self.device)
            width = read(lambda: self._logits(probe), self.model, {name: site}, (2, 3))[name].shape[-1]
            self._sites[name] = replace(site, width=width)
        return self._sites[name]

    def plain_sites(self) -> list[str]:
        """The plain names of this model's sites, by layer; none where its family is not in the table."""
        if self._layout is None:
            return []
        layers = range(block_count(self.model, self._layout))
        return [f"{place}.{layer}" for layer in layers for place in self._layout.places]

    def counted(self, tokens: Tensor) -> Tensor:
        """Which positions `[B, T]` hold text: not the start token, padding or what else is left out."""
        out = self.left_out
        ignored = torch.tensor([*self.ignore, *out.tokens], dtype=tokens.dtype, device=tokens.device)
        kept = ~torch.isin(tokens, ignored)
        if out.positions:
            kept &= out.kept_places(tokens)
        return kept & self._small_enough(tokens) if out.norms else kept

    def _small_enough(self, tokens: Tensor) -> Tensor:
        """Which positions have no activation that is too long; of the same tokens asked for once."""
        key = (str(self.left_out), str(tuple(tokens.shape)), tokens.cpu().numpy().tobytes())
        if key not in self._small:
            if len(self._small) >= MASKS:
                self._small.clear()
            self._small[key] = self.left_out.kept_sizes(self.capture(tokens, list(self.left_out.norms)))
        return self._small[key].to(tokens.device)

    @alone
    def capture(self, tokens: Tensor, sites: Sequence[str]) -> dict[str, Tensor]:
        """Activations `[B, T, width]` at each site, without gradients; stops after the last site."""
        tokens = self._checked(tokens)
        wanted = {name: self.site(name) for name in sites}
        if not wanted:
            return {}
        places = {place.name: place for site in wanted.values() for place in site.places}
        found = read(lambda: self._logits(tokens), self.model, places, tuple(tokens.shape))
        return {name: site.beside(found) for name, site in wanted.items()}

    @alone
    @torch.no_grad()
    def logits(self, tokens: Tensor) -> Tensor:
        """Logits `[B, T, V]` of the model itself, without gradients."""
        return self._logits(self._checked(tokens))

    @alone
    def spliced_logits(
        self, tokens: Tensor, site: str, replace: Tensor | Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Logits `[B, T, V]` with the activation at a site replaced at the counted positions.

        Parameters
        ----------
        replace : Tensor or callable
            The new activation `[B, T, width]`, or a function from the model's own to the new one.

        Notes
        -----
        Gradients flow to the replacement, if it asks for them, and never to the model.
        """
        tokens, place = self._checked(tokens), self.site(site)
        new = replace(self.capture(tokens, [site])[site]) if callable(replace) else replace
        with replaced(self.model, place, new, self.counted(tokens)[..., None], tuple(tokens.shape)):
            return self._logits(tokens)

    def ablated_logits(self, tokens: Tensor, site: str, mean: Tensor | None = None) -> Tensor:
        """Logits with the site set to zero, or to a mean activation `[width]`, at the counted positions."""
        value = (
            torch.zeros(self.site(site).width, device=self.device) if mean is None else mean.to(self.device)
        )
        return self.spliced_logits(tokens, site, lambda old: value.to(old.dtype).expand_as(old))

    def splice(self, tokens: Tensor, site: str) -> Splice:
        """The same tokens and site for many replacements: what comes before the site is computed once."""
        return Splice(self, self._checked(tokens), self.site(site))

    def _logits(self, tokens: Tensor) -> Tensor:
        return self.model(input_ids=tokens, use_cache=False).logits

    def _checked(self, tokens: Tensor) -> Tensor:
        """The tokens on the model's device."""
        if tokens.ndim != 2 or tokens.is_floating_point() or not tokens.numel():
            raise LanguageModelError(f"tokens must be whole numbers [batch, length], got {_kind(tokens)}")
        if tokens.shape[1] > self.context_length:
            raise LanguageModelError(
                f"{tokens.shape[1]} tokens per row, but {self.name} reads at most {self.context_length}"
            )
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= self.vocabulary_size:
            raise LanguageModelError(
                f"token {low if low < 0 else high} is not in the vocabulary of {self.name} "
                f"(0 to {self.vocabulary_size - 1})"
            )
        pad = self.padding_token
        if pad is not None and pad != self.start_token and tokens.shape[1] > 2:
            left = (tokens[:, :2] == pad).all(1) & (tokens != pad).any(1)
            if left.any():
                raise LanguageModelError(
                    f"row {int(left.nonzero()[0])} is padded on the left; pad on the right"
                )
        return tokens.to(self.device, torch.long)


def load_language_model(
    name: str | Path | None = None,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "float32",
    ignore: Sequence[int] | None = None,
) -> LanguageModel:
    """A causal language model by folder or name on the Hugging Face hub; by default the shipped tiny one.

    Parameters
    ----------
    name : str or path, optional
        None or "tiny_lm" for the shipped model.
    device : str
        "auto" takes a GPU if there is one.
    ignore : sequence of int, optional
        See `LanguageModel`.

    Raises
    ------
    LanguageModelError
        If it cannot be loaded; weights must be safetensors, and no code of the model's authors is run.
    """
    where = pick_device(device)
    model, tokenizer, config, label = load_folder_or_name(name, dtype)
    return LanguageModel(model.to(where), tokenizer, name=label, ignore=ignore, config=config)


def next_token_losses(logits: Tensor, tokens: Tensor) -> Tensor:
    """Cross-entropy in nats `[B, T - 1]`; entry t is of the prediction made FROM position t."""
    flat = logits[:, :-1].flatten(0, 1).float()
    losses = nn.functional.cross_entropy(flat, tokens[:, 1:].flatten().to(flat.device), reduction="none")
    return losses.view(tokens.shape[0], -1)


def kl_from(clean: Tensor, logits: Tensor, normalised: bool = False) -> Tensor:
    """KL(clean ‖ other) in nats `[...]` between next-token distributions given as logits `[..., V]`.

    `normalised` says that both are log-probabilities already.
    """
    ours, other = (
        (clean, logits) if normalised else (torch.log_softmax(x.float(), -1) for x in (clean, logits))
    )
    p = ours.exp()
    parts = (ours - other).mul_(p)
    found = parts.sum(-1)
    if found.isnan().any():  # 0 log 0 is 0: masked tokens have logits of −∞
        found = parts.masked_fill_(p == 0, 0.0).sum(-1)
    return found


def _one(token: Any) -> int | None:
    return (
        token[0] if isinstance(token, list | tuple) and token else token if isinstance(token, int) else None
    )


def _kind(tokens: Tensor) -> str:
    return f"{str(tokens.dtype).removeprefix('torch.')} {list(tokens.shape)}"
