"""Latents chosen over shards against a full sort, ties included: shards are threads here."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threaded_shards import in_threads

from trainers.sharding import selection
from trainers.sharding.selection import among_highest, among_highest_of_batch
from trainers.steps.closed_forms.memory import Scratch
from trainers.steps.closed_forms.selection import Encoder, batch_codes, token_codes

torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def small_offers():
    """First offers so small that these tables need several rounds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "SHARE", 1)
        patch.setattr(selection, "LEAST", 1)
        patch.setattr(selection, "MORE", 2)
        yield


def sorted_choice(values, count):
    """The first `count` of one row by falling value, of equal ones the first; no 0 among them."""
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]
    return [i in order and values[i] > 0 for i in range(len(values))]


def over(shards, values, choose):
    """The mask that all shards choose together; values `[B, F]`, each shard has F / shards of them."""
    here = values.shape[1] // shards
    masks = in_threads(shards, lambda s: choose(values[:, s.rank * here : (s.rank + 1) * here], s))
    return torch.cat(masks, dim=1) & (values > 0)


@st.composite
def tables(draw):
    """Small whole numbers, so that ties are everywhere; from rows of zeros to rows that are all alike."""
    shards, here = draw(st.sampled_from([1, 2, 3, 4])), draw(st.integers(1, 5))
    rows, most = draw(st.integers(1, 5)), draw(st.integers(0, 4))
    cells = st.lists(st.integers(0, most), min_size=shards * here, max_size=shards * here)
    values = torch.tensor([draw(cells) for _ in range(rows)], dtype=torch.float32)
    return shards, values, draw(st.integers(1, shards * here)), draw(st.integers(1, values.numel()))


@settings(max_examples=150, deadline=None)
@given(tables())
def test_the_choice_is_that_of_one_sort(table):
    shards, values, k, kept = table
    by_token = over(shards, values, lambda f, s: among_highest(f, k, s))
    assert by_token.tolist() == [sorted_choice(row, k) for row in values.tolist()]
    of_batch = over(shards, values, lambda f, s: among_highest_of_batch(f, kept, s))
    assert of_batch.flatten().tolist() == sorted_choice(values.flatten().tolist(), kept)


@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize("levels", [3, 40, 10**6])
def test_the_choice_is_that_of_the_engine_on_one_device(shards, levels):
    """The sparse step's own selection, on the same table: few values (ties at every limit) to many."""
    random = torch.Generator().manual_seed(levels)
    z = torch.randint(-levels, levels, (33, 24), generator=random).float() / levels
    encoder = Encoder(torch.eye(24), torch.zeros(24), z, Scratch())
    for k in (1, 5, 24):
        one = token_codes(encoder, k)
        wanted = torch.zeros(33, 24, dtype=torch.bool)
        wanted[torch.from_numpy(one.rows).long(), torch.from_numpy(one.places).long()] = True
        assert torch.equal(over(shards, z.relu(), lambda f, s, k=k: among_highest(f, k, s)), wanted)
        one = batch_codes(encoder, k + 0.3)
        wanted = torch.zeros(33, 24, dtype=torch.bool)
        wanted[torch.from_numpy(one.rows).long(), torch.from_numpy(one.places).long()] = True
        kept = round((k + 0.3) * 33)
        found = over(shards, z.relu(), lambda f, s, n=kept: among_highest_of_batch(f, min(n, 33 * 24), s))
        assert torch.equal(found, wanted)


@pytest.mark.parametrize(("crowded", "rounds"), [(False, 1), (True, 4)])
def test_offers_grow_only_where_one_shard_has_most(crowded, rounds):
    """k = 8 of 4 shards: an even share is 2; all 8 in one shard take 2, 4, 8 and then all 9."""
    f = torch.rand(5, 64, generator=torch.Generator().manual_seed(0))
    places = torch.arange(8) if crowded else torch.arange(4).repeat_interleave(2) * 16 + torch.arange(8) % 2
    f[:, places] += 1
    seen = []

    def choose(part, shards):
        plain = shards.gathered
        shards.gathered = lambda value: seen.append(value.shape[-1]) or plain(value)
        return among_highest(part, 8, shards)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "LEAST", 2 if crowded else 3)
        mask = over(4, f, choose)
    assert mask.sum(1).tolist() == [8] * 5 and mask[:, places].all()
    assert seen == ([2] * 4 + [4] * 4 + [8] * 4 + [9] * 4 if crowded else [3] * 4)
    assert len(seen) == 4 * rounds


def test_what_is_no_number_is_not_hidden():
    """NaN times any mask is NaN, so that the member is stopped, in every shard."""
    f = torch.tensor([[1.0, torch.nan, 2.0, 3.0]])
    for choose in (lambda f, s: among_highest(f, 2, s), lambda f, s: among_highest_of_batch(f, 2, s)):
        parts = in_threads(
            2, lambda s, c=choose: f[:, 2 * s.rank : 2 * s.rank + 2] * c(f[:, 2 * s.rank : 2 * s.rank + 2], s)
        )
        assert torch.cat(parts, 1).isnan().any()
