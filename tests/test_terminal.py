"""What is printed fits the terminal, says nothing twice, and is obeyed by no terminal."""

import itertools
import re
import textwrap
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from commands import sae_frontier
from hypothesis import given
from hypothesis import strategies as st

import frontier
from frontier.doubts import Doubt, Kind
from frontier.results import held, telling
from frontier.text_tables import abbreviations, paragraph, text_table
from frontier.views import View

ESCAPE = "\x1b[31m\x1b]0;owned\x07"
FAMILIES = (
    "relu",
    "gated",
    "topk",
    "batch_topk",
    "jumprelu",
    "matryoshka_batch_topk",
    "p_anneal",
    "gated_v2",
)


def study(groups, families):
    """Hill frontiers of as many groups and families, 10 % noise, names as SAELens writes them."""
    noise, rows = np.random.default_rng(1), []
    for g in range(groups):
        cell = {
            "model": ("gemma-2-2b", "pythia-70m-deduped")[g % 2],
            "site": f"blocks.{g // 2}.hook_resid_post",
        }
        for i, family in enumerate(FAMILIES[:families]):
            x = np.geomspace(0.004, 0.2, 8)
            y = frontier.hill(x / (0.7 + 0.4 * i), 0.5, 0.9) * np.exp(0.1 * noise.standard_normal(8))
            rows += [
                {**cell, "architecture": family, "l0": 1 / a, "loss_recovered": 1 - b}
                for a, b in zip(x, y, strict=True)
            ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def found():
    return frontier.compare(study(3, 3))


def grown(found, groups, families):
    """The comparisons again and again, as those of so many groups and families."""
    cells = study(groups, 1)[["model", "site"]].drop_duplicates().to_dict("records")
    pairs = [(cell, family) for cell in cells for family in FAMILIES[1:families]]
    again = itertools.cycle(found)
    many = tuple(replace(next(again), group=cell, family=family) for cell, family in pairs)
    return replace(found, comparisons=many).with_curves(lambda: (found.fits, found.ratios))


@pytest.mark.parametrize(("groups", "families", "lines"), [(3, 3, 25), (4, 5, 35), (10, 5, 35), (42, 8, 40)])
def test_a_comparison_is_one_screen(found, groups, families, lines):
    many = grown(found, groups, families)
    for width in (80, 140):
        text = many.to_text(width=width)
        assert len(text.splitlines()) <= lines
        assert max(map(len, text.splitlines())) <= width
        remarks = re.split(r"\n\* ", text)[1:]
        assert len(remarks) <= 10 and len(set(remarks)) == len(remarks)
    whole = many.to_text(width=80, verbose=True)
    assert max(map(len, whole.splitlines())) <= 80
    said = re.split(r"\n+\* ", whole)[1:]
    assert len(set(said)) == len(said)  # nothing twice
    flat = " ".join(whole.split())
    for doubt in {d for c in many for d in c.doubts}:
        assert str(doubt) in flat  # and nothing lost


def test_many_cells_are_counted_family_by_family(found):
    many = grown(found, 42, 4)
    view = many._view()
    assert view.headers[0] == "family" and [row[0] for row in view.rows]
    verdicts = [h for h in view.headers if h in {c.verdict for c in many}]
    for row in view.rows:
        own = [c for c in many if c.family == row[0]]
        assert [int(n) for n in row[1 : 1 + len(verdicts)]] == [
            sum(c.verdict == v for c in own) for v in verdicts
        ]
    medians = [float(row[1 + len(verdicts)]) for row in view.rows]
    assert medians == sorted(medians, reverse=True) and len(set(medians)) > 1


def test_what_a_screen_leaves_out_is_counted():
    doubts = tuple((f"layer {i}", Doubt(Kind.tie, f"Tie {i}.")) for i in range(7))
    rows = tuple((str(i), "x") for i in range(50))
    view = View("Title", ("row", "cell"), rows, tuple(f"remark {i}." for i in range(6)), doubts)
    short, whole = view.text(80), view.text(80, verbose=True)
    assert "… 6 more rows, 1 more remark, 7 doubts: print(result.to_text(verbose=True))" in short
    assert "remark 4." in short and "remark 5." not in short and "Curves tie in 7 cells." in short
    assert "…" not in whole and all(f"layer {i}: Tie {i}." in whole for i in range(7)) and "49 " in whole
    told = view.without(["remark 0."], doubts[:6])
    assert "remark 0." not in told.text(80) and told.doubts == doubts[6:] and len(told.remarks) == 5
    assert "hidden" not in View("Title", ("a",), (("b",),)).text(80)


def test_columns_that_go_together_are_shown_once():
    groups = [{"site": f"blocks.{i}.mlp", "layer": i, "model": m, "seed": 1} for i in (3, 12) for m in "ab"]
    rows = [SimpleNamespace(group=g) for g in groups]
    columns = ["site", "layer", "model", "seed"]
    assert telling(columns, rows) == ["layer", "model"]
    assert held(columns, rows) == " (seed 1)" and held(columns, rows, ["seed"]) == ""


@pytest.mark.parametrize("width", [40, 80, 140])
def test_every_result_fits(found, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    fits = found.fits
    shown = [found, fits, fits.fits[0], found.ratios, found.observed, found[0], found[0].potency]
    shown += [
        frontier.pool_ratios(found.ratios, family="topk"),
        frontier.select_curve(fits.fits[0], replicates=20),
    ]
    for result in shown:
        assert max(map(len, repr(result).splitlines())) <= width, result


WORDS = st.text("abcxyz.-_0123456789", min_size=1, max_size=14)
CELLS = st.lists(WORDS, max_size=4).map(" ".join)


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.tuples(
            st.lists(WORDS, min_size=n, max_size=n),
            st.lists(st.lists(CELLS, min_size=n, max_size=n), max_size=5),
        )
    ),
    st.integers(30, 90),
)
def test_a_table_of_any_words_fits_and_splits_none(table, width):
    headers, rows = table
    text, key = text_table(headers, rows, width)
    assert max(map(len, text.splitlines())) <= width
    known = {word for row in (headers, *rows) for cell in row for word in cell.split()}
    short = {line.split(" = ")[0].split(": ")[-1] for line in key}
    for word in text.split():
        assert word in known or set(word) == {"-"} or "…" in word or any(word in s.split(", ") for s in short)


@given(st.lists(WORDS, min_size=1, max_size=30), st.integers(6, 20))
def test_short_names_stay_different(names, length):
    short, _ = abbreviations(names, length)
    shown = [short.get(n, n) for n in dict.fromkeys(names)]
    assert len(set(shown)) == len(shown) and all(len(s) <= length for s in shown)


def test_names_that_differ_in_the_middle_get_different_short_forms():
    names = [f"aaaaaaaa{letter}bbbbbbbb" for letter in "xyz"]
    short, key = abbreviations(names, 8)
    assert len(set(short.values())) == 3 and all(len(v) <= 8 for v in short.values())
    assert key == [f"{short[n]} = {n}" for n in names]


def test_columns_of_wide_letters_stand_straight():
    table, _ = text_table(["family", "is"], [["日本語", "better"], ["relu", "worse"]], 80)
    head, rule, one, two = table.splitlines()
    assert head.index("is") == two.index("worse") == 8  # "日本語" takes six columns
    assert one == "日本語" + "  " + "better"
    assert rule == "------  ------"


def test_a_paragraph_is_the_words_in_lines():
    text = "k of group Resid is 11 times the largest x; it is an extrapolation."
    lines = paragraph(text, 30, "* ").splitlines()
    assert max(map(len, lines)) <= 30 and textwrap.dedent(" ".join(lines)).split()[1:] == text.split()


# --- A terminal obeys nothing that comes from a file, a name or an argument -------------------------------


@pytest.fixture
def hostile(tmp_path):
    table = study(2, 3).replace({"gated": f"gated{ESCAPE}", "gemma-2-2b": f"gemma{ESCAPE}"})
    table.loc[0, "l0"] = -1
    path = tmp_path / "table.csv"
    table.assign(**{f"extra{ESCAPE}": 1}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "{path}"],
        ["compare", "{path}", "--verbose"],
        ["pareto", "{path}"],
        ["fit", "{path}", "--verbose"],
        ["fit", "{path}", "--by", f"site{ESCAPE}"],
        ["compare", "{path}", "--reference", f"gate{ESCAPE}"],
        ["compare", f"{{path.parent}}/no{ESCAPE}file.csv"],
        ["compare", "{path}", f"another{ESCAPE}.csv"],
        ["compare", "{path}", f"--opt{ESCAPE}"],
        ["compare", "{path}", "--curve", f"hil{ESCAPE}"],
        ["compare", "{path}", "--level", f"0.9{ESCAPE}"],
        [f"comp{ESCAPE}"],
    ],
)
def test_no_escape_sequence_reaches_the_terminal(hostile, arguments):
    done = sae_frontier(*(a.format(path=hostile) for a in arguments))
    for stream in (done.stdout, done.stderr):
        assert "\x1b" not in stream and "\x07" not in stream
    assert (done.returncode == 0) == (done.stderr == "")
    assert done.stderr.count("\n") <= 1


CALLS = {
    "a file": lambda t: frontier.read(f"no{ESCAPE}.csv"),
    "a reference": lambda t: frontier.compare(t, f"gate{ESCAPE}", by="site"),
    "a group": lambda t: frontier.fit(t, by=f"site{ESCAPE}"),
    "a metric": lambda t: frontier.fit(t, y=f"mse{ESCAPE}"),
    "a curve": lambda t: frontier.fit(t, f"hil{ESCAPE}"),
    "a condition": lambda t: frontier.read(t, where=f"l0{ESCAPE} == 1"),
    "a column": lambda t: frontier.read(t, columns={f"theirs{ESCAPE}": "l0"}),
    "a fit": lambda t: frontier.fit(t, "power", by=["model", "site"])[f"gate{ESCAPE}"],
    "groups of the table": lambda t: frontier.observed_potency(t, by="site"),
    "names of the table": lambda t: print(repr(frontier.fit(t, "power", by=["model", "site"]))),
    "remarks": lambda t: print(*frontier.notes(frontier.read(t.assign(**{f"loss {ESCAPE}": "x"}))), sep="\n"),
}


@pytest.mark.parametrize("call", CALLS)
def test_no_escape_sequence_reaches_a_notebook_or_a_traceback(call, capsys):
    table = study(2, 2).replace({"gated": f"gated{ESCAPE}", "gemma-2-2b": f"gemma{ESCAPE}"})
    said = ""
    try:
        CALLS[call](table.assign(site="mlp"))
    except (ValueError, KeyError) as error:
        said = f"{error}"
    out, err = capsys.readouterr()
    assert said + out
    for text in (said, out, err):
        assert "\x1b" not in text and "\x07" not in text


@pytest.mark.parametrize("command", ["pareto", "fit", "compare", "report", "calibrate"])
def test_out_of_memory_is_one_line(tmp_path, monkeypatch, command):
    def read(*_, **__):
        raise MemoryError("Unable to allocate 74.5 GiB")

    monkeypatch.setattr("frontier.readers.read", read)
    monkeypatch.setattr("frontier.html_report.writing.read", read, raising=False)
    done = sae_frontier(command, tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "out of memory (Unable to allocate 74.5 GiB)" in done.stderr


@pytest.mark.parametrize(
    ("one", "two", "shown"),
    [
        (("resid_post.0", 0), ("mlp_out.1", 1), ["site"]),  # sites of two layers are no layers
        (("Resid", 20), ("MLP", 21), ["site", "layer"]),
        (("blocks.1.mlp", 1), ("blocks.11.mlp", 11), ["layer"]),
        (("mlp.10.x", 0), ("mlp.11.x", 1), ["site", "layer"]),  # a part of a number is not that number
    ],
)
def test_of_columns_that_go_together_the_longer_is_shown_where_it_says_more(one, two, shown):
    rows = [SimpleNamespace(group=dict(zip(("site", "layer"), g, strict=True))) for g in (one, two)]
    assert telling(["site", "layer"], rows) == shown
