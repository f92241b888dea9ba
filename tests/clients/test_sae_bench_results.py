"""Results in SAEBench's core layout: its own schema takes them, and reading them gives our numbers back."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import frontier
from trainers.export.sae_bench_results import METRICS, MISSING, write_results

sys.path.insert(0, str(Path(__file__).parent.parent / "trainers"))
from small_runs import said, small

from trainers.evaluate.runs import evaluate_run
from trainers.train import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    done = train(small(), folder, progress=False)
    evaluate_run(folder, model=done.model, progress=False)
    return folder


def test_their_schema_takes_our_files(run, tmp_path):
    package = importlib.util.find_spec("sae_bench")
    if package is None:
        pytest.skip("sae_bench is not installed (make clients)")
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed (make clients)")
    place = Path(package.submodule_search_locations[0]) / "evals" / "core" / "eval_output_schema_core.json"
    schema = json.loads(place.read_text(encoding="utf-8"))
    paths = write_results(run, tmp_path)
    assert len(paths) == 3
    for path in paths:
        content = json.loads(path.read_text(encoding="utf-8"))
        jsonschema.validate(content, schema)
        wanted = schema["$defs"]["CoreMetricCategories"]["required"]
        assert set(content["eval_result_metrics"]) == set(wanted)
        assert set(content["eval_config"]) <= set(schema["$defs"]["CoreEvalConfig"]["properties"])
        broken = json.loads(path.read_text(encoding="utf-8"))
        del broken["eval_result_metrics"]["sparsity"]["l0"]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_read_back_they_are_our_numbers(run, tmp_path, monkeypatch, capsys):
    code, out, err = said(
        monkeypatch, capsys, "export", run, "--out", tmp_path, "--format", "sae-bench-results"
    )
    assert code == 0 and "wrote 3 results" in out, err
    again = frontier.read(tmp_path).sort_values("run_id", ignore_index=True)
    meant = frontier.read(run / "metrics.parquet").sort_values("run_id", ignore_index=True)
    for columns in METRICS.values():
        for column in columns.values():
            assert again[column].tolist() == meant[column].tolist(), column
    recovered = (meant["ce_zero_ablation"] - meant["ce_sae"]) / (
        meant["ce_zero_ablation"] - meant["ce_clean"]
    )
    np.testing.assert_allclose(again["loss_recovered"], recovered, rtol=1e-12)
    assert again["dictionary_size"].tolist() == meant["dictionary_size"].tolist()
    assert again["layer"].tolist() == meant["layer"].tolist()
    left = {c for c in again if (again[c] == MISSING).any()}  # a cosine may be -1; else it is their "missing"
    assert left <= {"average_max_encoder_cosine_sim", "average_max_decoder_cosine_sim"}
    assert "explained_variance" not in again or again["explained_variance"].isna().all()


def test_names_of_any_length_and_kind_become_files_of_one_folder(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / ("r" * 200))
    table = pd.read_parquet(folder / "metrics.parquet")
    table["run_id"] = ["n" * 300, "../../escape", "ü" * 150]
    table.to_parquet(folder / "metrics.parquet", index=False)
    paths = write_results(folder, tmp_path / "out")
    assert {p.parent for p in paths} == {tmp_path / "out" / "core"} and len(set(paths)) == 3
    assert len(frontier.read(tmp_path / "out")) == 3
