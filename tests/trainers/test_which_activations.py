"""The snippets of docs/which_activations.md run as they are printed."""

import re
import tomllib
from pathlib import Path

from trainers.config import checked

PAGE = (Path(__file__).parents[2] / "docs" / "which_activations.md").read_text(encoding="utf-8")


def test_python_runs_as_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, {})
    out = capsys.readouterr().out
    assert "(1024, 128)" in out and "block.6" in out and (tmp_path / "runs" / "vit" / "saes").is_dir()


def test_configurations_are_such():
    for block in re.findall(r"^```toml\n(.*?)^```", PAGE, re.M | re.S):
        checked(tomllib.loads(block) | {"families": [{"architecture": "topk", "settings": [4]}]})
