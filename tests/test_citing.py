"""What `cite` names: the sources that the docstrings name, as BibTeX that parses."""

import re
from pathlib import Path

import pandas as pd
import pytest

import frontier
from frontier.citing import DATASETS, FAMILIES, METHODS, WORDS, references

CODE = " ".join(
    " ".join(p.read_text(encoding="utf-8").split()) for p in Path(frontier.__file__).parent.rglob("*.py")
)
NAMED = {key for keys in (*METHODS.values(), *WORDS.values()) for key in keys}
UNNAMED = {"hill1910", "paule1982"}
"""The curve's and the estimator's own names, which stand in the code without a year."""


def fields(entry):
    """The fields of a BibTeX entry; braces must match."""
    assert entry.count("{") == entry.count("}") and re.match(r"@\w+\{\w+,\n", entry) and entry.endswith("\n}")
    return dict(re.findall(r"^  (\w+) = \{(.*)\},?$", entry, re.M))


@pytest.mark.parametrize("key", references())
def test_entries_are_whole(key):
    known = fields(references()[key])
    assert {"author", "title", "year"} <= set(known) and key.startswith(
        re.sub(r"[^a-z]", "", known["author"].partition(",")[0].lower())
    )
    assert re.search(r"\d{4}", key)[0] == known["year"]
    assert {"journal", "publisher", "eprint"} & set(known)


def test_every_reference_is_used_and_every_key_is_there():
    used = NAMED | {k for keys in FAMILIES.values() for k in keys} | set(DATASETS.values())
    assert used == set(references())


@pytest.mark.parametrize("key", sorted(NAMED - UNNAMED))
def test_the_code_names_the_same_source(key):
    surname, year = re.fullmatch(r"([a-z]+)(\d+)", key).groups()
    name = fields(references()[key])["author"].partition(",")[0]
    assert surname == name.lower() and re.search(rf"{name}\b[^;]{{0,120}}?\b{year}", CODE), key


def test_what_was_used_is_cited_and_what_was_not_is_not(hill20, comparison20):
    fits = set(frontier.cite(hill20).keys)
    assert {"hill1910", "seber1989"} <= fits and not fits & {"rocke1995", "holm1979", "welch1938"}
    assert {"lawton1972", "marcus1976", "holm1979"} <= set(frontier.cite(comparison20).keys)
    power = frontier.fit(
        [{"l0": x, "fvu": 1 / x, "family": "topk"} for x in (1, 2, 4, 8.5)], "power", errors="log"
    )
    assert set(frontier.cite(power).keys) >= {"gao2024", "box1964"}
    assert "hill1910" not in frontier.cite(power).keys
    for simultaneous, cited in ((None, False), ("bonferroni", False), ("dunnett", True)):
        ratios = frontier.ratio_table(hill20, "baseline", simultaneous=simultaneous)
        assert ({"dunnett1955", "hasler2008"} <= set(frontier.cite(ratios).keys)) == cited


def test_the_version_is_that_of_the_result(tmp_path, hill20):
    assert f"version = {{{frontier.__version__}}}" in str(frontier.cite(hill20))
    old = type(hill20).load(hill20.save(tmp_path / "a.json"))
    old.__dict__["_made"]["versions"]["sae-frontier"] = "0.1.7}"
    assert "version = {0.1.7}\n" in frontier.cite(old).bibtex
    assert frontier.cite().keys == ("sae_frontier",)


def test_tables_are_cited_by_their_data_and_families(gemma):
    assert frontier.cite(gemma).keys == ("sae_frontier", "rajamanoharan2024gated")
    table = frontier.read(
        pd.DataFrame({"family": ["BatchTopK", "p-anneal"], "l0": [1, 2], "fvu": [0.1, 0.2]})
    )
    assert frontier.cite(table).keys == ("sae_frontier", "bussmann2024", "karvonen2024")
