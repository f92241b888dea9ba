"""Large Parquet files and lazy frames: what is loaded of them gives the table that loading all would give."""

import gzip

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier import TableError
from frontier.metrics import frames
from frontier.readers import columnar
from frontier.records import record_of

pl = pytest.importorskip("polars", reason="polars is not installed (extra polars)")


def whole(rows=400):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({
        "SAE": [f"sae_{i}" for i in range(rows)],
        "family": np.array(["relu", "topk"])[np.arange(rows) % 2],
        "Layer": pd.array([i % 5 if i % 50 else None for i in range(rows)], dtype="Int64"),
        "L0": rng.integers(4, 90, rows), "frac_recovered": rng.uniform(40, 99, rows),
        "corpus": rng.choice(["a", "b"], rows), "my_loss": rng.uniform(0, 1, rows),
        "shard": np.arange(rows) % 7, "run.part": np.arange(rows) % 3, "column_0": np.arange(rows) % 11,
    })  # fmt: skip
    for i in range(5):
        table[f"probe_{i}"] = rng.standard_normal(rows)
    return table


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A file that counts as large, in row groups of 100."""
    whole().to_parquet(tmp_path / "sweep.parquet", row_group_size=100, index=False)
    for module in (frames, columnar):
        monkeypatch.setattr(module, "LARGE", 1000)
    return tmp_path / "sweep.parquet"


CONDITIONS = (
    None, "layer == 3", "layer in [1, 4] and loss_recovered > 0.7", "not (layer == 3)",
    "l0 < 30 and layer != 2",
    "layer >= 1 and (layer == 1 or shard == 2)", "shard == 5", "corpus == 'a' and layer < 4", "shard < layer",
    "family == 'relu' and -layer == -3", "my_loss < 0.5 and 3 == layer", "layer == 2.0", "layer in (1,)",
    "run.part == 2", "`run.part` == 2 and column_0 > 4",
)  # fmt: skip


def packed(path):
    place = path.with_name("sweep.parquet.gz")
    place.write_bytes(gzip.compress(path.read_bytes()))
    return place


FORMS = {"file": lambda path: path, "lazy": pl.scan_parquet, "packed": packed}


@pytest.mark.parametrize("form", ["file", "lazy"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_table_is_that_of_loading_all(path, condition, form):
    """Against the frame in memory, of which nothing is left out."""
    found = frontier.read(FORMS[form](path), where=condition)
    wanted = frontier.read(whole(), where=condition)
    assert {"family", "layer", "l0", "loss_recovered"} <= set(found.columns) <= set(wanted.columns)
    assert not [c for c in found if c.startswith("probe")]
    pd.testing.assert_frame_equal(
        found.reset_index(drop=True), wanted[found.columns].reset_index(drop=True), check_dtype=False
    )


@pytest.mark.parametrize(
    "condition, loaded",
    [("layer == 3 and l0 < 30", 88), ("shard in [1, 2]", 114), ("family == 'relu'", 400), ("l0 < 30", 400)],
)
def test_only_whole_numbers_that_are_no_metric_leave_rows_out(path, condition, loaded):
    """80 rows of layer 3, less those that have no layer, which are kept; L0 may be a share or a sentinel."""
    said = [n for n in frontier.notes(frontier.read(path, where=condition)) if "rows loaded" in n]
    assert said == ([f"a large table: {loaded} of 400 rows loaded, those that {condition!r} may keep"]
                    if loaded < 400 else [])  # fmt: skip


def test_what_is_not_loaded_is_said_and_what_is_named_is_loaded(path):
    table = frontier.read(path)
    wanted = "a large table: 10 columns not loaded: corpus, my_loss, shard, run.part, column_0"
    assert any(n.startswith(wanted) for n in frontier.notes(table))
    assert "corpus" in frontier.read(path, where="corpus == 'a'")
    assert "my_loss" in frontier.read(path, better={"my_loss": "lower"})
    assert (frontier.read(path, columns={"probe_0": "fvu"})["fvu"].to_numpy() == whole()["probe_0"]).any()


@pytest.mark.parametrize("gone", ["family", "frac_recovered", "L0"])
def test_where_a_column_is_missing_that_others_may_tell_all_are_loaded(path, gone):
    table = whole().drop(columns=gone)
    table.to_parquet(path, index=False)
    told = []
    for source in (path, table):
        try:
            told.append(list(frontier.read(source).columns))
        except TableError as error:
            told.append(str(error).partition(": ")[2])
    assert told[0] == told[1]


def test_a_large_lazy_frame_is_not_loaded_for_its_record(path, monkeypatch):
    monkeypatch.setattr("frontier.records.digest", lambda table: pytest.fail("it was loaded"))
    table = frontier.read(pl.scan_parquet(path))
    assert record_of(table)["arguments"]["source"] == {"$unknown": "a large LazyFrame"}


def steps(told_by, time="step"):
    """Four SAEs that one column tells apart, two of them with a row less."""
    return pd.DataFrame([
        {"family": f, "layer": 3, time: step, told_by: f"{'ab'[i]}", "sparsity_setting": 1,
         "l0": 4.0 * (i + 1) + step / 1e4, "loss_recovered": 0.5 + 0.05 * i + step / 1e5}
        for f in ("relu", "topk") for i in range(2) for step in range(100, 301 - 100 * i, 100)
    ])  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "condition, finished", [(None, 4), ("step <= 200", 2), ("layer == 3 and step > 200", 2)]
)
@pytest.mark.parametrize("told_by", ["sae", "corpus"])
def test_which_rows_are_finished_saes_is_judged_as_of_the_whole(path, form, condition, finished, told_by):
    table = steps(told_by)
    table.to_parquet(path, index=False)
    for source in (FORMS[form](path), table, table.astype({told_by: "category"})):
        found = frontier.read(source, where=condition)
        assert found["excluded_because"].isna().sum() == finished


@pytest.mark.parametrize("form", FORMS)
def test_batches_are_no_saes_in_a_large_table_either(path, form):
    steps("run_id", "batch").to_parquet(path, index=False)
    with pytest.raises(TableError, match="rows are batches, not SAEs"):
        frontier.read(FORMS[form](path), where="batch == 200")


def test_a_packed_file_is_refused_before_it_unfolds(tmp_path, monkeypatch):
    import pyarrow as pa

    monkeypatch.setattr(columnar, "MOST_CELLS", 10_000_000)
    monkeypatch.setattr(columnar, "LARGE", 10_000_000)
    long = pa.table({"l0": pa.DictionaryArray.from_arrays(np.zeros(6_000_000, "i1"), [1.0])})
    long = long.append_column("mse", long["l0"])
    pa.parquet.write_table(long, tmp_path / "long.parquet")
    place, before = packed(tmp_path / "long.parquet"), pa.default_memory_pool().max_memory()
    del long
    with pytest.raises(TableError, match="more than the 10000000 cells"):
        frontier.read(place)
    assert pa.default_memory_pool().max_memory() - before < 10e6  # 48 MB a column


def test_used_cells_are_bounded(path, monkeypatch):
    monkeypatch.setattr(columnar, "MOST_CELLS", 1500)
    for source in (path, pl.scan_parquet(path)):
        with pytest.raises(TableError, match=r'400 rows of 5 columns that are used.*where="layer == 3"'):
            frontier.read(source)
        assert len(frontier.read(source, where="layer == 3")) == 80
