"""Every kind of LaTeX table as a reader meets it: compiled with the packages it names, and read back."""

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.tables import runs_table

PDFLATEX, PDFTOTEXT = shutil.which("pdflatex"), shutil.which("pdftotext")
pytestmark = pytest.mark.skipif(not (PDFLATEX and PDFTOTEXT), reason="pdflatex or pdftotext is not installed")
NAME = "a<b>_50%"


@pytest.fixture(scope="module")
def found():
    """Two sites; a family with a tiny p value and signs in its name that LaTeX prints as others."""
    rows = [
        {
            "architecture": name, "model": "m_1", "site": site, "l0": l0,
            "loss_recovered": 1 - float(frontier.hill(1 / l0, k, 0.9)) * (1 + 1e-4 * (-1) ** i),
        }
        for site in ("resid", "mlp")
        for name, k in (("relu", 0.3), (NAME, 1.0))
        for i, l0 in enumerate(np.geomspace(5, 400, 24))
    ]  # fmt: skip
    return frontier.compare(pd.DataFrame(rows), errors="log")


def page(text, folder, *options):
    """The words on the page of a document that holds a table and the packages that its first line names."""
    packages = re.fullmatch(r"% needs \\usepackage\{([a-z,]+)\}.*", text.splitlines()[0])[1].split(",")
    for name in packages:
        if subprocess.run(["kpsewhich", f"{name}.sty"], capture_output=True).returncode:
            pytest.skip(f"LaTeX has no package {name}")
    used = "".join(rf"\usepackage{{{p}}}" for p in packages)
    head = rf"\documentclass{{article}}\usepackage[landscape,margin=1cm]{{geometry}}{used}"
    document = f"{head}\\begin{{document}}\n{text}\n\\end{{document}}\n"
    (folder / "page.tex").write_text(document, encoding="utf-8")
    command = [str(PDFLATEX), "-interaction=nonstopmode", "-halt-on-error", *options, "page.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    words = [str(PDFTOTEXT), "-layout", "page.pdf", "-"]
    return plain(subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stdout)


def plain(text):
    """Without blanks, and without underscores: OT1 draws those as rules."""
    return re.sub(r"[\s_]", "", text)


KINDS = {
    "fits": lambda found: found.fits.to_latex(),
    "one fit": lambda found: found.fits.fits[0].to_latex(),
    "ratios": lambda found: found.ratios.to_latex(),
    "ratios, siunitx": lambda found: found.ratios.to_latex(siunitx=True),
    "comparisons": lambda found: found.to_latex(),
    "one comparison": lambda found: found.comparisons[0].to_latex(),
    "observed": lambda found: found.observed.to_latex(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_compiles_and_reads_as_written(found, kind, tmp_path):
    assert any(r.p_value < 1e-16 for r in found.ratios)
    words = page(KINDS[kind](found), tmp_path)
    assert "¡" not in words and "¿" not in words
    if kind != "one fit":
        assert plain(NAME) in words
    if "ratios" in kind:
        assert re.search("<(1×)?10", words)  # p < 1e-16
    for group in ("m_1", "resid", "mlp"):  # what the numbers are about stands beside them
        assert plain(group) in words or (group == "mlp" and kind.startswith("one"))


def test_runs_on_several_pages(found, tmp_path):
    table = frontier.load_dataset("gated_gemma7b")
    words = page(runs_table(table, "latex", long=True), tmp_path)
    assert "¡" not in words and words.count("baseline") > 10


def overfull(text, folder):
    """Points by which lines, and pages, of a document with NeurIPS's line are too full; 0 for none."""
    packages = re.match(r"% needs \\usepackage\{([a-z,]+)\}", text)[1]
    head = rf"\documentclass{{article}}\usepackage[textwidth=397pt]{{geometry}}\usepackage{{{packages}}}"
    words = "Text before a table, in a paper that goes on after it.\n\n"
    document = f"{head}\\begin{{document}}\n{words}{text}\n\n{words}\\end{{document}}\n"
    (folder / "line.tex").write_text(document, encoding="utf-8")
    command = [str(PDFLATEX), "-interaction=nonstopmode", "-halt-on-error", "line.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (folder / "line.log").read_text(errors="replace")
    return [
        max(map(float, re.findall(rf"Overfull \\{box} \(([\d.]+)pt", log)), default=0)
        for box in ("hbox", "vbox")
    ]


@pytest.fixture(scope="module")
def many():
    """More families than a page has lines for their ratios, with names that TeX does not break."""
    rng, l0 = np.random.default_rng(0), np.geomspace(5, 400, 8)
    rows = [
        pd.DataFrame({
            "architecture": f"family_{i}_a_rather_long_name" if i else "relu", "site": site, "l0": l0,
            "loss_recovered": 1 - frontier.hill(1 / l0, 0.3 * (1 + i / 5), 0.9) * rng.lognormal(0, 0.05, 8),
        })
        for site in ("resid", "mlp") for i in range(14)
    ]  # fmt: skip
    return frontier.compare(pd.concat(rows, ignore_index=True))


@pytest.mark.parametrize("kind", KINDS)
def test_no_line_and_no_page_is_too_full(found, many, kind, tmp_path):
    """By TeX's own account. Letters of a line are counted, not measured: a tenth of it is for wide ones."""
    if "siunitx" in kind and subprocess.run(["kpsewhich", "siunitx.sty"], capture_output=True).returncode:
        pytest.skip("LaTeX has no package siunitx")
    for result in (found, many):
        lines, pages = overfull(KINDS[kind](result), tmp_path)
        assert lines < 40 and pages == 0


def test_names_run_nothing_where_latex_may_run_commands(tmp_path):
    """`pdflatex -shell-escape` runs `\\write18` and what is piped into `\\input`: not those of names."""
    control = r"\immediate\write18{touch control}"
    packages = r"% needs \usepackage{booktabs}"
    page(f"{packages}\n{control}x", tmp_path, "-shell-escape")
    assert (tmp_path / "control").exists()  # it would run them
    run, piped = r"\immediate\write18{touch run}", r'\input{|"touch run"}'
    calls = (run, piped, f"}}{run}{{", run.replace("\\", "^^5c"), f"\\\\\n{piped}", f"%\n{run}",
             f"\u2028{run}\r{piped}", f"${run}$", rf"\end{{tabular}}{piped}")  # fmt: skip
    x = np.geomspace(5, 400, 8)
    table = pd.concat(
        pd.DataFrame(
            {"architecture": name, "model": run, "site": piped, "run_id": calls[-i], "l0": x,
             "loss_recovered": 1 - frontier.hill(1 / x, 0.3 + i, 0.9) * (1 + 1e-3 * np.cos(9 * x))}
        ) for i, name in enumerate(calls)
    )  # fmt: skip
    found = frontier.compare(table, run, by=["model"], errors="log")
    texts = [write(found) for write in KINDS.values()] + [runs_table(table, "latex", long=True)]
    for text in texts:
        page(text, tmp_path, "-shell-escape")
        assert not (tmp_path / "run").exists()
