"""The pages of docs/: links lead somewhere, code gives the numbers of the text, the reference is whole."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import yaml

import frontier

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
REPORTING = (ROOT / "docs" / "how_to_report.md").read_text(encoding="utf-8")
QUOTED = (
    "2.57 [2.30, 2.87]", "4.1 [2.1, 7.9]", "1.86 [1.56, 2.22]",  # the headline
    "1.09 [0.76, 1.55] at hit 0.0343", "3.47 [3.00, 4.02] at hit 0.310",  # the ends of a crossing
    "1.5 [0.18, 12.7]", "6.3 [2.6, 15.2]",  # k with and without one SAE
    "3.9 [2.2, 7.0]", "between 0.775 and 19.6",  # pooled
)  # fmt: skip


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
def test_the_code_of_how_to_report_gives_the_numbers_of_its_text():
    import matplotlib.pyplot as plt

    printed = io.StringIO()
    names = {}
    with contextlib.redirect_stdout(printed):
        for block in re.findall(r"^```python\n(.*?)^```", REPORTING, re.M | re.S):
            exec(compile(block, "how_to_report.md", "exec"), names)
    plt.close("all")
    for number in QUOTED:
        assert number in printed.getvalue(), number
        assert number.split(" at ")[0].split()[0] in REPORTING


def test_every_public_name_is_in_the_reference():
    text = (ROOT / "docs" / "reference" / "frontier.md").read_text(encoding="utf-8")
    named = re.findall(r"^::: frontier\.(\w+)$", text, re.M)
    assert sorted(named) == sorted(set(frontier.__all__) - {"CURVES"})


def test_every_name_in_the_trainers_reference_exists():
    from importlib import import_module

    pytest.importorskip("torch", reason="torch is not installed (extra train)")
    text = (ROOT / "docs" / "reference" / "trainers.md").read_text(encoding="utf-8")
    for place in re.findall(r"^::: (\S+)$", text, re.M):
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
