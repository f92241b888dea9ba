"""The HTML report without a browser: what it says, what it may load, what it escapes, what it refuses."""

import base64
import dataclasses
import hashlib
import json
import math
import os
import re
import subprocess
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import sae_frontier

import frontier
from frontier.doubts import Doubt, Kind
from frontier.html_report.answer import conclusion
from frontier.html_report.contents import contents, limits, mark_rows
from frontier.html_report.forest import ratio_figures
from frontier.html_report.inputs import input_files
from frontier.html_report.page import script_json
from frontier.html_report.plots import SYMBOLS, figures
from frontier.html_report.writing import ONE_NAME
from frontier.ratios.ratio import ratio_cell
from frontier.wording import number

ADDITIVE = {"errors": "additive"}
HOSTILE = (
    "</script><script>window.hacked=1</script>",
    '"><img src=x onerror=window.hacked=2>',
    "javascript:window.hacked=3",
    "<a href='javascript:window.hacked=4'>x</a> {{ 7*7 }} <b>&amp;",
    "%{x} $\\alpha$ \u2028 ]]> <!-- é",
)


class Page(HTMLParser):
    """The elements of a page, and the text outside scripts and style, one string per text node."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts, self.inside = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data):
        if not self.inside and data.strip():
            self.texts.append(" ".join(data.split()))

    @property
    def text(self):
        return "\n".join(self.texts)

    def count(self, tag):
        return sum(t == tag for t, _ in self.elements)


def sweep(families=("relu", "topk"), sites=("mlp", "resid"), model="m", protocol="p"):
    """Two Hill frontiers per site, the second with k three times larger, and a beaten SAE in each."""
    x = np.array([0.01, 0.02, 0.04, 0.08, 0.16, 0.3])
    wobble = 1 + 0.01 * np.array([1, -1, 1, -1, 1, -1])
    rows = []
    for i, family in enumerate(families):
        for site in sites:
            hit = frontier.hill(x, 0.4 * 3**i, 0.9) * wobble
            hits = np.append(hit, 0.9)
            for j, (a, h) in enumerate(zip(np.append(x, 0.2), hits, strict=True)):
                rows.append(
                    {"family": family, "site": site, "model": model, "protocol": protocol, "l0": 1 / a,
                     "loss_recovered": 1 - h, "fvu": h / 2 + 0.01 * j, "run_id": f"{family} {site} {j}"}
                )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def written(layer20, tmp_path_factory):
    path = frontier.report(layer20, tmp_path_factory.mktemp("report") / "r.html", "baseline", **ADDITIVE)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(written):
    return Page(written)


def test_the_answer_comes_first_and_is_that_of_compare(page, comparison20):
    low, high = (f(c.potency.ratio for c in comparison20) for f in (min, max))
    words = f"with {number(low)} to {number(high)} times fewer active latents at equal hit."
    assert f"gated is better than baseline in all 3 cells, {words}" in page.texts
    parts = [a["id"] for t, a in page.elements if t == "section" and a.get("class") != "sheet"]
    after = ["limits", "forest", "curves", "runs-section", "excluded", "warnings", "provenance"]
    assert parts == ["frontiers", "answer", "cells", *after]
    for c in comparison20:
        assert c.claim in page.texts, c.group
        for doubt in c.doubts:
            assert str(doubt) in page.texts
    resid = comparison20["Resid"].potency
    assert f"it needs {ratio_cell(resid)} times fewer active latents at hit 0.0281" in page.text


def test_tables_are_those_of_the_tables_module(page, comparison20, layer20):
    for text in ("6.28 [5.51, 7.21]", "6.0 [4.3, 8.5]", "0.726 [0.649, 0.813]"):  # README, GATED_DATA
        assert text in page.texts
    assert comparison20.ratios.to_latex().split("\n")[0] in page.text
    marked = [a for t, a in page.elements if t == "tr" and a.get("class") == "compared"]
    assert len(marked) == 52  # as `sae-frontier pareto` prints for this layer (test_cli): it was searched
    assert "52 of 66 were compared, marked by a bar and by 'yes'" in page.text


def test_excluded_rows_notes_and_versions(page, layer20):
    gone = layer20[layer20["excluded_because"].notna()]
    assert len(gone) == 2 and page.texts.count("l0 is negative") >= 2
    for index in gone.index:
        assert f"row {index} (Model gemma-7b" in page.text
    for note in frontier.notes(layer20):
        assert note in page.texts
    made = next(t for t in page.texts if t.startswith("sae-frontier"))
    assert f"sae-frontier {frontier.__version__}, Python 3." in made and "plotly" in made


def test_nothing_remote_and_only_our_scripts(written, page):
    for tag, attrs in page.elements:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert attrs.get(name, "#").startswith(("#", "data:,")), (tag, attrs)
        assert not any(name.startswith("on") for name in attrs), attrs
    assert {t for t, _ in page.elements} & {"iframe", "object", "embed", "img", "base", "form"} == set()
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(r.strip().split(" ", 1) for r in policy.split(";"))
    assert rules["default-src"] == rules["connect-src"] == "'none'"
    assert "unsafe" not in rules["script-src"] and "http" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", written, flags=re.DOTALL)
    allowed = re.findall(r"'sha256-([^']+)'", rules["script-src"])
    assert [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts] == allowed
    assert len(scripts) == 5 and "plotly.js" in scripts[0][:200]


def test_it_can_be_read_without_a_mouse_or_eyes(page):
    ids = {a["id"] for _, a in page.elements if "id" in a}
    assert len(ids) == sum("id" in a for _, a in page.elements)
    for _, attrs in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(attrs.get(name, "answer").split()) <= ids
        if attrs.get("href", "").startswith("#"):
            assert attrs["href"][1:] in ids
    levels = [int(t[1]) for t, _ in page.elements if re.fullmatch(r"h[1-6]", t)]
    assert levels[0] == 1 and levels.count(1) == 1 and max(np.diff(levels)) <= 1
    plots = [a for _, a in page.elements if a.get("class") == "plot"]
    assert len(plots) == 3 + 3 + 1 + 3 and all(a["tabindex"] == "0" and a["aria-label"] for a in plots)
    assert next(a for t, a in page.elements if t == "html")["lang"] == "en"


@pytest.mark.slow
def test_same_input_same_bytes(layer20, tmp_path):
    one, two = (frontier.report(layer20, tmp_path / n, "baseline", **ADDITIVE).read_bytes() for n in "ab")
    assert one == two
    dated = frontier.report(layer20, tmp_path / "c", "baseline", date="2026-11-21", **ADDITIVE).read_bytes()
    assert b"2026-11-21" in dated and b"2026-11-21" not in one
    assert dated.replace(b", 2026-11-21", b"").replace(b" 2026-11-21.", b"") == one


def test_the_input_file_is_named_with_its_digest(tmp_path):
    folder = tmp_path / "deep"
    folder.mkdir()
    sweep().to_csv(folder / "sweep.csv", index=False)
    text = Page(frontier.report(folder / "sweep.csv", tmp_path / "new" / "r.html").read_text()).texts
    digest = subprocess.run(["sha256sum", folder / "sweep.csv"], capture_output=True, text=True).stdout[:64]
    assert "sweep.csv" in text and digest in text
    assert "taken as: mean number of non-zero latents per token" in text  # provenance of l0
    (folder / "weights.safetensors").write_bytes(b"0" * 10)
    assert [f.name for f in input_files(folder, sweep())] == ["sweep.csv"]


@pytest.mark.slow
def test_hostile_names_make_no_element(tmp_path):
    tame = Page(frontier.report(sweep(), tmp_path / "tame.html", "relu").read_text())
    table = sweep(HOSTILE[:2], HOSTILE[2:4], HOSTILE[4], HOSTILE[0])
    table["run_id"] = [HOSTILE[i % 5] + str(i) for i in range(len(table))]
    path = frontier.report(table, tmp_path / "hostile.html", HOSTILE[0], title=HOSTILE[1], date=HOSTILE[0])
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert page.count("script") == tame.count("script") == 6 and page.count("img") == page.count("b") == 0
    assert not any("javascript:" in str(v) for t, a in page.elements for k, v in a.items() if k == "href")
    assert not any(k.startswith("on") for _, a in page.elements for k in a)
    assert "{{ 7*7 }}" in page.text and " 49 " not in page.text
    names = {f["name"] for f in data_of(html)["families"]}
    assert names == set(HOSTILE[:2])  # shown as they are, not stripped
    block = html.split('id="data">')[1].split("</script>")[0]
    assert not set("<>&\u2028\u2029") & set(block)


@pytest.mark.slow
def test_hostile_names_make_no_element_in_a_folded_page(tmp_path):
    sites = [f"{name}{i}" for i in range(2) for name in HOSTILE[:4]]
    tame = frontier.report(sweep(sites=[f"s{i}" for i in range(8)]), tmp_path / "t.html", "relu").read_text()
    html = frontier.report(sweep(HOSTILE[:2], sites), tmp_path / "h.html", HOSTILE[0]).read_text()
    tags = [
        sorted(t for t, _ in Page(h).elements if t not in ("wbr", "details", "ul", "li", "summary"))
        for h in (tame, html)
    ]
    assert set(tags[0]) == set(tags[1]) and tags[0].count("script") == tags[1].count("script")
    cells = [a["data-cell"] for t, a in Page(html).elements if t == "details" and "data-cell" in a]
    assert cells[: len(sites)] == sites


def test_a_file_name_that_is_no_text_is_replaced(tmp_path):
    file = tmp_path / os.fsdecode(b"sweep\xff.csv")
    sweep().to_csv(file, index=False)
    html = frontier.report(file, tmp_path / "r.html", "relu").read_text(encoding="utf-8")
    assert "sweep?.csv" in Page(html).texts


def data_of(html):
    return json.loads(html.split('id="data">')[1].split("</script>")[0])


def test_json_cannot_end_its_script():
    text = script_json({"</script>": ["<!--", "&", "\u2028", 1.5, None]})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"</script>": ["<!--", "&", "\u2028", 1.5, None]}
    with pytest.raises(ValueError, match="JSON compliant"):
        script_json(float("nan"))


def test_rows_are_marked_in_order():
    rows = "<table><tr><th>a</th></tr><tr><td>1</td></tr><tr><td>2</td></tr></table>"
    assert mark_rows(rows, [False, True]) == rows.replace("<tr><td>2", '<tr class="compared"><td>2')
    with pytest.raises(ValueError, match="zip"):
        mark_rows(rows, [True])


@pytest.mark.parametrize("options", [{}, {"rows": "pareto"}, {"rows": "all"}, {"max_l0": 60.0}])
def test_what_is_compared_is_marked(options):
    """Every run of `sweep`, which was not searched, or its Pareto set: all but the beaten SAE of each."""
    table = frontier.metrics_table(sweep())
    drawn = figures(frontier.compare(table, "relu", **options), table, "performance_hit")["frontier"]
    assert [p["label"] for p in drawn["panels"]] == ["mlp", "resid"]
    marked = [n for p in drawn["panels"] for n, m in zip(p["name"], p["compared"], strict=True) if m]
    kept = frontier.pareto_set(table) if options.get("rows") == "pareto" else table
    kept = kept[kept["l0"] <= options.get("max_l0", np.inf)]
    assert sorted(marked) == sorted(kept["run_id"]) and len(marked) == len(kept)


def test_what_a_source_marks_as_searched_is_its_pareto_set(comparison20, layer20, front20):
    drawn = figures(comparison20, layer20, "performance_hit")["frontier"]
    marked = [n for p in drawn["panels"] for n, m in zip(p["name"], p["compared"], strict=True) if m]
    assert len(marked) == len(front20) == 52


def test_curves_are_those_of_the_fits(comparison20, layer20):
    drawn = figures(comparison20, layer20, "performance_hit")["fits"]
    assert len(drawn["panels"]) == 3 and drawn["level"] == "95 %"
    fit = drawn["panels"][0]["fits"][1]
    gated = comparison20.fits["Resid", "gated"]
    assert fit["family"] == "gated" and fit["line"]["x"][-1] == pytest.approx(gated.x.max(), rel=1e-5)
    k, n = gated["k"].estimate, gated["n"].estimate
    for part in ("line", "below", "beyond"):
        x = np.array(fit[part]["x"])
        np.testing.assert_allclose(fit[part]["y"], x**n / (k**n + x**n), rtol=2e-5)
    assert max(fit["below"]["x"]) == min(fit["line"]["x"]) and min(fit["beyond"]["x"]) == max(
        fit["line"]["x"]
    )
    low, mid, high = (np.array(v) for v in (fit["band"]["low"], fit["line"]["y"], fit["band"]["high"]))
    assert (low < mid).all() and (mid < high).all()


def test_an_infinite_limit_is_missing_and_said(comparison20):
    ratio = comparison20.ratios["MLP", "k"]  # 1.5 [0.18, 12.7]
    open_above = dataclasses.replace(ratio, ratio_high=math.inf)
    table = dataclasses.replace(comparison20.ratios, ratios=(ratio, open_above))
    found = dataclasses.replace(comparison20).with_curves(lambda: (comparison20.fits, table))
    (panel,) = ratio_figures(found)[1]["panels"]  # the first is relative potency
    closed, open_row = panel["rows"]
    assert closed["text"] == "1.5 [0.18, 12.7]" and closed["high"] == pytest.approx(12.7, abs=0.05)
    assert open_row["text"] == "1.5 [0.18, ∞]" and open_row["high"] is None and open_row["low"] > 0


def test_looks_are_those_of_the_paper_figures(comparison20, layer20):
    families = figures(comparison20, layer20, "performance_hit")["families"]
    styles = frontier.family_styles(["gated", "baseline"], "baseline")
    assert [f["name"] for f in families] == ["baseline", "gated"]
    for f in families:
        assert (f["colour"], f["symbol"]) == (styles[f["name"]].colour, SYMBOLS[styles[f["name"]].marker])
    from frontier.figures.style import MARKERS

    assert {"o", *MARKERS} == set(SYMBOLS)


@pytest.mark.parametrize("named", [True, False])
def test_one_family_is_still_a_report(tmp_path, named):
    table = sweep(("gated",))
    if not named:
        table = table.drop(columns=["family", "run_id"])  # names tell architectures
    html = frontier.report(table, tmp_path / "r.html").read_text()
    page, name = Page(html), "gated" if named else ONE_NAME
    assert f"Nothing is compared here: the fits are all of one family, {name}." in page.text
    assert f"Frontier of {name}" in page.texts
    drawn = data_of(html)
    assert len(drawn["fits"]["panels"]) == 2 and drawn["ratios"] == [] and "ratios" not in ids(page)
    assert (
        named or "no column names an architecture or a family; all rows are taken as one family" in page.text
    )


def ids(page):
    return {a["id"] for _, a in page.elements if "id" in a}


def test_no_fit_at_all_is_still_a_report(tmp_path):
    table = sweep(("relu", "topk"), ("mlp",)).groupby("family").head(1)
    html = frontier.report(table, tmp_path / "r.html", "relu").read_text()
    page = Page(html)
    assert "Nothing is compared here: no group could be fitted." in page.text
    assert data_of(html)["fits"] is None and len(data_of(html)["frontier"]["panels"]) == 1


def test_another_y_without_losses(tmp_path):
    table = sweep().drop(columns="loss_recovered")
    html = frontier.report(table, tmp_path / "r.html", "relu").read_text()
    assert "at the same fvu: Fraction of variance unexplained." in Page(html).text
    assert data_of(html)["frontier"]["y"][0]["name"] == "fvu"


def test_ready_comparisons_with_and_without_their_table(comparison20, layer20, written, tmp_path):
    whole = frontier.report(comparison20, tmp_path / "a.html", table=layer20).read_text(encoding="utf-8")
    assert whole == written
    bare = Page(frontier.report(comparison20, tmp_path / "b.html").read_text(encoding="utf-8"))
    assert (
        "made from comparisons alone: the table shows the fitted SAEs, not those that were left out"
        in bare.text
    )
    assert "52 of 52 were compared" in bare.text  # the 52 that were fitted
    with pytest.raises(ValueError, match="belong to `compare`"):
        frontier.report(comparison20, tmp_path / "c.html", reference="gated")
    with pytest.raises(ValueError, match="goes with Comparisons"):
        frontier.report(layer20, tmp_path / "c.html", table=layer20)
    assert not (tmp_path / "c.html").exists()


def test_polars_comes_in(tmp_path):
    import polars as pl

    assert (
        frontier.report(pl.DataFrame(sweep().to_dict("list")), tmp_path / "r.html", "relu").stat().st_size
        > 1e6
    )


def test_three_families_are_told_apart(tmp_path):
    # k is 0.4, 1.2 and 3.6 in `sweep`: each needs three times fewer active latents than the one before
    table = sweep(("relu", "topk", "jump"))
    page = Page(frontier.report(table, tmp_path / "r.html", "relu", rows="pareto").read_text())
    said = "jump and topk are each better than relu in both cells, with "  # the larger potency first
    assert any(text.startswith(said) for text in page.texts)
    assert [a["data-family"] for t, a in page.elements if t == "article"] == ["topk", "jump"] * 2
    assert "topk, jump against relu" in page.texts


def test_y_that_the_table_calls_its_own(tmp_path):
    table = sweep(sites=("mlp",))
    table["my<b>loss"] = 1 - table["loss_recovered"]
    html = frontier.report(table, tmp_path / "r.html", "relu", y="my<b>loss", better="lower").read_text()
    assert data_of(html)["frontier"]["y"][0]["name"] == "my<b>loss" and Page(html).count("b") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"curve": "linear"},
        {"curve": "power", "errors": "log"},
        {"errors": "relative"},
        {"x": "relative_sparsity"},
        {"y": "fvu"},
        {"by": "site"},
        {"max_l0": 60.0},
        {"at": 0.1, "level": 0.9},
        {"simultaneous": "bonferroni"},
    ],
)
def test_every_option_of_compare_makes_a_page(tmp_path, options):
    table = sweep(("relu", "topk", "jump")).assign(d_model=512)
    found = frontier.compare(table, "relu", **options)
    html = frontier.report(table, tmp_path / "r.html", "relu", **options).read_text()
    texts = Page(html).texts
    for c in found:
        verdict = c.sentence.partition(f"{c.group['site']}: ")[2].partition(" Equal ")[0]
        assert verdict and verdict in texts
    drawn = data_of(html)["fits"]
    assert sum(len(p["fits"]) for p in drawn["panels"]) == len(found.fits) == 6


def run(*arguments):
    return sae_frontier("report", *arguments)


def test_the_command(tmp_path):
    sweep().to_csv(tmp_path / "sweep.csv", index=False)
    out = tmp_path / "new" / "page.html"
    options = ("--reference", "topk", "--by", "site", "--max-l0", "90", "--title", "Mine", "--date", "today")
    done = run(tmp_path / "sweep.csv", "-o", out, *options)
    assert done.returncode == 0 and "page.html" in done.stdout, done.stderr
    page = Page(out.read_text())
    assert (
        "Mine" in page.texts and "L0 above 90" in page.text and "Report of SAE Frontier, today" in page.text
    )
    done = run(tmp_path / "sweep.csv", "-o", out, "--reference", "rel")
    assert done.returncode == 2 and "did you mean 'relu'" in done.stderr and done.stderr.count("\n") == 1
    assert "Example" in run("--help").stdout


@pytest.mark.slow
def test_wheel_brings_template_style_and_scripts(wheel):
    root = Path(__file__).parent.parent
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(n).name for n in archive.namelist() if n.startswith("frontier/html_report/template/")}
    assert names == {p.name for p in (root / "frontier/html_report/template").iterdir()}
    assert {"page.html", "page.css", "figures.js", "axes.js", "tables.js"} <= names


def test_contents_can_be_read_in_python(comparison20, layer20):
    said = contents(comparison20, layer20, input_files(None, layer20))
    assert [c.name.whole for c in said.answer.cells] == ["Resid", "MLP", "Attn"]
    assert [c.tally for c in said.answer.cells] == ["1 better"] * 3 and not said.folded
    doubts = {doubt: where for limit in said.limits for doubt, where in limit.doubts}
    assert doubts["dictionary_size differs: 131072 in gated, 196608 in baseline."] == "Resid; MLP; Attn"


POTENCY = {"relu": 1.0, "topk": 2.2, "batchtopk": 3.1, "gated": 1.6, "jumprelu": 2.7, "p_anneal": 1.0,
           "matryoshka_batch_topk": 0.8}  # fmt: skip


def study(cells=6, families=7, runs=9, noise=0.05):
    """Hill frontiers of known relative potency in every cell, with log-normal noise."""
    rng = np.random.default_rng(0)
    rows = []
    for cell in range(cells):
        for family in list(POTENCY)[:families]:
            l0 = np.geomspace(12, 400, runs) * rng.uniform(0.9, 1.1)
            hit = frontier.hill(1 / l0 / POTENCY[family], 0.05 * (1 + 0.05 * cell), 0.9)
            hit = np.minimum(hit * np.exp(noise * rng.standard_normal(runs)), 0.99)
            names = {"model": f"pythia-160m-deduped-{cell % 2}", "layer": cell // 2, "architecture": family}
            rows += [
                {**names, "l0": a, "loss_recovered": 1 - h, "run_id": f"{family} {cell} {j}"}
                for j, (a, h) in enumerate(zip(l0, hit, strict=True))
            ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def studied():
    table = frontier.metrics_table(study())
    return table, frontier.compare(table, "relu")


@pytest.fixture(scope="module")
def study_page(studied, tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "study.html"
    return frontier.report(studied[1], path, table=studied[0])


def test_the_conclusion_counts_over_all_cells(studied):
    _, found = studied
    said = conclusion(found)
    counts = found.to_frame()["verdict"].value_counts()
    assert counts["better"] >= 24 and counts["worse"] >= 4  # of 24 and 6 that differ in truth
    assert said.startswith("batchtopk, jumprelu, topk and 1 more are each better than relu in all 6 cells, ")
    for verdict, count in counts.items():
        assert f"{count} {verdict}" in said
    assert "pythia" not in said and len(re.findall(r"\.(?!\d)", said)) == 1  # no list of cells; one sentence
    worse = [c for c in found if c.verdict == "worse"]
    said = conclusion(dataclasses.replace(found, comparisons=tuple(worse)))
    n = len(worse)
    assert said == f"matryoshka_batch_topk is not better than relu in any of {n} cells: {n} worse."
    first = dataclasses.replace(found, comparisons=(found[0],))
    assert conclusion(first) == found[0].claim
    better = [c for c in found if c.family in ("topk", "jumprelu")]
    fewer = [c for c in better if c.family == "jumprelu" or c.group != better[0].group]
    said = conclusion(dataclasses.replace(found, comparisons=tuple(fewer)))
    assert said.startswith(
        "jumprelu and topk are each better than relu in all their cells (topk is in 5 of 6), "
    )
    fewer = [c for c in fewer if c.family == "topk" or c.group == better[0].group]
    said = conclusion(dataclasses.replace(found, comparisons=tuple(fewer)))
    assert said.startswith("topk is better than relu in 5 of 6 cells (topk is in 5), ")


BOTH = "jumprelu and topk are each better than relu in"


@pytest.mark.parametrize(
    ("jumprelu", "topk", "begins"),
    [
        ("++++++", "+.++++", f"{BOTH} all their cells (topk is in 5 of 6), "),
        ("=+++++", "=.++++", f"{BOTH} 4 to 5 of 6 cells (topk is in 5), "),
        ("++++==", "+..+++", f"{BOTH} 4 of 6 cells (topk is in 4), "),
        ("++++++", "+.=+++", "jumprelu is better than relu in all 6 cells, "),
        ("++++++", "======", "jumprelu is better than relu in all 6 cells, "),
        ("++++..", "...+++", f"{BOTH} all their cells (jumprelu is in 4 of 6; topk is in 3 of 6), "),
        ("++++..", "....++", "jumprelu is better than relu in 4 of 6 cells (jumprelu is in 4), "),
    ],
)
def test_a_family_that_lacks_cells_is_named_with_the_best_where_it_is_no_worse(
    studied, jumprelu, topk, begins
):
    """Six cells: + better, = not separable, . not there. A family without a shared cell says nothing."""
    _, found = studied
    signs, verdicts = {"jumprelu": jumprelu, "topk": topk}, {"+": "better", "=": "not separable"}
    kept = [
        dataclasses.replace(c, verdict=verdicts[sign])
        for family, row in signs.items()
        for c, sign in zip((c for c in found if c.family == family), row, strict=True)
        if sign in verdicts
    ]
    said = conclusion(dataclasses.replace(found, comparisons=tuple(kept)))
    assert said.startswith(begins), said


def test_the_matrix_is_a_table_that_can_be_read_out(studied, study_page):
    _, found = studied
    html = study_page.read_text(encoding="utf-8")
    matrix = Page(html[html.index('<table id="matrix"') : html.index("</table>")])
    scopes = [a["scope"] for t, a in matrix.elements if t == "th"]
    assert scopes == ["col"] * 7 + ["row"] * 6
    cells = [a for t, a in matrix.elements if t == "td"]
    told = [t for t in matrix.texts if ": " in t and " in " in t]
    assert len(cells) == len(told) == len(found) == 36
    for c, cell, words in zip(found, cells, told, strict=True):
        where = f"{c.group['model']}, layer {c.group['layer']}"
        assert words.startswith(
            f"{c.family} in {where}: {c.verdict}, relative potency {ratio_cell(c.potency)}"
        )
        assert cell["title"] == words and cell["class"] == c.verdict.replace(" ", "-")
        assert float(cell["data-value"]) == pytest.approx(c.potency.ratio, rel=1e-5)
    strengths = {c.family: a["style"] for c, a in zip(found, cells, strict=True)}
    assert strengths["batchtopk"] > strengths["gated"]  # coloured by size as well


def test_a_doubt_about_several_families_of_a_cell_counts_them(studied):
    doubt = Doubt(Kind.outlier, "One SAE lies far from its curve.")
    told = [dataclasses.replace(c, doubts=(doubt,) if i < 7 else ()) for i, c in enumerate(studied[1])]
    (limit,) = limits(dataclasses.replace(studied[1], comparisons=tuple(told)), curves=False)
    where = "6 families in pythia-160m-deduped-0, layer 0; topk in pythia-160m-deduped-0, layer 1"
    assert limit.count == "7 comparisons" and limit.doubts == ((str(doubt), where),)


def test_long_names_keep_what_tells_them_apart(tmp_path):
    table = study(runs=5)
    table["model"] = "org/" + table["model"] + "-with-a-suffix-that-says-everything"
    html = frontier.report(table, tmp_path / "r.html", "relu", with_curves=False).read_text(encoding="utf-8")
    shown = [(p["label"], p["short"]) for p in data_of(html)["frontier"]["panels"]]
    assert len({short for _, short in shown}) == 6 and all(len(short) <= 40 for _, short in shown)
    for label, short in shown:  # a layer's number is that of the layer
        assert short.split(", ")[1] == label.split(", ")[1]
    titles = [a.get("title") for _, a in Page(html).elements if a.get("class") == "panel-title"]
    assert {label for label, _ in shown} <= set(titles)


def test_a_study_opens_folded(study_page):
    page = Page(study_page.read_text(encoding="utf-8"))
    folds = [a for t, a in page.elements if t == "details"]
    assert len(folds) > 12 and not any("open" in a for a in folds)
    cells = [a["data-cell"] for t, a in page.elements if t == "details" and "data-cell" in a]
    assert cells == [f"pythia-160m-deduped-{i}, layer {j}" for i in range(2) for j in range(3)]


def test_the_forest_and_the_collapse_are_of_the_shared_shape(studied):
    table, found = studied
    drawn = figures(found, table, "performance_hit", curves=False)
    assert drawn["fits"] is None and [q["name"] for q in drawn["ratios"]] == ["relative_potency"]
    rows = [r for panel in drawn["ratios"][0]["panels"] for r in panel["rows"]]
    np.testing.assert_allclose([r["ratio"] for r in rows], [c.potency.ratio for c in found], rtol=1e-5)
    for cell in drawn["collapse"]:
        for part in cell["families"]:
            shift = np.array(part["x"]) / np.array(part["l0"])
            truth = POTENCY[part["family"]]  # what the families were made with
            np.testing.assert_allclose(shift, truth, rtol=0.15)
            on_line = np.exp(
                np.interp(np.log(part["x"]), np.log(cell["line"]["x"]), np.log(cell["line"]["y"]))
            )
            np.testing.assert_allclose(part["y"], on_line, rtol=0.25)  # 5 sigma of the noise
            assert np.abs(part["residual"]).max() < 5


@pytest.mark.slow
def test_a_large_study_fits_no_curves_unless_asked(tmp_path):
    table = frontier.metrics_table(study(cells=11, runs=5))
    found = frontier.compare(table, "relu")
    assert len(found) == 66
    page = Page(frontier.report(found, tmp_path / "r.html", table=table).read_text(encoding="utf-8"))
    assert "_curves" not in vars(found) and "fits" not in ids(page)
    assert "No curves are fitted for a page of 66 comparisons; no verdict rests on them." in page.text
    small = frontier.compare(table[table["layer"] == 0], "relu")
    frontier.report(small, tmp_path / "s.html", table=table[table["layer"] == 0], with_curves=False)
    assert "_curves" not in vars(small)
    frontier.report(small, tmp_path / "s.html", table=table[table["layer"] == 0])
    assert "_curves" in vars(small)
