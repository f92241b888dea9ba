"""Folders of runs: torn, changed, shared and half-made ones lose nothing and mislead nobody."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from small_runs import FAMILIES, TEXT, said, small, weights

from frontier.readers import TableError, read
from frontier.writing import write_sums
from trainers import checkpoints
from trainers.activations.harvest import ActivationError
from trainers.config import read_config, write_config
from trainers.evaluate import EvaluationError, evaluate
from trainers.evaluate.runs import evaluate_run
from trainers.held_out import check_evaluation_text, check_same_text, read_held_out
from trainers.language_models import load_language_model
from trainers.piloting import ASKED
from trainers.run import RunError, alone_in, build_run
from trainers.sae_files import load_saes
from trainers.text import TextError, is_held_out
from trainers.train import train

pytestmark = pytest.mark.slow


def test_a_torn_checkpoint_gives_way_to_the_one_before(copied, finished):
    shutil.rmtree(copied / "saes")
    newest = checkpoints.latest(copied / "checkpoints")
    (newest / "part0.safetensors").write_bytes(b"torn")
    with pytest.warns(UserWarning, match=f"{newest.name} cannot be read.*the one before"):
        train(small(), copied, progress=False, resume=True)
    for run_id, parameters in weights(finished).items():
        assert all(torch.equal(v, weights(copied)[run_id][k]) for k, v in parameters.items())


def test_what_one_process_cannot_read_none_goes_on_from(copied, monkeypatch):
    """Else each would go on from another step."""
    run = build_run(small(), progress=False, fresh=False)
    newest = checkpoints.latest(copied / "checkpoints")
    monkeypatch.setattr("trainers.ranks.of_any", lambda text: text or "part7 is torn")  # another one says so
    with pytest.raises(checkpoints.CheckpointError, match="part7 is torn"):
        run.restore(newest)
    assert run.step == 0


def test_a_file_of_text_that_is_cut_short_is_not_measured(tmp_path):
    """It would hold out what was trained on."""
    own, text = tmp_path / "own.txt", "".join(Path(p).read_text() for p in TEXT)[:60_000]
    own.write_text(text)
    config = small(
        FAMILIES[1:], activations={"text": str(own)}, training={"steps": 2}, evaluation={"windows": 2}
    )
    train(config, tmp_path / "run", progress=False)
    own.write_text(text[:40_000])
    changed = (
        r"the text own\.txt held-out has changed since .*run was trained: what is held out may have been"
    )
    with pytest.raises(RunError, match=changed + r".* evaluation\.text in .*run/config\.toml"):
        evaluate_run(tmp_path / "run", progress=False)
    with pytest.raises(RunError, match=changed):
        train(config, tmp_path / "run", progress=False, resume=True)
    own.write_text(text)
    assert len(evaluate_run(tmp_path / "run", progress=False)) == 1
    own.write_text(text[:20_000] + text[20_000:].replace("e", "o", 200))  # its end is as it was
    with pytest.raises(
        ActivationError, match=r"the text own\.txt train has changed \(.* then, .* now\); put b"
    ):
        train(config, tmp_path / "run", progress=False, resume=True)


def test_a_held_out_text_that_has_changed_is_said(tmp_path):
    """Of whole files and of other windows nothing was trained on; rows that are cut in two are refused."""
    model, own = load_language_model(), tmp_path / "own"
    own.mkdir()
    for i in range(40):
        (own / f"{i}.txt").write_text(f"{i} " * 400)
    np.save(tmp_path / "ids.npy", np.arange(64 * 400) % 90 + 33)

    def measured(text, windows=4):
        config = small(evaluation={"text": str(text), "windows": windows})
        check_same_text(tmp_path, config, model, read_held_out(config, model)[1])

    for text in (own, tmp_path / "ids.npy"):
        kept = {"held_out": check_evaluation_text(small(evaluation={"text": str(text), "windows": 4}), model)}
        (tmp_path / "environment.json").write_text(json.dumps(kept))
        measured(text)
        measured(text, windows=2)
        measured(tmp_path / "own")
        if text == own:
            (own / "11.txt").write_text("else " * 400)
            assert is_held_out("11.txt")
            with pytest.warns(UserWarning, match="the text own held-out has changed since .*on the new text"):
                measured(text)
    np.save(text, np.arange(64 * 400) % 90 + 34)
    with pytest.raises(RunError, match=r"the text ids\.npy held-out has changed"):
        measured(text)


def test_a_run_without_its_checkpoints_is_not_trained_anew(copied):
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(RunError, match="its checkpoints are gone"):
        train(small(), copied, progress=False, resume=True)


def test_only_the_saes_that_the_configuration_names_are_measured(copied):
    write_config(small(FAMILIES[:1]), copied / "config.toml")
    assert set(evaluate_run(copied, progress=False)["family"]) == {"relu"}
    write_config(small([{"architecture": "gated", "settings": [1]}]), copied / "config.toml")
    with pytest.raises(RunError, match="none of the SAEs"):
        evaluate_run(copied, progress=False)


def test_saes_are_not_measured_at_another_site(copied):
    write_config(small(activations={"site": "resid_post.1"}), copied / "config.toml")
    with pytest.raises(EvaluationError, match=r"belongs to mlp_out\.1, not to resid_post\.1"):
        evaluate_run(copied, progress=False)
    write_config(small(activations={"context_length": 64}), copied / "config.toml")
    with pytest.raises(RunError, match=r"context_length 128, config\.toml now says 64"):
        evaluate_run(copied, progress=False)


def test_an_sae_without_a_site_is_measured_anywhere(finished):
    model = load_language_model()
    sae = next(iter(load_saes(finished / "saes")))
    sae.identity.pop("site")
    tokens = torch.randint(97, 122, (4, 32), generator=torch.Generator().manual_seed(0))
    table = evaluate([sae], model, tokens, "resid_post.1", protocol="p").table
    assert table["site"].tolist() == ["resid_post.1"]


def test_the_evaluation_text_is_looked_at_before_the_first_step(tmp_path):
    with pytest.raises(TextError, match="too short"):
        train(small(evaluation={"windows": 10**6}), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_text_that_is_trained_on_is_not_evaluated_on(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    for i in range(40):
        (own / f"doc_{i}.txt").write_text("".join(chr(97 + (i * j) % 26) for j in range(2000)))
    texts = {
        "activations": {"text": str(own), "tokens": 3000},
        "evaluation": {"text": str(own / "doc_1.txt")},
    }
    with pytest.raises(TextError, match=r"1 file that activations.text trains on \(doc_1.txt\)"):
        train(small(**texts), tmp_path / "run", progress=False)


def test_own_text_is_also_held_out_from(tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("".join(f"line {i} of a text\n" for i in range(3000)))
    config = small(activations={"text": str(own), "tokens": "all"})
    assert read_config_again(config, tmp_path) == config
    train(config, tmp_path / "run", progress=False)
    protocol = evaluate_run(tmp_path / "run", progress=False)["protocol"].iloc[0]
    assert protocol.startswith("own.txt held-out")


def read_config_again(config, folder):
    write_config(config, folder / "again.toml")
    return read_config(folder / "again.toml")


def test_two_runs_do_not_share_a_folder(tmp_path, monkeypatch, capsys):
    write_config(small(), tmp_path / "c.toml")
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        code, _, err = said(monkeypatch, capsys, "run", tmp_path / "c.toml", "--out", tmp_path / "run", "-q")
    assert code == 2 and "another sae-train is at work" in err
    with alone_in(tmp_path / "run"):
        pass


def test_a_pilot_that_was_killed_begins_anew(tmp_path, monkeypatch, capsys):
    asked = small([{"architecture": "topk", "target_l0": [2, 6]}])
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(asked, folder / ASKED)  # what a run leaves that was killed in its pilot
    code, out, err = said(monkeypatch, capsys, "status", folder)
    assert code == 0 and "in the pilots of its target_l0" in out and "sae-train resume" in out, err
    for line in (
        ["evaluate", folder],
        ["export", folder, "--out", tmp_path / "out"],
        ["export", folder, "--out", tmp_path / "out", "--format", "sae-bench-results"],
        ["publish", folder, "--to", "hf://me/first", "--licence", "mit", "--dry-run"],
    ):
        code, _, err = said(monkeypatch, capsys, *line)
        assert code == 2 and "in the pilots of its target_l0" in err and "sae-train resume" in err, line
    with pytest.raises(
        TableError, match=r"in the pilots of its target_l0 .*sae-train status .*sae-train resume"
    ):
        read(folder)
    code, _, err = said(monkeypatch, capsys, "resume", folder, "-q")
    assert code == 0, err
    assert pd.read_parquet(folder / "metrics.parquet")["l0"].tolist() == [2, 6]
    assert read_config(folder / "config.toml").families[0].settings == [2, 6]


def test_a_run_that_is_trained_and_not_evaluated_gives_no_table(tmp_path):
    train(small(), tmp_path / "run", progress=False)
    with pytest.raises(TableError, match=r"run is not evaluated yet \(its log ends at step 12 of 12\)"):
        read(tmp_path / "run")


def test_targets_and_what_was_found_are_shown(tmp_path, monkeypatch, capsys):
    write_config(small([{"architecture": "topk", "target_l0": [2, 6]}]), tmp_path / "c.toml")
    code, out, err = said(monkeypatch, capsys, "run", tmp_path / "c.toml", "--out", tmp_path / "r", "-q")
    assert code == 0, err
    assert "topk: wanted L0 → found 2 → 2; 6 → 6" in out


def test_export_writes_what_it_can_and_names_the_rest(tmp_path, monkeypatch, capsys):
    untied = {"architecture": "gated", "settings": [2], "options": {"tied": False}}
    train(small([*FAMILIES, untied]), tmp_path / "run", progress=False)
    code, _, err = said(monkeypatch, capsys, "export", tmp_path / "run", "--out", tmp_path / "out")
    assert code == 2 and "gated_2_seed0 was not written" in err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"relu_1_seed0", "relu_4_seed0", "topk_4_seed0"}


@pytest.mark.parametrize("word", ["export", "publish"])
def test_saes_of_one_name_are_not_written_over_each_other(copied, tmp_path, monkeypatch, capsys, word):
    about = copied / "saes" / "relu_1_seed0" / "sae.json"
    about.write_text(about.read_text().replace("relu_1_seed0", "relu_4_seed0"))
    write_sums(about.parent, ["sae.json", "sae.safetensors"])
    more = ("--to", "hf://me/first", "--licence", "mit", "--dry-run") if word == "publish" else ()
    code, _, err = said(monkeypatch, capsys, word, copied, "--out", tmp_path / "out", *more)
    assert code == 2 and "has several SAEs of one run_id; there are relu_4_seed0, topk_4_seed0" in err, err
    assert not list((tmp_path / "out").glob("*"))


def test_all_members_diverged(tmp_path):
    with pytest.raises(RunError, match=r"every member diverged.*lower training\.learning_rate"):
        train(small(training={"learning_rate": 1e30}), tmp_path / "run", progress=False)


def test_half_precision_needs_a_gpu(tmp_path):
    config = small(training={"precision": "bfloat16"}, model={"device": "cpu"})
    with pytest.raises(RunError, match="bfloat16 needs a GPU"):
        train(config, tmp_path / "run", progress=False)


def test_the_target_form_of_jumprelu_reaches_its_target(tmp_path):
    family = {"architecture": "jumprelu", "options": {"penalty": "target"}, "target_l0": [4, 12]}
    config = small([family], training={"steps": 300}, activations={"tokens": 10_000, "buffer_tokens": None})
    from trainers.sweeps import settled

    train(settled(config, progress=False)[0], tmp_path / "run", progress=False)
    table = evaluate_run(tmp_path / "run", progress=False).sort_values("sparsity_setting")
    assert set(table["sparsity_name"]) == {"target_l0"}
    assert table["l0"].tolist() == pytest.approx([4, 12], rel=0.15)
