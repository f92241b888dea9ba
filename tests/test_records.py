"""How a result was made travels with it, and `rerun` makes it again: equal, or it says what differs."""

import json

import numpy as np
import pandas as pd
import pytest
from commands import sae_frontier

import frontier
from frontier.records import digest, made_line, record_of

ROWS = [
    {"family": f, "l0": l0, "loss_recovered": 1 - h * l0**-0.7 * (1 + 0.03 * (-1) ** i), "model": "m"}
    for f, h in (("relu", 0.9), ("gated", 0.5))
    for i, l0 in enumerate((8.0, 16.0, 32.0, 64.0, 128.0))
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    pd.DataFrame(ROWS).to_csv(tmp_path / "sweep.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(path, change):
    """The saved result with its JSON changed."""
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")
    return path


def test_a_command_writes_what_rerun_makes_again(here):
    assert sae_frontier("compare", "sweep.csv", "--reference", "relu", "--out", "results").returncode == 0
    done = sae_frontier("rerun", "results/comparison.json")
    assert done.returncode == 0, done.stderr
    assert "equal: all" in done.stdout and "frontier.compare(frontier.read('sweep.csv')" in done.stdout


def test_a_changed_number_is_found_and_named(here):
    path = frontier.fit("sweep.csv", "power").save(here / "fits.json")
    changed(path, lambda r: r["fits"][1].update(sigma=r["fits"][1]["sigma"] * 1.25))
    done = sae_frontier("rerun", path)
    assert done.returncode == 1
    assert "the largest relative difference is 0.200, at fits[1].sigma" in done.stdout


def test_changed_data_is_not_taken(here):
    path = frontier.compare(frontier.read("sweep.csv"), "relu").save(here / "found.json")
    rows = pd.read_csv("sweep.csv")
    rows.loc[3, "l0"] += 1e-9
    rows.to_csv("sweep.csv", index=False)
    with pytest.raises(ValueError, match="not the data that was used: no table of 10 rows with sha256"):
        frontier.rerun(path)


def test_chosen_rows_parts_and_calls_of_calls(here):
    table = frontier.read("sweep.csv")
    sparse = table[table["l0"] < 100]
    found = frontier.compare(sparse, "relu")
    ratios = frontier.ratio_table(frontier.fit(frontier.pareto_set(sparse), "hill"), "relu")
    for name, result in {"ratios": found.ratios, "potencies": found.potencies, "nested": ratios}.items():
        again = frontier.rerun(result.save(here / f"{name}.json"))
        assert again.equal, again
    assert made_line(found.ratios).endswith(
        "frontier.compare(frontier.read('sweep.csv')[8 rows], reference='relu').ratios"
    )


def test_a_table_in_memory_is_given_again(here):
    frame = pd.DataFrame(ROWS)
    path = frontier.fit(frame, "power").save(here / "fits.json")
    with pytest.raises(ValueError, match="in memory, so that only its digest is known; give it by --data"):
        frontier.rerun(path)
    assert frontier.rerun(path, frame).equal and frontier.rerun(path, "sweep.csv").equal
    with pytest.raises(ValueError, match="not the data that was used"):
        frontier.rerun(path, frame.iloc[:9])


def test_no_path_of_the_machine_is_noted(here, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("home_of_alice") / "sweep.csv"
    pd.DataFrame(ROWS).to_csv(elsewhere, index=False)
    for source in (elsewhere, str(elsewhere)):
        assert record_of(frontier.read(source))["arguments"]["source"]["$file"] == "sweep.csv"


def test_data_below_the_working_folder_is_found_however_it_was_named(here, tmp_path_factory):
    away = tmp_path_factory.mktemp("away")
    (here / "sweep.csv").rename(away / "sweep.csv")
    (here / "plain").mkdir()
    pd.DataFrame(ROWS).to_csv(here / "plain" / "sweep.csv", index=False)
    (here / "linked").symlink_to(away)
    sources = [f"{folder}{name}" for folder in ("plain", "linked") for name in ("", "/sweep.csv")]
    for source in [*sources, *(here / s for s in sources), "plain/../linked/sweep.csv"]:
        path = frontier.fit(source, "power").save(here / "results" / "fits.json")
        assert frontier.rerun(path).equal, source


def test_data_that_is_not_found_is_asked_for_by_a_command_that_works(here, monkeypatch, tmp_path_factory):
    path = frontier.fit("sweep.csv", "power").save(here / "results" / "fits.json")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    done = sae_frontier("rerun", path)
    assert done.returncode == 2 and f"beside the saved result, in {here / 'results'}" in done.stderr
    assert f"nor below {elsewhere}, where this was called" in done.stderr
    typed = done.stderr.split("say where the data is: ")[1].split()
    assert typed[0] == "sae-frontier"
    done = sae_frontier(*(word.replace("PLACE", str(here)) for word in typed[1:]))
    assert done.returncode == 0 and "equal: all" in done.stdout
    path = frontier.fit(here / "sweep.csv", "power").save(elsewhere / "fits.json")
    with pytest.raises(ValueError, match="outside of the working folder only the name is noted"):
        frontier.rerun(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["made"].update(call="os.system"), "no function that can be run again"),
        (lambda r: r["made"]["arguments"].update(table="/etc/passwd"), "text, where a record has a file"),
        (lambda r: r["made"]["arguments"].update(table={"$made": "/etc/passwd"}), "text, where a record"),
        (lambda r: r["made"]["arguments"].update(table={"$file": "../secret.csv"}), "not below a folder"),
        (lambda r: r["made"]["arguments"].update(table={"$file": "/etc/passwd"}), "not below a folder"),
        (lambda r: r["made"]["arguments"].update(table={"$file": "gone.csv"}), "lies neither beside"),
        (lambda r: r["made"]["arguments"].update(nonsense=1), "its record cannot be followed"),
        (lambda r: r["made"].update(arguments=3), "does not say how it was made"),
        (lambda r: r.pop("made"), "does not say how it was made"),
    ],
)
def test_a_record_runs_no_code_and_opens_no_file_elsewhere(here, change, said):
    path = frontier.fit("sweep.csv", "power").save(here / "fits.json")
    changed(path, change)
    with pytest.raises(ValueError, match=said):
        frontier.rerun(path)


def test_the_line_stands_in_every_face(here):
    found = frontier.fit("sweep.csv", "power")
    line = made_line(found)
    assert f"sae-frontier {frontier.__version__}" in line and f"numpy {np.__version__}" in line
    for face in (found.to_text(verbose=True), found.to_markdown(), found.to_html(), found.to_latex()):
        assert "sha256" in face and "sweep.csv" in face
    assert found.to_latex().splitlines()[-1].startswith("% Made with")
    assert "sha256" not in repr(found)


def test_a_reload_equals_and_keeps_the_record(here):
    found = frontier.compare("sweep.csv", "relu")
    plain = json.loads(json.dumps(found.to_dict()))
    for again in (type(found).load(found.save("found.json")), type(found).from_dict(plain)):
        assert again == found and made_line(again) == made_line(found)
        assert made_line(again.ratios) == made_line(found.ratios) != ""
    for one in (found[0], found.ratios, found.fits):
        assert made_line(type(one).from_dict(one.to_dict())) == made_line(one) != ""


def test_the_digest_is_of_values_not_of_kinds_or_labels():
    frame = pd.DataFrame({"b": ["x", None], "a": [1, -0.0]})
    same = [
        frame[["a", "b"]], frame.set_axis([5, 9]), frame.astype({"a": "Float64"}),
        frame.assign(b=pd.array(["x", pd.NA], dtype="string")),
    ]  # fmt: skip
    assert {digest(f) for f in same} == {digest(frame)}
    others = [
        frame.iloc[::-1],
        frame.assign(a=[1, 1e-300]),
        frame.rename(columns={"a": "c"}),
        frame.fillna(""),
    ]
    assert digest(frame) not in {digest(f) for f in others} and len({digest(f) for f in others}) == 4


def test_the_record_is_of_the_outermost_call(here):
    found = frontier.compare(frontier.read("sweep.csv"), "relu")
    assert record_of(found)["call"] == "compare"
    assert record_of(found[0]) == {"part": ["comparisons", 0], "of": record_of(found)}
