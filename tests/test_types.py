"""What a user's type checker sees of frontier."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CONFIG = """
[mypy]
[mypy-frontier.*]
ignore_errors = True
[mypy-cattrs.*,jinja2.*,matplotlib.*,narwhals.*,pandas.*,plotly.*,pyarrow.*,rich.*,scipy.*,typer.*]
follow_imports = skip
"""
"""Bodies of functions are not gone through, as in a package that is installed, nor are other packages."""
ROOT = Path(__file__).parent.parent
SCRIPT = """
import frontier

table = frontier.read("sweep.csv")
front = frontier.pareto_set(table)
fits = frontier.fit(front, "hill")
ratios = frontier.ratio_table(fits, reference="relu")
found = frontier.compare(table, reference="relu")
for comparison in found:
    print(comparison.sentence, comparison.verdict)
reveal_type(fits)
reveal_type(ratios)
reveal_type(found)
reveal_type(fits[0]["k"].estimate)
"""


@pytest.mark.slow
def test_a_users_script_is_checked_with_types(tmp_path, pytestconfig):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "mypy.ini").write_text(CONFIG)
    cache = getattr(pytestconfig, "cache", None)  # without pytest's own there is none to keep
    kept = cache.mkdir("mypy") if cache else tmp_path / "mypy"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(kept), "script.py"],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "MYPYPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.findall(r'Revealed type is "(?:\w+\.)*(\w+)"', done.stdout) == [
        "FrontierFits", "RatioTable", "Comparisons", "float",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_wheel_says_that_it_has_types(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert {"frontier/py.typed", "trainers/py.typed", "frontier/__init__.pyi"} <= set(archive.namelist())
