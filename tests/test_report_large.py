"""Pages of large tables: what is left out, evenly, and said; what is counted is counted over everything."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frontier
from benchmarks.rows import table as many_rows
from frontier.html_report import excerpt as excerpts
from frontier.html_report.excerpt import compared, evenly, excerpt, spread


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 120))
def test_every_class_keeps_as_many_evenly_spread(sizes, most):
    codes = np.repeat(np.arange(len(sizes)), sizes)
    kept = evenly(codes, most)
    counts = [int(kept[codes == i].sum()) for i in range(len(sizes))]
    quota = max(counts)
    assert counts == [min(n, quota) for n in sizes] and sum(counts) <= most
    assert sum(min(n, quota + 1) for n in sizes) > most or kept.all()  # one more each would be too many
    for i, n in enumerate(sizes):
        gaps = np.diff(np.flatnonzero(kept[codes == i]))
        assert gaps.size == 0 or gaps.max() - gaps.min() <= 1
        assert counts[i] == 0 or (kept[codes == i][-1] and n > 0)


def test_points_of_a_figure_are_spread_over_l0():
    l0 = np.random.default_rng(0).permutation(np.arange(100.0))
    at = np.sort(l0[spread(l0, 20)])
    assert len(at) == 20 and (np.diff(at) == 5).all() and spread(l0, 100).tolist() == list(range(100))
    assert len(spread(l0, 0)) == 2  # a curve without any point would say nothing


@pytest.fixture(scope="module")
def large():
    """Ten layers, two families, 14 SAEs each, one unusable."""
    table = many_rows(280, 10)
    table.loc[5, "loss_recovered"] = 7.0
    table = frontier.metrics_table(table)
    return table, frontier.compare(table, "relu")


def test_what_is_compared_is_found_by_its_coordinates(large):
    table, found = large
    known = {
        (*map(str, s.group.values()), n, f"{z:.9g}", f"{y:.9g}")
        for s in found.shapes
        for n, z, y in zip(s.names, s.z, s.y, strict=True)
    }  # as text, number by number
    columns = zip(table["layer"], table["family"], table["l0"], table["loss_recovered"], strict=True)
    wanted = [(str(a), f, f"{np.log(x):.9g}", f"{1 - y:.9g}") in known for a, f, x, y in columns]
    marks = compared(found, table, "performance_hit")
    assert marks.tolist() == wanted and 200 < marks.sum() < 280 and not marks[5]


def test_a_part_is_shown_and_said_and_all_is_counted(large, tmp_path, monkeypatch):
    table, found = large
    whole = frontier.report(found, tmp_path / "whole.html", table=table).read_text(encoding="utf-8")
    monkeypatch.setattr(excerpts, "SAES", 56)
    monkeypatch.setattr(excerpts, "CELLS", 4)
    text = frontier.report(found, tmp_path / "part.html", table=table).read_text(encoding="utf-8")
    lead = re.compile(r'<p class="lead">(.*?)</p>')
    assert lead.search(text)[1] == lead.search(whole)[1] and "10 cells" in lead.search(text)[1]
    assert "280 SAEs in the table" in text and "Of 10 cells the first 4 are shown one by one" in text
    assert "Of 280 SAEs 56 are drawn and listed" in text and "drawn and listed" not in whole
    drawn = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    assert [p["label"] for p in drawn["frontier"]["panels"]] == [f"Layer {i}" for i in range(4)]
    assert (
        sum(len(p["name"]) for p in drawn["frontier"]["panels"]) == 56 == text.count('<tr class="compared">')
    )
    assert len(drawn["collapse"]) == len(drawn["fits"]["panels"]) == 4
    assert text.count("<article") == 4 and whole.count("<article") == 10


def test_with_many_families_fewer_cells_are_told(large, monkeypatch):
    table, found = large
    monkeypatch.setattr(excerpts, "COMPARISONS", 3)
    part = excerpt(found, table, "performance_hit")
    assert (part.told, part.cells, len(part.found)) == (3, 10, 3)
    assert len(part.found.fits) == 6 and {r.group["layer"] for r in part.found.ratios} <= {0, 1, 2}


def test_compared_saes_are_shown_first(large, monkeypatch):
    table, _ = large
    searched = frontier.compare(table, "relu", rows="pareto")
    whole = excerpt(searched, table, "performance_hit")
    assert 200 < whole.compared < 260 and len(whole.table) == 280 and not (whole.of_rows or whole.of_cells)
    monkeypatch.setattr(excerpts, "SAES", 275)
    part = excerpt(searched, table, "performance_hit")
    assert part.marks.sum() == whole.compared < len(part.table) <= 275


def test_rows_set_aside_are_counted_where_they_are_many(monkeypatch):
    from frontier.html_report import contents

    table = frontier.metrics_table(pd.DataFrame({"l0": range(-8, -2), "loss_recovered": [0.9] * 6}))
    monkeypatch.setattr(contents, "SET_ASIDE", 2)
    told = contents.excluded(table)
    assert [name for name, _ in told] == ["row 0", "row 1", "4 more"]


@pytest.mark.slow
def test_a_page_of_many_saes_stays_small(tmp_path):
    """Beyond every bound: 12,600 SAEs in 2,100 cells, which as a whole would take 18 MB, 5 of them Plotly."""
    assert excerpts.SAES < 12_600 and excerpts.CELLS < 2_100 and excerpts.COMPARISONS < 2_100
    path = tmp_path / "sweep.csv"
    many_rows(12_600, 2_100).to_csv(path, index=False)
    assert frontier.report(path, tmp_path / "r.html", "relu").stat().st_size < 12e6
