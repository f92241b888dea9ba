"""SAELens' list of pretrained SAEs: what each entry says is columns, and explained variance compares."""

import numpy as np
import pandas as pd
import pytest

import frontier

L0S = (10.0, 20.0, 40.0, 80.0, 160.0)


def entry(release, scale, l0, width):
    """An entry with explained variance 1 - scale / L0^0.6, a little off."""
    explained = 1 - scale * l0**-0.6 * (1 + 0.02 * np.cos(l0))
    name = f"blocks.8.hook_resid_pre/{width}/l0_x{l0:g}"
    return f"  - {{id: {name}, path: {release}/{name}, l0: {l0}, variance_explained: {explained:.6f}}}\n"


@pytest.fixture
def table(tmp_path):
    text = ""
    for release, scale, width in (("res-relu", 0.8, "width_16k"), ("res-topk", 0.4, "width_16k_l0_big")):
        text += f"{release}:\n  model: gpt2-small\n  repo_id: a/b\n  saes:\n"
        text += "".join(entry(release, scale, l0, width) for l0 in L0S)
    (tmp_path / "pretrained_saes.yaml").write_text(text, encoding="utf-8")
    return frontier.read(tmp_path / "pretrained_saes.yaml")


def test_hook_width_and_l0_are_columns(table):
    assert table["hook_name"].tolist() == ["blocks.8.hook_resid_pre"] * 10
    assert table["dictionary_size"].tolist() == [16384] * 10
    assert table["l0"].tolist() == [*L0S, *L0S] and table["layer"].tolist() == [8] * 10


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("layer_20/width_16k/average_l0_71", 16384), ("layer_0_width_262k_l0_big", 262144),
        ("scope-w32k-l100/layer0", 32768), ("layer_0_width_16kept", None), ("low80k/layer0", None),
    ],
)  # fmt: skip
def test_widths_in_names_of_releases(tmp_path, name, width):
    text = f"some-release:\n  model: m\n  saes:\n  - {{id: {name}, l0: 30, variance_explained: 0.9}}\n"
    (tmp_path / "list.yaml").write_text(text, encoding="utf-8")
    found = frontier.read(tmp_path / "list.yaml")
    size = found["dictionary_size"].tolist()[0] if "dictionary_size" in found else None
    assert (size or None) == width or (width is None and pd.isna(size))


def test_the_verdict_on_explained_variance_is_that_of_the_same_numbers_as_fvu(table):
    ours = frontier.compare(table, "res-relu")
    same = pd.DataFrame(
        {"family": table["family"], "l0": table["l0"], "fvu": 1 - table["explained_variance"], "layer": 8}
    )
    theirs = frontier.compare(same, "res-relu")
    assert [c.verdict for c in ours] == [c.verdict for c in theirs] == ["better"]
    for a, b in ((ours[0].potency, theirs[0].potency), (ours[0].hits, theirs[0].hits)):
        assert (a.ratio, a.ratio_low, a.ratio_high) == pytest.approx(
            (b.ratio, b.ratio_low, b.ratio_high), rel=1e-9
        )
    assert ours[0].potency.ratio == pytest.approx(2 ** (1 / 0.6), rel=0.05)  # the truth: (0.8 / 0.4)^(1/0.6)
