"""Columns as people name them: aliases, mapped, chosen, unread or ambiguous; settings; weak ablations."""

import importlib.util
import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import sae_frontier
from numpy.testing import assert_allclose

import frontier
from frontier.metrics import metrics_table, notes
from frontier.metrics.asked import rows_where
from frontier.metrics.checks import TableError

FAMILIES = {"ReLU": 1.0, "TopK": 0.5}  # at equal L0 topk loses half, on a power law of exponent -0.5: ratio 4


def sweep(family="architecture", metric="fvu", **more):
    """Six SAEs of each family, without noise but for 1 %."""
    draw = np.random.default_rng(0)
    rows = [
        {family: name, "l0": l0, metric: scale * l0**-0.5 * np.exp(draw.normal(0, 0.01))}
        for name, scale in FAMILIES.items()
        for l0 in np.geomspace(10, 160, 6)
    ]
    return pd.DataFrame(rows).assign(**more)


def told(table, words):
    return any(words in note for note in notes(table))


# --- aliases --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["method", "Method", "variant", "model", "Model", "sae_type", "Arch", "SAE class"]
)
def test_whatever_the_column_of_families_is_called(name):
    found = frontier.compare(sweep(family=name), "relu")
    assert [(c.family, c.verdict) for c in found] == [("TopK", "better")]
    fits = frontier.fit(frontier.pareto_set(sweep(family=name)))
    assert [f.n_points for f in fits] == [6, 6]


def test_a_model_is_a_language_model_or_a_kind_of_sae_by_its_values():
    table = metrics_table(sweep(model="pythia-70m"))
    assert "model" in table and set(table["family"]) == {"ReLU", "TopK"}
    table = metrics_table(sweep(family="model"))
    assert "model" not in table and told(table, "kinds of SAE, so it is read as architecture")
    mixed = sweep(family="model").replace({"TopK": "our-sae"})
    with pytest.raises(
        TableError, match=r"kinds of SAE \(ReLU\) or language models \(our-sae\).*--map model="
    ):
        metrics_table(mixed)
    read = frontier.read(mixed, columns={"model": "architecture"})
    assert set(read["family"]) == {"ReLU", "our-sae"}


@pytest.mark.parametrize("name", ["hook_name", "hook_point", "hook", "Hook"])
def test_hooks_tell_sites_and_layers_apart(name):
    frames = [
        sweep(**{name: f"blocks.{layer}.hook_resid_post"}).assign(fvu=lambda f: f["fvu"] * 0.9)
        for layer in (4, 12)
    ]
    found = frontier.compare(pd.concat(frames), "relu")
    assert [c.group for c in found] == [{"site": "resid_post", "layer": layer} for layer in (4, 12)]


def test_hooks_that_are_no_places_stay_as_they_are():
    table = metrics_table(sweep(hook_name="encoder output"))
    assert set(table["site"]) == {"encoder output"} and "layer" not in table
    with_layer = metrics_table(sweep(hook_name="blocks.4.hook_mlp_out", hook_layer=5))  # they contradict
    assert set(with_layer["site"]) == {"blocks.4.hook_mlp_out"} and set(with_layer["layer"]) == {5}


@pytest.mark.parametrize(
    "name", ["ce_recovered_pct", "% CE recovered", "CE Recovered (%)", "loss recovered percent"]
)
def test_per_cent_in_a_name(name):
    frame = sweep()
    frame[name] = 100 * (1 - frame.pop("fvu"))
    table = metrics_table(frame)
    assert_allclose(table["loss_recovered"], frame[name] / 100)


def test_fvu_in_per_cent_by_its_name_alone():
    frame = sweep()
    named = frame.rename(columns={"fvu": "FVU (%)"}).assign(**{"FVU (%)": 100 * frame["fvu"]})
    assert_allclose(metrics_table(named)["fvu"], frame["fvu"])
    large = frame.assign(fvu=100 * frame["fvu"])  # an FVU above 1 is real, and nothing says per cent
    assert_allclose(metrics_table(large)["fvu"], large["fvu"])


# --- columns that play no part --------------------------------------------------------------------


def test_unread_columns_are_named_once():
    table = frontier.read(sweep(batch=4096, colour="red", lr=1e-3))
    assert [n for n in notes(table) if n.startswith("not used")] == ["not used: batch, colour"]
    assert not told(frontier.read(sweep()), "not used")


def two_flavours(**more):
    return pd.concat(
        [sweep(Flavour="plain"), sweep(Flavour="sweet").assign(fvu=lambda f: 0.7 * f["fvu"])]
    ).assign(**more)


@pytest.mark.parametrize("call", [frontier.compare, frontier.observed_potency, frontier.fit])
def test_an_unread_text_column_that_splits_a_group_cleanly_is_a_question(call):
    options = {} if call is frontier.fit else {"reference": "ReLU"}
    with pytest.raises(
        TableError, match=r"'Flavour' is not used.*plain \(6 rows\), sweet \(6 rows\).*--by.*=ignored"
    ):
        call(two_flavours(), **options)
    by = call(two_flavours(), by=["Flavour"], **options)
    assert {row.group["Flavour"] for row in by} == {"plain", "sweet"}
    assert len(call(two_flavours(), across=["Flavour"], **options)) == len(by) / 2
    ignored = frontier.read(two_flavours(), columns={"Flavour": "ignored"})
    assert len(call(ignored, **options)) == len(by) / 2


@pytest.mark.parametrize("values", [("yes", "no"), (True, False), (1, 0)], ids=str)
def test_what_splits_a_group_is_asked_however_yes_and_no_are_written(values):
    frame = two_flavours()
    frame["normalised"] = frame.pop("Flavour").map(dict(zip(("plain", "sweet"), values, strict=True)))
    with pytest.raises(TableError, match=rf"'normalised' is not used.*{values[0]} \(6 rows\)"):
        frontier.compare(frame, "ReLU")


@pytest.mark.parametrize(
    ("theirs", "words"),
    [("L0 (k)", '--map "L0 (k)=l0"'), ("log10_l0", "is not L0 itself"), ("1/L0", "is not L0 itself")],
)
def test_a_frame_without_l0_is_asked_what_a_file_is_asked(theirs, words, tmp_path):
    frame = sweep().rename(columns={"l0": theirs})
    frame.to_csv(tmp_path / "sweep.csv", index=False)
    for table in (frame, tmp_path / "sweep.csv"):
        for call in (frontier.compare, frontier.fit, frontier.pareto_set):
            with pytest.raises(TableError, match=re.escape(words)):
                call(table)


@pytest.mark.parametrize("reference", [1.0, 1, "1"])
def test_families_may_be_numbers(reference):
    """Sizes, or a coefficient, of which some are whole: 1.0 is called 1."""
    frame = sweep()
    names = frame.pop("architecture")
    frame["family"] = names.map(dict(zip(names.unique(), (1.0, 2.5), strict=True)))
    (found,) = frontier.compare(frame, reference)
    assert (found.reference, found.family) == ("1", "2.5")


@pytest.mark.parametrize(
    "options", [{"max_l0": "40"}, {"level": "0.95"}, {"at": ".1"}, {"y": ["fvu"]}], ids=str
)
def test_options_of_another_kind_are_refused_in_words(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} must be"):
        frontier.compare(sweep(), "ReLU", **options)


def test_a_pareto_set_asks_the_same():
    with pytest.raises(TableError, match="'Flavour' is not used, and would split one group"):
        frontier.pareto_set(two_flavours())
    assert set(frontier.pareto_set(two_flavours(), by="Flavour")["Flavour"]) == {"plain", "sweet"}


def test_the_question_offers_families_where_there_are_none():
    frame = two_flavours().query("architecture == 'TopK'").drop(columns="architecture")
    with pytest.raises(TableError, match=r"--map Flavour=family"):
        frontier.fit(frame)
    found = frontier.compare(frontier.read(frame, columns={"Flavour": "family"}), "plain")
    assert found[0].verdict == "better"


def test_columns_that_split_nothing_cleanly_are_no_question():
    names = itertools.count()
    for more in (
        {"note": [f"run {next(names)}" for _ in range(24)]},  # one value a row
        {"tag": ["a"] * 23 + ["b"]},  # one odd row
        {"User": ["anne"] * 6 + ["bob"] * 18},  # Weights & Biases
    ):
        frame = pd.concat([sweep(), sweep(metric="fvu").assign(l0=lambda f: f["l0"] * 1.1)]).assign(**more)
        assert len(frontier.compare(frame, "ReLU")) == 1


# --- what is asked --------------------------------------------------------------------------------


def test_columns_mapped_by_hand(tmp_path):
    frame = (
        sweep().rename(columns={"l0": "active", "architecture": "recipe name"}).assign(fvu=lambda f: f["fvu"])
    )
    frame.to_csv(tmp_path / "own.csv", index=False)
    for source in (frame, tmp_path / "own.csv"):
        table = frontier.read(source, columns={"active": "l0", "recipe name": "family"})
        assert frontier.compare(table, "relu")[0].verdict == "better"
    for wrong, words in (
        ({"activ": "l0"}, "no column 'activ' to map; did you mean 'active'"),
        ({"active": "l00"}, "cannot be mapped to 'l00'; did you mean 'l0'"),
    ):
        with pytest.raises(TableError, match=words):
            frontier.read(tmp_path / "own.csv", columns=wrong)
    (tmp_path / "folder").mkdir()
    for i, part in enumerate((frame[:6], frame[6:])):
        part.to_csv(tmp_path / "folder" / f"{i}.csv", index=False)
    together = frontier.read(tmp_path / "folder", columns={"active": "l0", "recipe name": "family"})
    assert len(together) == 12


def test_a_mapped_column_takes_the_place_of_one_of_that_name():
    frame = sweep().assign(true_l0=lambda f: f["l0"] * 2)
    table = frontier.read(frame, columns={"true_l0": "l0"})
    assert_allclose(table["l0"], 2 * frame["l0"]) and assert_allclose(table["source_l0"], frame["l0"])


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("protocol == 'x'", 6),
        ("protocol == 'x' and l0 < 20", 2),
        ("protocol == 'x' or l0 < 20", 8),
        ("not protocol == 'x'", 6),
        ("architecture in ['ReLU']", 6),
        ("architecture not in ['ReLU', 'x']", 6),
        ("L0 <= 10", 2),  # the name in the source
        ("`my note` == 'a b'", 12),
        ("sparsity > 0.05", 4),  # computed
        ("10 < l0 < 40", 4),
    ],
)
def test_rows_by_a_condition(condition, rows):
    frame = sweep(protocol=["x"] * 6 + ["y"] * 6, **{"my note": "a b"}).rename(columns={"l0": "L0"})
    table = frontier.read(frame, where=condition)
    assert len(table) == rows and told(table, f"kept {rows} of 12 rows: {condition}")


@pytest.mark.parametrize(
    "condition",
    [
        "__import__('os').system('true')", "l0.values.tofile('x')", "@pd.read_csv('x')", "l0.__class__ == 1",
        "open('x')", "[x for x in (1,)]", "(lambda: 1)()", "l0 == 1; l0", "l0 := 3", "l0",
        "`l0", "``", "1 < 2",
        "f'{l0}' == ''", "l0[0] == 1", "l0 ** 9999999 > 1", "'a' * 9999999 == protocol", "(" * 500,
        "", "l0 == 9e9",
        "protocol > 3", "l00 > 1",
    ],
)  # fmt: skip
def test_conditions_that_are_refused(condition):
    table = metrics_table(sweep(protocol="x"))
    with pytest.raises(TableError, match=r"condition|no column|no row meets"):
        rows_where(table, condition)


def test_names_match_without_regard_to_case():
    frame = sweep(layer=3)
    found = frontier.compare(frame, "RELU")
    assert found["topk"] is found["TopK"] and found["TOPK", 3] is found[0]
    fits = frontier.fit(frame)
    assert fits["topk"] is fits["TopK"] is fits[{"family": "TOPK"}]
    topk = frame[frame["architecture"] == "TopK"].assign(protocol="Pile")
    both = pd.concat([topk, topk.assign(protocol="pile", fvu=topk["fvu"] / 2)])
    fits = frontier.fit(both, by=["protocol"])
    assert fits["pile"].y.max() < fits["Pile"].y.max()  # an exact name wins
    with pytest.raises(KeyError, match="several groups match"):
        fits["PILE"]


def test_across_names_a_column_that_is_there():
    for call in (frontier.compare, frontier.fit):
        with pytest.raises(TableError, match=r"no column 'protocoll'.*across; did you mean 'protocol'"):
            call(sweep(protocol="x"), across=["protocoll"])


def test_no_groups():
    frame = sweep(layer=[3, 4] * 6)
    with pytest.raises(TableError, match="rows with different layer"):
        frontier.compare(frame, "ReLU", by=[])
    assert [c.group for c in frontier.compare(frame, "ReLU", by=[], across=["layer"])] == [{}]


def test_a_metric_that_is_said_to_be_one_is_used():
    frame = sweep(metric="my_loss").assign(other=1.0)
    table = frontier.read(frame, better={"my_loss": "lower"})
    assert [n for n in notes(table) if "not used" in n] == ["not used: other"]


def test_y_by_the_name_in_the_source(tmp_path):
    frame = sweep(metric="FVU %").assign(EV=lambda f: 1 - f["FVU %"])
    for y in ("EV", "FVU %", "explained_variance"):
        assert frontier.compare(frame, "relu", y=y)[0].verdict == "better"
        assert frontier.fit(frame, y=y)[0].y_name in ("variance_unexplained", "fvu")
        assert frontier.report(frame, tmp_path / "r.html", "relu", y=y).exists()


# --- curves that suit the axis --------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["delta_ce", "mse", "kl", "ce_sae"])
def test_axes_without_a_top_get_a_power_law_and_one_remark(metric):
    frame = sweep(metric=metric)
    found = frontier.compare(frame.assign(**{metric: 5 * frame[metric]}), "relu")
    assert found[0].verdict == "better" and found[0].potency.ratio == pytest.approx(4, rel=0.05)
    assert found.fits.curve == "power"
    assert sum(metric in note and "no known upper bound" in note for note in found.fits.notes) == 1
    assert len(found[0].doubts) <= 3
    assert frontier.fit(frame, "hill", y=metric).curve == "hill"  # what is asked for is fitted


# --- sparsity settings ----------------------------------------------------------------------------


@pytest.mark.parametrize("unset", [np.nan, 0.0, ""])
def test_settings_of_several_kinds_in_one_table(unset):
    frame = sweep()
    frame["k"] = [unset] * 6 + [10, 20, 30, 40, 80, 160]
    frame["l1_penalty"] = [0.1, 0.05, 0.02, 0.01, 0.005, 0.002] + [unset] * 6
    table = metrics_table(frame)
    assert list(table["sparsity_name"]) == ["l1_penalty"] * 6 + ["k"] * 6
    assert list(table["sparsity_setting"]) == [0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 10, 20, 30, 40, 80, 160]
    assert told(table, "per row the one of k, l1_penalty that is set")


def test_a_row_with_two_settings_keeps_the_columns_apart():
    table = metrics_table(sweep(k=8, l1_penalty=0.1))
    assert set(table["sparsity_name"]) == {"k"} and "l1_penalty" in table


# --- loss recovered where there is little to recover ----------------------------------------------


def test_ablation_that_lowers_the_loss():
    # (3.27 - 3.28) / (3.27 - 3.30) = 1/3: a ratio of two negatives looks like a loss recovered
    losses = {"ce_clean": 3.30, "ce_zero_ablation": [3.27, 9.0], "ce_sae": [3.28, 4.0]}
    table = metrics_table({"l0": [8.0, 16.0], "loss_recovered": [1 / 3, 5.0 / 5.7], **losses})
    assert table["loss_recovered"].isna().tolist() == [True, False]
    assert "ablation does not raise the loss" in table["doubts"][0] and told(table, "row 0; set to missing")
    computed = metrics_table({"l0": [8.0, 16.0], **losses})  # nothing printed, nothing computed
    assert computed["loss_recovered"].isna().tolist() == [True, False]


def test_ablation_that_hardly_changes_the_loss():
    losses = {"ce_clean": 3.300, "ce_zero_ablation": [3.306, 9.0], "ce_sae": [3.303, 4.0]}
    table = metrics_table({"l0": [8.0, 16.0], "loss_recovered": [0.5, 5.0 / 5.7], **losses})
    assert_allclose(table["loss_recovered"], [0.5, 5.0 / 5.7])
    assert "less than 0.01 nats" in table["doubts"][0] and pd.isna(table["doubts"][1])
    assert told(table, "ablation raises the loss by 0.00600 nats only in row 0")


# --- the page -------------------------------------------------------------------------------------


def test_the_page_of_columns_is_current():
    place = Path(__file__).parents[1] / "docs" / "columns_page.py"
    spec = importlib.util.spec_from_file_location("columns_page", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run python docs/columns_page.py"
    assert "columns.md" in (place.parents[1] / "mkdocs.yml").read_text(encoding="utf-8")


# --- the command ----------------------------------------------------------------------------------


def test_options_of_the_command(tmp_path):
    frame = sweep(metric="my score", layer=[3, 4] * 6).rename(columns={"l0": "active"})
    path = tmp_path / "t.csv"
    frame.assign(**{"my score": 1 - frame["my score"]}).to_csv(path, index=False)
    base = ["compare", path, "--reference", "relu", "--map", "active=l0"]
    asked = sae_frontier(*base)
    assert (
        asked.returncode == 2
        and "say which side is better" in asked.stderr
        and "--better higher" in asked.stderr
    )
    ways = (
        ["--y", "my score", "--better", "higher"],
        ["--better", "my score=higher"],
        ["--better", "higher"],
    )
    for better in ways:
        done = sae_frontier(*base, *better, "--by", "none", "--across", "layer")
        assert done.returncode == 0 and "TopK" in done.stdout and "better" in done.stdout
        assert "not used" not in done.stdout
    refused = sae_frontier(*base, "--better", "higher", "--by", "none")
    assert refused.returncode == 2 and "rows with different layer" in refused.stderr
    kept = sae_frontier(*base, "--better", "higher", "--where", "layer == 3")
    assert kept.returncode == 0 and "kept 6 of 12 rows: layer == 3" in kept.stdout
    for wrong, words in (
        (["--map", "active"], "expected --map theirs=ours"),
        (["--better", "higher", "--where", "open('x')"], "holds call, which is not allowed"),
        (["--better", "up"], "better must be 'higher' or 'lower'"),
        (["--better", "higher", "--across", "layr"], "did you mean 'layer'"),
    ):
        done = sae_frontier(*base, *wrong)
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
