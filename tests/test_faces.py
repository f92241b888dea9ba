"""What a result says in one form it says in all: doubts, verdicts, and the p values that verdicts rest on."""

import html
import re

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

import frontier

L0 = np.geomspace(10, 300, 8)


def families(count, *, noise=0.05, bend=0.0, seed=0, size=8):
    """relu and others, each `1.06` times as potent as the one before; `bend` away from a power law."""
    rng = np.random.default_rng(seed)
    l0 = np.geomspace(10, 300, size)
    return pd.DataFrame([
        {"family": "relu" if i == 0 else f"f{i}", "l0": x, "fvu":
         2 * (1.06**i * x)**-0.9 * np.exp(noise * rng.standard_normal() + bend * (np.log(x / 55))**2)}
        for i in range(count) for x in l0
    ])  # fmt: skip


@pytest.fixture(scope="module")
def results():
    bent = frontier.fit(families(2, noise=0.01, bend=-0.3), "power")
    fits = frontier.fit(families(7), "power")
    return {
        "fits": bent, "one fit": bent[0], "ratios": frontier.ratio_table(bent, "relu"),
        "many ratios": frontier.ratio_table(fits, "relu"),
        "comparison": frontier.compare(families(3), "relu"),
        "choice": frontier.select_curve(bent[0], replicates=9),
        "choices": frontier.select_curve(bent, replicates=9), "plan": frontier.plan(bent[0], bent[1]),
        "observed": frontier.observed_potency(families(3), "relu"),
        "frontier": frontier.fit_frontier(families(2, size=24), "power"),
    }  # fmt: skip


KINDS = ("fits", "one fit", "ratios", "many ratios", "comparison", "choice", "choices", "plan", "observed",
         "frontier")  # fmt: skip


def plain(text):
    """The letters of a text, without its numbers and the commands, tags and escapes of its form."""
    bare = re.sub(r"\\[a-zA-Z]+|</?[a-z][^>]*>", " ", text)
    return re.sub(r"\d[\d.]*(?:e-?\d+)?|[^a-z]", "", html.unescape(bare).lower())


@pytest.mark.parametrize("kind", KINDS)
def test_every_doubt_and_remark_is_in_every_form(results, kind):
    view = results[kind]._view()
    said = [*view.remarks, *(str(doubt) for _, doubt in view.doubts)]
    for form in forms_of(results[kind]):
        assert [line for line in said if plain(line) not in plain(form)] == []


def forms_of(result):
    return result.to_text(verbose=True, width=9999), result.to_markdown(), result.to_latex(), result.to_html()


def test_a_curve_that_does_not_fit_is_said_first(results):
    for form in forms_of(results["fits"]):
        assert plain("The power curve does not fit") in plain(form)


@pytest.mark.parametrize("simultaneous", [None, "bonferroni", "dunnett"])
def test_the_verdict_is_by_the_p_value_that_every_form_shows(simultaneous):
    """Three families beside relu: Holm by statsmodels; joint ones reject where their own intervals do."""
    rows = families(4, noise=0.08, seed=2)
    ratios = frontier.ratio_table(frontier.fit(rows, "power"), "relu", simultaneous=simultaneous)
    frame = ratios.to_frame()
    for _, own in frame.groupby("quantity"):
        rejected, adjusted, *_ = multipletests(own["p_value"], method="holm")
        excludes = ~((own["ratio_low"] <= 1) & (own["ratio_high"] >= 1))
        if simultaneous:
            rejected = excludes
        else:
            np.testing.assert_allclose(own["p_adjusted"], adjusted, rtol=1e-9)
        assert ((own["p_adjusted"] < 0.05) == rejected).all()
        told = own["verdict"] != ""
        assert (own["verdict"].isin(["better", "worse"]) == (rejected & excludes))[told].all()
    potencies = frame[frame["quantity"] == "relative_potency"]
    assert set(potencies["verdict"]) == {"better", "not separable"}
    torn = (potencies["verdict"] == "not separable") & (potencies["ratio_low"] > 1)
    assert torn.any() == (simultaneous is None)
    name = f"p ({(simultaneous or 'Holm').capitalize()})"
    for form in forms_of(ratios):
        assert plain(name) in plain(form) and plain("family is") in plain(form)
        assert (plain("the interval by itself excludes 1") in plain(form)) == torn.any()


def test_no_verdict_beside_an_interval_that_excludes_1_is_explained():
    """Families of one to four SAEs, 60 tables: such intervals occur, each with its reason."""
    rng, rows = np.random.default_rng(0), []
    for cell in range(60):
        sizes = {"relu": rng.integers(1, 9), "topk": rng.integers(1, 5)}
        for family, potency in (("relu", 1), ("topk", 2.0)):
            l0 = np.geomspace(20, 200, sizes[family] + 2)[1:-1]
            hit = 2 * (potency * l0) ** -0.9 * rng.lognormal(0, 0.1, len(l0))
            rows += [
                {"layer": cell, "family": family, "l0": x, "fvu": y} for x, y in zip(l0, hit, strict=True)
            ]
    found = [c for c in frontier.compare(rows, "relu", by="layer") if c.verdict == "not separable"]
    torn = [c for c in found if c.potency.ratio_low > 1 or c.potency.ratio_high < 1]
    assert len(torn) > 2
    for c in found:
        assert ("whose interval by itself excludes 1, but" in c.sentence) == (c in torn)
        assert ("excludes 1" in c.sentence) <= (c.tests.holm > 0.05 or "no one side" in c.sentence)


def test_a_name_that_is_not_one_is_answered_with_what_there_is():
    """Of results with rows: none of that name, and several."""
    table = pd.concat([families(3, seed=s).assign(layer=s) for s in (0, 1)])
    seeds = pd.concat([table.assign(seed=s, fvu=table["fvu"] * (1 + s / 50)) for s in (0, 1)])
    fits = frontier.fit(table, "power", by="layer")
    found = (
        frontier.compare(table, "relu", by="layer"), frontier.ratio_table(fits, "relu"), fits,
        frontier.observed_potency(table, "relu", by="layer"), 
        frontier.compare_seeds(seeds, "relu", by="layer"),
    )  # fmt: skip
    for result in found:
        with pytest.raises(KeyError, match=r"(no group|0 [a-z ]+ match) 'gated'.*: .*f1.*f2"):
            result["gated"]
        with pytest.raises(KeyError, match=r"(several groups|\d [a-z ]+) match 'f1'.*: .*f1") as several:
            result["f1"]
        assert "f2" not in str(several.value)
