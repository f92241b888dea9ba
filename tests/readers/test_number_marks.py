"""Numbers as the world writes them: marks are decided once per file, and a mark in doubt is a question."""

import json
import re
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import frontier
from frontier.metrics import metrics_table
from frontier.metrics.number_format import written
from frontier.readers import TableError, read

L0 = [500, 1010, 2040, 4110, 8180]
RECOVERED = [0.712, 0.801, 0.873, 0.921, 0.953]
GROUPS = {"dot": ".", "comma": ",", "space": " ", "no-break space": "\u00a0", "narrow space": "\u202f",
          "thin space": "\u2009", "apostrophe": "'", "Swiss": "’", "underscore": "_"}  # fmt: skip


def grouped(value, mark):
    return f"{value:,}".replace(",", mark)


def reads(text, tmp_path, name="t.csv", **options):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read(tmp_path / name, **options)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("mark", GROUPS)
def test_marks_between_thousands(mark, quote, separator, tmp_path):
    decimal = "." if mark == "comma" else ","
    rows = [["arch", "l0", "loss_recovered", "d_sae"]] + [
        ["relu", grouped(l0, GROUPS[mark]), str(r).replace(".", decimal), grouped(16384, GROUPS[mark])]
        for l0, r in zip(L0, RECOVERED, strict=True)
    ]
    text = "\n".join(separator.join(f"{quote}{cell}{quote}" for cell in row) for row in rows)
    table = reads(text, tmp_path)
    assert table["l0"].tolist() == L0
    assert table["loss_recovered"].tolist() == RECOVERED
    assert table["dictionary_size"].tolist() == [16384] * 5


@settings(max_examples=200, deadline=None)
@given(
    value=st.decimals(0, 10**9, places=4, allow_nan=False),
    mark=st.sampled_from(list(GROUPS.values())),
    decimal=st.sampled_from(".,"),
)
def test_a_number_with_all_its_marks_is_read_exactly(value, mark, decimal):
    if mark == decimal:
        return
    whole, _, rest = f"{value:,.4f}".partition(".")
    number = written(whole.replace(",", mark) + decimal + rest)
    assert number is not None
    assert Fraction(number.value(decimal)) == Fraction(float(value))


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [
        ("1.010", ",", 1010), ("1.010", ".", 1.01), ("1,010", ".", 1010), ("1,010", ",", 1.01),
        ("12,34,567", ".", 1234567), ("1.010.000", ".", 1010000), ("1.010,5", ".", 1010.5),
        ("1,010.5", ",", 1010.5), ("0,712", ".", 0.712), (".5", ",", 0.5), ("1,5e-3", ".", 1.5e-3),
        ("1E3", ",", 1000), ("5×10⁻⁴", ".", 5e-4), ("5·10^-4", ".", 5e-4), ("−1,5", ",", -1.5),
        ("64 latents", ".", 64), ("≈ 64", ".", 64), ("3,31 nats/token", ",", 3.31), ("64.2 ± 0.3", ".", 64.2),
        ("+0.5", ".", 0.5),
    ],
)  # fmt: skip
def test_one_number(text, decimal, value):
    assert written(text).value(decimal) == value


@pytest.mark.parametrize(
    "text", ["6.45.1", "1.01.000", "1,0,1", "12.05.2025", "relu", "3 of 4", "<8", "1.2.3,4", ""]
)
def test_no_number(text):
    assert written(text) is None


QUESTIONS = {
    "dots": "arch;l0;loss_recovered\nrelu;1.010;71\nrelu;2.040;80\n",
    "commas": 'arch,l0,loss_recovered\nrelu,"1,010",71\nrelu,"2,040",80\n',
    "two marks elsewhere": "arch;l0;loss_recovered;fvu\nrelu;1.010;0,712;0.31\nrelu;2.040;0,801;0.28\n",
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_mark_in_doubt_is_a_question_that_names_the_options(name, tmp_path):
    mark = "," if name == "commas" else "."
    with pytest.raises(TableError) as caught:
        reads(QUESTIONS[name], tmp_path)
    for words in (
        f"1{mark}010",
        "1010 or 1.01",
        f'thousands="{mark}"',
        f'--thousands "{mark}"',
        f'decimal="{mark}"',
    ):
        assert words in str(caught.value)
    assert reads(QUESTIONS[name], tmp_path, thousands=mark)["l0"].tolist() == [1010, 2040]
    assert reads(QUESTIONS[name], tmp_path, decimal=mark)["l0"].tolist() == [1.01, 2.04]
    other = "," if mark == "." else "."
    assert reads(QUESTIONS[name], tmp_path, decimal=other)["l0"].tolist() == [1010, 2040]


def test_options_that_make_no_sense():
    for options in ({"decimal": ";"}, {"thousands": "x"}, {"decimal": ",", "thousands": ","}):
        with pytest.raises(ValueError, match=r"decimal|thousands"):
            read([{"l0": 1, "mse": 2}], **options)


def test_a_column_that_proves_its_own_mark_needs_no_other(tmp_path):
    text = "arch;l0;loss_recovered\nrelu;12.5;0,712\nrelu;1.010;0,801\nrelu;64;0,9\n"
    assert reads(text, tmp_path)["l0"].tolist() == [12.5, 1.01, 64]


def test_nats_and_counts_answer_by_themselves(tmp_path):
    # Cross-entropies are never a thousand nats; 16.384 latents are no whole number.
    table = reads("arch,l0,ce_clean,ce_sae\nrelu,20,3.312,3.504\n", tmp_path)
    assert table[["ce_clean", "ce_sae"]].to_numpy().tolist() == [[3.312, 3.504]]
    table = reads("arch;l0;mse;d_sae\nrelu;2.040;1.500;16.384\n", tmp_path)
    assert (table["l0"][0], table["mse"][0], table["dictionary_size"][0]) == (2040, 1500, 16384)


def test_counts_are_whole(tmp_path):
    # The mark was lost before the file was written: as a number in JSON it cannot be told from a decimal one.
    sizes = (16.384, 16384, 16384.0)
    records = [{"arch": "relu", "l0": 8 + i, "mse": 0.5, "d_sae": size} for i, size in enumerate(sizes)]
    table = reads(json.dumps(records), tmp_path, "t.json")
    np.testing.assert_array_equal(table["dictionary_size"], [np.nan, 16384, 16384])
    assert table["doubts"].tolist() == ["dictionary_size was no whole number", pd.NA, pd.NA]


def test_floats_as_programs_write_them_among_decimal_commas(tmp_path):
    table = reads("arch;l0;loss_recovered;training_tokens\nrelu;1.010;0,712;500000000.0\n", tmp_path)
    assert (table["l0"][0], table["tokens_trained"][0]) == (1010, 500_000_000)
    assert any("decimal commas" in note and "'1.010' as 1010" in note for note in frontier.notes(table))


@pytest.mark.parametrize("recovered", ["97,5%", "97,5 %", "97.5%"])
def test_per_cent_signs(recovered, tmp_path):
    assert reads(f"arch;l0;loss_recovered\nrelu;12,5;{recovered}\n", tmp_path)["loss_recovered"].tolist() == [
        0.975
    ]


def test_text_in_json_and_frames_follows_the_same_rule(tmp_path):
    records = [{"arch": "relu", "l0": "1.010", "loss_recovered": "0,712"}]
    assert reads(json.dumps(records), tmp_path, "t.json")["l0"].tolist() == [1010]
    assert read(records)["l0"].tolist() == [1010]
    assert metrics_table(pd.DataFrame(records))["l0"].tolist() == [1010]
    with pytest.raises(TableError, match=r"1010 or 1\.01"):
        metrics_table(pd.DataFrame({"l0": ["1.010"], "mse": [0.5]}))


@pytest.mark.parametrize("cell", [True, "true", "TRUE", "False"])
def test_true_is_no_number(cell, tmp_path):
    records = [
        {"arch": "relu", "l0": "30", "loss_recovered": cell},
        {"arch": "relu", "l0": 40, "loss_recovered": "0.9"},
    ]
    table = reads(json.dumps(records), tmp_path, "t.json")
    np.testing.assert_array_equal(table["loss_recovered"], [np.nan, 0.9])
    assert table["doubts"].tolist() == ["loss_recovered was text", pd.NA]
    with pytest.raises(TableError, match="column loss_recovered holds true/false"):
        read([{"l0": 3, "loss_recovered": cell}])


def test_names_that_look_like_numbers_stay_names(tmp_path):
    table = reads("run_id,arch,version,l0,mse\n0012,relu,6.45.1,8,0.5\n0013,relu,6.45.2,16,0.25\n", tmp_path)
    assert table["run_id"].tolist() == ["0012", "0013"]
    assert table["version"].tolist() == ["6.45.1", "6.45.2"]


def test_every_digit_of_a_float_survives(tmp_path):
    values = np.random.default_rng(1).uniform(0, 1, 500)
    frame = pd.DataFrame({"l0": values * 100, "loss_recovered": values})
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert read(tmp_path / "t.csv")["loss_recovered"].tolist() == values.tolist()


def test_the_command_takes_the_options(tmp_path):
    from typer.testing import CliRunner

    from frontier.cli import app

    (tmp_path / "t.csv").write_text(QUESTIONS["dots"])
    with pytest.raises(TableError, match="--thousands"):
        CliRunner().invoke(app, ["pareto", str(tmp_path / "t.csv")], catch_exceptions=False)
    done = CliRunner().invoke(app, ["pareto", str(tmp_path / "t.csv"), "--thousands", "."])
    assert done.exit_code == 0
    assert "1010" in done.output


@pytest.mark.parametrize(
    ("l0", "lost"), [("10 ± 1", "0.2 ± 0.01"), ("10.5(3)", "0.825(12)"), ("9 [8, 10]", "0.2")]
)
def test_what_stands_behind_values_is_said_to_be_left_out(l0, lost, tmp_path):
    """It may be a standard error, an SD or a range, so that it is none of ours."""
    (tmp_path / "a.csv").write_text(f"family;l0;fvu\nrelu;{l0};{lost}\nrelu;20;0.1\n")
    table = read(tmp_path / "a.csv")
    assert table["l0"].tolist() == [float(re.match(r"[\d.]+", l0)[0]), 20]
    assert "l0_se" not in table
    assert any("what stands behind the values" in n and "(l0_se)" in n for n in frontier.notes(table))


def test_a_comma_is_said_where_other_columns_tell_what_it_is(tmp_path):
    (tmp_path / "a.csv").write_text('family,l0,mse\nrelu,"1,040",12.5\nrelu,"2,100",11.1\n')
    table = read(tmp_path / "a.csv")
    assert table["l0"].tolist() == [1040, 2100]
    assert "decimal points: read '1,040' as 1040" in frontier.notes(table)
    plain = read(tmp_path / "a.csv", thousands=",")
    assert plain["l0"].tolist() == [1040, 2100] and not [n for n in frontier.notes(plain) if "1,040" in n]
