"""Files as people and tools write them, invented: each is read right, or refused in words that help."""

import json

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.metrics import usable
from frontier.readers import TableError, read

L0 = [20, 40, 80, 160]
RECOVERED = {"relu": [0.80, 0.86, 0.90, 0.93], "topk": [0.86, 0.91, 0.94, 0.96]}
ROWS = [(a, l0, r) for a, values in RECOVERED.items() for l0, r in zip(L0, values, strict=True)]


def lines(head, form):
    """A header, and a line for each row: `form` with a the architecture, p per cent, c decimal commas."""
    said = [
        form.format(
            i=i, a=a, l0=l0, r=r, p=f"{100 * r:.0f}", c=str(r).replace(".", ","), first=a * (i % 4 == 0)
        )
        for i, (a, l0, r) in enumerate(ROWS)
    ]
    return "\n".join([head, *said, ""])


def records(form):
    return [form(i, *row) for i, row in enumerate(ROWS)]


def sae_lens(i, a, l0, r):
    return {
        "unique_id": f"rel-{a}_{i}", "sae_set": f"rel-{a}", "sae_id": str(i),
        "eval_cfg": {"dataset": "d", "context_size": 128, "library_version": "6.46.0"},
        "metrics": {"sparsity": {"l0": l0}, "model_performance_preservation": {"ce_loss_score": r}},
        "sae_cfg": {"architecture": a, "d_sae": 4096},
    }  # fmt: skip


def sae_bench(i, a, l0, r, mse=0.5):
    return {
        "eval_type_id": "core",
        "eval_config": {"dataset": "d", "context_size": 128, "batch_size_prompts": 16},
        "sae_lens_release_id": "rel", "sae_lens_id": f"{a}_{i}", "sae_cfg_dict": {"architecture": a},
        "eval_result_metrics": {"sparsity": {"l0": l0}, "reconstruction_quality": {"mse": mse},
                                "model_performance_preservation": {"ce_loss_score": r}},
    }  # fmt: skip


def dictionary_learning(i, a, l0, r):
    classes = {"relu": "dictionary_learning.dictionary.AutoEncoderNew", "topk": "AutoEncoderTopK"}
    losses = {"loss_original": 3.0, "loss_reconstructed": 13 - 10 * r, "loss_zero": 13.0}
    beside = {"l2_ratio": 0.95, "hyperparameters": {"n_inputs": 200}, "dict_class": classes[a]}
    return {"l0": float(l0), "frac_recovered": r, **losses, **beside}


def side_by_side(name, keys):
    """One W&B run with the four TopK SAEs as trainers `name-0` to `name-3`."""
    head = ",".join(f"{name}-{i}/{key}" for i in range(4) for key in keys)
    cells = ",".join(f"{l0},{r},{l0}" for _, l0, r in ROWS[4:])
    return f"Name,State,Created,{head}\nrun,finished,x,{cells}\n"


RUNS = "Name,State,Created,Runtime,"
API = "\"{{'l0': {l0}, 'frac_recovered': {r}, 'loss': nan}}\",\"{{'dict_class': 'x.{a}.{a}SAE'}}\""
ROW = "{a},{l0},{r}"
WANDB = {
    "wandb_saelens.csv": lines(
        f"{RUNS}architecture,d_sae,l1_coefficient,metrics/l0,model_performance_preservation/ce_loss_score",
        "run{i},finished,2025,9,{a},4096,1,{l0},{r}",
    ),
    "wandb_own_names.csv": lines(f"{RUNS}arch,l0,frac_recovered", "run{i},finished,x,9,{a},{l0},{r}"),
    "wandb_api.csv": lines("name,summary,config", "run{i}," + API),
    "wandb_runs.json": json.dumps(
        records(
            lambda i, a, l0, r: {"config": {"arch": a, "lr": 1}, "summary": {"l0": l0, "loss_recovered": r}}
        )
    ),
    "wandb_history.csv": lines(
        "_step,_runtime,run,arch,l0,loss_recovered",
        "0,0,r{i},{a},99,0\n500,9,r{i},{a},98,.1\n900,99,r{i},{a},{l0},{r}",
    ),
}
TOOLS = {
    "saelens_dict.json": json.dumps({f"r{i}": sae_lens(i, *row) for i, row in enumerate(ROWS)}),
    "saelens_under_a_name.json": json.dumps({"date": "x", "results": records(sae_lens)}),
    "saelens_lines.jsonl": "\n".join(map(json.dumps, records(sae_lens))),
    "saelens_normalised.csv": pd.json_normalize(records(sae_lens)).to_csv(index=False),
    "saelens_in_europe.csv": pd.json_normalize(records(sae_lens)).to_csv(index=False, sep=";", decimal=","),
    "saelens_2024.csv": lines(
        "sae_id,context_size,dataset,metrics/ce_loss_score,metrics/l0", "{a}_{i},128,d,{r},{l0}"
    ),
    "saebench_list.json": json.dumps(records(sae_bench)),
    "saebench_lines.jsonl": "\n".join(map(json.dumps, records(sae_bench))),
    "saebench_by_name.json": json.dumps({f"sae {i}": sae_bench(i, *row) for i, row in enumerate(ROWS)}),
    "saebench_flat.csv": lines(
        "sae_class,d_sae,l0,ce_loss_score,scr_metric_threshold_10", "{a},4096,{l0},{r},0.3"
    ),
    "dl_list.json": json.dumps(records(dictionary_learning)),
    "dl_by_name.json": json.dumps(
        {f"trainer_{i}": dictionary_learning(i, *row) for i, row in enumerate(ROWS)}
    ),
    "dl_checkpoints.csv": lines(
        "checkpoint,arch,l0,frac_recovered",
        "trainer_{i}/checkpoints/ae_5000.pt,{a},{l0},0.5\ntrainer_{i}/ae.pt,{a},{l0},{r}",
    ),
    "openmoss_list.json": json.dumps(
        records(lambda i, a, l0, r: {"arch": a, "metrics/l0": l0, "metrics/downstream_loss_ratio": 1 / r})
    ),
    "openmoss_nested.json": json.dumps(
        records(lambda i, a, l0, r: {"arch": a, "metrics": {"l0": l0, "downstream_loss_ratio": 1 / r}})
    ),
}
SHEETS = {
    "german.csv": lines("arch;L0;Loss Recovered (%);d_sae", "{a};{l0},0;{p},0;16.384"),
    "decimal_commas.tsv": lines("arch\tL0\tLoss Recovered", "{a}\t{l0}\t{c}"),
    "swiss.csv": lines("arch;l0;loss_recovered;training_tokens", "{a};{l0};{r};500’000’000"),
    "indian.csv": lines("arch,l0,loss_recovered,training_tokens", '{a},{l0},{r},"5,00,00,000"'),
    "units.csv": lines("arch,l0,loss recovered,width", "{a},{l0} latents,{p}%,16k"),
    "plus_minus.csv": lines("arch,l0,loss recovered", "{a},{l0} ± 0.3,{r} (0.01)"),
    "average_below.csv": lines("arch,l0,loss recovered", ROW) + "Average,75,0.89\n",
    "merged_cells.csv": lines("arch,l0,loss recovered", "{first},{l0},{r}"),
    "one_metric_a_row.csv": lines("sae,arch,metric,value", "s{i},{a},l0,{l0}\ns{i},{a},loss_recovered,{r}"),
    "printed.txt": pd.DataFrame(ROWS, columns=["arch", "l0", "loss_recovered"]).to_string(),
    "spaces.txt": lines("arch l0 loss_recovered", "{a} {l0} {r}"),
    "scientific.csv": lines("arch;l0;loss_recovered", "{a};{l0},0E+00;{c}E+00"),
    "header_in_a_comment.csv": lines("# arch,l0,loss_recovered", ROW),
    "note_below.csv": lines("arch,l0,loss_recovered", ROW) + "\nNote: all at layer 8\n",
    "notes_beside.md": lines(
        "| arch | l0 | **loss recovered** | note |\n|:--|--:|--:|---|",
        "| {a} | {l0} | {r} | see [x](y) \\| z |",
    ),
    "percent_column.csv": lines("Arch,L0,% CE recovered", "{a},{l0},{p}"),
}
READ = {**WANDB, **TOOLS, **SHEETS}

HISTORY = ",".join(f"A-{i}/l0,A-{i}/frac_recovered" for i in range(4))
LAST = ",".join(f"{l0},{r}" for _, l0, r in ROWS[4:])
TOPK_ONLY = {
    "wandb_jumprelu_trainers.csv": side_by_side("JumpRelu", ("l0", "frac_recovered", "target_l0")),
    "wandb_any_trainers.csv": side_by_side("my.New Trainer", ("l0", "frac_recovered", "k")),
    "wandb_history_of_trainers.csv": f"_step,_runtime,{HISTORY}\n0,0,1,.1,1,.1,1,.1,1,.1\n9,9,{LAST}\n",
    "dl_columns.json": json.dumps(
        {"l0": L0, "frac_recovered": RECOVERED["topk"], "loss_original": [3.3] * 4}
    ),
}


@pytest.mark.parametrize("name", [*READ, *TOPK_ONLY])
def test_read_right(name, tmp_path):
    (tmp_path / name).write_text({**READ, **TOPK_ONLY}[name], encoding="utf-8")
    table = usable(read(tmp_path / name))
    table = table if name in TOPK_ONLY else table.sort_values(["architecture", "l0"])
    expected = ROWS[4:] if name in TOPK_ONLY else ROWS
    assert table["l0"].tolist() == [l0 for _, l0, _ in expected]
    np.testing.assert_allclose(table["loss_recovered"], [r for _, _, r in expected], rtol=1e-12)
    if name in READ:
        assert table["family"].tolist() == [a for a, _, _ in ROWS]


BATCHES = [
    {"trainer": f"t{t}", "batch_idx": b, "l0": 20 + b, "frac_recovered": 0.9}
    for t in range(3)
    for b in range(5)
]
REFUSED = {
    "batches.csv": (pd.DataFrame(BATCHES).to_csv(index=False), "rows are batches"),
    "batches.json": (json.dumps(BATCHES), "rows are batches"),
    "two_tables.csv": ("arch,l0,mse\nrelu,10,0.5\n\narch,l0,kl\ntopk,10,0.9\n", "another header"),
    "families_side_by_side.csv": ("relu,,topk,\nl0,kl,l0,kl\n20,.8,20,.86\n", "one row per SAE is wanted"),
    "page.csv": ("<table><tr><td>l0</td></tr></table>", "a web page"),
    "chart.csv": ("Step,a - l0,a - l0__MIN,a - l0__MAX\n1,2,2,2\n", "download the runs table"),
    "table.tex": ("\\begin{tabular}{ll}", "unknown kind of file '.tex'; expected .csv"),
    "one_metric_a_row.csv": ("metric,value\nl0,20\nl0,40\nmse,1\nmse,2\n", "no column tells which rows"),
    "no_l0.csv": ("arch,loss_recovered\nrelu,0.9\n", "no L0 column"),
    "saved.npz": ("PK", "an array file without column names: save its table as CSV or Parquet"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_words(name, tmp_path):
    content, words = REFUSED[name]
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(TableError) as caught:
        read(tmp_path / name)
    assert words in str(caught.value)


def test_lists_of_results_are_read_by_what_their_tool_means(tmp_path):
    """SAEBench divides mse by the tokens of a batch: undone in a list as in single files."""
    for name in ("saebench_list.json", "saebench_lines.jsonl", "saebench_by_name.json"):
        (tmp_path / name).write_text(READ[name])
        assert set(read(tmp_path / name)["mse"]) == {0.5 * 16 * 128}


def test_facts_beside_results_in_a_list_are_kept(tmp_path):
    steps = [
        dictionary_learning(0, "topk", 20, r) | {"name": "a", "step": s}
        for s, r in ((1000, 0.7), (2000, 0.8))
    ]
    (tmp_path / "t.json").write_text(json.dumps(steps))
    table = read(tmp_path / "t.json")
    assert table["step"].tolist() == [1000, 2000]


def test_what_excel_made_of_numbers_is_named(tmp_path):
    (tmp_path / "t.csv").write_text(
        "arch,l0,mse\nrelu,12.May,0.5\nrelu,#DIV/0!,0.2\nrelu,20,#N/A\nrelu,30,0.1\n"
    )
    table = read(tmp_path / "t.csv")
    assert table["excluded_because"].tolist() == ["l0 is missing", "l0 is missing", pd.NA, pd.NA]
    assert any("text '#DIV/0!', '12.May' in rows 0, 1 is not a number" in n for n in frontier.notes(table))
