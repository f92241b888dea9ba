"""What the site takes from outside docs/: notebooks, run and made into pages, and files that are linked."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
DONE = ROOT / "out" / "notebooks"
OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)")


def on_config(config: Any) -> Any:
    """The menu: notebooks and commands under their titles, pages that stand nowhere else under Guides."""
    sections = {title: value for entry in config.nav for title, value in entry.items()}
    sections["Notebooks"] = [f"notebooks/{path.stem}.md" for path in notebooks()]
    pages = sorted((ROOT / "docs" / "commands").glob("*.md"), key=lambda p: (p.stem != "index", p.stem))
    sections["Commands"] = [f"commands/{p.name}" for p in pages]
    named = {v for v in sections.values() if isinstance(v, str)}
    sections["Guides"] = sorted(p.name for p in (ROOT / "docs").glob("*.md") if p.name not in named)
    config.nav = [{title: value} for title, value in sections.items()]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Pages of the notebooks with their figures, and every file outside docs/ that a page links to."""
    for place in sorted(set(linked_outside(files))):
        files.append(File.generated(config, f"files/{place}", abs_src_path=str(ROOT / place)))
    for path in notebooks():
        body, figures = as_markdown(executed(path), path.stem)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=body))
        for name, content in figures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links out of docs/ lead to what `on_files` has added."""
    place = page.file.src_uri
    if place.startswith("notebooks/"):
        markdown = re.sub(r"\]\((\w+)\.ipynb", r"](\1.md", markdown)
        return markdown.replace("](../docs/", "](../")
    markdown = re.sub(r"\]\(\.\./notebooks/(\w+)\.ipynb", r"](notebooks/\1.md", markdown)
    markdown = markdown.replace("](../README.md", "](index.md")
    return OUTSIDE.sub(lambda m: f"](files/{m[1]}" if (ROOT / m[1]).is_file() else m[0], markdown)


def notebooks() -> list[Path]:
    """The notebooks, in order."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def linked_outside(files: Files) -> Iterator[str]:
    """Files of the repository outside docs/ that pages link to, notebooks and the README apart."""
    for file in files.documentation_pages():
        for place in OUTSIDE.findall(file.content_string):
            if (ROOT / place).is_file() and not place.endswith(".ipynb") and place != "README.md":
                yield place


def executed(path: Path) -> Any:
    """The notebook with its outputs, kept in out/ until the notebook, the code or the data change."""
    import nbformat
    from nbclient import NotebookClient

    folders = [ROOT / name for name in ("frontier", "trainers", "data", "notebooks/data")]
    parts = sorted(p for folder in folders for p in folder.rglob("*") if "__pycache__" not in p.parts)
    content = [p.read_bytes() for p in parts if p.is_file()]
    mark = hashlib.sha256(b"".join([path.read_bytes(), *content])).hexdigest()[:16]
    done = DONE / f"{path.stem}-{mark}.ipynb"
    if not done.exists():
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copytree(path.parent, f"{scratch}/notebooks")
            notebook = nbformat.read(path, as_version=4)
            place = {"metadata": {"path": f"{scratch}/notebooks"}}
            quiet = ["--IPKernelApp.log_level=ERROR"]
            client = NotebookClient(
                notebook, timeout=600, kernel_name="python3", resources=place, extra_arguments=quiet
            )
            client.execute()
        DONE.mkdir(parents=True, exist_ok=True)
        for old in DONE.glob(f"{path.stem}-*.ipynb"):
            old.unlink()
        nbformat.write(notebook, done)
    return nbformat.read(done, as_version=4)


def as_markdown(notebook: Any, name: str) -> tuple[str, dict[str, bytes]]:
    """Markdown of an executed notebook, and its figures by path beside the page."""
    from nbconvert import MarkdownExporter

    body, resources = MarkdownExporter().from_notebook_node(notebook)
    body = re.sub(r"!\[png\]\((output_\w+\.png)\)", rf"![Figure]({name}/\1)", body)
    return body, {f"{name}/{figure}": content for figure, content in resources["outputs"].items()}
