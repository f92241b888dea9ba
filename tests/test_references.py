"""Families and the reference, one rule under every entry point: in any column, without y, alone."""

import numpy as np
import pandas as pd
import pytest
from commands import sae_frontier

import frontier

L0 = np.geomspace(10, 200, 6)


def families(**scales):
    """A sweep of hit = scale / L0 with 3 % noise for each family, two seeds each."""
    rng = np.random.default_rng(0)
    return pd.DataFrame([
        {"family": f, "seed": s, "sparsity_setting": i, "l0": x, "fvu": a / x * rng.lognormal(0, 0.03)}
        for f, a in scales.items() for s in (0, 1) for i, x in enumerate(L0)
    ])  # fmt: skip


TABLE = families(relu=2.0, topk=1.5)
ASKED = {
    "compare": lambda table, **how: frontier.compare(table, "relu", **how).to_frame(),
    "compare_seeds": lambda table, **how: frontier.compare_seeds(table, "relu", **how).to_frame(),
    "observed_potency": lambda table, **how: frontier.observed_potency(table, "relu", **how).to_frame(),
    "compare_budgets": lambda table, **how: frontier.compare_budgets(
        pd.concat([table.assign(tokens_trained=t) for t in (1e6, 2e6)]), "relu", **how).to_frame(),
    "fit": lambda table, **how: frontier.ratio_table(frontier.fit(table, "power", **how), "relu").to_frame(),
    "pareto_set": lambda table, **how: frontier.pareto_set(table, **how)[["l0", "fvu"]],
}  # fmt: skip
"""What takes families, and the numbers it gives."""


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("beside", ["", "family", "architecture"])
def test_families_may_stand_in_any_column(asked, beside):
    """The same numbers as of a column named family; another one beside it plays no part."""
    other = TABLE.rename(columns={"family": "kind"})
    if beside:
        other[beside] = "sae"
    pd.testing.assert_frame_equal(ASKED[asked](other, family="kind"), ASKED[asked](TABLE))


def test_the_command_takes_any_column_of_families(tmp_path):
    path = tmp_path / "sweep.csv"
    TABLE.rename(columns={"family": "kind"}).to_csv(path, index=False)
    told = sae_frontier("compare", path, "--family", "kind", "--reference", "relu")
    assert told.returncode == 0 and "topk is better than relu" in told.stdout


TAKING_A_REFERENCE = ["compare", "compare_seeds", "observed_potency", "compare_budgets"]


@pytest.mark.parametrize("asked", TAKING_A_REFERENCE)
def test_a_reference_without_y_is_said_to_lack_it(asked):
    table = TABLE.assign(kl=TABLE["fvu"], mse=TABLE["fvu"])
    table.loc[table["family"] == "relu", "kl"] = np.nan
    told = r"^relu has \d+ rows and none with kl; topk and relu have fvu, mse: y='fvu' \(--y fvu\)$"
    with pytest.raises(ValueError, match=told):
        ASKED[asked](table, y="kl")
    table["l0"] = table["l0"].where(table["family"] != "relu", -1)
    with pytest.raises(ValueError, match=r"^relu has \d+ rows and none that can be used \(.*missing\)$"):
        ASKED[asked](table)


def test_cells_of_the_reference_alone_are_named():
    one, both = families(relu=2.0), TABLE
    table = pd.concat([both.assign(layer=1), one.assign(layer=2), one.assign(layer=3)])
    fits = frontier.fit(table, "power", by="layer")
    for found in (frontier.compare(table, "relu", by="layer"), frontier.ratio_table(fits, "relu"),
                  frontier.observed_potency(table, "relu", by="layer"),
                  frontier.compare_seeds(table, "relu", by="layer")):  # fmt: skip
        said = [n for n in found.notes if "no family beside relu" in n]
        assert len(said) == 1 and "2" in said[0] and "3" in said[0] and "1" not in said[0]
    nothing = frontier.compare(one, "relu")
    assert not len(nothing) and "no family beside relu has points that can be used" in nothing.to_text()


@pytest.mark.parametrize("column", ["family", "architecture", "kind"])
def test_families_of_one_name_but_for_its_case_are_doubted(column):
    """Each is swept over the same L0, so that nobody knows whether they are one."""
    table = families(ReLU=2.0, relu=2.0, topk=1.5).rename(columns={"family": column})
    how = {} if column == "architecture" else {"family": column}
    for found in (frontier.compare(table, "relu", **how), frontier.fit(table, "power", **how)):
        assert "'ReLU', 'relu' are taken for different families" in found.to_text(width=500)
