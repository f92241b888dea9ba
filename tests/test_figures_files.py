"""Figures as files: equal bytes, embedded letters, PGF; and the gallery."""

import re
import shutil

import matplotlib.pyplot as plt
import pytest

from frontier import gallery
from frontier.figures import files, paper_style, plot_fit, plot_fits, save_figure

LATEX = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX is installed (pdflatex)")


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_same_figure_gives_the_same_bytes_without_dates(kind, hill20, tmp_path):
    written = []
    for name in ("one", "two"):
        with paper_style():
            (path,) = save_figure(plot_fits(hill20), tmp_path / name, kind)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert not re.search(rb"CreationDate|<dc:date>|Software", written[0])


def test_letters_of_a_pdf_are_embedded_as_type_42(hill20, tmp_path):
    with paper_style():
        (path,) = save_figure(plot_fit(hill20[0]), tmp_path / "one", "pdf")
    text = path.read_bytes()
    assert b"/Type3" not in text and b"/FontFile2" in text  # TrueType outlines, which are Type 42


@LATEX
def test_pgf_takes_the_document_s_letters_and_holds_no_strange_sign(hill20, tmp_path):
    written = []
    for name in ("one", "two"):
        with paper_style():
            (path,) = save_figure(plot_fit(hill20[0]), tmp_path / name, "pgf")
        written.append(path.read_text(encoding="utf-8"))
    assert written[0] == written[1]
    assert r"\begin{pgfpicture}" in written[0] and r"\ensuremath{-}" in written[0]
    assert not set(files.SIGNS) & set(written[0])
    assert "STIX" not in written[0]


def test_pgf_without_a_latex_says_so(hill20, tmp_path, monkeypatch):
    monkeypatch.setattr(files.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="needs a LaTeX to measure letters: none of pdflatex"):
        save_figure(plot_fit(hill20[0]), tmp_path / "one", "pgf")
    assert list(tmp_path.iterdir()) == []


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
    import frontier

    for entry in (*gallery.published(), *gallery.simulated()):
        assert callable(getattr(frontier, entry.call.split("(")[0]))
