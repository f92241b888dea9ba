"""Runs where dictionary_learning is, without our code: loads what we exported, saves SAEs of its own.

python in_dictionary_learning.py FOLDER      prints JSON; FOLDER/ours, FOLDER/inputs.safetensors are read;
                                             FOLDER/theirs, FOLDER/from_ours.safetensors and
                                             FOLDER/from_theirs.safetensors are written
"""

import contextlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from dictionary_learning import dictionary
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
from dictionary_learning.trainers.top_k import AutoEncoderTopK
from dictionary_learning.utils import load_dictionary
from safetensors.torch import load_file, save_file

D, SIZE = 32, 96


def saved(folder, random, x, sae, trainer_class, **options):
    """An SAE with random weights, written as `trainSAE` does, and read by `load_dictionary`."""
    for name, value in sae.named_parameters():
        value.data = value.data + torch.randn(value.shape, generator=random) * 0.1
        if name == "threshold":
            value.data = value.data.abs()
    if hasattr(sae, "k"):
        sae.threshold.fill_(0.7)
    folder.mkdir(parents=True)
    torch.save(sae.state_dict(), folder / "ae.pt")
    trainer = {
        "dict_class": type(sae).__name__, "trainer_class": trainer_class, "activation_dim": D,
        "dict_size": SIZE, "layer": 3, "lm_name": "EleutherAI/pythia-70m-deduped",
        "submodule_name": "resid_post_layer_3", "seed": 0,
    }  # fmt: skip
    (folder / "config.json").write_text(
        json.dumps({"trainer": trainer | options, "buffer": {"ctx_len": 128}})
    )
    return load_dictionary(str(folder), "cpu")[0](x)


def main(folder):
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    inputs, random = load_file(folder / "inputs.safetensors"), torch.Generator().manual_seed(5)
    torch.manual_seed(0)
    classes, from_ours = {}, {}
    for one in sorted((folder / "ours").iterdir()):
        sae, _ = load_dictionary(str(one), "cpu")
        classes[one.name] = type(sae).__name__
        from_ours[one.name] = sae(inputs[one.name]).contiguous()
    x = torch.randn(64, D, generator=random)
    to = folder / "theirs"
    groups = [32, 64]
    kinds = {
        "standard": (dictionary.AutoEncoder(D, SIZE), "StandardTrainer", {"l1_penalty": 0.1}),
        "april": (dictionary.AutoEncoderNew(D, SIZE), "StandardTrainerAprilUpdate", {"l1_penalty": 0.1}),
        "gated": (dictionary.GatedAutoEncoder(D, SIZE), "GatedSAETrainer", {"l1_penalty": 0.1}),
        "jumprelu": (dictionary.JumpReluAutoEncoder(D, SIZE), "JumpReluTrainer", {"target_l0": 20}),
        "topk": (AutoEncoderTopK(D, SIZE, 7), "TopKTrainer", {"k": 7}),
        "batch_topk": (BatchTopKSAE(D, SIZE, 7), "BatchTopKTrainer", {"k": 7}),
        "matryoshka": (MatryoshkaBatchTopKSAE(D, SIZE, 7, groups), "MatryoshkaBatchTopKTrainer", {"k": 7}),
    }
    from_theirs = {
        name: saved(to / name, random, x, sae, trainer, **options)
        for name, (sae, trainer, options) in kinds.items()
    }
    save_file(from_ours, folder / "from_ours.safetensors")
    save_file(
        {"x": x} | {k: v.contiguous() for k, v in from_theirs.items()}, folder / "from_theirs.safetensors"
    )
    packages = ("dictionary-learning", "nnsight", "torch", "safetensors", "transformers")
    return {"versions": {p: version(p) for p in packages}, "classes": classes}


with contextlib.redirect_stdout(sys.stderr):  # the loader prints
    found = main(Path(sys.argv[1]))
print(json.dumps(found))
