"""The real packages, each in an environment of its own below `.interop` (`make interop` makes them).

Ours to theirs: every example is exported, loaded by the package, and its reconstructions compared with
ours to 1e-5. Theirs to ours: the package saves SAEs of each of its classes, `load` reads them, and the
reconstructions are compared. With SAE_FRONTIER_INTEROP set to a file, versions and errors are written there.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from export_examples import ONLY_SAE_LENS, SKIPPING, SQUARE, TRANSCODERS, decided, example
from safetensors.torch import load_file, save_file

from trainers.export import export, load

pytestmark = [pytest.mark.interop, pytest.mark.slow]

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".interop"
LAYOUTS = ("sae-lens", "dictionary-learning")
TOLERANCE = 1e-5
D, D_OUT, SIZE, TOKENS = 64, 48, 256, 512


@pytest.fixture(scope="module")
def record():
    """What was measured, by package; written at the end."""
    found = {}
    yield found
    if path := os.environ.get("SAE_FRONTIER_INTEROP"):
        Path(path).write_text(json.dumps(found, indent=2) + "\n")


@pytest.fixture(scope="module", params=LAYOUTS)
def exchange(request, tmp_path_factory, record):
    """The layout, our SAEs, and the folder after the package has worked in it."""
    layout = request.param
    python = ENVIRONMENTS / layout / "bin" / "python"
    assert python.exists(), f"{python} is missing: run `make interop`"
    folder = tmp_path_factory.mktemp(layout)
    lens = layout == "sae-lens"
    square = SQUARE | (ONLY_SAE_LENS if lens else {})
    ours = {name: example(made, name, D, D, SIZE) for name, made in square.items()}
    width = D_OUT if lens else D  # dictionary_learning has one width
    transcoders = TRANSCODERS | (SKIPPING if lens else {})
    ours |= {name: example(made, name, D, width, SIZE) for name, made in transcoders.items()}
    random = torch.Generator().manual_seed(7)
    inputs = {}
    for name, sae in ours.items():
        export(sae, folder / "ours" / name, layout)
        inputs[name] = decided(sae, torch.randn(TOKENS, D, generator=random)).contiguous()
    save_file(inputs, folder / "inputs.safetensors")
    script = HERE / f"in_{layout.replace('-', '_')}.py"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, script, folder], capture_output=True, text=True, check=False, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.strip().splitlines()[-1])
    record[layout] = {"versions": said["versions"], "ours_to_theirs": {}, "theirs_to_ours": {}}
    return layout, ours, inputs, folder, said["classes"], record[layout]


def test_the_package_reconstructs_the_same(exchange):
    _, ours, inputs, folder, classes, measured = exchange
    theirs = load_file(folder / "from_ours.safetensors")
    assert set(theirs) == set(ours)
    for name, sae in ours.items():
        assert len(inputs[name]) > TOKENS / 2
        error = float((theirs[name] - sae(inputs[name])).abs().max())
        measured["ours_to_theirs"][name] = {
            "class": classes[name], "tokens": len(inputs[name]), "largest_error": error,
            "largest_value": float(theirs[name].abs().max()),
        }  # fmt: skip
    worst = {
        n: m["largest_error"] for n, m in measured["ours_to_theirs"].items() if m["largest_error"] > TOLERANCE
    }
    assert not worst


def test_we_reconstruct_the_same(exchange):
    _, _, _, folder, _, measured = exchange
    theirs = load_file(folder / "from_theirs.safetensors")
    x = theirs.pop("x")
    assert {p.name for p in (folder / "theirs").iterdir()} == set(theirs)
    for name, wanted in theirs.items():
        sae = load(folder / "theirs" / name)
        keep = decided(sae, x)
        rows = (x[:, None] == keep[None]).all(-1).any(1)
        assert rows.sum() > len(x) / 2
        error = float((sae(x) - wanted)[rows].abs().max())
        measured["theirs_to_ours"][name] = {
            "architecture": sae.identity["architecture"], "site": sae.identity.get("site"),
            "largest_error": error,
        }  # fmt: skip
    worst = {
        n: m["largest_error"] for n, m in measured["theirs_to_ours"].items() if m["largest_error"] > TOLERANCE
    }
    assert not worst
