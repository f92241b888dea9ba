"""Tables as terminals, papers, R, pandas and JSON lay them out: the same ten SAEs out of each."""

import json
import re
import shlex

import pandas as pd
import pytest
from commands import sae_frontier

import frontier
from frontier.metrics import usable
from frontier.metrics.dressing import undressed
from frontier.metrics.number_format import written
from frontier.readers import TableError, read

L0 = [15.2, 31.4, 62.7, 125.9, 251.3]
RECOVERED = {"relu": [0.741, 0.812, 0.871, 0.918, 0.951], "topk": [0.842, 0.894, 0.931, 0.957, 0.974]}
ROWS = [(a, l0, r) for a, values in RECOVERED.items() for l0, r in zip(L0, values, strict=True)]
FRAME = pd.DataFrame(ROWS, columns=["arch", "l0", "loss_recovered"])


def lines(head, form, *below, rows=ROWS):
    said = []
    for i, (a, l0, r) in enumerate(rows):
        shown = {"p": f"{100 * r:.1f}", "hit": f"{100 - 100 * r:.1f}", "ce": f"{12.2 - 9 * r:.4f}"}
        said.append(form.format(i=i, n=i + 1, a=a, l0=l0, k=round(l0), r=r, **shown))
    return "\n".join([head, *said, *below, ""])


def boxed(*rules, row="| {a} | {l0} | {r} |", between=""):
    first, *under = rules
    head = "\n".join([first, row.format(a="arch", l0="l0", r="loss_recovered"), *under[:-1]])
    return lines(head, row + between, under[-1])


LOGGED = [{"run": f"{a}{i}", "architecture": a, "details/n_training_samples": n, "losses/mse_loss": 1.0,
           "metrics/l0": l0 + (n < 9e6), "metrics/explained_variance": r}
          for i, (a, l0, r) in enumerate(ROWS) for n in (4096, 1_000_000, 10_000_000)]  # fmt: skip
BESIDE = [{"time": "x", "sae": {"type": a}, "setup": {"width": 16384},
           "scores": {"l0": {"mean": l0, "std": 1.0}, "loss_recovered": {"mean": r, "std": 0.01}}}
          for a, l0, r in ROWS]  # fmt: skip
SUMMARY = pd.concat(
    [
        FRAME.assign(
            k=FRAME["l0"].round(), l0=FRAME["l0"] + d, loss_recovered=FRAME["loss_recovered"] + d / 1000
        )
        for d in (-1, 0, 1)
    ]
)
SUMMARY = SUMMARY.groupby(["arch", "k"]).agg(["std", "mean"])
READ = {
    "psql.txt": boxed("+----+----+----+", "|----+----+----|", "+----+----+----+"),
    "grid.txt": boxed("+----+----+----+", "+====+====+====+", "", between="\n+----+----+----+"),
    "polars.txt": boxed(
        "shape: (10, 3)\n┌────┬────┬────┐",
        "│ ---  ┆ ---   ┆ --- │\n│ str  ┆ f64   ┆ f64 │\n╞════╪════╪════╡",
        "└────┴────┴────┘", row="│ {a} ┆ {l0} ┆ {r} │"),
    "rich.txt": boxed("┏━━━━┳━━━━┳━━━━┓", "┡━━━━╇━━━━╇━━━━┩", "└────┴────┴────┘", row="│ {a} │ {l0} │ {r} │"),
    "footnotes.md": lines("| Method | L0 | Loss recovered |\n|:-:|:-:|:-:|", "| {a}[^1] | {l0}† | {r}* |",
                          "\n[^1]: ours"),
    "italics.md": lines("| Method | L0 | Loss recovered |\n|---|---|---|", "| *{a}* | ~{l0} | _{r}_ ± 0.1 |"),
    "raised.csv": lines("Method,L0,Loss recovered", "{a},{l0}¹,{r}²"),
    "tex.csv": lines("Method,$L_0$,Loss recovered (\\%)",
                     r"\textbf{{{a}}}~\cite{{x}},${l0}$,$\mathbf{{{p}}}_{{\pm 0.2}}$"),
    "tex_marks.csv": lines("Method,L0,Loss recovered", r"{a},{l0} $\pm$ 0.3,{r}$^{{\dagger}}$"),
    "apostrophes.csv": lines("'arch','l0','loss_recovered'", "'{a}','{l0}','{r}'"),
    "r_names.csv": lines('"arch","l0","loss_recovered"', '"{n}","{a}",{l0},{r}'),
    "r_text_names.csv": lines('"l0","loss_recovered"', '"{a}_{i}",{l0},{r}'),
    "stata.csv": lines("arch,l0,loss_recovered,kl", "{a},{l0},{r},.", "relu,.,0.9,."),
    "agg.csv": SUMMARY.to_csv(),
    "agg_flat.csv": SUMMARY.set_axis(map("_".join, SUMMARY.columns), axis=1).to_csv(),
    "on_its_side.csv": FRAME[["l0", "loss_recovered", "arch"]].T.to_csv(
        header=[f"{a}{i}" for i, a in enumerate(FRAME["arch"])], index_label="metric"),
    "sections.csv": "k,l0,loss_recovered\n" + "".join(
        lines(f"{a},,", "{k},{l0},{r}", rows=[row for row in ROWS if row[0] == a]) for a in RECOVERED),
    "half_signed.csv": lines("arch,l0,loss_recovered", "{a},{l0},{p}%", rows=ROWS[:5]) + lines(
        "arch,l0,loss_recovered", "{a},{l0},{p}", rows=ROWS[5:]),
    "multirow.csv": lines("Method,L0,Loss recovered", r"\multirow{{5}}{{*}}{{{a}}},{l0},**{r}**"),
    "in_per_cent.csv": lines("arch;l0;Loss recovered in %", "{a};{l0};{p}"),
    "printed.txt": FRAME.rename_axis("run").to_string() + "\n\n[10 rows x 3 columns]\n",
    "two_spaces.txt": lines("arch   l0   loss recovered", "{a}  {l0}   {r}"),
    "settings_in_families.csv": lines("arch,l0,loss_recovered", "{a}_k={k},{l0},{r}"),
    "brackets.csv": lines("method,l0,loss_recovered", "{a} ({k}),{l0},{r}"),
    "best_and_last.csv": lines("name,arch,ckpt,l0,loss_recovered",
                               "x{i},{a},best,99,0.5\nx{i},{a},last,{l0},{r}"),
    "classes.csv": lines("Name,State,Created,config.trainer.dict_class,summary.l0,summary.frac_recovered",
                         "x{i},finished,x,{a},{l0},{r}").replace("topk", "AutoEncoderTopK").replace(
                             "relu", "dictionary_learning.dictionary.AutoEncoder"),
    "tuples.csv": SUMMARY.set_axis(SUMMARY.columns.to_flat_index(), axis=1).to_csv(),
    "spread_in_per_cent.csv": lines("arch,l0,loss_unrecovered", "{a},{l0} ± 1,({hit} ± 0.3) %"),
    "jira.txt": lines("||arch||l0||loss_recovered||", "|{a}|{l0}|{r}|"),
    "org.txt": lines("| arch | l0 | loss_recovered |\n|------+------+-----|", "| {a} | {l0} | {r} |"),
    "fenced.txt": "```\n" + FRAME.to_csv(index=False) + "```\n",
    "means_of_families.csv": lines("arch,l0,loss_recovered", "{a},{l0},{r}",
                                   "relu mean,97.3,0.86", "Avg topk,97.3,0.9"),
    "list.yaml": "".join(f"- {{arch: {a}, l0: {l0}, loss_recovered: {r}}}\n" for a, l0, r in ROWS),
    "history.json": json.dumps({"runs": [
        {"arch": a, "name": f"x{i}", "history": [{"l0": n * l0, "loss_recovered": r} for n in (3, 2, 1)]}
        for i, (a, l0, r) in enumerate(ROWS)]}),
    "three_losses.csv": lines("arch,l0,CE (SAE),CE (clean),CE (zero)", "{a},{l0},{ce},3.2,12.2"),
    "config.csv": lines("Name,State,Created,cfg.architecture,cfg.d_sae,measured_l0,lossRecovered",
                        "x{i},finished,x,{a},16384,{l0},{r}"),
    "names.csv": lines("name,l0,loss_recovered", "arch={a};lr=0.001;k={i},{l0},{r}"),
    "sheet.json": json.dumps([list(FRAME), *map(list, ROWS)]),
    "jq.json": "\n".join(json.dumps(record, indent=2) for record in FRAME.to_dict("records")),
    "jq.jsonl": "\n".join(json.dumps(record, indent=2) for record in FRAME.to_dict("records")),
    "facts_beside.jsonl": "\n".join(map(json.dumps, BESIDE)),
    "facts_beside.json": json.dumps({"corpus": "x", "runs": BESIDE}),
    "training.jsonl": "\n".join(map(json.dumps, LOGGED)),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_read_right(name, tmp_path):
    (tmp_path / name).write_text(READ[name], encoding="utf-8")
    table = usable(read(tmp_path / name)).sort_values(["family", "l0"])
    y = "explained_variance" if name == "training.jsonl" else "loss_recovered"
    assert table["family"].str.lower().tolist() == [a for a, _, _ in ROWS]
    assert table["l0"].tolist() == pytest.approx(FRAME["l0"].tolist())
    assert table[y].tolist() == pytest.approx(FRAME["loss_recovered"].tolist())


def test_columns_of_seeds_are_saes(tmp_path):
    head = "arch,k,l0_seed0,l0_seed1,loss_recovered_seed0,loss_recovered_seed1"
    (tmp_path / "t.csv").write_text(lines(head, "{a},{k},{l0},1{l0},{r},0.5"))
    table = read(tmp_path / "t.csv")
    assert table.groupby("seed")["l0"].apply(list).tolist() == [
        FRAME["l0"].tolist(), [float(f"1{l0}") for l0 in FRAME["l0"]]
    ]  # fmt: skip
    assert table.loc[table["seed"] == 1, "loss_recovered"].tolist() == [0.5] * 10


def test_seeds_in_the_names_of_families():
    rows = [{"arch": f"{a}_seed{s}", "l0": l0 + s, "fvu": 1 - r} for a, l0, r in ROWS for s in (0, 1)]
    table = read(rows)
    assert table["family"].tolist() == [a for a, _, _ in ROWS for _ in (0, 1)]
    assert table["seed"].tolist() == [0, 1] * 10
    sizes = [{"arch": f"v{i % 2}", "l0": l0, "fvu": 1 - r} for i, (_, l0, r) in enumerate(ROWS)]
    assert set(read(sizes)["family"]) == {"v0", "v1"}
    for other in ("layer", "", "seed_x", "stack", "l1"):  # a layer, an index, a name: no setting
        named = [{"arch": f"{a}_{other}{i}", "l0": l0, "fvu": 1 - r} for i, (a, l0, r) in enumerate(ROWS)]
        assert read(named)["family"].nunique() == 10
    for form in ("TopK{}", "TopK_{}", "TopK-k{}", "TopK (l0 = {})"):
        named = [{"arch": form.format(round(l0)), "l0": l0, "fvu": 1 - r} for _, l0, r in ROWS[:5]]
        assert set(read(named)["family"]) == {"TopK"}


def test_seeds_layers_and_repeats_that_cells_tell():
    rows = [{"run_id": f"{a}_{i}_seed{s}", "layer": ("8", "layer 8")[s], "l0": l0 + s, "fvu": 1 - r}
            for i, (a, l0, r) in enumerate(ROWS) for s in (0, 1)]  # fmt: skip
    table = read(rows)
    assert table["seed"].tolist() == [0, 1] * 10 and set(table["layer"]) == {8}
    again = read([*rows, {**rows[0], "l0": 15.3, "fvu": 0.2}])
    assert again["doubts"].notna().tolist() == [True, *[False] * 19, True]
    assert any("rows 0, 20: rows of one run_id at about the same L0" in n for n in frontier.notes(again))
    heads = [{**row, "layer": cell} for row, cell in zip(rows, ("H8", "L8") * 10, strict=True)]
    assert set(read(heads)["layer"]) == {"H8", "L8"}  # what they are of differs
    assert "seed" not in read([{"run_id": f"eval_seed{s}", "l0": 8, "fvu": 0.1} for s in (0, 1)])


@pytest.mark.parametrize(("text", "value"), [("–0.2", -0.2), ("5e–4", 5e-4), ("(12.5 ± 0.3)", 12.5)])
def test_dashes_and_brackets(text, value):
    assert written(text).value(".") == value


def test_what_only_looks_like_another_layout_is_none(tmp_path):
    path = tmp_path / "t.csv"
    failed = "name,l0,loss_recovered\nrun a,,\nrun b,8,0.8\nrun c,,\nrun d,9,0.9\n"  # no sections
    path.write_text(failed)
    assert usable(read(path))["l0"].tolist() == [8, 9] and "family" not in read(path)
    sites = [
        {"arch": "relu", "k": k, "position": p, "l0": k, "fvu": 0.1}
        for k in (1, 2, 3)
        for p in ("mlp", "res")
    ]
    assert len(usable(read(sites))) == 6  # no tokens
    path.write_text("arch,l0,loss_recovered,d_sae\n,mean,mean,count\nrelu,8,0.9,64\n")
    table = read(path)
    assert table[["l0", "loss_recovered", "dictionary_size"]].to_numpy().tolist() == [[8, 0.9, 64]]
    path.write_text("arch,l0,fvu\nrelu,8,20%\nrelu,9,15\nrelu,10,10\n")
    assert read(path)["fvu"].tolist() == pytest.approx([0.2, 0.15, 0.1])
    for column, cells in {"l0": "15.2 20% 31.4", "kl": "0.5 7% 3 4", "fvu": "10% 0.2 15"}.items():
        # a share among L0s, a unit that % is not, and a fraction beside per cents: nothing is divided
        frame = pd.DataFrame({"l0": 8.0, "fvu": 0.1, column: cells.split()})
        kept = [float(c) for c in cells.split() if "%" not in c]
        assert read(frame)[column][~frame[column].str.contains("%")].tolist() == kept
    spread = pd.DataFrame({"l0": [8, 9], "loss_recovered": ["0.975 ± 0.3%", "0.97 ± 0.3%"]})
    assert read(spread)["loss_recovered"].tolist() == [0.975, 0.97]  # the % is of the spread alone
    pooled = [{"arch": a, "l0": l0, "fvu": 0.1} for a in ("topk", "topk max") for l0 in (8, 16)]
    assert len(usable(read(pooled))) == 4  # "topk max" is a family
    for label, l0, kept in (
        ("topk max", 12.0, 3),
        ("topk max", 16.0, 2),
        ("topk_std", 4.0, 2),
        ("topk mean", 13, 3),
    ):
        saes = [{"arch": a, "l0": x, "fvu": 1 / x} for a, x in (("topk", 8), ("topk", 16), (label, l0))]
        assert len(usable(read(saes))) == kept  # what is no maximum of the others is an SAE
    named = [{"run_id": r, "arch": "relu", "l0": 8 + i, "fvu": 0.1} for i, r in enumerate(("a", "a_max"))]
    assert len(usable(read(named))) == 2  # nothing is the maximum of one run
    path = tmp_path / "t.json"
    for name in ("samples", "history"):
        path.write_text(json.dumps({"corpus": "x", name: FRAME.to_dict("records")}))
        assert len(usable(read(path))) == 10  # each says which SAE it is
    text = "{'path': 'C:\\\\x', 'cost': '$3$'}"
    assert undressed(text) == text


def test_names_that_differ_by_what_is_raised_are_two(tmp_path):
    rows = [(f"TopK$^{{{3 if a == 'relu' else 2}}}$", l0, r) for a, l0, r in ROWS]
    (tmp_path / "t.csv").write_text(lines("arch,l0,loss_recovered", "{a},{l0},{r}", rows=rows))
    assert read(tmp_path / "t.csv")["family"].tolist() == [a for a, _, _ in rows]


def test_rows_without_a_family_are_no_family():
    table = read([*FRAME.to_dict("records"), {"arch": None, "l0": 40, "loss_recovered": 0.8}])
    assert table["excluded_because"].tolist()[-1] == "family is missing" and len(usable(table)) == 10
    assert len(usable(read(FRAME.drop(columns="arch")))) == 10


def test_a_spread_is_never_the_metric(tmp_path):
    (tmp_path / "t.csv").write_text("arch,l0,loss_recovered\n,std,mean\nrelu,2,0.9\n")
    with pytest.raises(TableError, match="no L0 column"):
        read(tmp_path / "t.csv")
    # What is recovered of a mean ablation is no mean of what is recovered of an unknown one.
    assert "loss_recovered" not in read([{"l0": 3, "kl": 0.1, "loss_recovered_mean": 0.9}])


@pytest.mark.parametrize("text", ["10²", "2 10²", "10^3"])
def test_a_power_is_no_footnote(text):
    assert written(text) is None


@pytest.mark.parametrize("row", ["relu_0,15,2,0.741", "1,010,15.2,0.741", "7,15.2,31.4,0.741"])
def test_a_comma_too_many_is_no_name_of_a_row(row, tmp_path):
    (tmp_path / "t.csv").write_text(f"arch,l0,loss_recovered\n{row}\n")
    with pytest.raises(TableError, match="a row has 4 cells where the header names 3 columns"):
        read(tmp_path / "t.csv")


def test_spellings_of_a_family_are_one():
    spelled = {
        "relu": ["ReLU", "relu", "RELU", "relu", "relu "],
        "topk": ["Top-K", "TopK", "top_k", "TopK", "TOPK"],
    }
    frame = FRAME.assign(arch=[*spelled["relu"], *spelled["topk"]])
    assert frontier.compare(frame)[0].family == "TopK"
    assert set(read(frame)["family"]) == {"relu", "TopK"}
    # Two spellings with a sweep each over one range may be two families: nothing is pooled. In cells of their
    # own, on ranges of their own, or where a few are typed otherwise, they are one.
    two = pd.concat([FRAME[:5].assign(arch="topk"), FRAME[5:].assign(arch="TopK-SAE")])
    table = read(two)
    assert table["family"].tolist() == ["topk"] * 5 + ["TopK-SAE"] * 5
    (said,) = [n for n in frontier.notes(table) if "so they are kept apart" in n]
    (condition,) = re.findall(r'--where "([^"]+)"', said)
    assert set(read(two, where=condition)["family"]) == {"topk"}
    assert frontier.compare(table, "topk")[0].family == "TopK-SAE"
    for frame, families in (
        (two.assign(model=["a"] * 5 + ["b"] * 5), 1),
        (two.assign(model=["a-b"] * 5 + ["A-B"] * 5), 2),
        (two.iloc[:7], 1),
        (two.assign(l0=range(1, 11)), 1),
        (FRAME.assign(arch=["mo", "mosae"] * 5), 2),
    ):
        assert len(set(read(frame)["family"])) == families
    versions = FRAME.assign(arch=["v1.5", "v15", "v1_5", "v2", "V2"] * 2)
    assert set(read(versions)["family"]) == {"v1.5", "v15", "v1_5", "v2"}


def test_fvu_above_one_is_kept_and_what_per_cent_needs_is_said(tmp_path):
    (tmp_path / "t.csv").write_text(lines("arch,l0,fvu", "{a},{l0},{hit}"))
    table = read(tmp_path / "t.csv")
    assert table["fvu"].max() == 25.9 and table["doubts"].tolist() == ["fvu above 1"] * 10
    assert any("if they are per cent, let the column's name end in %" in n for n in frontier.notes(table))
    (tmp_path / "t.csv").write_text(lines("arch,l0,fvu %", "{a},{l0},{hit}"))
    assert read(tmp_path / "t.csv")["fvu"].tolist() == pytest.approx((1 - FRAME["loss_recovered"]).tolist())


REFUSED = {
    "tokens.csv": ("sae,token_idx,l0,kl\n" + "".join(f"{s},{t},9,.{t}\n" for s in "ab" for t in range(1, 5)),
                   "rows are tokens, not SAEs: column token_idx"),
    "latents.csv": ("sae,feature,l0,kl\n" + "".join(f"{s},{t},.1,.{t}\n" for s in "ab" for t in range(1, 5)),
                    "rows are latents, not SAEs: column feature"),
    "printed.txt": (FRAME.to_string(max_rows=4), "rows are left out of this printed table"),
    "batches.json": (json.dumps([{"arch": "relu", "batches": [{"l0": 8, "kl": 1}, {"l0": 9, "kl": 1}]}] * 2),
                     "its rows are batches, not SAEs"),
    "pivot.csv": (lines("l0,relu,topk", "{l0},{r},{r}"), "relu, topk are families side by side"),
    "wide.md": (lines("| L0 | ReLU recovered | TopK recovered |\n|---|---|---|", "| {l0} | {r} | {r} |"),
                "families side by side: one row per SAE is wanted"),
    "killed.jsonl": ('{"l0": 8, "kl": 1}\n{"l0": 9, "kl', "line 2 is not JSON.*delete that line to read"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_words(name, tmp_path):
    content, words = REFUSED[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(TableError, match=words):
        read(tmp_path / name)


# --- ways out that work when they are typed --------------------------------------------------------


def way_out(path, command="pareto"):
    """The last option that a refusal offers, typed."""
    refused = sae_frontier(command, path)
    assert refused.returncode == 2, refused.stdout
    option = shlex.split(re.findall(r"\((--[^)]+)\)", refused.stderr)[-1])
    done = sae_frontier(command, path, *option)
    assert done.returncode == 0, done.stderr
    return option


@pytest.mark.parametrize(
    ("head", "form", "option"),
    [
        ("arch,l0,loss_recovered,NMSE", "{a},{l0},{r},<0.001", "NMSE=ignored"),
        ("arch,sparsity,loss_recovered", "{a},{l0},{r}", "sparsity=l0"),
        ("arch,l0,std,loss recov. on owt", "{a},{l0},1,{r}", "loss recov. on owt=loss_recovered"),
        ("arch,l0,KL [owt]", "{a},{l0},{hit}", "KL [owt]=kl"),
    ],
)
def test_a_refusal_says_what_to_type(head, form, option, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(lines(head, form))
    assert way_out(path) == ["--map", option]


def test_the_families_of_a_table_of_one_architecture_are_a_question(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(lines("arch,activation,l0,loss_recovered", "sae,{a},{l0},{r}"))
    refused = sae_frontier("compare", path)
    assert refused.returncode == 2 and "(--map activation=family) if families" in refused.stderr
    assert len(frontier.compare(read(path, columns={"activation": "family"}))) == 1
    path.write_text(lines("arch,l0,loss_recovered", "{a},{l0},{r}", rows=ROWS[:5]))
    assert (
        "every SAE that can be used is of the family relu; two are wanted"
        in sae_frontier("compare", path).stderr
    )


@pytest.mark.parametrize("head", ["Name,State,arch", "Name,State,Created,arch", "run_id,Status,architecture"])
def test_unfinished_runs_are_said_with_a_way_to_leave_them_out(head, tmp_path):
    path = tmp_path / "runs.csv"
    form = "r{i},finished," + ("x," if "Created" in head else "") + "{a},{l0},{r}"
    below = [form.format(i=90 + i, a=a, l0=80, r=0.2).replace("finished", state)
             for i, (a, state) in enumerate([("relu", "Running"), ("topk", "crashed")])]  # fmt: skip
    path.write_text(lines(f"{head},l0,loss_recovered", form, *below))
    (note,) = [n for n in frontier.notes(read(path)) if "crashed, running in rows 10, 11; kept" in n]
    (condition,) = re.findall(r'--where "([^"]+)"', note)
    assert usable(read(path, where=condition))["l0"].tolist() == FRAME["l0"].tolist()
