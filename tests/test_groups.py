"""Which rows belong together, one rule under every entry point; and which rows a curve goes through."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from commands import sae_frontier

import frontier
from frontier.doubts import Kind
from frontier.explorer import Explorer
from frontier.groups import Groups, codes_of, group_codes
from frontier.metrics import metrics_table
from frontier.metrics.checks import TableError
from frontier.pareto.rows import ROWS, chosen_rows

L0 = np.array([10.0, 16, 25, 40, 64, 100])
K = {"relu": 0.035, "topk": 0.1}
"""Hill curves with n = 1: hit = (1 / L0) / (k + 1 / L0)."""


def sweep(cells, families=("relu", "topk"), seeds=(0, 1), noise=0.02):
    """One SAE per cell, family, seed and setting; the larger dictionary is better by a half."""
    rng = np.random.default_rng(1)
    rows = []
    for cell in cells:
        k_factor = 1.5 if cell.get("dictionary_size", 0) > 5000 else 1.0
        for family in families:
            for seed in seeds:
                hit = 1 / (1 + K[family] * k_factor * L0) * np.exp(noise * rng.standard_normal(len(L0)))
                for i, (x, y) in enumerate(zip(L0, hit, strict=True)):
                    row = {"architecture": family, "seed": seed, "sparsity_setting": i, "l0": x}
                    rows.append({**cell, **row, "loss_recovered": 1 - y})
    return metrics_table(rows)


SIZES = [{"dictionary_size": 4096}, {"dictionary_size": 16384}]
TABLES = {
    "two sizes, each with every family": (sweep(SIZES), ["dictionary_size"]),
    "layers and sizes": (
        sweep([{"layer": layer, **size} for layer in (3, 8) for size in SIZES]),
        ["layer", "dictionary_size"],
    ),
    "a size of one family only": (
        pd.concat([sweep(SIZES[:1]), sweep(SIZES[1:], ["topk"])], ignore_index=True),
        [],
    ),
    "sizes that differ by layer": (
        sweep([{"layer": 3, **SIZES[0]}, {"layer": 8, **SIZES[1]}]),
        ["layer"],
    ),
    "one size": (sweep([{"layer": 3}]), ["layer"]),
}


def columns_of(frame, cells=("layer", "dictionary_size")):
    """The cell columns of a result, where it has them all in its own frame."""
    return [c for c in cells if c in frame]


def optimal_in(marked, cells):
    """Whether a table's marks are those of these cells, computed cell by cell."""
    codes = group_codes(marked, [*cells, "family"])[0]
    own = [frontier.is_pareto_optimal(marked[codes == c], [], family=None) for c in np.unique(codes)]
    return pd.concat(own).sort_index().equals(marked["pareto_optimal"].sort_index())


ENTRY_POINTS = {
    "compare": lambda t: frontier.compare(t, "relu").ratios.group_columns,
    "compare, observed": lambda t: frontier.compare(t, "relu").observed.group_columns,
    "compare_seeds": lambda t: frontier.compare_seeds(t, "relu").group_columns,
    "fit": lambda t: frontier.fit(t).group_columns,
    "fit through a Pareto set": lambda t: frontier.fit(frontier.pareto_set(t)).group_columns,
    "fit_frontier": lambda t: frontier.fit_frontier(t).group_columns,
    "observed_potency": lambda t: frontier.observed_potency(t, "relu").group_columns,
    "calibrate": lambda t: columns_of(frontier.calibrate(frontier.fit(t), replicates=10).to_frame()),
    "select_curve": lambda t: frontier.select_curve(frontier.fit(t), replicates=0).group_columns,
    "pool_ratios": lambda t: frontier.ratio_table(frontier.fit(t), "relu").group_columns,
    "attainment": lambda t: columns_of(frontier.attainment(t)),
    "hypervolume": lambda t: columns_of(frontier.hypervolume(t, {"l0": 200, "performance_hit": 1.0})),
    "within_setting": lambda t: columns_of(frontier.within_setting(t).to_frame()),
    "explore": lambda t: Explorer(t, "relu", "auto", "family", None)._cells,
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_every_entry_point_has_the_same_groups(entry, name):
    table, cells = TABLES[name]
    found = [c for c in ENTRY_POINTS[entry](table) if c != "family"]
    assert found == cells == list(Groups.of(table).cells)


@pytest.mark.parametrize("name", TABLES)
def test_pareto_marks_and_figures_have_the_same_groups(name):
    table, cells = TABLES[name]
    assert optimal_in(frontier.mark_pareto(table), cells)
    panels = len(group_codes(table, cells)[1])
    for draw in (frontier.plot_frontiers, lambda t: frontier.plot_fits(frontier.fit(t))):
        assert len(np.ravel(draw(table))) == panels
        plt.close("all")
    ax = frontier.plot_metrics(table, y="loss_recovered")[0]
    lines = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
    assert len(lines) == len(Groups.of(table).names)
    plt.close("all")


@pytest.mark.parametrize("name", ["two sizes, each with every family", "a size of one family only"])
def test_commands_and_report_have_the_same_groups(tmp_path, name):
    table, cells = TABLES[name]
    table.to_csv(tmp_path / "sweep.csv", index=False)
    assert sae_frontier("fit", tmp_path / "sweep.csv", "--out", tmp_path / "fits").returncode == 0
    assert columns_of(pd.read_csv(tmp_path / "fits" / "fits.csv")) == cells
    page = frontier.report(table, tmp_path / "page.html", "relu").read_text()
    assert ("dictionary_size splits the groups" in page) == ("dictionary_size" in cells)


def test_what_split_the_table_and_what_was_pooled_is_said():
    split, pooled = TABLES["two sizes, each with every family"][0], TABLES["a size of one family only"][0]
    for result in (
        frontier.compare(split, "relu"),
        frontier.fit(split),
        frontier.observed_potency(split, "relu"),
    ):
        assert any("dictionary_size splits the groups" in n for n in result.notes)
    assert any("dictionary_size splits" in n for n in frontier.notes(frontier.pareto_set(split)))
    for result in (frontier.compare(pooled, "relu"), frontier.fit(pooled)):
        assert any("dictionary_size 4096, 16384 pooled in 1 group" in n for n in result.notes)
    assert not [n for n in Groups.of(TABLES["one size"][0]).notes if "dictionary_size" in n]


def test_two_sizes_give_the_ratio_of_each():
    """The true potency is K['topk'] / K['relu'] = 2.86 in both sizes, whatever the size's own curve."""
    table = sweep(SIZES, noise=0.0)
    fitted = frontier.ratio_table(frontier.fit(table), "relu")
    compared = frontier.compare(table, "relu").ratios  # the shape is a polynomial, which is near a Hill curve
    for result, tolerance in ((fitted, 1e-6), (compared, 2e-3)):
        found = result.to_frame().query("quantity == 'relative_potency'")
        assert found["dictionary_size"].tolist() == [4096, 16384]
        assert found["ratio"].to_numpy() == pytest.approx(K["topk"] / K["relu"], rel=tolerance)


def test_by_none_is_one_cell_and_a_name_is_that_column():
    table = TABLES["layers and sizes"][0]
    assert (
        Groups.of(table, "none").cells == Groups.of(table, []).cells == Groups.of(table, ["none"]).cells == ()
    )
    assert (
        Groups.of(table, "layer").cells == ("layer",) and Groups.of(table, ["layer"]).columns[-1] == "family"
    )
    named_none = table.assign(none=1)
    assert Groups.of(named_none, "none").cells == ("none",)


def test_a_pareto_set_keeps_its_cells():
    """Beaten rows may take a size away, which must not change the groups of what follows."""
    table = TABLES["a size of one family only"][0]
    front = frontier.pareto_set(table)
    assert Groups.of(front).cells == Groups.of(table).cells == ()
    split = frontier.pareto_set(TABLES["two sizes, each with every family"][0])
    assert Groups.of(split[split["family"] == "topk"]).cells == ("dictionary_size",)


def test_columns_codes_and_names():
    table = metrics_table(
        {
            "architecture": ["b", "a", "b"], "model": ["m", "m", None], "layer": [3.0, 3.0, np.nan],
            "l0": [1, 2, 3], "fvu": [0.1, 0.2, 0.3],
        }
    )  # fmt: skip
    assert Groups.of(table).columns == ("model", "layer", "family")
    assert Groups.of(table, "model", None).columns == ("model",)
    apart = Groups.of(table, ["architecture"])  # families are apart already
    assert apart.columns == ("architecture",) and apart.family == "architecture" and apart.cells == ()
    codes, names = group_codes(table, ["model", "layer"])
    assert codes.tolist() == [0, 0, 1]  # in order of first appearance; missing is a group of its own
    assert names == [{"model": "m", "layer": 3}, {"model": "(missing)", "layer": "(missing)"}]
    assert group_codes(table, [])[1] == [{}]
    with pytest.raises(TableError, match="no column 'modl' to group by; did you mean 'model'"):
        Groups.of(table, "modl")


def test_pairs_are_of_one_cell_and_a_cell_without_the_reference_is_said():
    table = TABLES["layers and sizes"][0]
    lacking = table[
        ~((table["layer"] == 8) & (table["dictionary_size"] == 4096) & (table["family"] == "relu"))
    ]
    groups = Groups.of(lacking, ["layer", "dictionary_size"])
    pairs, remarks = groups.pairs("relu")
    assert [p.cell for p in pairs] == [
        {"layer": 3, "dictionary_size": 4096}, {"layer": 3, "dictionary_size": 16384},
        {"layer": 8, "dictionary_size": 16384},
    ]  # fmt: skip
    assert remarks == ["layer 8, dictionary size 4096: no usable relu, not compared"]
    assert {groups.names[p.family]["family"] for p in pairs} == {"topk"}


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_nullable_and_arrow_columns_with_missing_cells(backend):
    """The same answer as from plain columns, never a traceback."""
    plain = TABLES["layers and sizes"][0].drop(columns=["doubts", "excluded_because"])
    plain = pd.DataFrame(plain.to_dict("list"))
    plain.loc[[3, 40], "architecture"] = None
    plain.loc[[3, 40], "family"] = None
    plain.loc[7, "dictionary_size"] = None
    plain.loc[9, "loss_recovered"] = None
    other = plain.convert_dtypes(dtype_backend=backend)
    for result in (
        lambda t: frontier.observed_potency(t, "relu").to_frame(),
        lambda t: frontier.compare_seeds(t, "relu").to_frame(),
        lambda t: frontier.compare(t, "relu").to_frame(),
        lambda t: frontier.fit(frontier.pareto_set(t)).to_frame(),
        lambda t: frontier.mark_pareto(t)[["l0", "pareto_optimal"]],
    ):
        pd.testing.assert_frame_equal(result(other), result(plain), check_dtype=False)


# --- which rows ----------------------------------------------------------------------------------


def rules(table, rows="auto"):
    chosen = chosen_rows(table, Groups.of(table), rows)
    return {c.group["family"]: (c.rule, c.kept, c.runs) for c in chosen.choices}


def runs(family="relu", **columns):
    """Six runs, of which the fourth beats the fifth and sixth."""
    hits = [0.5, 0.4, 0.3, 0.2, 0.25, 0.22]
    return pd.DataFrame(
        {"family": family, "l0": [10.0, 20, 30, 40, 50, 60], "performance_hit": hits, **columns}
    )


def test_one_run_per_setting_is_no_search():
    assert rules(metrics_table(runs())) == {"relu": ("all", 6, 6)}  # every L0 is a setting of its own
    assert rules(metrics_table(runs(sparsity_setting=range(6)))) == {"relu": ("all", 6, 6)}
    tied_to_the_setting = runs(sparsity_setting=range(6), learning_rate=[1, 1, 1, 2, 2, 2])
    assert rules(metrics_table(tied_to_the_setting)) == {"relu": ("all", 6, 6)}


@pytest.mark.parametrize(
    "columns",
    [
        {"sparsity_setting": [0, 1, 2, 3, 3, 3]},  # what differs is not told
        {"sparsity_setting": [0, 1, 2, 3, 3, 3], "learning_rate": [1, 1, 1, 1, 2, 3], "seed": range(6)},
        {"sparsity_setting": [0, 1, 2, 3, 3, 3], "dictionary_size": [1e3, 1e3, 1e3, 1e3, 2e3, 4e3]},
        {"learning_rate": [1, 1, 1, 2, 2, 2]},  # settings unknown
        {"sparsity_setting": [0, 1, 2, 3, 3, 3], "seed": 0},
        {"sparsity_setting": range(6), "source_pareto_optimal": [True] * 4 + [False] * 2},
    ],
)
def test_a_searched_family_keeps_its_pareto_set(columns):
    table = metrics_table(runs(**columns))
    chosen = chosen_rows(table, Groups.of(table))
    assert rules(table) == {"relu": ("pareto", 4, 6)}
    assert "the Pareto set of relu, 4 of 6 SAEs" in chosen.note and chosen.choices[0].dropped == 2
    assert chosen.table["group_runs"].tolist() == [6] * 4


def test_seeds_are_no_search():
    table = runs(sparsity_setting=[0, 1, 2, 3, 3, 3], seed=[0, 0, 0, 0, 1, 2])
    assert rules(metrics_table(table)) == {"relu": ("all", 6, 6)}


def test_the_rule_is_the_familys_over_all_of_its_groups():
    searched = runs(sparsity_setting=[0, 1, 2, 3, 3, 3], layer=3)
    table = metrics_table(
        pd.concat([searched, runs(sparsity_setting=range(6), layer=4), runs("topk", layer=3)])
    )
    chosen = chosen_rows(table, Groups.of(table))
    found = {(c.group["family"], c.group["layer"]): c.rule for c in chosen.choices}
    assert found == {("relu", 3): "pareto", ("relu", 4): "pareto", ("topk", 3): "all"}
    assert chosen.note.endswith("; every run of topk")


def test_one_chance_tie_of_l0_speaks_for_its_own_group_only():
    """Settings are unknown, and two runs of layer 3 happen to have one L0: layer 4 keeps every run."""
    tie = runs(layer=3)
    tie["l0"] = [*tie["l0"][:-1], tie["l0"].iloc[-2]]
    table = metrics_table(pd.concat([tie, runs(layer=4)]))
    found = {c.group["layer"]: (c.rule, c.kept) for c in chosen_rows(table, Groups.of(table)).choices}
    assert found[3][0] == "pareto" and found[4] == ("all", 6)


def test_rows_by_name():
    table = metrics_table(runs(sparsity_setting=[0, 1, 2, 3, 3, 3]))
    assert rules(table, "all") == {"relu": ("all", 6, 6)} and rules(table, "pareto") == {
        "relu": ("pareto", 4, 6)
    }
    with pytest.raises(ValueError, match="unknown rows 'parto'; did you mean 'pareto'"):
        rules(table, "parto")
    assert ROWS[0] == "auto"


@pytest.mark.parametrize("name", ["gated_gemma7b", "gated_pythia2p8b"])
def test_the_published_tables_were_searched(name):
    """Their authors chose among learning rates and coefficients, and mark what they chose."""
    table = frontier.load_dataset(name)
    chosen = chosen_rows(table, Groups.of(table))
    assert {c.rule for c in chosen.choices} == {"pareto"}
    same = ["model", "site", "layer", "family", "l0", "loss_recovered"]
    pd.testing.assert_frame_equal(chosen.table[same].reset_index(drop=True), frontier.pareto_set(table)[same])


def test_a_dropped_run_is_doubted_and_the_advice_is_possible():
    rng = np.random.default_rng(0)
    for count in (8, 24):
        l0 = np.geomspace(10, 200, count)
        hits = {
            f: k / (k + l0) * np.exp(0.2 * rng.standard_normal(count)) for f, k in (("relu", 5), ("topk", 12))
        }
        table = metrics_table(
            pd.concat([pd.DataFrame({"family": f, "l0": l0, "performance_hit": y}) for f, y in hits.items()])
        )
        fits = frontier.fit(frontier.pareto_set(table))
        doubts = frontier.relative_potency(fits["topk"], fits["relu"]).doubts
        doubts = [d for d in doubts if d.kind is Kind.selected]
        assert len(doubts) == sum(f.n_points < f.runs for f in fits) > 0
        possible = len(frontier.fit_frontier(table)) == 2
        assert all(("fit_frontier" in str(d)) == possible for d in doubts)


def test_observed_points_out_of_order_are_averaged():
    """Two lines parallel in log-log, one with two neighbours exchanged about their geometric mean."""
    swapped = 1 / L0
    swapped[[2, 3]] = swapped[[3, 2]]
    rows = {"relu": 2 / L0, "topk": swapped}
    table = pd.concat([pd.DataFrame({"family": f, "l0": L0, "performance_hit": y}) for f, y in rows.items()])
    found = frontier.observed_potency(table, "relu")["relative_potency", "topk"]
    assert found.ratio == pytest.approx(2.0, rel=1e-12)


def test_codes_are_those_of_pandas_groupby():
    """Missing cells of every kind meet each other, and nothing else; numbered by first appearance."""
    rng = np.random.default_rng(0)
    for n in (1, 7, 30) * 20:
        columns = [
            pd.Series(rng.choice(["a", "b", None, np.nan], n)),
            pd.Series(rng.choice([1.0, 2.5, np.nan, -0.0, 0.0], n)),
            pd.Series(rng.choice([1, 2, None], n)).astype("Int64"),
            pd.Series(rng.choice(["a", None], n)).astype("string"),
            pd.Series(rng.choice(["x", 3, 2.0, None, pd.NA], n), dtype=object),
            pd.Series(rng.choice(["p", "q"], n)).astype("category"),
        ]
        some = [columns[i] for i in rng.permutation(len(columns))[: rng.integers(1, 4)]]
        frame = pd.concat(some, axis=1, keys=range(len(some)))
        meant = frame.groupby(list(frame), sort=False, dropna=False, observed=True).ngroup()
        assert codes_of(some).tolist() == meant.tolist()
