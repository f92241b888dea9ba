"""What tells SAEs apart in names of files, SAEs, families and sections: split by, or asked about."""

import numpy as np
import pandas as pd
import pytest
from layers import L0, POTENCY, is_right, potencies, rows, way_out

import frontier
from frontier.readers import TableError, read


def write(folder, files):
    for name, frame in files.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        frame.to_csv(folder / name, index=False)
    return folder


# --- files and folders ---------------------------------------------------------------------------


LAYERS = [
    ("layer3", "layer10"), ("a/layer_3", "a/layer_10"), ("layer_3/all", "layer_10/all"),
    ("gpt2_L3", "gpt2_L10"),
    ("blocks.3.hook_mlp_out/both", "blocks.10.hook_mlp_out/both"), ("Layer 3", "Layer 10"),
]  # fmt: skip


@pytest.mark.parametrize("names", LAYERS)
def test_layers_in_names_of_files_are_layers(names, tmp_path):
    files = {f"{name}.csv": rows(layer) for name, layer in zip(names, (3, 10), strict=True)}
    assert is_right(potencies(write(tmp_path, files)))


@pytest.mark.parametrize(
    "names",
    [
        ("pythia-70m", "gemma-2-2b"),
        ("results", "results_old"),
        ("layer3", "all"),
        ("l3", "l10"),
        ("a/x", "b/x"),
    ],
)
@pytest.mark.parametrize("shift", [1.0, 1.4])
def test_files_that_hold_the_same_saes_again_are_a_question(names, shift, tmp_path):
    """Also where no L0 comes back (shift 1.4), as those of ReLU never do: the hits contradict."""
    files = dict(zip([f"{name}.csv" for name in names], (rows(3), rows(10, shift=shift)), strict=True))
    said = way_out(write(tmp_path, files), "hold the same families at the same settings with other numbers")
    assert f"{names[0]}.csv" in said and "--by source" in said and "--across source" in said
    found = frontier.compare(read(tmp_path), reference="relu", by=["source"]).to_frame()
    assert sorted(found["relative_potency"]) == pytest.approx(sorted(POTENCY.values()), rel=0.03)
    assert len(frontier.compare(read(tmp_path), reference="relu", across=["source"])) == 1


def test_a_file_of_which_half_is_another_again_is_a_question(tmp_path):
    new = rows(3)
    old = new.assign(
        loss_recovered=np.where(
            new["architecture"] == "topk", (1 + new["loss_recovered"]) / 2, new["loss_recovered"]
        )
    )
    write(tmp_path, {"results.csv": new, "results_old.csv": old})
    way_out(tmp_path, r"results.csv, results_old.csv \(source\) hold")
    kept = read(tmp_path, where=f"source == '{tmp_path / 'results.csv'}'")
    assert frontier.compare(kept, reference="relu").to_frame()["relative_potency"].tolist() == pytest.approx(
        [1.7], rel=0.03
    )


def test_files_that_go_on_are_read_without_a_question(tmp_path):
    """Other families, other seeds, further SAEs of a sweep: one table."""
    for i, files in enumerate((
        {"relu.csv": rows(3, ["relu"]), "topk.csv": rows(3, ["topk"])},
        {"a.csv": rows(3, ["relu"]), "b.csv": rows(3, ["topk"])},
        {"seed0.csv": rows(3), "seed1.csv": rows(3, seed=1)},
        {"part1.csv": rows(3), "part2.csv": rows(3, seed=1, shift=1.4)},
        {"part1.csv": rows(3).iloc[::2], "part2.csv": rows(3).iloc[1::2]},
        {"sweep.csv": rows(3), "again.csv": rows(3)},
    )):  # fmt: skip
        assert potencies(write(tmp_path / str(i), files)) == pytest.approx({None: 1.7}, rel=0.03)
    assert read(tmp_path / "2")["seed"].tolist() == [0] * 10 + [1] * 10


# --- names of SAEs -------------------------------------------------------------------------------

NAMES = {
    "sae_id": "blocks.{layer}.hook_resid_post__trainer_{i}",
    "sae_lens_id": "blocks.{layer}.hook_resid_post__trainer_{i}",
    "path": "saes/layer_{layer}/{a}/{i}",
    "run_name": "{a}_L{layer}_{i}",
    "checkpoint_folder": "pythia-layer{layer}-{a}-{i}",
    "name": "layer {layer}, {a} {i}",
}  # fmt: skip


@pytest.mark.parametrize("column", NAMES)
def test_layers_in_names_of_saes_are_layers_beside_an_architecture(column):
    parts = []
    for layer in (3, 10):
        part = rows(layer)
        part[column] = [
            NAMES[column].format(layer=layer, i=i, a=a) for i, a in enumerate(part["architecture"])
        ]
        parts.append(part)
    assert is_right(potencies(pd.concat(parts, ignore_index=True)))


@pytest.mark.parametrize("kinds", [("gpt2", "pythia-70m"), ("16k", "32k"), ("owt", "pile"), ("3", "final")])
def test_kinds_of_names_that_hold_the_same_saes_again_are_a_question(kinds):
    parts = [
        rows(layer).assign(run_name=[f"{kind}-{a}-{i}" for i, a in enumerate(rows(layer)["architecture"])])
        for kind, layer in zip(kinds, (3, 10), strict=True)
    ]
    table = pd.concat(parts, ignore_index=True)
    assert "--across run_id" in way_out(table, "names in 'run_id' are of several kinds")
    assert len(frontier.compare(read(table), reference="relu", across=["run_id"])) == 1


def test_names_that_only_look_like_layers_or_kinds():
    names = [f"epoch_{i}" for i in range(10)], [f"batch_{i}_h{i}" for i in range(10)], list("abcdefghij")
    for own in names:
        assert potencies(rows(3).assign(run_name=own)) == pytest.approx({None: 1.7}, rel=0.03)


# --- sections ------------------------------------------------------------------------------------


def blocks(heads, before="", between="{head}\n", header_again=False):
    """Layers 3 and 10 in one text, `between` above each block (`before` above the first header instead)."""
    texts = [rows(layer).to_csv(index=False).split("\n", 1) for layer in (3, 10)]
    found = before.format(head=heads[0]) + texts[0][0] + "\n"
    for i, ((header, body), head) in enumerate(zip(texts, heads, strict=True)):
        found += "" if before and not i else between.format(head=head)
        found += (header + "\n" if header_again and i else "") + body
    return found


SECTIONS = {
    "rows": blocks(("Layer 3,,", "Layer 10,,")),
    "lines": blocks(("Layer 3", "Layer 10")),
    "a row above the header": blocks(
        ("layer 3", "layer 10"), before="{head}\n", between="\n{head}\n", header_again=True
    ),
    "comments": blocks(("layer 3", "layer 10"), between="# {head}\n"),
    "comments of several words": blocks(
        ("layer 3, resid post", "layer 10, resid post"), between="## {head} ##\n"
    ),
    "a comment on top": blocks(("layer 3", "layer 10"), before="# {head}\n", between="# {head}\n"),
    "sites": blocks(("blocks.3.hook_mlp_out,,", "blocks.10.hook_mlp_out,,")),
}


@pytest.mark.parametrize("kind", SECTIONS)
def test_heads_of_sections_that_tell_layers(kind, tmp_path):
    (tmp_path / "a.csv").write_text(SECTIONS[kind])
    assert len(read(tmp_path / "a.csv")) == 20
    assert is_right(potencies(tmp_path / "a.csv"))
    (tmp_path / "a.csv").rename(tmp_path / "a.txt")
    assert is_right(potencies(tmp_path / "a.txt"))


def test_sections_of_markdown_and_workbooks(tmp_path):
    lines = SECTIONS["rows"].splitlines()
    table = [f"| {line.replace(',', ' | ')} |" for line in lines]
    text = "\n".join([table[0], "|---|---|---|", *table[1:]]).replace("Layer 3", "**Layer 3**")
    (tmp_path / "a.md").write_text(text)
    assert is_right(potencies(tmp_path / "a.md"))
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed (extra excel)")
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append([float(c) if c[:1].isdigit() else c or None for c in line.split(",")])
    book.save(tmp_path / "a.xlsx")
    assert is_right(potencies(tmp_path / "a.xlsx"))


@pytest.mark.parametrize(
    ("heads", "between"),
    [(("", ""), "\n"), (("", ""), ",,\n"), (("", ""), "\n\n \n"), (("GPT-2", "Pythia"), "{head},,\n"),
     (("monday", "tuesday"), "# {head}\n")],
)  # fmt: skip
def test_blocks_that_hold_the_same_saes_again_are_a_question(heads, between, tmp_path):
    (tmp_path / "a.csv").write_text(blocks(heads, between=between))
    way_out(tmp_path / "a.csv", "the column 'section' is not used, and would split")
    found = frontier.compare(read(tmp_path / "a.csv"), reference="relu", by=["section"]).to_frame()
    assert found["relative_potency"].tolist() == pytest.approx([*POTENCY.values()], rel=0.03)
    assert (
        len(frontier.compare(read(tmp_path / "a.csv", columns={"section": "ignored"}), reference="relu")) == 1
    )


def test_heads_that_name_architectures(tmp_path):
    relu, topk = (rows(3, [a]).drop(columns="architecture").to_csv(index=False).split("\n", 1)[1] for a in L0)
    for between in ("# ReLU\n{}# TopK\n{}", "ReLU,\n{}\nTopK,\n{}"):
        (tmp_path / "a.csv").write_text("l0,loss_recovered\n" + between.format(relu, topk))
        assert set(read(tmp_path / "a.csv")["family"].str.lower()) == {"relu", "topk"}


def test_blocks_and_lines_between_that_change_nothing(tmp_path):
    header, body = rows(3).to_csv(index=False).split("\n", 1)
    lines = body.splitlines()
    for text in (
        [header, *lines[:5], "", *lines[5:], "", ""],
        [header, "", *lines[:3], ",,", *lines[3:]],
        ["# swept in May", "# layer 3", header, *lines, "# end"],
        [header, *lines[:5], "# topk was slow", *lines[5:]],
        [header, "Baseline,,", *lines[:5], "Ours,,", *lines[5:]],
        [header, *lines, "Notes: all at 500M tokens,,"],
        [header, *lines[:5], "gated,,", *lines[5:]],
    ):
        (tmp_path / "a.csv").write_text("\n".join(text))
        assert potencies(tmp_path / "a.csv") == pytest.approx({None: 1.7}, rel=0.03)
        assert "section" not in read(tmp_path / "a.csv")


# --- what puts runs together ---------------------------------------------------------------------

HEADS = {
    "plain": "{column},architecture,l0,loss_recovered",
    "W&B": "Name,State,Created,{column},arch,metrics/l0,model_performance_preservation/ce_loss_score",
}
LINES = {"plain": "{kind},{a},{l0},{r}", "W&B": "run-{i},finished,x,{kind},{a},{l0},{r}"}


def together(path, form, column, kinds):
    """A file of layers 3 and 10 that a column of groups alone tells apart."""
    parts = pd.concat([rows(layer).assign(kind=kind) for layer, kind in zip((3, 10), kinds, strict=True)])
    cells = zip(parts["kind"], parts["architecture"], parts["l0"], parts["loss_recovered"], strict=True)
    lines = [LINES[form].format(i=i, kind=k, a=a, l0=l0, r=r) for i, (k, a, l0, r) in enumerate(cells)]
    path.write_text("\n".join([HEADS[form].format(column=column), *lines]))
    return path


@pytest.mark.parametrize("form", HEADS)
@pytest.mark.parametrize("column", ["Group", "Tags", "project", "Notes", "save_dir"])
def test_columns_by_which_runs_are_put_together(form, column, tmp_path):
    assert is_right(potencies(together(tmp_path / "a.csv", form, column, ("layer3", "layer10"))))
    path = together(tmp_path / "b.csv", form, column, ("gpt2", "pythia-70m"))
    assert f"--by {column}" in way_out(path, rf"gpt2, pythia-70m \({column}\) hold")
    found = frontier.compare(read(path), reference="relu", by=[column]).to_frame()["relative_potency"]
    assert sorted(found) == pytest.approx(sorted(POTENCY.values()), rel=0.03)
    assert potencies(together(tmp_path / "c.csv", form, column, ("again", "again"))).keys() == {None}


@pytest.mark.parametrize("form", ["{n}_{a}_{i}", "{a}/{n}/{i}", "{a}-1e-4-{n}-{i}"])
def test_numbers_in_names_that_hold_the_same_saes_again_are_a_question(form):
    parts = [
        rows(n).assign(run_name=[form.format(n=n, a=a, i=i) for i, a in enumerate(rows(n)["architecture"])])
        for n in (3, 10)
    ]
    way_out(pd.concat(parts, ignore_index=True), "are of several kinds, '3', '10', which hold")
    for part in parts:
        assert potencies(part) == pytest.approx({None: POTENCY[3 if part is parts[0] else 10]}, rel=0.03)


@pytest.mark.parametrize("form", ["{a}_layer{n}", "L{n}_{a}", "{a} (layer {n})", "blocks.{n}.{a}"])
@pytest.mark.parametrize("column", ["family", "architecture"])
def test_layers_in_names_of_families(form, column):
    parts = [rows(n).assign(family=[form.format(a=a, n=n) for a in rows(n)["architecture"]]) for n in (3, 10)]
    table = pd.concat(parts, ignore_index=True).drop(columns="architecture")
    assert is_right(potencies(table.rename(columns={"family": column})))
    alone = table[table["family"].isin([form.format(a="relu", n=3), form.format(a="topk", n=10)])]
    assert "layer" not in read(alone)  # other layers, or other recipes? their names stay as they are


def test_groups_that_may_be_families_are_offered_as_such(tmp_path):
    table = rows(3).rename(columns={"architecture": "group"}).assign(group=lambda t: t["group"] + " sweep")
    table["l0"] = [*L0["relu"]] * 2
    table.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(TableError, match=r"\(group\): .* \(--map group=family\) if they are families; else"):
        frontier.pareto_set(read(tmp_path / "a.csv"))
