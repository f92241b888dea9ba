"""SAEBench on the SAEs beside this file, by its own evaluation code; needs sae_bench and nothing of ours.

python custom_saes.py --dataset Skylion007/openwebtext --out eval_results

`selected_saes()` is what the other evaluations of sae_bench take under that name.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def selected_saes(
    folder: str | Path = HERE, device: str = "cpu", dtype: str = "float32", model: str | None = None
) -> list[tuple[str, Any]]:
    """The name and the SAE of every folder here, decoder rows of norm 1 where its kind can be rescaled.

    `model` is a name or a folder of a language model that TransformerLens loads, where the SAE's own is none.
    """
    from sae_bench.sae_bench_utils.general_utils import str_to_dtype
    from sae_lens import SAE

    found = []
    for place in sorted(path.parent for path in Path(folder).glob("*/cfg.json")):
        sae = SAE.load_from_disk(place, device=device)
        try:
            sae.fold_W_dec_norm()  # as sae_bench does with SAEs that it loads by name
        except NotImplementedError:
            pass  # TopK, whose choice would become another
        sae = sae.to(dtype=str_to_dtype(dtype))
        sae.cfg.dtype = dtype
        sae.cfg.metadata.model_from_pretrained_kwargs = {}  # sae_bench sets them itself
        if model is not None:
            sae.cfg.metadata.model_name = model
        found.append((place.name, sae))
    return found


def run(
    dataset: str, out: str | Path, *, model: str | None = None, context_size: int = 128,
    batch_size: int = 16, batches: int = 200, device: str = "cpu", dtype: str = "float32",
) -> list[Path]:  # fmt: skip
    """The core evaluation; one file of results per SAE in `out/core`."""
    from sae_bench.evals.core.main import multiple_evals
    from transformer_lens import loading_from_pretrained as loading

    if model is not None and Path(model).is_dir():  # which TransformerLens loads once its name is known
        model = str(Path(model).resolve())
        loading.OFFICIAL_MODEL_NAMES.append(model)
    saes, place = selected_saes(device=device, dtype=dtype, model=model), Path(out) / "core"
    multiple_evals(
        saes, n_eval_reconstruction_batches=batches, n_eval_sparsity_variance_batches=batches,
        eval_batch_size_prompts=batch_size, compute_featurewise_density_statistics=True,
        compute_featurewise_weight_based_metrics=True, exclude_special_tokens_from_reconstruction=True,
        dataset=dataset, context_size=context_size, output_folder=str(place), dtype=dtype, device=device,
    )  # fmt: skip
    files = [place / f"{name}_custom_sae_eval_results.json" for name, _ in saes]
    if missing := [path.name for path in files if not path.is_file()]:
        raise SystemExit(f"sae_bench wrote no {', '.join(missing)}; what it said stands above")
    return files


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="SAEBench's core evaluation of the SAEs beside this file.")
    parser.add_argument("--dataset", required=True, help="name or folder, as datasets.load_dataset takes it")
    parser.add_argument("--out", default="eval_results", help="folder for core/*_eval_results.json")
    parser.add_argument("--model", help="name or folder of the language model, where it is another")
    for name, usual in (("context-size", 128), ("batch-size", 16), ("batches", 200)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    given = vars(parser.parse_args())
    print(*run(given.pop("dataset"), given.pop("out"), **given), sep="\n")


if __name__ == "__main__":
    main()
