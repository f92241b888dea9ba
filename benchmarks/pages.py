"""The numbers of docs/after_training.md and docs/looking_inside.md, in one command.

`python -m benchmarks.pages` trains the runs of `trainers.studies` that are not below `--runs` yet, with three
seeds, then does what the pages tell of. Writes `benchmarks/results/pages.json`, a section at a time, the
figures, and the tables of the pages when all sections are there; `--sections` makes some of them again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import RESULTS, arguments, circumstances, folder_of, write
from benchmarks.page_parts import after_training, looking_inside, tables
from benchmarks.page_parts.runs import Pages
from frontier.writing import write_text
from trainers.studies.configurations import OF_PAGES

SECTIONS = after_training.SECTIONS | looking_inside.SECTIONS


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print the CPU seconds of each section, write the result."""
    parser = arguments(__doc__, "4 to 8 windows of text")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs of the studies")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    asked = parser.parse_args(given)
    folder = folder_of(asked)
    place = folder / "pages.json"
    record = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
    figures = Path("docs/figures") if folder == RESULTS else folder / "figures"
    pages = Pages(asked.runs, figures, asked.quick)
    for study in OF_PAGES:
        start = time.process_time()
        if not (asked.runs / study.__name__ / "metrics.parquet").exists():
            pages.folder(study.__name__)
            seconds = round(time.process_time() - start)
            record["training"] = record.get("training", {}) | {study.__name__: seconds}
            print(f"{study.__name__} trained: {seconds} CPU-seconds", flush=True)
            write("pages", record, folder)
    for name in asked.sections:
        start = time.process_time()
        found = SECTIONS[name](pages)
        found["cpu_seconds"] = round(time.process_time() - start)
        record |= circumstances("torch", "numpy") | {name: found}
        print(f"{name}: {found['cpu_seconds']} CPU-seconds", flush=True)
        write("pages", record, folder)
    if folder == RESULTS and set(SECTIONS) <= set(record):
        for make in (tables.after_training, tables.looking_inside):
            page = Path("docs") / f"{make.__name__}.md"
            write_text(page, tables.on_page(page.read_text(encoding="utf-8"), make(record)))


if __name__ == "__main__":
    main()
