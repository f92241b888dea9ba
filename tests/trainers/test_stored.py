"""Activations from files: every row where it belongs, the same SAEs as from the model that made them."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import frontier
from trainers import checkpoints
from trainers.activations import activation_stream, row_files
from trainers.activations.evaluation_text import evaluation_windows
from trainers.activations.row_files import neighbours
from trainers.activations.sources import token_windows
from trainers.activations.stored import ROWS, StoredActivations
from trainers.config import ConfigError, checked
from trainers.evaluate.runs import evaluate_run
from trainers.run import build_run
from trainers.sae_files import load_saes
from trainers.text import TextError
from trainers.train import steps, train

WIDTH = 12


def rows(count, seed=0):
    return (3 + np.random.default_rng(seed).standard_normal((count, WIDTH))).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """700 + 300 + 600 rows in three kinds of file; the last in bfloat16."""
    place = tmp_path / "layer3"
    place.mkdir()
    np.save(place / "a.npy", rows(700, 1))
    np.save(place / "b.npy", rows(300, 2).reshape(10, 30, WIDTH).astype(np.float16))
    save_file({"activations": torch.tensor(rows(600, 3)).bfloat16()}, place / "c.safetensors")
    return place


def whole(folder):
    last = torch.tensor(rows(600, 3)).bfloat16().float().numpy()
    return np.concatenate([rows(700, 1), rows(300, 2).astype(np.float16), last])


def config(folder, **changes):
    families = [{"architecture": "topk", "settings": [2, 4, 6]}, {"architecture": "relu", "settings": [1.0]}]
    return checked({
        "activations": {"files": str(folder), "tokens": "all", "context_length": 20},
        "training": {"steps": 12, "batch_size": 64, "expansion": 2, "checkpoint_every": 6} | changes,
        "families": families,
    })  # fmt: skip


def test_rows_are_those_of_the_files_in_any_order(folder):
    stored = StoredActivations(folder, window=20)
    assert (stored.name, len(stored), stored.site("x").width) == ("layer3", 1600, WIDTH)
    numbers = torch.tensor(np.random.default_rng(0).permutation(1600).reshape(8, 200))
    found = stored.capture(numbers, ["x"])["x"]
    np.testing.assert_array_equal(found.numpy(), whole(folder)[numbers])


def test_no_other_row_is_read(folder, monkeypatch):
    """Chunks are windows from all over the files: what lies between them stays on disk."""
    stored = StoredActivations(folder, window=20)
    read = []

    def spied(numbers):
        for run in neighbours(numbers):
            read.extend(run.tolist())
            yield run

    monkeypatch.setattr(row_files, "neighbours", spied)
    numbers = torch.tensor([[1580, 1581, 1582], [1000, 1001, 1001], [1002, 1300, 1003]])
    found = stored.capture(numbers, ["x"])["x"]
    np.testing.assert_array_equal(found.numpy(), whole(folder)[numbers])
    assert read == [0, 1, 2, 3, 300, 580, 581, 582]


def test_more_rows_than_windows_can_number_are_refused(tmp_path):
    """A file of holes: nothing is written but the header."""
    place = tmp_path / "many.npy"
    np.lib.format.open_memmap(place, "w+", np.float16, (2**31, 1))
    with pytest.raises(TextError, match=r"2,147,483,648 rows, at most 2,147,483,647"):
        StoredActivations(place)


def test_a_pass_gives_every_training_row_once_and_none_that_is_held_out(folder):
    """80 windows of 20 rows: the last 80 // 16 = 5 of them are for evaluation."""
    stored = StoredActivations(folder, window=20)
    stream = activation_stream(stored, "x", batch_size=100, centre=False, progress=False)
    raw = torch.cat([next(stream).input for _ in range(15)]) / stream.scaling.input_scale
    order = [np.lexsort(v.T) for v in (raw.numpy().round(3), whole(folder)[:1500].round(3))]
    np.testing.assert_allclose(raw.numpy()[order[0]], whole(folder)[:1500][order[1]], rtol=1e-4, atol=2e-3)
    held, protocol = evaluation_windows(stored, windows=128, progress=False)
    assert sorted(held.flatten().tolist()) == list(range(1500, 1600))
    assert protocol.endswith(f", 5 windows of 20 rows, files {stored.revision[:6]}")


@pytest.mark.parametrize("lengths", [(50,), (197,), (7,), (64,), (100, 1, 30)])
def test_no_item_is_trained_on_and_held_out(lengths):
    """Items [T, d] of any length, in files of several: whose they are, the rows say themselves."""
    items = [np.repeat(np.arange(3000 // t)[:, None], t, 1) + 10_000 * i for i, t in enumerate(lengths)]
    arrays = [np.repeat(i[..., None], 2, 2).astype(np.float32) for i in items]
    stored = StoredActivations([a[:, 0] if a.shape[1] == 1 else a for a in arrays])
    sides = [
        token_windows(stored, "", split=split, progress=False).tokens for split in ("train", "evaluation")
    ]
    trained, held_out = ({*stored.capture(rows, ["x"])["x"][..., 0].ravel().tolist()} for rows in sides)
    assert held_out and not trained & held_out
    unused = len(stored) // ROWS - sum(map(len, sides))
    assert 0 <= unused <= -(-lengths[-1] // ROWS)


def test_metrics_are_those_of_plain_sums(folder, tmp_path):
    """L0 and FVU against NumPy on the held-out rows; what needs predictions is missing."""
    train(config(folder), tmp_path / "run", progress=False)
    table = evaluate_run(tmp_path / "run", progress=False).set_index("run_id")
    held = torch.from_numpy(whole(folder)[1500:])
    for sae in load_saes(tmp_path / "run" / "saes"):
        code = sae.encode(held)
        error = ((held - sae.decode(code)) ** 2).sum().item()
        row = table.loc[sae.identity["run_id"]]
        assert row["l0"] == pytest.approx((code != 0).sum(1).double().mean().item(), rel=1e-6)
        assert row["fvu"] == pytest.approx(error / ((held - held.mean(0)) ** 2).sum().item(), rel=1e-4)
    assert table[["ce_sae", "kl", "loss_recovered"]].isna().all(axis=None)
    found = frontier.compare(tmp_path / "run" / "metrics.parquet", "relu")
    assert found.y_name == "fvu"


def test_a_run_goes_on_bit_for_bit(folder, tmp_path, monkeypatch):
    """And no text is looked for: there is none behind rows."""
    monkeypatch.setattr("trainers.text.standard_library_files", lambda: pytest.fail("text was looked for"))
    ended = train(config(folder), tmp_path, progress=False)
    run = build_run(config(folder), progress=False)
    run.restore(checkpoints.complete(tmp_path / "checkpoints")[0])
    assert run.step == 6
    list(steps(run, tmp_path / "again"))
    for one, other in zip(ended.saes(), run.saes(), strict=True):
        assert all(torch.equal(v, other.parameters[k]) for k, v in one.parameters.items())


@pytest.mark.parametrize(
    "made, message",
    [
        (lambda p: np.save(p / "d.npy", np.ones((5, WIDTH + 1), np.float32)), "rows of 13 numbers"),
        (lambda p: np.save(p / "d.npy", np.ones((5, WIDTH), np.int64)), "wanted activations"),
        (lambda p: np.save(p / "d.npy", np.ones((5, WIDTH), bool)), "wanted activations"),
        (lambda p: np.save(p / "d.npy", np.ones(5, np.float32)), r"shape \(5,\)"),
        (lambda p: (p / "d.npy").write_bytes(b"\x93NUMPY"), "cannot be read"),
        (lambda p: np.save(p / "d.npy", np.array([{}]), allow_pickle=True), "cannot be read"),
        (
            lambda p: save_file({"x": torch.ones(2, 3), "y": torch.ones(2, 3)}, p / "d.safetensors"),
            "holds x, y; wanted one tensor, or one named 'activations'",
        ),
    ],
)
def test_files_that_are_no_activations_are_refused_by_name(folder, made, message):
    made(folder)
    with pytest.raises(TextError, match=message) as found:
        StoredActivations(folder)
    assert str(folder / "d.") in str(found.value)


def test_a_missing_file_a_nan_and_a_file_that_shrinks_are_said(folder):
    with pytest.raises(TextError, match="no activations at"):
        StoredActivations(folder / "none.npy")
    with pytest.raises(ConfigError, match=r"leave evaluation\.text out"):
        checked(config(folder).model_dump() | {"evaluation": {"text": "standard-library"}})
    bad = rows(700, 1)
    bad[5, 3] = np.nan
    np.save(folder / "a.npy", bad)
    with pytest.raises(ValueError, match="not finite"):
        next(activation_stream(StoredActivations(folder), "x", batch_size=64, progress=False))
    stored = StoredActivations(folder)
    np.save(folder / "a.npy", rows(100, 1))
    with pytest.raises(TextError, match="another size"):
        stored.capture(torch.tensor([[3]]), ["x"])
