"""The README's first example prints what the README says it prints, and its other code imports."""

import os
import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_first_example_prints_what_stands_under_it():
    code, output = re.search(r"```python\n(import frontier.*?)```\n\n```\n(.*?)```", README, re.S).groups()
    terminal = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=terminal
    )
    assert [line.rstrip() for line in done.stdout.splitlines()] == output.splitlines()


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
