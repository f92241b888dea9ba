"""Fine-tuning of trained SAEs, end to end: KL to the clean model's output, and squared error as its control.

The reconstruction is spliced into the frozen language model and the gradient of

    kl · mean KL(clean ‖ spliced) + mse · Σ‖t − t̂‖² / Σ‖t − t̄‖²

flows through what follows the site back to the SAE. Sparsity has no penalty here: TopK keeps its k, and of
the others it is measured what L0 becomes (compare at equal L0); thresholds of JumpReLU and BatchTopK stay as
they are. KL against MSE at equal tokens and in the same order of text is the comparison that counts: more
training of any kind may help.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from frontier.wording import nearest
from trainers.language_models import LanguageModel, kl_from
from trainers.sae import SAE
from trainers.steps.decoder import clip, normalise, remove_parallel
from trainers.studies.variants import VariantError, activations_of, run_id_of, variant_identity

UNTRAINED = ("threshold", "k", "residual_threshold")
"""Parameters that have no gradient in `encode`."""


@dataclass(frozen=True)
class FineTuning:
    """How to fine-tune.

    Attributes
    ----------
    kl, mse : float
        Weights of the two terms of the loss.
    learning_rate : float
        Adam's, falling linearly to 0; in the scale E‖x‖ = √d.
    batch_size : int
        Windows per step.
    clip : float
        Largest norm of a gradient.
    parameters : tuple of str, optional
        What is trained; default all that have a gradient. `("W_dec",)` keeps detections, and so L0, as they
        are (b_dec does not, where the encoder subtracts it).
    """

    kl: float = 1.0
    mse: float = 0.0
    learning_rate: float = 1e-3
    batch_size: int = 8
    clip: float = 1.0
    parameters: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.kl < 0 or self.mse < 0 or not self.kl + self.mse > 0:
            found = f"{self.kl:g} and {self.mse:g}"
            raise VariantError(f"kl and mse must be at least 0 and not both 0, got {found}")
        if not self.learning_rate > 0 or not self.clip > 0 or self.batch_size < 1:
            found = f"{self.learning_rate:g}, {self.clip:g} and {self.batch_size}"
            raise VariantError(
                f"learning_rate and clip must be above 0 and batch_size at least 1, got {found}"
            )

    @property
    def change(self) -> str:
        """What the family is called after: "KL", "MSE" or "KL and MSE fine-tuning"."""
        names = [name for name, weight in (("KL", self.kl), ("MSE", self.mse)) if weight]
        return f"{' and '.join(names)} fine-tuning"


KL = FineTuning()
MSE = FineTuning(kl=0.0, mse=1.0)


class SplicedText:
    """One batch of text, cut open at a site: the losses of a reconstruction, with gradients.

    Attributes
    ----------
    input, target : Tensor [n, width]
        Clean activations at the counted positions.
    """

    def __init__(
        self, model: LanguageModel, tokens: Tensor, site: str, target_site: str | None = None
    ) -> None:
        target = target_site or site
        tokens = tokens.to(model.device)
        self._splice = model.splice(tokens, target)
        self._counted = model.counted(tokens)
        self._predicting = self._counted[:, :-1] & self._counted[:, 1:]
        self.target = self._splice.value[self._counted]
        self.input = self.target
        if target != site:
            self.input = model.capture(tokens, [site])[site][self._counted]
        self._clean = self._log_probabilities(self._splice.logits)

    def kl(self, reconstruction: Tensor) -> Tensor:
        """Mean KL(clean ‖ spliced) over predictions from and about counted tokens, as `evaluate` has it."""
        new = self._splice.value.clone()
        new[self._counted] = reconstruction.to(new.dtype)
        spliced = self._log_probabilities(self._splice(new))
        return kl_from(self._clean, spliced, normalised=True).mean()

    def fvu(self, reconstruction: Tensor) -> Tensor:
        """Σ‖t − t̂‖² / Σ‖t − t̄‖², with the mean of this batch."""
        spread = (self.target - self.target.mean(0)).square().sum()
        return (self.target - reconstruction).square().sum() / spread

    def loss(self, how: FineTuning, reconstruction: Tensor) -> Tensor:
        """The weighted sum of the terms that are asked for."""
        total = reconstruction.new_zeros(())
        if how.kl:
            total = total + how.kl * self.kl(reconstruction)
        return total + how.mse * self.fvu(reconstruction) if how.mse else total

    def _log_probabilities(self, logits: Tensor) -> Tensor:
        found = logits[:, :-1][self._predicting]
        return torch.log_softmax(found if found.dtype == torch.float64 else found.float(), dim=-1)


def finetune(
    saes: Sequence[SAE],
    model: LanguageModel,
    training_tokens: Tensor,
    site: str,
    target_site: str | None = None,
    *,
    how: FineTuning = KL,
    seed: int = 0,
    log: Callable[[int, list[float]], None] | None = None,
) -> list[SAE]:
    """A family "<family> + KL fine-tuning": every SAE trained on these windows, all on the same batches.

    Parameters
    ----------
    saes : sequence of SAE
        Ours; a foreign one is loaded into ours first (`trainers.export.load`).
    training_tokens : Tensor
        Windows `[n, T]` of training text; each is read once.
    seed : int
        Order of the windows.
    log : callable, optional
        Called with the step and the loss of every SAE.

    Raises
    ------
    VariantError
        If an SAE is not ours, has no such parameter, or a loss is not finite.
    """
    scale = _scales(model, training_tokens[: how.batch_size], site, target_site)
    tuned = [_Tuned(sae, run_id_of(sae, i), scale, how, model) for i, sae in enumerate(saes)]
    order = torch.randperm(len(training_tokens), generator=torch.Generator().manual_seed(seed))
    batches = order.split(how.batch_size)
    for step, places in enumerate(batches):
        text = SplicedText(model, training_tokens[places], site, target_site)
        losses = [one.step(text, 1 - step / len(batches)) for one in tuned]
        if log is not None:
            log(step, losses)
    more = int(model.counted(training_tokens.to(model.device)).sum())
    return [one.finished(more) for one in tuned]


class _Tuned:
    """One SAE in scaled units, with its optimiser."""

    def __init__(
        self, sae: Any, name: str, scale: tuple[float, float], how: FineTuning, model: LanguageModel
    ) -> None:
        if not isinstance(sae, SAE):
            raise VariantError(f"{name!r} is a {type(sae).__name__}; only SAEs of ours can be fine-tuned")
        self.sae, self.name, self.scale, self.how = sae, name, scale, how
        unfolded = sae.architecture.fold(sae.parameters, 1 / scale[0], 1 / scale[1])
        self.parameters = {k: v.detach().to(model.device).clone() for k, v in unfolded.items()}
        possible = [k for k in self.parameters if k not in UNTRAINED]
        for wanted in how.parameters or ():
            if wanted not in possible:
                raise VariantError(f"{name!r} has no {wanted!r} to train{nearest(wanted, possible)}")
        self.leaves = {k: self.parameters[k].requires_grad_() for k in how.parameters or possible}
        self.optimizer = torch.optim.Adam(self.leaves.values(), lr=how.learning_rate, betas=(0.9, 0.999))

    def step(self, text: SplicedText, rate: float) -> float:
        """One step of Adam, decoder rows kept at norm 1 where the architecture does; the loss before it."""
        kind, (into, out) = self.sae.architecture, self.scale
        x = into * text.input
        t_hat = kind.decode(self.parameters, kind.encode(self.parameters, x))
        around = kind.around(self.parameters, x)
        loss = text.loss(self.how, (t_hat if around is None else t_hat + around) / out)
        if not bool(torch.isfinite(loss)):
            raise VariantError(
                f"the loss of {self.name!r} is {float(loss.detach())}; lower the learning rate"
            )
        found = torch.autograd.grad(loss, list(self.leaves.values()), allow_unused=True)
        gradients = {
            k: torch.zeros_like(v) if g is None else g
            for (k, v), g in zip(self.leaves.items(), found, strict=True)
        }
        rows = kind.decoder
        unit = kind.unit_norm and rows in gradients
        with torch.no_grad():
            if unit:
                remove_parallel(gradients[rows], self.leaves[rows])
            clip(gradients, self.how.clip)
            for name, leaf in self.leaves.items():
                leaf.grad = gradients[name]
            self.optimizer.param_groups[0]["lr"] = self.how.learning_rate * rate
            self.optimizer.step()
            if unit:
                normalise(self.leaves[rows])
        return float(loss.detach())

    def finished(self, more: int) -> SAE:
        """The SAE in raw units again."""
        identity = variant_identity(self.sae, self.name, self.how.change)
        before = identity.get("tokens_trained")
        identity |= {"tokens_finetuned": more}
        if before is not None:
            identity["tokens_trained"] = int(before) + more
        plain = {k: v.detach().to(self.sae.parameters[k].device) for k, v in self.parameters.items()}
        return replace(self.sae, parameters=self.sae.architecture.fold(plain, *self.scale), identity=identity)


def _scales(model: LanguageModel, tokens: Tensor, site: str, target_site: str | None) -> tuple[float, float]:
    """Factors that give input and target a mean norm of √d."""
    found = next(activations_of(model, tokens, site, target_site, batch_size=len(tokens)), None)
    if found is None or not len(found[0]):
        raise VariantError("no token of the training windows counts")
    into, out = (math.sqrt(x.shape[1]) / float(x.norm(dim=1).mean()) for x in found)
    return (into, into) if target_site in (None, site) else (into, out)
