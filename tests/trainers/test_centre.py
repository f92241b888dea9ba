"""Nothing is in units of the mean: a constant added to a site changes no result beyond rounding."""

import functools
import math
import shutil

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_runs import small

from trainers.activations import synthetic_stream
from trainers.activations.scaling import scaling_of
from trainers.architectures import BUILT_IN, Gated, JumpReLU
from trainers.config import checked, read_config, run_config, stated, write_config
from trainers.evaluate.dead import dead_families
from trainers.evaluate.runs import evaluate_run
from trainers.family import Family, Member, Schedule
from trainers.language_models.loading import SHIPPED_FOLDERS
from trainers.language_models.sites import Site
from trainers.run import RunError, changed_fields
from trainers.sae_files import load_saes
from trainers.steps import LoopEngine
from trainers.steps.engine import StepOptions
from trainers.train import train

D, F, B, STEPS = 12, 24, 64, 40
KINDS = [
    *(kind() for kind in BUILT_IN),
    JumpReLU(penalty="tanh"),
    JumpReLU(penalty="target"),
    Gated(tied=False),
]
EVERY = pytest.mark.parametrize("kind", KINDS, ids=[f"{i}-{k.name}" for i, k in enumerate(KINDS)])


@functools.cache
def rows(seed, n=B):
    """Sparse sums of directions, in float64, of a spread of about 1."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.randn(F, D, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    codes = torch.rand(n, F, generator=random, dtype=torch.float64)
    return (codes * (torch.rand(n, F, generator=random) < 0.15)) @ directions * 0.8


def trained(kind, constant, transcoder=False):
    """An SAE trained on activations with this constant added to input (and target)."""
    setting = (
        3.0 if kind.sparsity_name in ("k", "target_l0") else math.sqrt(min(kind.sweep) * max(kind.sweep))
    )
    raw = rows(0, 2000) + constant
    target = raw if not transcoder else (raw[:, :5] - 2 * constant[:5]).contiguous()
    scaling = scaling_of(raw, target, (Site("a"), Site("b")))
    family = Family("f", kind, [Member("m", setting, 0, kind.learning_rate)], d_in=D, d_out=target.shape[1],
                    dictionary_size=F, scaling=scaling)  # fmt: skip
    engine = LoopEngine(family, StepOptions(Schedule(STEPS)))
    for step in range(STEPS):
        x = (rows(step + 1) + constant).float()
        y = None if not transcoder else (rows(step + 1)[:, :5] - constant[:5]).float()
        engine.step(scaling.batch(x.clone(), y), step)
    return family.sae(0)


@functools.cache
def without_a_mean(kind):
    return trained(kind, torch.zeros(D, dtype=torch.float64))


@EVERY
@pytest.mark.parametrize("size", [3, 30])
def test_a_constant_changes_nothing(kind, size):
    """Mean 3 and 30 times the spread; the difference is that of float32 numbers of that size."""
    constant = torch.linspace(-1, 1, D, dtype=torch.float64) * size * math.sqrt(3)
    plain, shifted = without_a_mean(kind), trained(kind, constant)
    x = rows(77, 500)
    f, g = plain.encode(x.float()), shifted.encode((x + constant).float())
    assert (f != 0).float().mean() > 0.005
    assert ((f != 0) != (g != 0)).float().mean() < 2e-3
    rounding = 2e-5 * size
    assert float((f - g).abs().quantile(0.999)) < rounding * float(f.abs().max()) + 1e-5
    off = shifted((x + constant).float()).double() - constant - plain(x.float()).double()
    assert float(off.abs().mean()) < rounding


@pytest.mark.parametrize("kind", [k for k in KINDS if k.name in ("relu", "gated", "jumprelu", "batch_topk")],
                         ids=lambda k: k.name)  # fmt: skip
def test_nor_for_a_transcoder(kind):
    """Its encoder reads x as it is, so that the constant goes into its biases; the target has another one."""
    from dataclasses import replace

    kind = replace(kind, subtract_decoder_bias=False)
    constant = torch.linspace(-1, 1, D, dtype=torch.float64) * 10
    plain = trained(kind, torch.zeros(D, dtype=torch.float64), transcoder=True)
    shifted = trained(kind, constant, transcoder=True)
    x = rows(77, 500)
    f, g = plain.encode(x.float()), shifted.encode((x + constant).float())
    assert ((f != 0) != (g != 0)).float().mean() < 5e-3
    off = shifted((x + constant).float()).double() + constant[:5] - plain(x.float()).double()
    assert float(off.abs().mean()) < 5e-4


def test_the_scale_is_that_of_the_spread():
    x = rows(0, 5000)
    for constant in (0.0, 100.0):
        found = scaling_of(x + constant, x + constant, (Site("a"), Site("a")))
        y = found.batch((x + constant).float(), None).input
        assert float(y.norm(dim=1).mean()) == pytest.approx(math.sqrt(D), rel=1e-3)
        assert float(y.mean(0).abs().max()) < 1e-3
    before = scaling_of(x + 100, x + 100, (Site("a"), Site("a")), centre=False)
    y = before.batch((x + 100).float(), None).input
    assert before.input_centre is None and float(y.norm(dim=1).mean()) == pytest.approx(
        math.sqrt(D), rel=1e-4
    )
    assert float(y.mean()) == pytest.approx(1, rel=0.01)
    with pytest.raises(ValueError, match="are equal; no scale"):
        scaling_of(torch.full((50, 3), 7.3), torch.full((50, 3), 7.3), (Site("a"), Site("a")))


def test_a_synthetic_stream_is_centred_too():
    x = next(synthetic_stream(64, 16, l0=4, batch_size=20_000)).input
    assert float(x.mean(0).norm()) < 0.1 and float(x.norm(dim=1).mean()) == pytest.approx(4, rel=0.02)
    assert (
        float(next(synthetic_stream(64, 16, l0=4, batch_size=5000, centre=False)).input.mean(0).norm()) > 0.5
    )


@pytest.mark.parametrize(
    ("section", "field", "was", "now"),
    [
        ("activations", "centre", False, True),
        ("model", "dtype", "float32", "auto"),
        ("training", "precision", "float32", "auto"),
    ],
)
def test_a_saved_run_without_the_field_stays_as_it_was_begun(section, field, was, now, tmp_path):
    """In a run's folder an absent field means what it was then; in a file that a user gives, the default."""
    config = stated(small())
    old = config.model_dump(mode="json")
    del old[section][field]
    write_config(config, tmp_path / "whole.toml")
    whole = (tmp_path / "whole.toml").read_text().splitlines()
    lines = [line for line in whole if not line.startswith(f"{field} = ")]
    assert len(lines) == len(whole) - 1
    (tmp_path / "config.toml").write_text("\n".join(lines))
    found = run_config(tmp_path), read_config(tmp_path / "config.toml")
    assert [getattr(getattr(c, section), field) for c in found] == [was, now]
    assert changed_fields(old, config.model_dump(mode="json")) == [
        f"{section}.{field} was {was!r}, is {now!r}"
    ]
    assert not changed_fields(old, checked(old, saved=True).model_dump(mode="json"))


def test_a_run_is_not_resumed_with_the_other_centre(copied):
    config = small()
    other = config.model_copy(update={"activations": config.activations.model_copy(update={"centre": False})})
    with pytest.raises(RunError, match=r"activations\.centre was True, is False"):
        train(other, copied, progress=False, resume=True)


@pytest.mark.slow
def test_a_language_model_whose_site_has_a_mean(tmp_path):
    """The constant 1 is invisible to the layer norms: the model is the same, its site has another mean.

    After 30 steps rounding has moved nothing by more than 2e-7; it does by 5e-3 after 60 (JumpReLU).
    """
    source = next(f for f in SHIPPED_FOLDERS if (f / "config.json").is_file())
    tables = []
    families = [
        {"architecture": "jumprelu", "settings": [0.4, 2.5]},
        {"architecture": "topk", "settings": [4]},
    ]
    for name, shift in (("plain", 0.0), ("shifted", 64.0)):
        folder = shutil.copytree(source, tmp_path / name)
        weights = {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}
        bias = next(k for k in weights if k.endswith("h.1.mlp.c_proj.bias"))
        weights[bias] = weights[bias] + shift
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        config = small(families, model={"name": str(folder)}, training={"steps": 30})
        train(config, tmp_path / f"run_{name}", progress=False)
        tables.append(evaluate_run(tmp_path / f"run_{name}", progress=False).set_index("run_id"))
    one, two = tables
    for column in ("l0", "fvu", "loss_recovered", "alive_fraction"):
        assert two[column].tolist() == pytest.approx(one[column].tolist(), rel=1e-5), column
    assert len(list(load_saes(tmp_path / "run_shifted" / "saes"))) == 3


def test_dead_latents_are_said_with_their_likely_cause():
    """Above half of them only; the cause depends on the setting and on whether activations are centred."""
    table = pd.DataFrame(
        {
            "family": ["jumprelu"] * 2 + ["topk", "relu", "relu"],
            "sparsity_name": ["lambda", "lambda", "k", "lambda", "lambda"],
            "sparsity_setting": [0.4, 2.5, 1, 30, 1],
            "alive_fraction": [0.02, 0.4, 0.3, 0.1, 0.51], "l0": [3.0, 2.0, 1.0, 0.2, 9.0],
        }
    )  # fmt: skip
    centred = small()
    jump, top, relu = dead_families(table, centred)
    assert "98 % at lambda = 0.4, 60 % at lambda = 2.5 of the latents are dead" in jump
    assert "smaller setting" in jump
    assert "70 % at k = 1" in top and "so small a k" in top
    assert "90 % at lambda = 30" in relu and "setting is too large" in relu and "lambda = 1 " not in relu
    raw = checked(
        centred.model_dump() | {"activations": centred.activations.model_dump() | {"centre": False}}
    )
    assert "activations.centre = true" in dead_families(table, raw)[0]
    assert dead_families(table[table["alive_fraction"] > 0.5], centred) == []
