"""Every message for a degenerate case, in its case; the cases and texts are a table of the project's plan.

Cases of pairs, residuals, model choice and groups without a fit are in test_ratios, test_comparison,
test_residuals, test_selection and test_fits.
"""

import json
import math

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.doubts import Doubt, Kind, grouped, said, worst_first
from frontier.fits import doubts as say
from frontier.html_report.contents import contents
from frontier.tables import fits_table, ratios_table

X = np.geomspace(0.003, 0.03, 8)


def noisy(y, sd=0.1, seed=0):
    return y * np.exp(sd * np.random.default_rng(seed).standard_normal(len(y)))


def doubts_of(x, y, **options):
    return texts(frontier.fit_points(x, y, **options))


def texts(result):
    return [str(d) for d in result.doubts]


def test_k_beyond_the_data():
    y = noisy(frontier.hill(X, 0.46, 1.0))
    fit = frontier.fit_points(X, y, errors="log")
    text = next(d for d in texts(fit) if "times the largest x" in d)
    k = fit["k"].estimate
    assert text.startswith(f"k of group all rows ({k:.3f}) is {k / 0.03:.2g} times the largest x (0.0300);")
    assert "it is an extrapolation and depends on the Hill form with top 1" in text
    assert "Relative potency at y = " in text and text.endswith("does not depend on it.")


def test_the_hit_that_is_named_lies_among_those_above_zero():
    """The geometric middle of 0.01 and 0.09, whatever lies below 0."""
    y = np.r_[-1e-4, 0.01, frontier.hill(X, 0.46, 1.0)[2:-1], 0.09]
    text = next(d for d in doubts_of(X, y, errors="additive") if "times the largest x" in d)
    assert text.endswith("Relative potency at y = 0.030 does not depend on it.")


def test_k_below_the_data():
    y = frontier.hill(np.geomspace(3, 30, 8), 0.5, 1.0)
    text = " ".join(doubts_of(np.geomspace(3, 30, 8), noisy(y, 0.01), errors="additive"))
    assert "times below the smallest x (3)" in text


def test_y_above_the_top():
    x = np.geomspace(0.1, 50, 9)
    y = noisy(frontier.hill(x, 1.0, 1.5), 0.02, seed=3)
    y[7] = 1.02
    assert any(
        d.startswith("y = 1.02 in row 7 exceeds the curve's top (1). Kept; check units")
        for d in doubts_of(x, y)
    )


def test_a_profile_that_does_not_close():
    # A free top on low data: k may be infinite (FITTING section 2.4: 96 % of low-range sets)
    x = np.geomspace(0.003, 0.3, 10)
    for seed in range(40):
        y = noisy(frontier.hill(x, 1.0, 1.1), 0.1, seed)
        try:
            fit = frontier.fit_points(x, y, errors="log", free=["top"])
        except ValueError as error:  # no optimum at all: k and top run off together
            assert "sets no top" in str(error)
            continue
        if math.isinf(fit["k"].high):
            text = next(d for d in texts(fit) if d.startswith("No upper limit for k"))
            assert "values up to infinity fit as well (power law: RSS" in text
            return
    pytest.fail("no set with an open profile")


def test_step_like_data():
    x = np.array([0.001, 0.004, 0.01, 0.02, 0.05, 0.1])
    y = np.array([0.02, 0.05, 0.03, 0.95, 0.97, 0.96])
    text = next(d for d in doubts_of(x, y, errors="additive") if d.startswith("The rise lies between"))
    # from 0.1 to 0.9 of the top a Hill curve needs a factor 81^(1/n) in x: n = log 81 / log 2 = 6.3
    assert text == "The rise lies between x = 0.0100 and 0.0200; n is at least 6.3, no upper limit."


def test_one_point_decides():
    y = noisy(frontier.hill(X, 0.46, 1.0), 0.02)
    y[-1] *= 1.5
    text = next(d for d in doubts_of(X, y, errors="log") if d.startswith("Without row 7, k changes from"))
    without = frontier.fit_points(X[:-1], y[:-1], errors="log")["k"].estimate
    assert text.endswith(f"to {without:.3g}.") or f"{without:.2f}" in text


def test_a_point_of_high_leverage():
    x = np.array([0.01, 0.011, 0.012, 0.013, 1.0])
    y = 2 * x + 1 + 0.001 * np.array([1, -1, 1, -1, 0])
    assert any(
        "alone fixes one direction of the curve (leverage 1" in d or d.startswith("Without row 4")
        for d in doubts_of(x, y, curve="linear", errors="additive")
    )


def test_perfect_data():
    assert doubts_of(X, frontier.hill(X, 0.46, 1.0))[0] == (
        "Residuals are zero to rounding; intervals of width 0 are not meaningful."
    )


def test_a_solver_that_fails_says_so_and_gives_no_number():
    said = "Group a did not converge; last RSS 1.25; this is a fault to report, not a result."
    assert say.not_converged("a", 1.25) == said
    with pytest.raises(ValueError, match=r"y falls as x rises|did not converge"):
        frontier.fit_points(X, np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01]), errors="additive")


def test_a_top_of_one_means_nothing_for_nats():
    rows = [
        {"architecture": "a", "l0": 1 / a, "ce_clean": 2.0, "ce_sae": 2 + b}
        for a, b in zip(X, noisy(X), strict=True)
    ]
    fit = frontier.fit(rows, "hill", y="delta_ce", errors="log")[0]
    assert any(d.startswith("A top of 1 has no meaning for delta_ce") for d in texts(fit))


# --- A doubt is data: nothing is decided by its words -----------------------------------------------------


@pytest.fixture
def wordless(monkeypatch):
    """Every doubt that is made says "x"."""
    whole = Doubt.__init__
    monkeypatch.setattr(Doubt, "__init__", lambda self, kind, text, *a, **k: whole(self, kind, "x", *a, **k))


def study():
    """Published tables of two models, with SAEs that decide, cross, were searched for, or share no level."""
    table = pd.concat([frontier.load_dataset(n) for n in ("gated_gemma7b", "gated_pythia2p8b")])
    apart = table[(table["family"] == "gated") & (table["l0"] > 60)].assign(family="apart")
    return pd.concat([table, apart, apart.assign(l0=apart["l0"] * 1.07)], ignore_index=True)


def decided(table):
    """Everything that a study decides, counts or groups."""
    found = frontier.compare(table, "baseline", errors="additive", max_l0=500)
    pooled = frontier.pool_ratios(found.ratios, family="gated")
    page = contents(found, frontier.metrics_table(table), ())
    kinds = [[(d.kind, d.family, d.row, d.quantity) for d in c.doubts] for c in found]
    told = grouped((str(c.group), d) for c in found for d in c.doubts)
    return {
        "verdicts": [(c.verdict, c.sentence, c.claim) for c in found],
        "doubts": kinds,
        "pooled": (pooled.left_out, [c.name for c in pooled.cells], [d.kind for d in pooled.doubts]),
        "groups": [(g.kind, len(g.doubts), g.places) for g in told],
        "cards": [c.answers[:-1] for cell in page.answer.cells for c in cell.cards] + [page.lead],
        "limits": len(page.limits),
        "notes": [len(r.doubts) for r in found.ratios],
        "observed": [[d.kind for d in o.doubts] for o in found.observed],
        "rows": [len(frame.to_frame()) for frame in (found, found.ratios, found.observed, found.fits)],
        "lines": [len(repr(r).splitlines()) for r in (found, found.ratios, found.observed, found.fits)],
        "tables": [len(t.splitlines()) for t in (ratios_table(found.ratios), fits_table(found.fits))],
    }  # fmt: skip


@pytest.fixture(scope="module")
def with_words():
    return decided(study())


@pytest.mark.slow
def test_no_sentence_is_read_back(with_words, wordless):
    kinds = {kind for row in with_words["doubts"] for kind, *_ in row}
    assert {Kind.no_overlap, Kind.influence, Kind.confounded, Kind.selected} <= kinds
    assert str(Doubt(Kind.tie, "words")) == "x"
    assert decided(study()) == with_words


def test_doubts_are_saved_as_data_and_old_sentences_still_load(tmp_path):
    fit = frontier.fit_points(X, noisy(frontier.hill(X, 0.46, 1.0)), errors="log")
    assert fit.doubts and type(fit).load(fit.save(tmp_path / "fit.json")).doubts == fit.doubts
    old = {**fit.to_dict(), "doubts": texts(fit)}
    again = type(fit).from_dict(json.loads(json.dumps(old)))
    assert again.doubts == tuple(said(t) for t in texts(fit)) and texts(again) == texts(fit)
    with pytest.raises(ValueError, match="damaged"):
        type(fit).from_dict({**fit.to_dict(), "doubts": [{"kind": "whim", "text": "x"}]})


def test_kinds_stand_in_the_order_of_their_severity():
    assert [k.severity for k in Kind] == sorted((k.severity for k in Kind), reverse=True)


def test_doubts_of_one_kind_are_told_together():
    k = [Doubt(Kind.extrapolated_k, f"k is {i} times the largest x.", numbers={"k": i}) for i in range(7)]
    pairs = [(f"layer {i}", d) for i, d in enumerate(k)]
    pairs += [("layer 3", Doubt(Kind.crossing, "They cross.")), *pairs[:2]]
    worst, many = grouped(pairs)
    assert worst.sentence == "layer 3: They cross."
    assert many.places == tuple(f"layer {i}" for i in range(7)) and len(many.doubts) == 7
    assert many.sentence == "k is extrapolated in 7 cells."
    assert worst_first([d for _, d in pairs])[0].kind is Kind.crossing


def test_places_are_named_while_they_are_few_and_each_once():
    tie = Doubt(Kind.tie, "They tie.")
    for count, told in (
        (1, "a: They tie."),
        (3, "In 3 groups (a; b; c): They tie."),
        (4, "In 4 groups: They tie."),
    ):
        pairs = [(place, tie) for place in "abcd"[:count]]
        (group,) = grouped([*pairs, pairs[0]], "group")
        assert group.sentence == told and group.places == tuple("abcd"[:count])
    assert group.sentences == ["In 4 groups (a; b; c; d): They tie."]  # all are named where all is told
    (two,) = grouped([("a", tie), ("a", Doubt(Kind.tie, "So do these."))])
    assert two.sentence == "a: They tie. And 1 more of this kind."
    (same,) = grouped(
        [(place, Doubt(Kind.tie, "They tie.", numbers={"p": p})) for place, p in (("a", 1), ("b", 2))]
    )
    assert same.sentence == "In 2 cells (a; b): They tie."  # whatever the numbers behind the words


def test_an_old_sentence_keeps_its_words():
    assert said("Only 3 points.") == Doubt(Kind.said, "Only 3 points.") != said("")
