"""The shipped language model: what its card says is true, and its training resumes."""

import re
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from processes import Forked
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainers import checkpoints, tiny_lm
from trainers.activations import evaluation_windows
from trainers.language_models import load_language_model, next_token_losses

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "data" / "tiny_lm"
SMALL = ["--layers", "1", "--width", "16", "--heads", "2", "--context-length", "16", "--batch-size", "4"]


def command(*words):
    """`python -m trainers.tiny_lm` with these words."""
    sys.argv = ["tiny_lm", *words]
    tiny_lm.main()


def test_it_is_small_and_loads_without_remote_code():
    assert sum(p.stat().st_size for p in FOLDER.iterdir()) < 8e6
    model = AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER, trust_remote_code=False)
    assert model.config.vocab_size == 257
    text = "naïve \x00 日本 \r\n\t" + "".join(map(chr, range(256)))
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert bytes(ids) == text.encode() and tokenizer.decode(ids) == text
    assert tokenizer.bos_token_id == tiny_lm.START


def test_the_card_says_what_is_measured():
    card = (FOLDER / "README.md").read_text()
    model = load_language_model()
    tokens, _ = evaluation_windows(model, windows=64, progress=False)
    counted = model.counted(tokens)[:, :-1]

    def loss(logits):
        return float(next_token_losses(logits, tokens)[counted].mean())

    clean = float(re.search(r"Cross-entropy \*\*([\d.]+)\*\*", card)[1])
    # 64 windows instead of 256, perhaps of another Python's sources: the standard error is about 0.02
    assert loss(model.logits(tokens)) == pytest.approx(clean, abs=0.1)
    zero = float(re.search(r"`mlp_out\.1`.*?\|.*?\|.*?\|\s+([\d.]+)", card)[1])
    assert loss(model.ablated_logits(tokens, "mlp_out.1")) == pytest.approx(zero, abs=0.15)
    assert model.revision[:6] in card


def test_a_killed_training_resumes_to_the_same_weights(tmp_path):
    recipe = tiny_lm.Recipe(1, 16, 2, 16, steps=40, batch_size=4)
    tiny_lm.train(recipe, tmp_path / "whole", every=10)
    process = Forked(command, "--out", str(tmp_path / "killed"), "--steps", "40", *SMALL, "--every", "10")
    deadline = time.monotonic() + 120
    while checkpoints.latest(tmp_path / "killed" / "checkpoints") is None:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    tiny_lm.train(recipe, tmp_path / "killed", every=10)
    one, other = (load_file(tmp_path / n / "model.safetensors") for n in ("whole", "killed"))
    assert one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
    with pytest.raises(checkpoints.CheckpointError, match="another recipe"):
        tiny_lm.train(tiny_lm.Recipe(1, 16, 2, 16, steps=41, batch_size=4), tmp_path / "killed")


def test_the_random_numbers_of_the_caller_are_left_alone():
    before = torch.get_rng_state()
    tiny_lm.build_model(tiny_lm.Recipe(1, 16, 2, 16))
    assert torch.equal(torch.get_rng_state(), before)
