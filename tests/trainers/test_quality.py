"""Quality beside the peers: same rows, SAEs that keep their function, a page that says what the file says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from export_examples import SQUARE, decided, example

from benchmarks import quality
from benchmarks.quality_parts import comparing, measured, page, peers, sites
from benchmarks.quality_parts.design import OURS, SETTINGS, Cell, Place, is_cell
from trainers.activations import Scaling
from trainers.config_sections import TrainingSection
from trainers.export import export, load
from trainers.run import build_run

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "quality.json"
PLACE = Place("shipped", 4, 3)


def scaling(d):
    random = torch.Generator().manual_seed(2)
    centre = 3 * torch.randn(d, generator=random)
    return Scaling(0.7, 0.7, torch.zeros(d), torch.zeros(d), centre, centre)


@pytest.mark.parametrize("layout", ["sae-lens", "dictionary-learning"])
@pytest.mark.parametrize("name", SETTINGS)
def test_an_sae_of_another_layout_rebuilds_raw_rows_as_it_did_scaled_ones(tmp_path, layout, name):
    theirs = example(SQUARE[name], name)
    x = decided(theirs, torch.randn(300, 16, generator=torch.Generator().manual_seed(1)) * 1.5)
    assert len(x) > 100
    scale = scaling(16)
    export(theirs, tmp_path / "sae", layout)
    found = measured.for_raw_rows(load(tmp_path / "sae"), scale, {"run_id": "a"})
    raw = x / scale.input_scale + scale.input_centre
    rebuilt = (found(raw) - scale.target_centre) * scale.target_scale
    assert float((rebuilt - theirs(x)).abs().max()) < 1e-5
    assert torch.equal(found.encode(raw) != 0, theirs.encode(x) != 0)


def test_the_error_of_a_conversion_is_seen(tmp_path):
    cell, scale = Cell(PLACE, "sae_lens", "topk", 1e-3, 0), scaling(16)
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(1))
    saes = []
    for setting in cell.settings:
        theirs = example(SQUARE["topk"], "topk")
        folder = export(theirs, tmp_path / f"{setting:g}", "sae-lens")
        np.save(folder / "reconstructed.npy", theirs(x).numpy())
        saes.append(measured.for_raw_rows(load(folder), scale, {}))
    assert measured.error_of_conversion(tmp_path, cell, saes, x, scale) < 1e-5
    wrong = replace(scale, input_scale=0.71)
    assert measured.error_of_conversion(tmp_path, cell, saes, x, wrong) > 1e-3


def test_peers_are_given_the_batches_of_our_run_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(sites, "TOKENS", 20_000)
    path, _ = sites.rows_of(PLACE, tmp_path)
    given = peers.Rows(str(path), sites.BATCH, PLACE.steps)
    stream = build_run(sites.configuration(PLACE, ["relu"], [1], 16), progress=False).stream
    batches = list(given)
    assert len(batches) == PLACE.steps and given.width == stream.d_in
    for batch in batches:
        assert torch.equal(batch, next(stream).input)


def test_peers_have_our_schedule_and_groups():
    ours = {name: field.default for name, field in TrainingSection.model_fields.items()}
    assert (peers.WARMUP, peers.DECAY) == (ours["warmup"], ours["decay"])
    assert peers.SPARSITY_WARMUP == ours["sparsity_warmup"]
    from trainers.architectures import architecture

    assert peers.DEAD == architecture("topk").dead_after
    assert np.cumsum(peers.GROUPS).tolist() == list(architecture("matryoshka").prefixes)


def test_a_cell_is_found_again_and_of_ours_at_any_rate():
    peer, own = Cell(PLACE, "sae_lens", "relu", 3e-3, 0), Cell(PLACE, OURS, "relu", None, 0)
    assert is_cell(json.loads(json.dumps(peer.plain())), peer)
    assert not is_cell(peer.plain() | {"rate": 1e-2}, peer)
    assert is_cell(own.plain() | {"rate": 0.015}, own)
    assert not is_cell(own.plain() | {"seed": 1}, own)


def test_twice_the_l0_at_equal_hit_is_a_ratio_of_two():
    def cell(method, rate, times):
        saes = [[k, times * k, 0.5 * k**-0.5, 0.6 * k**-0.5, 0.1] for k in (5.0, 10.0, 20.0)]
        return Cell(PLACE, method, "topk", rate, 0).plain() | {"saes": saes}

    cells = [cell(OURS, 5e-3, 1), cell("sae_lens", 1e-3, 3), cell("sae_lens", 3e-3, 2)]
    found = comparing.comparison(cells, PLACE, "sae_lens", "topk")
    assert found["rate"] == 3e-3 and found["rates"] == [1e-3, 3e-3]
    for ratio, low, high in found["potency"].values():
        assert ratio == pytest.approx(2, abs=0.01) and low <= 2.01 and high >= 1.99
    assert found["dead"] == ({5.0: 0.1, 10.0: 0.1, 20.0: 0.1},) * 2
    later = cell("sae_lens", 3e-3, 5) | {"seed": 1}  # worse, but its rate stays the best
    found = comparing.comparison([*cells, later], PLACE, "sae_lens", "topk")
    assert (found["rate"], found["seeds"]) == (3e-3, (1, 2)) and found["potency"]["fvu"][0] > 2.5


def test_the_page_is_that_of_the_result_file():
    record = json.loads(RESULT.read_text(encoding="utf-8"))
    text = (ROOT / page.PAGE).read_text(encoding="utf-8")
    assert page.content(record) in text
    for cell in record["cells"]:
        learned = all(sae[3] < 0.5 for sae in cell["saes"])  # else weights are large, and so is rounding
        assert len(cell["saes"]) == 3 and cell.get("conversion", 0) < (1e-5 if learned else 1e-4)


@pytest.mark.interop
@pytest.mark.parametrize("method", ["dictionary_learning", "sae_lens"])
def test_each_peer_trains_and_keeps_its_function(tmp_path, method, monkeypatch):
    monkeypatch.chdir(ROOT)
    place = Place("shipped", 4, 40)
    bench = quality.Bench(tmp_path, 8)
    cells = [Cell(place, method, name, 3e-3, 0) for name in SETTINGS]
    bench.train_peer(place, method, cells)
    assert all(bench.has(cell) for cell in cells)
    assert all(cell["conversion"] < 1e-5 for cell in bench.record["cells"])
