"""Tables of many families, cells and long names on a page: measured in matplotlib's Computer Modern."""

import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

import frontier
from frontier.tables.latex import latex_sheets
from frontier.tables.styles import Field, Sheet
from frontier.text_tables import page_blocks

LINE = 397
"""Points of a line of NeurIPS."""
SIZES = {r"\footnotesize": 8 * 1.06, r"\scriptsize": 7 * 1.12}
"""Points of small letters, as wide as those of cmr8 and cmr7 are beside cmr10's."""
ROMAN = Path(mpl.get_data_path()) / "fonts" / "ttf" / "cmr10.ttf"
NAMES = [
    "Gated SAE (Rajamanoharan et al. 2024), tied init", "JumpReLU-tanh", "TopK + AuxK 1/32", "BatchTopK",
    "Matryoshka BatchTopK (5 groups)", "P-anneal", "AbsTopK", "matching_pursuit_v2", "HierarchicalTopK",
    "Switch SAE 8 experts and routing", "ReLU penalty", "sparse ProLU", "GBA",
]  # fmt: skip


def plain(cell):
    """What is printed of a cell, nearly."""
    bare = re.sub(r"\\rightskip 0pt plus 1fil\\relax |\\num\b|[{}$]", "", cell)
    return re.sub(r"\\textasciicircum|\\times|\\[_%&#]", "_", bare).strip()


def points(text, size):
    font = FontProperties(fname=ROMAN, size=size)
    return text_to_path.get_text_width_height_descent(text, font, False)[0] if text else 0.0


def widths(latex):
    """Of every tabular, in points, with the letters and gaps that it asks for."""
    for begin, kinds, body in re.findall(
        r"(\\begingroup[^\n]*\n)?\\begin\{(?:tabular|longtable)\}\{@\{\}([^\n]*)@\{\}\}\n(.*?)\\end\{(?:tab|long)",
        latex,
        re.S,
    ):
        command = re.search(r"\\(?:footnote|script)size", begin)
        size = SIZES[command[0]] if command else 10
        gap = float(re.search(r"\{(\d+)pt\}", begin)[1]) if begin else 6
        rows = [re.split(r"(?<!\\)&", line.removesuffix(r"\\")) for line in body.split("\n") if "&" in line]
        columns = re.findall(r"p\{([\d.]+)em\}|([lrc])", kinds)
        assert all(len(row) == len(columns) for row in rows)
        total = 2 * gap * (len(columns) - 1)
        for (given, _), cells in zip(columns, zip(*rows, strict=True), strict=True):
            pieces = " ".join(map(plain, cells)).split() if given else map(plain, cells)
            longest = max(points(piece, size) for piece in pieces)
            assert not given or longest < 1.05 * float(given) * size, cells  # no word beyond its column
            total += float(given) * size if given else longest
        yield total


def compared(families, layers):
    """Power laws of different height, with seeded noise."""
    rng, l0 = np.random.default_rng(0), np.geomspace(15, 250, 6)
    rows = [
        pd.DataFrame({"family": f, "layer": n, "l0": l0,
                      "fvu": (1 + 0.05 * i) * l0**-0.8 * rng.lognormal(0, 0.02, 6)})
        for n in range(layers) for i, f in enumerate(("relu", *families))
    ]  # fmt: skip
    return frontier.compare(pd.concat(rows, ignore_index=True), "relu")


@pytest.fixture(scope="module")
def few_cells():
    return compared(NAMES, 4)


@pytest.fixture(scope="module")
def many_cells():
    return compared(NAMES, 16)


def test_every_latex_table_of_many_families_fits_a_page(few_cells, many_cells):
    found = [*widths(few_cells.to_latex()), *widths(many_cells.to_latex())]
    assert len(found) > 8
    assert max(found) < LINE


@pytest.mark.parametrize("siunitx", [False, True])
def test_a_table_cut_for_a_page_keeps_every_cell_beside_its_row(siunitx):
    """Thirty columns, two of which name the rows."""
    names = [Field("site", ["mlp", "mlp", "attn"]), Field("layer", ["3", "12", "3"])]
    cells = [Field(f"method {i}", [f"{i}.{row}" for row in range(3)], numeric=True) for i in range(28)]
    text = Sheet("All of them", (*names, *cells), siunitx=siunitx).write("latex")
    parts = text.split(r"\medskip")
    assert len(parts) > 1
    assert max(widths(re.sub(r"S\[.*?\]", "l", text))) < LINE
    lines = [[plain(c) for c in re.sub(r" *\\\\$", "", line).split("&")] for line in text.split("\n")]
    for row, key in enumerate((["mlp", "3"], ["mlp", "12"], ["attn", "3"])):
        own = {cell for line in lines if line[:2] == key for cell in line[2:]}
        assert own == {f"{i}.{row}" for i in range(28)}


def test_every_block_of_a_cut_table_names_its_rows():
    """By site, family and quantity together, also where their names take more than half of a page."""
    rows = [(s, f"family_{i}_of_a_long_name", q, *["1.234 [1.123, 1.345]"] * 4)
            for s in ("mlp", "resid") for i in range(9) for q in ("k ratio", "relative potency")]  # fmt: skip
    heads = ["site", "family", "quantity", *(f"ratio {i}" for i in range(4))]
    blocks = page_blocks(heads, rows, 70)
    assert len(blocks) > 1
    for block in blocks:
        assert list(block)[:3] == [0, 1, 2]


def test_a_table_longer_than_a_page_is_a_longtable_and_the_first_line_asks_for_it():
    short, long = (
        Sheet("", (Field("family", [f"a{i}" for i in range(n)]), Field("k", ["0.5"] * n, numeric=True)))
        for n in (30, 60)
    )
    assert "longtable" not in short.write("latex")
    text = latex_sheets([short, long])
    assert text.startswith("% needs \\usepackage{booktabs,longtable}\n")
    assert text.count("\\begin{tabular}") == text.count("\\begin{longtable}") == 1 == text.count("% needs")


def test_more_families_than_cells_stand_below_each_other(few_cells):
    """Down the page, the cells across, each number beside its family; intervals follow pair by pair."""
    view = few_cells._view()
    assert view.headers == ("family", *(f"layer {i}" for i in range(4)))
    assert [row[0] for row in view.rows] == NAMES
    one = few_cells[2, "GBA"]
    assert view.rows[-1][3].endswith(frontier.wording.number(one.potency.ratio))
    pairs = view.details[0]
    assert len(pairs.rows) == len(few_cells)
    assert all("[" in row[pairs.headers.index("relative potency [95 %]")] for row in pairs.rows)


def test_one_cell_of_many_families_is_a_list_with_intervals():
    view = compared([f"f{i}" for i in range(20)], 1)._view()
    assert len(view.rows) == 20 and all("[" in row[2] for row in view.rows)


def test_notes_without_a_mark_in_the_table_are_paragraphs(few_cells):
    notes = few_cells.to_latex().split(r"\end{tabular}")[1].split(r"\par\endgroup")[0]
    assert notes.count(r"\par\noindent\textbullet{}") == len(few_cells._view().said(verbose=True))
    assert r"\textsuperscript" not in notes


def test_tables_of_html_scroll_by_themselves(few_cells):
    for page in (few_cells.to_html(), few_cells._repr_html_(), few_cells.ratios.to_html()):
        assert page.count("<table") == page.count('<div style="overflow-x: auto"><table')
