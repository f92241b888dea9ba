"""The command that a run ends with works on that run."""

import shlex

import numpy as np
import pandas as pd
import pytest
from commands import run_main, sae_frontier

import frontier
from trainers.cli import main, next_step


def table(families, points):
    x = np.geomspace(0.005, 0.2, points)
    noise = 1 + 0.02 * np.cos(np.arange(points))
    return pd.DataFrame(
        {"family": name, "architecture": name, "l0": 1 / a, "loss_recovered": 1 - b}
        for i, name in enumerate(families)
        for a, b in zip(x, frontier.hill(x / (1 + i), 0.4, 1.0) * noise, strict=True)
    )


@pytest.mark.parametrize(
    ("families", "points", "command"),
    [
        (("relu", "topk"), 6, "compare"),
        (("gated", "topk"), 6, "compare"),  # no usual reference
        (("topk",), 6, "fit"),
        (("relu", "topk"), 2, "pareto"),  # too few for a curve
    ],
)
def test_the_command_works_on_the_run(tmp_path, families, points, command):
    path = tmp_path / "a run" / "metrics.parquet"
    path.parent.mkdir()
    made = table(families, points)
    made.to_parquet(path)
    said = next_step(frontier.metrics_table(made), path)
    words = shlex.split(said.split("`")[1])
    assert words[:2] == ["sae-frontier", command]
    done = sae_frontier(*words[1:])
    assert done.returncode == 0, done.stderr


def test_no_escape_sequence_of_an_argument_reaches_the_terminal(tmp_path):
    escape = "\x1b[31m"
    for arguments in (
        ["run", f"a{escape}.toml", "--out", "x"],
        [f"tra{escape}in"],
        ["status", f"--fo{escape}"],
    ):
        done = run_main(main, "sae-train", *arguments)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "\x1b" not in done.stderr
