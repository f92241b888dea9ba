"""Tables: golden files reviewed by eye, hostile names in every style, and what a reader must be able to find.

After a wanted change, `UPDATE_GOLDEN=1 pytest tests/test_tables.py` rewrites the golden files; read the diff.
"""

import html
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import frontier
from frontier.fits.frontier_fits import GroupFailure
from frontier.metrics.checks import TableError
from frontier.tables import fits_table, ratios_table, runs_table
from frontier.tables.latex import LATEX
from frontier.tables.styles import Field, Sheet, header, latex_number, latex_text, markdown_text, number_notes

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = [
    "a_b & c%",
    "$x^2$ {q}",
    "#1 \\input{/etc/passwd} ~^",
    "[relu] <b>|x|",
    "* star*_ `λ` −3",
    "two\nlines\x1b[31m",
]


def hostile_table():
    """Six families with hostile names on exact power laws of different height, with a little noise."""
    rows = [
        {
            "family": f,
            "site": "s_1&",
            "l0": float(l0),
            "loss_recovered": 1 - (0.3 + 0.1 * i) * l0**-0.8 * (1 + 0.02 * (-1) ** j),
        }
        for i, f in enumerate(HOSTILE)
        for j, l0 in enumerate((5, 10, 20, 40, 80))
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def hostile_fits():
    return frontier.fit(hostile_table(), "hill", by=["site"], errors="log")


@pytest.fixture(scope="module")
def ratios20(hill20):
    return frontier.ratio_table(hill20, "baseline")


@pytest.fixture(scope="module")
def mlp(layer20):
    return frontier.pareto.mark_pareto(layer20[layer20["site"] == "MLP"])


def assert_golden(text, name):
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("style", ["text", "markdown", "latex"])
def test_golden(style, hill20, ratios20, mlp, hostile_fits):
    assert_golden(fits_table(hill20, style), f"fits_{style}")
    assert_golden(ratios_table(ratios20, style), f"ratios_{style}")
    assert_golden(runs_table(mlp, style), f"runs_{style}")
    assert_golden(fits_table(hostile_fits, style), f"hostile_fits_{style}")


@pytest.mark.parametrize("style", ["text", "markdown", "latex", "html"])
def test_infinite_limits_and_failures_are_printed(style, hill20):
    wide = replace(hill20[0], parameters={**hill20[0].parameters, "k": frontier.Interval(1.49, 0.18, np.inf)})
    failure = GroupFailure({"site": "MLP", "family": "gated"}, "Two x values.", 2)
    text = fits_table(replace(hill20, fits=(wide,), failures=(failure,)), style)
    assert "not fitted" in text and "Two x values." in text
    assert (r"1.5 [0.18, $\infty$]" if style == "latex" else "1.5 [0.18, inf]") in text


# What stands where


def test_what_does_not_vary_stands_in_the_caption(hill20):
    first, _, heads, *_ = fits_table(hill20).splitlines()
    assert (
        first == "Hill fits of performance hit against sparsity: top = 1 fixed; additive errors; "
        "95 % profile intervals. The hill curve does not fit in 1 of 3 cells: k and n describe the formula, "
        "not the data (pooled curvature, p = 0.023)."
    )
    assert heads.split() == ["Site", "Family", "k", "n", "k", "/", "largest", "x", "Points", "Notes"]
    one = frontier.fit_points([0.01, 0.02, 0.04, 0.08], [0.1, 0.2, 0.3, 0.5], "power")
    alone = replace(
        frontier.fit(hostile_table(), "power", by=["site"]),
        fits=(replace(one, group={"site": "s", "family": "f"}),),
    )
    assert fits_table(alone).startswith("Power fits of y against x: site s; family f; ")


def test_values_are_rounded_to_their_intervals(hill20):
    rows = fits_table(hill20).splitlines()
    assert re.search(r"^Resid +baseline +1\.04 \[0\.76, 1\.55\] +1\.01 \[0\.89, 1\.15\] +11 +6 ", rows[4])
    assert re.search(r"^MLP +baseline +4\.9 \[0\.93, 186\.8\] ", rows[6])


def test_each_doubt_is_said_once_and_found_from_its_row(hill20):
    text = fits_table(hill20)
    said = [str(d) for f in hill20 for d in f.doubts]
    for number, doubt in enumerate(said, 1):
        assert text.count(doubt) == 1
        assert f"{number}. {doubt}" in text.splitlines()
    assert re.search(r"6 +1, 2$", text.splitlines()[4])


def test_no_notes_without_doubts(hill20):
    sure = replace(hill20, fits=tuple(replace(f, doubts=()) for f in hill20))
    assert "Notes" not in fits_table(sure)
    assert "minipage" in fits_table(sure, "latex")  # the caption stays


def test_what_was_said_about_the_whole_table_stands_in_the_caption(front20):
    fits = frontier.fit(front20, "hill", by=["site"], max_l0=200)
    text = fits_table(fits)
    for note in fits.notes:
        assert note[1:] in text.splitlines()[0]


def test_ratios_long_and_wide(ratios20):
    long, wide = ratios_table(ratios20), ratios_table(ratios20, wide=True)
    assert long.splitlines()[2].split()[:4] == ["Site", "Quantity", "At", "Ratio"]
    assert len([line for line in long.splitlines() if line.startswith(("Resid", "MLP", "Attn"))]) == 9
    assert len([line for line in wide.splitlines() if line.startswith(("Resid", "MLP", "Attn"))]) == 3
    assert "k ratio" in wide.splitlines()[2] and "Relative potency" in wide.splitlines()[2]
    for ratio in ratios20:
        assert (
            str(frontier.Interval(ratio.ratio, ratio.ratio_low, ratio.ratio_high)) in long
            and long.count("p (Holm)") == 1
        )


def test_two_quantities_make_a_wide_table(ratios20):
    frame = ratios20.to_frame()
    two = ratios_table(frame[frame["quantity"].isin(["k", "n"])])
    assert len([line for line in two.splitlines() if line.startswith(("Resid", "MLP", "Attn"))]) == 3
    assert r"$k$ ratio" in ratios_table(frame[frame["quantity"] == "k"], "latex")


def test_ratios_from_a_frame_equal_those_from_the_table(ratios20):
    strip = re.compile(r"; 95 % intervals|\n\n1\. .*", re.DOTALL)
    notes = re.compile(r" +(?:[\d, ]+|-+|Notes)$", re.MULTILINE)
    one, two = (
        notes.sub("", strip.sub("", ratios_table(r, wide=True))) for r in (ratios20, ratios20.to_frame())
    )
    assert one == two


def test_the_same_doubt_of_several_quantities_is_said_once(ratios20):
    assert ratios_table(ratios20).count("dictionary_size differs") == 1
    assert ratios_table(ratios20).count("Residual SD 0.00035 in gated") == 1


def test_no_ratio_is_a_table_as_well(ratios20):
    for style in ("text", "markdown", "latex", "html"):
        assert "No ratio" in ratios_table(replace(ratios20, ratios=()), style)


def test_runs_show_what_varies_and_why_rows_are_set_aside(mlp):
    text = runs_table(mlp)
    caption, _, heads, *rows = text.splitlines()
    assert "Model gemma-7b; site MLP; layer 20" in caption
    assert heads.split()[0] == "Family" and "Model" not in heads
    aside = next(r for r in rows if "-91.1" in r)
    assert aside.rstrip().endswith(" 1") and rows[-1] == "1. l0 is negative"


def test_runs_columns_can_be_chosen_and_derived(mlp):
    text = runs_table(mlp, columns=["model", "performance_hit"])
    assert text.splitlines()[0].split() == ["Model", "Performance", "hit", "Notes"]
    assert "0.2089" in text
    with pytest.raises(TableError, match="did you mean 'performance_hit'"):
        runs_table(mlp, columns=["performance_hti"])


def test_run_values_are_printed_with_their_standard_error():
    table = pd.DataFrame(
        {"l0": [10.0, 20.0], "loss_recovered": [0.91234, 0.95], "loss_recovered_se": [0.0021, np.nan]}
    )
    assert "0.9123 ± 0.0021" in runs_table(table)
    assert r"0.9123 $\pm$ 0.0021" in runs_table(table, "latex")


def test_run_numbers_keep_their_digits():
    table = pd.DataFrame(
        {
            "l0": [10.4, 124.8],
            "loss_recovered": [0.5, 0.25],
            "dictionary_size": [16384, 196608],
            "sparsity_setting": [9e-05, 0.001],
            "mse": [np.nan, 1234567.5],
        }
    )
    rows = [line.split() for line in runs_table(table).splitlines()[-2:]]
    assert rows == [["16384", "9e-05", "10.4", "0.50"], ["196608", "0.001", "124.8", "0.25", "1.235e+06"]]


@pytest.mark.parametrize("function", [fits_table, ratios_table, runs_table])
def test_an_unknown_style_is_named_with_the_nearest(function, hill20, ratios20, mlp):
    given = {fits_table: hill20, ratios_table: ratios20, runs_table: mlp}[function]
    with pytest.raises(ValueError, match="unknown table style 'latx'; did you mean 'latex'"):
        function(given, style="latx")


# Hostile names


def test_html_escapes_every_name(hostile_fits):
    table = pd.DataFrame(hostile_table()).assign(family="<script>alert(1)</script>", doubts="<img src=x>")
    for text in (
        fits_table(hostile_fits, "html"),
        runs_table(table, "html"),
        ratios_table(hostile_ratios(hostile_fits), "html"),
    ):
        tags = set(re.findall(r"</?([a-zA-Z]+)", text))
        assert tags <= {"div", "table", "caption", "thead", "tbody", "tr", "th", "td", "ol", "li"}
        assert "<b>" not in text
    assert html.escape("[relu] <b>|x|") in fits_table(hostile_fits, "html")


def hostile_ratios(fits):
    return frontier.ratio_table(fits, HOSTILE[0])


def test_latex_holds_no_command_from_a_name(hostile_fits):
    for text in (
        fits_table(hostile_fits, "latex"),
        ratios_table(hostile_ratios(hostile_fits), "latex"),
        runs_table(hostile_table(), "latex"),
    ):
        needs, text = text.split("\n", 1)
        assert needs == r"% needs \usepackage{booktabs}"
        commands = set(re.findall(r"\\([a-zA-Z]+)", text))
        assert commands <= {
            "begin", "end", "toprule", "midrule", "bottomrule", "par", "smallskip", "noindent", "linewidth",
            "footnotesize", "scriptsize", "sloppy", "rightskip", "relax",
            "begingroup", "endgroup", "setlength", "tabcolsep",
            "textsuperscript", "times", "infty", "textbackslash", "textasciitilde",
            "textasciicircum", "textless", "textgreater", "textbar", "lambda",
        }  # fmt: skip
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        bare = re.sub(r"\\[\\&%#_{}$,]", "", text)
        assert not re.search(r"[%#]", bare)
        assert bare.count("$") % 2 == 0
        columns = {len(re.findall(r"(?<!\\)&", line)) for line in text.splitlines() if line.endswith(r"\\")}
        assert len(columns) == 1
        assert not re.search(r"^[\[*]", text, re.MULTILINE)  # would be the argument of the row end before it


@given(st.one_of(st.text(), st.text(alphabet='\\\\{}$^~#%&_|<>"\nwrite18', max_size=30)))
@example(r"\immediate\write18{touch a}")
@example(r'\input{|"touch a"}')
@example("^^5cinput{/etc/passwd}")
def test_latex_of_any_text_is_no_command_but_those_of_single_signs(text):
    """So that `pdflatex -shell-escape` runs nothing that a name says."""
    written = latex_text(text)
    signs = "|".join(map(re.escape, sorted({*LATEX.values(), "$-$"}, key=len, reverse=True)))
    assert not re.search(r"[\\{}$%#&_^~]", re.sub(signs, "", written))


def test_markdown_keeps_its_columns_and_holds_no_markup(hostile_fits):
    text = fits_table(hostile_fits, "markdown")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert "<b>" not in text and r"\`" in text


def test_text_holds_no_control_characters(hostile_fits):
    assert "\x1b" not in fits_table(hostile_fits) and "two lines [31m" in fits_table(hostile_fits)


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ("6.0 [4.3, 8.5]", "6.0 [4.3, 8.5]"),
        ("1.5 [0.18, inf]", r"1.5 [0.18, $\infty$]"),
        ("-0.5 [-inf, 0.1]", r"$-0.5$ [$-\infty$, 0.1]"),
        ("4e-07", r"$4\times10^{-7}$"),
        ("1e-07", "$10^{-7}$"),
        ("1.2e+06", r"$1.2\times10^{6}$"),
        ("not fitted", "not fitted"),
        ("", ""),
    ],
)
def test_latex_numbers(given, want):
    assert latex_number(given) == want


def test_small_parts():
    assert latex_text("−½") == "$-$½"
    assert markdown_text("_a_ b_c") == r"\_a\_ b_c"
    assert number_notes([[], []]) == (["", ""], [])
    assert [header(n) for n in ("l0", "loss_recovered", "k", "")] == ["L0", "Loss recovered", "k", ""]
    empty = Sheet("", (Field("Site", []), Field("k", [])))
    assert empty.write("text").split() == ["Site", "k", "----", "-"]
    assert empty.write("latex").endswith("\\midrule\n\\bottomrule\n\\end{tabular}")
