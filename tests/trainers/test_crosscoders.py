"""Joined sites: several places as one, whose SAEs are crosscoders."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from small_runs import TEXT, said, small, stopped_at, weights

from frontier import compare
from frontier.studies.evaluation import Evaluation
from trainers import (
    JoinedActivations,
    StoredActivations,
    activation_stream,
    decoder_shares,
    evaluation_windows,
    load_language_model,
)
from trainers.activations import ActivationStore, Batch, Scaling
from trainers.activations.scaling import scaling_of
from trainers.activations.sources import token_windows
from trainers.activations.storing import write_store
from trainers.architectures import ARCHITECTURES, BUILT_IN, MatchingPursuit, ReLU, architecture
from trainers.architectures.architecture import Knobs
from trainers.config import ConfigError, checked, run_config, write_config
from trainers.evaluate import evaluate
from trainers.evaluate.runs import evaluate_run
from trainers.export import ExportError, export
from trainers.family import Family, Member, Schedule
from trainers.language_models.sites import Site, SiteError, joined
from trainers.promises import check
from trainers.run import build_run
from trainers.sae_files import load_sae, load_saes
from trainers.steps import LoopEngine, StackedEngine
from trainers.steps.closed_forms import closed_form
from trainers.steps.engine import StepOptions
from trainers.studies.variants import VariantError, activations_of
from trainers.sweeps import settled
from trainers.text import TextError
from trainers.train import train

JOINT = "resid_post.0+mlp_neurons.1"
PARTS = {"resid_post.0": 128, "mlp_neurons.1": 512}
FAMILIES = [
    {"architecture": "relu", "settings": [1.0, 4.0]},
    {"architecture": "batch_topk", "settings": [2, 8]},
]


def crosscoders(families=FAMILIES, site=JOINT, **sections):
    given = {"site": site} | sections.pop("activations", {})
    return small(families, activations=given, **sections)


@pytest.fixture(scope="module")
def model():
    return load_language_model()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crosscoders") / "run"
    train(crosscoders(), folder, progress=False)
    evaluate_run(folder, progress=False)
    return folder


def tokens_of(model, rows=3):
    return torch.randint(0, 200, (rows, 24), generator=torch.Generator().manual_seed(rows))


# The model's side: what is read, and what is spliced.


def test_a_joined_site_is_its_parts_side_by_side(model):
    site = model.site("resid_post.0 + mlp_neurons.-1")
    assert (site.name, site.width, site.layer) == (JOINT, 640, None)
    found = model.capture(tokens_of(model), [JOINT, *PARTS])
    assert torch.equal(found[JOINT], torch.cat([found[p] for p in PARTS], -1))
    assert model.site("attn_out.1+mlp_out.1").layer == 1
    one = model.site("mlp_out.1")
    assert joined([one]) is one and one.places == (one,)


def hooks(model, places, new, keep):
    """Torch's own hooks on modules of the shipped GPT-2, written by hand: (module, is it an input)."""
    handles = []
    for (module, is_input), value in zip(places, new, strict=True):

        def put(old, value=value):
            return torch.where(keep, value, old)

        if is_input:
            handles.append(module.register_forward_pre_hook(lambda _m, a, put=put: (put(a[0]), *a[1:])))
        else:

            def after(_m, _a, out, put=put):
                return (put(out[0]), *out[1:]) if isinstance(out, tuple) else put(out)

            handles.append(module.register_forward_hook(after))
    return handles


@pytest.mark.parametrize("left_out", [False, True])
def test_a_splice_replaces_all_parts_in_one_pass(model, left_out):
    blocks = model.model.transformer.h
    at = {
        "resid_post.0": (blocks[0], False), "mlp_out.1": (blocks[1].mlp, False),
        "attn_out.0": (blocks[0].attn, False), "attn_pre_linear.1": (blocks[1].attn.c_proj, True),
        "mlp_neurons.1": (blocks[1].mlp.c_proj, True), "resid_pre.1": (blocks[1], True),
    }  # fmt: skip
    tokens = tokens_of(model)
    keep = model.counted(tokens)[..., None]
    if left_out:  # a place in the middle keeps what the pass has there, which earlier splices have changed
        keep = keep & (torch.arange(24) % 5 != 3)[:, None]
    sites = ["resid_post.0+mlp_out.1", "mlp_out.1+attn_out.0", "attn_pre_linear.1+mlp_neurons.1",
             "mlp_neurons.1+resid_pre.1+attn_out.0"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "counted", lambda _self, _tokens: keep[..., 0])
        for name in sites:
            site = model.site(name)
            clean = model.capture(tokens, [name])[name]
            new = clean + clean.std() * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
            handles = hooks(model, [at[p.name] for p in site.parts], site.split(new).values(), keep)
            with torch.no_grad():
                wanted = model.model(input_ids=tokens).logits
            for handle in handles:
                handle.remove()
            splice = model.splice(tokens, name)
            assert torch.equal(splice.value, clean) and torch.equal(splice.logits, model.logits(tokens))
            assert torch.equal(model.spliced_logits(tokens, name, new), wanted)
            assert torch.equal(model.spliced_logits(tokens, name, lambda _old, new=new: new), wanted)
            torch.testing.assert_close(splice(new), wanted, rtol=1e-5, atol=1e-5)


def test_what_rejoins_the_residual_stream_does_not_add_to_a_part_behind_it(model):
    """resid_mid is a copy of what the block adds up later: resid_post, behind it, stays what is put there."""
    tokens = tokens_of(model)
    new = {p: torch.randn_like(v) for p, v in model.capture(tokens, ["resid_mid.0", "resid_post.0"]).items()}
    alone = model.spliced_logits(tokens, "resid_post.0", new["resid_post.0"])
    for name in ("resid_mid.0+resid_post.0", "resid_post.0+resid_mid.0"):
        both = torch.cat([new[p] for p in name.split("+")], -1)
        assert torch.equal(model.spliced_logits(tokens, name, both), alone)
        torch.testing.assert_close(model.splice(tokens, name)(both), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mlp_out.1+mlp_out.-1", r"mlp_out.1\+mlp_out.1 joins mlp_out.1 twice; name it once"),
        ("resid_post.0+transformer.h.0", "joins resid_post.0 twice"),
        ("mlp_out.1+mlp_ot.0", "no site 'mlp_ot.0'; "),
        ("mlp_out.1+", "no site ''"),
        ("mlp_out.1+mlp_out.7", "no site 'mlp_out.7': the model has layers 0 to 1"),
    ],
)
def test_wrong_parts_are_one_line(model, name, wanted):
    with pytest.raises(SiteError, match=wanted):
        model.site(name)


# Scaling: every part counts alike, and all is folded back.


def test_every_part_has_the_same_spread():
    random = torch.Generator().manual_seed(0)
    rows = torch.randn(4000, 8, generator=random) * torch.tensor([1.0] * 2 + [300.0] * 6) + 5
    site = joined([Site("a", width=2), Site("b", width=6)])
    found = scaling_of(rows, rows, (site, site))
    x = found.batch(rows.clone(), None).input
    for part in (x[:, :2], x[:, 2:]):
        assert float(part.norm(dim=1).mean()) == pytest.approx(math.sqrt(8 / 2), rel=1e-5)
        assert float(part.mean(0).abs().max()) < 1e-4
    assert float(found.input_weights.log().mean(0).mul(0).sum()) == 0  # finite
    a, b = float(found.input_weights[0]), float(found.input_weights[-1])
    assert a * b == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("kind", [k() for k in BUILT_IN if k is not MatchingPursuit]
                         + [architecture("gated", tied=False)], ids=lambda k: type(k).__name__)  # fmt: skip
def test_weights_of_parts_fold(kind):
    report = check(kind, joined=True)
    assert report.broken is None, str(report)
    assert report.outcomes[-1].promise == "weights of parts fold"


@dataclass(frozen=True)
class OtherName(ReLU):
    """An encoder of another name, which nobody told to `readers`."""

    def start(self, *given, **more):
        p = super().start(*given, **more)
        return {"W_in": p.pop("W_enc")} | p

    def widths(self, p):
        return p["W_in"].shape[0], *p["W_dec"].shape

    def pre_activations(self, p, x, weight="W_in", bias="b_enc"):
        return super().pre_activations(p, x, weight, bias)


def test_an_own_architecture_whose_weights_do_not_fold_is_refused(monkeypatch):
    named = type("Named", (OtherName,), {"readers": ("W_in",)})
    for kind in (OtherName, named):
        monkeypatch.setitem(ARCHITECTURES, kind.name, kind)
    assert check(OtherName).broken is None
    broken = check(OtherName, joined=True).broken
    assert broken.promise == "weights of parts fold" and "`readers` has to name" in broken.found
    assert check(named, joined=True).broken is None


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("name", ["topk", "gated", "jumprelu"])
def test_an_sae_reads_raw_activations_and_can_be_gone_on_from(name, skip):
    """Transcoders of joined input and target: on raw rows as the member on scaled ones."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(500, 7, generator=random) * torch.tensor([1.0] * 3 + [40.0] * 4) + 2
    y = torch.randn(500, 5, generator=random) * torch.tensor([9.0] * 3 + [0.1] * 2) - 1
    sites = (
        joined([Site("a", width=3), Site("b", width=4)]),
        joined([Site("c", width=3), Site("d", width=2)]),
    )
    scaling = scaling_of(x, y, sites)
    kind = architecture(name, subtract_decoder_bias=False, skip=skip, parts=(3, 2))
    family = Family(
        "f", kind, [Member("m", 2.0, 0, 1e-2)], d_in=7, d_out=5, dictionary_size=11, scaling=scaling
    )
    with torch.no_grad():
        family.leaves[0]["W_enc"].mul_(20)  # so that thresholds are passed
        if skip:
            family.leaves[0]["W_skip"].normal_(generator=random)
    batch = scaling.batch(x.clone(), y.clone())
    p = kind.inference(family.leaves[0], family.state_of(0), 2.0)
    f = kind.encode(p, batch.input)
    around = kind.around(p, batch.input)
    wanted = kind.decode(p, f) + (0 if around is None else around)
    sae = family.sae(0)
    raw = sae.encode(x)
    assert bool((f != 0).any())
    torch.testing.assert_close(raw * scaling.input_scale, f, rtol=1e-3, atol=1e-4)
    scaled = (sae(x) - scaling.target_centre) * scaling.target_scale * scaling.target_weights
    torch.testing.assert_close(scaled, wanted, rtol=1e-3, atol=1e-3)
    back = scaling.unfold(kind, sae.parameters)
    for key, value in p.items():
        torch.testing.assert_close(back[key].float(), value.float(), rtol=1e-3, atol=1e-4)


# Training: the losses are those of the papers.


def by_layer(p, widths):
    """Encoders, decoders and biases of a crosscoder, a layer each."""
    encoders, decoders = p["W_enc"].split(widths, 0), p["W_dec"].split(widths, 1)
    return list(zip(encoders, decoders, p["b_dec"].split(widths), strict=True))


def lindsey_loss(p, xs, widths, setting):
    """Lindsey et al. 2024: Σ_l ‖a_l − a'_l‖² + λ Σ_i f_i Σ_l ‖W_dec,i,l‖, of activations by layer."""
    layers = by_layer(p, widths)
    f = torch.relu(sum((x - b) @ e for x, (e, _, b) in zip(xs, layers, strict=True)) + p["b_enc"])
    errors = [((f @ d + b - x) ** 2).sum(1) for x, (_, d, b) in zip(xs, layers, strict=True)]
    norms = sum(d.norm(dim=1) for _, d, _ in layers)
    return (sum(errors) + setting * (f * norms).sum(1)).mean()


def topk_loss(p, xs, widths, k):
    """A BatchTopK crosscoder: one code of all layers, the k·B highest of a batch are kept."""
    layers = by_layer(p, widths)
    f = torch.relu(sum((x - b) @ e for x, (e, _, b) in zip(xs, layers, strict=True)) + p["b_enc"])
    least = f.flatten().topk(k * len(f)).values[-1]
    f = f * (f >= least)
    return sum(((f @ d + b - x) ** 2).sum(1) for x, (_, d, b) in zip(xs, layers, strict=True)).mean()


@pytest.mark.parametrize("name", ["relu", "batch_topk"])
def test_losses_and_gradients_are_those_of_crosscoders(name):
    widths = [3, 4]
    options = {"aux_coefficient": 0.0} if name == "batch_topk" else {}
    kind = architecture(name, parts=tuple(widths), **options)
    random = torch.Generator().manual_seed(1)
    x = torch.randn(32, 7, generator=random, dtype=torch.float64)
    start = kind.start(7, 7, 13, (torch.zeros(7), torch.zeros(7)), 0)
    p = {
        k: (v + 0.1 * torch.randn(v.shape, generator=random)).double().requires_grad_()
        for k, v in start.items()
    }
    state = {k: v.double() for k, v in kind.state(13).items()}
    ours = kind.training_loss(p, state, x, x, Knobs(2.0)).total
    oracle = lindsey_loss if name == "relu" else topk_loss
    theirs = oracle(p, x.split(widths, 1), widths, 2)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(*(torch.autograd.grad(t, list(p.values())) for t in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b)


def test_the_closed_form_of_one_norm_is_not_taken_for_several():
    """One norm of the whole row would be another penalty: the step is autograd's then."""
    assert closed_form(ReLU(parts=(2, 2))) is None and closed_form(ReLU()) is not None
    assert closed_form(ReLU(parts=(2, 2), free_decoder_norms=False)) is not None
    scaling = Scaling(1.0, 1.0, torch.zeros(7), torch.zeros(7))
    x = torch.randn(64, 7, generator=torch.Generator().manual_seed(0))
    ends = []
    for parts, engine in (((3, 4), LoopEngine), ((3, 4), StackedEngine), ((), LoopEngine)):
        members = [Member("a", 0.5, 0, 1e-2), Member("b", 2.0, 0, 1e-2)]
        family = Family("f", ReLU(parts=parts), members, d_in=7, d_out=7, dictionary_size=13, scaling=scaling)
        stepping = engine(family, StepOptions(Schedule(20)))
        for step in range(20):
            stepping.step(Batch(x, x), step)
        ends.append(family.parameters["W_dec"].detach().clone())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-3, atol=1e-5)
    assert not torch.allclose(ends[0], ends[2], rtol=1e-2, atol=1e-3)


def test_a_run_of_crosscoders(run):
    """One table, resumed bit for bit; config, SAEs and rows name the joined site."""
    table = pd.read_parquet(run / "metrics.parquet")
    assert table["site"].tolist() == [JOINT] * 4 and table["layer"].isna().all()
    assert (table["d_model"] == 640).all()
    assert f'site = "{JOINT}"' in (run / "config.toml").read_text()
    sae = load_sae(next((run / "saes").iterdir()))
    assert sae.identity["site"] == JOINT and sae.architecture.parts == (128, 512)
    assert "options" not in sae.identity
    columns = [f"fvu_at_{p}" for p in PARTS]
    np.testing.assert_allclose(table["fvu"], table[columns].mean(axis=1), rtol=1e-5)
    assert (table[[f"{c}_se" for c in columns]] > 0).all(axis=None)
    assert (table["loss_recovered"] < 1).all() and (table["kl"] > 0).all()
    saved = Evaluation.load(run)
    first, last = table["run_id"].iloc[[0, -1]]
    assert saved.difference(columns[0], last, first)[0] == pytest.approx(
        table[columns[0]].iloc[-1] - table[columns[0]].iloc[0]
    )


def test_a_stopped_run_goes_on_to_the_same_weights(run, tmp_path):
    stopped_at(10, crosscoders(), tmp_path / "run")
    train(run_config(tmp_path / "run"), tmp_path / "run", progress=False, resume=True)
    ours, wanted = weights(tmp_path / "run"), weights(run)
    assert ours.keys() == wanted.keys()
    assert all(torch.equal(ours[k][name], wanted[k][name]) for k in wanted for name in wanted[k])


def test_numbers_of_an_evaluation_are_those_of_plain_torch(run, model):
    """FVU of each part in its own variance, losses with all parts replaced at once, by torch's own hooks."""
    sae = next(s for s in load_saes(run / "saes") if s.identity["run_id"] == "batch_topk_8_seed0")
    tokens, protocol = evaluation_windows(model, TEXT, 8, progress=False)
    row = evaluate([sae], model, tokens, JOINT, protocol=protocol, batch_size=2).table.iloc[0]
    counted = model.counted(tokens)
    found = model.capture(tokens, [*PARTS])
    x = torch.cat([found[p][counted] for p in PARTS], -1)
    parts = zip(x.split([128, 512], -1), sae(x).detach().split([128, 512], -1), strict=True)
    fvus = [
        float((a - b).double().square().sum() / (a - a.mean(0)).double().square().sum()) for a, b in parts
    ]
    for place, fvu in zip(PARTS, fvus, strict=True):
        assert row[f"fvu_at_{place}"] == pytest.approx(fvu, rel=1e-4)
    assert row["fvu"] == pytest.approx(np.mean(fvus), rel=1e-4)
    assert row["l0"] == pytest.approx(float((sae.encode(x) != 0).sum(1).double().mean()))
    new = torch.cat([found[p] for p in PARTS], -1)
    new[counted] = sae(x).detach()
    blocks = model.model.transformer.h
    places = [(blocks[0], False), (blocks[1].mlp.c_proj, True)]
    handles = hooks(model, places, new.split([128, 512], -1), counted[..., None])
    with torch.no_grad():
        logits = model.model(input_ids=tokens).logits
    for handle in handles:
        handle.remove()
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none"
    )
    predicting = counted[:, :-1] & counted[:, 1:]
    assert row["ce_sae"] == pytest.approx(float(losses[predicting].double().mean()), rel=1e-5)


def test_how_loud_a_part_is_changes_nothing(tmp_path):
    """The same rows twice, the second time 1000 times larger: both parts are rebuilt alike."""
    random = np.random.default_rng(0)
    codes = random.random((6000, 20)) * (random.random((6000, 20)) < 0.1)
    rows = (codes @ random.standard_normal((20, 6))).astype(np.float32)
    both = JoinedActivations(
        [StoredActivations(rows, site="a"), StoredActivations(1000 * rows + 7, site="b")]
    )
    config = checked({
        "activations": {"tokens": "all"},
        "training": {"steps": 150, "batch_size": 256, "dictionary_size": 24},
        "families": [{"architecture": "relu", "settings": [1.0]}, {"architecture": "topk", "settings": [2]}],
    })  # fmt: skip
    train(config, tmp_path / "run", origin=both, progress=False)
    table = evaluate_run(tmp_path / "run", model=both, progress=False)
    assert table["site"].unique().tolist() == ["a+b"]
    np.testing.assert_allclose(table["fvu_at_a"], table["fvu_at_b"], rtol=0.05)
    np.testing.assert_allclose(table["fvu"], (table["fvu_at_a"] + table["fvu_at_b"]) / 2, rtol=1e-5)
    assert (table["fvu"] < 0.3).all()
    for sae in load_saes(tmp_path / "run" / "saes"):
        shares = decoder_shares(sae)
        assert list(shares) == ["a", "b"] and shares.shape == (24, 2)
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="is of one site"):
        decoder_shares(next(load_saes(_plain_run(tmp_path))))


def _plain_run(folder):
    train(small([{"architecture": "topk", "settings": [4]}]), folder / "plain", progress=False)
    return folder / "plain" / "saes"


def test_joined_rows_stay_row_by_row(model, tmp_path):
    a = StoredActivations(np.ones((128, 3), np.float32), site="a")
    with pytest.raises(TextError, match=r"128 rows, .* 64"):
        JoinedActivations([a, StoredActivations(np.ones((64, 3), np.float32), site="b")])
    with pytest.raises(SiteError, match=r"a\+a joins a twice"):
        JoinedActivations([a, a])
    tokens = token_windows(model, TEXT, tokens=600, progress=False)
    write_store(model, tokens, tokens, "mlp_out.1", tmp_path / "store")
    with pytest.raises(TextError, match="is a store, and cannot be joined"):
        JoinedActivations([ActivationStore(tmp_path / "store"), a])
    with pytest.raises(TextError, match="JoinedActivations"):
        StoredActivations(np.ones((128, 3), np.float32), site="a+b")


def test_transcoders_with_several_targets(model, tmp_path):
    """One code of mlp_in.0 writes to both MLPs' outputs; a part of its own scale each."""
    site = "mlp_out.0+mlp_out.1"
    families = [{"architecture": "relu", "settings": [1.0], "options": {"skip": True}}]
    config = crosscoders(families, "mlp_in.0", activations={"target_site": site})
    train(config, tmp_path / "run", progress=False)
    row = evaluate_run(tmp_path / "run", progress=False).iloc[0]
    assert (row["site"], row["target_site"]) == ("mlp_in.0", site)
    assert row["fvu"] == pytest.approx((row["fvu_at_mlp_out.0"] + row["fvu_at_mlp_out.1"]) / 2, rel=1e-5)
    sae = load_sae(next((tmp_path / "run" / "saes").iterdir()))
    assert (sae.d_in, sae.d_out) == (128, 256) and list(decoder_shares(sae)) == site.split("+")


def test_a_run_goes_on_from_crosscoders(run, tmp_path):
    """At step 0 the member computes what the SAE did, in the weights of its own parts."""
    families = [{"architecture": "relu", "settings": [1.0], "start_from": str(run)}]
    begun = build_run(crosscoders(families), progress=False)
    was = load_sae(run / "saes" / "relu_1_seed0")
    now = begun.families[0].sae(0)
    for name, value in was.parameters.items():
        torch.testing.assert_close(now.parameters[name], value, rtol=1e-4, atol=1e-6)


def test_pilots_find_the_settings_of_crosscoders(tmp_path):
    families = [{"architecture": "relu", "target_l0": [4, 8]}]
    config = crosscoders(families, training={"steps": 60, "batch_size": 128})
    found, _ = settled(config, tmp_path, progress=False)
    low, high = found.families[0].settings
    assert found.activations.site == JOINT and low != high


def test_a_joined_site_is_a_cell_of_its_own(tmp_path):
    """Beside one of its parts it is a cell of its own; paths of modules are not taken for one layer."""
    families = [{"architecture": a, "settings": [2, 4, 8, 16]} for a in ("topk", "batch_topk")]
    sites = ["resid_post.0+resid_post.1", "resid_post.1"]
    config = small(families, activations={"sites": sites})
    train(config, tmp_path / "run", progress=False)
    table = evaluate_run(tmp_path / "run", progress=False)
    found = compare(tmp_path / "run" / "metrics.parquet", reference="topk")
    assert {r.group["site"] for r in found} == set(sites)
    said = [line for line in str(found).splitlines() if line.startswith("* ")]
    assert [s for s in said if "(missing)" in s] == []
    paths = {sites[0]: "h.0.attn+h.1.attn", sites[1]: "h.0.attn+h.2.attn"}
    table = table.assign(site=table["site"].map(paths)).drop(columns="layer")
    assert {r.group["site"] for r in compare(table, reference="topk")} == set(paths.values())


# What is refused, in one line each.


@pytest.mark.parametrize(
    ("given", "families", "wanted"),
    [
        ({"site": ["a", "b"]}, FAMILIES, r'site is one place; write site = "a\+b" for crosscoders'),
        ({"site": JOINT, "files": "x.npy"}, FAMILIES, "files are rows of one site, not of resid_post.0"),
        ({"site": JOINT}, [{"architecture": "matching_pursuit", "settings": [2]}],
         "matching_pursuit encodes by its decoder and cannot be a crosscoder; leave it out at resid_post.0"),
        ({"site": JOINT}, [{"architecture": "relu", "settings": [1.0], "options": {"parts": [1, 2]}}],
         "parts are those of a joined site; a run fills them in"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_joined_sites_is_one_line(given, families, wanted):
    with pytest.raises(ConfigError, match=wanted):
        checked({"activations": given, "families": families})


def test_other_refusals(run, model, tmp_path, monkeypatch, capsys):
    sae = load_sae(run / "saes" / "batch_topk_2_seed0")
    for layout in ("sae-lens", "dictionary-learning"):
        with pytest.raises(
            ExportError, match=r"of a joined site \(resid_post.0\+mlp_neurons.1\) cannot be exp"
        ):
            export(sae, tmp_path / layout, layout)
    with pytest.raises(VariantError, match="is a joined site; this study is for SAEs of one"):
        next(activations_of(model, tokens_of(model), JOINT))
    write_config(crosscoders(), tmp_path / "one.toml")
    code, _, err = said(monkeypatch, capsys, "harvest", tmp_path / "one.toml", "--out", tmp_path / "store")
    assert code == 2 and f"a store has rows of one site, {JOINT} is joined" in err
    code, _, err = said(monkeypatch, capsys, "run", tmp_path / "one.toml", "--out", tmp_path / "run", "--set",
                        "activations.site=mlp_out.1+mlp_out.-1")  # fmt: skip
    assert code == 2 and "joins mlp_out.1 twice" in err and not (tmp_path / "run" / "config.toml").exists()


def test_norms_are_limited_part_by_part(model):
    config = crosscoders(activations={"exclude_norms_above": 2.0})
    found = build_run(config, progress=False)
    assert list(found.config.activations.norm_limits) == list(PARTS)
    stream = activation_stream(found.model, JOINT, TEXT, tokens=6000, progress=False)
    assert stream.harvest.total_rows == found.stream.harvest.total_rows
    with pytest.raises(ConfigError, match=r"norm_limits has mlp_out.1, which this run does not read"):
        build_run(crosscoders(activations={"norm_limits": {"mlp_out.1": 3.0}}), progress=False)
