"""A folder of each tool: recognised, read, compared, with what is broken named and the rest read."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import frontier
from frontier.metrics.columns import COLUMNS
from frontier.readers import TableError, folders, provenance, read

FIXTURES = Path(__file__).parent / "fixtures"
K = {"standard": 0.9, "relu": 0.9, "gated": 1.6, "topk": 1.8, "batch_topk": 2.1, "jumprelu": 1.9}

FOLDERS = {
    "sae_bench": (20, {"gated", "topk", "batch_topk"}, "20 SAEBench core result"),
    "sae_lens": (15, {"gated", "topk"}, "16 SAELens results, 1 SAELens CSV"),
    "sae_lens_new": (15, {"gated", "topk"}, "1 SAELens results"),
    "sae_lens_2024": (10, {"gated"}, "1 SAELens CSV"),
    "dictionary_learning": (20, {"gated", "topk", "batch_topk"}, "20 dictionary_learning result"),
    "dictionary_learning_2024": (20, {"gated", "topk", "batch_topk"}, "sweep of 2024"),
    "openmoss": (10, {"jumprelu"}, "10 OpenMOSS metrics"),
    "sparsify": (16, {"topk"}, "16 sparsify settings, 1 Weights & Biases runs table"),
    "wandb": (10, {"gated"}, "1 Weights & Biases runs table"),
    "wandb_api": (10, {"gated"}, "1 Weights & Biases public-API export"),
    "wandb_many": (10, {"topk"}, "1 Weights & Biases runs table"),
    "wandb_fork": (10, {"topk"}, "1 Weights & Biases runs table"),
}


@pytest.fixture(scope="module")
def tables():
    return {name: read(FIXTURES / name) for name in FOLDERS}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_recognised_and_compared_with_no_options(name, tables):
    table = tables[name]
    rows, families, said = FOLDERS[name]
    assert len(table) == rows
    assert table["excluded_because"].isna().all()
    notes = frontier.notes(table)
    assert notes[0].startswith("recognised: ")
    assert said in notes[0]
    found = {c.family: c for c in frontier.compare(table)}
    assert set(found) == families
    for family, comparison in found.items():
        assert comparison.verdict == "better"
        assert comparison.potency.ratio == pytest.approx(K[family] / 0.9, rel=0.06)


@pytest.mark.parametrize("name", FOLDERS)
def test_every_column_has_a_definition(name, tables):
    table = tables[name]
    origins = provenance(table)
    assert list(origins.columns) == ["column", "tool", "version", "rows", "definition", "changed"]
    measured = [c for c in COLUMNS if c.name in table and c.kind != "identity"]
    assert {c.name for c in measured if table[c.name].notna().any()} <= {*origins["column"], "delta_ce"}
    assert (origins["definition"].str.len() > 0).all()
    assert (origins.groupby("column")["rows"].sum() <= len(table)).all()
    assert provenance(table.query("l0 > 30"))["column"].tolist() == origins["column"].tolist()


def test_the_command_reads_a_folder(capsys):
    from typer.testing import CliRunner

    from frontier.cli import app

    done = CliRunner().invoke(app, ["compare", str(FIXTURES / "openmoss")])
    assert done.exit_code == 0
    assert "jumprelu is better than relu" in done.output


def test_without_ce_the_y_axis_is_fvu(tables):
    (first, *_) = frontier.compare(tables["sparsify"])
    assert first.verdict == "better"
    assert frontier.metrics.default_y(tables["sparsify"]) == "fvu"


def test_polars_comes_back(tables):
    back = read(FIXTURES / "openmoss", backend="polars")
    assert isinstance(back, pl.DataFrame)
    assert back["l0"].to_list() == tables["openmoss"]["l0"].tolist()


def test_without_a_clear_reference_the_choices_are_listed(tmp_path):
    for path in (FIXTURES / "sae_lens").glob("*gated*.json"):
        shutil.copy(path, tmp_path)
    for path in (FIXTURES / "sae_lens").glob("*topk*.json"):
        shutil.copy(path, tmp_path)
    with pytest.raises(ValueError, match=r"reference.*gated.*topk"):
        frontier.compare(read(tmp_path))


def test_pretrained_saes(tmp_path):
    table = read(FIXTURES / "pretrained" / "pretrained_saes.yaml")
    assert table["l0"].tolist() == [10, 10, 71]
    assert table["model"].tolist() == ["gpt2-small", "gpt2-small", "gemma-2-2b"]
    assert table["layer"].tolist() == [0, 1, 20]
    assert table["explained_variance"].tolist()[:2] == [0.999, 0.998]
    assert table["doubts"].tolist()[2] == "l0 is nominal"
    assert "fvu" not in table


# --- SAEBench ------------------------------------------------------------------------------------


def test_other_evaluations_are_joined_by_file_name(tables):
    table = tables["sae_bench"].sort_values("l0")
    standard = table[table["architecture"] == "standard"]
    np.testing.assert_allclose(
        standard["absorption_mean_absorption_fraction_score"], [0.1, 0.11, 0.12, 0.13, 0.14]
    )
    for column in (
        "scr_metric_threshold_10",
        "tpp_threshold_10_total_metric",
        "sparse_probing_sae_top_1_test_accuracy",
        "autointerp_score",
        "unlearning_score",
        "ravel_disentanglement_score",
    ):
        assert standard[column].notna().all()
        assert table.loc[table["architecture"] == "gated", column].isna().all()
    assert "absorption_mean_full_absorption_score" not in table  # -1 everywhere


def test_several_evaluations_of_one_sae_are_all_read(tmp_path):
    """Whether their folder comes before that of the core results or after, none is called broken."""
    shutil.copytree(FIXTURES / "sae_bench" / "core", tmp_path / "core")
    names = [p.relative_to(tmp_path / "core") for p in sorted((tmp_path / "core").rglob("*.json"))]
    for number, kind in enumerate(("absorption", "scr", "tpp", "unlearning")):
        for i, name in enumerate(names):
            result = {
                "eval_type_id": kind,
                "eval_result_metrics": {"mean": {f"{kind}_score": (number + i) / 30}},
            }
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / kind / name).write_text(json.dumps(result))
    table = read(tmp_path)
    assert len(table) == len(names) == 20
    assert not [n for n in frontier.notes(table) if "broken" in n or "left out" in n]
    for number, kind in enumerate(("absorption", "scr", "tpp", "unlearning")):
        found = table.set_index("run_id")[f"{kind}_score"]
        assert sorted(found) == pytest.approx([(number + i) / 30 for i in range(20)])
    assert "20 SAEBench tpp result" in " ".join(frontier.notes(table))


def test_layers_and_trainers_come_in_the_order_of_their_numbers(tmp_path):
    rows = "architecture,l0,loss_recovered\nrelu,10,0.6\nrelu,20,0.7\ntopk,10,0.8\ntopk,20,0.9\n"
    for layer in (10, 3, 21):
        (tmp_path / f"layer_{layer}.csv").write_text(rows.replace("0.", f"0.{layer}"))
    table = read(tmp_path)
    assert list(dict.fromkeys(table["layer"])) == [3, 10, 21]


def test_an_evaluation_without_its_core_result_is_said(tmp_path):
    shutil.copytree(FIXTURES / "sae_bench" / "core", tmp_path / "core")
    stray = {"eval_type_id": "scr", "eval_result_metrics": {"scr_metrics": {"scr_metric_threshold_10": 0.1}}}
    (tmp_path / "scr").mkdir()
    (tmp_path / "scr" / "nobody_eval_results.json").write_text(json.dumps(stray))
    table = read(tmp_path)
    assert len(table) == 20
    assert any("belong to no result" in n and "nobody" in n for n in frontier.notes(table))


def test_identity_and_protocol_come_from_the_file(tables):
    row = tables["sae_bench"].iloc[0]
    assert (row["model"], row["site"], row["layer"]) == ("pythia-70m-deduped", "resid_post", 4)
    assert (row["dictionary_size"], row["d_model"], row["tokens_trained"]) == (4096, 512, 200_000_000)
    assert row["protocol"] == "Skylion007/openwebtext, 128 tokens, special tokens excluded"
    assert row["ablation"] == "zero"
    assert "trainer_0" in row["run_id"]


def test_rows_of_two_protocols_never_meet(tmp_path):
    shutil.copytree(FIXTURES / "sae_bench" / "core", tmp_path / "core")
    shutil.copytree(FIXTURES / "dictionary_learning", tmp_path / "dictionary_learning")
    table = read(tmp_path)
    assert len(table) == 40
    with pytest.raises(TableError, match="different") as caught:
        frontier.compare(table, by=[])
    assert "protocol" in str(caught.value)


# --- SAELens -------------------------------------------------------------------------------------


def test_one_result_in_three_files_is_one_row(tables):
    assert len(tables["sae_lens"]) == 15
    assert any("stand in more than one file" in n for n in frontier.notes(tables["sae_lens"]))
    for name in ("all_eval_results.json", "all_eval_results.csv"):
        alone = read(FIXTURES / "sae_lens" / name)
        columns = [
            "run_id",
            "architecture",
            "layer",
            "l0",
            "loss_recovered",
            "mse",
            "dictionary_size",
            "protocol",
        ]
        by_id = alone[columns].sort_values("run_id", ignore_index=True)
        expected = tables["sae_lens"][columns].sort_values("run_id", ignore_index=True)
        pd.testing.assert_frame_equal(by_id, expected, check_dtype=False)


def test_a_broken_file_does_not_hide_the_same_result_elsewhere(tmp_path):
    content = json.loads((FIXTURES / "sae_lens" / "all_eval_results.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps([*content[:3], {"metrics": 1}]))
    (tmp_path / "b.json").write_text(json.dumps(content))
    table = read(tmp_path)
    assert len(table) == 15
    assert any("1 broken files left out: a.json" in n for n in frontier.notes(table))


# --- dictionary_learning and sparsify ------------------------------------------------------------


def test_settings_come_from_the_config_beside(tables):
    table = tables["dictionary_learning"]
    topk = table[table["architecture"] == "topk"].sort_values("l0")
    assert topk["sparsity_setting"].tolist() == [16, 32, 64, 128, 256]
    assert set(topk["sparsity_name"]) == {"k"}
    assert set(table[table["architecture"] == "standard"]["sparsity_name"]) == {"lambda"}
    assert set(table["layer"]) == {3}
    assert set(table["seed"].astype(str)) == {"0"}


def test_the_weights_are_never_opened(monkeypatch):
    opened, real = [], os.open

    def watched(file, *args, **options):
        opened.append(str(file))
        return real(file, *args, **options)

    monkeypatch.setattr(os, "open", watched)
    monkeypatch.setattr("builtins.open", watched)
    read(FIXTURES / "dictionary_learning")
    assert sum(name.endswith("eval_results.json") for name in opened) == 20
    assert not any(name.endswith(".pt") for name in opened)


def test_a_result_without_its_config_or_with_a_broken_one(tmp_path):
    shutil.copytree(FIXTURES / "dictionary_learning", tmp_path / "d")
    runs = sorted((tmp_path / "d").rglob("config.json"))
    runs[0].write_text("{")
    runs[1].unlink()
    table = read(tmp_path)
    assert len(table) == 20
    assert any("config.json" in n and "broken" in n for n in frontier.notes(table))
    assert any("no config.json beside" in n for n in frontier.notes(table))


def test_one_run_holds_many_hookpoints(tables):
    table = tables["sparsify"]
    assert sorted(set(table["layer"])) == [4, 5]
    assert set(table["dictionary_size"]) == {24576}  # from cfg.json
    assert set(table["d_model"]) == {768}
    assert len(set(table["run_id"])) == 16


# --- folders -------------------------------------------------------------------------------------


def test_broken_files_are_named_and_the_rest_is_read(tmp_path):
    shutil.copytree(FIXTURES / "openmoss", tmp_path / "good")
    (tmp_path / "truncated.json").write_text('{"metrics/l0": 3, "metr')
    (tmp_path / "latin.csv").write_bytes(b"l0,gr\x81e\n1,2\n")
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "other.json").write_text('{"name": "a package", "version": "1"}')
    (tmp_path / "notes.txt").write_text("not looked at")
    table = read(tmp_path)
    assert len(table) == 10
    said = " ".join(frontier.notes(table))
    assert "3 broken files left out" in said
    for name in ("truncated.json", "latin.csv", "empty.json"):
        assert name in said
    assert "1 files without SAE metrics left out: other.json" in said


def test_nothing_readable_is_one_line(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.json").write_text("{")
    with pytest.raises(TableError, match=r"no SAE metrics in 3 files .*3 broken") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TableError, match="no SAE metrics in 0 files"):
        read(tmp_path / "empty")


def test_plain_tables_of_different_scales_and_names(tmp_path):
    (tmp_path / "a.csv").write_text("arch,layer,L0,% CE recovered\nrelu,1,10,91\nrelu,1,20,95\n")
    (tmp_path / "b.csv").write_text(
        "architecture,layer,l0_norm,frac_recovered\ngated,1,10,0.95\ngated,1,20,0.97\n"
    )
    table = read(tmp_path)
    np.testing.assert_allclose(table["loss_recovered"], [0.91, 0.95, 0.95, 0.97])
    assert table["l0"].tolist() == [10, 20, 10, 20]
    assert table["excluded_because"].isna().all()
    assert any(n.startswith(str(tmp_path / "a.csv")) and "per cent" in n for n in frontier.notes(table))


def test_each_plain_table_is_held_against_its_own_losses(tmp_path):
    head = "arch,L0,loss_recovered,ce_clean,ce_sae,ce_zero_ablation\n"
    losses = [f"{l0},{{}},2.0000,{ce:.4f},6.0000\n" for l0, ce in ((10, 2.8), (20, 2.4), (40, 2.2))]
    given = {"other.csv": (0.6, 0.8, 0.9), "slip.csv": (0.8, 0.9, 0.91), "coarse.csv": (0.8, 0.9, 0.95)}
    for name, values in given.items():
        rows = "".join(f"{name[:-4]},{row.format(v)}" for row, v in zip(losses, values, strict=True))
        (tmp_path / name).write_text(head + rows)
    together = read(tmp_path)
    for name in given:
        alone = read(tmp_path / name)
        rows = together[together["architecture"] == name[:-4]]
        assert rows["loss_recovered"].tolist() == alone["loss_recovered"].tolist()
        assert rows["doubts"].fillna("").tolist() == alone["doubts"].fillna("").tolist()
    assert together.query("architecture == 'other'")["loss_recovered"].tolist() == [0.8, 0.9, 0.95]
    assert together.query("architecture == 'slip'")["loss_recovered"].tolist() == [0.8, 0.9, 0.91]


def test_links_in_a_circle_and_pipes(tmp_path):
    shutil.copytree(FIXTURES / "openmoss", tmp_path / "good")
    (tmp_path / "good" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "nowhere.json").symlink_to(tmp_path / "missing.json")
    (tmp_path / "itself.json").symlink_to(tmp_path / "itself.json")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    table = read(tmp_path)
    assert len(table) == 10
    (said,) = [n for n in frontier.notes(table) if "not looked into" in n]
    for name in (
        "good/again (a link to a folder",
        "nowhere.json (a link to nothing)",
        "pipe.json (no plain file)",
        "endless.json (no plain file)",
    ):
        assert name in said
    assert "itself.json" in said


def test_a_name_that_is_not_utf8(tmp_path):
    shutil.copytree(FIXTURES / "openmoss", tmp_path / "good")
    name = os.fsencode(tmp_path) + b"/caf\xe9.csv"
    with open(name, "wb") as file:
        file.write(b"l0,mse\n1,2\n3,4\n")
    with open(os.fsencode(tmp_path) + b"/tr\xe9s.json", "wb") as file:
        file.write(b"{")
    table = read(tmp_path)
    assert len(table) == 12
    assert table["source"].iloc[-1].endswith("caf\ufffd.csv")
    "\n".join([*frontier.notes(table), table.to_csv()]).encode()
    assert any("tr\ufffds.json" in note for note in frontier.notes(table))
    assert len(read(os.fsdecode(name))) == 2


def test_a_folder_that_cannot_be_opened(tmp_path, monkeypatch):
    shutil.copytree(FIXTURES / "openmoss", tmp_path / "good")
    (tmp_path / "locked").mkdir()
    real = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    table = read(tmp_path)
    assert len(table) == 10
    assert "1 not looked into: locked (permission denied)" in frontier.notes(table)


def test_three_thousand_levels(tmp_path):
    shutil.copytree(FIXTURES / "openmoss", tmp_path / "good")
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for level in range(3000):
            os.mkdir("d", dir_fd=here)
            deeper = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
            if level == 900:  # deeper than Python's stack, not than a path may be long
                file = os.open("t.csv", os.O_WRONLY | os.O_CREAT, dir_fd=here)
                os.write(file, b"l0,mse\n1,2\n")
                os.close(file)
    finally:
        os.close(here)
    table = read(tmp_path)
    assert len(table) == 11
    assert any(
        n.startswith("1 not looked into: d/d/d") and "file name too long" in n for n in frontier.notes(table)
    )
    while True:  # pytest itself cannot remove so deep a folder
        for _ in range(500):
            os.rename(tmp_path / "d", tmp_path / "top")
            break
        inside = tmp_path / "top" / "d"
        if not inside.exists():
            shutil.rmtree(tmp_path / "top")
            break
        os.rename(inside, tmp_path / "d")
        shutil.rmtree(tmp_path / "top")


def test_a_file_of_a_known_tool_without_a_usable_row_is_not_recognised(tmp_path):
    shutil.copytree(FIXTURES / "openmoss", tmp_path / "good")
    (tmp_path / "export.csv").write_text('"Name","State","Created","lr","loss"\n"a","finished","x","1","2"\n')
    (tmp_path / "short.csv").write_text("Name,State,Created,losses/mse_loss,x-0/l1\na,finished,x,30,2\n")
    (tmp_path / "a_eval_results.json").write_text('{"eval_result_metrics": {"sparsity": {"l1": 2.0}}}')
    notes = frontier.notes(read(tmp_path))
    assert notes[0] == "recognised: 10 OpenMOSS metrics"
    (said,) = [n for n in notes if "broken files" in n]
    assert said.startswith("3 broken files left out")
    assert "export.csv, a Weights & Biases runs table: no L0 column" in said
    assert "a_eval_results.json, a SAEBench core result: no L0 in 1 row" in said


def test_many_files_show_a_progress_bar_on_a_terminal_only(monkeypatch, capsys):
    monkeypatch.setattr(folders, "MANY", 5)
    read(FIXTURES / "openmoss")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    read(FIXTURES / "openmoss")
    assert "Reading" in capsys.readouterr().err


def test_the_order_of_files_does_not_depend_on_the_disk(tables):
    again = read(str(FIXTURES / "sae_bench"))
    pd.testing.assert_frame_equal(again, tables["sae_bench"])
    assert frontier.notes(again) == frontier.notes(tables["sae_bench"])


def test_releases_of_pretrained_saes_compare_by_their_explained_variance(tmp_path):
    """Unexplained variance 0.5 / L0 and 1 / L0: by construction the first needs half the latents."""
    lines = []
    for release, scale in (("lab-standard", 1.0), ("lab-topk", 0.5)):
        lines += [f"{release}:", "  model: gpt2-small", "  saes:"]
        for l0 in (10, 20, 40, 80, 160):
            lines += [f"  - id: blocks.3.hook_mlp_out_{l0}", "    path: blocks.3.hook_mlp_out"]
            lines += [f"    l0: {l0}", f"    variance_explained: {1 - scale / l0}"]
    (tmp_path / "pretrained_saes.yaml").write_text("\n".join(lines))
    table = read(tmp_path / "pretrained_saes.yaml")
    found = frontier.compare(table, "lab-standard", curve="power")
    assert "variance_unexplained" in repr(found.fits)
    ratios = found.ratios.to_frame()
    potency = ratios.loc[ratios["quantity"] == "relative_potency", "ratio"]
    np.testing.assert_allclose(potency, 2.0, rtol=1e-6)


def test_files_named_after_architectures_and_one_remark_for_many_files(tmp_path):
    for kind, gain in (("relu", 0.0), ("topk", 0.05)):
        for i, l0 in enumerate((10, 20, 40, 80)):
            record = {"L0": l0, "loss_recovered": 0.7 + gain + i / 20}
            (tmp_path / f"{kind}_{i}.json").write_text(json.dumps(record))
    table = read(tmp_path)
    assert table["family"].tolist() == ["relu"] * 4 + ["topk"] * 4
    remarks = [n for n in frontier.notes(table) if "'L0' read as l0" in n]
    assert len(remarks) == 1 and "(in 8: " in remarks[0]
    assert len(frontier.compare(table)) == 1
    (tmp_path / "relu_0.json").rename(tmp_path / "mine.json")
    assert "architecture" not in read(tmp_path)
