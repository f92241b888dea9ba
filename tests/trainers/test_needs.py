"""What a run says that it needs, against the storages of the run itself; and what is right by default."""

import os

import pytest
import torch
from small_runs import small
from test_shards import in_processes

from trainers import device_memory, origin, precision, ranks
from trainers.activations import evaluation_windows, harvest
from trainers.activations.scaling import Scaling
from trainers.counting import Traffic
from trainers.evaluate import evaluate
from trainers.language_models import LanguageModel
from trainers.needs import Needs, needs_of
from trainers.origin import origin_of
from trainers.run import RunError, build_run
from trainers.steps import StackedEngine
from trainers.steps.fast import Halves
from trainers.text import TextError
from trainers.train import train

WIDE = [{"architecture": "relu", "settings": [1.0, 2.0, 4.0]}, {"architecture": "topk", "settings": [4, 9]}]
SCALING = Scaling(1.0, 1.0, torch.zeros(12), torch.zeros(12))
CPU = torch.device("cpu")
ON_CPU = precision.with_formats(small(), CPU)
TRAINING = {"steps": 3, "dictionary_size": 700, "engine": "stacked"}


def test_a_run_needs_what_it_says():
    """Every storage made while a run is built, trains and is evaluated, the model's too: within 15 %."""
    with Traffic() as traffic:
        run = build_run(small(WIDE, training=TRAINING), progress=False)
        for place, family in enumerate(run.families):
            run.engines[place] = StackedEngine(family, run.engines[place].options, Halves(torch.float32))
    needs = needs_of(run.families, run.engines, run.model, run.stream)
    traffic.peak = traffic.held
    with traffic:
        for step in range(3):
            batch = next(run.stream)
            for engine in run.engines:
                engine.step(batch, step)
    assert sum(needs.training.values()) == pytest.approx(traffic.peak, rel=0.15)
    saes, (tokens, _) = (
        run.saes(),
        evaluation_windows(run.model, run.config.evaluation_text, 8, progress=False),
    )
    there = sum(p.numel() * p.element_size() for p in run.model.model.parameters())
    there += sum(v.numel() * v.element_size() for sae in saes for v in sae.parameters.values())
    with Traffic() as traffic:
        evaluate(saes, run.model, tokens, run.stream.sites[0], batch_size=1, protocol="p", memory=1)
    assert needs.evaluation == pytest.approx(there + traffic.peak, rel=0.15)


@pytest.mark.parametrize(
    ("largest", "advice"),
    [("step", "training.batch_size"), ("weights", "torchrun"), ("language model", "model.dtype")],
)
def test_a_run_that_does_not_fit_says_what_to_lower(largest, advice):
    needs = Needs(dict.fromkeys(("language model", "activations", "weights", "step"), 10**9), 10**9)
    needs.training[largest] = 9 * 10**9
    assert needs.advice(13 * 10**9) is None
    assert advice in needs.advice(11 * 10**9)
    assert "needs 12.0 GB" in needs.advice(11 * 10**9)


def test_a_run_too_wide_is_refused_before_it_is_made(tmp_path, monkeypatch):
    """2 million latents of 128 numbers, 3 and 2 members: at least 3 GB with Adam's moments for each."""
    wide = small(WIDE, training=TRAINING | {"dictionary_size": 2_000_000})
    monkeypatch.setattr("trainers.run.usable_memory", lambda device: 10**10)
    monkeypatch.setattr("trainers.run.build_families", lambda *_: pytest.fail("they were made"))
    with pytest.raises(RunError, match=r"needs 15\.4 GB .* has 10\.0 GB free.*training\.dictionary_size"):
        train(wide, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_refused_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("trainers.train.usable_memory", lambda device: 10**6)
    with pytest.raises(RunError, match=r"this run needs .*; the device has 1\.0 MB free"):
        train(small(WIDE, training=TRAINING), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not device_memory.SYSTEM.exists(), reason="no /proc/meminfo here")
def test_memory_of_a_cpu(tmp_path, monkeypatch):
    """What is available and swap, in equal shares; beside it what is held; a container has no more."""
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 4000 kB\nSwapFree: 96 kB\nHuge: 0\n")
    (tmp_path / "statm").write_text("99 5 0 0\n")
    monkeypatch.setattr(device_memory, "SYSTEM", tmp_path / "meminfo")
    monkeypatch.setattr(device_memory, "OWN", tmp_path / "statm")
    monkeypatch.setattr(device_memory, "CONTAINER", tmp_path / "limit")
    held = 5 * os.sysconf("SC_PAGESIZE")
    for processes in (1, 4):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        assert device_memory.free_memory(CPU) == 4096 * 1024 // processes
        assert device_memory.usable_memory(CPU) == 4096 * 1024 // processes + held
    (tmp_path / "limit").write_text("max")
    assert device_memory.usable_memory(CPU) == 4096 * 1024 // 4 + held
    (tmp_path / "limit").write_text("40000")
    assert device_memory.usable_memory(CPU) == 10000
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\n")
    assert device_memory.free_memory(CPU) is device_memory.usable_memory(CPU) is None


def _asked(folder):
    read = []
    plain = LanguageModel._digest
    LanguageModel._digest = lambda model, most: read.append(most) or plain(model, most)
    model = origin_of(ON_CPU, CPU)
    (folder / f"{ranks.rank()}").write_text(f"{model.revision} {read.count(None)}")


@pytest.mark.slow
def test_the_first_process_hashes_the_model_for_all(tmp_path):
    in_processes(2, _asked, tmp_path)
    revision = origin_of(ON_CPU, CPU).revision
    assert [(tmp_path / r).read_text() for r in "01"] == [f"{revision} 1", f"{revision} 0"]


def _with_own_weights(folder):
    plain = origin.opened

    def changed(config, device):
        model = plain(config, device)
        next(iter(model.model.parameters())).data.add_(ranks.rank())
        return model

    origin.opened = changed
    with pytest.raises(TextError, match="do not have the same tiny_lm"):
        origin_of(ON_CPU, CPU)


@pytest.mark.slow
def test_processes_with_different_weights_are_refused(tmp_path):
    in_processes(2, _with_own_weights, tmp_path)


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_formats_by_device(device):
    found = precision.with_formats(small(), torch.device(device))
    usual = "float32" if device == "cpu" else "bfloat16"
    assert (found.training.precision, found.model.dtype) == (usual, usual)
    kept = small(training={"precision": "float32"}, model={"dtype": "float16"})
    assert precision.with_formats(kept, torch.device(device)) == kept


def test_members_are_dealt_evenly(monkeypatch):
    """Five families of six on eight processes: family by family the last two had none."""
    plans = [f"{family}{m}" for family in "abcde" for m in range(6)]
    monkeypatch.setattr(ranks, "world_size", lambda: 8)
    dealt = []
    for rank in range(8):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        dealt.append(ranks.mine(plans))
    assert [len(part) for part in dealt] == [4] * 6 + [3] * 2
    assert sorted(plan for part in dealt for plan in part) == plans


@pytest.mark.parametrize(
    ("backends", "device", "carrier"),
    [
        ("cpu:gloo,cuda:nccl", "cuda:1", "cuda:1"),
        ("cuda:nccl", "cuda:0", "cuda:0"),
        ("cpu:gloo,cuda:nccl", "cpu", "cpu"),
        ("cpu:gloo,cuda:gloo", "cuda:1", "cpu"),
    ],
)
def test_activations_go_by_nccl_where_there_is_one(backends, device, carrier, monkeypatch):
    monkeypatch.setattr(harvest.dist, "get_backend_config", lambda: backends)
    assert harvest.carrier(torch.device(device)) == torch.device(carrier)
