"""Files of every kind in: a metrics table, or one clear line."""

import contextlib
import io
import json
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal

from frontier.metrics import metrics_table, notes
from frontier.readers import SUFFIXES, TableError, read

FRAME = pd.DataFrame(
    {
        "architecture": ["relu", "relu", "gated", "gated"],
        "layer": [20, 20, 20, 20],
        "L0": [12.5, 40.0, -3.0, 35.0],
        "% CE Recovered": [91.0, 97.5, 94.0, 98.25],
        "d_sae": [16384, 16384, 16384, 16384],
        "remark": ["a", None, "c", "d, e"],
    }
)
"""Four SAEs under foreign names, with a fault."""

EXPECTED = metrics_table(FRAME)


def same(found, expected):
    """Equal tables, whatever stands for missing (None, NaN or NA, by the kind of file)."""
    assert_frame_equal(*(t.astype(object).where(t.notna(), None) for t in (found, expected)))


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


WRITERS = {
    "csv": lambda p: FRAME.to_csv(p, index=False),
    "csv with row numbers": lambda p: FRAME.to_csv(p),
    "csv, semicolons": lambda p: FRAME.to_csv(p, index=False, sep=";"),
    "csv, decimal commas": lambda p: FRAME.to_csv(p, index=False, sep=";", decimal=","),
    "csv, every cell quoted": lambda p: FRAME.to_csv(p, index=False, quoting=1),
    "csv, UTF-8 mark": lambda p: FRAME.to_csv(p, index=False, encoding="utf-8-sig"),
    "csv, UTF-16": lambda p: FRAME.to_csv(p, index=False, encoding="utf-16", sep="\t"),
    "csv, trailing commas": lambda p: p.write_text(FRAME.to_csv(index=False).replace("\n", ",\n")),
    "tsv": lambda p: FRAME.to_csv(p, index=False, sep="\t"),
    "parquet": lambda p: FRAME.to_parquet(p),
    "pq": lambda p: FRAME.to_parquet(p),
    "json": lambda p: FRAME.to_json(p, orient="records"),
    "json, columns": lambda p: p.write_text(
        json.dumps(json.loads(FRAME.to_json(orient="split")) | {"index": None})
    ),
    "json, lists": lambda p: p.write_text(
        json.dumps(FRAME.astype(object).where(FRAME.notna(), None).to_dict("list"))
    ),
    "json, as pandas writes": lambda p: FRAME.to_json(p),
    "json, table": lambda p: FRAME.to_json(p, orient="table", index=False),
    "json, in lines": lambda p: FRAME.to_json(p, orient="records", lines=True),
    "jsonl": lambda p: FRAME.to_json(p, orient="records", lines=True),
    "ndjson": lambda p: FRAME.to_json(p, orient="records", lines=True),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_file_gives_the_same_table(kind, tmp_path):
    path = tmp_path / f"t.{kind.split(',')[0].split(' ')[0]}"
    WRITERS[kind](path)
    table = read(path)
    same(table, EXPECTED)
    assert [str(d) for d in table.dtypes[["l0", "dictionary_size", "layer"]]] == ["float64", "int64", "int64"]
    marks = ["decimal commas: read '12,5' as 12.5"] if "decimal commas" in kind else []
    *said, unused = notes(EXPECTED)
    assert notes(table) == (*said, *marks, "1 of 4 rows set aside: 1 because l0 is negative", unused)
    assert_frame_equal(read(str(path)), table)


def test_frames_and_records_are_read_too():
    for source in (FRAME, pl.from_pandas(FRAME), FRAME.to_dict("records")):
        same(read(source), EXPECTED)
    back = read(FRAME, backend="polars")
    assert isinstance(back, pl.DataFrame)
    assert back["l0"].to_list() == [12.5, 40.0, -3.0, 35.0]
    assert back["excluded_because"].to_list() == [None, None, "l0 is negative", None]


def test_rows_that_end_in_a_comma(tmp_path):
    # The header does not end in one. Pandas alone would read the first cells as names of rows.
    assert read(write(tmp_path, "t.csv", "l0,mse\n1,2,\n3,4,\n"))["l0"].tolist() == [1, 3]


def test_a_dict_of_records_names_the_runs(tmp_path):
    runs = {"run a": {"l0": 3.0, "mse": 1.0}, "run b": {"l0": 5.0, "metrics": {"mse": 0.5}}}
    table = read(write(tmp_path, "t.json", json.dumps(runs)))
    assert table["run_id"].tolist() == ["run a", "run b"]
    assert_array_equal(table["mse"], [1.0, np.nan])  # one name, given once flat and once nested
    assert_array_equal(table["metrics.mse"], [np.nan, 0.5])


# The smallest files of dictionary_learning and SAEBench, as those tools write them.
DICTIONARY_LEARNING = {
    "l2_loss": 4.36, "l1_loss": 50.9, "l0": 40.0, "frac_variance_explained": 0.958, "cossim": 0.948,
    "l2_ratio": 0.948, "relative_reconstruction_bias": 1.0, "loss_original": 3.336,
    "loss_reconstructed": 3.84, "loss_zero": 13.252, "frac_recovered": 0.949, "frac_alive": 0.9995,
    "hyperparameters": {"n_inputs": 200, "context_length": 1024},
}  # fmt: skip
SAE_BENCH = {
    "eval_type_id": "core",
    "eval_config": {"context_size": 128, "dataset": "Skylion007/openwebtext"},
    "eval_result_details": [{"index": 0, "feature_density": 0.1}],
    "sae_cfg_dict": {"architecture": "topk", "d_sae": 4096, "hook_layer": 8},
    "eval_result_metrics": {
        "model_performance_preservation": {
            "ce_loss_score": 0.9348, "ce_loss_with_ablation": 11.973, "ce_loss_with_sae": 4.746,
            "ce_loss_without_sae": 4.242,
        },
        "model_behavior_preservation": {"kl_div_score": -1.0, "kl_div_with_sae": -1.0},
        "sparsity": {"l0": 20.0},
    },
}  # fmt: skip


def test_nested_result_files(tmp_path):
    row = read(write(tmp_path, "a.json", json.dumps(DICTIONARY_LEARNING))).iloc[0]
    assert (row["l0"], row["ce_zero_ablation"], row["mean_of_ratios_recovered"]) == (40.0, 13.252, 0.949)
    assert row["loss_recovered"] == (13.252 - 3.84) / (13.252 - 3.336)  # the ratio of means
    assert row["hyperparameters.context_length"] == 1024
    row = read(write(tmp_path, "b.json", json.dumps(SAE_BENCH))).iloc[0]
    assert (row["l0"], row["loss_recovered"], row["architecture"], row["layer"]) == (20.0, 0.9348, "topk", 8)
    assert np.isnan(row["kl"])  # SAEBench writes -1 for missing
    only_metrics = {"eval_result_metrics": SAE_BENCH["eval_result_metrics"], "sae_cfg_dict": {"d_sae": 4096}}
    table = read(write(tmp_path, "c.json", json.dumps(only_metrics)))
    assert table[["l0", "dictionary_size"]].to_numpy().tolist() == [[20.0, 4096.0]]  # one record, not two


# --- one clear line ------------------------------------------------------------------------------


def refused(path, *words):
    with pytest.raises(TableError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    for word in words:
        assert word in message
    return message


def test_missing_files_and_wrong_kinds(tmp_path):
    write(tmp_path, "gated.csv", "l0,mse\n1,2\n")
    refused(tmp_path / "gatde.csv", "no file", "did you mean 'gated.csv'?")
    refused(tmp_path / "nowhere" / "t.csv", "no file")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no SAE metrics in 0 files")
    refused(
        write(tmp_path, "t.xls", b"\xd0\xcf"), "unknown kind of file '.xls'", "CSV", ".csv, .tsv, .parquet"
    )
    refused(write(tmp_path, "t", b"x"), "(no ending)")
    with pytest.raises(TableError, match=r"is no path|no file"):
        read("l0,mse\n" + "1,2\n" * 5000)
    with pytest.raises(TableError, match=r"is no path|no file"):
        read("a\0b.csv")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_and_garbage(suffix, tmp_path):
    refused(write(tmp_path, f"empty{suffix}", b""), "is empty")
    refused(write(tmp_path, f"garbage{suffix}", bytes(range(255, 0, -1)) * 9), "cannot be read as")
    refused(write(tmp_path, f"zeros{suffix}", bytes(100)))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.json", '[{"l0": 1, "mse": 2}, {"l0"', ["cannot be read as json"]),
        ("t.json", "3", ["expected a list of records or a dict of columns, found int"]),
        ("t.json", "[[1, 2]]", ["found a list of list"]),
        ("t.json", '{"l0": [1, 2], "mse": [1]}', ["same length"]),
        ("t.json", "[" * 100_000, ["recursion"]),
        ("t.json", "[]", ["no L0 column", "no columns"]),
        ("t.jsonl", '{"l0": 1, "mse": 2}\n{"l0": 1,\n', ["line 2 is not JSON"]),
        ("t.csv", "l0,mse\n1,2\n1,2,3,4\n", ["cannot be read as csv"]),
        (
            "t.csv",
            "l0,mse\n1,2,3\n4,5,6\n",
            ["cannot be read as csv"],
        ),  # pandas alone would shift the columns
        ("t.csv", "l0,L1,l0\n1,2,3\n", ["column 'l0' stands in the header twice"]),
        ("t.csv", "l0,mse\n", ["no rows"]),
        ("t.csv", "colour,size\nred,2\n", ["no L0 column", "colour, size"]),
        ("t.csv", '"a\nb",size\n1,2\n', ["among a b, size"]),  # one line, whatever the names
        ("t.csv", "l0,size\n1,2\n", ["no fidelity column", "loss_recovered", "l0, size"]),
        ("t.csv", "l0,mse\nlow,2\n", ["column l0 holds text"]),
        ("t.csv", "l0,größe\n1,2\n".encode("latin-1"), ["no fidelity column", "l0, größe"]),
        ("t.csv", b"l0,gr\x81e\n1,2\n", ["it is no text in UTF-8, UTF-16 or Windows' cp1252"]),
        ("t.parquet", b"PAR1 and no more PAR1", ["cannot be read as parquet"]),
    ],
)
def test_broken_files(name, content, words, tmp_path):
    refused(write(tmp_path, name, content), *words)


def test_a_parquet_file_cannot_say_that_it_was_checked(tmp_path):
    frame = pd.DataFrame({"l0": ["10", "x"], "mse": [1.0, 2.0], "excluded_because": None, "doubts": None})
    frame.attrs = dict(EXPECTED.attrs) | {"frontier_checked": ["l0", "mse"]}
    frame.to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet")["excluded_because"].tolist() == [pd.NA, "l0 is missing"]


def test_tables_saved_and_read_again(tmp_path):
    EXPECTED.to_csv(tmp_path / "t.csv", index=False)
    EXPECTED.to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        same(read(tmp_path / name), EXPECTED)


PARQUET = io.BytesIO()
FRAME.to_parquet(PARQUET)


@st.composite
def contents(draw):
    """Bytes, text in the alphabet of tables, or a good file with a few bytes changed."""
    good = [FRAME.to_csv(index=False).encode(), FRAME.to_json(orient="records").encode(), PARQUET.getvalue()]
    base = bytearray(draw(st.sampled_from(good)))
    for _ in range(draw(st.integers(1, 4))):
        base[draw(st.integers(0, len(base) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.integers(1, len(base)))
    return bytes(base[: draw(st.sampled_from([cut, len(base)]))])


tables = st.text(st.sampled_from('l0,;\t\n"mse[]{}:1-.%e \r\0'), max_size=60).map(str.encode)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=80) | tables | contents(), suffix=st.sampled_from(SUFFIXES))
@example(content=b'{"l0": 1e999, "mse": [1]}', suffix=".json")
@example(content=b'[{"l0": {"a": 1}, "mse": []}]', suffix=".json")
@example(content=b'{"l0": ' + b"9" * 400 + b', "mse": 1}', suffix=".json")
def test_any_bytes_give_a_table_or_one_line(content, suffix, tmp_path):
    path = write(tmp_path, f"fuzz{suffix}", content)
    try:
        table = read(path)
    except TableError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(table, pd.DataFrame)
        assert table["l0"].dtype == np.float64
        assert len(read(path, backend="polars")) == len(table)


cells = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
)
names = st.sampled_from(
    "l0 L0 loss_recovered alive_pct d_sae k ce_sae ce_clean ce_ablated architecture ablation seed sparsity"
    " performance_hit doubts kl_se".split()
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(names, cells, max_size=8), max_size=5))
def test_any_records_give_a_table_or_one_line(records):
    try:
        table = metrics_table(records)
    except TableError as error:
        assert "\n" not in str(error)
    else:
        assert len(table) == len(records)
        assert_frame_equal(metrics_table(table), table)
        unmarked = table.copy()
        unmarked.attrs = {}
        with contextlib.suppress(TableError):  # an emptied column may give way to one that holds text
            metrics_table(unmarked)


def test_reading_is_quick_on_long_files(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"l0": rng.lognormal(3, 1, 200_000), "loss_recovered": rng.uniform(0, 1, 200_000)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    start = time.process_time()
    assert len(read(tmp_path / "t.csv")) == 200_000
    assert time.process_time() - start < 2  # 0.15 s on the machine this was written on
