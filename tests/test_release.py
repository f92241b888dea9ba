"""What is released: a wheel and an archive of sources, installed where nothing else of this project is."""

import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import frontier

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The archive of sources of this checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def clean(wheel, tmp_path_factory):
    """A Python of its own with the wheel in it; the dependencies are those of the tests, looked up last."""
    folder = tmp_path_factory.mktemp("clean") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
    ]
    subprocess.run([*install, wheel], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder, packages


def ran(clean, command, *words):
    """What a command of the clean environment did, outside of the checkout."""
    folder, _ = clean
    return subprocess.run(
        [folder / "bin" / command, *words], cwd=folder, capture_output=True, text=True, env={"COLUMNS": "400"}
    )


def test_the_wheel_has_two_packages_and_nothing_beside(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {n.partition("/")[0] for n in names} == {
        "frontier", "trainers", f"sae_frontier-{frontier.__version__}.dist-info",
    }  # fmt: skip
    assert {
        "frontier/py.typed",
        "trainers/py.typed",
        "frontier/__init__.pyi",
        "frontier/references.bib",
    } <= set(names)
    assert {"frontier/data/gated_gemma7b.csv", "frontier/data/tiny_lm/model.safetensors"} <= set(names)
    assert not [n for n in names if Path(n).name.startswith("test_") or n.endswith((".pyc", ".ipynb"))]


def test_the_sources_build_the_same_wheel(sources, wheel, tmp_path):
    with tarfile.open(sources) as archive:
        archive.extractall(tmp_path, filter="data")
    (top,) = tmp_path.iterdir()
    assert {p.name for p in top.iterdir()} == {
        "frontier", "trainers", "data", "tests", "benchmarks", "conftest.py", "README.md", "CHANGELOG.md",
        "LICENSE", "Makefile", "CITATION.cff", "pyproject.toml", "PKG-INFO", ".gitignore",
    }  # fmt: skip
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=top, check=True, capture_output=True)
    (again,) = (tmp_path / "dist").glob("*.whl")
    one, two = (zipfile.ZipFile(w) for w in (wheel, again))
    assert {i.filename: i.CRC for i in one.infolist()} == {i.filename: i.CRC for i in two.infolist()}


def test_commands_types_and_data_are_there(clean):
    for command in ("sae-frontier", "sae-train"):
        done = ran(clean, command, "--version")
        assert (done.returncode, done.stdout) == (0, f"{command} {frontier.__version__}\n"), done.stderr
    code = (
        "import frontier, trainers, importlib.metadata as m; print(frontier.__file__); "
        "print(m.version('sae-frontier'), len(frontier.load_dataset('gated_gemma7b')), "
        "len(frontier.cite().bibtex) > 50); "
        "from trainers.language_models import load_language_model; print(load_language_model('tiny_lm').name)"
    )
    done = ran(clean, "python", "-c", code)
    assert done.returncode == 0, done.stderr
    place, numbers, model = done.stdout.splitlines()
    assert Path(place).is_relative_to(clean[1])
    assert (numbers, model) == (f"{frontier.__version__} 176 True", "tiny_lm")


def test_demo(clean):
    """As it is installed: what it says, and the files that it leaves."""
    done = ran(clean, "sae-frontier", "demo", "--out", "out")
    assert done.returncode == 0, done.stderr
    for text in ("6.28", "1.49", "baseline row", "L0 321", "2.25 to 2.78", "cross", "beats it", "wrote"):
        assert text in done.stdout, text
    assert {
        "frontier.png", "frontier.pdf", "fits.png", "fits_log.png", "ratios.tex", "ratios.csv", "fits.csv",
        "comparison.json", "relative_potency.pdf", "verdicts.csv",
    } <= {p.name for p in (clean[0] / "out").iterdir()}  # fmt: skip


def test_another_projects_frontier_is_named(clean):
    _, packages = clean
    init = packages / "frontier" / "__init__.py"
    ours = init.read_text(encoding="utf-8")
    init.write_text('__version__ = "3.0"\nraise RuntimeError("not to be run")\n', encoding="utf-8")
    try:
        for command in ("sae-frontier", "sae-train"):
            done = ran(clean, command, "--version")
            assert done.returncode == 2 and done.stdout == ""
            assert len(done.stderr.splitlines()) == 1 and "is another project's" in done.stderr
            assert "pip uninstall frontier" in done.stderr and str(packages) in done.stderr
    finally:
        init.write_text(ours, encoding="utf-8")


def test_one_version_everywhere_and_each_can_be_cited():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d)\)$", changes, re.M)
    assert len(versions) == len(re.findall(r"^## ", changes, re.M)) >= 2
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (
        versions[0] == (frontier.__version__, str(cited["date-released"]))
        and cited["version"] == versions[0][0]
    )
    assert f'version = "{frontier.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for version, day in versions:
        assert f"The SAE Frontier authors ({day[:4]}). SAE Frontier, version {version}." in changes


def test_the_readme_tells_the_two_frontiers_apart():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert "`frontier` on PyPI is another project" in readme and "pip install sae-frontier" in readme
