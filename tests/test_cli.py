"""The command line as a user meets it: outputs, files, and one clear line on bad input."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
from commands import sae_frontier

import frontier
from frontier.metrics import values
from frontier.outputs import MOST_CELLS
from frontier.ratios.ratio import ratio_cell


def run(*arguments, ok=True):
    done = sae_frontier(*arguments)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def table(tmp_path_factory, layer20):
    path = tmp_path_factory.mktemp("cli") / "gemma20.csv"
    layer20.drop(columns=["excluded_because", "doubts", "family"]).to_csv(path, index=False)
    return path


def test_the_entry_point_is_this_command(table):
    """The one test here that starts a new Python: words, exit code and encoding as in a shell."""
    start = [sys.executable, "-c", "from frontier.cli import main; main()"]
    seen = {"capture_output": True, "text": True, "env": {**os.environ, "NO_COLOR": "1"}}
    done = subprocess.run([*start, "fit", table, "--by", "sites"], **seen)
    assert (
        done.returncode == 2 and "did you mean 'site'" in done.stderr and not done.stdout.count("Traceback")
    )
    assert done.stderr == run("fit", table, "--by", "sites", ok=False).stderr


def test_pareto(table, tmp_path):
    done = run("pareto", table, "--by", "site", "--out", tmp_path)
    assert "52 of 64 SAEs are Pareto-optimal" in done.stdout
    assert (
        "l0 is negative" in done.stdout
        and "not marked by the source, but no row of its group beats it" in done.stdout
    )
    front = pd.read_csv(tmp_path / "pareto.csv")
    same = pd.read_parquet(tmp_path / "pareto.parquet")[front.columns]
    # an empty cell is NaN in the one and None in the other
    one, two = (f.astype(object).where(f.notna(), None) for f in (front, same))
    pd.testing.assert_frame_equal(one, two)
    assert len(front) == 52 and (tmp_path / "pareto.tex").read_text().count("toprule") == 1
    assert {p.suffix for p in tmp_path.glob("frontier.*")} == {".pdf", ".png"}


def test_pareto_shows_the_metric_that_it_ranks_by(tmp_path):
    path = tmp_path / "scored.csv"
    path.write_text("architecture,l0,my_score\nrelu,10,0.3121\nrelu,20,0.4232\nrelu,40,0.1343\n")
    done = run("pareto", path, "--y", "my_score", "--better", "higher", "--out", tmp_path)
    assert "My score" in done.stdout and "0.4232" in done.stdout and "0.1343" not in done.stdout
    assert "2 of 3 SAEs are Pareto-optimal" in done.stdout
    assert "0.4232" in (tmp_path / "pareto.tex").read_text()


def test_what_splits_the_groups_is_said_by_every_command(tmp_path):
    rows = [
        {"family": f, "dictionary_size": d, "l0": l0, "loss_recovered": 1 - s / (1 + 0.1 * l0)}
        for d, t in ((4096, 1.0), (16384, 0.8))
        for f, s in (("relu", t), ("topk", 0.7 * t))
        for l0 in (10, 20, 40, 80, 160)
    ]
    path = tmp_path / "sizes.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    for command in ("pareto", "fit", "compare"):
        assert run(command, path).stdout.count("* dictionary_size splits the groups, as every size") == 1


@pytest.mark.parametrize("command", ["pareto", "fit", "compare"])
def test_protocols_are_pooled_when_asked_and_then_said_once(table, tmp_path, command):
    two, path = pd.read_csv(table), tmp_path / "two.csv"
    pd.concat([two.assign(protocol="a"), two.assign(protocol="b")]).to_csv(path, index=False)
    asked = run(command, path, ok=False)
    assert "rows with different protocol (a, b) would be compared" in asked.stderr
    assert "pooled" not in asked.stdout
    done = run(command, path, "--across", "protocol", "--out", tmp_path / "out")
    assert done.stdout.count("protocol a, b pooled in ") == 1
    assert command == "fit" or (tmp_path / "out" / "frontier.pdf").exists()


def test_fit(table, tmp_path):
    done = run("fit", table, "--by", "site", "--errors", "additive", "--max-l0", "200", "--out", tmp_path)
    assert "L0 above 200 left out as asked" in done.stdout
    frame = pd.read_csv(tmp_path / "fits.csv").set_index(["site", "family"])
    # k with L0 <= 200 from GATED_DATA section 3: MLP baseline 1.16
    assert round(frame.loc[("MLP", "baseline"), "k"], 2) == 1.16
    assert json.loads((tmp_path / "fits.json").read_text())["type"] == "FrontierFits"
    assert {p.name for p in tmp_path.glob("*.png")} == {"fits.png", "fits_log.png"}


@pytest.fixture
def undrawn(monkeypatch):
    """A test of what the tables of a folder say draws none of its figures."""
    monkeypatch.setattr("frontier.outputs.write_figure", lambda axes, stem: [])


@pytest.mark.slow
def test_level(table, undrawn):
    # 95 %: README and docs; a lower level has limits inside
    widths = {}
    asked = ("--by", "site", "--where", "site == 'Resid'")
    for level in (0.8, 0.95):
        run("fit", table, *asked, "--level", level, "--out", table.parent)
        frame = pd.read_csv(table.parent / "fits.csv")
        widths[level] = (frame["k_high"] / frame["k_low"]).dropna()
    assert len(widths[0.8]) and (widths[0.8] < widths[0.95]).all()


def test_compare(table, tmp_path):
    done = run("compare", table, "--reference", "baseline", "--errors", "additive", "--out", tmp_path)
    assert "no single ratio exists" in done.stdout and "seed SD it bears" in done.stdout
    ratios = pd.read_csv(tmp_path / "ratios.csv")
    assert round(ratios.query("site == 'Resid' and quantity == 'k'")["ratio"].item(), 2) == 6.03
    assert len(pd.read_csv(tmp_path / "verdicts.csv")) == 3
    assert "gated" in (tmp_path / "verdicts.tex").read_text(encoding="utf-8")
    # the figures of `demo`: the forest of ratios and the frontiers
    drawn = {p.name for p in tmp_path.iterdir()}
    assert {f"{n}.{s}" for n in ("relative_potency", "frontier", "collapse") for s in ("png", "pdf")} <= drawn


def test_more_cells_than_a_page_holds_are_a_table_and_a_word(tmp_path):
    l0 = [8.0, 16.0, 32.0, 64.0, 128.0]
    rows = [("relu", layer, v, v / (v + 20)) for layer in range(MOST_CELLS + 1) for v in l0]
    columns = ["architecture", "layer", "l0", "loss_recovered"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "sweep.csv", index=False)
    done = run("fit", tmp_path / "sweep.csv", "--out", tmp_path / "found")
    assert f"not drawn: fits, for a page holds {MOST_CELLS} cells, found {MOST_CELLS + 1}" in done.stdout
    assert len(pd.read_csv(tmp_path / "found" / "fits.csv")) == MOST_CELLS + 1
    assert not list((tmp_path / "found").glob("*.png"))


def test_curves_that_vanish(table, tmp_path, undrawn):
    """The offset as a number and as a word, for `fit` and for the curves beside verdicts."""
    chosen = frontier.pareto_set(frontier.read(table), "site")
    asked = ["--by", "site", "--curve", "hill", "--vanishing-l0"]
    run("fit", table, *asked, "5000", "--out", tmp_path)
    wanted = frontier.fit(chosen, "hill", by="site", vanishing_l0=5000.0).to_frame()
    frame = pd.read_csv(tmp_path / "fits.csv")
    assert (frame["vanishing_l0"] == 5000).all()
    assert frame["k"].to_numpy() == pytest.approx(wanted["k"].to_numpy())
    found = frontier.compare(table, "baseline", "site", curve="hill", vanishing_l0="fit")
    own = frontier.fit(chosen, "hill", by="site", vanishing_l0="fit")
    # Doubts name a point by its row, which is another one in a table of chosen rows.
    pd.testing.assert_frame_equal(*(fits.to_frame().drop(columns="doubts") for fits in (found.fits, own)))
    assert ratio_cell(found.ratios["Resid", "k"]) in run("compare", table, *asked, "fit", "-v").stdout
    assert "found 'dmodel'" in run("fit", table, "--vanishing-l0", "dmodel", ok=False).stderr


def test_rows_and_known_seed_sd(table, tmp_path):
    """--rows says which SAEs are compared; a seed SD of half the hit undoes every verdict."""
    asked = ["compare", table, "--reference", "baseline"]
    said = {rows: run(*asked, "--rows", rows).stdout for rows in ("auto", "pareto", "all")}
    assert "52 of 64 SAEs (several runs per setting)" in said["auto"]
    assert "52 of 64 SAEs" in said["pareto"] and "52 of 64" not in said["all"]
    assert "better" in said["all"]
    undone = ["--rows", "all", "--typical-seed-sd", "0.5"]
    assert "better" not in run(*asked, *undone).stdout
    page = tmp_path / "page.html"
    run("report", *asked[1:], *undone, "--vanishing-l0", "5000", "--no-curves", "-o", page)
    assert page.read_text().count("% of the hit would undo a verdict") >= 3
    assert run(*asked, "--typical-seed-sd", "-1", ok=False).returncode == 2


@pytest.mark.parametrize("command", ["pareto", "fit", "compare", "calibrate", "demo"])
def test_help_has_an_example(command):
    assert "Example" in run(command, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "{folder}/gemma2.csv"], "did you mean 'gemma20.csv'"),
        (["fit", "{empty}"], "no SAE metrics in 0 files"),
        (["compare", "{table}", "--reference", "gate"], "did you mean 'gated'"),
        (["fit", "{table}", "--by", "sites"], "did you mean 'site'"),
        (["fit", "{table}", "--y", "performance_hitt"], "did you mean 'performance_hit'"),
        (["compare", "{table}", "--by", "model"], "different site"),
        (["fit", "{table}", "--max-l0", "0.001"], "no usable row"),
        (["fit", "{table}", "--level", "95"], "'--level': level must be a fraction between 0 and 1"),
        (["compare", "{table}", "--level", "95"], "(95 % is 0.95)"),
        (["compare", "{table}", "--typical-seed-sd", "5"], "(5 % is 0.05)"),
        (["fit", "{table}", "--rows", "best"], "'--rows': 'best' is not one of 'auto', 'pareto', 'all' ("),
        (["compare", "{table}", "--curve", "weibull"], "'--curve': 'weibull' is not one of"),
        (["report", "{table}", "-o", "{empty}/rep.pdf"], "an HTML page, which no .pdf is; name it rep.html"),
        (["report", "{table}", "-o", "{empty}/a/b/x.html"], "no folder {empty}/a, nor {empty}/a/b"),
        (["rerun", "{table}"], "is not a saved result: that is JSON as save(...) or --out writes it"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(table, tmp_path, arguments, message):
    places = {"table": table, "folder": table.parent, "empty": tmp_path}
    done = run(*(a.format(**places) for a in arguments), ok=False)
    assert done.returncode == 2 and message.format(**places) in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert not any(internal in done.stderr for internal in ("Value error", "Input should", "Expecting value"))
    assert not list(tmp_path.iterdir())


def test_a_column_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    """Computed ones among them, where what they are computed from is there."""
    path = tmp_path / "s.csv"
    pd.DataFrame({"family": "relu", "l0": [10.0, 20.0], "loss_recovered": [0.8, 0.9]}).to_csv(path)
    named = run("compare", path, "--y", "fvu", ok=False).stderr.split("there are ")[1].strip().split(", ")
    table = frontier.read(path)
    assert "performance_hit" in named and not {"excluded_because", "doubts"} & set(named)
    for name in named:
        assert name in table or len(values(table, name)) == 2


def test_checkpoints_are_announced_once(tmp_path):
    """By the line that says how to have them; another reason beside them is counted with them."""
    rows = [
        {"architecture": name, "run_id": f"{name}{i}", "steps_trained": steps, "l0": l0,
         "loss_recovered": 1 - k * l0**-0.7}
        for name, k in (("relu", 1.0), ("topk", 0.5)) for i, l0 in enumerate((10.0, 20.0, 40.0, 80.0))
        for steps in (100, 200)
    ]  # fmt: skip
    path = tmp_path / "steps.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    for command in ("compare", "pareto", "fit"):
        words = " ".join(run(command, path).stdout.split())
        assert words.count("intermediate checkpoint") == 1 and "--checkpoints all" in words
    pd.DataFrame([*rows, {**rows[0], "run_id": "lost", "l0": -3.0}]).to_csv(path, index=False)
    assert "9 of 17 rows set aside: 8 because intermediate" in " ".join(run("compare", path).stdout.split())


def test_nothing_to_compare_is_every_reason_once_and_exit_code_2(tmp_path):
    rows = [{"architecture": name, "l0": 10.0, "loss_recovered": 0.9} for name in ("relu", "topk", "gated")]
    path = tmp_path / "short.csv"
    pd.DataFrame([*rows, {**rows[0], "l0": -3.0}]).to_csv(path, index=False)
    done = run("compare", path, "--out", tmp_path / "out", ok=False)
    assert done.returncode == 2 and done.stderr == "sae-frontier: no pair of families could be compared\n"
    lines = done.stdout.splitlines()
    assert len(set(lines)) == len(lines) and all(line.startswith("* ") for line in lines)
    assert sum("the points carry no shape" in line for line in lines) == 1
    assert sum("1 of 4 rows set aside" in line for line in lines) == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_curve_or_option_is_exit_code_2(table):
    for arguments in (["fit", table, "--curve", "hil"], ["fit", table, "--nonsense"]):
        done = run(*arguments, ok=False)
        assert done.returncode == 2 and "Traceback" not in done.stderr


def test_files_with_bad_content(tmp_path):
    for name, text, message in (
        ("empty.csv", "", "is empty"),
        ("columns.csv", "a,b\n1,2\n", "no L0 column"),
        ("half.csv", "l0,colour\n1,2\n", "no fidelity column"),
        ("text.csv", "l0,loss_recovered\nmany,0.9\nfew,0.8\n", "holds text"),
        ("broken.json", "[{", "cannot be read as json"),
        ("noise.parquet", "\x00\x01", "arquet"),
    ):
        path = tmp_path / name
        path.write_text(text)
        done = run("fit", path, ok=False)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_odd_rows_are_kept_and_said(tmp_path):
    x = [0.01, 0.02, 0.04, 0.08, 0.16, 0.3]
    rows = [
        {"architecture": "relu", "L0": 1 / a, "% CE Recovered": 100 * (1 - float(frontier.hill(a, 0.4, 0.9)))}
        for a in x
    ]
    rows += [
        {"architecture": "relu", "L0": 0.0, "% CE Recovered": 50.0},
        {"architecture": "relu", "L0": 120.0, "% CE Recovered": 101.0},
    ]
    path = tmp_path / "odd.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    out = run("fit", path, "--errors", "additive", "--rows", "all").stdout
    for text in ("read as l0", "read as loss_recovered", "per cent", "l0 is 0", "above 1"):
        assert text in out, text
