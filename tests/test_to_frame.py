"""Results as frames of pandas and polars, fits on arrays, and the reprs in a notebook of marimo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.metrics.checks import TableError

polars = pytest.importorskip("polars", reason="polars is not installed (extra polars)")
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def results(hill20, comparison20):
    ratios = frontier.ratio_table(hill20, "baseline")
    fit, reference = hill20["Resid", "gated"], hill20["Resid", "baseline"]
    return {
        "fit": fit, "fits": hill20, "ratios": ratios, "ratio": ratios[0], "comparisons": comparison20,
        "comparison": comparison20[0], "interval": fit["k"], "pooled": frontier.pool_ratios(ratios, "k"),
        "parallelism": frontier.parallelism(fit, reference), "shape": comparison20.shapes[0],
        "goodness": hill20.goodness[0], "selection": frontier.select_curve(fit, replicates=0),
        "selections": frontier.select_curve(hill20, replicates=0), "observed": comparison20.observed,
        "averaged": frontier.averaged_potency(fit, reference, 0.03), "plan": frontier.plan(fit, reference),
    }  # fmt: skip


KINDS = (
    "fit", "fits", "ratios", "ratio", "comparisons", "comparison", "interval", "pooled", "parallelism",
    "shape", "goodness", "selection", "selections", "observed", "averaged",
    "plan",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_both_kinds_of_frame_hold_the_same(results, kind):
    ours, theirs = results[kind].to_frame(), results[kind].to_frame("polars")
    assert isinstance(ours, pd.DataFrame) and isinstance(theirs, polars.DataFrame)
    assert not [name for name in ours if name.startswith("_")]
    assert list(ours.columns) == theirs.columns and len(ours) == len(theirs) > 0
    for name in ours:
        for a, b in zip(ours[name], theirs[name].to_list(), strict=True):
            assert a == b or (pd.isna(a) and (b is None or b != b)), name


def test_one_row_has_groups_and_limits(results):
    row = results["parallelism"].to_frame().iloc[0]
    assert row["p_welch"] == results["parallelism"].p_welch and row["parameter"] == "n"
    row = results["comparison"].to_frame().iloc[0]
    assert row["verdict"] == results["comparison"].verdict and row["site"] == "Resid"
    assert results["interval"].to_frame().iloc[0].to_dict() == {
        "estimate": results["interval"].estimate, "low": results["interval"].low,
        "high": results["interval"].high, "level": 0.95,
    }  # fmt: skip


def test_fits_predict_on_arrays(hill20):
    x = np.array([[0.01, 0.02], [0.05, 0.1]])
    heights = hill20.predict(x)
    assert heights.shape == (len(hill20), 2, 2)
    for fit, height in zip(hill20, heights, strict=True):
        k, n = fit["k"].estimate, fit["n"].estimate
        np.testing.assert_allclose(height, x**n / (k**n + x**n), rtol=1e-12)
        np.testing.assert_allclose(fit.predict(list(x[0])), height[0], rtol=1e-15)
    assert hill20[0].predict(0.05) == pytest.approx(heights[0, 1, 0], rel=1e-15)


def test_polars_goes_in_and_comes_out(layer20):
    frame = polars.DataFrame(layer20[["site", "family", "l0", "loss_recovered"]].to_dict("list"))
    table = frontier.read(frame, backend="polars")
    assert isinstance(table, polars.DataFrame) and table.height == len(layer20)
    with pytest.raises((ValueError, TableError), match="backend"):
        frontier.read(frame, backend="arrow")


NOTEBOOK = """
import marimo
app = marimo.App()

@app.cell
def _():
    import frontier
    table = frontier.load_dataset("gated_gemma7b")
    found = frontier.fit(table[table["layer"] == 20], "power", errors="log")
    found
    return

if __name__ == "__main__":
    app.run()
"""


@pytest.mark.slow
def test_a_notebook_of_marimo_shows_the_table_of_jupyter(tmp_path):
    pytest.importorskip("marimo", reason="marimo is not installed (make clients)")
    (tmp_path / "notebook.py").write_text(NOTEBOOK, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "marimo", "-q", "export", "html", "notebook.py", "-o", "page.html"],
        check=True, cwd=tmp_path, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    table = frontier.load_dataset("gated_gemma7b")
    shown = frontier.fit(table[table["layer"] == 20], "power", errors="log")._repr_html_()
    inside = json.dumps(shown[: shown.index("</thead>")])[1:-1]
    assert shown.startswith("<div>") and "text/html" in page
    for way in (inside, inside.replace("<", "\\u003c").replace(">", "\\u003e")):
        if way in page:
            return
    cell = shown.split("<td")[1].partition(">")[2].partition("<")[0]
    assert cell in page and "Power fits: performance_hit against sparsity" in page
