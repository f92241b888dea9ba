"""Tables of runs as in the Gated SAE paper, siunitx, HTML; and a document with a table and a figure."""

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.figures import paper_style, plot_fits, save_figure
from frontier.metrics.checks import TableError
from frontier.tables import fits_table, ratios_table, runs_table
from frontier.tables.styles import Field, Sheet

PDFLATEX = shutil.which("pdflatex")


def rows_of(text):
    return [line for line in text.splitlines() if line.endswith(r"\\")]


def test_the_paper_s_table_is_one_call(gemma):
    """Columns and order of Table 1 of arXiv 2404.16014 v2; its first row, of layer 6, is optimal there."""
    text = runs_table(gemma, "latex", layout="paper")
    heads = [h.strip() for h in rows_of(text)[0].removesuffix(r"\\").split("&")]
    assert heads == [
        "Family", "Site", "Layer", r"$\lambda$", "LR", "$L_0$", "Loss recovered", "CE clean", "CE SAE",
        "CE ablated", "Width", "Alive", r"$\gamma$", "Notes",
    ]  # fmt: skip
    first = [c.strip() for c in rows_of(text)[1].removesuffix(r"\\").split("&")]
    assert first[:7] == [
        r"\textit{baseline}", r"\textit{Resid}", r"\textit{6}", r"\textit{$3\times10^{-5}$}",
        r"\textit{$10^{-3}$}", r"\textit{18.1}", r"\textit{0.9528}",
    ]  # fmt: skip
    assert first[7:13] == [
        rf"\textit{{{v}}}" for v in ("2.5426", "3.1847", "16.1549", "196608", "0.1680", "0.982")
    ]
    assert len(rows_of(text)) == 1 + len(gemma)


def test_rows_in_italics_are_the_computed_or_the_source_s_pareto_set(layer20):
    marked = frontier.mark_pareto(layer20)
    computed = runs_table(layer20, "latex", layout="paper")
    assert sum(r"\textit" in r for r in rows_of(computed)) == marked["pareto_optimal"].sum()
    source = runs_table(layer20, "latex", layout="paper", italics="source_pareto_optimal")
    assert sum(r"\textit" in r for r in rows_of(source)) == (layer20["source_pareto_optimal"] == True).sum()  # noqa: E712
    assert "Italics: Pareto-optimal." in computed and "Italics: Pareto-optimal in the source." in source
    assert "*" in runs_table(layer20, "markdown", layout="paper")
    assert "<em>" in runs_table(layer20, "html", layout="paper")
    text = runs_table(layer20, layout="paper")
    heads, _, *rows = text.splitlines()[2:]
    assert "Pareto" in heads and sum(" yes" in r for r in rows) == marked["pareto_optimal"].sum()


def test_mistakes_are_named(layer20):
    with pytest.raises(ValueError, match="unknown layout 'papr'; did you mean 'paper'"):
        runs_table(layer20, layout="papr")
    with pytest.raises(TableError, match="no column 'pareto'"):
        runs_table(layer20, italics="pareto")


def test_trained_saes_have_their_own_settings():
    table = pd.DataFrame(
        {
            "family": ["relu", "topk"], "sparsity_name": ["lambda", "k"], "sparsity_setting": [1.5, 8.0],
            "l0": [9.123, 8.0], "loss_recovered": [0.91234567, 0.93], "ce_clean": 1.0, "ce_sae": 1.1,
            "ce_mean_ablation": 2.0, "ablation": "mean", "shrinkage": [0.9, np.nan],
        }
    )  # fmt: skip
    text = runs_table(table, layout="paper")
    heads, _, relu, topk = text.splitlines()[2:6]
    assert heads.split()[:3] == ["Family", "Setting", "L0"] and "CE ablated" in heads and "LR" not in heads
    assert relu.split()[:4] == ["relu", "1.5", "9.1", "0.9123"] and topk.split()[:2] == ["topk", "8.0"]
    assert text.startswith("Ablation mean.")


# siunitx


def test_siunitx_aligns_plain_numbers_and_wraps_the_others(hill20, layer20):
    text = runs_table(layer20, "latex", layout="paper", siunitx=True)
    assert "S[table-format=-3.1]" in text and r"\num{7.5e-4}" in text and r"\itshape" in text
    assert rows_of(text)[0].count("{") >= 5  # headers of S columns are in braces
    fits = fits_table(hill20, "latex", siunitx=True)
    assert r"\num{1.04} [\num{0.76}, \num{1.55}]" in fits
    ratios = ratios_table(frontier.ratio_table(hill20, "baseline"), "latex", siunitx=True)
    assert re.search(r"\\num\{\de-05\}", ratios)


def test_a_column_with_powers_of_ten_or_signs():
    fields = (
        Field("p", ["0.5", "4e-07"], numeric=True),
        Field("x", ["-1.5", "20"], numeric=True),
        Field("i", ["1.5 [0.18, inf]", ""], numeric=True),
    )
    text = Sheet("", fields, siunitx=True).write("latex")
    assert r"\begin{tabular}{@{}lS[table-format=-2.1]l@{}}" in text
    assert r"\num{4e-07}" in text and r"\num{1.5} [\num{0.18}, $\infty$]" in text


def test_a_long_table_repeats_its_head(layer20):
    text = runs_table(layer20, "latex", long=True)
    assert r"\begin{longtable}" in text and r"\endhead" in text and r"\endfoot" in text


# HTML


def test_html_has_no_padding_and_closes_what_it_opens(hill20, layer20):
    for text in (
        runs_table(layer20, "html"), runs_table(layer20, "html", layout="paper"), fits_table(hill20, "html")
    ):  # fmt: skip
        assert not re.search(r"<t[hd]( [^>]*)?>\s|\s</t[hd]>", text)
        for tag in ("table", "tr", "td", "th", "em", "li"):
            assert len(re.findall(rf"<{tag}[ >]", text)) == text.count(f"</{tag}>")


# A document


@pytest.mark.skipif(PDFLATEX is None, reason="no LaTeX is installed (pdflatex)")
def test_a_document_with_figures_and_tables_compiles(hill20, gemma, tmp_path):
    with paper_style():
        save_figure(plot_fits(hill20), tmp_path / "fits", ("pdf", "pgf"))
    have = {p for p in ("siunitx", "longtable", "booktabs", "pgf") if _has(f"{p}.sty")}
    if have != {"siunitx", "longtable", "booktabs", "pgf"}:
        pytest.skip(f"LaTeX has only the packages {sorted(have)}")
    ratios = ratios_table(frontier.ratio_table(hill20, "baseline"), "latex", siunitx=True)
    body = [
        r"\includegraphics{fits.pdf}", r"\input{fits.pgf}", fits_table(hill20, "latex"), ratios,
        r"{\scriptsize\setlength{\tabcolsep}{2pt}",
        runs_table(gemma, "latex", layout="paper", siunitx=True, long=True), "}",
        runs_table(gemma[:20], "latex"),
    ]  # fmt: skip
    packages = "booktabs,siunitx,longtable,graphicx,pgf"
    document = "\n\n".join(
        [
            rf"\documentclass{{article}}\usepackage[margin=1cm]{{geometry}}\usepackage{{{packages}}}",
            r"\begin{document}", *body, r"\end{document}",
        ]
    )  # fmt: skip
    (tmp_path / "paper.tex").write_text(document, encoding="utf-8")
    command = [str(PDFLATEX), "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in (tmp_path / "paper.log").read_text(errors="replace")


def _has(name):
    return subprocess.run(["kpsewhich", name], capture_output=True).returncode == 0
