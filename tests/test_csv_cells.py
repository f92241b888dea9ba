"""CSV files: no cell runs as a formula in a spreadsheet, and every text comes back."""

import csv

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frontier
from frontier.csv_cells import quoted, unquoted
from frontier.outputs import write_frame

FORMULAS = ('=HYPERLINK("http://x")', "+1+1", "-2+3", "@SUM(A1)", "'=x", "=cmd|' /C calc'!A0", "-gated",
            "\uff1d1+1", "\uff20SUM(A1)")  # fmt: skip


@given(st.text("'=+-@12.eE%ax \t\r\0\uff1d\uff0b\uff0d\uff20", max_size=8))
def test_every_text_comes_back(text):
    assert unquoted(quoted(text)) == text
    if quoted(text).strip(" \t\r\0")[:1] in {*"=+-@\uff1d\uff0b\uff0d\uff20"}:  # as OWASP lists them
        float(quoted(text).rstrip("% \t\r"))  # a number alone may begin so


@pytest.mark.parametrize("family", FORMULAS)
def test_a_table_of_formulas_is_inert_and_comes_back(tmp_path, family):
    rows = [
        {"architecture": name, "-note": "=1", "l0": l0, "loss_recovered": 1 - 0.5 / l0, "delta_ce": -0.1}
        for name in ("relu", family)
        for l0 in (5.0, 10.0, 20.0)
    ]  # fmt: skip
    write_frame(pd.DataFrame(rows), tmp_path / "table")
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [c for c in cells if c[:1] in ("=", "+", "@") or (c[:1] == "-" and c != "-0.1")]
    back, same = (frontier.read(tmp_path / f"table.{kind}") for kind in ("csv", "parquet"))
    assert back["architecture"].tolist() == same["architecture"].tolist() == [r["architecture"] for r in rows]
    assert back["-note"].tolist() == ["=1"] * 6 and back["delta_ce"].tolist() == [-0.1] * 6
