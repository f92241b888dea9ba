"""Figures as files: equal bytes, embedded letters, PGF; and the gallery."""

import re
import shutil
import subprocess

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

import frontier
from frontier import gallery
from frontier.figures import (
    files,
    paper_style,
    plot_evidence,
    plot_fits,
    plot_ratios,
    save_figure,
)
from frontier.figures.fits import draw_fit
from tests.test_figures import power_families

LATEX = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX is installed (pdflatex)")
WITH_PGF = pytest.mark.skipif(
    shutil.which("kpsewhich") is None
    or bool(subprocess.run(["kpsewhich", "pgf.sty"], capture_output=True).returncode),
    reason="LaTeX has no package pgf",
)


def test_the_same_figure_gives_the_same_bytes_without_dates(hill20, tmp_path):
    kinds, written = ("pdf", "svg", "png"), []
    for name in ("one", "two"):
        with paper_style():
            paths = save_figure(plot_fits(hill20), tmp_path / name, kinds)
        assert paths == [tmp_path / f"{name}.{kind}" for kind in kinds]
        written.append([path.read_bytes() for path in paths])
    for one, two in zip(*written, strict=True):
        assert one == two and len(one) > 5000
        assert not re.search(rb"CreationDate|<dc:date>|Software", one)


def test_letters_of_a_pdf_are_embedded_as_type_42(hill20, tmp_path):
    with paper_style():
        (path,) = save_figure(draw_fit(hill20[0]), tmp_path / "one", "pdf")
    text = path.read_bytes()
    assert b"/Type3" not in text and b"/FontFile2" in text  # TrueType outlines, which are Type 42


@LATEX
def test_pgf_takes_the_document_s_letters_and_holds_no_strange_sign(hill20, tmp_path):
    written = []
    for name in ("one", "two"):
        with paper_style():
            (path,) = save_figure(draw_fit(hill20[0]), tmp_path / name, "pgf")
        written.append(path.read_text(encoding="utf-8"))
    assert written[0] == written[1]
    assert r"\begin{pgfpicture}" in written[0] and r"\ensuremath{-}" in written[0]
    assert not set(files.SIGNS) & set(written[0])
    assert "STIX" not in written[0]


HOSTILE = ["batch_topk", "a & b", "c#3", "50%", "x^2", "{y}", r"back\slash", "~t", "$p_1$", "5$"]


def test_a_label_for_latex_keeps_mathematics_and_nothing_else():
    assert (
        files.latex_label(r"L2 ratio of a_b, $\Vert\hat{x}\Vert$") == r"L2 ratio of a\_b, $\Vert\hat{x}\Vert$"
    )
    assert files.latex_label("5\\$") == r"5\textdollar{}"
    assert files.latex_label("a&b\nc#") == "a\\&b\nc\\#"


@LATEX
@WITH_PGF
def test_names_in_a_pgf_are_typeset_as_they_read(tmp_path):
    fits = frontier.fit(power_families(["relu", *HOSTILE]), "power")
    with paper_style():
        drawn = [*plot_fits(fits, log_axes=True), plot_ratios(frontier.ratio_table(fits, "relu"))]
    for ax in drawn:
        ax.figure.draw_without_rendering()  # which gives ticks their texts
    before = [t.get_text() for ax in drawn for t in ax.figure.findobj(Text)]
    for name, ax in zip(("one", "two"), drawn, strict=True):
        save_figure(ax, tmp_path / name, "pgf")
    assert [t.get_text() for ax in drawn for t in ax.figure.findobj(Text)] == before
    head = r"\documentclass{article}\usepackage{pgf,amsmath}\usepackage[T1]{fontenc}"
    page = head + r"\begin{document}%s\end{document}"
    (tmp_path / "page.tex").write_text(page % r"\input{one.pgf}\par\input{two.pgf}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    if shutil.which("pdftotext"):
        command = ["pdftotext", "page.pdf", "-"]
        text = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60).stdout.decode()
        for name in HOSTILE:  # the accents for ^ and ~ have other code points in a PDF
            plain = name.replace("^", "").replace("~", "").replace(" ", "")
            assert plain in text.replace(" ", "").replace("^", "").replace("ˆ", ""), name


@LATEX
def test_a_pgf_of_bars_has_no_hatches_but_the_figure_keeps_them(hill20, tmp_path):
    ax = plot_evidence(frontier.select_curve(hill20, replicates=0))
    (path,) = save_figure(ax, tmp_path / "one", "pgf")
    assert path.stat().st_size < 200_000
    assert any(p.get_hatch() for p in ax.patches)


def test_pgf_without_a_latex_says_so(hill20, tmp_path, monkeypatch):
    monkeypatch.setattr(files.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="needs a LaTeX to measure letters: none of pdflatex"):
        save_figure(draw_fit(hill20[0]), tmp_path / "one", "pgf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_gallery_draws_every_figure_and_a_page(tmp_path, monkeypatch):
    kept = ("fits", "ratios", "attainment", "pruning")
    entries = [e for e in (*gallery.published(), *gallery.simulated()) if e.name in kept]
    monkeypatch.setattr(gallery, "published", lambda: iter(entries))
    monkeypatch.setattr(gallery, "simulated", lambda: iter(()))
    written = gallery.make(tmp_path / "out", docs=tmp_path / "docs")
    assert all(f.is_file() for f in written) and len(written) == 3 * len(kept) + 2 + len(kept)
    page = (tmp_path / "docs" / "gallery.md").read_text()
    for name in kept:
        assert f"(gallery/{name}.png)" in page
        assert (tmp_path / "docs" / "gallery" / f"{name}.png").stat().st_size < 120_000
    assert "numbers: simulated" in page
    assert plt.get_fignums() == []


def test_the_gallery_names_calls_that_exist():
    for entry in (*gallery.published(), *gallery.simulated()):
        assert callable(getattr(frontier, entry.call.split("(")[0]))


SHELL = [r"$\immediate\write18{touch a}$", r"\$x$\input{|touch a}$", r"^^5cinput{b}"]


@pytest.mark.parametrize("kind", ["fits", "ratios", "frontiers", "collapse"])
def test_no_name_in_a_figure_is_a_command_of_latex(kind):
    """What PGF files and the LaTeX that measures letters are given; no LaTeX is needed to know it."""
    table = power_families(["relu", *SHELL]).assign(site=SHELL[0])
    if kind == "fits":
        drawn = plot_fits(frontier.fit(table, "power", by="site"))
    elif kind == "ratios":
        drawn = plot_ratios(frontier.ratio_table(frontier.fit(table, "power", by="site"), "relu"))
    elif kind == "frontiers":
        drawn = frontier.plot_frontiers(table)
    else:
        drawn = frontier.plot_collapse(frontier.compare(table, "relu", by="site", curve="power"))
    axes = list(np.ravel(drawn))
    figure = axes[0].get_figure(root=True)
    figure.canvas.draw()
    with files.ready_for_latex(figure):
        ticks = [label for ax in figure.axes for t in files._named_ticks(ax) for label in t.seq]
        words = [*(t.get_text() for t in figure.findobj(Text)), *ticks]
    assert any("touch a" in word for word in words), words
    assert not [w for w in words if re.search(r"\\(immediate|write|input)|\^\^", w)]
