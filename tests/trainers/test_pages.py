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
import pandas as pd
import pytest
from small_runs import TEXT as TRAINED_ON
from small_runs import small

import trainers
from benchmarks import pages
from benchmarks.page_parts import runs, tables
from frontier.studies.paired_frontiers import over_saes
from trainers import evaluation_windows
from trainers.evaluate.runs import evaluate_run
from trainers.train import train

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
    assert asked == [32, 200, 400, 350], "the windows that the numbers of the page are of"


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory):
    """A run with the families that the sections name, two seeds, in place of every study."""
    folder = tmp_path_factory.mktemp("pages") / "run"
    roots = {"architecture": "relu", "settings": [0.5, 1.0], "options": {"p": 0.5}, "name": "sqrt-L1"}
    sections = [
        {"architecture": "relu", "settings": [1.0, 4.0]},
        {"architecture": "relu", "settings": [1.0, 4.0], "name": "L1"},
        {"architecture": "gated", "settings": [1.0, 4.0]},
        {"architecture": "topk", "settings": [2, 8]},
        roots,
    ]
    trained = train(small(sections, training={"seeds": [0, 1]}), folder, progress=False)
    evaluate_run(folder, model=trained.model, progress=False)
    found = [{"family": "L1", "settings": [1.0, 4.0], "target_l0": [20.0, 10.0]}]
    (folder / "sweep.json").write_text(json.dumps(found), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_the_command_makes_every_section(two_seeds, tmp_path, monkeypatch, two_groups):
    """All but the study of known features, which trains its own SAEs."""
    for study in pages.OF_PAGES:
        (tmp_path / study.__name__).symlink_to(two_seeds)
    monkeypatch.setattr(runs, "evaluation_windows", lambda m, **how: few(m, **how | {"windows": 8}))
    sections = [name for name in pages.SECTIONS if name != "recovery"]
    places = ["--runs", str(tmp_path), "--out", str(tmp_path / "out")]
    pages.main(["--quick", *places, "--sections", *sections])
    record = json.loads((tmp_path / "out" / "pages.json").read_text(encoding="utf-8"))
    assert {*sections, "machine"} <= set(record)
    assert all(record[name]["cpu_seconds"] >= 0 for name in sections)
    ratios = [row["mse_ratio"] for row in record["pursuit"]["gradient over exact"]]
    assert min(ratios) > 0.95 and max(ratios) > 1.001
    kl = {row["family"] for row in record["finetuning"]["ratios"]}
    assert {f"topk + {way} fine-tuning" for way in ("KL", "MSE", "KL and MSE")} <= kl
    assert {row["family"] for row in record["separation"]["hits"]} == {
        "relu",
        "L1",
        "gated",
        "topk",
        "sqrt-L1",
    }
    (sweep,) = [row for row in record["sweeps"]["found over wanted"] if row["study"] == "penalties"]
    table = pd.read_parquet(two_seeds / "metrics.parquet").query("family == 'L1'")
    off = np.log(table["l0"] / table["sparsity_setting"].map({1.0: 20.0, 4.0: 10.0})).mean()
    assert sweep["log_ratio"] == pytest.approx(off, rel=1e-3)


def test_the_tables_of_the_pages_are_those_of_the_result_file():
    record = json.loads((ROOT / "benchmarks" / "results" / "pages.json").read_text(encoding="utf-8"))
    assert set(pages.SECTIONS) <= set(record)
    for make in (tables.after_training, tables.looking_inside):
        page = (ROOT / "docs" / f"{make.__name__}.md").read_text(encoding="utf-8")
        made = make(record)
        assert [name for name in made if f"<!-- {name} -->" not in page] == []
        assert tables.on_page(page, made) == page


@pytest.mark.parametrize(
    ("row", "printed"),
    [
        ({"x": 0.5, "x_low": 0.25, "x_high": 0.75}, "**0.500 [0.250, 0.750]**"),
        ({"x": -0.5, "x_low": -1.0, "x_high": 0.0}, "−0.500 [−1.000, 0.000]"),
        ({"x": None, "x_low": None, "x_high": None}, "–"),
    ],
)
def test_cells_are_bold_where_nothing_is_excluded(row, printed):
    assert tables.cell(row, "x", null=0) == printed


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
    assert [number for number in numbers if number not in TEXT] == []
    assert len(namespace["best"]) == 5 * 5 and namespace["encoders"]["cost"].notna().sum() >= 15


@pytest.mark.parametrize("study", pages.OF_PAGES, ids=lambda f: f.__name__)
def test_the_studies_have_three_seeds_and_the_defaults(study):
    """And the sizes that the pages state, whatever the default size of a dictionary becomes."""
    config = study()
    assert config.training.seeds == [0, 1, 2] and config.activations.centre
    assert config.training.dictionary_size == (512 if study.__name__ == "after_training" else 256)
    assert all(f.learning_rate is None for f in config.families)
