"""Folders for SAEBench's door for custom SAEs (`make interop` runs its evaluation on such a folder)."""

import json

from export_examples import made

import frontier
from trainers.export.runs import export_run
from trainers.sae import SAE
from trainers.sae_files import save_sae


def test_saes_and_a_script_and_what_is_refused(tmp_path):
    elsewhere = made("jumprelu")
    elsewhere = SAE(
        elsewhere.architecture, elsewhere.parameters,
        elsewhere.identity | {"run_id": "module", "site": "transformer.h.1.mlp"},
    )  # fmt: skip
    for sae in (made("topk"), made("relu_transcoder"), elsewhere):
        save_sae(sae, tmp_path / "run" / "saes" / sae.identity["run_id"])
    done = export_run(tmp_path / "run", tmp_path / "out", "sae-bench")
    assert set(done.places) == {"topk"} and set(done.refused) == {"relu_transcoder", "module"}
    assert "compares its output with its input" in done.refused["relu_transcoder"]
    assert "wants a hook of TransformerLens; the site is transformer.h.1.mlp" in done.refused["module"]
    script = (tmp_path / "out" / "custom_saes.py").read_text()
    compile(script, "custom_saes.py", "exec")
    assert "trainers" not in script and "frontier" not in script  # it runs where only sae_bench is


def test_a_result_of_such_an_sae_says_which_it_is(tmp_path):
    sae = made("topk")
    save_sae(sae, tmp_path / "run" / "saes" / "topk")
    export_run(tmp_path / "run", tmp_path / "out", "sae-bench")
    content = {
        "eval_type_id": "core", "sae_lens_release_id": "topk", "sae_lens_id": "custom_sae",
        "eval_result_metrics": {"sparsity": {"l0": 5.0}, "reconstruction_quality": {"cossim": 0.5}},
        "sae_cfg_dict": json.loads((tmp_path / "out" / "topk" / "cfg.json").read_text()),
    }  # fmt: skip
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "topk_custom_sae_eval_results.json").write_text(json.dumps(content))
    (row,) = frontier.read(tmp_path / "core").to_dict("records")
    for column in ("family", "architecture", "sparsity_setting", "seed", "site", "layer", "learning_rate"):
        assert row[column] == sae.identity[column], column
