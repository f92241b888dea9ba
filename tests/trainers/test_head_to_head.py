"""Head to head: levels of looks, the procedure on drawn SAEs, tuning, budgets, and a run that is killed."""

import json
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tomlkit
from scipy.stats import binom, norm
from small_runs import TEXT, said, small

import trainers
from benchmarks import looks as simulation
from benchmarks.verdict_parts.truths import TRUTHS, Noise, needing_fewer
from trainers.head_to_head import VersusError, asking, levelling, making, pace, tuning, versus
from trainers.head_to_head.budget import Budget, budget_of
from trainers.head_to_head.contest import contest
from trainers.head_to_head.fairness import Fairness
from trainers.head_to_head.rounds import Rules
from trainers.head_to_head.spending import look_levels, spent
from trainers.head_to_head.tuning import Tuned
from trainers.head_to_head.versus import PAGE, _write

ROOT = Path(__file__).parents[2]
PUBLISHED = {
    2: [2.9626, 1.9686],
    3: [3.7103, 2.5114, 1.9930],
    5: [4.8769, 3.3569, 2.6803, 2.2898, 2.0310],
}
"""Two-sided limits at 5 % for equal shares, O'Brien-Fleming-like spending: the R package ldbounds."""


@pytest.mark.parametrize("looks", PUBLISHED)
def test_limits_are_the_published_ones(looks):
    levels = look_levels([(i + 1) / looks for i in range(looks)])
    assert norm.isf(np.array(levels) / 2) == pytest.approx(PUBLISHED[looks], abs=2e-4)


def test_looks_at_any_shares_spend_what_they_may():
    """Against random walks: the share that is stopped at each look is what the look spends."""
    shares = [0.2, 0.55, 0.6, 1.0]
    rng = np.random.default_rng(1)
    steps = np.sqrt(np.diff([0, *shares])) * rng.standard_normal((400_000, 4))
    limits = norm.isf(np.array(look_levels(shares, 0.1)) / 2)
    beyond = np.abs(np.cumsum(steps, axis=1) / np.sqrt(shares)) > limits
    stopped = np.maximum.accumulate(beyond, axis=1).mean(0)
    assert stopped == pytest.approx([spent(t, 0.1) for t in shares], abs=2e-3)
    with pytest.raises(ValueError, match="each look needs more"):
        look_levels([0.5, 0.5])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "one of the two; found neither"), ({"time": "1h", "saes": 3}, "found both"),
        ({"time": "30 parsecs"}, "wanted a time such as 30min"), ({"time": "30"}, "wanted a time"),
        ({"time": "0s"}, "above 0"), ({"saes": 0}, "1 or more"),
    ],
)  # fmt: skip
def test_budgets_that_are_none(given, words):
    with pytest.raises(VersusError, match=words):
        budget_of(**given)


def drawn(curves, noise=0.05, saes=40, seed=0):
    """The maker of the simulation, a curve for each family."""
    case = simulation.Case("Hill", Noise(noise), saes=saes)
    return simulation.Drawn(curves, case, np.random.default_rng(seed))


def test_a_contest_goes_on_with_what_is_open_and_ends_when_all_is_decided():
    hill = TRUTHS["Hill"]
    curves = {"mine": needing_fewer(hill, 2.0), "plain": hill, "strong": needing_fewer(hill, 2.9)}
    ended = contest(Rules("mine", ("plain", "strong"), 20, 300), drawn(curves, saes=60))
    assert [v.verdict for v in ended.verdicts] == ["better", "worse"]
    assert ended.looks[-1].trained < 60 and len(ended.table) == ended.looks[-1].trained
    for v, truth in zip(ended.verdicts, (2.0, 2 / 2.9), strict=True):
        assert v.potency_low < truth < v.potency_high
    assert ended.verdicts[0].sentence.startswith("mine is better than plain: it needs")
    assert "times more active latents" in ended.verdicts[1].sentence


def test_what_is_decided_gets_no_more_saes_and_the_budget_is_kept():
    hill = TRUTHS["Hill"]
    curves = {"mine": needing_fewer(hill, 3.0), "plain": hill, "twin": needing_fewer(hill, 3.0)}
    ended = contest(Rules("mine", ("plain", "twin"), 20, 300), drawn(curves, saes=30, seed=1))
    plain, twin = ended.verdicts
    assert plain.verdict == "better" and plain.look < len(ended.looks) == 3
    assert twin.verdict == "not separable" and twin.look == 3
    counts = ended.table["family"].value_counts()
    assert counts["mine"] + counts["plain"] >= plain.saes and counts.sum() == 30
    assert [v.rival for v in ended.looks[-1].verdicts] == ["twin"] and ended.looks[-1].share == 1
    levels = look_levels([k.share for k in ended.looks])
    assert [k.level for k in ended.looks] == pytest.approx(levels)


def test_the_report_says_what_was_decided_before_it_compares_anew(tmp_path):
    """A pair that was decided at an early look has further SAEs of the candidate at the last one."""
    hill = TRUTHS["Hill"]
    curves = {"mine": needing_fewer(hill, 3.0), "plain": hill, "twin": needing_fewer(hill, 3.0)}
    ended = contest(Rules("mine", ("plain", "twin"), 20, 300), drawn(curves, saes=30, seed=1))
    found = trainers.Versus("mine", ended.verdicts, ended.looks, Fairness((), ()), "", 0.0, 0, 0.05, "")
    _write(found, ended, tmp_path)
    page = re.sub(r"\s+", " ", (tmp_path / PAGE).read_text(encoding="utf-8"))
    answer = page.index('id="matrix"')
    for v in found.verdicts:
        assert -1 < page.find(f"{v.sentence} (Look {v.look} of 3, level {v.level:.4f}.)") < answer
    assert min(v.look for v in found.verdicts) < len(found.looks)
    assert -1 < page.find(f"the level of the last look ({ended.looks[-1].level:.4f})") < answer


def test_a_budget_of_time_that_grows_takes_no_level_back():
    """A machine that becomes fast: at the second look more SAEs are left than at the first."""
    hill = TRUTHS["Hill"]
    maker = drawn({"mine": hill, "plain": hill})
    left = {0: 20, 8: 6, 11: 15}
    maker.affordable = lambda trained: left.get(trained, 0)
    ended = contest(Rules("mine", ("plain",), 20, 300), maker)
    assert [round(k.share, 2) for k in ended.looks] == [0.57, 0.58, 1.0]
    assert [k.trained for k in ended.looks] == [8, 11, 26]


def test_a_budget_for_less_than_two_saes_a_family_is_one_line(tmp_path):
    with pytest.raises(VersusError, match=r"holds 3 SAEs and 2 families need 4, 2 each"):
        contest(Rules("a", ("b",), 2, 30), drawn({}, saes=3))
    with pytest.raises(VersusError, match=r"3 families need 6 SAEs, 2 each \(--saes 6\)"):
        versus("gated", ["relu", "topk"], saes=5, out=tmp_path / "v")
    assert not (tmp_path / "v").exists()


def test_equal_families_are_told_apart_as_seldom_as_the_committed_simulation_says():
    """The whole procedure, planner and all: false verdicts at most 6 %, over all cases of equal families."""
    every = json.loads((ROOT / "benchmarks" / "results" / "looks.json").read_text())["cases"]
    text = (ROOT / simulation.PAGE).read_text(encoding="utf-8")
    assert simulation.on_page(text, every) == text
    cases = [c for c in every if c["potency"] == 1]
    false = sum(c["with a verdict"] * c["contests"] for c in cases)
    contests = sum(c["contests"] for c in cases)
    assert contests >= 1000 and false / contests <= simulation.MOST
    assert {c["case"] for c in cases} == {n for n, c in simulation.CASES.items() if c.potency == 1}


@pytest.mark.slow
def test_few_contests_between_equal_families_end_with_a_verdict():
    """14 contests; at a rate of 6 % four of them would be a chance of 1 in 100."""
    found = simulation.rates("Hill, 5 %", 14)
    assert binom.sf(14 * found["with a verdict"] - 1, 14, simulation.MOST) > 0.01


def question(tmp_path=None, **more):
    given = {"budget": Budget(saes=12)} | more
    return asking.asked(given.pop("candidate", "gated"), given.pop("against", ["relu"]), **given)


def test_equal_multiplications_are_those_of_the_gated_paper():
    """Gated with F latents against a baseline 1.5 times as wide (arXiv 2404.16014, section 3)."""
    config = levelling.equal_sizes(question(equal="products"), (64, 64))
    assert [f.dictionary_size for f in config.families] == [8 * 64, 8 * 64 * 3 // 2]
    config = levelling.equal_sizes(question(), (64, 64))
    assert config.training.dictionary_size == 512


def test_every_family_gets_one_more_rate_while_any_is_at_an_edge(monkeypatch, tmp_path):
    """L0 at equal hit by a known law of the rate: gated is best at 9 times its default, relu at its own."""
    config = levelling.equal_sizes(question(), (64, 64))
    default = {f.called: tuning.centre(f, config) for f in config.families}
    best = {"gated": 9.0, "relu": 1.0}

    def finished(run, folder, progress, told=False, watch=None):
        rows = []
        for f in run.families:
            for rate in f.learning_rate if isinstance(f.learning_rate, list) else [f.learning_rate]:
                off = math.log(rate / default[f.called] / best[f.called])
                for l0 in (4.0, 10.0, 25.0):
                    rows.append((f.called, rate, l0 * math.exp(0.2 * off**2), 0.8 * l0**-0.7))
        table = pd.DataFrame(rows, columns=["family", "learning_rate", "l0", "hit"])
        return table.assign(loss_recovered=1 - table["hit"])

    monkeypatch.setattr(tuning, "finished", finished)
    settings = {"gated": [1.0, 2, 4], "relu": [1.0, 2, 4]}
    table, found = tuning.tuned(config, settings, (1 / 3, 1, 3), tmp_path, False)
    assert found["gated"].chosen / default["gated"] == pytest.approx(9, rel=0.01)
    assert found["relu"].chosen == default["relu"] and not found["relu"].edge
    assert found["gated"].pilots == found["relu"].pilots == 15 == (table["family"] == "relu").sum()
    assert not found["gated"].edge and found["gated"].rates[-1] / default["gated"] == pytest.approx(
        27, rel=0.02
    )
    # exp(0.2 ln(3)^2) at a factor of 3 from the best
    assert found["gated"].over_chosen[2] == pytest.approx(math.exp(-0.2 * math.log(3) ** 2), rel=0.02)


def test_the_common_range_is_what_every_family_reaches(monkeypatch, tmp_path):
    short = pd.DataFrame({"setting": [1.0, 2, 4, 8], "l0": [30.0, 20, 14, 11.5]})
    monkeypatch.setattr(levelling, "searched", lambda c, s, p, watch: ({f.called: short for f in s}, list(s)))
    monkeypatch.setattr(levelling, "calibrated", lambda c, s, found, p: found)
    asked = question(candidate="topk")
    config = levelling.equal_sizes(asked, (64, 64))
    same = levelling.level(config, asked, 64, tmp_path, False)
    assert same.wanted == (2, 32) and (same.low, same.high) == (10, 32)
    assert same.settings["topk"] == [10, 18, 32] and same.pilots == {"topk": 0, "relu": 4}
    assert levelling.level(config, asked, 64, tmp_path, False) == same
    few = question(candidate="topk", l0=(2.0, 15.0))
    with pytest.raises(VersusError, match=r"no common range of L0 inside 2 to 15.*relu has L0 11.5 to 30"):
        levelling.level(config, few, 64, tmp_path / "other", False)


def test_time_is_turned_into_saes_and_too_little_of_it_is_said(tmp_path):
    config = levelling.equal_sizes(question(), (64, 64))
    pilots = pd.DataFrame({"family": ["relu"] * 20, "learning_rate": 0.1, "sparsity_setting": 1.0, "l0": 1.0})
    rates = {n: Tuned((0.1,), (1.0,), 0.1, 10) for n in ("gated", "relu")}

    def maker(seconds):
        return making.Trained(config, Budget(seconds=seconds), rates, pilots, tmp_path, False)

    maker(1).ledger.note("tuning", seconds=40.0)  # 2 s an SAE
    with pytest.raises(VersusError, match=r"45 s is too small: 20 pilots took 40 s, and 2 SAEs of each of 2"):
        maker(45).affordable(0)
    assert maker(60).affordable(0) == 10


class Clock:
    """Seconds that pass at each look."""

    def __init__(self, monkeypatch, step):
        self.now, self.step = 0.0, step
        monkeypatch.setattr(pace.time, "monotonic", self.look)

    def look(self):
        self.now += self.step
        return self.now


@pytest.mark.parametrize(("budget", "refused"), [(66.0, True), (68.0, False), (None, False)])
def test_a_budget_is_refused_by_the_pace_of_ten_steps(monkeypatch, budget, refused):
    """Half a second a step, 100 steps, 4 members and 4 SAEs to come: 0.5 + 50 here and 50 after, over 1.5."""
    Clock(monkeypatch, 0.5)
    run = SimpleNamespace(step=0, families=[[1, 2], [3, 4]], config=small(training={"steps": 100}))
    seen = pace.pace(Budget(saes=None if budget else 9, seconds=budget), 0.0, 2, 4, dearer=8)
    for run.step in range(1, 11):
        seen(run)
    run.step = 11
    if refused:
        # 2 (50 + 8 × 50) s = 900 s
        with pytest.raises(VersusError, match=r"first 10 steps .*2 SAEs of each of 2 .*1 min 4.* 16min$"):
            seen(run)
    else:
        seen(run)


def test_what_is_refused_by_its_pace_goes_on_to_the_same_weights(monkeypatch, tmp_path):
    config = small()
    whole = tuning.finished(config, tmp_path / "whole", False)
    Clock(monkeypatch, 1.0)
    place = tmp_path / "part"
    watch = pace.pace(Budget(seconds=1.0), 0.0, 2, 4, keep=place / "checkpoints")
    with pytest.raises(VersusError, match="goes on from here"):
        tuning.finished(config, place, False, watch=watch)
    pd.testing.assert_frame_equal(tuning.finished(config, place, False), whole)


TINY = [
    "training.steps=6", "training.batch_size=128", "training.dictionary_size=32", "training.threads=1",
    f"activations.text={json.dumps(TEXT)}", "activations.tokens=2000", "evaluation.windows=4",
]  # fmt: skip
CALL = {
    "against": ["batch_topk"],
    "saes": 6,
    "l0": (3.0, 12.0),
    "looks": 2,
    "changes": TINY,
    "progress": False,
}


@pytest.mark.slow
def test_a_killed_head_to_head_goes_on_to_the_same_end(tmp_path, monkeypatch, capsys):
    whole = versus("topk", out=tmp_path / "whole", rates=(1,), **CALL)
    assert whole.trained == 6 and len(whole["batch_topk"].sentence) > 20
    assert trainers.Versus.load(tmp_path / "whole" / "result.json") == whole
    assert "latents" in repr(whole.fairness) and "topk head to head" in repr(whole)
    page = (tmp_path / "whole" / "report.html").read_text(encoding="utf-8")
    assert "topk against batch_topk" in page
    monkeypatch.setattr(sys.modules["trainers.head_to_head.versus"], "report", lambda *a, **k: None)

    class Killed(Exception):
        pass

    real = tuning.evaluate_run

    def killed(folder, **more):
        if folder.name == "round_2":
            raise Killed
        return real(folder, **more)

    monkeypatch.setattr(tuning, "evaluate_run", killed)
    with pytest.raises(Killed):
        versus("topk", out=tmp_path / "part", rates=(1,), **CALL)
    monkeypatch.setattr(tuning, "evaluate_run", real)
    with pytest.raises(VersusError, match="under a budget of 6 SAEs, on which its error rate rests"):
        versus("topk", out=tmp_path / "part", rates=(1,), **CALL | {"saes": 8})
    with pytest.raises(VersusError, match="holds another head to head: looks differ"):
        versus("topk", out=tmp_path / "part", rates=(1,), **CALL | {"looks": 3})
    trained = [tuning.train]
    monkeypatch.setattr(
        tuning, "train", lambda c, f, **more: trained.append(f.name) or trained[0](c, f, **more)
    )
    again = versus("topk", out=tmp_path / "part", rates=(1,), **CALL)
    assert trained[1:] == ["round_2"]
    assert again.verdicts == whole.verdicts and again.looks == whole.looks
    assert again.fairness == whole.fairness
    words = [w for change in TINY for w in ("--set", change)]
    code, out, _ = said(
        monkeypatch, capsys, "versus", "topk", "--against", "batch_topk", "--saes", 6, "--l0", "3,12",
        "--looks", 2, "--rates", "1", "--out", tmp_path / "part", "--quiet", *words,
    )  # fmt: skip
    assert code == 0 and "Fairness" in out and again["batch_topk"].cell in out


def test_files_of_activations_are_judged_by_fvu_and_named(monkeypatch, tmp_path):
    """No language model read them: nothing may name one, nor a text, nor a hit."""
    rows = np.random.default_rng(0).normal(size=(2100, 8)) @ np.diag([4, 3, 2, 1, 1, 1, 1, 1])
    np.save(tmp_path / "layer3.npy", rows.astype("float32"))
    content = {"activations": {"files": str(tmp_path / "layer3.npy")}, "families": [{"architecture": "topk"}],
               "training": {"steps": 4, "batch_size": 64, "dictionary_size": 16}}  # fmt: skip
    (tmp_path / "c.toml").write_text(tomlkit.dumps(content))
    monkeypatch.setattr(sys.modules["trainers.head_to_head.versus"], "report", lambda *a, **k: None)
    call = {"saes": 4, "l0": (1.0, 4.0), "looks": 1, "rates": (1, 3), "progress": False}
    every = ["activations.tokens=all"]
    found = versus(tmp_path / "c.toml", ["batch_topk"], out=tmp_path / "out", changes=every, **call)
    assert "at fvu" in repr(found) and {v.axis for v in found.verdicts} == {"fvu"}
    facts = {f.what: f.values[0] for f in found.fairness.facts}
    assert facts["site"] == "activations of layer3" and "text, in one order" not in facts
    assert "layer3.npy held-out" in facts["measured on"] and facts["pilots for that"] != "0"
    assert "tiny_lm" not in repr(found.fairness)
    with pytest.raises(VersusError, match="config differ; name another --out, or delete"):
        versus(tmp_path / "c.toml", ["batch_topk"], out=tmp_path / "out", **call)


def test_a_question_with_nothing_behind_it_may_be_asked_anew(tmp_path):
    """As after an error in the data, before any SAE was trained."""
    one, other = (
        asking.asked(
            "topk", [rival], Budget(saes=8), equal="width", factors=(1,), l0=None, looks=3, changes=()
        )
        for rival in ("relu", "batch_topk")
    )
    asking.recall(one, tmp_path, False)
    asking.recall(other, tmp_path, False)
    (tmp_path / "tuning").mkdir()
    with pytest.raises(VersusError, match="config differ"):
        asking.recall(one, tmp_path, False)
