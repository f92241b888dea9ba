"""Divided members that go on from a trained SAE: each shard reads its latents, and begins as on one device.

Shards are threads; what they read and begin with is cut from what one device reads and begins with.
"""

from types import SimpleNamespace

import pytest
import torch
from export_examples import made
from sharded_members import D, F
from small_runs import small
from threaded_shards import in_threads

from trainers import starts
from trainers.activations import Scaling
from trainers.architectures import architecture
from trainers.config_members import members
from trainers.counting import Traffic
from trainers.export import export, load
from trainers.family import Family, Member
from trainers.sae_files import save_sae
from trainers.sae_parts import digest, latent_dims
from trainers.sharding import ShardedFamily

torch.set_num_threads(1)
SITE = SimpleNamespace(site=lambda name: SimpleNamespace(name=name))
BEGUN = {
    "relu": "relu", "gated": "gated", "jumprelu": "jumprelu", "topk": "topk", "abs_topk": "abs_topk",
    "batch_topk": "batch_topk", "matryoshka": "matryoshka", "p_anneal": "p_anneal",
    "relu_unit_rows": "relu", "gated_no_gain": "jumprelu", "topk_no_shift": "topk",
    "relu_no_shift": "relu",
}  # fmt: skip
"""What is saved, and the architecture that goes on from it."""
OPTIONS = {"relu_unit_rows": {"free_decoder_norms": False}}


def some(value, dim, shards):
    return value if dim is None else value.chunk(shards.count, dim)[shards.rank]


def saved(name, layout, folder, **sizes):
    sae = made(name, **({"d_in": D, "d_out": D, "size": F} | sizes))
    return save_sae(sae, folder / "own") if layout == "ours" else export(sae, folder / "own", layout)


@pytest.mark.parametrize("layout", ["ours", "sae-lens", "dictionary-learning"])
@pytest.mark.parametrize("name", ["relu", "gated", "jumprelu", "topk", "batch_topk", "matryoshka"])
def test_each_shard_reads_its_latents(name, layout, tmp_path):
    """Of each layout; together they have the digest of the whole."""
    place = saved(name, layout, tmp_path)
    whole = load(place)

    def work(shards):
        part = load(place, shards)
        dims = latent_dims(part.kind)
        for key, value in whole.parameters.items():
            assert torch.equal(part.parameters[key], some(value, dims[key], shards)), key
        assert part.identity == whole.identity and part.dictionary_size == F // 4
        return digest(part)

    assert in_threads(4, work) == [digest(whole)] * 4


@pytest.mark.parametrize("layout", ["ours", "sae-lens", "dictionary-learning"])
def test_a_shard_holds_its_part(layout, tmp_path):
    """One of 16: twice its part at most, and a few numbers a latent; the rest of the file is only mapped."""
    size, d = 2048, 64
    place = saved("jumprelu", layout, tmp_path, d_in=d, d_out=d, size=size)
    shards = SimpleNamespace(rank=3, count=16, part=None)
    shards.part = lambda value, dim: some(value, dim, shards)
    with Traffic() as traffic:
        part = load(place, shards)
    own = sum(v.nbytes for v in part.parameters.values())
    shapes = 0 if layout != "ours" else 4 * size * (2 * d + 2) + 4 * d  # tensors without memory count too
    assert traffic.peak - shapes < 2 * own + 8 * size < 2 * d * size


@pytest.mark.parametrize("name", BEGUN)
def test_members_begin_as_on_one_device(name, tmp_path):
    """Scale and centre folded in, rows brought to norm 1, forms converted: the same bits at each latent."""
    place, kind = saved(name, "ours", tmp_path), BEGUN[name]
    options = OPTIONS.get(name, {})
    section = {"architecture": kind, "settings": [4], "start_from": str(place), "options": options}
    config = small([section], training={"dictionary_size": F})
    plans = members(config)
    mean = torch.linspace(-1, 1, D)
    scaling = Scaling(1.7, 1.7, mean, mean, mean / 3, mean / 3)
    given = {"d_in": D, "d_out": D, "dictionary_size": F, "scaling": scaling}
    given["identity"] = {"site": "resid_post.1"}

    def begun(shards=None):
        plan = [Member(plans[0].run_id, 4.0, 0, 1e-3)]
        if shards is None:
            family = Family("f", architecture(kind, **options), plan, **given)
            found = starts.read_starts(config, plans, SITE)
        else:
            family = ShardedFamily("f", architecture(kind, **options), plan, shards=shards, **given)
            found = starts.read_starts(config, plans, SITE, shards)
        starts.begin([family], found)
        return family

    one = begun()

    def work(shards):
        mine = begun(shards)
        assert mine.sources == one.sources
        for key, value in (one.parameters | one.state).items():
            cut = some(value[0], mine.dims[key], shards) if value[0].ndim else value[0]
            found = (mine.parameters | mine.state)[key][0]
            assert torch.equal(found, cut), key

    in_threads(4, work)
    assert not torch.equal(
        one.parameters["W_dec"], Family("g", one.architecture, one.members, **given).parameters["W_dec"]
    )
