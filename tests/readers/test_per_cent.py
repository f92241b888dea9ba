"""Per cent and fractions: a name is believed unless that is absurd, files of one folder are read alike."""

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier.metrics import metrics_table
from frontier.readers import TableError, read

L0 = np.array([10.0, 30.0, 90.0, 270.0])
ONE_SCALE = {"relu": 2.5 * L0**-0.9, "topk": 0.06 * L0**-0.9}  # 31 % down to 1.6 %, and 0.76 % to 0.04 %


def written(folder, name, values, **scales):
    """A file per family, its values in this column."""
    for family, share in values.items():
        frame = pd.DataFrame({"family": family, "l0": L0, name: share * scales.get(family, 100)})
        frame.to_csv(folder / f"{family}.csv", index=False)
    return folder


def shares(table, column, family):
    return table[table["family"] == family][column].tolist()


NAMES = {
    "fvu": ["FVU (%)", "fvu_pct"],
    "performance_hit": ["% performance hit", "Unrecovered loss percent"],
}


@pytest.mark.parametrize(("ours", "theirs"), [(o, t) for o, names in NAMES.items() for t in names])
def test_a_name_that_says_per_cent_is_believed_in_every_file(ours, theirs, tmp_path):
    table = read(written(tmp_path, theirs, ONE_SCALE))
    for family, right in ONE_SCALE.items():
        assert shares(table, ours, family) == pytest.approx(right)
        alone = read(tmp_path / f"{family}.csv")
        assert shares(alone, ours, family) == pytest.approx(right)
    mapped = read(tmp_path / "topk.csv", columns={theirs: f"{ours} (fraction)"})
    assert shares(mapped, ours, "topk") == pytest.approx(100 * ONE_SCALE["topk"])
    note = next(n for n in frontier.notes(alone) if "in spite of the name" in n)
    assert f"columns={{{theirs!r}: '{ours} (fraction)'}}" in note and "--map" in note


@pytest.mark.parametrize("name", ["loss recovered (%)", "explained_variance_pct"])
def test_a_share_that_rises_of_less_than_one_per_cent_is_a_fraction(name):
    frame = pd.DataFrame({"l0": L0, name: [0.82, 0.9, 0.95, 0.98], "fvu": 0.1})
    table = metrics_table(frame)
    (ours,) = {"loss_recovered", "explained_variance"} & set(table.columns)
    assert table[ours].tolist() == frame[name].tolist()
    assert any("the name says per cent" in n and "fractions" in n for n in frontier.notes(table))


def test_what_cannot_be_a_fraction_is_per_cent_as_its_name_says():
    table = metrics_table(pd.DataFrame({"l0": L0, "fvu": 0.1, "% alive": [0.9, 1.2, 1.1, 0.4]}))
    assert table["alive_fraction"].tolist() == pytest.approx([0.009, 0.012, 0.011, 0.004])


def test_a_jump_below_one_per_cent_sets_no_row_aside_where_the_name_tells():
    table = metrics_table(pd.DataFrame({"l0": L0, "performance hit (%)": [25.0, 12.0, 0.8, 0.3]}))
    assert table["excluded_because"].isna().all()
    assert table["performance_hit"].tolist() == pytest.approx([0.25, 0.12, 0.008, 0.003])


def test_files_whose_common_name_says_nothing_are_asked_about(tmp_path):
    written(tmp_path, "performance_hit", ONE_SCALE)
    with pytest.raises(
        TableError, match=r"values up to 31\.\d \(.*relu.csv\) are per cent.*topk.csv"
    ) as error:
        read(tmp_path)
    assert "columns={'performance_hit': 'performance_hit (%)'}" in str(error.value)
    assert '--map "performance_hit=performance_hit (%)"' in str(error.value)
    table = read(tmp_path, columns={"performance_hit": "performance_hit (%)"})
    assert shares(table, "performance_hit", "topk") == pytest.approx(ONE_SCALE["topk"])
    fractions = read(tmp_path, columns={"performance_hit": "performance_hit (fraction)"})
    assert shares(fractions, "performance_hit", "relu") == pytest.approx(100 * ONE_SCALE["relu"])


def test_one_table_of_hits_that_may_be_either_is_asked_about():
    frame = pd.DataFrame(
        {"l0": np.tile(L0, 2), "performance_hit": 100 * np.concatenate([*ONE_SCALE.values()])}
    )
    with pytest.raises(TableError, match=r"from 0\.03\d+ to 31\.\d may be per cent or fractions"):
        read(frame)
    right = np.concatenate([*ONE_SCALE.values()])
    named = read(frame, columns={"performance_hit": "performance_hit (%)"})
    assert named["performance_hit"].tolist() == pytest.approx(right)
    again = metrics_table(named.assign(fvu=0.1))  # a checked table that gained a column is checked again
    assert again["performance_hit"].tolist() == pytest.approx(right)


def test_rising_shares_of_two_files_keep_their_own_scales(tmp_path):
    right = {"relu": 1 - ONE_SCALE["relu"], "topk": 1 - ONE_SCALE["topk"]}
    table = read(written(tmp_path, "loss_recovered", right, topk=1))
    for family, values in right.items():
        assert shares(table, "loss_recovered", family) == pytest.approx(values)


def test_latents_alive_under_one_name_are_read_alike(tmp_path):
    alive = {"relu": np.array([0.9, 1.39, 3.03, 2.0]), "topk": np.array([0.9, 0.8, 0.7, 0.6])}
    written(tmp_path, "alive_pct", alive, relu=1, topk=1)
    for path in tmp_path.glob("*.csv"):
        pd.read_csv(path).assign(fvu=0.1).to_csv(path, index=False)
    assert shares(read(tmp_path), "alive_fraction", "topk") == pytest.approx(alive["topk"] / 100)


def test_what_we_measured_is_a_fraction_however_bad():
    """An SAE that loses many times what it could recover; beside it a foreign column of per cents."""
    ours = pd.DataFrame(
        {"source": "trainers", "family": "topk", "l0": [4.0, 8.0], "loss_recovered": [-2.58, -7.3]}
    )
    theirs = pd.DataFrame(
        {"source": "x.csv", "family": "relu", "l0": [4.0, 8.0], "loss_recovered": [81.0, 90.0]}
    )
    alone = frontier.metrics_table(ours.iloc[:1])
    assert alone["loss_recovered"].tolist() == [-2.58]
    assert frontier.notes(alone) == ("loss_recovered below 0 in row 0; kept",)
    both = frontier.metrics_table(pd.concat([ours, theirs], ignore_index=True))
    assert both["loss_recovered"].tolist() == [-2.58, -7.3, 0.81, 0.9]
    assert both["excluded_because"].isna().all()
