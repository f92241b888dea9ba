"""Inference-time optimisation: a trained dictionary judged apart from its encoder.

The codes of each token are found by pursuit at several target L0s, all in one run. The frontier that they
trace is that of the dictionary; the gap between it and the SAE at equal L0 is what the encoder costs. As in
the Gated SAE paper (arXiv 2404.16014), dictionaries are then compared whatever encoder they came with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from frontier.progress import Callback
from frontier.studies.evaluation import Evaluation, joined
from frontier.studies.paired_frontiers import LeftOut, estimate
from frontier.wording import nearest
from trainers.evaluate import evaluate
from trainers.language_models import LanguageModel
from trainers.studies.pursuit import gradient_pursuit, orthogonal_matching_pursuit
from trainers.studies.variants import (
    Variant,
    VariantError,
    activations_of,
    linear_decoder,
    run_id_of,
    variant_identity,
)

METHODS: Mapping[str, Callable[..., dict[int, Tensor]]] = {
    "orthogonal matching pursuit": orthogonal_matching_pursuit,
    "gradient pursuit": gradient_pursuit,
}
EXACT = "orthogonal matching pursuit"
"""The default: on the latents it chooses nothing is left to gain, so that it judges the dictionary alone."""
TARGETS = (1, 2, 4, 8, 16, 32)
ROWS = 2048
"""Tokens that are pursued at a time."""
WHOLE = 1e-6
"""By so much, as a share, an L0 that is a whole number may miss it by rounding."""


class PursuedCodes:
    """The codes of one dictionary for every target L0, found once per batch; signed where the SAE's are."""

    def __init__(self, sae: Any, targets: Sequence[int], method: str = EXACT) -> None:
        if method not in METHODS:
            raise VariantError(f"unknown pursuit {method!r}{nearest(method, METHODS)}")
        if sae.d_in != sae.d_out:
            raise VariantError(f"{run_id_of(sae, 0)!r} is a transcoder: its input cannot be pursued")
        self.sae, self.method, self.targets = sae, method, tuple(targets)
        self.signed = bool(getattr(getattr(sae, "architecture", None), "signed", False))
        self._input: Tensor | None = None
        self._codes: dict[int, Tensor] = {}

    def __call__(self, x: Tensor, target: int) -> Tensor:
        """Codes `[n, F]` of at most `target` latents per token."""
        if self._input is not x:
            rows, bias = linear_decoder(self.sae, x.device)
            pursued = partial(METHODS[self.method], decoder=rows, targets=self.targets, signed=self.signed)
            parts = [pursued(part - bias) for part in x.split(ROWS)]
            self._codes = {k: torch.cat([p[k] for p in parts]) for k in self.targets}
            self._input = x
        return self._codes[target]


class Pursued(Variant):
    """A dictionary whose codes are pursued up to one target L0."""

    def __init__(self, codes: PursuedCodes, parent: str, target: int) -> None:
        identity = variant_identity(codes.sae, parent, codes.method, target, "target L0")
        super().__init__(codes.sae, identity)
        self._codes, self.target = codes, target

    def encode(self, x: Tensor) -> Tensor:
        """Pursued codes `[n, F]`."""
        return self._codes(x, self.target)


def pursue(
    saes: Sequence[Any],
    model: LanguageModel,
    tokens: Tensor,
    site: str,
    *,
    protocol: str,
    targets: Sequence[int] = TARGETS,
    method: str = EXACT,
    batch_size: int = 16,
    progress: bool | Callback = False,
) -> Evaluation:
    """Every metric of every dictionary at every target L0; one pass over the text per SAE.

    Returns
    -------
    Evaluation
        Rows of families such as "relu + orthogonal matching pursuit", the SAE's name in `parent`, after the
        row of the SAE itself. What gradient pursuit, the faster method, adds to the error depends on the
        dictionary: `pursuit_costs` says how much.
    """
    found = []
    for place, sae in enumerate(saes):
        codes, parent = PursuedCodes(sae, targets, method), run_id_of(sae, place)
        variants = [Pursued(codes, parent, target) for target in targets]
        found.append(
            evaluate([sae, *variants], model, tokens, site, batch_size=batch_size, protocol=protocol,
                     progress=progress)
        )  # fmt: skip
    return joined(found)


@torch.no_grad()
def best_dictionaries(
    saes: Sequence[Any],
    model: LanguageModel,
    training_tokens: Tensor,
    site: str,
    *,
    targets: Sequence[int] = TARGETS,
    method: str = EXACT,
    batch_size: int = 16,
) -> pd.DataFrame:
    """For each family and target L0 the dictionary of least squared error on training text.

    Chosen there so that the evaluation text judges a choice it had no part in. Columns: `family`, `target`,
    `parent`, `mse` (of the training text), `run_id` (in the result of `pursue`).
    """
    codes = [PursuedCodes(sae, targets, method) for sae in saes]
    errors = torch.zeros(len(codes), len(targets), dtype=torch.float64)
    tokens = 0
    for x, _ in activations_of(model, training_tokens, site, batch_size=batch_size):
        tokens += len(x)
        for i, one in enumerate(codes):
            for j, target in enumerate(targets):
                errors[i, j] += float((one.sae.decode(one(x, target)) - x).square().sum())
    rows = []
    for i, sae in enumerate(saes):
        for j, target in enumerate(targets):
            name = run_id_of(sae, i)
            identity = variant_identity(sae, name, method, target, "target L0")
            rows.append({"family": identity["family"], "target": target, "parent": name,
                         "mse": float(errors[i, j]) / tokens, "run_id": identity["run_id"]})  # fmt: skip
    table = pd.DataFrame(rows)
    return table.loc[table.groupby(["family", "target"], sort=False)["mse"].idxmin()].reset_index(drop=True)


@torch.no_grad()
def pursuit_costs(
    saes: Sequence[Any],
    model: LanguageModel,
    tokens: Tensor,
    site: str,
    *,
    targets: Sequence[int] = TARGETS,
    method: str = "gradient pursuit",
    batch_size: int = 16,
) -> pd.DataFrame:
    """A method's squared error over that of exact pursuit, and how many latents each uses.

    A row per SAE and target: `parent`, `family`, `target`, `mse_ratio`, `l0`, `l0_exact`. A ratio that
    differs between dictionaries is a comparison of dictionaries that the method has made up.
    """
    ways = [[PursuedCodes(sae, targets, m) for m in (method, EXACT)] for sae in saes]
    sums = torch.zeros(len(saes), len(targets), 2, 2, dtype=torch.float64)  # [..., method, (error, L0)]
    tokens_seen = 0
    for x, _ in activations_of(model, tokens, site, batch_size=batch_size):
        tokens_seen += len(x)
        for i, both in enumerate(ways):
            for j, target in enumerate(targets):
                for m, one in enumerate(both):
                    f = one(x, target)
                    sums[i, j, m, 0] += (one.sae.decode(f) - x).square().sum().double()
                    sums[i, j, m, 1] += (f != 0).sum()
    rows = []
    for i, sae in enumerate(saes):
        family = sae.identity.get("family")
        for j, target in enumerate(targets):
            (error, l0), (least, l0_exact) = sums[i, j].tolist()
            rows.append({"parent": run_id_of(sae, i), "family": family, "target": target,
                         "mse_ratio": error / least if least else float("nan"), "l0": l0 / tokens_seen,
                         "l0_exact": l0_exact / tokens_seen})  # fmt: skip
    return pd.DataFrame(rows)


def encoder_costs(evaluation: Evaluation, metric: str = "ce_sae", level: float = 0.95) -> pd.DataFrame:
    """What each SAE's encoder costs: its metric less that of its dictionary pursued to the same L0.

    Columns: `parent`, `family`, `l0`, `l0_pursued`, `metric`, `cost`, `cost_se`, `cost_low`, `cost_high`,
    paired by batch; below 0 the encoder does better than the pursuit. Where the largest target is allowed the
    SAE's L0 but the pursuit needs less (no further row helps some tokens), the two are compared at what it
    reached, `l0_pursued`. Missing where the targets do not reach the SAE's L0.
    """
    left, rows = LeftOut(evaluation), []
    table = evaluation.table
    own = table.set_index("run_id")
    for parent, members in table[table["parent"].notna()].groupby("parent", sort=False):
        l0, value = left.metric(str(parent), "l0"), left.metric(str(parent), metric)
        names, at = list(members["run_id"]), l0
        if l0[0] <= members["sparsity_setting"].max() * (1 + WHOLE):
            at = np.minimum(l0, np.max([left.metric(name, "l0") for name in names], axis=0))
        found = estimate(value - left.curve(names, metric, at), level)
        rows.append({"parent": parent, "family": own.loc[parent].get("family"), "l0": l0[0],
                     "l0_pursued": at[0], "metric": metric, "cost": found.value, "cost_se": found.se,
                     "cost_low": found.low, "cost_high": found.high})  # fmt: skip
    return pd.DataFrame(rows)
