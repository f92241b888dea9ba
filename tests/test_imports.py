"""The import fence: no torch and no trainers in frontier, modules import downwards only, start is quick."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import frontier

PACKAGE = Path(frontier.__file__).parent
MODULES = {
    str(p.relative_to(PACKAGE.parent).with_suffix("")).replace("/", "."): p for p in PACKAGE.rglob("*.py")
}
HEAVY = ("torch", "matplotlib", "seaborn", "statsmodels")


def imports(path: Path, *, top_level: bool) -> set[str]:
    """Modules that a file imports; at import time only, or anywhere, TYPE_CHECKING blocks left out."""
    found: set[str] = set()

    def visit(nodes):
        for node in nodes:
            if isinstance(node, ast.Import):
                found.update(a.name for a in node.names)
            elif isinstance(node, ast.ImportFrom):
                parts = {f"{node.module}.{a.name}" for a in node.names}
                found.update(parts if parts <= set(MODULES) else {node.module, *parts})
            elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                visit(node.orelse)
            elif not top_level or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                visit(ast.iter_child_nodes(node))

    visit(ast.parse(path.read_text(encoding="utf-8")).body)
    return {f for f in found if f}


@pytest.mark.parametrize("module", MODULES)
def test_no_torch_and_no_trainers(module):
    assert not {n.split(".")[0] for n in imports(MODULES[module], top_level=False)} & {"torch", "trainers"}


def test_the_trainers_meet_public_modules_alone():
    """What they take from the analysis, in full: a longer list is a decision, and stands here."""
    meant = {
        "frontier",  # its public names
        "frontier.demo", "frontier.outputs", "frontier.terminal",  # what both commands print and write
        "frontier.progress", "frontier.results", "frontier.views", "frontier.wording", "frontier.writing",
        "frontier.figures.panels", "frontier.figures.style",
        "frontier.ratios.pairs",  # which family is the reference
        "frontier.readers.configs", "frontier.readers.opening",  # foreign configurations
        "frontier.studies.batch_sums", "frontier.studies.evaluation", "frontier.studies.paired_frontiers",
        "frontier.studies.pruning_costs",
    }  # fmt: skip
    found = set()
    for path in (PACKAGE.parent / "trainers").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "frontier":
                found |= {f"frontier.{a.name}" for a in node.names} & set(MODULES) or {node.module}
                assert not [a.name for a in node.names if a.name.startswith("_") and a.name != "__version__"]
            elif isinstance(node, ast.Import):
                found |= {a.name for a in node.names if a.name.split(".")[0] == "frontier"}
    assert found == meant
    assert not [name for name in meant if "._" in name]


def test_modules_import_one_way():
    """The imports made at import time have no cycle, so the modules have an order."""
    graph = {
        m.removesuffix(".__init__"): {
            n for n in imports(p, top_level=True) if n in MODULES or f"{n}.__init__" in MODULES
        }
        for m, p in MODULES.items()
    }
    graph = {m: {n for n in names if n not in ("frontier", m)} for m, names in graph.items()}
    done: set[str] = set()
    while len(done) < len(graph):
        ready = {m for m, names in graph.items() if m not in done and names <= done}
        assert ready, f"import cycle among {sorted(set(graph) - done)}"
        done |= ready


def test_only_views_import_drawing_at_import_time():
    drawing = {"frontier.figures", "frontier.demo", "frontier.outputs"}
    for module, path in MODULES.items():
        if "figure" not in module and module not in drawing:
            found = {n.split(".")[0] for n in imports(path, top_level=True)}
            assert not found & set(HEAVY), module


@pytest.mark.parametrize(
    "statement",
    [
        "import frontier",
        "import frontier; frontier.read; frontier.fit; frontier.pareto_set; "
        "frontier.ratio_table; frontier.compare",
    ],
)
def test_nothing_heavy_is_loaded(statement):
    code = f"{statement}; import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_loads():
    for name in frontier.__all__:
        assert getattr(frontier, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        frontier.fitt  # noqa: B018


def test_public_names_are_documented():
    for name in frontier.__all__:
        value = getattr(frontier, name)
        if callable(value):
            assert value.__doc__ and len(value.__doc__) > 20, name
