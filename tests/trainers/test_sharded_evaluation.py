"""Divided SAEs saved, read and evaluated against whole ones: shards are threads here.

The tests with processes of their own are in test_shards.py.
"""

from copy import deepcopy
from functools import cache
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import transformers
from sharded_members import KINDS, D, F, batch
from threaded_shards import in_threads

from trainers.activations import Scaling
from trainers.architectures import ReLU, TopK
from trainers.counting import Traffic
from trainers.evaluate import evaluate, fitting, one_pass
from trainers.evaluate.linear_error import moment_bytes
from trainers.export import ExportError, export
from trainers.family import Family, Member
from trainers.language_models import LanguageModel
from trainers.needs import code_bytes
from trainers.sae import SAE
from trainers.sae_files import SAEFileError, load_sae, save_sae
from trainers.sharding import ShardedFamily

torch.set_num_threads(1)
SITE, V, LENGTH = "mlp_out.0", 40, 12
TOKENS = torch.randint(3, V, (8, LENGTH), generator=torch.Generator().manual_seed(1))
WEIGHTS = "sae.safetensors"


@cache
def language_model():
    """Each thread takes a copy: passes leave hooks in it."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=V, n_embd=D, n_layer=1, n_head=2, n_positions=8 * LENGTH, bos_token_id=1, eos_token_id=2
    )
    found = transformers.GPT2LMHeadModel(config)
    for weight in found.parameters():
        weight.data.add_(0.3 * torch.randn_like(weight))
    return LanguageModel(found, name="random")


def family(kind, shards=None, size=F):
    """Three members, so that two shards have two of them and one."""
    mean = torch.full((D,), 0.0 if kind.skip else 0.3)
    settings = (2.0, 4.0, 9.0) if isinstance(kind, TopK) or kind.sparsity_name == "target_l0" else (0.5, 1, 2)
    given = {"d_in": D, "d_out": D, "dictionary_size": size, "scaling": Scaling(1.0, 1.0, mean, mean)}
    plan = [Member(f"m{i}", s, i, 1e-3) for i, s in enumerate(settings)]
    if shards is None:
        return Family("f", kind, plan, **given)
    return ShardedFamily("f", kind, plan, shards=shards, **given)


def saved(saes, folder):
    return [save_sae(sae, folder / sae.identity["run_id"]) for sae in saes]


def measured(saes, of=None, batch_size=1, **how):
    of = deepcopy(language_model()) if of is None else of
    return evaluate(saes, of, TOKENS, SITE, batch_size=batch_size, protocol="p", **how)


ENCODERS = [k for k, kind in KINDS.items() if k in (kind.name, "gated, untied", "skip")]


@pytest.mark.parametrize("name", ENCODERS)
def test_files_and_metrics_are_those_of_one_device(name, tmp_path):
    """Every column, every batch and every latent's count; weights are read from what the shards wrote."""
    kind, rows = KINDS[name], batch(99, double=False).input
    whole = saved(family(kind).saes(rows), tmp_path / "one")
    one = measured([load_sae(place) for place in whole])
    assert one.table["fvu"].nunique() == 3

    def work(shards, count):
        places = saved(family(kind, shards).saes(rows), tmp_path / str(count))
        shards.from_first(torch.zeros(1))  # the others wait until it is written
        parts = [load_sae(place, shards) for place in places]
        return {part.dictionary_size for part in parts}, measured(parts)

    for count in (2, 4) if name == "topk" else (4,):
        every = in_threads(count, lambda s, n=count: work(s, n))
        for place in whole:
            written = tmp_path / str(count) / place.name
            assert (written / WEIGHTS).read_bytes() == (place / WEIGHTS).read_bytes()
            assert (written / "sae.json").read_bytes() == (place / "sae.json").read_bytes()
        for sizes, found in every:
            assert sizes == {F // count}
            pd.testing.assert_frame_equal(found.table, one.table, rtol=1e-6, atol=1e-6)
            pd.testing.assert_frame_equal(found.batches, one.batches, rtol=1e-6, atol=1e-5)
            assert all((found.frequencies[k] == v).all() for k, v in one.frequencies.items())


@pytest.mark.parametrize(("count", "least"), [(2, 2), (4, 2), (4, 3)])
def test_each_shard_sees_its_windows_through_the_model(count, least, monkeypatch):
    """Eight windows in 2 batches of 4, or 3 of 3, 3 and 2: every pass is divided, metrics are the same."""
    monkeypatch.setattr(one_pass, "LEAST_BATCHES", least)
    rows = batch(99, double=False).input

    def seen(saes):
        of, windows = deepcopy(language_model()), []
        of.site(SITE)  # finds its width in a pass of its own
        of.model.register_forward_pre_hook(
            lambda m, args, kwargs: windows.append(kwargs["input_ids"].shape), with_kwargs=True
        )
        # A pass over two tokens counts what others take.
        return measured(saes, of, batch_size=4), sum(n for n, length in windows if length == LENGTH)

    one, every = seen(family(TopK()).saes(rows))
    assert every == 8 * (1 + 1 + 2 + 3)  # mean, clean, two ablations, three SAEs
    found = in_threads(count, lambda shards: seen(family(TopK(), shards).saes(rows)))
    assert sum(n for _, n in found) == every
    assert max(n for _, n in found) == max(-(-8 // (count * least)), 1) * least * 7
    for table, _ in found:
        pd.testing.assert_frame_equal(table.table, one.table, rtol=1e-6, atol=1e-6)
        pd.testing.assert_frame_equal(table.batches, one.batches, rtol=1e-6, atol=1e-5)


def test_an_sae_that_gives_nan_in_one_shard_is_missing_in_all():
    """The others are not changed, and the first shard alone says it."""

    def work(shards):
        parts = family(ReLU(), shards).saes()
        if shards.rank == 2:
            parts[1].parameters["b_enc"][0] = torch.nan
        return measured(parts)

    one = measured(family(ReLU()).saes())
    with pytest.warns(UserWarning, match="'m1' gives NaN or infinity in batch 0") as said:
        every = in_threads(4, work)
    assert len([w for w in said if "NaN" in str(w.message)]) == 1
    for found in every:
        assert found.table.loc[1, ["l0", "fvu", "ce_sae", "alive_fraction"]].isna().all()
        columns = ["l0", "fvu", "ce_sae", "alive_fraction", "error_linear_fraction"]
        kept = found.table.loc[[0, 2], columns]
        pd.testing.assert_frame_equal(kept, one.table.loc[[0, 2], columns], rtol=1e-6)


@pytest.mark.parametrize("name", ["relu", "topk", "gated"])
def test_an_evaluation_needs_what_is_said(name):
    """Storages of each shard of four: the moments and a window's codes, within 15 %."""
    size, kind, rows = 2**12, KINDS[name], batch(99, double=False).input

    def work(shards):
        parts, of = family(kind, shards, size).saes(rows), deepcopy(language_model())
        with Traffic() as traffic:
            evaluate(parts, of, TOKENS[:2].repeat(1, 8), SITE, batch_size=1, protocol="p", memory=1)
        return traffic.peak

    said = fitting.window_bytes(
        V, 8 * LENGTH, code_bytes(kind) * size // 4, fitting.PassBytes(4, 4)
    ) + moment_bytes(3, D, D)
    assert in_threads(4, work) == pytest.approx([said] * 4, rel=0.15)


def test_sixteen_million_latents_on_64_devices_fit():
    """As in docs/sharding.md: d = 4,096, windows of 1,024 tokens, a vocabulary of 256,000."""
    weights = 4 * (2 * 4096 + 2) * 2**24
    window = fitting.window_bytes(256_000, 1024, code_bytes(TopK()) * 2**24 // 64, fitting.PassBytes(2, 2))
    here = weights // 64 + window + moment_bytes(1, 4096, 4096)
    assert here < 15e9 < 140e9 < weights


def test_a_part_is_not_exported_as_a_whole(tmp_path):
    def work(shards):
        with pytest.raises(ExportError, match="one of 4 shards"):
            export(family(ReLU(), shards).saes()[0], tmp_path / "out", "sae-lens")

    in_threads(4, work)


def test_what_cannot_be_read_in_parts_is_said(tmp_path):
    place = saved(family(ReLU(), size=66).saes()[:1], tmp_path)[0]
    with pytest.raises(SAEFileError, match="latents cannot be divided over 4"):
        load_sae(place, SimpleNamespace(rank=0, count=4))


def test_a_copy_that_has_changed_is_seen_by_the_process_that_reads_it(tmp_path):
    """Its part may be where nothing has changed."""
    sae = SAE(ReLU(), ReLU().start(D, D, F, (torch.zeros(D), torch.zeros(D)), 0), {"run_id": "a"})
    places = [save_sae(sae, tmp_path / f"node{i}") for i in range(2)]
    weights = places[1] / "sae.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    fine, damaged = in_threads(2, lambda s: _fault(places[s.rank], s))
    assert not fine and "node1: sae.safetensors is not as it was written" in damaged


def _fault(place, shards):
    try:
        load_sae(place, shards)
    except SAEFileError as error:
        return str(error)
