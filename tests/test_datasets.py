"""The published tables: what ships is what the paper prints, in a checkout and in an installed wheel."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from frontier.datasets import NAMES, load_dataset
from frontier.metrics import set_aside
from frontier.metrics.names import canonical_name

ROOT = Path(__file__).parent.parent

# Rows of Tables 1-4 (88 baseline + 88 gated), 5-8 (54 + 54), sites, and rows of Tables 9-10.
ROWS = {
    "gated_gemma7b": 176,
    "gated_pythia2p8b": 108,
    "gated_site_losses": 27,
    "gated_interpretability_tests": 7,
}


@pytest.mark.parametrize("name", NAMES)
def test_rows(name):
    assert len(load_dataset(name)) == ROWS[name]
    back = load_dataset(name, backend="polars")
    assert isinstance(back, pl.DataFrame)
    assert back.height == ROWS[name]


def test_rows_by_architecture():
    for name, each in (("gated_gemma7b", 88), ("gated_pythia2p8b", 54)):
        assert load_dataset(name)["architecture"].value_counts().to_dict() == {
            "baseline": each,
            "gated": each,
        }


def test_unknown_names_offer_the_nearest():
    with pytest.raises(ValueError, match="no data set 'gated_gema7b'; did you mean 'gated_gemma7b'"):
        load_dataset("gated_gema7b")
    with pytest.raises(ValueError, match="there are gated_gemma7b, gated_pythia2p8b"):
        load_dataset(7)


def test_a_row_as_printed():
    # Table 1, Resid 6, first row: lambda 3e-5, LR 0.001, L0 18.1, 95.28 %, CE 2.5426 / 3.1847 / 16.1549,
    # width 196608, 16.8 % alive, gamma 0.982, italic.
    row = load_dataset("gated_gemma7b").iloc[0]
    printed = {
        "architecture": "baseline", "family": "baseline", "model": "gemma-7b", "site": "Resid", "layer": 6,
        "sparsity_setting": 3e-5, "sparsity_name": "lambda", "learning_rate": 0.001, "l0": 18.1,
        "loss_recovered": 0.9528, "ce_clean": 2.5426, "ce_sae": 3.1847, "ce_zero_ablation": 16.1549,
        "ablation": "zero", "dictionary_size": 196608, "d_model": 3072, "alive_fraction": 0.168,
        "shrinkage": 0.982, "source_pareto_optimal": True, "source": "arXiv 2404.16014 v2, Table 1",
        "protocol": "Gated SAE paper, sequence length 1024",
    }  # fmt: skip
    assert row[list(printed)].to_dict() == printed
    assert pd.isna(row["source_note"])
    assert "pareto_optimal" not in row  # ours is computed, never read


def test_widths_of_what_is_encoded():
    # Gemma-7B: d_model 3072, 16 heads of 256; Pythia-2.8B: d_model 2560, 32 heads of 80 (their model cards).
    gemma, pythia = load_dataset("gated_gemma7b"), load_dataset("gated_pythia2p8b")
    assert gemma.groupby("site")["d_model"].unique().map(list).to_dict() == {
        "Attn": [4096], "MLP": [3072], "Resid": [3072]
    }  # fmt: skip
    assert set(pythia["d_model"]) == {2560}


def test_faults_of_the_paper_survive():
    # Negative L0 in Resid 6, MLP 20, Attn 13 and Attn 20 (gated), L0 0.0 twice in Attn 27 (baseline).
    gemma = load_dataset("gated_gemma7b")
    assert set_aside(gemma) == {"l0 is negative": 4, "l0 is 0, so 1/l0 is undefined": 2}
    negative = gemma[gemma["l0"] < 0]
    assert sorted(negative["l0"]) == [-851.3, -635.1, -288.2, -91.1]
    assert set(negative["architecture"]) == {"gated"}
    assert negative["source_pareto_optimal"].sum() == 2
    # Above 1: 8 rows (6 in Attn 27, 2 with a negative L0); below 0: one, Pythia Attn 16, -3.54 %.
    assert (gemma["loss_recovered"] > 1).sum() == 8
    pythia = load_dataset("gated_pythia2p8b")
    assert not set_aside(pythia)
    assert pythia.loc[
        pythia["loss_recovered"] < 0, ["site", "layer", "loss_recovered"]
    ].to_numpy().tolist() == [["Attn", 16, -0.0354]]


def test_site_losses_are_those_of_the_rows():
    sites = load_dataset("gated_site_losses").set_index(["model", "site", "layer"])
    for name in ("gated_gemma7b", "gated_pythia2p8b"):
        for place, rows in load_dataset(name).groupby(["model", "site", "layer"]):
            assert set(rows["ce_clean"]) == {sites.loc[place, "ce_clean"]}
            assert set(rows["ce_zero_ablation"]) == {sites.loc[place, "ce_zero_ablation"]}
            counts = rows["architecture"].value_counts()
            assert counts.get("baseline", 0) == sites.loc[place, "n_baseline"]
            assert counts.get("gated", 0) == sites.loc[place, "n_gated"]
    assert (sites["ce_zero_ablation"] - sites["ce_clean"] - sites["ce_zero_minus_clean"]).abs().max() < 1e-9


def test_each_call_gives_a_fresh_table():
    first = load_dataset("gated_gemma7b")
    first["l0"] = 0.0
    assert load_dataset("gated_gemma7b")["l0"].max() > 100


def test_the_readme_explains_every_column():
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "data").glob("gated_*.csv")):
        assert path.name in text
        for column in pd.read_csv(path, nrows=0).columns:
            assert f"`{column}`" in text
    assert canonical_name("sparsity_coefficient") == "sparsity_setting"


@pytest.mark.slow
def test_the_wheel_holds_the_tables(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        assert {f"frontier/data/{name}.csv" for name in NAMES} <= set(archive.namelist())
        assert "frontier/data/README.md" in archive.namelist()
        archive.extractall(tmp_path / "site")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r});"
        "import frontier.datasets as d; print(d.__file__, len(d.load_dataset('gated_gemma7b')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert found.stdout.split() == [str(tmp_path / "site" / "frontier" / "datasets.py"), "176"]
