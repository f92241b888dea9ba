"""Every metric of every SAE at a site, in one pass over the evaluation text.

What is counted
---------------
Positions that hold text: not the start token, padding or other ignored tokens. SAEs see these alone;
everywhere else the model keeps its own activation. Cross-entropy and KL are averaged over the predictions
made from a counted position about a counted token: the prediction made from the start token is the same with
and without a splice.

The mean of mean ablation is the mean activation over the counted positions of the evaluation set itself,
found in a pass of its own; FVU uses the same mean. Standard errors leave one batch out at a time (jackknife)
with this mean held; they come from differences between batches, so spread the windows over the text. Those of
shares of latents, which a jackknife overstates, compare halves and quarters of the text (`firing_counts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from frontier.progress import Callback, reported
from frontier.studies.evaluation import Evaluation, EvaluationError
from frontier.wording import listed, plural
from trainers.activations.stored import StoredActivations
from trainers.evaluate import fitting
from trainers.evaluate.fitting import affordable, groups_that_fit, on_device, pass_bytes, windows_at_once
from trainers.evaluate.parts import Parts, parts_of
from trainers.evaluate.rows_only import RowsOnly
from trainers.evaluate.shared_windows import SharedWindows
from trainers.evaluate.tally import Tally, total
from trainers.language_models import LanguageModel, SiteError, Splice, kl_from
from trainers.shards import Shards, shards_of

LEAST_BATCHES = 16
"""Standard errors come from differences between batches; with fewer they would be guesses."""


@torch.no_grad()
def evaluate(
    saes: Sequence[Any],
    model: LanguageModel | StoredActivations,
    tokens: Tensor,
    site: str,
    target_site: str | None = None,
    *,
    batch_size: int = 16,
    protocol: str,
    progress: bool | Callback = False,
    memory: int | None = None,
) -> Evaluation:
    """Metrics of SAEs that read `site` and write `target_site` (for an autoencoder the same).

    Parameters
    ----------
    model : LanguageModel or StoredActivations
        Behind stored rows there are no predictions: cross-entropy, KL and what follows from them are missing.
    saes : sequence of SAE
        With `encode`, `decode`, `dictionary_size`, `d_in`, `d_out`, and `identity`, the columns that name it.
        Parts of SAEs that are divided over processes (`load_sae` with `shards`) are evaluated together: each
        process makes this call with its part, and all get the evaluation of the whole.
    tokens : Tensor
        Windows of text `[n, T]`.
    batch_size : int
        Windows per batch, at most; memory grows with batch_size · T · vocabulary. Batches are equal to within
        one window, and are the units of the standard errors: there are 16 or more, where there are so many
        windows, whatever `batch_size` is.
    progress : bool or callable
        A bar on the terminal, or a function called with what is done, how much of it, and of how much.
    memory : int, optional
        Bytes for SAEs and codes, and again for logits, on the model's device; by default a quarter of what is
        free there. Batches are read in parts, and SAEs moved in groups, that fit; sums of parts may differ in
        the last digits.
    protocol : str
        Names corpus, context length and special tokens; rows with different ones are not compared.

    Notes
    -----
    `error_linear_fraction` is the share of the variance of the error t − t̂ that a linear map of the SAE's
    input predicts (see `LinearError`); it may be a little below zero.
    An SAE whose outputs are not finite gets a row of missing values and a warning.

    Raises
    ------
    EvaluationError
        If the activations hold NaN or infinities (batch and site are named), nothing is counted, or an SAE
        does not fit the site or says that it belongs to another one.
    """
    saes, target = list(saes), target_site or site
    names = _names(saes)
    _check_sites(saes, names, model, {"site": site, "target_site": target})
    _check_widths(saes, names, model, site, target)
    batches = _batches(tokens, batch_size)
    shards = shards_of(saes[0])
    means = _means(model, batches, (site, target), progress, shards)
    seen = _rows_of(model, batches, target, progress, shards)
    parts = parts_of(model.site(target), means[target], seen, shards)
    tally = Tally(saes, names, len(batches), means[site], shards, [p.name for p in parts.site.parts])
    kind: Any = _OpenBatch if model.predicts else RowsOnly
    memory = memory or affordable(model.device, shards)
    windows = 2**31
    if memory is not None:
        logits = model.vocabulary_size * model.predicts
        windows = windows_at_once(saes, logits, tokens.shape[1], memory, pass_bytes(model), shards.count)
    here = partial(
        SharedWindows, shards=shards, width=saes[0].d_in, target_width=saes[0].d_out, device=model.device,
        autoencoder=site == target,
    )  # fmt: skip
    for number, group in enumerate(groups_that_fit(saes, memory)):
        moved = {member: on_device(saes[member], model.device) for member in group}
        for index, batch in _tracked(batches, "evaluating", progress):
            for piece in batch.split(windows):
                made = partial(kind, model, site=site, parts=parts, mean=means[target], index=index)
                opened = made(piece) if shards.count == 1 else here(made, piece, parts)
                tally.start(index, opened, again=number > 0)
                tally.add(index, moved, opened)
                del opened  # before the next one is made
    rows = [_identity(sae, name, model, site, target) for sae, name in zip(saes, names, strict=True)]
    ablated = {"ablation": "mean"} if model.predicts else {}
    return tally.result(rows, {"protocol": protocol, **ablated, "source": "trainers"})


class _OpenBatch:
    """One batch, cut open at the target site, with what all SAEs share."""

    def __init__(
        self, model: LanguageModel, tokens: Tensor, site: str, parts: Parts, mean: Tensor, index: int
    ) -> None:
        site, target = model.site(site).name, parts.site.name
        self._splice: Splice = model.splice(tokens, target)
        tokens = tokens.to(model.device)
        self._counted = model.counted(tokens)  # [B, T]
        self.target = self._splice.value[self._counted].float()  # [n, d_out]
        self.input = (
            self.target if site == target else model.capture(tokens, [site])[site][self._counted].float()
        )
        _refuse_nan(self.target, self.input, index, (site, target))
        self.parts, self.measured = parts, parts.in_units(self.target)
        self.target_norm = self.measured.norm(dim=1)
        self._pieces = list(self._clean(tokens, fitting.LOGIT_BYTES // (4 * model.vocabulary_size)))
        del self._splice.logits  # large, and not needed again
        self._mean = mean

    def _clean(self, tokens: Tensor, at_once: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Predictions, some at once: places among all tokens, what follows, clean log-probabilities."""
        predicting = self._counted & self._counted.roll(-1, dims=1)
        predicting[:, -1] = False
        for places in predicting.flatten().nonzero()[:, 0].split(max(1, at_once)):
            following = tokens.flatten()[places + 1].long()
            yield places, following, _log_probabilities(self._splice.logits, places)

    @property
    def shared(self) -> dict[str, float]:
        """The sums that all SAEs share; two passes of the model, asked for once."""
        centred = self.parts.in_units(self.target - self._mean)
        return {
            "tokens": len(self.target),
            "predictions": sum(len(places) for places, *_ in self._pieces),
            "centred_squares": total(centred.square()),
            **self.parts.spreads(centred),
            "ce_clean": total(torch.cat([_cross_entropy(clean, then) for _, then, clean in self._pieces])),
            "ce_zero": self.losses(torch.zeros_like(self.target))[0],
            "ce_mean": self.losses(self._mean.expand_as(self.target))[0],
        }

    def losses(self, reconstruction: Tensor) -> tuple[float, float]:
        """Sums of cross-entropy and KL(clean ‖ spliced) with this at the counted positions `[n, d_out]`."""
        new = self._splice.value.clone()
        new[self._counted] = reconstruction.to(new.dtype)
        logits = self._splice(new)
        losses, divergences = [], []
        for places, following, clean in self._pieces:
            spliced = _log_probabilities(logits, places)
            losses.append(_cross_entropy(spliced, following))
            divergences.append(kl_from(clean, spliced, normalised=True))
        return total(torch.cat(losses)), total(torch.cat(divergences))


def _log_probabilities(logits: Tensor, places: Tensor) -> Tensor:
    """Of some of the predictions, `[places, V]` in float32."""
    return torch.log_softmax(logits.flatten(0, 1).index_select(0, places).float(), dim=-1)


def _cross_entropy(log_probabilities: Tensor, following: Tensor) -> Tensor:
    return -log_probabilities.gather(1, following[:, None])


def _names(saes: list[Any]) -> list[str]:
    if not saes:
        raise EvaluationError("no SAEs to evaluate")
    names = [str(s.identity.get("run_id", f"sae_{i}")) for i, s in enumerate(saes)]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise EvaluationError(f"run_id {listed([repr(n) for n in twice], 3)} names several SAEs")
    return names


def _check_sites(saes: list[Any], names: list[str], model: Any, measured: dict[str, str]) -> None:
    """No SAE says that it belongs to another site of this model than the one that is measured."""
    for sae, name in zip(saes, names, strict=True):
        for key, place in measured.items():
            own = sae.identity.get(key) or sae.identity.get("site")
            try:
                same = own is None or model.site(str(own)).name == model.site(place).name
            except SiteError:  # another tool's name for a place
                same = True
            if not same:
                raise EvaluationError(
                    f"SAE {name!r} belongs to {own}, not to {model.site(place).name}; to measure it there "
                    f"all the same, take {key!r} out of its identity"
                )


def _check_widths(saes: list[Any], names: list[str], model: Any, site: str, target: str) -> None:
    wanted = model.site(site).width, model.site(target).width
    for sae, name in zip(saes, names, strict=True):
        if (sae.d_in, sae.d_out) != wanted:
            raise EvaluationError(
                f"SAE {name!r} maps {sae.d_in} to {sae.d_out} dimensions; {site} has {wanted[0]}"
                + (f" and {target} has {wanted[1]}" if target != site else "")
            )


def _batches(tokens: Tensor, batch_size: int) -> list[Tensor]:
    if tokens.ndim != 2 or not len(tokens):
        raise EvaluationError(f"wanted windows of tokens [n, T], got {list(tokens.shape)}")
    if batch_size < 1:
        raise EvaluationError(f"batch_size must be at least 1, got {batch_size}")
    count = max(-(-len(tokens) // batch_size), min(len(tokens), LEAST_BATCHES))
    return list(tokens.tensor_split(count))


def _means(
    model: Any, batches: list[Tensor], sites: tuple[str, str], progress: bool | Callback, shards: Shards
) -> dict[str, Tensor]:
    """The mean activation of each site over the counted positions `[width]`; each shard sees its windows."""
    sums = {s: torch.zeros(model.site(s).width, dtype=torch.float64, device=model.device) for s in sites}
    count = 0
    for index, batch in _tracked(batches, "mean activation", progress):
        batch = shards.share(batch)
        if not len(batch):
            continue
        counted = model.counted(batch.to(model.device))
        for site, values in model.capture(batch, list(dict.fromkeys(sites))).items():
            found = values[counted]
            _refuse_nan(found, found, index, (site, site))
            sums[site] = sums[site] + found.sum(0, dtype=torch.float64)
        count += int(counted.sum())
    count = int(shards.total(torch.tensor(float(count))))
    if not count:
        raise EvaluationError(
            f"no position counts in {plural(sum(map(len, batches)), 'window')}: all tokens are ignored ones "
            f"({listed(model.ignore)})"
        )
    return {s: (shards.total(v) / count).float() for s, v in sums.items()}


def _rows_of(
    model: Any, batches: list[Tensor], site: str, progress: bool | Callback, shards: Shards
) -> Iterator[Tensor]:
    """The counted activations `[n, width]` of each batch, read when they are asked for; a shard's windows."""
    for _, batch in _tracked(batches, "spread of activations", progress):
        batch = shards.share(batch)
        if len(batch):
            yield model.capture(batch, [site])[site][model.counted(batch.to(model.device))].float()


def _refuse_nan(target: Tensor, inputs: Tensor, batch: int, sites: tuple[str, str]) -> None:
    for site, values in zip(sites, (inputs, target), strict=True):
        if not bool(torch.isfinite(values).all()):
            rows = int((~torch.isfinite(values)).any(-1).sum())
            raise EvaluationError(
                f"the activations at {site} hold NaN or infinity in batch {batch}, "
                f"at {plural(rows, 'position')}"
            )


def _identity(sae: Any, name: str, model: Any, site: str, target: str) -> dict[str, Any]:
    """The columns that name an SAE: its own, and what the evaluation knows where it says nothing."""
    known = {
        "run_id": name, "model": model.name, "site": model.site(site).name, "layer": model.site(site).layer,
        "dictionary_size": sae.dictionary_size * shards_of(sae).count, "d_model": sae.d_in,
    }  # fmt: skip
    if target != site:
        known["target_site"] = model.site(target).name
    return known | dict(sae.identity) | {"run_id": name}


def _tracked(batches: list[Tensor], what: str, progress: bool | Callback) -> Iterator[tuple[int, Tensor]]:
    with reported(progress, what, len(batches)) as done:
        for index, batch in enumerate(batches):
            yield index, batch
            done(index + 1)
