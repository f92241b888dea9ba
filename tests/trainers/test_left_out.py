"""Positions left out by token, place or norm: gone from training and from evaluation, and said."""

import numpy as np
import pandas as pd
import pytest
import torch
from processes import under_torchrun
from small_runs import TEXT, said, small, weights

from trainers import evaluation_windows, load_language_model
from trainers.activations import activation_stream
from trainers.activations.sources import token_windows
from trainers.activations.stored import StoredActivations
from trainers.config import ConfigError, checked, read_config, write_config
from trainers.evaluate import evaluate
from trainers.evaluate.runs import evaluate_run
from trainers.exclusions import leave_out
from trainers.language_models.left_out import LeftOut
from trainers.run import build_run
from trainers.sae_files import load_saes
from trainers.text import TextError
from trainers.train import train

SITE = "mlp_out.1"
SPACE = ord(" ")
FAMILIES = [{"architecture": "topk", "settings": [4, 8]}]


def leaving(families=FAMILIES, **given):
    return small(families, activations=given)


def direct(model, keep, sites=(SITE,)):
    """All rows of the training windows by site, chosen by `keep(tokens, activations)`."""
    tokens = token_windows(model, TEXT, tokens=6000, progress=False).tokens.long()
    found = model.capture(tokens, list(sites))
    kept = keep(tokens, found) & (tokens != model.start_token)
    return {site: rows[kept] for site, rows in found.items()}


def taken(stream):
    """Every raw row of one pass, by site."""
    parts = [stream._load(stream._chunks(0, n)) for n in range(stream.buffers)]
    return {site: torch.cat([p[i].input for p in parts]) for i, site in enumerate(stream.sites)}


def as_sets(rows):
    return sorted(map(tuple, rows.round(decimals=3).tolist()))


@pytest.mark.parametrize(
    ("given", "keep"),
    [
        ({"exclude_tokens": [SPACE]}, lambda t, _: t != SPACE),
        ({"exclude_positions": [0, 1, 5]}, lambda t, _: (torch.arange(128) != 1) & (torch.arange(128) != 5)),
    ],
)
def test_what_is_left_out_is_in_no_batch(given, keep):
    model, run = load_language_model(), build_run(leaving(**given), progress=False)
    assert as_sets(taken(run.stream)[SITE]) == as_sets(direct(model, keep)[SITE])


def test_massive_activations_are_left_out_at_every_site():
    """The limit is so many times the median of the counted rows, and a position goes at all sites."""
    sites = ["resid_post.0", SITE]
    run = build_run(leaving(sites=sites, exclude_norms_above=1.2), progress=False)
    limits = run.config.activations.norm_limits
    model = load_language_model()
    rows = direct(model, lambda t, _: torch.ones_like(t, dtype=torch.bool), sites)
    for site, limit in limits.items():  # of 6,000 tokens, which is all that this run reads
        assert limit == pytest.approx(1.2 * float(rows[site].norm(dim=1).median()), rel=1e-5)

    def keep(_, found):
        return torch.stack([found[s].norm(dim=-1) <= limits[s] for s in sites]).all(0)

    wanted, ours = direct(model, keep, sites), taken(run.stream)
    assert 0.3 * len(rows[SITE]) < len(wanted[SITE]) < 0.95 * len(rows[SITE])
    for site in sites:
        assert len(ours[site]) == len(wanted[site]) and float(ours[site].norm(dim=1).max()) <= limits[site]
        assert as_sets(ours[site]) == as_sets(wanted[site])


def test_the_evaluation_leaves_out_the_same_and_says_so(tmp_path):
    """As by a model that ignores the token from its start; and by hand, for places and norms."""
    config = leaving(exclude_tokens=[SPACE])
    train(config, tmp_path / "run", progress=False)
    table = evaluate_run(tmp_path / "run", progress=False)
    assert table["protocol"].str.contains("start token, token 32 ignored", regex=False).all()
    model, saes = load_language_model(ignore=[256, SPACE]), list(load_saes(tmp_path / "run" / "saes"))
    tokens, protocol = evaluation_windows(model, TEXT, 4, progress=False)
    wanted = evaluate(saes, model, tokens, SITE, batch_size=2, protocol=protocol).table
    assert protocol.replace("token 32, start token", "start token, token 32") == table["protocol"][0]
    by_name = [t.set_index("run_id") for t in (table, wanted)]
    for column in ("l0", "fvu", "ce_sae", "kl", "ce_clean", "loss_recovered"):
        np.testing.assert_allclose(by_name[0][column], by_name[1][column].loc[by_name[0].index], rtol=1e-6)


def test_a_run_without_massive_activations_goes_on_and_is_measured_alike(tmp_path, monkeypatch, capsys):
    config = leaving(exclude_norms_above=1.3, exclude_positions=[3])
    run = train(config, tmp_path / "run", progress=False)
    saved = read_config(tmp_path / "run" / "config.toml", saved=True)
    limit = saved.activations.norm_limits[SITE]
    assert saved == run.config and saved.activations.exclude_norms_above is None
    again = train(config, tmp_path / "run", progress=False, resume=True)
    assert again.step == 12
    assert run.stream.description["left_out"] == f"position 3, norms above {limit:g} at {SITE}"
    table = evaluate_run(tmp_path / "run", progress=False)
    assert f"position 3, norms above {limit:g} at {SITE} ignored" in table["protocol"][0]
    code, _, _ = said(monkeypatch, capsys, "evaluate", tmp_path / "run", "-q")
    assert code == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "run" / "metrics.parquet"), table)
    model = load_language_model()
    tokens, _ = evaluation_windows(model, TEXT, 4, progress=False)
    x = model.capture(tokens, [SITE])[SITE]
    kept = (x.norm(dim=-1) <= limit) & (tokens != 256) & (torch.arange(128) != 3)
    (first, *_) = load_saes(tmp_path / "run" / "saes")
    rows = x[kept]
    fvu = float((first(rows) - rows).square().sum() / (rows - rows.mean(0)).square().sum())
    row = table.set_index("run_id").loc[first.identity["run_id"]]
    assert row["fvu"] == pytest.approx(fvu, rel=1e-5)


def test_processes_that_look_at_their_shares_find_the_same(tmp_path):
    config = leaving(sites=["resid_post.0", SITE], exclude_norms_above=1.2)
    write_config(config, tmp_path / "sweep.toml")
    train(config, tmp_path / "one", progress=False)
    under_torchrun(2, "run", tmp_path / "sweep.toml", "--out", tmp_path / "two", "--quiet")
    one, two = (weights(tmp_path / name) for name in ("one", "two"))
    assert one.keys() == two.keys() and len(one) == 4
    assert all(torch.equal(v, two[k][name]) for k, p in one.items() for name, v in p.items())


def test_the_file_keeps_what_was_found(tmp_path):
    limits = {"resid_post.0": 3.5, SITE: 2.0}
    written = leaving(sites=list(limits), norm_limits=limits, exclude_tokens=[1, 2])
    write_config(written, tmp_path / "sweep.toml", explained=True)
    assert read_config(tmp_path / "sweep.toml") == written
    asked = read_config(tmp_path / "sweep.toml", ["activations.exclude_norms_above=5"])
    assert asked.activations.norm_limits is None


@pytest.mark.parametrize(
    ("given", "error", "wanted"),
    [
        (
            {"exclude_tokens": [257]},
            ConfigError,
            "has 257, which is not in the vocabulary of tiny_lm .0 to 256",
        ),
        ({"exclude_tokens": [-1]}, ConfigError, "greater than or equal to 0"),
        ({"exclude_positions": [128]}, TextError, "has 128; .* windows of 128 tokens, 0 to 127"),
        ({"exclude_norms_above": 0.5}, ConfigError, "exclude_norms_above.* greater than 1"),
        ({"exclude_norms_above": 5, "norm_limits": {SITE: 3.0}}, ConfigError, "one of the two; found both"),
        ({"norm_limits": {"mlp_out.0": 3.0}}, ConfigError, "has mlp_out.0, which this run does not read"),
        ({"norm_limits": {SITE: 1e-3}}, TextError, "is too short: it has 0 tokens that count"),
    ],
)
def test_what_cannot_be_left_out_is_one_line(given, error, wanted):
    with pytest.raises(error, match=wanted):
        build_run(leaving(**given), progress=False)


def test_padding_with_the_end_token_is_said():
    """Of a model without a padding token, or with another; not where the token is left out."""
    model, rng = load_language_model(), np.random.default_rng(0)
    array = rng.integers(1, 256, (16, 20))
    array[::2, 15:] = 7
    model.end_token = 7
    told = "8 of 16 windows end in several tokens 7 .*no padding token.*exclude_tokens = .7. leaves"
    with pytest.warns(UserWarning, match=told):
        activation_stream(model, SITE, array, split=None, batch_size=8, progress=False)
    model.left_out = LeftOut(tokens=(7,))
    stream = activation_stream(model, SITE, array, split=None, batch_size=8, progress=False)
    assert stream.harvest.total_rows == int((array != 7).sum())


def test_stored_rows_are_left_out_by_norm_and_by_place_in_their_windows(tmp_path):
    rows = np.random.default_rng(0).standard_normal((40, 32, 12)).astype(np.float32)
    rows[:, 0] *= 100  # as at a start token
    rows[3, 7] *= 50
    np.save(tmp_path / "x.npy", rows)
    families = [{"architecture": "topk", "settings": [2]}]
    plain = {
        "activations": {"files": str(tmp_path / "x.npy"), "tokens": "all", "context_length": 32},
        "training": {"steps": 4, "batch_size": 64, "expansion": 2}, "families": families,
    }  # fmt: skip

    def of(**given):
        return checked(plain | {"activations": plain["activations"] | given})

    first = build_run(of(exclude_positions=[0]), progress=False).stream
    both = train(of(exclude_positions=[0], exclude_norms_above=4), tmp_path / "run", progress=False).stream
    large = build_run(of(exclude_norms_above=4), progress=False).stream
    assert first.harvest.total_rows == 38 * 31
    assert both.harvest.total_rows == large.harvest.total_rows == 38 * 31 - 1
    assert float(both.batches()["activations"].input.norm(dim=1).max()) < 12
    table = evaluate_run(tmp_path / "run", progress=False)
    assert "position 0, norms above" in table["protocol"][0]
    for given, wanted in (
        ({"exclude_tokens": [3]}, "activations.files have no tokens"),
        ({"exclude_positions": [32]}, "has 32; the files have windows of 32 rows"),
    ):
        with pytest.raises(ConfigError, match=wanted):
            build_run(of(**given), progress=False)
    np.save(tmp_path / "flat.npy", rows.reshape(-1, 12))
    flat = StoredActivations(tmp_path / "flat.npy")
    with pytest.raises(ConfigError, match=r"rows \[N, d\] without windows"):
        leave_out(flat, of(exclude_positions=[0]))
