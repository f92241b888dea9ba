"""The import fence: no torch and no trainers in frontier, modules import downwards only, start is quick."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import frontier

PACKAGE = Path(frontier.__file__).parent
MODULES = {
    str(p.relative_to(PACKAGE.parent).with_suffix("")).replace("/", "."): p for p in PACKAGE.rglob("*.py")
}
HEAVY = ("torch", "matplotlib", "seaborn", "statsmodels")
ORDER = (
    "metrics", "readers", "errors", "engine", "pareto", "fits", "ratios", "shared_shape", "inefficiency",
    "selection", "seeds", "comparison", "calibration", "tables", "figures", "html_report", "studies",
)  # fmt: skip
"""Folders of the package, lowest first; README names them in this order."""
UPWARD = {"metrics": {"readers"}}
"""The one door that reaches up, when it is called: a path in the place of a table is read."""


@cache
def tree(path: Path) -> ast.Module:
    """What a file says."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path, *, top_level: bool, methods: bool = True) -> set[str]:
    """Modules that a file imports; at import time only, or anywhere, TYPE_CHECKING blocks left out."""
    found: set[str] = set()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)

    def visit(nodes):
        for node in nodes:
            if isinstance(node, ast.Import):
                found.update(a.name for a in node.names)
            elif isinstance(node, ast.ImportFrom):
                parts = {f"{node.module}.{a.name}" for a in node.names}
                found.update(parts if parts <= set(MODULES) else {node.module, *parts})
            elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                visit(node.orelse)
            elif isinstance(node, ast.ClassDef) and not methods:
                visit(n for n in node.body if not isinstance(n, functions))
            elif not top_level or not isinstance(node, functions):
                visit(ast.iter_child_nodes(node))

    visit(tree(path).body)
    return {f for f in found if f}


@pytest.mark.parametrize("module", MODULES)
def test_no_torch_and_no_trainers(module):
    assert not {n.split(".")[0] for n in imports(MODULES[module], top_level=False)} & {"torch", "trainers"}


TRAINERS = sorted((PACKAGE.parent / "trainers").rglob("*.py"))


def test_files_of_tests_have_names_of_their_own():
    """Pytest collects none of two files of one name; helpers are imported by it."""
    names = [p.name for p in Path(__file__).parent.rglob("*.py") if p.name != "conftest.py"]
    assert [n for n in sorted(set(names)) if names.count(n) > 1] == []


def test_asserts_narrow_types_alone():
    """`python -O` leaves them out and changes nothing: each says that a name is not None, or callable."""
    found = [
        node.test
        for path in (*MODULES.values(), *TRAINERS)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assert)
    ]
    narrow = re.compile(r"[\w.]+ is not None|callable\(\w+\)")
    assert found and not [ast.unparse(test) for test in found if not narrow.fullmatch(ast.unparse(test))]


def test_the_trainers_meet_public_modules_alone():
    """What they take from the analysis, in full: a longer list is a decision, and stands here."""
    meant = {
        "frontier",  # its public names
        "frontier.cli",  # where its command begins
        "frontier.demo", "frontier.outputs", "frontier.terminal",  # what both commands print and write
        "frontier.progress", "frontier.results", "frontier.views", "frontier.wording", "frontier.writing",
        "frontier.figures.panels", "frontier.figures.style",
        "frontier.metrics",  # results as frames of pandas or polars
        "frontier.ratios.pairs",  # which family is the reference
        "frontier.readers.configs", "frontier.readers.opening",  # foreign configurations
        "frontier.comparison", "frontier.metrics.checks", "frontier.tables.styles",  # a card
        "frontier.readers.logged",  # names under which a run logs
        "frontier.distributions",  # a jackknife
        "frontier.places", "frontier.readers.remote",  # stores of activations at addresses
        "frontier.studies.batch_sums", "frontier.studies.evaluation", "frontier.studies.paired_frontiers",
        "frontier.studies.pruning_costs",
    }  # fmt: skip
    found = set()
    for path in TRAINERS:
        for node in ast.walk(tree(path)):
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


def folder_of(module: str) -> str:
    """The folder of `frontier` that a module stands in; its own name where it stands in none."""
    return module.split(".")[1] if module.count(".") else module


def folders_below(folder: str) -> set[str]:
    """Folders that a folder imports from, directly or through modules that stand in none.

    Imports in functions count, those in methods do not: `fit.plot()` may reach up to the figures.
    """
    seen: set[str] = set()
    ahead = [m for m in MODULES if folder_of(m) == folder]
    while ahead:
        for name in imports(MODULES[ahead.pop()], top_level=False, methods=False):
            module = name if name in MODULES else f"{name}.__init__"
            if module in MODULES and module not in seen and module != "frontier.__init__":
                seen.add(module)
                ahead += [module] if folder_of(module) not in (*ORDER, folder) else []
    return {folder_of(m) for m in seen} & {*ORDER} - {folder}


def test_every_folder_has_its_place():
    folders = {p.parent.relative_to(PACKAGE).parts[0] for p in MODULES.values() if p.parent != PACKAGE}
    assert folders <= {*ORDER}, "say in ORDER, and in README, where the new folder stands"


@pytest.mark.parametrize("folder", ORDER)
def test_folders_import_from_folders_before_them(folder):
    """What a folder imports stands before it in the order, so that there is no circle of folders."""
    assert folders_below(folder) <= {*ORDER[: ORDER.index(folder)]} | UPWARD.get(folder, set())


def test_readme_names_the_folders_in_their_order():
    text = " ".join((PACKAGE.parent / "README.md").read_text(encoding="utf-8").split())
    said = re.search(r"each imports only from those before it: (.*?)\. ", text)
    assert said and tuple(re.findall(r"`(\w+)`", said[1])) == ORDER


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
