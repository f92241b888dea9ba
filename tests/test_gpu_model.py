"""The counted model: its prices by hand, its page, its table."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed (extra train)")

from benchmarks import gpu_model, measuring
from trainers.counting import Operation


def test_prices_by_hand():
    """4.3 GB at 4.3 TB/s are 1 ms; 7 TFLOP at 700 are 10; a selection reads five times at 2 TB/s."""
    device = gpu_model.DEVICES["H200"]
    assert device.seconds(Operation("add", 4 * 10**9, 3 * 10**8)) == pytest.approx(1e-3)
    assert device.seconds(Operation("bmm", 10**9, 0, 7 * 10**12, half=True)) == pytest.approx(1e-2)
    assert device.seconds(Operation("bmm", 10**9, 0, 10**12)) == pytest.approx(2e-2)
    assert device.seconds(Operation("topk", 4 * 10**9, 10)) == pytest.approx(1e-2)


def test_passes_over_codes_grow_with_the_batch_and_those_over_weights_do_not():
    case, twice = (gpu_model.Case("relu", 64, 512, 2, b) for b in (256, 512))
    one, two = (gpu_model.by_kind(c, gpu_model.DEVICES["H200"]) for c in (case, twice))
    assert two["passes over codes"][0] == pytest.approx(2 * one["passes over codes"][0])
    assert two["passes over weights"][0] == pytest.approx(one["passes over weights"][0])


def test_the_page_and_the_aims():
    """The page is that of the result; what is predicted is within every aim, and in memory."""
    record = json.loads(Path("benchmarks/results/gpu_model.json").read_text(encoding="utf-8"))
    text = gpu_model.PAGE.read_text(encoding="utf-8")
    assert measuring.between(text, "counted", gpu_model.page(record["cells"])) == text
    aims = {
        (name, d): aim
        for name, several in gpu_model.AIMS.items()
        for (d, _), aim in zip(gpu_model.SHAPES, several, strict=True)
    }
    assert all(r["peak_gigabytes"] <= 100 for r in record["cells"] if r["closed_form"])
    rows = [r for r in record["cells"] if r["closed_form"] and not r["dead"]]
    for row in rows:
        assert row["predicted_ms"] <= aims.get((row["architecture"], row["d"]), 300)
    assert {(r["architecture"], r["d"]) for r in rows} >= set(aims)


def test_the_table_is_what_the_step_costs_today():
    """One row of the committed table, counted anew: a change of the step asks for a new table."""
    record = json.loads(Path("benchmarks/results/gpu_model.json").read_text(encoding="utf-8"))
    for name in ("topk", "gated"):
        now = gpu_model.predicted(gpu_model.Case(name), gpu_model.DEVICES["H200"])
        (then,) = (
            r for r in record["cells"]
            if (r["architecture"], r["d"], r["closed_form"], r["dead"]) == (name, 512, True, False)
        )  # fmt: skip
        assert now["gigabytes_moved"] == pytest.approx(then["gigabytes_moved"], rel=0.02)
