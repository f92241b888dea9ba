"""The README's examples print what the README says they print, and its other code imports."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_its_examples_print_what_stands_under_them():
    examples = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", README, re.S)
    assert len(examples) == 2
    code = "\nprint()\n".join(code for code, _ in examples)
    terminal = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=terminal
    )
    printed = "\n\n".join(output.rstrip("\n") for _, output in examples)
    assert [line.rstrip() for line in done.stdout.splitlines()] == printed.splitlines()


def test_every_name_in_the_readme_exists():
    import frontier

    for name in set(re.findall(r"frontier\.([a-z_]+)\(", README)):
        assert name in frontier.__all__, name


def test_every_command_in_the_readme_exists():
    from frontier.cli import app

    commands = {c.callback.__name__ for c in app.registered_commands}
    assert set(re.findall(r"^sae-frontier (\w+)", README, re.M)) <= commands
    targets = set(re.findall(r"^(\w+):", (Path(__file__).parent.parent / "Makefile").read_text(), re.M))
    assert set(re.findall(r"make ([a-z]+)", README)) <= targets
