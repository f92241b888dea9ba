"""Buffers that a thread reads while the one before is used: the same batches, whatever happens meanwhile.

Batches without a thread are the oracle; that these are right is in test_activations.py.
"""

import os
import signal
import threading
import time

import numpy as np
import pytest
import torch
from processes import sae_train
from small_runs import small, weights
from test_activations import LIVE, QUIET, model, one_thread, same, taken, text  # noqa: F401
from test_store import Numbers, numbers_store

from trainers.activations import ActivationStore, activation_stream
from trainers.activations.ahead import Ahead, Side
from trainers.config import write_config
from trainers.interruption import Stopped
from trainers.train import train

CPU = torch.device("cpu")


def stream_of(model, text, prefetch, site="mlp_out.1", **options):  # noqa: F811
    given = {"batch_size": 32, "prefetch": prefetch} | QUIET | LIVE | options
    return activation_stream(model, site, text, **given)


def readers():
    return [t for t in threading.enumerate() if t.name == "activations"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    for _ in range(500):
        if not readers():
            return
        time.sleep(0.01)
    raise AssertionError("a thread is left")


@pytest.mark.parametrize("options", [{}, {"target_site": "mlp_in.1"}, {"dtype": "bfloat16", "seed": 5}])
def test_the_same_bits_over_passes_and_resumes(model, text, options):  # noqa: F811
    """Three passes; gone back, forward, and on in a new stream from each of some places."""
    plain, ahead = (stream_of(model, text, prefetch, **options) for prefetch in (False, True))
    assert plain.buffers >= 4 and ahead.description == plain.description
    count = 3 * plain.harvest.total_rows // 32
    states, wanted = [], []
    for _ in range(count):
        states.append(plain.state())
        wanted += taken(plain, 1)
    assert same(taken(ahead, count), wanted)
    for place in (2, count - 3, 7, 8):
        ahead.restore(states[place])
        assert same(taken(ahead, 3), wanted[place : place + 3])
        fresh = stream_of(model, text, True, **options)
        fresh.restore(states[place])
        assert same(taken(fresh, 3), wanted[place : place + 3])
        fresh.release()
    ahead.release()


def test_several_sites_and_a_cache(model, text, tmp_path):  # noqa: F811
    sites = ["mlp_out.1", "resid_post.0"]
    found = []
    for name, prefetch in (("one", False), ("two", True), ("two", True)):
        stream = stream_of(model, text, prefetch, site=sites, cache=tmp_path / name)
        found.append([b for _ in range(60) for b in stream.batches().values()])
        stream.release()
    assert same(found[0], found[1]) and same(found[0], found[2])


class Watched(Numbers):
    """Says which thread asks for rows; one of its chunks may fail, or take long."""

    def __init__(self, fails=None, waits=None):
        super().__init__()
        self.asked, self.fails, self.waits = [], fails, waits

    def capture(self, tokens, sites):
        self.asked.append(threading.current_thread().name)
        if len(self.asked) == self.fails:
            raise OSError("the disk is gone")
        if self.waits is not None and len(self.asked) > 20:
            self.waits.wait(60)
        return super().capture(tokens, sites)


def watched(model, prefetch=True):  # noqa: F811
    rows = torch.arange(97 * 24, dtype=torch.int32).reshape(-1, 24)
    given = {"batch_size": 50, "buffer_tokens": 700, "chunk_tokens": 96, "split": None} | QUIET
    return activation_stream(model, "here", rows, prefetch=prefetch, **given)


def test_the_next_buffer_is_read_while_this_one_is_used():
    found = watched(numbers := Watched())
    next(found)
    for thread in readers():
        thread.join(60)
    assert numbers.asked == ["MainThread"] * 7 + ["activations"] * 6  # of 25 chunks in four buffers
    taken(found, 10)
    assert len(numbers.asked) == 13
    found.release()


def test_an_error_comes_where_the_buffer_is_used_and_goes_away_with_its_cause():
    wanted = taken(watched(Watched(), prefetch=False), 30)
    found = watched(Watched(fails=10))
    assert same(taken(found, 10), wanted[:10])
    with pytest.raises(OSError, match="the disk is gone"):
        taken(found, 10)
    found.restore(found.state() | {"buffer": 0, "offset": 0})
    assert same(taken(found, 30), wanted)
    found.release()


@pytest.fixture
def pythons_own_interruption():
    """What Ctrl-C does in a fresh process; torch's launcher, once it ran in this one, leaves its own."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interruption_is_not_held_up(pythons_own_interruption):
    """Ctrl-C while a buffer is waited for that does not come: at once, and one chunk ends the thread."""
    gate = threading.Event()
    found = watched(Watched(waits=gate))
    taken(found, 20)
    main = threading.main_thread().ident
    threading.Timer(0.5, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        taken(found, 20)
    assert time.monotonic() - start < 30
    threading.Timer(0.2, gate.set).start()
    found.release()


def test_a_stream_that_nobody_has_ends_its_thread():
    gate = threading.Event()
    found = watched(Watched(waits=gate))
    taken(found, 27)
    assert readers()
    gate.set()
    del found


def test_it_is_off_where_it_cannot_help(model, text, tmp_path):  # noqa: F811
    """Rows that are computed on the CPU; all in memory; no room for two. On where rows are read."""
    assert not stream_of(model, text, None).ahead.on
    numbers_store(tmp_path / "store")
    store = ActivationStore(tmp_path / "store")
    row = 16 * 4

    def made(**options):
        return activation_stream(store, "here", batch_size=50, progress=False, **options)

    one = made(buffer_tokens=700)
    assert one.ahead.on and one.bytes_held == 2 * -(-97 * 24 // one.buffers) * row
    assert made(buffer_tokens=700, memory_limit=one.bytes_held).ahead.on
    assert not made(buffer_tokens=700, memory_limit=one.bytes_held - 1).ahead.on
    assert not made().ahead.on and made().buffers == 1
    half = made(memory_limit=1400 * row)
    assert half.ahead.on and half.bytes_held <= 1400 * row


def test_a_gpu_waits_for_the_stream_of_the_thread(monkeypatch):
    """What is asked of CUDA, in order: work in a stream of its own, waited for, its memory kept for both."""
    asked = []

    class Stream:
        def __init__(self, device):
            asked.append(f"stream on {device}")

        def wait_stream(self, other):
            asked.append("waits")

    class Rows:
        is_cuda = True

        def record_stream(self, stream):
            asked.append("recorded")

    class Within:
        def __init__(self, what):
            self.what = what

        def __enter__(self):
            asked.append("in")

        def __exit__(self, *_):
            asked.append("out")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "device", Within)
    monkeypatch.setattr(torch.cuda, "stream", Within)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("main"))
    ahead = Ahead(lambda chunks, stopped: asked.append(chunks) or [[Rows()]], torch.device("cuda:1"))
    ahead.on = True
    ahead.begin((1, 2))
    assert len(ahead.take((1, 2))) == 1
    assert asked == [
        "stream on cuda:1",
        "in",
        "in",
        (1, 2),
        "out",
        "out",
        "stream on main",
        "waits",
        "recorded",
    ]
    assert Side(CPU).handed_over([[torch.ones(1)]])[0][0] == 1


FILES = {"buffer_tokens": 8192, "tokens": "all", "text": "standard-library"}


@pytest.fixture
def rows(tmp_path):
    values = np.random.default_rng(0).standard_normal((40_000, 12)).astype(np.float32)
    np.save(tmp_path / "rows.npy", values)
    return str(tmp_path / "rows.npy")


def config(rows, **training):
    own = [{"architecture": "relu", "settings": [1.0]}, {"architecture": "topk", "settings": [4]}]
    return small(
        own, activations=FILES | {"files": rows}, training={"steps": 60, "batch_size": 500} | training
    )


def test_a_stopped_run_goes_on_to_the_same_weights(rows, tmp_path, monkeypatch):
    """Stopped at its first four checkpoints; without the thread nothing is different."""
    monkeypatch.setattr(Ahead, "begin", lambda *_: None)
    train(config(rows), tmp_path / "plain", progress=False)
    monkeypatch.undo()
    run = train(config(rows), tmp_path / "whole", progress=False)
    assert run.stream.ahead.on
    wanted, found = weights(tmp_path / "plain"), weights(tmp_path / "whole")
    stops = iter(range(4))
    monkeypatch.setattr("trainers.run.Run.save", _stopping_save(stops))
    resume = False
    for _ in range(20):
        try:
            train(config(rows), tmp_path / "cut", progress=False, resume=resume)
            break
        except Stopped:
            resume = True
    assert resume
    for other in (found, weights(tmp_path / "cut")):
        for name, own in wanted.items():
            assert all(torch.equal(own[k], other[name][k]) for k in own)


def _stopping_save(stops):
    from trainers.run import Run

    plain = Run.save

    def save(run, folder):
        plain(run, folder)
        if run.step < 60 and next(stops, None) is not None:
            os.kill(os.getpid(), signal.SIGTERM)

    return save


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(rows, tmp_path):
    """SIGKILL while the thread reads, twice."""
    train(config(rows, steps=120), tmp_path / "whole", progress=False)
    write_config(config(rows, steps=120), tmp_path / "c.toml")
    words = ["run", tmp_path / "c.toml", "--out", tmp_path / "cut"]
    for _ in range(2):
        process = sae_train(*words)
        reached = _last(tmp_path / "cut") + 20
        while process.poll() is None and _last(tmp_path / "cut") < reached:
            time.sleep(0.01)
        process.kill()
        process.communicate()
        words = ["resume", tmp_path / "cut"]
    process = sae_train(*words)
    process.communicate()
    assert process.returncode == 0
    wanted, found = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    for name, own in wanted.items():
        assert all(torch.equal(own[k], found[name][k]) for k in own)


def _last(folder):
    steps = [int(p.name[5:]) for p in (folder / "checkpoints").glob("step_*")]
    return max(steps, default=0)
