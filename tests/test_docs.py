"""The pages of docs/: links lead somewhere, code gives the numbers of the text, the reference is whole."""

import contextlib
import importlib.util
import io
import json
import re
from pathlib import Path

import pytest
import yaml

import frontier

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
REPORTING = (ROOT / "docs" / "how_to_report.md").read_text(encoding="utf-8")
QUOTED = {
    "2.54 [2.24, 2.87]": "",
    "3.65 [2.82, 4.73]": "",
    "1.84 [1.54, 2.19]": "",
    "2.47 (2.25 to 2.78)": "the ratio is 2.47, from 2.25 to 2.78",
    "4.71 (3.12": "| 4.71 |",
    "1.84 (0.785": "| 1.84 |",
    "2.17 to 3.92": "",
    "0.0281  22 %": "it is 22 %",
    "0.109   11 %": "11 %",
    "0.103   20 %": "20 %",
    "linear   1.82e-05  2.63": "give 2.63",
    "4.8 [3.6, 6.4]": "2.8, 4.8 and 6.0",
    "1.43 [0.43, 4.71] at hit 0.0343": "1.43 [0.43, 4.71] times fewer latents at a hit of 0.034",
    "3.67 [2.92, 4.62] at hit 0.310": "3.67 [2.92, 4.62] times at 0.310",
    "at L0 137, 189": "L0 of 137 and 189",
    "2.54 [1.99, 3.23]": "becomes [1.99, 3.23]",
    "6.1 [2.1, 17.5]": "",
    "gated k / largest x = 52": "52 times beyond the data",
    "gated k / largest x = 2.7, baseline k / largest x = 2.8": "factors 2.7 and 2.8",
    "5.0 [3.9, 6.5]": "",
    "1.5 [0.18": "ratio is 1.5",
    "6.3 [2.6": "6.3 without one of them",
    "1.41 [0.43": "1.4 with log errors",
    "does not fit in 1 of 3 cells": "fails in one of the three cells",
    "185 [102, inf]": "",
    "about 210 points": "about 210 SAEs",
    "1.1 times as likely": "",
    "4 1.45 24%": "24 % of tables with four",
    "5 1.36 42%": "42 % with five",
    "8 1.23 80%": "80 % with eight",
    "15 1.15 100%": "1.45, 1.36, 1.23 and 1.15",
    "3.4 [2.0, 5.6] over 10 cells": "Ten of the twelve cells, mean 3.4 [2.0, 5.6]",
    "between 0.593 and 19.0": "from 0.59 to 19",
    "52 of 64 SAEs": "",
}
"""What the code of how_to_report.md prints, and the words in which its text says so where they are others."""


def page(path):
    return str(path.relative_to(ROOT / "docs"))


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_links_lead_to_files_and_headings(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        place, _, heading = target.partition("#")
        found = (path.parent / place).resolve() if place else path
        assert found.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.M)
            assert heading in {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}, target


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_no_page_names_a_place_on_one_machine(path):
    assert not re.search(r"(?<![\w.])/(work|tmp|home|root)/", path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_code_of_how_to_report_gives_the_numbers_of_its_text(monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setenv("COLUMNS", "100")
    printed = io.StringIO()
    names = {}
    with contextlib.redirect_stdout(printed):
        for block in re.findall(r"^```python\n(.*?)^```", REPORTING, re.M | re.S):
            exec(compile(block, "how_to_report.md", "exec"), names)
    plt.close("all")
    text = " ".join(REPORTING.split())
    for number, words in QUOTED.items():
        assert number in printed.getvalue(), number
        assert (words or number) in text, number


def test_how_to_report_quotes_the_acceptance_table():
    results = ROOT / "benchmarks" / "results" / "verdicts.json"  # committed
    parts = json.loads(results.read_text(encoding="utf-8"))["parts"]
    power = {r["noise"]: r for r in parts["power"]["cells"] if r["truth"] == "Hill"}
    (crossing,) = parts["true crossing"]["cells"]
    text = " ".join(REPORTING.split())
    for share in (power["5%"]["better"], power["10%"]["better"], crossing["crossing"]):
        assert f"{100 * share + 1e-9:.1f} %" in text
    assert power["5%"]["worse"] == power["10%"]["worse"] == 0
    assert f"{crossing['limits hold the L0']:.0%}".replace("%", " %") in text


def test_every_public_name_is_in_the_reference():
    pages = (ROOT / "docs" / "reference").glob("*.md")
    named = [n for p in pages for n in re.findall(r"^::: frontier\.(\w+)$", p.read_text("utf-8"), re.M)]
    assert sorted(named) == sorted(set(frontier.__all__) - {"CURVES"})


def test_the_pages_of_the_reference_are_of_readable_length_and_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for path in (ROOT / "docs" / "reference").glob("*.md"):
        names = re.findall(r"^::: ", path.read_text(encoding="utf-8"), re.M)
        assert len(names) <= 22, path
        assert f"reference/{path.name}" in menu


def test_the_pages_of_the_commands_are_current():
    place = ROOT / "docs" / "commands_page.py"
    spec = importlib.util.spec_from_file_location("commands_page", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = {p.name: p.read_text(encoding="utf-8") for p in module.FOLDER.glob("*.md")}
    assert written == module.pages(), "run python docs/commands_page.py"
    assert "`--reference`" in written["sae-frontier-compare.md"] and "sae-train-run.md" in written


def test_every_name_in_the_reference_exists():
    from importlib import import_module

    pytest.importorskip("torch", reason="torch is not installed (extra train)")
    text = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs" / "reference").glob("*.md"))
    places = re.findall(r"^::: (\S+)$", text, re.M)
    assert sum(p.startswith("trainers.") for p in places) > 30
    for place in places:
        module, _, name = place.rpartition(".")
        assert hasattr(import_module(module), name), place


def test_the_menu_names_pages():
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), yaml.SafeLoader)
    for entry in config["nav"]:
        for value in entry.values():
            pages = [value] if isinstance(value, str) else [p for one in value for p in one.values()]
            for one in pages:
                assert (ROOT / "docs" / one).is_file(), one


def test_the_citation_is_whole():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "license"} <= cited.keys()
    assert cited["version"] == frontier.__version__
    assert all("name" in a or {"family-names", "given-names"} <= a.keys() for a in cited["authors"])
