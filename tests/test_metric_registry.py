"""The registry of metrics: which side is better, what falls, and that no second list exists."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.metrics import default_y, metrics_table, notes, values
from frontier.metrics.asked import with_better
from frontier.metrics.axes import falling_axis, falls_to_zero, goal, known_better, usual_curve
from frontier.metrics.checks import TableError
from frontier.metrics.columns import BY_NAME, COLUMNS, COMPUTED, DERIVED, FIDELITY
from frontier.metrics.names import column_named

PACKAGE = Path(frontier.__file__).parent
SAEBENCH = {  # names in SAEBench's result files, and the side that its paper calls better
    "absorption_mean_absorption_fraction_score": "lower",
    "absorption_first_letter_mean_full_absorption_score": "lower",
    "ravel_disentanglement_score": "higher",
    "ravel_disentanglement": "higher",
    "scr_metric_threshold_10": "higher",
    "scr_dir1_threshold_500": "higher",
    "tpp_threshold_50_total_metric": "higher",
    "sparse_probing_sae_top_1_test_accuracy": "higher",
    "sparse_probing_sae_test_accuracy": "higher",
    "unlearning_score": "higher",
    "autointerp_score": "higher",
}
METRICS = [
    c.name for c in (*COLUMNS, *COMPUTED)
    if c.better and c.name not in ("l0", "sparsity", "relative_sparsity")
] + list(SAEBENCH)  # fmt: skip


def losses(seed: int) -> pd.DataFrame:
    """Two families on power laws of what is lost, in (0, 1); topk needs about half of relu's latents."""
    draw = np.random.default_rng(seed)
    rows = []
    for family, scale in (("relu", 1.0), ("topk", 0.6)):
        l0 = np.geomspace(10, 200, 8)
        lost = scale * l0**-0.55 * np.exp(draw.normal(0, 0.02, 8))
        rows += [{"family": family, "l0": x, "lost": y} for x, y in zip(l0, lost, strict=True)]
    return pd.DataFrame(rows)


def named(frame: pd.DataFrame, metric: str, better: str) -> pd.DataFrame:
    """The same SAEs with what they lose written as `metric`."""
    frame = frame.rename(columns={"lost": metric})
    if better == "higher":
        frame[metric] = 1 - frame[metric]
    return frame


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_gives_the_verdict_of_the_same_numbers_as_fvu(metric):
    """The kind behind 'not comparable' with p 7e-14: one list of directions did not know a name."""
    frame = losses(1)
    for swap, verdict in ((False, "better"), (True, "worse")):
        rows = frame.assign(family=frame["family"].map({"relu": "topk", "topk": "relu"})) if swap else frame
        want = frontier.compare(named(rows, "fvu", "lower"), "relu", curve="power")[0]
        assert want.verdict == verdict
        table = metrics_table(named(rows, metric, known_better(metric)))
        found = frontier.compare(table, "relu", y=metric, curve="power")[0]
        assert found.verdict == verdict, found.sentence
        near = 1e-9 if falls_to_zero(falling_axis(table, metric)) else 2e-3  # errors over a floor too
        assert found.potency.ratio == pytest.approx(want.potency.ratio, rel=near)
        assert found.potency.better_when == "above 1"


@pytest.mark.parametrize("metric", METRICS)
def test_falling_axes_fall(metric):
    table = metrics_table(named(losses(2), metric, known_better(metric)))
    axis = falling_axis(table, metric)
    assert goal(table, axis) == "min" and falling_axis(table, axis) == axis
    order = np.argsort(values(table, metric))
    step = np.diff(values(table, axis)[order])
    assert (step < 0).all() if goal(table, metric) == "max" else (step > 0).all()


@pytest.mark.parametrize(("metric", "better"), SAEBENCH.items())
def test_downstream_metrics_have_their_direction(metric, better):
    assert known_better(metric) == better
    assert not known_better(f"{metric}_std_dev") and not known_better(f"my_{metric[::-1]}")


def test_frontier_of_a_metric_that_rises_keeps_the_high_ones():
    table = metrics_table(named(losses(3), "ravel_disentanglement", "higher"))
    kept = frontier.pareto_set(table, objectives={"l0": "min", "ravel_disentanglement": "max"})
    assert len(kept) == len(frontier.pareto_set(table)) == 16  # the default y is 1 - ravel


# --- metrics that the registry does not know ------------------------------------------------------


def test_an_unknown_metric_is_a_question_and_never_a_guess():
    frame = named(losses(4), "my_score", "higher")
    with pytest.raises(TableError, match=r"no fidelity column.*better=\{'my_score': 'higher'\}.*--better"):
        frontier.read(frame)
    frame["mse"] = frame["l0"] ** -0.5
    for call in (frontier.compare, frontier.observed_potency, frontier.attainment):
        options = {} if call is frontier.attainment else {"reference": "relu"}
        with pytest.raises(TableError, match=r"is a higher or a lower my_score better\?.*--better"):
            call(frame.assign(seed=1), y="my_score", **options)
    with pytest.raises(TableError, match="no column 'my_scor'; did you mean 'my_score'"):
        frontier.compare(frame, "relu", y="my_scor")


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_users_say_which_side_is_better(better):
    want = frontier.compare(named(losses(5), "fvu", "lower"), "relu", curve="power")[0]
    frame = named(losses(5), "my_score", better)
    for said in (better, {"my_score": better}):
        table = frontier.read(frame, better=said)
        found = frontier.compare(table, "relu", curve="power")[0]
        near = pytest.approx(want.potency.ratio, rel=2e-3)  # its best value need not be 0
        assert (found.verdict, found.potency.ratio) == (want.verdict, near)
        assert frontier.compare(table[table["l0"] > 5], "relu", curve="power")[0].verdict == "better"
    direct = frontier.compare(frame, "relu", y="my_score", better=better, curve="power")[0]
    assert direct.verdict == "better"
    swapped = frontier.read(frame, better="lower" if better == "higher" else "higher")
    assert goal(swapped, "my_score") != goal(table, "my_score")


def test_wrong_words_about_directions():
    frame = losses(6).assign(a=1.0)
    with pytest.raises(TableError, match="better must be 'higher' or 'lower', found 'up'"):
        with_better(metrics_table(frame), {"a": "up"})
    with pytest.raises(TableError, match="about which column\\? Found lost, a"):
        with_better(metrics_table(frame), "lower")
    with pytest.raises(TableError, match="no column 'b'"):
        with_better(metrics_table(frame), {"b": "lower"})
    table = metrics_table(frame.assign(score=50 - frame["lost"]), better={"score": "higher"})
    with pytest.raises(TableError, match=r"has no bound.*share of the best possible value"):
        frontier.compare(table, "relu", y="score")


def test_in_a_folder_too(tmp_path):
    for i, (_, rows) in enumerate(named(losses(8), "my_score", "higher").groupby("family")):
        rows.to_csv(tmp_path / f"{i}.csv", index=False)
    with pytest.raises(TableError, match="my_score"):
        frontier.read(tmp_path)
    for said in ("higher", {"my_score": "higher"}):
        assert frontier.compare(frontier.read(tmp_path, better=said), "relu")[0].verdict == "better"


def test_the_software_lists_of_pretrained_saes(tmp_path):
    # Their default axis is an explained variance of unknown definition.
    lines = []
    for family, rows in losses(9).groupby("family"):
        lines += [f"{family}:", "  model: m", "  saes:"]
        for l0, lost in zip(rows["l0"], rows["lost"], strict=True):
            lines += [f"  - id: a{l0:.0f}", f"    l0: {l0}", f"    variance_explained: {1 - lost}"]
    path = tmp_path / "pretrained_saes.yaml"
    path.write_text("\n".join(lines))
    found = frontier.compare(path, "relu", curve="power")[0]
    want = frontier.compare(named(losses(9), "fvu", "lower"), "relu", curve="power")[0]
    assert (found.verdict, found.potency.y_name) == ("better", "variance_unexplained")
    assert found.potency.ratio == pytest.approx(want.potency.ratio)


# --- one owner ------------------------------------------------------------------------------------


def test_no_second_list_of_directions():
    """Outside the registry no file names three or more metrics in one tuple, list or set of names."""
    metric = "|".join(sorted({*METRICS, *FIDELITY}, key=len, reverse=True))
    several = re.compile(rf"[(\[{{](?:\s*\"(?:{metric})\",?){{3,}}\s*[)\]}}]")
    allowed = {"metrics/columns.py"}
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if name not in allowed:
            assert not several.search(path.read_text(encoding="utf-8")), name
            assert not re.search(r"(?:HIGHER|LOWER)_IS_BETTER", path.read_text(encoding="utf-8")), name


def test_the_registry_holds_together():
    for column in (*COLUMNS, *COMPUTED):
        assert column.better in ("", "higher", "lower")
        assert set(column.needs) <= set(BY_NAME) and (column.formula is None) == (not column.needs)
        if column.falling:
            assert DERIVED[column.falling] == (column.name,) and known_better(column.falling) == "lower"
        if column.place:
            assert column.better, column.name
    assert all(column_named(name) for name in (*FIDELITY, *DERIVED))


def test_curves_that_may_hold():
    # A Hill curve with top 1 is for shares of what is lost alone.
    shares = ["performance_hit", "fvu", "variance_unexplained", "1 - explained_variance_legacy"]
    assert {usual_curve(y) for y in shares} == {"hill"}
    assert {usual_curve(y) for y in ("delta_ce", "kl", "mse", "ce_sae", "1 - ravel", "my_loss")} == {"power"}


# --- explained variance ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "ours", "scale"),
    [
        ("explained_variance", "explained_variance", 1),
        ("variance_explained", "explained_variance", 1),
        ("Explained Variance (%)", "explained_variance", 100),
        ("pct_variance_explained", "explained_variance", 100),
        ("frac_variance_explained", "frac_variance_explained", 1),
        ("explained_variance_legacy", "explained_variance_legacy", 1),
    ],
)
def test_explained_variance_is_one_minus_fvu_under_its_own_definition(name, ours, scale):
    rows = named(losses(7), "explained_variance", "higher")
    frame = rows.rename(columns={"explained_variance": name})
    frame[name] *= scale
    table = frontier.read(frame)
    np.testing.assert_allclose(values(table, ours), rows["explained_variance"])
    assert "fvu" not in table  # three definitions go by these names, and none is said to be ours
    np.testing.assert_allclose(values(table, default_y(table)), losses(7)["lost"])
    assert frontier.compare(table, "relu")[0].verdict == "better"
    assert scale == 1 or any("per cent" in note for note in notes(table))


# --- what is said of a metric ---------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["%", " %"])
@pytest.mark.parametrize("side", ["higher", {"accuracy": "higher"}])
def test_an_unknown_metric_written_with_per_cent_is_read_as_known_shares_are(sign, side, tmp_path):
    frame = named(losses(8), "accuracy", "higher")
    right = frame["accuracy"].round(4)
    written = frame.assign(accuracy=[f"{100 * v:.2f}{sign}" for v in right])
    written.to_csv(tmp_path / "sweep.csv", index=False)
    for source in (written, tmp_path / "sweep.csv"):
        table = frontier.read(source, better=side)
        np.testing.assert_allclose(table["accuracy"], right)
        assert sum("written with % read as fractions" in note for note in notes(table)) == 1
    assert frontier.compare(table, "relu")[0].verdict == "better"
    with pytest.raises(TableError, match=r"better=\{'accuracy': 'higher'\}"):
        frontier.read(written)


@pytest.mark.parametrize("name", ["accuracy (%)", "Accuracy %", "accuracy_pct"])
@pytest.mark.parametrize("sign", ["", " %"])
def test_an_unknown_metric_whose_name_says_per_cent_is_read_in_shares(name, sign, tmp_path):
    """Under a name that says nothing of per cent; what was said under its own name holds."""
    frame = named(losses(8), "accuracy", "higher")
    right = frame["accuracy"].round(4)
    written = frame.rename(columns={"accuracy": name}).assign(**{name: 100 * right, f"{name}_se": 0.5})
    if sign:
        written[name] = [f"{100 * v:.2f}{sign}" for v in right]
    written.to_csv(tmp_path / "sweep.csv", index=False)
    for source in (written, tmp_path / "sweep.csv"):
        table = frontier.read(source, better={name: "higher"})
        np.testing.assert_allclose(table["accuracy"], right)
        assert name not in table and any(f"{name!r} read as accuracy" in note for note in notes(table))
        assert (table["accuracy_se"] == 0.005).all()
    asked = [frontier.compare(t, "relu", y=name, better="higher")[0] for t in (table, written)]
    shares = frame.assign(accuracy=right, accuracy_se=0.005)
    plain = frontier.compare(shares, "relu", y="accuracy", better="higher")[0]
    assert plain.verdict == "better"
    assert [str(v) for v in asked] == [str(plain)] * 2
    lower = frontier.read(written.assign(**{name: 100 - 100 * right}), better={name: "lower"})
    np.testing.assert_allclose(lower["accuracy"], 1 - right)


def test_an_unknown_metric_that_may_be_per_cent_or_shares_is_asked_about():
    frame = named(losses(8), "accuracy", "higher").rename(columns={"accuracy": "accuracy (%)"})
    with pytest.raises(
        TableError, match=r"says per cent, its values are up to 0\.9.* in a column called accuracy"
    ):
        frontier.read(frame, better="higher")
    both = frame.assign(accuracy=0.5)
    with pytest.raises(TableError, match=r"accuracy \(%\) and accuracy are both there"):
        frontier.read(both, better={"accuracy (%)": "higher"})


@pytest.mark.parametrize("asked", [dict, str])
def test_the_other_side_of_a_known_metric_is_refused(asked):
    frame = named(losses(9), "fvu", "lower")
    wrong = {"fvu": "higher"} if asked is dict else "higher"
    with pytest.raises(TableError, match=r"a lower fvu is better.*\{'fvu': 'higher'\} \(--better higher\)"):
        frontier.compare(frame, "relu", y="fvu", better=wrong)
    with pytest.raises(TableError, match="a lower fvu is better"):
        frontier.read(frame, better={"FVU": "higher"})
    assert frontier.compare(frame, "relu", better={"fvu": "lower"})[0].verdict == "better"


@pytest.mark.parametrize("y", ["l0", "mean_l0", "sparsity"])
@pytest.mark.parametrize("function", [frontier.compare, frontier.fit, frontier.observed_potency])
def test_l0_is_the_x_axis(function, y):
    options = {} if function is frontier.fit else {"reference": "relu"}
    with pytest.raises(TableError, match=f"y = {y} is the x axis here; .* fvu"):
        function(named(losses(9), "fvu", "lower"), y=y, **options)
