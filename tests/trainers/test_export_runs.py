"""All SAEs of a run in one folder: what stands there is taken for the run's own only byte by byte."""

import pytest
from export_examples import made

from trainers.export import ExportError
from trainers.export.runs import Exported, export_run
from trainers.sae import SAE
from trainers.sae_files import save_sae


def written(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def run_of(folder, *names, shift=0.0):
    """A run's folder with SAEs of these kinds."""
    for name in names:
        sae = made(name)
        parameters = sae.parameters | {"b_dec": sae.parameters["b_dec"] + shift}
        save_sae(SAE(sae.architecture, parameters, sae.identity | {"run_id": name}), folder / "saes" / name)
    return folder


def test_what_is_refused_for_one_reason_is_said_once():
    done = Exported({}, dict.fromkeys("abcdef", "no form") | {"g": "too wide"})
    assert done.why == "a, b, c, d and 2 more were not written: no form; g was not written: too wide"


def test_a_run_replaces_nothing_that_another_wrote(tmp_path):
    out, kinds = tmp_path / "out", ("relu", "topk")
    one, other = run_of(tmp_path / "one", *kinds), run_of(tmp_path / "other", *kinds, shift=0.5)
    export_run(one, out, only=["relu"])
    export_run(one, out)
    before = {name: written(out / name) for name in kinds}
    assert list(export_run(one, out).places) == ["relu", "topk"]
    extra = run_of(tmp_path / "extra", "gated")
    for run, layout in ((other, "sae-lens"), (one, "dictionary-learning"), (extra, "sae-lens")):
        with pytest.raises(
            ExportError, match=r"relu, topk; nothing was written\. Name another folder by --out"
        ):
            export_run(run, out, layout)
    assert {p.name: written(p) for p in out.iterdir()} == before
    export_run(other, tmp_path / "second")
    assert written(tmp_path / "second" / "relu") != before["relu"]
