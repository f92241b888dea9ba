"""FORMATS.md section 3, a test per trap: one name, several quantities; corrected or flagged, and said."""

import json
import math

import numpy as np
import pytest

import frontier
from frontier.readers import TableError, provenance, read
from frontier.readers.found import Found
from frontier.readers.wandb import read_run

CE = {
    "ce_loss_with_ablation": 12.0,
    "ce_loss_with_sae": 4.0,
    "ce_loss_without_sae": 3.0,
    "ce_loss_score": 8 / 9,
}


def sae_lens(version="", quality=None, sae_cfg=None, name="r", **evaluation):
    """A SAELens result."""
    eval_cfg = {"context_size": 128, "dataset": "d", "batch_size_prompts": 16, "library_version": version}
    return {
        "unique_id": name,
        "sae_set": name,
        "sae_id": "s",
        "eval_cfg": eval_cfg | evaluation,
        "metrics": {
            "model_performance_preservation": CE,
            "sparsity": {"l0": 20.0},
            "reconstruction_quality": quality or {},
        },
        "sae_cfg": sae_cfg or {"architecture": "standard"},
    }


def sae_bench(quality=None, config=None, release="r", performance=None, **evaluation):
    """A SAEBench result."""
    return {
        "eval_type_id": "core",
        "eval_config": {"context_size": 128, "dataset": "d", "batch_size_prompts": 16} | evaluation,
        "sae_lens_release_id": release,
        "sae_lens_id": "s",
        "sae_cfg_dict": config or {},
        "eval_result_metrics": {
            "model_performance_preservation": performance or CE,
            "sparsity": {"l0": 20.0},
            "reconstruction_quality": quality or {},
        },
    }


@pytest.fixture
def one(tmp_path):
    """The table of one JSON file, and its notes as one text."""

    def reader(content, name="a_eval_results.json", config=None):
        (tmp_path / name).write_text(json.dumps(content))
        if config is not None:
            (tmp_path / "config.json").write_text(json.dumps(config))
        table = read(tmp_path / name)
        return table.iloc[0], " ".join(frontier.notes(table)), provenance(table).set_index("column")

    return reader


def logged(metrics, config=None, name="run"):
    """The rows of one W&B run, and what is said."""
    found = Found()
    assert read_run(metrics, config or {}, name, found)
    return found.rows, " ".join(found.remarks())


# --- explained variance: three definitions -------------------------------------------------------


def test_explained_variance_without_a_legacy_key_is_the_legacy_one(one):
    for content in (sae_bench({"explained_variance": 0.86}), sae_lens("4.0.0", {"explained_variance": 0.86})):
        row, said, origins = one(content)
        assert row["explained_variance_legacy"] == 0.86
        assert "fvu" not in row
        assert "without a legacy key" in said
        assert "mean over tokens" in origins.loc["explained_variance_legacy", "definition"]


def test_explained_variance_about_zero_is_never_fvu(one):
    quality = {"explained_variance": 0.98, "explained_variance_legacy": 0.78}
    for content in (sae_bench(quality), sae_lens("6.45.0", quality), sae_lens("5.1.0", quality)):
        row, said, origins = one(content)
        assert (row["explained_variance_about_zero"], row["explained_variance_legacy"]) == (0.98, 0.78)
        assert "fvu" not in row
        assert "explained_variance" not in row
        assert "about zero" in said
        assert "too large" in origins.loc["explained_variance_about_zero", "definition"]


def test_centred_explained_variance_becomes_fvu(one):
    row, said, origins = one(
        sae_lens("6.45.1", {"explained_variance": 0.8, "explained_variance_legacy": 0.78})
    )
    assert row["fvu"] == pytest.approx(0.2)
    assert "since SAELens 6.45.1" in said
    assert origins.loc["fvu", "version"] == "6.45.1"


def test_explained_variance_of_an_unknown_version_is_kept_under_its_name(one):
    row, said, _ = one(sae_lens("", {"explained_variance": 0.8, "explained_variance_legacy": 0.78}))
    assert row["explained_variance"] == 0.8
    assert "fvu" not in row
    assert "the version is not given" in said


def test_frac_variance_explained_is_not_fvu(one):
    row, _, origins = one(
        {"l0": 3.0, "frac_variance_explained": 0.9, "frac_recovered": 0.9}, "eval_results.json"
    )
    assert row["frac_variance_explained"] == 0.9
    assert "fvu" not in row
    assert "residual centred" in origins.loc["frac_variance_explained", "definition"]


# --- mse -----------------------------------------------------------------------------------------


def test_mse_divided_by_batch_tokens_is_undone(one):
    for content in (sae_bench({"mse": 0.0069}), sae_lens("6.45.1", {"mse": 0.0069})):
        row, said, origins = one(content)
        assert row["mse"] == pytest.approx(0.0069 * 16 * 128)
        assert "multiplied by the 2048 tokens" in said
        assert "2048" in origins.loc["mse", "changed"]
    assert one(sae_lens("6.45.2", {"mse": 14.1}))[0]["mse"] == 14.1


def test_mse_without_a_batch_size_is_for_ratios_only(one):
    row, said, _ = one(sae_bench({"mse": 0.0069}, batch_size_prompts=None))
    assert row["mse_of_unknown_scale"] == 0.0069
    assert "mse" not in row
    assert "for ratios only" in said


def test_l2_loss_is_never_mse_where_it_is_not_squared(one):
    row, said, origins = one({"l0": 3.0, "l2_loss": 4.36, "frac_recovered": 0.9}, "eval_results.json")
    assert row["mean_error_norm"] == 4.36
    assert "mse" not in row
    assert "unsquared" in said
    assert "not squared" in origins.loc["mean_error_norm", "definition"]


def test_logged_l2_loss_is_squared_for_some_trainers():
    metrics = {"l0": 32.0, "frac_variance_explained": 0.8, "l2_loss": 9.0}
    (row,), said = logged(metrics, {"trainer_class": "TopKTrainer", "k": 32})
    assert row["mse"] == 9.0
    assert "squared for topk" in said
    (row,), _ = logged(metrics, {"trainer_class": "StandardTrainer"})
    assert row["mean_error_norm"] == 9.0
    assert "mse" not in row


def test_logged_mse_is_on_scaled_activations():
    (row,), said = logged({"losses/mse_loss": 30.0, "metrics/l0": 20.0})
    assert row["mse_of_scaled_activations"] == 30.0
    assert "scaled activations" in said


def test_mse_of_unknown_scale_serves_where_nothing_else_is_known(tmp_path):
    (tmp_path / "t.csv").write_text("Name,State,Created,losses/mse_loss,metrics/l0\na,finished,x,30,20\n")
    table = read(tmp_path)
    assert table["mse"].tolist() == [30.0]
    assert table["doubts"].tolist() == ["scale of mse unknown: for ratios only"]


# --- loss recovered ------------------------------------------------------------------------------


def test_mean_of_ratios_gives_way_to_the_ratio_of_means(one):
    result = {
        "l0": 20.0,
        "frac_recovered": 0.9676,
        "loss_original": 3.3357123,
        "loss_reconstructed": 3.6411234,
        "loss_zero": 12.4529345,
    }
    row, said, origins = one(result, "eval_results.json")
    assert row["loss_recovered"] == pytest.approx((12.4529345 - 3.6411234) / (12.4529345 - 3.3357123))
    assert row["mean_of_ratios_recovered"] == 0.9676
    assert "mean of ratios over batches" in said
    assert "computed again" in origins.loc["loss_recovered", "changed"]


def dictionary_learning(l0):
    """A dictionary_learning result; two of its losses happen to be round numbers."""
    hit = 0.6 * (l0 / 10) ** -0.7
    return {
        "l0": l0,
        "frac_recovered": 1 - hit + 0.001,
        "loss_original": 3.336,
        "loss_reconstructed": 3.336 + hit * (13.252 - 3.336),
        "loss_zero": 13.252,
    }


def test_what_lies_beside_a_result_changes_none_of_its_numbers(tmp_path):
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    for i in range(18):
        for folder in (alone, beside / "trained"):
            place = folder / f"saves/resid_post_layer_3/trainer_{i}"
            place.mkdir(parents=True)
            (place / "eval_results.json").write_text(json.dumps(dictionary_learning(10.0 + i)))
    (beside / "core").mkdir()
    for i in range(30):
        result = sae_bench(release=f"release_{i}")
        (beside / "core" / f"{i}_eval_results.json").write_text(json.dumps(result))
    one, both = read(alone), read(beside)
    rows = both[both["ce_zero_ablation"] == 13.252]
    for column in ("l0", "loss_recovered", "mean_of_ratios_recovered", "doubts"):
        assert sorted(rows[column].fillna("")) == sorted(one[column].fillna("")), column
    np.testing.assert_allclose(1 - one["loss_recovered"], 0.6 * (one["l0"] / 10) ** -0.7)
    for table in (one, both):
        assert any(
            n.startswith("dictionary_learning loss_recovered: a mean of ratios") and "(in 18: " in n
            for n in frontier.notes(table)
        )


def test_a_result_that_contradicts_its_losses_is_kept_and_named(one, tmp_path):
    wrong = sae_bench(performance=CE | {"ce_loss_score": 0.7})
    row, said, _ = one(wrong)
    assert row["loss_recovered"] == 0.7  # SAEBench prints the ratio of means, so this is no other definition
    assert row["doubts"] == "loss_recovered contradicts the losses"
    assert (
        f"row 0 contradict the printed losses by more than rounding; the printed value is kept in {tmp_path}"
        in said
    )


def test_downstream_loss_ratio_is_the_reciprocal(one):
    row, said, _ = one({"metrics/l0": 20.0, "metrics/downstream_loss_ratio": 1.25})
    assert row["loss_recovered"] == pytest.approx(0.8)
    assert row["ablation"] == "zero"
    assert "reciprocal" in said
    losses = {"original": 3.0, "reconstructed": 4.8, "ablated": 12.0}
    full = {f"metrics/downstream_loss_{k}": v for k, v in losses.items()}
    row, _, _ = one({"metrics/l0": 20.0, "metrics/downstream_loss_ratio": 1.25, **full})
    assert row["loss_recovered"] == pytest.approx(0.8)


def test_per_cent_scales(tmp_path):
    for i, score in enumerate((93.5, 95.0, 97.1)):
        content = sae_bench(performance={"ce_loss_score": score}, release=f"r{i}")
        (tmp_path / f"{i}_eval_results.json").write_text(json.dumps(content))
    table = read(tmp_path)
    np.testing.assert_allclose(table["loss_recovered"], [0.935, 0.95, 0.971])
    assert any("per cent; divided by 100" in n for n in frontier.notes(table))


def test_values_above_one_are_kept_and_flagged(one):
    row, said, _ = one(sae_bench(performance={"ce_loss_score": 1.003}))
    assert row["loss_recovered"] == 1.003
    assert "above 1" in row["doubts"]
    assert "above 1" in said


def test_fvu_above_one_is_kept_and_flagged(tmp_path):
    (tmp_path / "t.csv").write_text("Name,State,Created,k,fvu/layers.3\nrun,finished,x,32,2.1\n")
    table = read(tmp_path / "t.csv")
    assert table["fvu"].tolist() == [2.1]
    assert table["doubts"].tolist() == ["fvu above 1"]
    assert any("fvu above 1 in 1 rows; kept" in n for n in frontier.notes(table))


def test_the_ablation_is_zero_for_all_of_these_tools(one):
    assert one(sae_lens())[0]["ablation"] == "zero"
    assert one(sae_bench())[0]["ablation"] == "zero"
    assert one({"l0": 3.0, "frac_recovered": 0.9}, "eval_results.json")[0]["ablation"] == "zero"


# --- l0 ------------------------------------------------------------------------------------------


def test_l0_of_topk_far_from_k_is_flagged(one):
    config = {"trainer": {"trainer_class": "TopKTrainer", "k": 8, "dict_size": 4096}}
    row, said, _ = one({"l0": 1591.0, "frac_recovered": 0.9}, "eval_results.json", config)
    assert "l0 of a TopK SAE is not k" in row["doubts"]
    assert "not k" in said


def test_l0_of_batch_topk_far_from_k_is_flagged(one):
    config = {"trainer": {"trainer_class": "BatchTopKTrainer", "k": 32}}
    row, said, _ = one({"l0": 81.0, "frac_recovered": 0.9}, "eval_results.json", config)
    assert "far from k" in row["doubts"]
    assert "threshold of inference" in said


def test_effective_l0_is_the_l0_after_topk():
    metrics = {"l0": 1591.0, "effective_l0": 8.0, "frac_recovered": 0.9}
    (row,), said = logged(metrics, {"trainer_class": "TopKTrainer", "k": 8})
    assert (row["l0"], row["l0_before_topk"]) == (8.0, 1591.0)
    assert "before TopK" in said


def test_nominal_l0_is_said(tmp_path):
    (tmp_path / "t.csv").write_text(
        "sae_id,context_size,dataset,metrics/ce_loss_score\nwidth_16k/average_l0_71,64,d,0.9\n"
    )
    table = read(tmp_path / "t.csv")
    assert table["l0"].tolist() == [71]
    assert any("nominal" in n for n in frontier.notes(table))


# --- architecture --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "release", "expected", "said"),
    [
        (
            {"architecture": "standard", "activation_fn_str": "topk"},
            "r",
            "topk",
            "saved as standard with activation topk",
        ),
        (
            {"architecture": "jumprelu"},
            "sweep_batchtopk_0730",
            "batch_topk",
            "saved as jumprelu for inference",
        ),
        (
            {"architecture": "jumprelu"},
            "my_matryoshka_saes",
            "matryoshka_batch_topk",
            "saved as jumprelu for inference",
        ),
        (
            {"architecture": "standard"},
            "pythia_p_anneal_ctx128",
            "p_anneal",
            "saved as standard; the name says p_anneal",
        ),
        ({"architecture": "standard_april_update"}, "r", "standard_april_update", ""),
        ({"architecture": "matryoshka_batch_topk"}, "r", "matryoshka_batch_topk", ""),
        ({}, "sweep_gated_ctx128", "gated", "read from the name"),
    ],
)
def test_architecture_saved_under_another_name(config, release, expected, said, one):
    row, notes, _ = one(sae_bench(config=config, release=release))
    assert row["architecture"] == expected
    assert row["family"] == expected
    assert said in notes


def test_the_training_architecture_wins_where_it_is_kept(one):
    config = {"architecture": "jumprelu", "metadata": {"training_architecture": "batchtopk"}}
    row, said, _ = one(sae_lens("6.46.0", sae_cfg=config))
    assert row["architecture"] == "batch_topk"
    assert "trained as batch_topk" in said


def test_jumprelu_of_sae_lens_may_be_something_else(one):
    row, said, _ = one(sae_lens("6.18.0", sae_cfg={"architecture": "jumprelu"}))
    assert row["architecture"] == "jumprelu"
    assert "may be BatchTopK or Matryoshka" in said


# --- alive and dead ------------------------------------------------------------------------------


def test_frac_alive_of_one_latent_is_the_old_bug(one):
    config = {"trainer": {"trainer_class": "StandardTrainer", "dict_size": 4096}}
    row, said, origins = one(
        {"l0": 20.0, "frac_recovered": 0.9, "frac_alive": 1 / 4096}, "eval_results.json", config
    )
    assert math.isnan(row["alive_fraction"])
    assert "2024-12-18" in said
    assert "2024-12-18" in origins.loc["alive_fraction", "definition"]


def test_dead_pct_is_a_fraction():
    (row,), said = logged({"fvu/layers.5": 0.2, "dead_pct/layers.5": 0.03, "k": 32}, {"k": 32})
    assert row["alive_fraction"] == pytest.approx(0.97)
    assert "fraction in spite of its name" in said


def test_counts_of_dead_latents_become_shares():
    (row,), said = logged(
        {"metrics/l0": 20.0, "sparsity/dead_features": 1024, "sparsity/below_1e-5": 2048}, {"d_sae": 4096}
    )
    assert (row["alive_fraction"], row["frequency_below_1e5"]) == (0.75, 0.5)
    assert "divided by the latents" in said


def test_frac_alive_of_sae_bench_is_a_lower_bound(one):
    content = sae_bench()
    content["eval_result_metrics"]["misc_metrics"] = {"frac_alive": 0.9}
    _, _, origins = one(content)
    assert "lower bound" in origins.loc["alive_fraction", "definition"]


# --- sentinels, settings, protocol ---------------------------------------------------------------


def test_minus_one_is_missing(one):
    content = sae_bench()
    content["eval_result_metrics"]["model_behavior_preservation"] = {
        "kl_div_score": -1.0,
        "kl_div_with_sae": -1.0,
    }
    row, said, _ = one(content)
    assert math.isnan(row["kl_div_score"])
    assert math.isnan(row["kl"])
    assert "kl_div_score: -1 is a sentinel" in said


def test_minus_one_in_a_config_is_unknown(one):
    config = {"trainer": {"trainer_class": "StandardTrainer", "l1_penalty": -1, "seed": -1}}
    row, _, _ = one({"l0": 20.0, "frac_recovered": 0.9}, "eval_results.json", config)
    assert "sparsity_setting" not in row
    assert "seed" not in row


def test_sae_bench_does_not_give_the_sparsity_setting(one):
    row, said, _ = one(sae_bench(config={"architecture": "topk", "d_sae": 4096}))
    assert "sparsity_setting" not in row
    assert "do not give the sparsity setting" in said


def test_trainer_indices_that_disagree_are_flagged(one):
    row, said, _ = one(sae_bench(release="x/trainer_3"), "x_trainer_5_eval_results.json")
    assert "trainer index differs" in row["doubts"]
    assert "pair such SAEs by L0" in said


@pytest.mark.parametrize(
    ("trainer", "name", "value"),
    [
        ({"trainer_class": "JumpReluTrainer", "target_l0": 40, "sparsity_penalty": 1}, "target_l0", 40),
        ({"trainer_class": "GatedSAETrainer", "l1_penalty": 0.04}, "lambda", 0.04),
        ({"trainer_class": "PAnnealTrainer", "initial_sparsity_penalty": 0.02}, "initial_lambda", 0.02),
        ({"trainer_class": "MatryoshkaBatchTopKTrainer", "k": 40, "l1_penalty": 0}, "k", 40),
    ],
)
def test_the_sparsity_setting_says_what_is_set(trainer, name, value, one):
    row, _, _ = one({"l0": 40.0, "frac_recovered": 0.9}, "eval_results.json", {"trainer": trainer})
    assert (row["sparsity_name"], row["sparsity_setting"]) == (name, value)


def test_special_tokens_corpus_and_context_make_the_protocol(one):
    a = one(sae_bench(exclude_special_tokens_from_reconstruction=True))[0]["protocol"]
    b = one(sae_bench(exclude_special_tokens_from_reconstruction=False))[0]["protocol"]
    c = one(sae_bench(context_size=1024))[0]["protocol"]
    assert (a, b, c) == (
        "d, 128 tokens, special tokens excluded",
        "d, 128 tokens, special tokens included",
        "d, 1024 tokens",
    )


# --- Weights & Biases ----------------------------------------------------------------------------


def test_many_saes_in_one_run_are_many_rows():
    metrics = {
        f"sae_{i}/{key}": value
        for i in range(3)
        for key, value in (("metrics/l0", 10.0 * (i + 1)), ("losses/mse_loss", 3.0))
    } | {"details/n_training_samples": 1e6}
    rows, _ = logged(
        metrics, {f"saes.sae_{i}.architecture": a for i, a in enumerate(("standard", "gated", "topk"))}
    )
    assert [r["l0"] for r in rows] == [10, 20, 30]
    assert [r["run_id"] for r in rows] == ["run/sae_0", "run/sae_1", "run/sae_2"]
    assert [r["architecture"] for r in rows] == ["standard", "gated", "topk"]


def test_cells_of_python_dicts_are_parsed_and_never_run(tmp_path):
    evil = f"__import__('os').system('touch {tmp_path}/ran')"
    good = "{'l0': 20.0, 'ce_loss_score': 0.9, 'loss': nan}"
    lines = ["summary,config,name", f"\"{good}\",\"{{'architecture': 'topk'}}\",a", f'"{evil}","{{}}",b']
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    table = read(tmp_path / "t.csv")
    assert table["run_id"].tolist() == ["a"]
    assert any("run b" in n and "no dict of plain values" in n for n in frontier.notes(table))
    assert not (tmp_path / "ran").exists()


def test_a_crashed_run_is_in_doubt(tmp_path):
    (tmp_path / "t.csv").write_text(
        "Name,State,Created,metrics/l0,metrics/explained_variance\na,crashed,x,20,0.9\n"
    )
    assert read(tmp_path / "t.csv")["doubts"].tolist() == ["run is crashed"]


@pytest.mark.parametrize("state", ["crashed", "failed", "killed", "running"])
def test_unfinished_runs_are_marked_in_every_route(state, tmp_path):
    head = "Name,State,Created,"
    routes = {
        "known tool": f"{head}k,fvu/layers.3\na,{state},x,20,0.2\nb,finished,x,40,0.1\n",
        "no known tool": f"{head}arch,L0,ce_loss_score\na,{state},x,relu,20,0.9\nb,finished,x,relu,40,0.95\n",
        "few columns": f"Name,State,L0,ce_loss_score\na,{state},20,0.9\nb,finished,40,0.95\n",
        "side by side": f"{head}TopK-0/l0,TopK-0/frac_recovered\na,{state},x,20,0.9\nb,finished,x,40,0.95\n",
        "public API": "name,state,summary,config\n"
        f"a,{state},\"{{'l0': 20, 'frac_recovered': 1}}\",{{}}\nb,finished,\"{{'l0': 40, 'mse': 1}}\",{{}}\n",
    }
    for route, text in routes.items():
        (tmp_path / "t.csv").write_text(text)
        table = read(tmp_path / "t.csv").sort_values("l0")
        assert table["doubts"].iloc[0] == f"run is {state}", route
        assert "run is" not in str(table["doubts"].iloc[1]), route


NAMES = {
    "AutoEncoderTopK": "topk", "BatchTopKSAE": "batch_topk", "JumpRelu": "jumprelu", "Gated SAE": "gated",
    "StandardTrainer": "standard", "my.trainer.MatryoshkaBatchTopKTrainer": "matryoshka_batch_topk",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mark", [".", "/"])
def test_any_trainer_of_a_run_with_several(name, mark, tmp_path):
    values = {
        "l0": 0,
        "effective_l0": 16,
        "frac_recovered": 0.9,
        "frac_variance_explained": 0.8,
        "frac_alive": 1 / 4096,
    }
    columns = {f"{name}-{i}{mark}dict_size": 4096 for i in range(3)}
    for i in range(3):
        columns |= {f"{name}-{i}/{key}": value * (i + 1) for key, value in values.items()}
        columns[f"{name}-{i}/frac_alive"] = 1 / 4096
    line = [",".join(map(str, part)) for part in (columns, columns.values())]
    (tmp_path / "t.csv").write_text(f"Name,State,Created,{line[0]}\nrun,finished,x,{line[1]}\n")
    table = read(tmp_path / "t.csv")
    assert table["l0"].tolist() == [16, 32, 48]
    assert set(table["architecture"]) == {NAMES[name]}
    assert table["alive_fraction"].isna().all()
    assert table["run_id"].tolist() == [f"run/{name}-{i}" for i in range(3)]


@pytest.mark.parametrize(
    ("written", "architecture"),
    [
        ("dictionary_learning.dictionary.AutoEncoderNew", "relu"),
        ("<class 'dictionary_learning.dictionary.AutoEncoder'>", "relu"),
        ("dictionary_learning.dictionary.GatedAutoEncoder", "gated"),
        ("dictionary_learning.dictionary.JumpReluAutoEncoder", "jumprelu"),
        ("dictionary_learning.trainers.top_k.AutoEncoderTopK", "topk"),
        ("dictionary_learning.trainers.batch_top_k.BatchTopKSAE", "batch_topk"),
        ("MatryoshkaBatchTopKSAE", "matryoshka_batch_topk"),
        ("sae_lens.saes.topk_sae.TopKTrainingSAE", "topk"),
        ("StandardTrainerAprilUpdate", "standard_april_update"),
        ("PAnnealTrainer", "p_anneal"),
    ],
)
def test_class_names_are_architectures(written, architecture, tmp_path):
    (row,), _ = logged({"l0": 20, "frac_recovered": 0.9}, {"dict_class": written})
    assert row["architecture"] == architecture
    for column in ("architecture", "dict_class"):
        (tmp_path / "t.csv").write_text(f'{column},l0,mse\n"{written}",20,0.9\n')
        expected = (
            architecture
            if "." in written or column == "dict_class"
            else read(tmp_path / "t.csv")["family"][0]
        )
        assert read(tmp_path / "t.csv")["family"].tolist() == [expected]


def test_a_chart_of_one_metric_is_refused_in_words(tmp_path):
    (tmp_path / "t.csv").write_text("Step,a - metrics/l0,a - metrics/l0__MIN,a - metrics/l0__MAX\n1,2,2,2\n")
    with pytest.raises(TableError, match="download the runs table instead"):
        read(tmp_path / "t.csv")


def test_runs_of_no_known_tool_are_read_by_their_columns(tmp_path):
    (tmp_path / "t.csv").write_text(
        '"Name","State","Runtime","arch","L0","ce_recovered"\n"a","finished","5","relu","20","0.9"\n'
    )
    table = read(tmp_path / "t.csv")
    assert table[["run_id", "architecture", "l0", "loss_recovered"]].to_numpy().tolist() == [
        ["a", "relu", 20.0, 0.9]
    ]


def test_a_configuration_alone_is_no_table(tmp_path):
    (tmp_path / "cfg.json").write_text('{"k": 32, "expansion_factor": 32}')
    with pytest.raises(TableError):
        read(tmp_path / "cfg.json")
