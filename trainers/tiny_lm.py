"""The shipped language model, trained from nothing: `python -m trainers.tiny_lm --out data/tiny_lm`.

A byte-level GPT-2 (256 bytes and a start token) on the sources of Python's standard library, with Muon on the
weight matrices and AdamW on the rest. Resumable: run the same command again after a kill.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from frontier.writing import write_json
from trainers import checkpoints
from trainers.text import STANDARD_LIBRARY, content_hash, documents

START = 256
"""The start token; tokens 0 to 255 are bytes."""


@dataclass(frozen=True)
class Recipe:
    """What the model is and how it is trained."""

    layers: int = 2
    width: int = 128
    heads: int = 4
    context_length: int = 128
    steps: int = 5000
    batch_size: int = 32
    muon_lr: float = 0.04
    """Learning rate of the block matrices."""
    adam_lr: float = 5e-3
    """Learning rate of embeddings, norms and biases."""
    constant_share: float = 0.4
    """Both rates are constant for this share of the steps, then fall linearly to zero."""
    seed: int = 0


def build_model(recipe: Recipe) -> GPT2LMHeadModel:
    """A GPT-2 with random weights; the caller's random numbers are left alone."""
    config = GPT2Config(
        vocab_size=START + 1, n_positions=recipe.context_length, n_embd=recipe.width,
        n_layer=recipe.layers, n_head=recipe.heads, bos_token_id=START, eos_token_id=START,
        attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return GPT2LMHeadModel(config)


def build_tokenizer(context_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer whose token ids are the bytes of the UTF-8 text."""
    letters = pre_tokenizers.ByteLevel.alphabet()
    # The byte-level alphabet maps printable bytes to themselves and the others to 256, 257, ... in order.
    printable = [b for b in range(256) if chr(b) in letters]
    names = {b: chr(b) for b in printable}
    names |= {b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in names)}
    tokenizer = Tokenizer(
        models.BPE(vocab={names[b]: b for b in range(256)} | {"<|start|>": START}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|start|>",
        eos_token="<|start|>",
        model_max_length=context_length,
    )


def optimizers(model: GPT2LMHeadModel, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for everything else."""
    matrices = [p for p in model.transformer.h.parameters() if p.ndim == 2]
    inside = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in inside]
    return [
        torch.optim.Muon(matrices, lr=recipe.muon_lr, weight_decay=0.0),
        torch.optim.AdamW(rest, lr=recipe.adam_lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def batch(tokens: torch.Tensor, step: int, recipe: Recipe) -> torch.Tensor:
    """Windows `[batch, context]` at random places, the same for the same step and seed."""
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    body = recipe.context_length - 1
    places = torch.randint(len(tokens) - body, (recipe.batch_size,), generator=generator)
    rows = tokens[places[:, None] + torch.arange(body)].long()
    return torch.cat([torch.full((recipe.batch_size, 1), START), rows], dim=1)


def schedule(step: int, recipe: Recipe) -> float:
    """Share of the full learning rate at a step: a short warm-up, constant, then linear to zero."""
    warm = min(1.0, (step + 1) / 50)
    return warm * min(1.0, (recipe.steps - step) / (recipe.steps * (1 - recipe.constant_share)))


def bytes_of(split: str) -> tuple[torch.Tensor, str]:
    """All bytes of a split of the standard library, and their hash."""
    items = list(documents(STANDARD_LIBRARY, split))
    raw = bytearray("\n".join(d.text for d in items).encode())
    return torch.frombuffer(raw, dtype=torch.uint8), content_hash(items)


@torch.no_grad()
def held_out_loss(model: GPT2LMHeadModel, recipe: Recipe, windows: int = 512) -> tuple[float, float]:
    """Nats per byte on evenly spread windows of the held-out files, of the model and of byte frequencies."""
    held_out, _ = bytes_of("evaluation")
    body = recipe.context_length - 1
    starts = torch.linspace(0, len(held_out) - body, windows).long()
    rows = held_out[starts[:, None] + torch.arange(body)].long()
    tokens = torch.cat([torch.full((windows, 1), START), rows], dim=1)
    losses = [float(model(part, labels=part).loss) for part in tokens.split(32)]
    train, _ = bytes_of("train")
    counts = torch.bincount(train.long(), minlength=256).double() + 1
    unigram = -(counts / counts.sum()).log()[rows].mean()
    return sum(losses) / len(losses), float(unigram)


def train(recipe: Recipe, out: Path, every: int = 250) -> dict[str, float]:
    """Train, or go on from the last checkpoint below `out`; return the losses."""
    model = build_model(recipe)
    steppers = optimizers(model, recipe)
    tokens, digest = bytes_of("train")
    start = restore(out / "checkpoints", model, steppers, recipe)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("training", total=recipe.steps, completed=start)
        for step in range(start, recipe.steps):
            rows = batch(tokens, step, recipe)
            for stepper, rate in zip(steppers, (recipe.muon_lr, recipe.adam_lr), strict=True):
                stepper.zero_grad()
                stepper.param_groups[0]["lr"] = rate * schedule(step, recipe)
            loss = model(rows, labels=rows).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for stepper in steppers:
                stepper.step()
            bar.update(task, advance=1)
            if (step + 1) % 50 == 0:
                bar.update(task, description=f"step {step + 1}, {loss.item():.3f} nats/byte")
            if (step + 1) % every == 0:
                keep(out / "checkpoints", step + 1, model, steppers, recipe)
    held_out, unigram = held_out_loss(model.eval(), recipe)
    found = {"held_out_loss": held_out, "unigram_loss": unigram}
    write(model, recipe, out, found | {"text": f"{STANDARD_LIBRARY} train {digest}"})
    return found


def keep(
    folder: Path, step: int, model: GPT2LMHeadModel, steppers: list[torch.optim.Optimizer], recipe: Recipe
) -> None:
    """One checkpoint: weights and the state of both optimisers."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items() if k != "lm_head.weight"}
    for i, stepper in enumerate(steppers):
        for j, state in stepper.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{j}.{k}": v for k, v in state.items()}
    checkpoints.save(folder, step, tensors, {"step": step, "recipe": asdict(recipe)})


def restore(
    folder: Path, model: GPT2LMHeadModel, steppers: list[torch.optim.Optimizer], recipe: Recipe
) -> int:
    """The step to go on from: 0, or that of the last checkpoint, which is loaded."""
    found = checkpoints.latest(folder)
    if found is None:
        return 0
    tensors, state = checkpoints.load(found)
    if state["recipe"] != asdict(recipe):
        raise checkpoints.CheckpointError(f"{found} was trained with another recipe: {state['recipe']}")
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")}, strict=False)
    model.tie_weights()
    for i, stepper in enumerate(steppers):
        whole = stepper.state_dict()
        for name, value in tensors.items():
            if name.startswith(f"optimizer.{i}."):
                _, _, index, key = name.split(".")
                whole["state"].setdefault(int(index), {})[key] = value
        stepper.load_state_dict(whole)
    return int(state["step"])


def write(model: GPT2LMHeadModel, recipe: Recipe, out: Path, card: dict) -> None:
    """The model and its tokenizer as a Hugging Face folder, weights in half precision."""
    card |= {"recipe": asdict(recipe), "parameters": model.num_parameters()}
    model.half().save_pretrained(out)
    build_tokenizer(recipe.context_length).save_pretrained(out)
    # The class name that every version of transformers knows.
    about = json.loads((out / "tokenizer_config.json").read_text(encoding="utf-8"))
    about["tokenizer_class"] = "PreTrainedTokenizerFast"
    write_json(out / "tokenizer_config.json", about, indent=2)
    write_json(out / "training.json", card, indent=2)


def main() -> None:
    """Train with the recipe that the command line changes."""
    parser = argparse.ArgumentParser(prog="python -m trainers.tiny_lm", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--every", type=int, default=250, help="steps between checkpoints")
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    given = vars(parser.parse_args())
    out, every = given.pop("out"), given.pop("every")
    found = train(Recipe(**given), out, every)
    perplexity = math.exp(found["held_out_loss"])
    print(f"held-out loss {found['held_out_loss']:.3f} nats/byte (perplexity {perplexity:.2f})")


if __name__ == "__main__":
    main()
