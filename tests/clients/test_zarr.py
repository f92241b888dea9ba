"""Zarr arrays as Zarr writes them: the same rows, in both formats, and no code is run for a codec's name."""

import json

import numpy as np
import pytest
import torch

from trainers.activations import StoredActivations
from trainers.text import TextError

zarr = pytest.importorskip("zarr", reason="zarr is not installed (make clients)")

ROWS = np.random.default_rng(0).standard_normal((90, 8, 12)).astype(np.float32)
NUMBERS = torch.from_numpy(np.random.default_rng(1).permutation(720).reshape(9, 80))


def written(place, **options):
    array = zarr.create_array(
        str(place), shape=ROWS.shape, dtype="float32", **{"chunks": (20, 8, 12)} | options
    )
    array[:] = ROWS
    return place


@pytest.mark.parametrize(
    "options",
    [
        {"zarr_format": 2},
        {"zarr_format": 3},
        {"chunks": (10, 8, 12), "shards": (30, 8, 12)},
        {"chunks": (90, 3, 5)},
    ],
)
def test_rows_are_those_of_the_array(tmp_path, options):
    stored = StoredActivations(written(tmp_path / "x.zarr", **options))
    found = stored.capture(NUMBERS, ["x"])["x"]
    np.testing.assert_array_equal(found.numpy(), ROWS.reshape(-1, 12)[NUMBERS])
    assert (stored.inner, stored.name) == (8, "x")
    open_array = zarr.open(str(tmp_path / "x.zarr"), mode="r")
    np.testing.assert_array_equal(StoredActivations(open_array).capture(NUMBERS, ["x"])["x"], found)
    assert len(StoredActivations(tmp_path)) == 720  # a folder of arrays


def test_what_could_run_code_or_lacks_rows_is_one_line(tmp_path):
    place = written(tmp_path / "x.zarr", zarr_format=2)
    about = json.loads((place / ".zarray").read_text())
    (place / ".zarray").write_text(json.dumps(about | {"filters": [{"id": "pickle"}]}))
    with pytest.raises(TextError, match=r"is packed by pickle; read are blosc"):
        StoredActivations(place)
    group = zarr.open_group(str(tmp_path / "g.zarr"), mode="w")
    written(tmp_path / "g.zarr" / "layer3")
    group.create_array("empty", shape=(4, 12), dtype="float32")
    assert len(StoredActivations(tmp_path / "g.zarr" / "layer3")) == 720
    with pytest.raises(TextError, match=r"is a group of empty, layer3; name one of them"):
        StoredActivations(tmp_path / "g.zarr")
    with pytest.raises(TextError, match=r"lacks 1 of its 1 chunks"):
        StoredActivations(tmp_path / "g.zarr" / "empty")
    (tmp_path / "g.zarr" / "layer3" / "zarr.json").write_text("{")
    with pytest.raises(TextError, match=r"zarr.json is torn"):
        StoredActivations(tmp_path / "g.zarr" / "layer3")


def test_chunks_that_are_cut_or_go_while_it_is_read(tmp_path):
    stored = StoredActivations(written(tmp_path / "x.zarr"))
    chunk = tmp_path / "x.zarr" / "c" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:40])
    with pytest.raises(TextError, match=r"x.zarr cannot be read"):
        stored.capture(NUMBERS, ["x"])
    chunk.unlink()
    with pytest.raises(TextError, match=r"x.zarr lacks 1 of its 5 chunks"):
        stored.capture(NUMBERS, ["x"])
