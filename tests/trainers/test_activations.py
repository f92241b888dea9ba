"""Streams of activations: the same whoever reads them, however they are stored, and after a resume."""

import json
import math
import re
import sys
import time

import numpy as np
import pytest
import torch
import torch.distributed as dist
from processes import Forked
from safetensors.torch import load_file, save_file

from trainers.activations import (
    ActivationError,
    CacheError,
    StreamedCorpus,
    activation_stream,
    evaluation_windows,
)
from trainers.activations.scaling import scaling_of
from trainers.activations.sizes import bytes_of
from trainers.activations.sources import token_windows
from trainers.language_models import LanguageModel
from trainers.language_models.sites import Site
from trainers.text import STANDARD_LIBRARY, TextError
from trainers.tiny_lm import START, Recipe, build_model, build_tokenizer

LENGTH = 16
QUIET = {"progress": False}
LIVE = {"buffer_tokens": 300, "chunk_tokens": 4 * LENGTH}
"""Several small buffers, as for a text that does not fit into memory."""


def random_model(seed=0, **options):
    recipe = Recipe(layers=2, width=16, heads=2, context_length=LENGTH, seed=seed)
    return LanguageModel(build_model(recipe), build_tokenizer(LENGTH), name="random", **options)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The last bit of a matrix product depends on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """One file of about 1500 characters, no two windows alike."""
    file = tmp_path_factory.mktemp("text") / "numbers.txt"
    file.write_text(" ".join(str(i * i) for i in range(270)), encoding="utf-8")
    return file


def stream_of(model, text, site="mlp_out.1", **options):
    """A stream that only scales, so that rows are known from their batches; centred ones have a test."""
    return activation_stream(model, site, text, **({"batch_size": 32, "centre": False} | QUIET | options))


def taken(stream, count):
    return [next(stream) for _ in range(count)]


def same(some, others):
    return all(
        torch.equal(a.input, b.input) and torch.equal(a.target, b.target)
        for a, b in zip(some, others, strict=True)
    )


def direct(model, text, site="mlp_out.1", split="train"):
    """All activations that count `[n, width]`, read in one plain pass."""
    tokens = token_windows(model, text, split=split, progress=False).tokens.long()
    return model.capture(tokens, [site])[site][:, 1:].flatten(0, 1)


def in_order(rows):
    """Rows sorted by their first numbers, so that shuffled sets can be compared."""
    return rows[np.lexsort(rows.numpy().T[:3])]


@pytest.mark.parametrize("options", [{}, LIVE, LIVE | {"dtype": "bfloat16"}])
def test_each_pass_gives_every_activation_once(model, text, options):
    wanted = direct(model, text)
    stream = stream_of(model, text, batch_size=1, **options)
    for _ in range(2):
        rows = torch.cat([b.input for b in taken(stream, len(wanted))]) / stream.scaling.input_scale
        if "dtype" in options:  # rounded to 8 bits: 1 in 256
            nearest = wanted[torch.cdist(rows, wanted).argmin(1)]
            torch.testing.assert_close(rows, nearest, rtol=1 / 256, atol=1e-4)
        else:
            torch.testing.assert_close(in_order(rows), in_order(wanted), rtol=1e-5, atol=1e-6)
    assert stream.state()["epoch"] == 1 and stream.state()["offset"] > 0


def test_passes_and_seeds_have_orders_of_their_own(model, text):
    for options in ({}, LIVE):
        stream = stream_of(model, text, batch_size=1, **options)
        count = stream.harvest.total_rows
        one, two = (torch.cat([b.input for b in taken(stream, count)]) for _ in range(2))
        other = torch.cat(
            [b.input for b in taken(stream_of(model, text, batch_size=1, seed=1, **options), count)]
        )
        assert (one == two).all(1).float().mean() < 0.05
        assert (one == other).all(1).float().mean() < 0.05


def test_a_buffer_holds_windows_from_all_over_the_text(model, text):
    stream = stream_of(model, text, **LIVE)
    assert stream.buffers >= 4
    places = np.concatenate([stream.harvest.windows_of(c) for c in stream._chunks(0, 0)])
    assert np.ptp(places) > 0.7 * len(stream.harvest.windows.tokens)


@pytest.mark.parametrize("options", [{}, LIVE, LIVE | {"target_site": "resid_post.0"}])
def test_a_resumed_stream_goes_on_with_the_same_bits(model, text, options):
    stream = stream_of(model, text, **options)
    for steps in (0, 5, 9, 60):  # at the start, inside a buffer, across buffers, in the second pass
        taken(stream, steps)
        state = json.loads(json.dumps(stream.state()))
        resumed = stream_of(model, text, **options)
        resumed.restore(state)
        ahead = stream_of(model, text, **options)
        ahead.restore(state)
        assert same(taken(resumed, 20), taken(ahead, 20))
        reference = stream_of(model, text, **options)
        taken(reference, {0: 0, 5: 5, 9: 14, 60: 74}[steps])
        again = stream_of(model, text, **options)
        again.restore(state)
        assert same(taken(reference, 20), taken(again, 20))


def test_a_stream_stopped_between_two_buffers_goes_on_with_the_next(model, text):
    stream = stream_of(model, text, batch_size=1, **LIVE)
    next(stream)
    taken(stream, len(stream._rows) - 1)
    state = stream.state()
    assert (state["buffer"], state["offset"]) == (0, len(stream._rows))
    resumed = stream_of(model, text, batch_size=1, **LIVE)
    resumed.restore(state)
    assert same(taken(resumed, 30), taken(stream, 30))


def test_a_model_without_start_token_reads_full_windows(text):
    plain = random_model(ignore=[])
    plain.start_token = None
    tokens = token_windows(plain, text, progress=False).tokens
    assert plain.tokenizer.decode(tokens.flatten().tolist()) == text.read_text()[: tokens.numel()]
    assert stream_of(plain, text).harvest.total_rows == tokens.numel()


def test_a_state_of_another_stream_is_refused(model, text):
    state = stream_of(model, text).state()
    with pytest.raises(ActivationError, match=r"site was 'mlp_out.1', is 'mlp_out.0'"):
        stream_of(model, text, "mlp_out.0").restore(state)
    with pytest.raises(ActivationError, match="seed was 0, is 3"):
        stream_of(model, text, seed=3).restore(state)
    with pytest.raises(ActivationError, match=r"lacks \['offset'\]"):
        stream_of(model, text).restore({k: v for k, v in state.items() if k != "offset"})
    with pytest.raises(ActivationError, match="input_scale was 99"):
        stream_of(model, text).restore(state | {"input_scale": 99.0})


def test_the_scale_gives_a_mean_norm_of_root_d(model, text):
    rows = direct(model, text).double()
    scaling = stream_of(model, text).scaling
    assert scaling.input_scale == pytest.approx(4 / float(rows.norm(dim=1).mean()), rel=1e-6)  # sqrt(16)
    torch.testing.assert_close(scaling.input_mean, (rows.mean(0) * scaling.input_scale).float())
    assert scaling.target_scale == scaling.input_scale


def test_a_centred_stream_gives_the_same_rows_around_their_mean(model, text):
    stream = stream_of(model, text, "mlp_in.1", target_site="mlp_neurons.1", batch_size=1, centre=True)
    scaling, pairs = stream.scaling, taken(stream, stream.harvest.total_rows)
    for name, rows, scale, centre in (
        ("mlp_in.1", [b.input for b in pairs], scaling.input_scale, scaling.input_centre),
        ("mlp_neurons.1", [b.target for b in pairs], scaling.target_scale, scaling.target_centre),
    ):
        raw, found = direct(model, text, name), torch.cat(rows)
        torch.testing.assert_close(centre, raw.mean(0), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(in_order(found / scale + centre), in_order(raw), rtol=1e-4, atol=1e-5)
        wanted = math.sqrt(raw.shape[1]) / float((raw - raw.mean(0)).double().norm(dim=1).mean())
        assert scale == pytest.approx(wanted, rel=1e-5)


def test_an_autoencoder_rebuilds_its_input_and_a_transcoder_another_site(model, text):
    batch = next(stream_of(model, text))
    assert batch.target is batch.input
    stream = stream_of(model, text, "mlp_in.1", target_site="mlp_neurons.1", batch_size=1)
    assert (stream.d_in, stream.d_out) == (16, 64)
    batch = taken(stream, stream.harvest.total_rows)
    pairs = torch.cat([torch.cat([b.input, b.target], dim=1) for b in batch])
    scaling = stream.scaling
    wanted = torch.cat(
        [
            direct(model, text, "mlp_in.1") * scaling.input_scale,
            direct(model, text, "mlp_neurons.1") * scaling.target_scale,
        ],
        dim=1,
    )
    torch.testing.assert_close(in_order(pairs), in_order(wanted), rtol=1e-5, atol=1e-6)
    assert float(pairs[:, 16:].norm(dim=1).mean()) == pytest.approx(8, rel=1e-5)  # sqrt(64)


def test_start_tokens_never_enter(text):
    """Rows of start tokens would be too many; other tokens can be left out too."""
    assert stream_of(random_model(), text).harvest.total_rows == len(direct(random_model(), text))
    without = random_model(ignore=[START, ord("1")])
    tokens = token_windows(without, text, progress=False).tokens
    assert stream_of(without, text).harvest.total_rows == int(
        ((tokens != START) & (tokens != ord("1"))).sum()
    )


def test_chunks_are_the_same_alone_and_in_any_buffer(model, text):
    live, whole = stream_of(model, text, **LIVE), stream_of(model, text, chunk_tokens=LIVE["chunk_tokens"])
    rows = {
        tuple(r.tolist()) for r in torch.cat([b.input for b in taken(live, 60)]) / live.scaling.input_scale
    }
    others = {
        tuple(r.tolist()) for r in torch.cat([b.input for b in taken(whole, 60)]) / live.scaling.input_scale
    }
    assert len(rows & others) < len(rows)  # the scales differ by the buffer they were measured on
    raw = [torch.cat([s.harvest.read(c)[0] for c in range(len(s.harvest))]) for s in (live, whole)]
    assert torch.equal(*raw)


# The cache


@pytest.mark.parametrize("target", [None, "resid_post.0"])
def test_live_and_cached_streams_are_the_same(model, text, tmp_path, target):
    live, filling, cached = (
        stream_of(model, text, target_site=target, cache=folder, **LIVE)
        for folder in (None, tmp_path, tmp_path)
    )
    wanted = taken(live, 70)
    assert same(taken(filling, 70), wanted)
    cached.harvest.model = None  # a complete cache needs no model
    assert same(taken(cached, 70), wanted)
    assert not list(tmp_path.rglob(".draft*"))


def test_two_that_fill_one_cache_at_once_read_the_same(model, text, tmp_path):
    wanted = taken(stream_of(model, text, **LIVE), 70)
    one, other = (stream_of(model, text, cache=tmp_path, **LIVE) for _ in range(2))
    both = [(next(one), next(other)) for _ in range(70)]
    assert all(same(found, wanted) for found in zip(*both, strict=True))
    assert same(taken(stream_of(model, text, cache=tmp_path, **LIVE), 70), wanted)
    assert not list(tmp_path.rglob(".draft*"))


def test_a_torn_chunk_is_made_again(model, text, tmp_path):
    wanted = taken(stream_of(model, text, cache=tmp_path, **LIVE), 70)
    files = sorted(tmp_path.rglob("chunk_*.safetensors"))
    files[0].write_bytes(files[0].read_bytes()[:-100])
    files[1].write_bytes(b"")
    save_file({"input": torch.zeros(3, 16)}, files[2])
    flipped = bytearray(files[3].read_bytes())
    flipped[-5] ^= 1  # one bit of one activation
    files[3].write_bytes(flipped)
    again = stream_of(model, text, cache=tmp_path, **LIVE)
    assert same(taken(again, 70), wanted)
    assert sorted(again._reader.caches[0].remade) == [0, 1, 2, 3]
    last = stream_of(model, text, cache=tmp_path, **LIVE)
    assert same(taken(last, 70), wanted) and not last._reader.caches[0].remade


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"site": "mlp_out.0"}, "site 'mlp_out.1' there, 'mlp_out.0' here"),
        ({"target_site": "mlp_in.1"}, "target_site None there, 'mlp_in.1' here"),
        ({"tokens": 400}, "tokens_hash '.*' there, '.*' here.*windows"),
        ({"dtype": "float16"}, "dtype 'float32' there, 'float16' here"),
        ({"model": random_model(seed=1)}, "revision '.*' there"),
    ],
)
def test_a_cache_of_something_else_is_refused_by_name(model, text, tmp_path, options, message):
    next(stream_of(model, text, cache=tmp_path))
    with pytest.raises(CacheError, match=message):
        stream_of(**({"model": model, "text": text, "cache": tmp_path} | options))


def test_a_folder_of_other_things_is_no_cache(model, text, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(CacheError, match="is not empty"):
        stream_of(model, text, cache=tmp_path)
    (tmp_path / "activations.json").write_text("{torn")
    with pytest.raises(CacheError, match="cannot be opened"):
        stream_of(model, text, cache=tmp_path)


def test_above_its_limit_a_cache_keeps_what_fits_and_says_so(model, text, tmp_path):
    with pytest.warns(UserWarning, match="would need .* its limit is 20 KB: 4 of .* chunks are kept"):
        limited = stream_of(model, text, cache=tmp_path, cache_limit="20 kB", **LIVE)
    assert same(taken(limited, 70), taken(stream_of(model, text, **LIVE), 70))
    files = list(tmp_path.rglob("chunk_*"))
    assert len(files) == 4 and sum(f.stat().st_size for f in files) < 20_000


def test_a_full_disk_ends_the_cache_and_not_the_run(model, text, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    stream = stream_of(model, text, cache=tmp_path, **LIVE)
    monkeypatch.setattr("trainers.tensor_files.save_file", full)
    with pytest.warns(UserWarning, match="No space left on device.*harvested each time"):
        found = taken(stream, 30)
    assert same(found, taken(stream_of(model, text, **LIVE), 30))


# Text that is too short, arrays, corpora, sizes


def test_text_that_is_too_short(model, tmp_path):
    file = tmp_path / "short.txt"
    file.write_text("x" * 47)  # 45 of them are for training: three windows of 15
    assert stream_of(model, file, batch_size=45).harvest.total_rows == 45
    with pytest.raises(TextError, match="it has 45 tokens that count, a batch needs 46"):
        stream_of(model, file, batch_size=46)
    with pytest.raises(
        TextError, match="45 tokens in 3 full windows of 15, 1,000 are wanted; ask for fewer or for all"
    ):
        stream_of(model, file, tokens=1000)
    file.write_text("x" * 15)
    with pytest.raises(TextError, match="0 full windows of 15; at least 15 tokens are needed"):
        stream_of(model, file, split="evaluation")


def test_tokens_limits_the_text(model, text):
    stream = stream_of(model, text, tokens=100)
    assert stream.harvest.total_rows == 105  # seven windows of 15
    sample = stream_of(model, STANDARD_LIBRARY, tokens=50_000)
    assert sample.harvest.total_rows == 50_010


def test_little_is_read_of_a_large_text_when_little_is_wanted(model, tmp_path):
    file = tmp_path / "large.txt"
    with file.open("wb") as out:
        for _ in range(50):
            out.write(b"0123456789abcdef" * 2**16)  # 50 MB
    begin = time.process_time()
    assert len(token_windows(model, file, tokens=3000, progress=False).tokens) == 200
    assert time.process_time() - begin < 1  # reading it all takes 20 s


def ids(count=60):
    return torch.randint(0, 256, (count, LENGTH), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["tensor", "numpy", "npy", "safetensors", "flat"])
def test_token_arrays_in_every_form(model, tmp_path, kind):
    tokens = ids()
    if kind == "npy":
        given = tmp_path / "tokens.npy"
        np.save(given, tokens.numpy().astype(np.uint16))
    elif kind == "safetensors":
        given = str(tmp_path / "tokens.safetensors")
        save_file({"tokens": tokens.int(), "other": torch.zeros(2)}, given)
    else:
        given = {"tensor": tokens, "numpy": tokens.numpy(), "flat": tokens.flatten()}[kind]
    found = token_windows(model, given, split=None, progress=False).tokens
    assert found.dtype == torch.int32
    if kind == "flat":  # cut into windows, each with the start token in front
        assert (found[:, 0] == START).all() and torch.equal(
            found[:, 1:].flatten(), tokens.flatten()[: 64 * 15].int()
        )
    else:
        assert torch.equal(found, tokens.int())
    parts = [token_windows(model, given, split=s, progress=False).tokens for s in ("train", "evaluation")]
    assert torch.equal(torch.cat(parts), found) and len(parts[1]) == len(found) // 16


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (ids().float(), "has dtype float32; wanted whole numbers"),
        (ids() + 2, r"has token 25[78] in window \d+ at position \d+; the model's tokens are 0 to 256"),
        (ids() - 300, "has token -"),
        (ids()[None], r"has shape \(1, 60, 16\)"),
        (torch.zeros(4, 99, dtype=torch.long), "windows of 99 tokens: random reads 2 to 16"),
        (ids()[:0], "too short: it has 0 tokens"),
    ],
)
def test_arrays_that_are_no_tokens(model, given, message):
    with pytest.raises(TextError, match=message):
        token_windows(model, given, progress=False)


def test_files_that_hold_no_tokens(model, tmp_path):
    pickled = tmp_path / "pickled.npy"
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    torn = tmp_path / "torn.npy"
    np.save(torn, ids().numpy())
    torn.write_bytes(torn.read_bytes()[:-7])
    empty, named = tmp_path / "empty.safetensors", tmp_path / "named.safetensors"
    empty.write_bytes(b"")
    save_file({"a": torch.zeros(2), "b": torch.zeros(2)}, named)
    for file in (pickled, torn, empty):
        with pytest.raises(TextError, match="cannot be read as an array of token ids"):
            token_windows(model, file, progress=False)
    with pytest.raises(TextError, match=r"holds \['a', 'b'\]; wanted one tensor"):
        token_windows(model, named, progress=False)
    with pytest.raises(TextError, match="no file of token ids"):
        token_windows(model, tmp_path / "missing.npy", progress=False)


def test_a_streamed_corpus(model, tmp_path):
    pytest.importorskip("datasets", reason="datasets is not installed (extra corpora)")
    file = tmp_path / "corpus.jsonl"
    file.write_text("\n".join(json.dumps({"body": f"document {i} " * 5}) for i in range(200)))
    corpus = StreamedCorpus("json", data_files=str(file), column="body")
    found = token_windows(model, corpus, tokens=600, progress=False)
    text = "".join(f"document {i} " * 5 for i in range(30) if i % 16 != 15)
    assert model.tokenizer.decode(found.tokens[:, 1:].flatten().tolist()) == text[:600]
    assert same(
        taken(stream_of(model, corpus, tokens=600), 5), taken(stream_of(model, corpus, tokens=600), 5)
    )
    held_out, protocol = evaluation_windows(model, corpus, 2, progress=False)
    numbers = re.findall(r"document (\d+) ", model.tokenizer.decode(held_out[:, 1:].flatten().tolist()))
    assert numbers and all(int(n) % 16 == 15 for n in numbers)
    assert protocol.startswith("json/train held-out ")
    with pytest.raises(TextError, match="no column 'bodi'; did you mean 'body'"):
        token_windows(
            model, StreamedCorpus("json", data_files=str(file), column="bodi"), tokens=9, progress=False
        )
    with pytest.raises(TextError, match="say how many `tokens`"):
        token_windows(model, corpus, progress=False)
    with pytest.raises(TextError, match="cannot be streamed"):
        token_windows(model, StreamedCorpus(str(tmp_path / "none")), tokens=9, progress=False)


def test_without_datasets_the_extra_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(TextError, match=r"pip install 'sae-frontier\[corpora\]'"):
        token_windows(model, "datasets:roneneldan/TinyStories", tokens=10, progress=False)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("10 GBox", "could not interpret byte unit: GBox"),
        ("much", "could not parse value and unit"),
        (-1, "could not parse value and unit"),
    ],
)
def test_sizes_that_are_none(size, message):
    with pytest.raises(ValueError, match=message):
        bytes_of(size)


def test_a_buffer_that_does_not_fit(model, text):
    with pytest.raises(ActivationError, match=r"needs 19.2 KB, memory_limit is 10 KB; raise it"):
        stream_of(model, text, memory_limit="10 kB", **LIVE)
    assert stream_of(model, text, memory_limit="20 kB", chunk_tokens=4 * LENGTH).buffers > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float23"}, "did you mean 'float"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"tokens": 0}, "tokens must be"),
        ({"context_length": 17}, "random reads 2 to 16"),
        ({"split": "test"}, "split must be"),
    ],
)
def test_options_that_are_wrong(model, text, options, message):
    with pytest.raises(ValueError, match=message):
        stream_of(model, text, **options)


# Activations that cannot be used


def test_activations_that_are_not_finite_are_named(text):
    broken = random_model()
    embedding = broken.model.transformer.wte.weight
    embedding.data[ord("7")] = torch.nan
    stream = stream_of(broken, text, target_site="mlp_in.1", **LIVE)
    with pytest.raises(
        ActivationError, match=r"activations of mlp_out.1 are not finite: .* in chunk \d+ of numbers.txt"
    ):
        next(stream)


def test_activations_too_large_for_their_storage(text):
    large = random_model()
    large.model.transformer.h[1].mlp.c_proj.bias.data[:] = 1e5
    with pytest.raises(ActivationError, match="too large for float16"):
        next(stream_of(large, text, dtype="float16"))
    next(stream_of(large, text))


def test_activations_that_are_all_zero():
    with pytest.raises(ValueError, match="all 5 activations of here are zero"):
        scaling_of(torch.zeros(5, 3), torch.zeros(5, 3), (Site("here"), Site("there")))


# Several processes


def worker(place, rank, text):
    """What one of two processes sees, and the error of streams that differ, in files."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{place}/meeting", rank=rank, world_size=2)
    options = LIVE | {"target_site": "resid_post.0"}
    for kind in ("live", "cached", "cached_again"):
        cache = None if kind == "live" else place / "cache"
        found = taken(stream_of(random_model(), text, cache=cache, **options), 45)
        tensors = {f"{i}.{k}": v for i, b in enumerate(found) for k, v in b._asdict().items()}
        save_file(tensors, place / f"{kind}.{rank}.safetensors")
    try:
        next(stream_of(random_model(), text, seed=rank))
    except ActivationError as error:
        (place / f"error.{rank}").write_text(str(error))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(text, tmp_path_factory):
    """The folder where two processes left their batches and errors."""
    place = tmp_path_factory.mktemp("two")
    both = [Forked(worker, place, rank, text) for rank in (0, 1)]
    try:
        ends = [p.communicate(timeout=120)[1] for p in both]
    finally:
        for p in both:
            p.kill()
    assert [p.returncode for p in both] == [0, 0], ends
    return place


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["live", "cached", "cached_again"])
def test_two_processes_see_what_one_sees(model, text, two_processes, kind):
    wanted = taken(stream_of(model, text, target_site="resid_post.0", **LIVE), 45)
    for rank in (0, 1):
        found = load_file(two_processes / f"{kind}.{rank}.safetensors")
        assert all(torch.equal(found[f"{i}.input"], b.input) for i, b in enumerate(wanted))
        assert all(torch.equal(found[f"{i}.target"], b.target) for i, b in enumerate(wanted))


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_that_read_different_streams_stop(two_processes, rank):
    error = (two_processes / f"error.{rank}").read_text()
    assert f"1 of 2 processes read another stream than the first; process {rank} reads" in error


# Evaluation text


def test_evaluation_windows_are_evenly_spread_and_held_out(model):
    tokens, protocol = evaluation_windows(model, windows=8, progress=False)
    everything = token_windows(model, STANDARD_LIBRARY, split="evaluation", progress=False)
    total = len(everything.tokens)
    wanted = [math.floor((i + 0.5) * total / 8) for i in range(8)]
    assert tokens.dtype == torch.int64 and torch.equal(tokens, everything.tokens[wanted].long())
    assert protocol == (
        f"{everything.text}, 8 windows of 16 tokens, start token ignored, model random {model.revision[:6]}"
    )
    assert protocol.startswith("standard-library held-out ")


def test_the_protocol_names_other_ignored_tokens(text):
    for ignore, words in (([], "no token ignored"), ([10, START], "token 10, start token ignored")):
        _, protocol = evaluation_windows(random_model(ignore=ignore), text, 2, progress=False)
        assert words in protocol


def test_too_few_held_out_windows(model, text):
    there = r"held-out .* is too short: it has \d+ tokens in (\d+) windows, 99 windows of 16 .* are needed"
    told = r"\. Held out is a sixteenth: .*more text as evaluation.text.* \(evaluation.windows = (\d+)\)$"
    with pytest.raises(TextError, match=there + told) as found:
        evaluation_windows(model, text, 99, progress=False)
    count, typed = re.search(there + told, str(found.value)).groups()
    assert count == typed
    tokens, _ = evaluation_windows(model, text, int(typed), progress=False)
    assert len(tokens) == int(typed)
    with pytest.raises(TextError, match=r"Held out is a sixteenth: .*a shorter activations.context_length"):
        evaluation_windows(model, np.arange(8 * (LENGTH - 1)) % 50, 4, progress=False)
    with pytest.raises(TextError, match=r"are needed; name more text, or ask for fewer"):
        evaluation_windows(model, np.arange(8 * (LENGTH - 1)) % 50, 99, split=None, progress=False)


def test_progress_is_reported(model, text):
    seen = []
    stream = stream_of(model, text, chunk_tokens=4 * LENGTH, progress=lambda *call: seen.append(call))
    next(stream)
    chunks = len(stream.harvest)
    assert [s for s in seen if s[0] == "harvesting activations"] == [
        ("harvesting activations", i + 1, chunks) for i in range(chunks)
    ]
