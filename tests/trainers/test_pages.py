"""The pages on trained SAEs: their snippets run as printed, and their numbers are those of a result file.

`make pages` trains the runs of the pages once (minutes) and runs the marked tests; by default the snippets
run on a few small SAEs.
"""

import json
import re
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from small_runs import TEXT as TRAINED_ON

import trainers
from benchmarks import pages
from frontier.studies.paired_frontiers import over_saes
from trainers import evaluation_windows

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "after_training.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def interval(row, name, digits=3):
    """As the pages print a number with its interval."""
    return "{} [{}, {}]".format(*(f"{row[f'{name}{e}']:.{digits}f}" for e in ("", "_low", "_high")))


@cache
def few(model, windows, split="evaluation", **options):
    """So many windows, of a small text in place of the whole library where SAEs are trained on."""
    text = {"text": TRAINED_ON} if split == "train" else {}
    return evaluation_windows(model, windows=windows, split=split, **text, **options)


@pytest.fixture
def two_groups(monkeypatch):
    """Errors of the linear fraction, of 36 maps, are missing, as where they need too much memory."""
    monkeypatch.setattr("trainers.evaluate.linear_error.MEMORY", 0)


@pytest.fixture
def namespace():
    from matplotlib import pyplot as plt

    yield {}
    plt.close("all")


@pytest.mark.slow
def test_the_snippets_run_on_small_saes(finished, tmp_path, monkeypatch, namespace, two_groups):
    """Every block, in order, on three SAEs and 4 windows of text."""
    shutil.copytree(finished / "saes", tmp_path / "runs" / "after_training" / "saes")
    monkeypatch.chdir(tmp_path)
    asked = []

    def noted(model, windows, **options):
        asked.append(windows)
        return few(model, 4, **options)

    monkeypatch.setattr(trainers, "evaluation_windows", noted)
    for snippet in SNIPPETS:
        exec(snippet, namespace)
    assert asked == [64, 200, 400, 350], "the windows that the numbers of the page are of"


@pytest.mark.slow
def test_the_command_makes_every_section(finished, tmp_path, monkeypatch, two_groups):
    """On the same three SAEs in place of every study."""
    for study in ("after_training", "penalties", "widths"):
        (tmp_path / study).symlink_to(finished)
    asked = []
    monkeypatch.setattr(pages, "evaluation_windows", lambda m, **how: asked.append(how) or few(m, **how))
    pages.main(["--quick", "--runs", str(tmp_path), "--out", str(tmp_path)])
    assert [(how["windows"], how["split"]) for how in asked] == [
        (4, "evaluation"),
        (4, "train"),
        (8, "evaluation"),
    ]
    record = json.loads((tmp_path / "pages.json").read_text(encoding="utf-8"))
    assert {"pruning", "pursuit", "finetuning", "anatomy", "machine"} <= set(record)
    assert all(record[name]["cpu_seconds"] >= 0 for name in pages.SECTIONS)
    ratios = [row["mse_ratio"] for row in record["pursuit"]["gradient over exact"]]
    assert len(ratios) == 3 * 6 and min(ratios) > 0.95 and max(ratios) > 1.001
    assert {row["family"] for row in record["anatomy"]["widths"]} == {"relu", "topk"}
    kl = {row["family"]: row["ratio"] for row in record["finetuning"]["topk"]["kl"]}
    assert set(kl) == {f"topk + {way} fine-tuning" for way in ("KL", "MSE", "KL and MSE")}


@pytest.mark.pages
def test_the_snippets_give_the_numbers_beside_them(namespace, monkeypatch):
    """On the run that the page names, in this folder."""
    from trainers.studies.configurations import run

    monkeypatch.chdir(ROOT)
    if not Path("runs/after_training/metrics.parquet").exists():
        run("after_training", "runs/after_training", progress=False)
    for snippet in SNIPPETS:
        exec(snippet, namespace)
    means = namespace["means"][namespace["means"]["method"] == "global threshold"].set_index("family")
    numbers = [interval(means.loc[name], "cost") for name in ("relu", "jumprelu")]
    changed = namespace["ratios"].groupby("family", sort=False)["ratio"].apply(list)
    for way in ("KL", "MSE"):
        mean = over_saes(np.log(changed[f"topk + {way} fine-tuning"]))
        numbers.append("{:.3f} [{:.3f}, {:.3f}]".format(*np.exp([mean.value, mean.low, mean.high])))
    left_out = set(namespace["means"]["left_out"].str.split(", ").explode()) - {""}
    numbers += [f"`{name.removesuffix('_seed0')}`" for name in left_out]
    assert [number for number in numbers if number not in TEXT] == []
    assert len(namespace["best"]) == 5 * 6 and namespace["encoders"]["cost"].notna().sum() >= 25


def test_the_studies_have_the_sizes_that_the_pages_state():
    """Whatever the default size of a dictionary becomes."""
    from trainers.studies.configurations import QUOTED, SIZE, STUDIES

    sizes = {study.__name__: study().training.dictionary_size for study in QUOTED}
    assert sizes == dict.fromkeys(sizes, SIZE) | {"after_training": 512}
    assert "600 steps,\n512 latents" in PAGE and set(sizes) < set(STUDIES)
