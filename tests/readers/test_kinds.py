"""One table in every kind of file: read the same, or refused in words that say what would help."""

import bz2
import gzip
import io
import json
import lzma
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pyarrow
import pytest

import frontier
from frontier.readers import TableError, opening, read

L0 = [12.5, 25.25, 51.0, 102.75, 204.5]
RECOVERED = {"relu": [0.712, 0.801, 0.873, 0.921, 0.953], "topk": [0.802, 0.871, 0.919, 0.951, 0.971]}
FRAME = pd.DataFrame(
    [
        {"architecture": a, "l0": l0, "loss_recovered": r, "d_sae": 16384}
        for a, values in RECOVERED.items()
        for l0, r in zip(L0, values, strict=True)
    ]
)
CSV = FRAME.to_csv(index=False)
MARKDOWN = FRAME.to_markdown(index=False)
LEVELS = FRAME.set_axis(
    pd.MultiIndex.from_tuples(
        [("config", "architecture"), ("metrics", "l0"), ("metrics", "loss_recovered"), ("config", "d_sae")]
    ),
    axis=1,
)


def zipped(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return out.getvalue()


def zstd(content):
    out = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(out, "zstd") as stream:
        stream.write(content)
    return out.getvalue().to_pybytes()


def workbook(**sheets):
    pytest.importorskip("openpyxl", reason="openpyxl is not installed (extra excel)")
    out = io.BytesIO()
    with pd.ExcelWriter(out, engine="openpyxl") as writer:
        for name, frame in sheets.items():
            frame.to_excel(writer, sheet_name=name, index=False)
    return out.getvalue()


def savetxt():
    out = io.StringIO()
    plain = FRAME.assign(architecture=FRAME["architecture"].eq("topk").astype(int))
    np.savetxt(out, plain.to_numpy(), delimiter=",", header=",".join(plain.columns), fmt="%.10g")
    return out.getvalue().encode()


KINDS = {
    "t.csv.gz": lambda: gzip.compress(CSV.encode()),
    "t.tsv.gz": lambda: gzip.compress(FRAME.to_csv(index=False, sep="\t").encode()),
    "t.json.gz": lambda: gzip.compress(FRAME.to_json(orient="records").encode()),
    "t.parquet.gz": lambda: gzip.compress(FRAME.to_parquet()),
    "t.csv.bz2": lambda: bz2.compress(CSV.encode()),
    "t.jsonl.xz": lambda: lzma.compress(FRAME.to_json(orient="records", lines=True).encode()),
    "t.csv.zst": lambda: zstd(CSV.encode()),
    "t.csv.zip": lambda: zipped(inner__csv=CSV),
    "t.zip": lambda: zipped(inner__csv=CSV, README__md="notes", __MACOSX="x"),
    "t.xlsx": lambda: workbook(results=FRAME),
    "title.xlsx": lambda: workbook(
        results=pd.DataFrame([["Sweep", *[None] * 3], [None] * 4, list(FRAME), *FRAME.to_numpy().tolist()])),
    "other_sheet.xlsx": lambda: workbook(results=FRAME, empty=pd.DataFrame()),
    "beside_notes.xlsx": lambda: workbook(notes=pd.DataFrame({"see": ["below"]}), results=FRAME),
    "sheets.xlsx": lambda: workbook(
        **{a: g.drop(columns="architecture") for a, g in FRAME.groupby("architecture")}),
    "t.md": lambda: f"# Results\n\nSome words | about them.\n\n{MARKDOWN}\n\nMore words.\n".encode(),
    "bold.md": lambda: MARKDOWN.replace("topk", "**topk**").encode(),
    "t.txt": lambda: CSV.encode(),
    "cp1252.csv": lambda: CSV.replace("d_sae", "d_sae,größe").encode("cp1252"),
    "carriage_returns.csv": lambda: CSV.replace("\n", "\r").encode(),
    "windows.csv": lambda: CSV.replace("\n", "\r\n").encode(),
    "utf16_le.csv": lambda: CSV.encode("utf-16-le"),
    "utf16_be.csv": lambda: CSV.encode("utf-16-be"),
    "utf16.json": lambda: FRAME.to_json(orient="records").encode("utf-16-le"),
    "sep.csv": lambda: ("sep=;\n" + FRAME.to_csv(index=False, sep=";", decimal=",")).encode(),
    "sep_quoted.csv": lambda: ('"sep=\t"\r\n' + FRAME.to_csv(index=False, sep="\t")).encode(),
    "pipes.csv": lambda: FRAME.to_csv(index=False, sep="|").encode(),
    "comments.csv": lambda: f"# exported 2025-01-02\n# project: sae, run\n{CSV}# the end\n".encode(),
    "blank_lines.csv": lambda: ("\n\n" + CSV.replace("\ntopk", "\n\ntopk", 1) + ",,,\n").encode(),
    "title.csv": lambda: f"Results of sweep 3,,,\nmodel,gpt2-small,,\n{CSV}".encode(),
    "units.csv": lambda: CSV.replace("d_sae\n", "d_sae\n,(latents),,\n", 1).encode(),
    "levels.csv": lambda: LEVELS.to_csv(index=False).encode(),
    "levels_index.csv": lambda: LEVELS.to_csv().encode(),
    "concatenated.csv": lambda: (CSV[: CSV.index("topk")] + "architecture,l0,loss_recovered,d_sae\n"
                                 + CSV[CSV.index("topk"):]).encode(),
    "formulas.csv": lambda: CSV.replace("relu", '="relu"').replace("topk", '="topk"').encode(),
    "quoted_formulas.csv": lambda: CSV.replace("relu", '"=""relu"""').encode(),
    "on_its_side.csv": lambda: FRAME.T.to_csv(header=False).encode(),
    "nan.json": lambda: json.dumps([*FRAME.to_dict("records"), {"l0": float("nan")}]).encode(),
    "per_sae.json": lambda: json.dumps({"model": "m", "per_sae": FRAME.to_dict("records")}).encode(),
    "deep.json": lambda: json.dumps({"a": {"b": [{"c": {"records": FRAME.to_dict("records")}}]}}).encode(),
    "columns.json": lambda: json.dumps({"results": FRAME.to_dict("list"), "date": "x"}).encode(),
    "by_name.json": lambda: json.dumps(
        {"date": "x", "runs": {f"run {i}": r for i, r in enumerate(FRAME.to_dict("records"))}}).encode(),
    "by_family.json": lambda: json.dumps(
        {a: g.iloc[:, 1:].to_dict("records") for a, g in FRAME.groupby("architecture")}).encode(),
    "outer.json": lambda: json.dumps([{"arch": a, "saes": g.drop(columns="architecture").to_dict("records")}
                                      for a, g in FRAME.groupby("architecture")]).encode(),
}  # fmt: skip
"""Name and content of one file of each kind that holds `FRAME`."""


@pytest.mark.parametrize("name", KINDS)
def test_the_same_table_from_every_kind_of_file(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(KINDS[name]())
    table = read(path)
    table = table[table["l0"].notna()]
    assert table["l0"].tolist() == FRAME["l0"].tolist()
    assert table["loss_recovered"].tolist() == FRAME["loss_recovered"].tolist()
    assert table["architecture"].tolist() == FRAME["architecture"].tolist()
    assert set(table["dictionary_size"]) == {16384}


def test_a_header_in_a_comment_as_numpy_writes_it(tmp_path):
    (tmp_path / "t.csv").write_bytes(savetxt())
    table = read(tmp_path / "t.csv")
    assert table["l0"].tolist() == FRAME["l0"].tolist()
    assert table["loss_recovered"].tolist() == FRAME["loss_recovered"].tolist()


def test_what_was_left_out_around_a_table_is_said(tmp_path):
    said = {
        "comments.csv": "3 comment lines left out",
        "title.csv": "2 lines above the header left out",
        "concatenated.csv": "1 row equal to the header left out",
        "cp1252.csv": "it is not UTF-8 text: read as Windows' cp1252",
        "on_its_side.csv": "the table lies on its side (metrics as rows): turned",
    }
    for name, remark in said.items():
        (tmp_path / name).write_bytes(KINDS[name]())
        assert remark in frontier.notes(read(tmp_path / name))


def test_a_nameless_first_column_of_text_names_the_runs(tmp_path):
    named = FRAME.set_axis([f"run{i}" for i in range(10)], axis=0)
    named.to_csv(tmp_path / "t.csv")
    assert read(tmp_path / "t.csv")["run_id"].tolist() == list(named.index)
    FRAME.to_csv(tmp_path / "numbers.csv")
    assert "run_id" not in read(tmp_path / "numbers.csv")
    assert "Unnamed: 0" not in read(tmp_path / "numbers.csv")


TWO_LISTS = {"train": FRAME.to_dict("records"), "test": FRAME.to_dict("records")[:4]}
REFUSED = {
    "t.csv": {
        b"PK\x03\x04rest": "a ZIP archive or an Excel workbook",
        gzip.compress(CSV.encode()): "compressed with gzip",
        b"<!DOCTYPE html><html>": "a web page: download the raw file",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "git lfs pull",
        b'{"l0": 1, "mse": 2}': "JSON: let its name end in .json",
        CSV.replace("12.5,", "12,5,0,").encode(): "commas as decimal marks need quotes",
        CSV.replace("relu,12.5", '"relu,12.5').encode(): "seems cut off",
        b"l0\0,mse\n1,2\n": "zero bytes",
        b"architecture,topk,,gated,\n,l0,loss,l0,loss\nx,8,0.9,8,0.8\n": "stands in the header twice",
    },
    "t.csv.gz": {b"not gzip": "broken or cut off", gzip.compress(CSV.encode())[:-20]: "broken or cut off"},
    "t.csv.zst": {zstd(CSV.encode())[:30]: "broken or cut off"},
    "t.csv.xz": {lzma.compress(CSV.encode())[:60]: "broken or cut off"},
    "t.zip": {
        zipped(a__csv=CSV, b__csv=CSV): 'holds 2 tables (a.csv, b.csv); name one: rows_at="a.csv"',
        zipped(weights__pt="x"): "holds no table (weights.pt)",
        b"PK\x05\x06": "broken or cut off",
    },
    "t.json": {
        json.dumps(TWO_LISTS).encode(): "train (10 rows), test (4 rows); name one",
        b'[{"l0": 1, "mse": 2}, {"l0"': "the file seems cut off",
        b'{"l0": [1, 2 3], "mse": [1]}': "line 1, column 14 is not JSON",
    },
    "t.md": {f"{MARKDOWN}\n\n{MARKDOWN}".encode(): "2 Markdown tables"},
    "t.ods": {b"PK": "save its table as CSV"},
    "t.pkl": {b"\x80\x04": "a pickle, which can run code and is never opened"},
}


@pytest.mark.parametrize(
    ("name", "content", "words"), [(n, c, w) for n, cases in REFUSED.items() for c, w in cases.items()]
)
def test_refused_in_words(name, content, words, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError) as caught:
        read(tmp_path / name)
    assert words in str(caught.value)
    for talk in ("Traceback", "tokeniz", "Errno", "codec", "delimiter", "char "):
        assert talk not in str(caught.value)


def test_the_rows_are_named_where_there_are_several_places(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps(TWO_LISTS))
    assert len(read(tmp_path / "t.json", rows_at="test")) == 4
    with pytest.raises(TableError, match="no list of SAEs under 'tset'; did you mean 'test'"):
        read(tmp_path / "t.json", rows_at="tset")
    (tmp_path / "t.zip").write_bytes(zipped(a__csv=CSV, b__csv=CSV[: CSV.index("topk")]))
    assert len(read(tmp_path / "t.zip", rows_at="b.csv")) == 5
    (tmp_path / "t.xlsx").write_bytes(workbook(all=FRAME, some=FRAME[:3]))
    assert len(read(tmp_path / "t.xlsx", rows_at="some")) == 3
    with pytest.raises(TableError, match="2 sheets with cells \\(all, some\\); name one"):
        read(tmp_path / "t.xlsx")


# --- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst", ".zip"])
def test_bombs_are_refused_before_they_unfold(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr("frontier.readers.compressed.LARGEST", 10**6)
    bomb = b"l0,mse\n" + b"0" * 20_000_000
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd,
            ".zip": lambda c: zipped(a__csv=c)}  # fmt: skip
    path = tmp_path / f"t.csv{suffix}"
    path.write_bytes(pack[suffix](bomb))
    tracemalloc.start()
    with pytest.raises(TableError, match="unpacked it has"):
        read(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 15e6  # xz alone keeps 8 MB of what went before


def test_too_many_columns_and_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("frontier.readers.columnar.MOST_CELLS", 50_000_000)
    (tmp_path / "wide.csv").write_bytes(b"a," * 10**6 + b"b\n" + b"1," * 10**6 + b"2\n")
    with pytest.raises(TableError, match="1000001 columns, more than"):
        read(tmp_path / "wide.csv")
    rows = pyarrow.table({"l0": pyarrow.DictionaryArray.from_arrays(np.zeros(30_000_000, "i1"), [1.0])})
    pyarrow.parquet.write_table(rows.append_column("mse", rows["l0"]), tmp_path / "long.parquet")
    assert (tmp_path / "long.parquet").stat().st_size < 10**6
    with pytest.raises(TableError, match="more than the 50000000 cells"):
        read(tmp_path / "long.parquet")


def test_long_quoted_cells_are_no_columns(tmp_path):
    cell = json.dumps([0.1] * 100_000)
    (tmp_path / "t.csv").write_text(f'l0,mse,densities\n1,2,"{cell}"\n3,4,"{cell}"\n')
    assert read(tmp_path / "t.csv")["l0"].tolist() == [1, 3]


def test_excel_without_openpyxl_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "t.xlsx").write_bytes(zipped(xl="x"))
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(TableError, match=r"need openpyxl \(pip install sae-frontier\[excel\]\)"):
        read(tmp_path / "t.xlsx")


def test_decoding_is_said_only_where_something_was_guessed():
    assert opening.decode_table("größe".encode()) == ("größe", "")
    assert opening.decode_table("größe".encode("cp1252"))[0] == "größe"


def test_remarks_of_every_sheet_of_several_are_kept(tmp_path):
    titled = pd.DataFrame([["l0", "fvu"], [8, 0.1], [9, 0.2]], columns=["a title", " "])
    path = tmp_path / "t.xlsx"
    path.write_bytes(workbook(relu=titled, topk=titled))
    for name in ("relu", "topk"):
        assert any(
            f"sheet {name!r}: 1 line above the header left out" in n for n in frontier.notes(read(path))
        )
