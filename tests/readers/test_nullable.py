"""Frames of nullable and Arrow columns, before and after reading, give what plain ones give."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import frontier
from frontier.metrics import metrics_table, usable
from frontier.readers import TableError, read

FRAME = pd.DataFrame(
    [
        {"architecture": a, "layer": layer, "seed": 0, "l0": l0, "loss_recovered": 1 - c / l0 / (1 + layer),
         "ce_clean": 3.25, "d_sae": 4096, "k": l0 if a == "topk" else None, "step": s, "state": "finished",
         "run_id": f"{a}_{layer}_{l0:.0f}", "best": l0 == 40, "n_inputs": 250,
         "note": None if l0 < 40 else "x"}
        for a, c in (("relu", 3.0), ("topk", 2.0)) for layer in (4, 8)
        for l0 in (20.0, 40.0, 80.0, 160.0, 320.0)
        for s in (1000, 2000)
    ]
)  # fmt: skip
FRAME.loc[[3, 7], ["loss_recovered", "seed"]] = None
CSV = FRAME.to_csv(index=False)

FORMS = {
    "convert_dtypes": lambda f: f.convert_dtypes(),
    "pyarrow": lambda f: f.convert_dtypes(dtype_backend="pyarrow"),
    "object": lambda f: f.astype(object),
    "read as pyarrow": lambda f: pd.read_csv(io.StringIO(CSV), dtype_backend="pyarrow"),
    "read as nullable": lambda f: pd.read_csv(io.StringIO(CSV), dtype_backend="numpy_nullable"),
    "categories": lambda f: f.astype({"architecture": "category", "state": "category", "run_id": "category"}),
    "polars": pl.from_pandas,
}


def plain(table):
    """A table whose cells compare, whatever stands for missing."""
    return table.astype(object).where(table.notna(), None).reset_index(drop=True)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_frame_reads_the_same(form):
    expected, found = read(FRAME), read(FORMS[form](FRAME))
    assert_frame_equal(plain(found), plain(expected))
    assert frontier.notes(found) == frontier.notes(expected)


@pytest.mark.parametrize("form", [f for f in FORMS if not f.startswith("read")])
def test_a_table_changed_after_reading_compares_the_same(form):
    table = read(FRAME)
    changed = FORMS[form](table)
    assert_frame_equal(plain(usable(metrics_table(changed))), plain(usable(table)))
    expected = frontier.compare(table, "relu", by="layer", curve="power")
    found = frontier.compare(changed, "relu", by="layer", curve="power")
    assert [c.verdict for c in found] == [c.verdict for c in expected]
    np.testing.assert_allclose([c.potency.ratio for c in found], [c.potency.ratio for c in expected])


@pytest.mark.parametrize("form", ["convert_dtypes", "pyarrow"])
def test_parquet_of_nullable_columns(form, tmp_path):
    FORMS[form](FRAME).to_parquet(tmp_path / "t.parquet")
    assert_frame_equal(plain(read(tmp_path / "t.parquet")), plain(read(FRAME)))


def test_groups_names_and_marks_of_nullable_columns():
    table = read(FRAME.convert_dtypes())
    assert table["layer"].dtype == np.int64
    assert table["dictionary_size"].dtype == np.int64
    assert len(frontier.pareto_set(table, by="layer")) == len(frontier.pareto_set(read(FRAME), by="layer"))
    assert table["best"].tolist() == FRAME["best"].tolist()


# --- Any cell may be missing, in any form, before any function ---------------------------------------------

MISSING = {
    **{name: form for name, form in FORMS.items() if not name.startswith("read")},
    "objects with None": lambda f: f.astype(object).where(f.notna(), None),
    "objects with NA": lambda f: f.astype(object).where(f.notna(), pd.NA),
}
TABLE = pd.DataFrame(
    [
        {"family": f, "architecture": f, "state": "finished", "layer": float(layer), "site": "mlp",
         "seed": float(seed), "l0": l0 + seed, "sparsity_setting": l0, "n_inputs": 250.0,
         "loss_recovered": 1 - c / l0 / layer * (1 + 0.1 * ((7 * seed + l0) % 3)),
         "loss_recovered_se": 0.001, "mse": 1 / (l0 + 3 * seed), "run_id": f"{f}_{layer}_{l0:.0f}_{seed}"}
        for f, c in (("relu", 3.0), ("topk", 2.0)) for layer in (4, 8) for seed in (0, 1)
        for l0 in (20.0, 40.0, 80.0, 160.0)
    ]
)  # fmt: skip
FUNCTIONS = {
    "read": read,
    "metrics_table": metrics_table,
    "pareto_set": lambda t: frontier.pareto_set(t, by="layer"),
    "mark_pareto": lambda t: frontier.mark_pareto(t, by="layer"),
    "is_pareto_optimal": lambda t: frontier.is_pareto_optimal(t, by="layer").to_frame(),
    "hypervolume": lambda t: frontier.hypervolume(t, {"l0": 400, "performance_hit": 0.5}, by="layer"),
    "attainment": lambda t: frontier.attainment(t, by="layer"),
    "pareto_probability": lambda t: frontier.pareto_probability(t, by="layer", replicates=20),
    "observed_potency": lambda t: frontier.observed_potency(t, "relu", by="layer").to_frame(),
    "compare_seeds": lambda t: frontier.compare_seeds(t, "relu", by="layer").to_frame(),
    "fit": lambda t: frontier.fit(t, "power", by="layer", errors="log", intervals="wald").to_frame(),
    "compare": lambda t: frontier.compare(t, "relu", by="layer", curve="power").to_frame(),
    "runs_table": lambda t: pd.DataFrame({"text": [frontier.runs_table(t)]}),
    "plot_frontiers": lambda t: pd.DataFrame({"panels": [len(frontier.plot_frontiers(t))]}),
}


def outcome(function, table):
    """What a function gives, or the one line in which it declines."""
    try:
        found = FUNCTIONS[function](table)
    except TableError as error:
        return str(error)
    finally:
        plt.close("all")
    return plain(found.to_pandas() if isinstance(found, pl.DataFrame) else found)


@settings(max_examples=40)
@given(
    st.sampled_from(sorted(FUNCTIONS)),
    st.sampled_from(sorted(MISSING)),
    st.sets(st.tuples(st.integers(0, len(TABLE) - 1), st.sampled_from(list(TABLE))), max_size=40),
)
def test_missing_cells_of_every_form_give_what_plain_ones_give(function, form, cells):
    table = TABLE.astype(object)
    for row, column in cells:
        table.loc[row, column] = None
    table = table.infer_objects()
    expected, found = outcome(function, table), outcome(function, MISSING[form](table))
    if isinstance(expected, str):
        assert found == expected
    else:
        assert_frame_equal(found, expected, check_dtype=False, rtol=1e-9)
