"""Runs where sae_bench is: the script that we export beside our SAEs, as a user would.

python in_sae_bench.py EXPORTED MODEL DATASET OUT    prints JSON; writes OUT/core/*.json, and the tokens
                                                     that it drew, by batch, to OUT/tokens.safetensors
"""

import importlib.util
import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from sae_lens.training.activations_store import ActivationsStore
from safetensors.torch import save_file


def main(exported, model, dataset, out):
    torch.set_num_threads(1)
    drawn, draw = [], ActivationsStore.get_batch_tokens

    def recorded(store, *given, **named):
        drawn.append(draw(store, *given, **named))
        return drawn[-1]

    ActivationsStore.get_batch_tokens = recorded
    spec = importlib.util.spec_from_file_location("custom_saes", exported / "custom_saes.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    saes = dict(script.selected_saes())
    files = script.run(str(dataset), out, model=str(model), context_size=64, batch_size=8, batches=12)
    save_file({"tokens": torch.stack(drawn)}, out / "tokens.safetensors")
    packages = ("sae-bench", "sae-lens", "transformer-lens", "torch", "datasets", "transformers")
    said = {
        "files": [f.name for f in files], "versions": {p: version(p) for p in packages},
        "classes": {name: type(sae).__name__ for name, sae in saes.items()},
    }  # fmt: skip
    print(json.dumps(said))


main(*map(Path, sys.argv[1:5]))
