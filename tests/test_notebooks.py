"""Every notebook runs without errors and warnings, and is kept in git as prose and calls."""

import ast
import shutil
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LONGEST_FUNCTION = 5


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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the Jupyter client, not of the notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_it_runs_without_a_warning(path, tmp_path):
    from nbclient import NotebookClient

    here = shutil.copytree(FOLDER, tmp_path / "notebooks")
    notebook = nbformat.read(here / path.name, as_version=4)
    place = {"metadata": {"path": str(here)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr", output
            shown = output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
            assert "Warning" not in shown, shown
