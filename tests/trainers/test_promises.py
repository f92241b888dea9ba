"""Promises of an architecture: the seven built in keep them, and planted faults are named with their line."""

import textwrap

import pytest
import torch
from small_runs import said

from trainers.architectures import BUILT_IN, ArchitectureError, Gated, JumpReLU, ReLU, register
from trainers.promises import assure, check, skeleton

pytestmark = pytest.mark.usefixtures("as_before")
HEAD = '''\
from dataclasses import dataclass

import torch

from trainers.architectures import Architecture, Knobs, Losses, TopK, squared_error, weighted


@dataclass(frozen=True)
class Faulty(Architecture):
    """An SAE with one fault."""

    def encode(self, p, x):
        return self.pre_activations(p, x).relu()

    def loss(self, p, state, x, target, knobs):
        f = self.encode(p, x)
        x_hat = self.decode(p, f)
        total = squared_error(x_hat, target) + weighted(knobs.setting, f.sum(-1).mean(-1))
        return Losses(total, f, x_hat)
'''
DECODED = "x_hat = self.decode(p, f)"
FAULTS = [
    ("shapes", "f.sum(-1).mean(-1)", "f.sum(-1)",
     "total of one member must have shape [], has [33]", "return Losses"),
    ("shapes", "Losses(total, f, x_hat)", "Losses(total, f[..., 1:], x_hat)",
     "latents of one member [B, F] must have shape [33, 19], has [33, 18]", "return Losses"),
    ("shapes", "Losses(total, f, x_hat)", "Losses(total, f, x_hat, {'age': x})",
     "a state 'age' that `state` does not begin", "return Losses"),
    ("shapes", ".relu()", ".relu()[..., :5]", "RuntimeError", "x_hat = self.decode"),
    ("state returned", "    def loss",
     "    def state(self, size):\n        return {'n': torch.zeros(())}\n\n    def loss",
     "loss does not return state 'n'", "return Losses"),
    ("codes 0 or above, unless signed", ".relu()", ".tanh()", "signed = True in the class", "return Losses"),
    ("codes 0 or above, unless signed", "f = self.encode(p, x)", "f = self.pre_activations(p, x)",
     "a code of loss is -", "return Losses"),
    ("arguments unchanged", DECODED, DECODED + "\n        x.mul_(2)",
     "the activations is changed in place", "x.mul_"),
    ("arguments unchanged", DECODED, DECODED + "\n        p['b_enc'].data.add_(1)",
     "parameter b_enc is changed in place", "data.add_"),
    ("arguments unchanged", DECODED, DECODED + "\n        p['b_enc'] += 1",
     "a leaf Variable that requires grad", "p['b_enc'] += 1"),
    ("arguments unchanged", DECODED, DECODED + "\n        p['b_enc'].detach().numpy()[:] = 1",
     "parameter b_enc is changed in place", "return Losses"),
    ("members independent", "f.sum(-1).mean(-1)", "f.sum(-1).mean()",
     "the loss of a member in a stack differs", "return Losses"),
    ("members independent", "f = self.encode(p, x)", "f = self.encode(p, x) * (1 + 0.1 * torch.rand(()))",
     "the loss differs between two calls", "return Losses"),
    ("gradients", "squared_error(x_hat, target)", "squared_error(x_hat.detach(), target)",
     'estimated = ("W_enc",)', "return Losses"),
    ("gradients", "f = self.encode(p, x)", "f = self.encode(p, x).detach()",
     "the gradient of W_enc is 0 along", "return Losses"),
    ("no question to the device", DECODED, DECODED + " if f.mean().item() > -1 else x",
     "the step asks the device", "f.mean().item()"),
    ("no question to the device", DECODED, "f = f if (f > 0).any() else f\n        " + DECODED,
     "the step asks the device", "(f > 0).any()"),
    ("no question to the device", DECODED, "f = f * torch.ones(19)\n        " + DECODED,
     "mixes devices", "torch.ones(19)"),
    ("finite", DECODED, DECODED + "\n        if knobs.step == 3:\n            x_hat = x_hat * float('nan')",
     "NaN or infinite at step 3 (lambda = 0.1)", "float('nan')"),
    ("nothing fires, b_dec is left", "    def loss",
     "    def decode(self, p, f):\n        return super().decode(p, f) + 1\n\n    def loss",
     "differs from b_dec by 1", "super().decode(p, f) + 1"),
]  # fmt: skip


def written(path, *changes):
    """A file with the class above, changed; the class."""
    text = HEAD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    return register(f"{path}:Faulty")


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda k: k.name)
def test_the_built_in_architectures_keep_their_promises(kind):
    report = check(kind)
    assert {o.state for o in report.outcomes} == {"kept"}, report.fault


@pytest.mark.parametrize(
    "kind", [JumpReLU(penalty="target"), JumpReLU(penalty="tanh"), Gated(frozen_decoder=False), ReLU(p=0.5)]
)
def test_options_keep_them_too(kind):
    assert not check(kind).fault


def test_the_skeleton_keeps_them():
    register(skeleton.MySAE)
    assert not check(skeleton.MySAE).fault


@pytest.mark.parametrize(("promise", "old", "new", "said", "where"), FAULTS)
def test_a_fault_is_named_with_its_line(tmp_path, promise, old, new, said, where):
    path = tmp_path / "faulty.py"
    report = check(written(path, (old, new)))
    broken = report.broken
    assert broken is not None and broken.promise == promise, report.fault
    assert said in broken.found
    lines = [i for i, line in enumerate(path.read_text().splitlines(), 1) if where in line]
    assert broken.line in lines
    assert report.fault.startswith(f"{path}, line {broken.line}: Faulty breaks the promise '{promise}'")


def test_what_a_step_remembers_elsewhere_is_found(tmp_path):
    """Chance at step 5: neither stack nor single call sees it, a resumed run does."""
    cls = written(
        tmp_path / "faulty.py",
        (
            "x_hat = self.decode(p, f)",
            "x_hat = self.decode(p, f * (1 + 0.01 * (knobs.step == 5) * torch.rand(())))",
        ),
    )
    assert check(cls).broken.promise == "resumed bit for bit"


def test_a_parameter_in_the_unit_of_the_input_has_to_be_named(tmp_path):
    start = (
        "    def start(self, d_in, d_out, size, means, seed):\n"
        "        floor = {'floor': torch.full((size,), 0.1)}\n"
        "        return super().start(d_in, d_out, size, means, seed) | floor\n\n"
    )
    change = (
        "return self.pre_activations(p, x).relu()",
        "return (self.pre_activations(p, x) - p['floor'][..., None, :]).relu()",
    )
    cls = written(tmp_path / "faulty.py", ("    def encode", start + "    def encode"), change)
    assert check(cls).broken.promise == "input scale folds"
    assert "now it is ('b_enc',)" in check(cls).broken.found
    cls = written(
        tmp_path / "faulty.py",
        ("    def encode", "    input_units = ('b_enc', 'floor')\n\n" + start + "    def encode"), change,
    )  # fmt: skip
    assert not check(cls).fault


def test_codes_below_0_are_for_classes_that_say_so(tmp_path):
    """In `encode` alone they are found too; a class that says `signed` keeps its promises with them."""
    linear = ("self.pre_activations(p, x).relu()", "self.pre_activations(p, x)")
    alone = ("f = self.encode(p, x)", "f = self.encode(p, x).relu()")
    broken = check(written(tmp_path / "faulty.py", linear, alone)).broken
    assert broken.promise == "codes 0 or above, unless signed"
    assert broken.found.startswith("a code of encode is -")
    sizes, said = ("f.sum(-1)", "f.abs().sum(-1)"), ("    def encode", "    signed = True\n\n    def encode")
    assert not check(written(tmp_path / "faulty.py", linear, sizes, said)).fault


def test_state_that_comes_back_at_some_step_is_returned(tmp_path):
    begun = (
        "    def loss", "    def state(self, size):\n        return {'n': torch.zeros(())}\n\n    def loss",
    )  # fmt: skip
    after = (
        "Losses(total, f, x_hat)",
        "Losses(total, f, x_hat, {'n': state['n'] + 1} if knobs.step % 5 == 4 else {})",
    )  # fmt: skip
    report = check(written(tmp_path / "faulty.py", begun, after))
    assert not report.fault


def test_the_command_says_a_broken_promise_once(tmp_path, monkeypatch, capsys):
    written(tmp_path / "faulty.py", ("f.sum(-1).mean(-1)", "f.sum(-1)"))
    code, out, err = said(monkeypatch, capsys, "check", tmp_path / "faulty.py")
    assert code == 2
    assert (out.count("BROKEN"), out.count("must have shape"), err.count("must have shape")) == (1, 0, 1)


def test_steps_alike_is_checked_where_it_is_said(tmp_path):
    ramp = ("weighted(knobs.setting,", "weighted(knobs.setting * (1 + 0.1 * knobs.step),")
    assert not check(written(tmp_path / "faulty.py", ramp)).fault
    said = written(
        tmp_path / "faulty.py", ramp, ("    def encode", "    steps_alike = True\n\n    def encode")
    )
    assert check(said).broken.promise == "steps alike"


def test_a_broken_class_is_not_trained(tmp_path):
    kind = written(tmp_path / "faulty.py", ("f.sum(-1).mean(-1)", "f.sum(-1)"))
    with pytest.raises(ArchitectureError, match=r"faulty.py, line \d+: Faulty breaks the promise 'shapes'"):
        assure(kind())


def test_the_lines_of_a_class_typed_into_a_shell():
    """It has no file; the cell has a name and lines."""
    space = {"__name__": "__cell__"}
    exec(compile(textwrap.dedent(HEAD), "<cell 7>", "exec"), space)  # a notebook does this
    report = check(space["Faulty"])
    assert report.file == "<cell 7>"
    assert report.outcomes[0].state == "kept"


def test_no_check_leaves_a_trace():
    import sys

    before = sys.gettrace()
    torch.manual_seed(3)
    first = torch.rand(())
    torch.manual_seed(3)
    check(ReLU)
    assert torch.equal(torch.rand(()), first)
    assert sys.gettrace() is before
