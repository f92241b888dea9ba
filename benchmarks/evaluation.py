"""Evaluating a family: all members in one pass, against one at a time and against the model's passes alone.

`python -m benchmarks.evaluation` prints the table and writes `benchmarks/results/evaluation.json`. The
shipped model, its default site, 64 held-out windows, SAEs with random weights (TopK, k from 1 to
dictionary/8). "passes alone" is what any evaluation with a cut-open model has to compute and nothing else:
per batch the clean pass, the activations of the mean, and for each member and two ablations what comes
after the site. "full passes" is the same with a whole forward pass per member and ablation, as hooks
without a cut have it. Medians of process CPU time, one thread, methods in turn.
"""

from __future__ import annotations

import os
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from tabulate import tabulate

from benchmarks.measuring import arguments, circumstances, folder_of, medians, ratio, rounds, write
from trainers.activations import Scaling, evaluation_windows
from trainers.architectures import architecture
from trainers.evaluate import evaluate
from trainers.family import Family, Member
from trainers.language_models import load_language_model
from trainers.sae import SAE

MEMBERS, WINDOWS, DICTIONARY, BATCH = 30, 64, 1024, 4
SITE = "mlp_out.1"

torch.set_num_threads(1)


def saes(members: int, size: int, width: int) -> list[SAE]:
    """TopK SAEs with random weights."""
    scaling = Scaling(1.0, 1.0, torch.zeros(width), torch.zeros(width))
    ks = np.unique(np.geomspace(1, size / 8, members).round())
    plan = [Member(f"member {m}", float(ks[m % len(ks)]), m, 1e-3) for m in range(members)]
    family = Family(
        "topk", architecture("topk"), plan, d_in=width, d_out=width, dictionary_size=size, scaling=scaling
    )
    return [family.sae(m) for m in range(members)]


@torch.no_grad()
def passes_alone(model: Any, tokens: torch.Tensor, members: int) -> None:
    """The model's share of an evaluation: the mean's capture, clean passes, and what follows the site."""
    for batch in tokens.split(BATCH):
        model.capture(batch, [SITE])
    for batch in tokens.split(BATCH):
        splice = model.splice(batch, SITE)
        for _ in range(members + 2):
            splice(splice.value)


@torch.no_grad()
def full_passes(model: Any, tokens: torch.Tensor, members: int) -> None:
    """The same with a whole forward pass for each member and ablation."""
    for batch in tokens.split(BATCH):
        for _ in range(members + 4):
            model.logits(batch)


@torch.no_grad()
def saes_alone(family: list[SAE], model: Any, tokens: torch.Tensor) -> None:
    """Encoding and decoding alone, of activations that are there."""
    for batch in tokens.split(BATCH):
        x = model.capture(batch, [SITE])[SITE][model.counted(batch)].float()
        for sae in family:
            sae.decode(sae.encode(x))


def main() -> None:
    """Measure, print, write."""
    asked = arguments(__doc__, "few members, one round").parse_args()
    members, windows, count = (3, 4, 1) if asked.quick else (MEMBERS, WINDOWS, 3)
    model = load_language_model(device="cpu")
    tokens, protocol = evaluation_windows(model, windows=windows, progress=False)
    family = saes(members, DICTIONARY, model.d_model)
    options: dict[str, Any] = {"batch_size": BATCH, "protocol": protocol}
    times, found = rounds(
        {
            "all members in one pass": lambda: evaluate(family, model, tokens, SITE, **options),
            "one member at a time": lambda: [evaluate([s], model, tokens, SITE, **options) for s in family],
            "the model's passes alone": lambda: passes_alone(model, tokens, members),
            "full passes": lambda: full_passes(model, tokens, members),
            "encode and decode alone": lambda: saes_alone(family, model, tokens),
        },
        count,
    )
    together, alone = found["all members in one pass"], found["one member at a time"]
    gap = max(
        abs(float(a.table["loss_recovered"].iloc[0]) - float(together.table["loss_recovered"].iloc[m]))
        for m, a in enumerate(alone)
    )
    first = "all members in one pass"
    ratios = {
        "one member at a time / all in one pass": ratio(times, "one member at a time", first),
        "all in one pass / the model's passes alone": ratio(times, first, "the model's passes alone"),
        "all in one pass / (passes alone + encode and decode)": float(np.median([
            a / (b + c) for a, b, c in zip(
                times[first], times["the model's passes alone"], times["encode and decode alone"], strict=True
            )
        ])),
        "full passes / all in one pass": ratio(times, "full passes", first),
    }  # fmt: skip
    print(tabulate([(k, round(v, 3)) for k, v in medians(times).items()], ("what", "CPU s")))
    print(tabulate([(k, round(v, 3)) for k, v in ratios.items()], ("ratio", "value")))
    print(f"largest difference of loss recovered, together and alone: {gap:.1e}")
    folder = folder_of(asked)
    record = {
        **circumstances("torch", "transformers", "numpy"), "threads": 1, "rounds": count, "members": members,
        "dictionary": DICTIONARY, "windows": windows, "protocol": protocol, "seconds": medians(times),
        "ratios": {k: round(v, 3) for k, v in ratios.items()}, "largest_difference_of_loss_recovered": gap,
    }  # fmt: skip
    write("evaluation", record, folder)


if __name__ == "__main__":
    main()
