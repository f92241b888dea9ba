"""Names out of papers and of pandas' tables of groups: what stands around them goes, and is said."""

import pandas as pd
import pytest

import frontier

L0 = [8.0, 16.0, 32.0, 64.0]
HIT = {"relu": [0.5, 0.4, 0.3, 0.2], "topk": [0.4, 0.3, 0.2, 0.1]}


def table(names, **columns):
    """Two families, four SAEs each, three runs of each SAE 1 % apart."""
    rows = [
        {"architecture": names[f], "i": i, "l0": l0 * (1 + 0.01 * j), "loss_recovered": 1 - y, **columns}
        for f, hits in HIT.items()
        for i, (l0, y) in enumerate(zip(L0, hits, strict=True))
        for j in (-1, 0, 1)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("dressed", ["$topk$", "<b>topk</b>", r"\textbf{topk}", "**topk**"])
def test_what_is_taken_off_a_name_is_said(tmp_path, dressed):
    table({"relu": "relu", "topk": dressed}).to_csv(tmp_path / "t.csv", index=False)
    read = frontier.read(tmp_path / "t.csv")
    assert set(read["architecture"]) == {"relu", "topk"}
    assert f"read {dressed!r} as 'topk'" in frontier.notes(read)


def test_numbers_and_headers_are_taken_off_in_silence(tmp_path):
    lines = [r"architecture,L0 $\downarrow$,loss_recovered", r"relu,8,\textbf{0.5}", "relu,16,$0.6$"]
    (tmp_path / "t.csv").write_text("\n".join([*lines, "topk,8,0.7", "topk,16,0.8"]))
    assert not any(note.startswith("read ") for note in frontier.notes(frontier.read(tmp_path / "t.csv")))


def test_index_columns_of_pandas_groups_have_their_names(tmp_path):
    """Under a header of two rows pandas writes the names of the index into a row of their own."""
    groups = table({"relu": "relu", "topk": "topk"}).groupby(["architecture", "i"]).agg(["mean", "std"])
    groups.to_csv(tmp_path / "t.csv")
    read = frontier.read(tmp_path / "t.csv")
    assert read["architecture"].tolist() == ["relu"] * 4 + ["topk"] * 4
    assert read["l0"].tolist() == pytest.approx(L0 * 2)
    assert read["excluded_because"].isna().all()
