"""The model card of the shipped language model, measured: `python -m trainers.model_card data/tiny_lm`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from tabulate import tabulate
from torch import Tensor

from frontier.writing import write_text
from trainers.activations import evaluation_windows
from trainers.language_models import LanguageModel, load_language_model, next_token_losses

TEXT = """---
license: mit
library_name: transformers
pipeline_tag: text-generation
---

# {name}: a byte-level language model to train sparse autoencoders on

The smallest real language model that has all the sites an SAE is trained on: a GPT-2 with {layers}
layers, width {width}, {heads} heads, a context of {context} tokens and {parameters:,} parameters
({size:.1f} MB in half precision). Its vocabulary is the 256 bytes and a start token, so that any
text works; `AutoModelForCausalLM` and `AutoTokenizer` load it without remote code.

It was trained from nothing by `python -m trainers.tiny_lm` ({steps:,} steps of {batch} windows) on
the sources of Python's standard library, read where they are installed; nothing of them is stored
here. One file in sixteen, chosen by the hash of its path, is held out.

## What was measured

Protocol: {protocol}. Nats per byte, averaged over the predictions from every position but the start
token's.

* Cross-entropy **{clean:.3f}**; byte frequencies alone give {unigram:.3f}, the uniform distribution
  {uniform:.3f}.

Cross-entropy with one site ablated, set to zero or to its mean:

{table}

The default site is `mlp_out.{last}`: on models as small as this, residual sites and the MLPs before
the last give kinked frontiers.

## Limits

A model for demonstrations, tests and method development. It writes plausible Python for a line or
two. Nothing that is found on it need hold on a large model.
"""


@torch.no_grad()
def measure(model: LanguageModel, windows: int = 256) -> tuple[str, float, list[list[object]]]:
    """The protocol, the clean loss, and per site: name, width, mean norm, zero- and mean-ablated loss."""
    tokens, protocol = evaluation_windows(model, windows=windows, progress=False)
    parts = tokens.split(32)
    rows = [_site_row(model, parts, site) for site in model.plain_sites()]
    clean = sum(_loss(model.logits(p), p, model) for p in parts) / len(parts)
    return protocol, clean, rows


def _site_row(model: LanguageModel, parts: tuple[Tensor, ...], site: str) -> list[object]:
    kept = [model.capture(p, [site])[site][model.counted(p)] for p in parts]
    values = torch.cat(kept)
    mean = values.mean(0)
    zero, at_mean = (
        sum(_loss(model.ablated_logits(p, site, m), p, model) for p in parts) / len(parts)
        for m in (None, mean)
    )
    return [f"`{site}`", values.shape[1], float(values.norm(dim=1).mean()), zero, at_mean]


def _loss(logits: Tensor, tokens: Tensor, model: LanguageModel) -> float:
    counted = model.counted(tokens)
    losses = next_token_losses(logits, tokens)
    return float(losses[counted[:, :-1]].mean())


def write_card(folder: Path) -> Path:
    """Measure the model in a folder and write its README.md there."""
    model = load_language_model(folder)
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    recipe = training["recipe"]
    protocol, clean, rows = measure(model)
    headers = ("site", "width", "mean norm", "zero-ablated", "mean-ablated")
    text = TEXT.format(
        name=folder.name, layers=recipe["layers"], width=recipe["width"], heads=recipe["heads"],
        context=recipe["context_length"], parameters=training["parameters"], steps=recipe["steps"],
        batch=recipe["batch_size"], size=(folder / "model.safetensors").stat().st_size / 1e6,
        protocol=protocol, clean=clean, unigram=training["unigram_loss"],
        uniform=float(torch.tensor(257.0).log()), last=recipe["layers"] - 1,
        table=tabulate(rows, headers, "github", floatfmt=("", "", ".1f", ".3f", ".3f")),
    )  # fmt: skip
    return write_text(folder / "README.md", text)


def main() -> None:
    """Write the card of the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m trainers.model_card", description=__doc__)
    parser.add_argument("folder", type=Path)
    print(f"wrote {write_card(parser.parse_args().folder)}")


if __name__ == "__main__":
    main()
