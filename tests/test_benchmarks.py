"""The benchmarks run, their results say where they come from, and the Pareto kernel they race is right."""

import json
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_main
from numpy.testing import assert_array_equal

from benchmarks import measuring, page
from frontier.pareto import dominance, nondominated
from frontier.pareto.dominance import Dominance

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SCRIPTS = (
    "budgets", "evaluation", "fits", "learning_rates", "looks", "pareto_sets", "parquet", "quality",
    "start_up",
    "scaling", "sharded_model", "store", "torchrun", "training",
)  # fmt: skip


def run(module, *arguments):
    return run_main(import_module(module).main, module, *arguments)


@pytest.mark.parametrize("name", (*SCRIPTS, "training_gpu"))
def test_help(name):
    if name in (
        "budgets",
        "evaluation",
        "learning_rates",
        "looks",
        "quality",
        "scaling",
        "sharded_model",
        "training",
        "training_gpu",
    ):
        pytest.importorskip("torch", reason="torch is not installed (extra train)")
    done = run(f"benchmarks.{name}", "--help")
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout


def test_a_quick_run_writes_its_result(tmp_path):
    done = run("benchmarks.fits", "--quick", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "fits.json").read_text())
    assert record["engine_is_faster_by"]["lmfit Model.fit, loop"] > 1
    assert record["unreported failures"] == 0


@pytest.fixture(scope="module")
def steps_of_gpu(tmp_path_factory):
    """The cells that `--quick` measures, in a process of their own."""
    pytest.importorskip("torch", reason="torch is not installed (extra train)")
    folder = tmp_path_factory.mktemp("quick")
    done = run("benchmarks.training_gpu", "--quick", "--out", str(folder))
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "training_gpu.json").read_text())["cells"]


def test_without_a_gpu_nothing_is_measured_on_one(steps_of_gpu, tmp_path):
    import torch

    cells = steps_of_gpu
    assert [c["architecture"] for c in cells] == ["relu", "jumprelu", "topk", "batch_topk", "gated"]
    assert all(c["samples_per_second"] > 0 for c in cells)
    if not torch.cuda.is_available():
        assert (
            "nothing was measured" in run("benchmarks.training_gpu", "--out", str(tmp_path / "none")).stdout
        )
        assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_every_part_of_the_script_for_a_gpu_runs_on_a_cpu(steps_of_gpu, tmp_path, monkeypatch):
    """Its steps are those that `--quick` measured: the same shape and cells, which are asked for once."""
    asked = []
    kept = ("architecture", "method", "ms", "d", "F", "members", "batch", "autocast")
    cells = [{k: v for k, v in cell.items() if k in kept} for cell in steps_of_gpu]
    monkeypatch.setattr("benchmarks.training_gpu.run", lambda *words: asked.append(words) or cells)
    done = run("benchmarks.training_gpu", "--device", "cpu", "--small", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    parts = json.loads((tmp_path / "training_gpu.json").read_text())["parts"]
    assert list(parts) == [
        "gradients",
        "graphs",
        "resumed",
        "questions",
        "steps",
        "read_ahead",
        "from_end_to_end",
    ]
    assert all(found["right"] for found in parts["gradients"]["found"].values())
    assert all(parts[name]["found"]["right"] for name in ("graphs", "resumed", "questions", "read_ahead"))
    assert parts["from_end_to_end"]["found"]["ratio"] > 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_results_say_where_they_come_from(name):
    path = RESULTS / f"{name}.json"
    record = json.loads(path.read_text())
    assert {"date", "machine", "cpus", "python", "versions"} <= set(record)
    assert record["versions"]
    assert not re.search(r"/(home|root|work|tmp|usr|opt)/", path.read_text())


def test_the_pages_are_those_of_the_result_files(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    pages = {"PAGE": "benchmarks.md", "COST": "cost.md", "VERDICTS": "verdicts.md"}
    written = {name: ROOT / "docs" / file for name, file in pages.items()}
    for name, path in written.items():
        (tmp_path / path.name).write_text(path.read_text())
        monkeypatch.setattr(page, name, tmp_path / path.name)
    page.main()
    for path in written.values():
        assert (tmp_path / path.name).read_text() == path.read_text()


def test_the_page_of_budgets_is_that_of_its_saes():
    pytest.importorskip("torch", reason="torch is not installed (extra train)")
    from benchmarks import budgets

    record = json.loads((RESULTS / "budgets.json").read_text())
    text = (ROOT / budgets.PAGE).read_text(encoding="utf-8")
    saes = pd.DataFrame(record["saes"], columns=record["columns"])
    assert budgets.on_page(text, budgets.compared(saes)) == text


def test_default_learning_rates_are_those_measured_and_lose_at_most_5_percent():
    """The page is that of the result; its cells follow from its SAEs, and their default from the code."""
    pytest.importorskip("torch", reason="torch is not installed (extra train)")
    from benchmarks import learning_rates

    record = json.loads((RESULTS / "learning_rates.json").read_text())
    text = (ROOT / learning_rates.PAGE).read_text(encoding="utf-8")
    assert learning_rates.on_page(text, record["cells"]) == text
    saes = pd.DataFrame(record["saes"], columns=record["columns"])
    for cell in record["cells"]:
        assert cell["met"] == (cell["default_loses"][0] <= 1.05)
        assert cell["met"] or (cell["stream"], cell["architecture"]) == ("synthetic", "relu")
        mine = saes[(saes[learning_rates.CELL] == [cell[k] for k in learning_rates.CELL]).all(axis=1)]
        found = learning_rates.against_the_default(mine)
        assert found["default"] == cell["default"]
        assert found["default_loses"] == pytest.approx(cell["default_loses"], abs=2e-3)


def test_rounds_take_turns():
    seen = []
    times, found = measuring.rounds({"a": lambda: seen.append("a"), "b": lambda: seen.append("b") or 7}, 2)
    assert seen == ["a", "b", "a", "b"]
    assert len(times["a"]) == len(times["b"]) == 2
    assert found["b"] == 7
    assert measuring.ratio({"a": [1.0, 4.0, 9.0], "b": [1.0, 2.0, 3.0]}, "a", "b") == 2


# The kernel drops rows before it sorts: the answer must be that of the sort alone


def whole(points, groups=None):
    return Dominance.of(points, np.zeros(len(points), np.int64) if groups is None else groups).optimal()


@pytest.mark.parametrize("objectives", [2, 3, 4])
@pytest.mark.parametrize("kind", ["random", "ties", "front", "equal", "heavy", "one column"])
def test_large_sets_as_by_sorting_everything(kind, objectives):
    rng = np.random.default_rng(1)
    n = 20_000
    points = {
        "random": lambda: rng.random((n, objectives)),
        "ties": lambda: rng.integers(0, 30, (n, objectives)).astype(float),
        "front": lambda: (
            -np.abs(v := rng.standard_normal((n, objectives))) / np.linalg.norm(v, axis=1)[:, None]
        ),
        "equal": lambda: np.ones((n, objectives)),
        "heavy": lambda: np.exp(20 * rng.standard_normal((n, objectives))),
        "one column": lambda: np.column_stack([np.zeros((n, objectives - 1)), rng.random(n)]),
    }[kind]()
    assert_array_equal(nondominated(points), whole(points))
    for count in (1, 3, 40, 3_000):
        groups = rng.integers(0, count, n)
        assert_array_equal(nondominated(points, groups), whole(points, groups))


def test_groups_with_gaps_and_of_unequal_size():
    rng = np.random.default_rng(2)
    points = rng.integers(0, 200, (30_000, 2)).astype(float)
    groups = np.where(rng.random(30_000) < 0.9, 5, rng.integers(0, 60, 30_000))
    by_hand = np.zeros(len(points), bool)
    for g in np.unique(groups):
        by_hand[groups == g] = whole(points[groups == g])
    for shift in (0, -7, 70_000):
        assert_array_equal(nondominated(points, groups + shift), by_hand)
    for kind in (np.uint8, np.float64, str):
        assert_array_equal(nondominated(points, groups.astype(kind)), by_hand)


def test_numbers_at_the_ends_of_the_range():
    rng = np.random.default_rng(3)
    points = rng.choice([-1.7e308, -1.0, 0.0, 5e-324, 1.0, 1.7e308], (10_000, 2))
    assert_array_equal(nondominated(points), whole(points))


def test_small_samples_decide_nothing(monkeypatch):
    points = np.random.default_rng(4).random((5_000, 3))
    expected = whole(points)
    for size in (1, 2, 50):
        monkeypatch.setattr(dominance, "SAMPLE", size)
        assert_array_equal(nondominated(points), expected)


# Slack in three objectives: halving against all pairs


@pytest.mark.parametrize("values", [2, 7, 10**6])
def test_slack_in_three_objectives_of_large_groups(monkeypatch, values):
    rng = np.random.default_rng(5)
    for n in (2, 3, 4, 5, 8, 100, 1_000):
        points, groups = rng.integers(values, size=(n, 3)).astype(float), rng.integers(2, size=n)
        monkeypatch.setattr(dominance, "PAIRWISE", n)
        by_pairs = Dominance.of(points, groups).slack()
        monkeypatch.setattr(dominance, "PAIRWISE", 0)
        assert_array_equal(Dominance.of(points, groups).slack(), by_pairs)
