"""Checkpoints: whole or absent, the last two kept, damage named.

The kills are simulated: the call that a kill would cut off raises, and the folder is read anew.
"""

import errno
import json
import os
import random

import pytest
import torch
from safetensors import SafetensorError
from test_shards import in_processes

from frontier import writing
from trainers import checkpoints, ranks, tensor_files
from trainers.activations import Scaling
from trainers.architectures import ReLU
from trainers.checkpoints import CheckpointError, latest, load, save
from trainers.family import Family, Member

torch.set_num_threads(1)


def small_family(name):
    mean = torch.zeros(4)
    scaling = Scaling(1.0, 1.0, mean, mean)
    plan = [Member(name, 1.0, 0, 1e-3)]
    return Family(name, ReLU(), plan, d_in=4, d_out=4, dictionary_size=8, scaling=scaling)


def content(step):
    """Tensors of every kind that training saves, different at every step."""
    tensors = {
        "a/parameter/W": torch.full((3, 4), float(step)),
        "a/adam/step": torch.tensor(float(step)),
        "a/view": torch.arange(12.0).view(3, 4).T + step,  # not contiguous
        "a/leaf": torch.ones(2, requires_grad=True),
    }
    return tensors, {"step": step, "stream": {"epoch": 1, "random": [1, 2]}, "diverged": {"a": 3}}


def saved(folder, *steps):
    for step in steps:
        save(folder, step, *content(step))
    return folder


def assert_holds(checkpoint, step):
    tensors, state = load(checkpoint)
    wanted, said = content(step)
    assert state == said
    assert tensors.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(tensors[name], value), name


def test_round_trip(tmp_path):
    found = save(tmp_path / "new" / "checkpoints", 7, *content(7))
    assert found == latest(tmp_path / "new" / "checkpoints")
    assert_holds(found, 7)


def test_no_checkpoint(tmp_path):
    assert latest(tmp_path) is None
    assert latest(tmp_path / "nowhere") is None


def test_the_last_two_are_kept(tmp_path):
    saved(tmp_path, 5, 10, 200, 1000)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_000000200", "step_000001000"]
    assert_holds(latest(tmp_path), 1000)


def test_a_step_can_be_written_again(tmp_path):
    saved(tmp_path, 5, 10)
    tensors, state = content(10)
    save(tmp_path, 10, tensors | {"more": torch.ones(1)}, state)
    assert "more" in load(latest(tmp_path))[0]


@pytest.mark.parametrize("where", ["os.replace", "os.fsync", "trainers.tensor_files.save_file"])
def test_a_kill_leaves_the_last_checkpoint(tmp_path, monkeypatch, where):
    """Killed before the rename, while flushing, or while writing: step 10 is what a new process finds."""
    saved(tmp_path, 5, 10)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(where, killed)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 15, *content(15))
    assert latest(tmp_path).name == "step_000000010"
    assert_holds(latest(tmp_path), 10)
    saved(tmp_path, 15)  # what the kill left is no obstacle
    assert_holds(latest(tmp_path), 15)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["step_000000010", "step_000000015"]


def test_the_tensors_are_written_under_another_name_first(tmp_path, monkeypatch):
    """When the rename comes, both files are whole; before it, no folder bears the final name."""
    seen = []
    rename = os.replace

    def watched(source, target):
        seen.append((sorted(p.name for p in source.iterdir()), target.exists()))
        assert_holds(source, 3)
        rename(source, target)

    monkeypatch.setattr("os.replace", watched)
    save(tmp_path, 3, *content(3))
    assert seen == [(["part0.json", "part0.safetensors", "part0.sha256"], False)]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("Error while serializing: IoError")],
)
@pytest.mark.parametrize("earlier", [(), (5, 10)])
def test_a_full_disk(tmp_path, monkeypatch, error, earlier):
    """The error names the step, the reason, and which checkpoint is intact; nothing half-written is left."""
    saved(tmp_path, *earlier)

    def full(tensors, path, metadata):
        path.write_bytes(b"half of")
        raise error

    monkeypatch.setattr(tensor_files, "save_file", full)
    with pytest.raises(CheckpointError) as found:
        save(tmp_path, 15, *content(15))
    assert "step 15" in str(found.value)
    assert str(error).removeprefix("[Errno 28] ") in str(found.value)
    assert ("step_000000010 is intact" if earlier else "no earlier one") in str(found.value)
    assert [p.name for p in sorted(tmp_path.iterdir())] == [f"step_{s:09d}" for s in earlier]
    if earlier:
        assert_holds(latest(tmp_path), 10)


@pytest.mark.parametrize("where", ["os.replace", "pathlib.Path.mkdir"])
def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, where):
    saved(tmp_path, 10)

    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(where, denied)
        with pytest.raises(CheckpointError, match=r"Permission denied.*step_000000010 is intact"):
            save(tmp_path, 15, *content(15))
    assert_holds(latest(tmp_path), 10)


def test_a_disk_that_fails_on_flushing(tmp_path, monkeypatch):
    """Delayed allocation, quotas and network disks report a full disk at fsync, not at write."""
    saved(tmp_path, 10)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="step_000000010 is intact"):
        save(tmp_path, 15, *content(15))


@pytest.mark.parametrize("name", ["part0.json", "part0.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_torn_files(tmp_path, name, share):
    saved(tmp_path, 10)
    path = latest(tmp_path) / name
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match="step_000000010 cannot be read"):
        load(latest(tmp_path))


def test_binary_where_json_should_be(tmp_path):
    saved(tmp_path, 10)
    (latest(tmp_path) / "part0.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(latest(tmp_path))


@pytest.mark.parametrize("content", ["[]", "null", "3"])
def test_json_that_is_no_object(tmp_path, content):
    saved(tmp_path, 10)
    (latest(tmp_path) / "part0.json").write_text(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(latest(tmp_path))


def test_missing_files(tmp_path):
    saved(tmp_path, 10)
    (latest(tmp_path) / "part0.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(latest(tmp_path))
    (latest(tmp_path) / "part0.json").unlink()
    with pytest.raises(CheckpointError, match="no state"):
        load(latest(tmp_path))


def test_parts_of_several_processes_are_one(tmp_path, monkeypatch):
    """Two parts, written as two ranks would: tensors and nested state are united, plain values agree."""
    draft = tmp_path / "step_000000004"
    draft.mkdir()
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    for rank, member in enumerate("ab"):
        state = {"step": 4, "diverged": {member: rank}}
        checkpoints.write_part(draft, {f"{member}/W": torch.full((2,), float(rank))}, state, f"part{rank}")
    tensors, state = load(draft)
    assert {k: v.tolist() for k, v in tensors.items()} == {"a/W": [0, 0], "b/W": [1, 1]}
    assert state == {"step": 4, "diverged": {"a": 0, "b": 1}}


def parted(folder, count):
    """A checkpoint as `count` processes write it."""
    draft = folder / "step_000000004"
    draft.mkdir()
    about = {"step": 4, "stream": {}, "config": {key: {} for key in checkpoints.SECTIONS}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "world_size", lambda: count)
        for part in range(count):
            state = about | {"diverged": {f"m{part}": part}}
            checkpoints.write_part(draft, {f"m{part}/W": torch.full((2,), part)}, state, f"part{part}")
    return draft


def _load_together(checkpoint, out):
    """What this process hashed, and what it found or complained."""
    hashed, digest = [], writing.digest
    writing.digest = lambda path: hashed.append(path.name) or digest(path)
    try:
        tensors, state = checkpoints.load_together(checkpoint)
        found = {k: v.tolist() for k, v in tensors.items()} | state["diverged"]
    except CheckpointError as error:
        found = str(error)
    finally:
        writing.digest = digest
    (out / f"{ranks.rank()}.json").write_text(json.dumps([hashed, found]))


def loaded_by_two(checkpoint, out):
    out.mkdir()
    in_processes(2, _load_together, checkpoint, out)
    return zip(*(json.loads((out / f"{rank}.json").read_text()) for rank in range(2)), strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 11])
def test_processes_hash_each_part_once_in_total(tmp_path, count):
    """Fewer parts than processes, as many, more; each process gets all of them, as one that is alone."""
    draft = parted(tmp_path, count)
    hashed, found = loaded_by_two(draft, tmp_path / "out")
    wanted = sorted(p.name for p in draft.iterdir() if p.suffix != ".sha256")
    assert sorted(hashed[0] + hashed[1]) == wanted
    assert max(map(len, hashed)) == 2 * -(-count // 2), "two files of each part in the share"
    _load_together(draft, tmp_path)
    alone, own = json.loads((tmp_path / "0.json").read_text())
    assert sorted(alone) == wanted
    assert found == (own, own) and len(own) == 2 * count


@pytest.mark.slow
@pytest.mark.parametrize("name", ["part0.safetensors", "part1.safetensors", "part2.json", "part1.sha256"])
def test_a_part_that_one_process_finds_damaged_stops_all_with_its_name(tmp_path, name):
    """Whichever process it is that hashes the part; a process that is alone says the same."""
    draft = parted(tmp_path, 3)
    content = (draft / name).read_bytes()
    (draft / name).write_bytes(content[:-3] + b"x" + content[-2:])
    _, (one, other) = loaded_by_two(draft, tmp_path / "out")
    assert name in one and "cannot be read" in one
    _load_together(draft, tmp_path)
    assert one == other == json.loads((tmp_path / "0.json").read_text())[1]


def test_a_process_reads_no_more_than_its_own_members(tmp_path, monkeypatch):
    """Of a checkpoint of three members, a process that has one reads its tensors alone, each once."""
    families = [small_family(name) for name in "abc"]
    tensors = {k: v for f in families for k, v in f.tensors().items()}
    found = save(tmp_path, 1, tensors, {"step": 1})
    read, get = [], checkpoints.Stored.__getitem__
    monkeypatch.setattr(checkpoints.Stored, "__getitem__", lambda s, name: read.append(name) or get(s, name))
    families[1].load_tensors(load(found)[0])
    assert sorted(read) == sorted(families[1].tensors())


def test_a_part_that_is_missing_is_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    saved(tmp_path, 4)
    with pytest.raises(CheckpointError, match="has 1 of its parts"):
        load(latest(tmp_path))


@pytest.mark.parametrize("name", ["part0.json", "part0.safetensors", "part0.sha256"])
def test_any_flipped_bit_is_found(tmp_path, name):
    """200 bits, drawn over the file: each must be found, as `save` wrote none of these files."""
    saved(tmp_path, 10)
    path = latest(tmp_path) / name
    data, draw = path.read_bytes(), random.Random(0)
    for _ in range(200):
        place, bit = draw.randrange(len(data)), 1 << draw.randrange(8)
        path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
        with pytest.raises(CheckpointError, match="cannot be read"):
            load(latest(tmp_path))


def test_a_checkpoint_without_its_digests_is_none_unless_it_is_of_version_0_1(tmp_path):
    saved(tmp_path, 10)
    (latest(tmp_path) / "part0.sha256").unlink()
    with pytest.raises(CheckpointError, match=r"part0\.sha256 is missing"):
        load(latest(tmp_path))
    (latest(tmp_path) / "part0.json").write_text(json.dumps(content(10)[1]))  # as 0.1 wrote it
    assert_holds(latest(tmp_path), 10)


def test_tensors_get_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        found = save(tmp_path, 1, *content(1))
    finally:
        os.umask(before)
    assert {oct(p.stat().st_mode & 0o777) for p in found.iterdir()} == {"0o640"}


def test_when_another_process_fails_this_one_does_too(tmp_path, monkeypatch):
    """One full disk of many: no rank publishes, every rank raises."""
    saved(tmp_path, 10)
    monkeypatch.setattr(ranks, "any_true", lambda flag: True)
    with pytest.raises(CheckpointError, match="another process failed; step_000000010 is intact"):
        save(tmp_path, 15, *content(15))
    assert [p.name for p in tmp_path.iterdir()] == ["step_000000010"]


def test_state_must_be_json(tmp_path):
    """Nothing that only pickle could hold gets into a checkpoint."""
    with pytest.raises(TypeError):
        save(tmp_path, 1, {}, {"what": object()})
    assert latest(tmp_path) is None
