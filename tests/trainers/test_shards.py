"""One SAE over 1, 2 and 4 processes (gloo): the losses, choices and weights of one device, kills, resumes.

The same in threads, in float64, is test_sharded_steps.py; here numbers are float32, as in real runs.
"""

import json
import os
import signal
import socket
import time

import pandas as pd
import pytest
import torch
from processes import FORKS, sae_train
from sharded_members import KINDS, on_one_device, over_shards
from small_runs import small, weights

from trainers import checkpoints, ranks
from trainers.config import write_config
from trainers.evaluate import Evaluation
from trainers.evaluate.runs import evaluate_run
from trainers.shards import Shards
from trainers.steps import LoopEngine
from trainers.train import train

pytestmark = pytest.mark.slow
STEPS, COUNTS = 200, {1: 60, 2: 200, 4: 60}
"""Of a run, and how many of them as many processes do."""
BUILT_IN = [k for k, kind in KINDS.items() if k == kind.name]
FAMILIES = [
    {"architecture": "relu", "settings": [1.0, 4.0]},
    {"architecture": "batch_topk", "settings": [2, 8]},
    {"architecture": "p_anneal", "settings": [1.0], "learning_rate": 5e-4},  # see sharded_members.rate_of
    {"architecture": "gated", "settings": [2.0]},
]


def surroundings(count):
    """What torchrun tells each of `count` processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    return [common | {"RANK": str(r), "LOCAL_RANK": str(r)} for r in range(count)]


def in_processes(count, work, *given):
    """`work(*given)` in each of `count` processes that know each other."""
    started = [FORKS.Process(target=_joined, args=(e, work, given)) for e in surroundings(count)]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
    assert [p.exitcode for p in started] == [0] * count


def _joined(environment, work, given):
    torch.set_num_threads(1)
    os.environ.update(environment)
    with ranks.process_group():
        work(*given)


def _train_each(folder):
    """The first of the processes alone, the first two, and all, in groups of their own."""
    for count, until in COUNTS.items():
        group = torch.distributed.new_group(range(count))
        if ranks.rank() >= count:
            continue
        for name in BUILT_IN:
            found = over_shards(Shards(group), KINDS[name], STEPS, False, until)
            if ranks.rank() == count - 1:
                torch.save((found.losses, found.fired), folder / f"{name}-{count}.pt")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Losses and what fired, by architecture and number of processes."""
    folder = tmp_path_factory.mktemp("trained")
    in_processes(max(COUNTS), _train_each, folder)
    return lambda name, count: torch.load(folder / f"{name}-{count}.pt", weights_only=True)


@pytest.mark.parametrize("name", BUILT_IN)
def test_200_steps_are_those_of_one_device(name, trained):
    """Against the plain loss in the loop, which knows nothing of shards, in float32."""
    one = on_one_device(KINDS[name], STEPS, double=False)
    for count, until in COUNTS.items():
        losses, fired = trained(name, count)
        assert torch.equal(fired, one.fired[:until])
        torch.testing.assert_close(losses, one.losses[:until], rtol=1e-6, atol=0)


def config(count, **training):
    return small(FAMILIES, training={"steps": 20, "shards": count, "log_every": 10} | training)


@pytest.fixture(autouse=True, scope="module")
def plain_loss():
    """On one device autograd, as over shards: closed forms round otherwise, and Adam amplifies that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainers.run.engine_for", lambda f, o, *_: LoopEngine(f, o, closed_forms=False))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The log of a run on one device."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    train(config(1), folder, progress=False)
    return logged(folder)


def _until(folder, count, step):
    """Train up to a step, whose checkpoint is the last; a run that has begun goes on."""
    from trainers.run import build_run
    from trainers.train import go_on, steps

    run = build_run(config(count), progress=False)
    if (folder / "checkpoints").exists():
        go_on(run, folder)
    ranks.barrier()
    for _ in steps(run, folder):
        if run.step == step:
            return


def logged(folder):
    """The lines of a run's log, from all processes: the step, and how each member did."""
    paths = sorted(folder.glob("log*.jsonl"))
    lines = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    steps = sorted({line["step"] for line in lines})
    return {s: {k: v for e in lines if e["step"] == s for k, v in e["members"].items()} for s in steps}


def assert_alike(one, other):
    """The same members with the same losses at the last step."""
    assert one[20].keys() == other[20].keys()
    for name, entry in other[20].items():
        assert one[20][name]["loss"] == pytest.approx(entry["loss"], rel=1e-5), name
        assert one[20][name]["l0"] == pytest.approx(entry["l0"], abs=0.05), name


def test_a_run_goes_on_with_another_number_of_shards(whole, tmp_path):
    """4 → 2 → 1, and 2 groups of 2 in between: the losses of a run on one device that never stopped."""
    folder = tmp_path / "run"
    in_processes(4, _until, folder, 4, 5)
    names = {
        k for k in checkpoints.load(checkpoints.latest(folder / "checkpoints"))[0] if "W_dec/exp_avg[" in k
    }
    assert {n.partition("[")[2] for n in names} == {"0:16]", "16:32]", "32:48]", "48:64]"}
    in_processes(2, _until, folder, 2, 10)
    in_processes(4, _until, folder, 2, 15)
    train(config(1), folder, progress=False, resume=True)
    assert_alike(logged(folder), whole)


def command(count, *words, **extra):
    return [sae_train(*words, **e, **extra) for e in surroundings(count)]


def test_a_killed_process_ends_all_with_one_line_and_the_run_goes_on(whole, tmp_path):
    write_config(config(2), tmp_path / "c.toml")
    folder, straight = tmp_path / "killed", tmp_path / "straight"
    started = command(2, "run", tmp_path / "c.toml", "--out", folder, "--quiet")
    deadline = time.monotonic() + 120
    while checkpoints.latest(folder / "checkpoints") is None:
        assert started[0].poll() is None and time.monotonic() < deadline, started[0].communicate()
        time.sleep(0.01)
    started[1].send_signal(signal.SIGKILL)
    said = [p.communicate()[1].strip() for p in started]
    assert not (folder / "saes").exists(), "the kill came too late to test anything"
    assert started[0].returncode == 2
    line = f"another of 2 processes has ended, and the others with it; `sae-train resume {folder}`"
    assert said == [f"sae-train: {line}, under torchrun, goes on from the last checkpoint", ""]
    for words in (("resume", folder), ("run", tmp_path / "c.toml", "--out", straight)):
        done = command(2, *words, "--quiet")
        out, err = done[0].communicate()
        assert [(p.communicate(), p.returncode)[1] for p in done] == [0, 0], err
        assert "metrics.parquet" in out
    for run_id, parameters in weights(straight).items():
        for name, value in parameters.items():
            assert torch.equal(value, weights(folder)[run_id][name]), f"{run_id} {name}"
    assert_alike(logged(folder), whole)
    evaluated_alike(straight)
    a_damaged_part_ends_both_with_its_name(straight)


def a_damaged_part_ends_both_with_its_name(folder):
    """Of every checkpoint the part that the second process hashes is torn: no process goes on."""
    for checkpoint in checkpoints.complete(folder / "checkpoints"):
        torn = checkpoint / "part1.safetensors"
        torn.write_bytes(torn.read_bytes()[:-1])
    for process in command(2, "resume", folder, "--quiet"):
        lines = process.communicate()[1].splitlines()
        assert process.returncode == 2
        assert "part1.safetensors is not as it was written (SHA-256)" in lines[-1], lines


def evaluated_alike(folder):
    """The metrics of two shards, written there, are those of two groups of two and of one process."""
    every = {2: Evaluation.load(folder)}
    in_processes(4, _evaluate, folder)
    every[4] = Evaluation.load(folder)
    evaluate_run(folder, progress=False)
    one = Evaluation.load(folder)
    for found in every.values():
        pd.testing.assert_frame_equal(found.table, one.table, rtol=1e-6, atol=1e-6)
        assert all((found.frequencies[k] == v).all() for k, v in one.frequencies.items())


def _evaluate(folder):
    evaluate_run(folder, progress=False)
