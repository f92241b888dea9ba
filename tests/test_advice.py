"""Advice in a message works: with that command, on that table."""

import json
import re
import shlex
import zipfile

import numpy as np
import pandas as pd
import pytest
from commands import sae_frontier

import frontier


def table(names=("relu", "topk"), sites=("resid", "mlp"), protocols=("pile",), **columns):
    x = np.geomspace(0.005, 0.2, 8)
    return pd.DataFrame(
        {
            "architecture": name, "site": site, "layer": 3, "protocol": protocol, "l0": 1 / a,
            "loss_recovered": 1 - b * (1 + 0.02 * (-1) ** i), **columns,
        }
        for site in sites
        for protocol in protocols
        for k, name in zip((0.3, 0.6), names, strict=True)
        for i, (a, b) in enumerate(zip(x, frontier.hill(x, k, 1.0), strict=True))
    )  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    def save(rows):
        rows.to_csv(tmp_path / "table.csv", index=False)
        return tmp_path / "table.csv"

    return save


def advised(text):
    """The options in brackets of a message, each as words."""
    return [shlex.split(option) for option in re.findall(r"\((--[^)]+)\)", text)]


def test_protocols_that_differ(saved):
    path = saved(table(protocols=("pile", "owt")))
    for command in ("compare", "fit"):
        refused = sae_frontier(command, path)
        options = advised(refused.stderr)
        assert refused.returncode == 2 and [o[0] for o in options] == ["--by", "--where", "--across"]
        for option in options:
            done = sae_frontier(command, path, *option)
            assert done.returncode == 0, (option, done.stderr)


@pytest.mark.parametrize("column", ["n_inputs", "hyperparameters.n_inputs", "my eval/n_eval_batches"])
def test_evaluations_of_unequal_size(saved, column):
    """24 against 250 inputs under one protocol; all three ways out work, and none compares them unasked."""
    twice = [table(**{column: 250}), table(**{column: 24}).query("l0 > 20")]
    path = saved(pd.concat(twice))
    for command in ("compare", "fit"):
        refused = sae_frontier(command, path)
        assert refused.returncode == 2 and f"{column} from 24 to 250" in refused.stderr
        options = advised(refused.stderr)
        assert [o[0] for o in options] == ["--by", "--where", "--across"]
        for option in options:
            done = sae_frontier(command, path, *option)
            assert done.returncode == 0, (option, done.stderr)
        assert "kept 32 of" in sae_frontier(command, path, *options[1]).stdout
    assert (
        sae_frontier("compare", saved(pd.concat([table(n_inputs=200), table(n_inputs=250)]))).returncode == 0
    )


def test_fits_of_evaluations_of_unequal_size():
    rows = table(sites=("resid",)).assign(n_inputs=[24] * 8 + [250] * 8)
    fits = frontier.fit(rows, "hill")
    with pytest.raises(ValueError, match="n_inputs is '250' and '24'"):
        frontier.ratio_table(fits, "relu")
    assert len(frontier.ratio_table(frontier.fit(rows, "hill", across=["n_inputs"]), "relu"))
    assert len(
        frontier.ratio_table(frontier.fit(rows.assign(n_inputs=[200] * 8 + [250] * 8), "hill"), "relu")
    )


def test_no_usual_reference(saved):
    path = saved(table(names=("gated", "topk")))
    refused = sae_frontier("compare", path)
    assert "there are gated, topk (reference=, --reference)" in refused.stderr
    for name in ("gated", "topk"):
        assert sae_frontier("compare", path, "--reference", name).returncode == 0


def test_an_axis_without_a_top(saved):
    rows = table()
    path = saved(rows.assign(delta_ce=30 * (1 - rows["loss_recovered"])).drop(columns="loss_recovered"))
    doubted = sae_frontier("fit", path, "--curve", "hill", "--verbose")
    advice = {tuple(o) for o in advised(doubted.stdout)}
    assert advice == {("--curve", "power")}
    done = sae_frontier("fit", path, "--curve", "power", "--verbose")
    assert done.returncode == 0 and "top of 1" not in done.stdout


def test_values_without_a_logarithm(saved):
    rows = table()
    rows.loc[0, "loss_recovered"] = 1.001
    path = saved(rows)
    doubted = sae_frontier("fit", path, "--errors", "relative", "--verbose")
    said = doubted.stdout + doubted.stderr
    assert "use errors='two_component' or 'additive' (--errors)" in " ".join(said.split())
    for model in ("two_component", "additive"):
        assert sae_frontier("fit", path, "--errors", model).returncode == 0


@pytest.mark.parametrize("command", ["compare", "fit"])
def test_all_is_shown_as_said(saved, command):
    path = saved(table(dictionary_size=4096))
    short = sae_frontier(command, path).stdout
    assert short.rstrip().endswith(": --verbose")
    assert len(sae_frontier(command, path, "--verbose").stdout) > len(short)


def test_fit_frontier_is_named_where_it_works():
    for runs, named in ((2, False), (5, True)):
        rows = pd.concat([table(sites=("resid",)).assign(seed=s) for s in range(runs)], ignore_index=True)
        noise = np.random.default_rng(0).standard_normal(len(rows))
        rows["loss_recovered"] = 1 - (1 - rows["loss_recovered"]) * np.exp(0.2 * np.abs(noise))
        ratios = frontier.ratio_table(frontier.fit(frontier.pareto_set(rows), "hill"))
        said = " ".join(str(d) for r in ratios for d in r.doubts)
        assert ("fit_frontier uses all runs" in said) == named, said
    assert len(frontier.fit_frontier(rows, by=["site"])) == 2


def test_rows_in_several_places(tmp_path):
    """Lists inside JSON, sheets of a workbook, files in an archive, under names with spaces."""
    rows = table(sites=("resid",)).drop(columns=["site", "layer", "protocol"])
    records = rows.to_dict("records")
    (tmp_path / "a.json").write_text(
        json.dumps({"my results": {"first half": records, "second half": records}})
    )
    with pd.ExcelWriter(tmp_path / "b.xlsx") as book:
        for name in ("My results", "Others"):
            rows.to_excel(book, sheet_name=name, index=False)
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        for name in ("my out/a.csv", "b.csv"):
            archive.writestr(name, rows.to_csv(index=False))
    for name in ("a.json", "b.xlsx", "c.zip"):
        refused = sae_frontier("compare", tmp_path / name)
        (option,) = advised(refused.stderr)
        assert refused.returncode == 2 and option[0] == "--rows-at"
        assert sae_frontier("compare", tmp_path / name, *option).returncode == 0


def test_a_metric_of_which_nobody_knows_the_better_side(saved):
    path = saved(table().rename(columns={"loss_recovered": "my quality"}))
    refused = sae_frontier("compare", path)
    told = re.search(r"in the command (--y .*)$", refused.stderr)
    assert refused.returncode == 2 and told
    assert sae_frontier("compare", path, *shlex.split(told[1])).returncode == 0


def test_no_column_of_another_metric_is_offered_as_l0(saved):
    refused = sae_frontier("compare", saved(pd.DataFrame({"name": ["a"], "accuracy": [0.5]})))
    assert refused.returncode == 2 and "if 'accuracy' is L0" not in refused.stderr
    assert "with its L0 in a column" in refused.stderr


@pytest.mark.parametrize("lacking", ["fvu", "l0"])
def test_an_sae_without_a_metric_is_dropped_by_name(lacking, tmp_path):
    """Whatever is asked of the table: one of sixteen SAEs has no number, and what is told says so."""
    rows = [
        {"family": f, "l0": l0, "fvu": (p * l0) ** -0.8, "seed": s, "sparsity_setting": i}
        for f, p in (("relu", 0.2), ("topk", 0.4))
        for s in (0, 1)
        for i, l0 in enumerate((10, 30, 90, 270))
    ]
    rows[-1][lacking] = np.nan
    table = frontier.metrics_table(rows)
    for told in (
        frontier.compare(table, "relu").notes,
        frontier.observed_potency(table, "relu").notes,
        frontier.compare_seeds(table, "relu").notes,
        frontier.fit(table, "power").notes,
        frontier.notes(frontier.pareto_set(table)),
    ):
        assert any(re.match(rf"1 (of 16 )?rows? .*{lacking}.* is (missing|not)", n) for n in told), told
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    for word in ("pareto", "fit", "compare"):
        remarks = re.findall(r"^\* .*$", sae_frontier(word, tmp_path / "t.csv").stdout, re.M)
        assert sum(f"1 of 16 rows set aside: 1 because {lacking} is missing" in r for r in remarks) == 1, word
