"""Families: storage, starts, schedules, and what of a member survives saving under its run_id."""

import math

import pytest
import torch

from trainers.activations import Scaling
from trainers.architectures import ARCHITECTURES, BatchTopK, JumpReLU, ReLU, TopK
from trainers.family import Family, Member, Schedule

torch.set_num_threads(1)
D, F = 5, 12
ONE_EACH = pytest.mark.parametrize(
    "kind", [kind() for kind in ARCHITECTURES.values()], ids=list(ARCHITECTURES)
)


def members(*numbers, **change):
    return [
        Member(**({"run_id": f"r{i}", "setting": 2.0 + i, "seed": i, "learning_rate": 1e-3} | change))
        for i in numbers
    ]


def family_of(kind, who, **given):
    scaling = Scaling(2.0, 2.0, torch.arange(D).float(), torch.arange(D).float())
    return Family(
        "f", kind, who, **({"d_in": D, "d_out": D, "dictionary_size": F, "scaling": scaling} | given)
    )


# ---------------------------------------------------------------- schedules


def test_schedule_by_hand():
    """20 steps: rise over 5 (a quarter), fall over 10 (half), sparsity over 4 (a fifth)."""
    schedule = Schedule(20, warmup=0.25, decay=0.5, sparsity_warmup=0.2)
    wanted = [0.2, 0.4, 0.6, 0.8] + [1.0] * 7 + [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert [schedule.learning_rate(s) for s in range(20)] == pytest.approx(wanted)
    assert [schedule.ramp(s) for s in range(20)] == pytest.approx([0.25, 0.5, 0.75] + [1.0] * 17)


@pytest.mark.parametrize("steps", [1, 2, 7, 100, 1001])
@pytest.mark.parametrize("warmup, decay, sparsity", [(0.05, 0.2, 0.25), (0, 0, 0), (0, 1, 1), (0.1, 0.9, 1)])
def test_no_step_is_without_a_rate(steps, warmup, decay, sparsity):
    """The first step has one too (dictionary_learning starts at 0), and none is above the full rate."""
    schedule = Schedule(steps, warmup, decay, sparsity)
    rates, ramps = [schedule.learning_rate(s) for s in range(steps)], [schedule.ramp(s) for s in range(steps)]
    assert 0 < min(rates)
    assert max(rates) <= 1
    assert ramps == sorted(ramps)
    assert 0 < ramps[0]
    assert ramps[-1] == 1


def test_no_warm_up_is_the_full_rate_at_once():
    schedule = Schedule(10, warmup=0, decay=0, sparsity_warmup=0)
    assert {schedule.learning_rate(s) for s in range(10)} == {1.0}
    assert {schedule.ramp(s) for s in range(10)} == {1.0}


# ---------------------------------------------------------------- storage


@ONE_EACH
def test_stacked_storage_and_views(kind):
    """`leaves[m]` is member m's part of `parameters`: written through one, read through the other."""
    family = family_of(kind, members(0, 1, 2))
    assert len(family) == 3
    for name, value in family.parameters.items():
        assert value.shape[0] == 3
        with torch.no_grad():
            family.leaves[1][name].add_(1)
        assert torch.equal(value[1], family.leaves[1][name])
        assert family.leaves[1][name].requires_grad
        assert family.leaves[1][name].is_leaf
    for name, value in family.state.items():
        assert value.shape[0] == 3
        family.set_state(2, {name: torch.full_like(value[2], 7)})
        assert (family.state_of(2)[name] == 7).all()
        assert (family.state_of(1)[name] != 7).all()


def test_the_same_seed_starts_alike_whatever_the_setting():
    family = family_of(
        ReLU(), [Member("a", 0.1, 4, 1e-3), Member("b", 9.0, 4, 1e-2), Member("c", 0.1, 5, 1e-3)]
    )
    for value in (family.parameters["W_enc"], family.parameters["W_dec"]):
        assert torch.equal(value[0], value[1])
        assert not torch.equal(value[0], value[2])
    assert torch.equal(family.parameters["b_dec"], torch.arange(D).float().repeat(3, 1))


def test_starts_do_not_depend_on_the_global_seed():
    torch.manual_seed(1)
    one = family_of(ReLU(), members(0))
    before = torch.get_rng_state()
    torch.manual_seed(2)
    other = family_of(ReLU(), members(0))
    assert torch.equal(one.parameters["W_enc"], other.parameters["W_enc"])
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), before)  # and do not touch it


def test_repr_names_what_differs():
    assert repr(family_of(TopK(), members(0, 1))) == "Family f: 2 × topk, dictionary 12, k = 2, 3"


def test_active_leaves_out_the_diverged():
    family = family_of(ReLU(), members(0, 1, 2))
    assert family.active == [0, 1, 2]
    family.diverged[1] = 30
    assert family.active == [0, 2]


# ---------------------------------------------------------------- saving


@ONE_EACH
def test_members_are_found_by_run_id_whoever_else_is_there(kind):
    """Saved as three, loaded as two in another order: what ranks of another number do."""
    saved = family_of(kind, members(0, 1, 2))
    for value in [*saved.parameters.values(), *saved.state.values()]:
        value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(0)))
    loaded = family_of(kind, members(2, 0, seed=99))
    loaded.load_tensors({k: v.clone() for k, v in saved.tensors().items()})
    for one, other in ((saved.parameters, loaded.parameters), (saved.state, loaded.state)):
        for name in one:
            assert torch.equal(one[name][[2, 0]], other[name])
    for name, leaf in loaded.leaves[0].items():  # the views see what was loaded
        assert torch.equal(leaf, saved.parameters[name][2])


def test_tensors_carry_no_gradient():
    assert not any(v.requires_grad for v in family_of(ReLU(), members(0)).tensors().values())


def test_a_missing_member_is_an_error():
    with pytest.raises(KeyError, match="r1/"):
        family_of(ReLU(), members(0, 1)).load_tensors(family_of(ReLU(), members(0)).tensors())


# ---------------------------------------------------------------- export


def test_sae_of_batch_topk_carries_its_threshold():
    """θ = running mean / its weight, divided by the scale: 0.6 / 0.3 / 2 = 1."""
    family = family_of(BatchTopK(), members(0, 1))
    family.state["threshold"][1], family.state["filled"][1] = 0.6, 0.3
    assert family.sae(1).parameters["threshold"].item() == pytest.approx(1.0)
    assert family.sae(0).parameters["threshold"].item() == 0  # never trained


def test_sae_of_topk_carries_k():
    assert [family_of(TopK(), members(0, 3)).sae(m).parameters["k"].item() for m in (0, 1)] == [2, 5]


def test_sae_takes_its_own_member():
    family = family_of(JumpReLU(), members(0, 1, 2))
    family.parameters["threshold"].copy_(torch.arange(3.0)[:, None].expand(3, F))
    for m in range(3):
        sae = family.sae(m, tokens_trained=100)
        torch.testing.assert_close(sae.parameters["threshold"], torch.full((F,), m / 2))
        torch.testing.assert_close(sae.parameters["b_dec"], torch.arange(D) / 2)
        torch.testing.assert_close(sae.parameters["W_enc"], family.parameters["W_enc"][m])
        assert (sae.identity["run_id"], sae.identity["seed"]) == (f"r{m}", m)
        assert sae.identity["tokens_trained"] == 100
        assert math.isclose(sae.identity["sparsity_setting"], 2 + m)


def test_identity_of_the_family_is_on_every_sae():
    family = family_of(ReLU(), members(0), identity={"model": "tiny_lm", "site": "mlp_out.0"})
    assert family.sae(0).identity["model"] == "tiny_lm"
    assert family.sae(0, site="elsewhere").identity["site"] == "elsewhere"


def test_run_ids_must_differ():
    with pytest.raises(ValueError, match="r0"):
        family_of(ReLU(), members(0, 0))
