"""Activations from anywhere: every source gives the rows that it holds, or says in one line what is wrong."""

import hashlib
import json
import os
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from trainers import activation_stream
from trainers.activations import ComputedRows, StoredActivations, row_sources, write_rows
from trainers.activations.row_files import opened_file
from trainers.config import ConfigError, checked
from trainers.evaluate.runs import check_unchanged, evaluate_run
from trainers.origin import change_of, record_of
from trainers.run import RunError, build_run
from trainers.sae_files import load_saes
from trainers.text import TextError
from trainers.train import train

WIDTH, WINDOW, COUNT = 12, 8, 80


def windows(seed=0, count=COUNT):
    return np.random.default_rng(seed).standard_normal((count, WINDOW, WIDTH)).astype(np.float32)


def rows_of(stored):
    numbers = torch.from_numpy(np.random.default_rng(1).permutation(len(stored)).reshape(1, -1))
    found = stored.capture(numbers, ["x"])["x"][0]
    return found[numbers[0].argsort()].numpy()


def dataset(folder, parts, column="blocks.0.hook_mlp_out", **others):
    """A dataset as Hugging Face saves one: a file for each part, two batches of records in each."""
    folder.mkdir()
    names = [f"data-{i:05d}-of-{len(parts):05d}.arrow" for i in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        columns = {column: pa.array(part.tolist(), pa.list_(pa.list_(pa.from_numpy_dtype(part.dtype))))}
        columns["token_ids"] = pa.array([[1] * WINDOW] * len(part), pa.list_(pa.int32(), WINDOW))
        table = pa.table(columns | {k: v(part) for k, v in others.items()})
        with pa.ipc.new_stream(folder / name, table.schema) as out:
            out.write_table(table, max_chunksize=(len(part) + 1) // 2)
    state = {"_data_files": [{"filename": n} for n in names]}
    (folder / "state.json").write_text(json.dumps(state))
    return folder


@pytest.mark.parametrize("form", ["float32", "float16", "float64"])
def test_a_saved_dataset_gives_the_rows_of_its_columns_of_activations(tmp_path, form):
    parts = [windows(s, n).astype(form) for s, n in ((0, 7), (1, 20))]
    stored = StoredActivations(dataset(tmp_path / "cached", parts), window=WINDOW)
    np.testing.assert_array_equal(
        rows_of(stored), np.concatenate(parts).reshape(-1, WIDTH).astype(np.float32)
    )
    assert (stored.inner, stored.site("").name, stored.name) == (WINDOW, "blocks.0.hook_mlp_out", "cached")


def test_of_two_columns_the_site_says_which(tmp_path):
    def other(part):
        return pa.array((-part).tolist(), pa.list_(pa.list_(pa.float32())))

    place = dataset(tmp_path / "cached", [windows()], **{"blocks.1.hook_mlp_out": other})
    stored = StoredActivations(place, site="blocks.1.hook_mlp_out", window=WINDOW)
    np.testing.assert_array_equal(rows_of(stored), -windows().reshape(-1, WIDTH))
    with pytest.raises(TextError, match=r"has blocks.0.hook_mlp_out, blocks.1.hook_mlp_out of activations"):
        StoredActivations(place)


def uneven(folder):
    table = pa.table({"x": pa.array([[1.0, 2.0], [3.0]], pa.list_(pa.float32()))})
    with pa.ipc.new_stream(next(folder.glob("*.arrow")), table.schema) as out:
        out.write_table(table)


def missing_value(folder):
    table = pa.table({"x": pa.array([[1.0, None], [3.0, 4.0]], pa.list_(pa.float32()))})
    with pa.ipc.new_stream(next(folder.glob("*.arrow")), table.schema) as out:
        out.write_table(table)


def packed(folder):
    table = pa.table({"x": pa.array(np.zeros((900, 4)).tolist(), pa.list_(pa.float32()))})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(next(folder.glob("*.arrow")), table.schema, options=options) as out:
        out.write_table(table)


def cut(folder):
    place = next(folder.glob("*.arrow"))
    os.truncate(place, place.stat().st_size // 2)


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        (
            lambda f: next(f.glob("*.arrow")).unlink(),
            "lacks data-00000-of-00001.arrow, which state.json names",
        ),
        (lambda f: (f / "state.json").write_text("{"), "state.json does not say which files"),
        (lambda f: (f / "state.json").write_text('{"_data_files": []}'), "lacks any file"),
        (uneven, "rows of 1 to 2 numbers; wanted one width"),
        (missing_value, "has missing values"),
        (packed, "is compressed; save the dataset without"),
        (cut, "cannot be read as a dataset of activations"),
    ],
)
def test_a_spoilt_dataset_is_one_line(tmp_path, spoil, wanted):
    place = dataset(tmp_path / "cached", [windows()])
    spoil(place)
    with pytest.raises(TextError, match=wanted) as found:
        StoredActivations(place)
    assert "\n" not in str(found.value)


def test_files_without_a_header(tmp_path):
    """As `np.memmap` writes them; a folder of them needs their form too."""
    mapped = np.memmap(tmp_path / "acts.dat", np.float16, "w+", shape=(COUNT * WINDOW, WIDTH))
    mapped[:] = windows().reshape(-1, WIDTH)
    mapped.flush()
    wanted = windows().reshape(-1, WIDTH).astype(np.float16).astype(np.float32)
    for place, form in ((tmp_path / "acts.dat", "float16[12]"), (tmp_path, "float16[8, 12]")):
        np.testing.assert_array_equal(rows_of(StoredActivations(place, raw_format=form)), wanted)
    assert StoredActivations(tmp_path, raw_format="float16[8,12]").inner == WINDOW
    with pytest.raises(TextError, match=r'has no header; say its numbers as raw_format = "float16\[768\]"'):
        StoredActivations(tmp_path / "acts.dat")
    with pytest.raises(TextError, match=r"15,360 bytes, which is no whole number of float32\[7\] \(28 bytes"):
        StoredActivations(tmp_path / "acts.dat", raw_format="float32[7]")
    with pytest.raises(
        ConfigError, match=r"raw_format: wanted a number format.*\"float16\[768\]\".*found .float16."
    ):
        checked({"activations": {"files": "x.bin", "raw_format": "float16"}, "families": FAMILIES})
    bits = torch.tensor(windows().reshape(-1, WIDTH)).bfloat16()
    bits.view(torch.int16).numpy().tofile(tmp_path / "b.bin")
    np.testing.assert_array_equal(
        rows_of(StoredActivations(tmp_path / "b.bin", raw_format="bfloat16[12]")), bits.float().numpy()
    )


@pytest.mark.parametrize(
    "form", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn]
)
def test_every_number_format_of_safetensors(tmp_path, form):
    values = torch.from_numpy(windows()).to(form)
    save_file({"other": torch.zeros(3), "activations": values}, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(
        rows_of(StoredActivations(tmp_path)), values.float().reshape(-1, WIDTH).numpy()
    )


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("form", ["<f4", ">f4", "<f8"])
def test_every_layout_of_npy(tmp_path, order, form):
    np.save(tmp_path / "x.npy", np.asarray(windows().reshape(-1, WIDTH), form, order=order))
    np.testing.assert_array_equal(rows_of(StoredActivations(tmp_path)), windows().reshape(-1, WIDTH))


def test_arrays_and_functions_from_python():
    """In memory, or computed: the same rows, and a function is asked for each item once a call."""
    asked = []

    def model(items):
        asked.extend(items.tolist())
        return torch.from_numpy(windows()[items])

    computed = ComputedRows(model, COUNT, name="vit", at_once=16)
    flat = windows().reshape(-1, WIDTH)
    for given in (windows(), torch.from_numpy(flat), [flat[:300], flat[300:]], computed):
        np.testing.assert_array_equal(rows_of(StoredActivations(given)), flat)
    asked.clear()
    rows_of(StoredActivations(computed))
    assert sorted(asked) == sorted([*range(COUNT), 0, 26, 52, 79])  # four of them for the digest
    one, other, changed = (StoredActivations(x).revision for x in (flat, flat.copy(), -flat))
    assert one == other != changed


def test_what_a_function_breaks_is_said():
    def shrinking(items):
        return windows()[: len(items) - (len(items) > 1)]

    with pytest.raises(TextError, match=r"vit gives \[3, 8, 12\] for 4 items; wanted \[4, 8, 12\]"):
        ComputedRows(shrinking, COUNT, name="vit").rows(np.arange(32))
    with pytest.raises(TextError, match="gives int64; wanted activations as floating-point"):
        ComputedRows(lambda items: items[:, None], COUNT)
    with pytest.raises(TextError, match=r"cannot be read from a generator; wanted .* `write_rows"):
        StoredActivations(x for x in [windows()])
    with pytest.raises(TextError, match=r"cannot be read from a function; wanted .* `ComputedRows"):
        StoredActivations(lambda items: items)


def test_a_folder_of_many_chunks_is_not_read_whole_for_its_digest(tmp_path, monkeypatch):
    """A Zarr array of 200 chunks: metadata and 50 of them, and the sizes of all."""
    (tmp_path / "zarr.json").write_text("{}")
    for i in range(200):
        (tmp_path / f"c{i:03d}").write_bytes(bytes(100))
    read, whole = [], row_sources._digest_file
    monkeypatch.setattr(row_sources, "_digest_file", lambda d, file: read.append(file.name) or whole(d, file))

    def digest():
        found = hashlib.sha256()
        row_sources._digest_place(found, tmp_path)
        return found.hexdigest()

    plain = digest()
    assert read == [f"c{i:03d}" for i in range(0, 200, 4)] + ["zarr.json"]
    found = {plain}
    for place, content in (("c001", bytes(99)), ("c004", b"x" * 100), ("zarr.json", b"[]")):
        (tmp_path / place).write_bytes(content)
        found.add(digest())
    assert len(found) == 4


def test_an_iterator_is_written_as_it_comes(tmp_path):
    batches = (torch.from_numpy(windows()[i : i + 7]) for i in range(0, COUNT, 7))
    place = write_rows(batches, tmp_path / "layer6", file_bytes=7 * 4 * WINDOW * WIDTH * 2)
    assert len(list(place.glob("*.safetensors"))) == 6
    np.testing.assert_array_equal(rows_of(StoredActivations(place)), windows().reshape(-1, WIDTH))
    bad = windows()
    bad[9, 3, 1] = np.inf
    for given, wanted in (
        ([windows(), windows()[..., :5]], r"batch 1 has rows \[8, 5\], those before \[8, 12\]"),
        ([windows(), bad], "batch 1 has NaN or infinity in row 9"),
        ([], "no batch of activations came"),
        ([np.ones((3, 4), int)], "batch 0 gives int64"),
    ):
        with pytest.raises(TextError, match=wanted):
            write_rows(iter(given), tmp_path / "wrong")
        assert not (tmp_path / "wrong").exists()


FAMILIES = [{"architecture": "topk", "settings": [2, 4]}]


def config(**given):
    return checked({
        "activations": {"tokens": "all", "context_length": WINDOW} | given,
        "training": {"steps": 8, "batch_size": 32, "expansion": 2, "checkpoint_every": 4},
        "families": FAMILIES,
    })  # fmt: skip


def test_a_run_of_a_function_is_that_of_its_rows_in_a_file(tmp_path):
    np.save(tmp_path / "x.npy", windows())
    train(config(files=str(tmp_path / "x.npy")), tmp_path / "file", progress=False)
    origin = StoredActivations(ComputedRows(lambda i: windows()[i], COUNT), name="vit", window=WINDOW)
    run = train(config(), tmp_path / "own", progress=False, origin=origin)
    table = evaluate_run(tmp_path / "own", model=origin, progress=False)
    again = train(config(), tmp_path / "own", progress=False, resume=True, origin=origin)
    assert again.step == run.step == 8 and set(table["model"]) == {"vit"} and table["fvu"].notna().all()
    for one, other in zip(*(load_saes(tmp_path / n / "saes") for n in ("file", "own")), strict=True):
        assert all(torch.equal(v, other.parameters[k]) for k, v in one.parameters.items())


def test_rows_that_are_not_finite_are_named(tmp_path):
    bad = windows().reshape(-1, WIDTH)
    bad[[17, 18, 400], 3] = np.nan
    np.save(tmp_path / "x.npy", bad)
    with pytest.raises(TextError, match=r"x.npy is not finite: row \d+ holds NaN or infinity, the first of"):
        activation_stream(StoredActivations(tmp_path), "x", batch_size=32, progress=False).batches()
    with pytest.raises(TextError, match=r"x.npy is not finite: row 17 holds NaN or infinity, the first of 2"):
        StoredActivations(tmp_path / "x.npy").capture(torch.arange(64)[None], ["x"])


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors", "x.bin", "data.arrow"])
def test_a_file_that_shrinks_while_it_is_read_is_one_line(tmp_path, name):
    """Also inside a run, between two chunks: no crash, and what was there is named."""
    place = tmp_path / name
    if place.suffix == ".npy":
        np.save(place, windows())
    elif place.suffix == ".safetensors":
        save_file({"activations": torch.from_numpy(windows())}, place)
    elif place.suffix == ".bin":
        windows().tofile(place)
    else:
        next(dataset(tmp_path / "d", [windows()]).glob("*.arrow")).rename(place)
    run = build_run(config(files=str(place), raw_format="float32[12]"), progress=False)
    os.truncate(place, place.stat().st_size - 4 * WIDTH * 200)
    run.stream.release()
    with pytest.raises(TextError, match=f"{name} has another size than when it was opened"):
        run.stream.batches()
    place.unlink()
    with pytest.raises(TextError, match=f"{name} cannot be read any more: No such file"):
        run.stream.batches()


def test_a_file_that_is_cut_between_its_check_and_its_read(tmp_path):
    """The bytes end early: never fewer or other rows."""
    np.save(tmp_path / "x.npy", windows())
    part = opened_file(tmp_path / "x.npy")
    part._size = os.truncate(tmp_path / "x.npy", 4096) or 4096
    with pytest.raises(TextError, match="another size"):
        part.rows(np.arange(COUNT * WINDOW))


def test_mixed_widths_are_refused_and_mixed_formats_read(tmp_path):
    np.save(tmp_path / "a.npy", windows())
    save_file({"x": torch.from_numpy(windows(1)).bfloat16()}, tmp_path / "b.safetensors")
    dataset(tmp_path / "c", [windows(2).astype(np.float16)])
    both = StoredActivations([tmp_path / "a.npy", tmp_path / "b.safetensors", tmp_path / "c"])
    assert len(both) == 3 * COUNT * WINDOW
    np.save(tmp_path / "d.npy", windows()[..., :5])
    with pytest.raises(TextError, match=r"d.npy has rows of 5 numbers, .*a.npy of 12"):
        StoredActivations([tmp_path / "a.npy", tmp_path / "d.npy"])


def test_what_is_no_origin_says_what_one_is(tmp_path):
    with pytest.raises(
        TypeError, match=r"wanted load_language_model.* or StoredActivations.*, found ndarray"
    ):
        train(config(), tmp_path / "own", progress=False, origin=windows())
    rows = StoredActivations(windows(), name="vit")
    with pytest.raises(ConfigError, match=r"sites names a, b; array 0 has rows of one site; leave sites out"):
        train(config(sites=["a", "b"]), tmp_path / "own", progress=False, origin=rows)


def test_rows_named_twice_and_no_rows_are_refused(tmp_path):
    """The second copy would be held out, and the first trained on."""
    np.save(tmp_path / "a.npy", windows())
    for files in ([tmp_path / "a.npy", tmp_path / "a.npy"], [tmp_path, tmp_path / "a.npy"]):
        with pytest.raises(TextError, match=r"a\.npy is named twice"):
            StoredActivations(files)
    with pytest.raises(ConfigError, match="names no file"):
        checked({"activations": {"files": []}, "families": [{"architecture": "topk"}]})


def test_files_that_have_become_others_are_not_measured_as_held_out(tmp_path):
    """A shorter file holds out what was trained on; an SAE that was measured and is gone is missed."""
    rows = np.random.default_rng(0).normal(size=(2100, WIDTH)).astype("float32")
    np.save(tmp_path / "a.npy", rows)
    config = checked({
        "activations": {"files": str(tmp_path / "a.npy"), "tokens": "all"},
        "training": {"steps": 2, "batch_size": 32, "dictionary_size": 16},
        "families": [{"architecture": "topk", "settings": [2, 3]}],
    })  # fmt: skip
    train(config, tmp_path / "run", progress=False)
    assert len(evaluate_run(tmp_path / "run", progress=False)) == 2
    place = next((tmp_path / "run" / "saes").glob("topk_2*"))
    place.rename(tmp_path / "away")
    with pytest.raises(RunError, match=r"lacks topk_2.*sae-train resume"):
        evaluate_run(tmp_path / "run", progress=False)
    (tmp_path / "away").rename(place)
    np.save(tmp_path / "a.npy", rows[:1500])
    with pytest.raises(
        RunError, match=r"activations of a have changed: a\.npy since .*/run was trained: what"
    ):
        evaluate_run(tmp_path / "run", progress=False)
    with pytest.raises(
        RunError, match=r"have changed: a\.npy since .*step_0+2 was written; .*put back what was"
    ):
        train(config, tmp_path / "run", progress=False, resume=True)
    was = json.loads((tmp_path / "run" / "environment.json").read_text())["model"]
    weights = SimpleNamespace(name=was["name"], revision="f" * 12, predicts=True)
    with pytest.raises(
        RunError, match=r"weights of a have changed \(.*, ffffff now\).*: its SAEs are of other"
    ):
        check_unchanged(tmp_path / "run", weights)
    check_unchanged(tmp_path / "run", SimpleNamespace(name=was["name"], revision=was["revision"]))


def test_saes_of_other_rows_are_refused_with_both_widths_and_what_to_type(tmp_path):
    config = {
        "training": {"steps": 2, "batch_size": 32, "dictionary_size": 16},
        "families": [{"architecture": "topk", "settings": [2]}],
    }
    for name, width in (("own", WIDTH), ("wide", WIDTH + 5), ("other", WIDTH)):
        rows = np.random.default_rng(0).normal(size=(2100, width)).astype("float32")
        np.save(tmp_path / f"{name}.npy", rows)
    place, run = str(tmp_path / "own.npy"), tmp_path / "run"
    train(checked(config | {"activations": {"files": place, "tokens": "all"}}), run, progress=False)
    written = (run / "config.toml").read_text()
    for name, why in (
        (
            "wide",
            rf"rows of width {WIDTH}; .*wide\.npy, have width {WIDTH + 5}\. Put back activations\.files; ",
        ),
        ("other", r"model 'own', config\.toml now says 'other'\. Put back files as it was; "),
    ):
        (run / "config.toml").write_text(written.replace("own.npy", f"{name}.npy"))
        with pytest.raises(RunError, match=why + r".*trainers\.evaluate\.evaluate\(saes, StoredActivations"):
            evaluate_run(run, progress=False)
    (run / "config.toml").write_text(written)
    assert len(evaluate_run(run, progress=False)) == 1


def test_of_several_files_those_are_named_that_have_changed(tmp_path):
    """By their own digests, whatever folder they are in; one that is added or gone has changed too."""
    for name in "abc":
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "x.npy", windows())
    places = [tmp_path / name for name in "abc"]
    was = record_of(StoredActivations(places, name="m"))
    assert list(was["files"]) == ["x.npy", "x.npy (2)", "x.npy (3)"]
    np.save(tmp_path / "b" / "x.npy", windows() + 1)
    assert (
        change_of(was, StoredActivations(places, name="m")) == "the activations of m have changed: x.npy (2)"
    )
    fewer = change_of(was, StoredActivations(places[:1], name="m"))
    assert fewer == "the activations of m have changed: x.npy (2), x.npy (3)"
    assert change_of(was, SimpleNamespace(name="m", revision=was["revision"])) == ""
