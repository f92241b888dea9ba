"""An evaluation in windows and SAEs that fit is the whole one, and stays within what it was given."""

import pandas as pd
import pytest
import torch
import transformers

from trainers.activations import Scaling
from trainers.architectures import TopK
from trainers.counting import Traffic
from trainers.evaluate import evaluate, fitting, one_pass
from trainers.evaluate.linear_error import LinearError, moment_bytes, solving_bytes
from trainers.family import Family, Member
from trainers.language_models import LanguageModel

SITE, D, SIZE, VOCABULARY, LENGTH = "mlp_out.0", 8, 64, 2000, 16


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=D, n_layer=1, n_head=2, n_positions=LENGTH, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    return LanguageModel(transformers.GPT2LMHeadModel(config), name="random")


@pytest.fixture(scope="module")
def saes():
    scaling = Scaling(1.0, 1.0, torch.zeros(D), torch.zeros(D))
    plan = [Member(f"m{i}", k, i, 1e-3) for i, k in enumerate((1.0, 4.0, 9.0))]
    family = Family("f", TopK(), plan, d_in=D, d_out=D, dictionary_size=SIZE, scaling=scaling)
    return [family.sae(m) for m in range(len(plan))]


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(3, VOCABULARY, (32, LENGTH), generator=torch.Generator().manual_seed(1))


def measured(saes, model, tokens, **how):
    return evaluate(saes, model, tokens, SITE, batch_size=2, protocol="p", **how)


LOGITS = fitting.CLEAN + 4 + fitting.LOSSES
"""Bytes per logit, where all are compared at once."""


@pytest.mark.parametrize("memory", [1, LOGITS * VOCABULARY * LENGTH * 2])
def test_parts_and_groups_give_the_same(saes, model, tokens, memory, monkeypatch):
    """One window and one SAE at a time, and seven rows of logits; then two windows and all SAEs."""
    whole = measured(saes, model, tokens)
    monkeypatch.setattr(fitting, "LOGIT_BYTES", 7 * 4 * VOCABULARY)
    parts = measured(saes, model, tokens, memory=memory)
    pd.testing.assert_frame_equal(parts.table, whole.table, rtol=1e-4, atol=1e-6)
    pd.testing.assert_frame_equal(parts.batches, whole.batches, rtol=1e-4, atol=1e-4)
    assert all((parts.frequencies[k] == whole.frequencies[k]).all() for k in whole.frequencies)


@pytest.mark.parametrize(("memory", "passes"), [(None, 1 + 1 + 2 + 3), (1, 1 + 3 + 2 + 3)])
def test_a_group_more_costs_one_pass_more(saes, model, tokens, memory, passes):
    """Passes of the model over a batch: mean, clean text for each group, two ablations, one for each SAE."""
    seen = []
    hook = model.model.register_forward_pre_hook(lambda *_: seen.append(1))
    evaluate(saes, model, tokens[:16], SITE, batch_size=1, protocol="p", memory=memory)
    hook.remove()
    assert len(seen) == 16 * passes + 1  # one to count what a pass takes


def test_memory_stays_within_what_is_given(saes, model, tokens, monkeypatch):
    """By storage counting: 16 windows a batch ask for 8 times what is allowed; no more is held than that."""
    monkeypatch.setattr(fitting, "LOGIT_BYTES", 2**14)
    monkeypatch.setattr(one_pass, "LEAST_BATCHES", 2)  # else 32 windows are batches of two
    limit = 2 * (fitting.CLEAN + 4) * VOCABULARY * LENGTH + fitting.LOSSES * 2**12
    peaks = {}
    for memory in (limit, 8 * limit):
        with Traffic() as traffic:
            evaluate(saes, model, tokens, SITE, batch_size=16, protocol="p", memory=memory)
        peaks[memory] = traffic.peak
    assert 0.85 * limit < peaks[limit] < 1.02 * limit
    assert 5 * peaks[limit] < peaks[8 * limit] < 8 * limit


def capped(vocabulary, dtype):
    """A model that bends its logits, as Gemma 2 does, which takes more of them on the way."""
    config = transformers.Gemma2Config(
        vocab_size=vocabulary, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, head_dim=8,
        num_key_value_heads=1, intermediate_size=16, max_position_embeddings=64, final_logit_softcapping=30.0,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    return transformers.Gemma2ForCausalLM(config).to(dtype)


def plain(vocabulary, dtype):
    config = transformers.GPT2Config(
        vocab_size=vocabulary, n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2
    )
    return transformers.GPT2LMHeadModel(config).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("made", [plain, capped])
@pytest.mark.parametrize("rows", [3, 7, 63])
def test_logits_need_what_is_said(made, dtype, rows, monkeypatch):
    """Storages of a window of 64 tokens: within 5 %, few or all of its rows compared at once."""
    vocabulary = 9000
    monkeypatch.setattr(fitting, "LOGIT_BYTES", rows * 4 * vocabulary)
    model = LanguageModel(made(vocabulary, dtype), name="random")
    scaling = Scaling(1.0, 1.0, torch.zeros(16), torch.zeros(16))
    family = Family(
        "f", TopK(), [Member("m", 4.0, 0, 1e-3)], d_in=16, d_out=16, dictionary_size=64, scaling=scaling
    )
    tokens = torch.randint(3, vocabulary, (2, 64), generator=torch.Generator().manual_seed(1))
    said = fitting.window_bytes(vocabulary, 64, 20 * 64, fitting.pass_bytes(model))
    with Traffic() as traffic:
        evaluate([family.sae(0)], model, tokens, SITE, batch_size=1, protocol="p", memory=1)
    assert said == pytest.approx(traffic.peak, rel=0.05)


@pytest.mark.parametrize(
    ("logits", "size", "length", "shards", "windows"),
    [
        (256_000, 65_536, 1024, 1, 18),
        (256_000, 131_072, 8192, 1, 1),
        (256_000, 65_536, 1024, 8, 22),
        (0, 65_536, 1024, 1, 22),
    ],
)
def test_windows_of_a_large_model(logits, size, length, shards, windows):
    """30 GB: 18.9 windows of 1,024 tokens × 256,000 × 6 bytes, or 22.4 of 1,024 × 65,536 codes × 20 bytes."""
    sae = type("SAE", (), {"dictionary_size": size})
    assert (
        fitting.windows_at_once([sae], logits, length, 30 * 10**9, fitting.PassBytes(2, 2), shards) == windows
    )


@pytest.mark.parametrize(("members", "d_in", "d_out"), [(1, 64, 64), (8, 64, 64), (3, 128, 32), (3, 32, 128)])
def test_moments_and_their_solving_need_what_is_said(members, d_in, d_out):
    """By storage counting, for the sums of 16 batches and for the fits that leave groups out."""
    with Traffic() as of_moments:
        errors = LinearError(members, d_in, d_out, 16, torch.zeros(d_in))
    for batch in range(16):
        errors.start(batch, torch.randn(60, d_in))
        for member in range(members):
            errors.add(member, torch.randn(60, d_out))
    with Traffic() as of_solving:
        fractions, _ = errors.fractions()
    assert bool(fractions.isfinite().all())
    assert of_moments.peak == pytest.approx(moment_bytes(members, d_in, d_out), rel=0.01)
    assert 0.8 < of_solving.peak / solving_bytes(members, d_in, d_out) <= 1


def test_eight_wide_saes_fit_60_gigabytes():
    """As in docs/gpu.md: d = 4,096, 65,536 latents, a vocabulary of 256,000, one window of 1,024 tokens."""
    weights = 8 * 4 * 2 * 4096 * 65_536
    window = fitting.window_bytes(256_000, 1024, 13.1 * 65_536, fitting.PassBytes(2, 2))
    moments, solving = moment_bytes(8, 4096, 4096), solving_bytes(8, 4096, 4096)
    assert window == pytest.approx(1.9e9, rel=0.02)
    assert weights + moments + max(window, solving) == pytest.approx(24.4e9, rel=0.01)


def test_groups_of_saes(saes):
    one = sum(v.numel() * v.element_size() for v in saes[0].parameters.values())
    assert fitting.groups_that_fit(saes, None) == [[0, 1, 2]]
    assert fitting.groups_that_fit(saes, 2 * one) == [[0, 1], [2]]
    assert fitting.groups_that_fit(saes, 1) == [[0], [1], [2]]
