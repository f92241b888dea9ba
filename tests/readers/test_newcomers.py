"""What a newcomer's first file holds: the kinds that were read wrong, or refused without a way out."""

import json
import re
import shlex

import pandas as pd
import pytest
from commands import sae_frontier

import frontier
from frontier.metrics import usable
from frontier.readers import TableError, read

L0 = [15.2, 31.4, 62.7, 125.9, 251.3]
RECOVERED = {"relu": [0.741, 0.812, 0.871, 0.918, 0.951], "topk": [0.842, 0.894, 0.931, 0.957, 0.974]}
ROWS = [(a, l0, r) for a, values in RECOVERED.items() for l0, r in zip(L0, values, strict=True)]


def lines(head, form, *below):
    return "\n".join(
        [head, *(form.format(i=i, a=a, l0=l0, r=r) for i, (a, l0, r) in enumerate(ROWS)), *below]
    )


def comma(text):
    return re.sub(r"(\d)\.(\d)", r"\1,\2", text)


READ = {
    "W&B, metrics under eval/": lines(
        "Name,State,Created,architecture,eval/L0,eval/loss recovered", "r{i},finished,x,{a},{l0},{r}"
    ),
    "underscores": lines("arch,test_l0,test_loss_recovered,eval_seed", "{a},{l0},{r},7"),
    "units behind names": lines("ARCHITECTURE,L0 (mean),LOSS RECOVERED (fraction) ↑", "{a},{l0},{r}"),
    "a German mean": comma(lines("Modell;arch;l0;loss_recovered", "g;{a};{l0};{r}", "Mittelwert;;97.3;0.9")),
    "a French mean": comma(lines("modèle;arch;l0;loss_recovered", "g;{a};{l0};{r}", "Moyenne :;;97.3;0.9")),
    "steps in a column called run": lines(
        "run,arch,l0,loss_recovered", "{a}_s{i}_10M_tokens,{a},99,0.5\n{a}_s{i}_50M_tokens,{a},{l0},{r}"
    ),
    "apostrophes of a spreadsheet": lines("arch,l0,loss_recovered", "{a},'{l0},'{r}"),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_read_right(name, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(READ[name], encoding="utf-8")
    table = usable(read(path))
    assert table["architecture"].tolist() == [a for a, _, _ in ROWS]
    assert table["l0"].tolist() == [l0 for _, l0, _ in ROWS]
    assert table["loss_recovered"].tolist() == pytest.approx([r for _, _, r in ROWS])
    assert "seed" not in table
    (found,) = frontier.compare(table)
    assert found.verdict == "better"
    # Straight lines through the points on log axes give 2.665 at the middle hit; a common shape is near them.
    assert found.potency.ratio == pytest.approx(2.665, abs=0.01)


def test_a_setting_of_evaluation_is_none_of_training():
    table = read([{"l0": 8, "loss_recovered": 0.9, "eval/k": 3, "eval_layer": 2, "test_seed": 1}])
    assert not {"sparsity_setting", "layer", "seed"} & set(table.columns)


@pytest.mark.parametrize("column", ["pooling", "ablation", "protocol"])
def test_mean_is_a_word_of_its_own_too(column):
    rows = [{column: kind, "l0": l0, "loss_recovered": r} for kind in ("mean", "zero") for _, l0, r in ROWS]
    assert len(usable(read(rows))) == 20


def test_saes_of_two_files_that_differ_by_rounding_count_once(tmp_path):
    (tmp_path / "a.csv").write_text(lines("run_name,arch,l0,loss_recovered", "{a}{i},{a},{l0:.0f},{r:.2f}"))
    (tmp_path / "b.csv").write_text(lines("run_name,arch,l0,loss_recovered", "{a}{i},{a},{l0},{r}"))
    table = read(tmp_path)
    assert usable(table)["l0"].tolist() == [l0 for _, l0, _ in ROWS]
    assert set(table["excluded_because"].dropna()) == {"another source has this SAE with more digits"}
    (tmp_path / "a.csv").write_text(lines("run_name,arch,l0,loss_recovered", "{a}{i},{a},{l0},0{r:.1f}"))
    assert len(usable(read(tmp_path))) == 10
    other = "run_name,arch,l0,loss_recovered\nrelu0,relu,15.2,0.70\nrelu1,relu,31.4,0.753\n"
    (tmp_path / "a.csv").write_text(other)
    table = read(tmp_path)
    assert len(usable(table)) == 12 and table["doubts"].notna().sum() == 4


def test_ablation_that_lowers_the_loss_is_said():
    table = read(pd.DataFrame([
        {"arch": a, "l0": l0, "ce_clean": 3.5, "ce_sae": 3.5 + (1 - r) / 5, "ce_zero_ablation": 3.45}
        for a, l0, r in ROWS
    ]))  # fmt: skip
    assert "loss_recovered" not in table
    assert any("ablation does not raise the loss in rows 0, 1" in note for note in frontier.notes(table))


def test_what_is_per_cent_of_nobody_knows_what(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(lines("arch,d_sae,L0,loss_recovered", "{a},4096,{i}.3%,{r}"))
    with pytest.raises(TableError, match=r"l0 holds per cent.*nobody says of what.*times dictionary_size"):
        read(path)


NO_L0 = {
    "k alone": (lines("method,K,FVU", "{a},{l0:.0f},{r}"), "sparsity_setting=l0"),
    "target": (lines("method,target L0,FVU", "{a},{l0:.0f},{r}"), "sparsity_setting=l0"),
    "another name": (lines("method,avg # active feats,FVU", "{a},{l0},{r}"), "avg # active feats=l0"),
    "a name of its own": (lines("method,$x,FVU", "{a},{l0},{r}"), "$x=l0"),
    "one of several": (lines("method,p,q,FVU", "{a},{l0},3,{r}"), "p=l0"),
    "several": (lines("i,relu_l0,topk_l0,fvu", "{i},{l0},{l0},{r}"), "relu_l0=l0"),
}


@pytest.mark.parametrize("name", NO_L0)
def test_a_table_without_l0_says_what_to_type(name, tmp_path):
    path = tmp_path / "table.csv"
    content, typed = NO_L0[name]
    path.write_text(content)
    refused = sae_frontier("pareto", path)
    assert refused.returncode == 2 and "no L0 column" in refused.stderr
    option = shlex.split(re.findall(r"\((--map [^)]+)\)", refused.stderr)[-1])
    assert option == ["--map", typed]
    done = sae_frontier("pareto", path, *option)
    assert done.returncode == 0, done.stderr
    assert len(read(path, columns=dict([typed.rsplit("=", 1)]))) == 10


def test_nothing_is_offered_where_settings_differ_in_kind():
    rows = [{"arch": a, "k": 8 if a == "topk" else None, "l1_penalty": None if a == "topk" else 0.1, "fvu": r}
            for a, _, r in ROWS]  # fmt: skip
    with pytest.raises(TableError, match=r"no L0 column [^;]*; one row per SAE is wanted"):
        read(rows)


def test_runs_of_the_api_as_json_mean_what_their_tool_means(tmp_path):
    """The same dicts as in the CSV of the public-API recipe, dumped as JSON."""
    path = tmp_path / "runs.json"
    path.write_text(json.dumps([
        {"name": f"r{i}", "state": "crashed" if i == 3 else "finished",
         "config": {"sae": {"architecture": a}},
         "summary": {"metrics/l0": l0, "losses/mse_loss": 3.0, "_step": 9,
                     "model_performance_preservation.ce_loss_score": r}}
        for i, (a, l0, r) in enumerate(ROWS)
    ]))  # fmt: skip
    table = read(path)
    assert table["run_id"].tolist() == [f"r{i}" for i in range(10)]
    assert table["l0"].tolist() == [l0 for _, l0, _ in ROWS]
    assert "mse" not in table and "mse_of_scaled_activations" in table
    assert table["doubts"].notna().tolist() == [i == 3 for i in range(10)]


MORE = {
    "the block of a layer": (lines("arch,block,l0,loss_recovered", "{a},8,{l0},{r}"), {"layer": 8}),
    "intervals in brackets": (lines("arch;l0;loss_recovered", "{a};{l0} [1.5, 900];{r} [0.1, 1]"), {}),
    "shares by name": (lines("arch,L0 (mean),Loss recovered (fraction)", "{a},{l0},{r}"), {}),
}


@pytest.mark.parametrize("name", MORE)
def test_more_is_read_right(name, tmp_path):
    path = tmp_path / "table.csv"
    content, facts = MORE[name]
    path.write_text(content)
    table = read(path)
    assert table["l0"].tolist() == [l0 for _, l0, _ in ROWS]
    assert table["loss_recovered"].tolist() == [r for _, _, r in ROWS]
    assert all((table[column] == value).all() for column, value in facts.items())


def test_families_of_columns_in_json(tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps({a: {"l0": L0, "loss_recovered": r} for a, r in RECOVERED.items()}))
    table = read(path)
    assert table[["architecture", "l0", "loss_recovered"]].to_numpy().tolist() == [list(row) for row in ROWS]


def test_architectures_and_layers_in_names():
    names = [f"{a}_layer_{layer}_{i}" for layer in (3, 5) for i, (a, _, _) in enumerate(ROWS)]
    rows = [
        {"sae_name": n, "l0": row[1], "loss_recovered": row[2]}
        for n, row in zip(names, ROWS * 2, strict=True)
    ]
    table = read(rows)
    assert table["architecture"].tolist() == [a for a, _, _ in ROWS] * 2
    assert table["layer"].tolist() == [3] * 10 + [5] * 10
    odd = read([{**row, "sae_name": "mine"} if i == 0 else row for i, row in enumerate(rows)])
    assert "architecture" not in odd
    with pytest.raises(ValueError, match=r"nothing to compare; name the column .*\(--map theirs=family\)"):
        frontier.compare(odd)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("L0 (fraction)", "is not L0 itself"),
        ("log10(L0)", "is not L0 itself"),
        ("l0_std", "is not L0 itself"),
        ("fraction of active latents", "is not L0 itself"),
        ("density of active features (%)", "is not L0 itself"),
    ],
)
def test_what_is_made_of_l0_is_not_offered_as_l0(column, words):
    with pytest.raises(TableError, match=words):
        read([{"arch": a, column: 0.01 * l0, "loss_recovered": r} for a, l0, r in ROWS])


def test_a_latex_table_is_refused_in_words(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text(lines(r"Method & L0 & Loss \\", r"{a} & {l0} & {r} \\"))
    with pytest.raises(TableError, match="it is a LaTeX table: put commas"):
        read(path)


def test_whole_numbers_that_cross_the_families_are_a_question(tmp_path):
    """Two layers under a name that nobody knows; every way out works."""
    rows = [{"arch": a, "L": n, "l0": l0, "loss_recovered": r - n / 200} for n in (4, 8) for a, l0, r in ROWS]
    path = tmp_path / "table.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    refused = sae_frontier("compare", path)
    assert refused.returncode == 2 and "'L' is not used, and would split" in refused.stderr
    options = [shlex.split(o) for o in re.findall(r"\((--[^)]+)\)", refused.stderr)]
    assert options == [["--map", "L=layer"], ["--map", "L=seed"], ["--by", "L"], ["--map", "L=ignored"]]
    for option in options:
        assert sae_frontier("compare", path, *option).returncode == 0
    for harmless in ({"batch_size": 4}, {"index": None}, {"L": None}):
        frame = pd.DataFrame(rows[:10]).drop(columns="L").assign(**{c: range(10) for c in harmless})
        assert len(frontier.compare(frame)) == 1


@pytest.mark.parametrize("column", ["dataset", "config.context_size", "data.name"])
def test_two_corpora_of_runs_are_a_question(column, tmp_path):
    """In a log nobody reads them; in an evaluation file they are the protocol."""
    values = {"config.context_size": (128, 1024)}.get(column, ("pile", "owt"))
    head = f"Name,State,Created,{column},arch,metrics/l0,model_performance_preservation/ce_loss_score"
    runs = [f"{a}{i}{d},finished,x,{d},{a},{l0},{r}" for d in values for i, (a, l0, r) in enumerate(ROWS)]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([head, *runs]))
    with pytest.raises(TableError, match=f"'{re.escape(column)}' is not used, and would split"):
        frontier.compare(read(path))
    assert len(frontier.compare(read(path), by=[column])) == 2


def test_an_l0_below_one_is_in_doubt():
    table = read([{"arch": a, "l0": l0 / 4096, "loss_recovered": r} for a, l0, r in ROWS])
    assert table["doubts"].eq("l0 below 1").all()
    assert any("a share of the dictionary" in note for note in frontier.notes(table))
    assert read([{"arch": "relu", "l0": x, "loss_recovered": 0.5} for x in (0.8, 1.5)])["doubts"].isna().all()
