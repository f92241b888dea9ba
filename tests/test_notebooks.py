"""Every notebook runs without errors and warnings, and is kept in git as prose and calls."""

import ast
import re
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import pytest
from IPython.utils.capture import capture_output

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LONGEST_FUNCTION = 5
SMALLER = {r"steps = \d+": "steps = 40", r"tokens = 30_000": "tokens = 6_000", r'\["retina"\]': '["png"]'}
"""What is changed before a notebook is run here: shorter training, coarser pictures."""

SHARE_OF_TEXT = 6
"""Of the standard library every sixth file is read: its windows took a third of the time."""


def name(path):
    return path.stem


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def python_of(cell):
    """The Python of a cell, without magics; nothing of a cell that writes a file."""
    if cell.source.startswith("%%"):
        return ""
    return "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))


def test_all_seven_are_here():
    assert [p.stem[:2] for p in NOTEBOOKS] == [f"{n}_" for n in range(1, 8)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_it_is_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in code_cells(notebook):
        assert cell.outputs == [] and cell.execution_count is None, cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_it_holds_prose_and_calls(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(python_of(cell))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


@contextmanager
def notebook_shell(folder, monkeypatch):
    """IPython in this process, in `folder`, with the figures of notebooks; nothing of it stays behind."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        def enable_gui(self, gui=None):
            """There is no window to draw in."""

    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    for hook in ("displayhook", "excepthook"):
        monkeypatch.setattr(sys, hook, getattr(sys, hook))
    with mpl.rc_context():
        shell = Shell.instance(config=Config(HistoryManager={"enabled": False}))
        shell.run_line_magic("matplotlib", "inline")
        yield shell
    Shell.clear_instance()
    plt.switch_backend("agg")


def smaller(source):
    for what, by in SMALLER.items():
        source = re.sub(what, by, source)
    return source


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_it_runs_without_a_warning(path, tmp_path, monkeypatch):
    """Warnings are errors here, as everywhere; what else a cell complains of goes to its standard error."""
    here = shutil.copytree(FOLDER, tmp_path / "notebooks")
    if "trainers" in path.read_text(encoding="utf-8"):
        from trainers import text

        folder, files = text.standard_library_files()
        monkeypatch.setattr(text, "standard_library_files", lambda: (folder, files[::SHARE_OF_TEXT]))
    with notebook_shell(here, monkeypatch) as shell:
        for cell in code_cells(nbformat.read(here / path.name, as_version=4)):
            with capture_output() as seen:
                done = shell.run_cell(smaller(cell.source))
            done.raise_error()
            assert seen.stderr == "", seen.stderr
            shown = [seen.stdout, *(str(output.data.get("text/plain", "")) for output in seen.outputs)]
            assert "Warning" not in "".join(shown), shown
