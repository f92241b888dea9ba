"""AbsTopK, matching pursuit and HierarchicalTopK against plain loops (`reference_saes.py`), in float64.

The loops sort, choose and sum token by token; 1e-10 separates rounding from a wrong factor.
"""

from itertools import pairwise

import pytest
import reference_saes as plain
import torch
from small_runs import small
from test_architectures import DEAD, D, F, assert_same, batch, close, drawn, ours, state_of, with_dead

from trainers.architectures import AbsTopK, HierarchicalTopK, MatchingPursuit, TopK, architecture
from trainers.evaluate.runs import evaluate_run
from trainers.sae import SAE
from trainers.studies.inference_time import Pursued, PursuedCodes
from trainers.studies.prune import Pruned, latent_statistics
from trainers.studies.variants import SharedCodes
from trainers.train import train

torch.set_num_threads(1)


@pytest.mark.parametrize("k", [1, 3, F])
@pytest.mark.parametrize("dead", [[], DEAD, list(range(F))])
@pytest.mark.parametrize("transcoder", [False, True])
def test_abs_topk(k, dead, transcoder):
    kind, d_out = AbsTopK(not transcoder), 4 if transcoder else D
    p, (x, target) = drawn(kind, d_out=d_out), batch(d_out=d_out, transcoder=transcoder)
    reference = plain.ReferenceAbsTopK(p, subtract=not transcoder)
    found = ours(kind, p, x, target, k, with_dead(kind, dead), steps=100)
    assert_same(found, reference, reference.loss(x, target, k, dead=dead))
    torch.testing.assert_close(kind.encode(kind.inference(p, {}, k), x), reference.codes(x, k)[1], **close)
    assert ((found[2].latents != 0).sum(1) == k).all()
    assert (found[2].latents < 0).any()


def test_a_latent_with_negative_codes_is_alive():
    kind = AbsTopK()
    p, (x, _) = drawn(kind), batch()
    state = ours(kind, p, x, x, 3)[2].state
    fired = (plain.ReferenceAbsTopK(p).codes(x, 3)[1] != 0).any(0)
    assert torch.equal(state["idle"] == 0, fired)
    assert not fired.all()


@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("threshold", [0.0, 1.2])
@pytest.mark.parametrize("k", [1, 4, 20])
def test_matching_pursuit(k, threshold, stop):
    """Codes, loss and gradients of the loop; on unit rows ‖r‖ never grows."""
    kind = MatchingPursuit(stop_when_repeated=stop, residual_threshold=threshold)
    p, (x, _) = drawn(kind), batch()
    p = {
        "W_dec": torch.nn.functional.normalize(p["W_dec"].detach(), dim=1).requires_grad_(),
        "b_dec": p["b_dec"],
    }
    reference = plain.ReferenceMatchingPursuit(p)
    how = {"stop": stop, "threshold": threshold}
    found = ours(kind, p, x, x, k)
    assert_same(found, reference, reference.loss(x, x, k, **how))
    codes, norms = reference.codes(x, k, **how)
    torch.testing.assert_close(found[2].latents, codes, **close)
    torch.testing.assert_close(kind.encode(kind.inference(p, {}, k), x), codes, **close)
    assert all(after <= before + 1e-12 for path in norms for before, after in pairwise(path))
    ended = torch.tensor([path[-1] for path in norms], dtype=torch.float64)
    torch.testing.assert_close((x - found[2].reconstruction).norm(dim=1).detach(), ended, **close)
    assert (found[2].latents >= 0).all()


def test_matching_pursuit_is_no_transcoder():
    with pytest.raises(ValueError, match="cannot be a transcoder"):
        architecture("matching_pursuit", subtract_decoder_bias=False)


@pytest.mark.parametrize("k", [1, 3, F])
@pytest.mark.parametrize("dead", [[], DEAD])
def test_hierarchical_topk(k, dead):
    """Each budget is a TopK SAE of its own in the loop."""
    kind = HierarchicalTopK()
    p, (x, _) = drawn(kind), batch()
    reference = plain.ReferenceHierarchicalTopK(p)
    found = ours(kind, p, x, x, k, with_dead(kind, dead), steps=100)
    assert_same(found, reference, reference.loss(x, x, k, dead=dead))


def test_one_budget_is_topk():
    p, (x, _) = drawn(TopK()), batch()
    torch.testing.assert_close(ours(HierarchicalTopK(), p, x, x, 1)[0], ours(TopK(), p, x, x, 1)[0], **close)


def sae_of(kind, k=5):
    p = {name: v.detach().float() for name, v in drawn(kind, size=30).items()}
    return SAE(kind, kind.inference(p, state_of(kind, 30), k), {"run_id": "a", "family": kind.name})


def test_signed_codes_are_pruned_and_pursued_with_their_signs():
    """By size, not by sign; with signs the pursuit of the same rows leaves less."""
    sae, x = sae_of(AbsTopK()), batch(n=200)[0].float()
    pruned = Pruned(SharedCodes(sae), "a", "top k", 2, latent_statistics(sae, [x])).encode(x)
    height = sae.encode(x).abs() * sae.rows.norm(dim=1)
    assert torch.equal(pruned != 0, height >= height.topk(2).values[:, -1:])
    assert torch.equal(pruned[pruned != 0], sae.encode(x)[pruned != 0])
    assert (pruned < 0).any()
    unsigned = SAE(TopK(), sae.parameters, sae.identity)
    left = {}
    for one in (sae, unsigned):
        codes = PursuedCodes(one, [3], "orthogonal matching pursuit")
        f = Pursued(codes, "a", 3).encode(x)
        left[one.architecture.name] = float((x - sae.decode(f)).square().sum())
        assert bool((f < 0).any()) == one.architecture.signed
    assert left["abs_topk"] < left["topk"]


def test_the_points_of_one_sae(tmp_path):
    """HierarchicalTopK is a row at every budget, each the TopK SAE of its weights, all with one parent."""
    x = batch(n=50)[0].float()
    sae = sae_of(HierarchicalTopK(), 5)
    points = sae.points()
    assert [p.identity["run_id"] for p in points] == ["a at k 1", "a at k 2", "a at k 4", "a"]
    assert {p.identity["parent"] for p in points} == {"a"}
    for point, k in zip(points, (1, 2, 4, 5), strict=True):
        assert point.identity["sparsity_setting"] == k
        assert torch.equal(point.encode(x), TopK().encode(sae.parameters | {"k": torch.tensor(k)}, x))
    assert [int(p.parameters["k"]) for p in sae_of(HierarchicalTopK(budgets=(3, 9)), 5).points()] == [3, 5]
    assert sae_of(TopK()).points()[0].identity.keys() == {"run_id", "family"}
    budgets = {"budgets": [1, 2, 4, 5, 9]}  # 5 is above one k, 9 above both
    families = [{"architecture": "hierarchical_topk", "settings": [4, 6], "options": budgets}]
    with pytest.warns(UserWarning, match=r"budgets 9 are above the largest k, 6,.*settings = \[9\] has"):
        run = train(small(families, training={"steps": 3}), tmp_path, progress=False)
    found = evaluate_run(tmp_path, model=run.model, progress=False)
    assert list(found["sparsity_setting"]) == [1, 1, 2, 2, 4, 4, 5, 6]
    assert found["l0"].to_numpy() == pytest.approx(found["sparsity_setting"].to_numpy())
    assert found["parent"].value_counts().to_dict() == {
        "hierarchical_topk_4_seed0": 3, "hierarchical_topk_6_seed0": 5,
    }  # fmt: skip
