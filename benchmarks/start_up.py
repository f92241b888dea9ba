"""Start-up: CPU time of `import frontier` and of the commands against pandas alone; what is installed.

`python -m benchmarks.start_up` prints the table and writes `benchmarks/results/start_up.json`. Each process
is started anew in every round, all in turn; user and system time of the process are counted. `--sizes` also
installs the project, with and without `train`, into fresh environments below `.bench/` and adds up their
files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from tabulate import tabulate

from benchmarks.measuring import arguments, circumstances, environment, folder_of, ratio, write

HELP = "import sys; sys.argv = ['{}', '--help']; from {}.cli import main; main()"
COMMANDS = {
    "pass": "pass",
    "import numpy": "import numpy",
    "import pandas": "import pandas",
    "import frontier": "import frontier",
    "import frontier, every public name": "import frontier\nfor n in frontier.__all__: getattr(frontier, n)",
    "sae-frontier --help": HELP.format("sae-frontier", "frontier"),
    "sae-train --help": HELP.format("sae-train", "trainers"),
}
ANALYSIS = """
import sys, matplotlib
matplotlib.use("Agg")
import frontier
for name in frontier.__all__:
    getattr(frontier, name)
table = frontier.load_dataset("gated_gemma7b")
table = table[table["layer"] == 20]
frontier.compare(table, "baseline", errors="additive")
frontier.plot_frontiers(table)
print([m for m in ("torch", "transformers", "trainers", "pydantic") if m in sys.modules])
"""


def seconds(code: str) -> float:
    """CPU seconds of one fresh interpreter."""
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{code!r} ended with {child.returncode}")
    return used.ru_utime + used.ru_stime


def megabytes(folder: Path) -> float:
    """Size of all files below a folder."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    return round(sum(p.stat().st_size for p in files) / 1e6, 1)


def sizes() -> dict[str, Any]:
    """Installed megabytes of fresh environments; bytecode included, pip itself apart."""
    found: dict[str, Any] = {}
    for name, what in (("plain", "."), ("train", ".[train]")):
        try:
            python = environment(name, what)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            found[what] = f"skipped: {error}"
            continue
        site = next((python.parents[1] / "lib").glob("python*")) / "site-packages"
        own = sum(megabytes(site / package) for package in ("frontier", "trainers"))
        largest = {p.name: megabytes(p) for p in site.iterdir() if p.is_dir() and p.name != "pip"}
        most = sorted(largest, key=largest.__getitem__, reverse=True)[:6]
        found[what] = {
            "megabytes": round(megabytes(site) - megabytes(site / "pip"), 1), "our_packages": round(own, 1),
            "largest": {n: largest[n] for n in most},
        }  # fmt: skip
    return found


def torch_in_analysis() -> str:
    """Which modules of the trainer were loaded by a whole analysis; `[]` where none was."""
    return subprocess.run(
        [sys.executable, "-c", ANALYSIS], capture_output=True, text=True, check=True
    ).stdout.strip()


def main() -> None:
    """Measure, print, write."""
    parser = arguments(__doc__, "two rounds")
    parser.add_argument(
        "--sizes", action="store_true", help="installed sizes, from fresh environments (minutes)"
    )
    asked = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for code in COMMANDS.values():
        seconds(code)  # bytecode and file cache
    for _ in range(2 if asked.quick else 7):
        for name, code in COMMANDS.items():
            times[name].append(seconds(code))
    middle = {name: median(v) for name, v in times.items()}
    limit = 3 * middle["pass"] + middle["import pandas"]
    checks = [
        {
            "what": "import frontier / import pandas", "aim": 1.2,
            "ratio": ratio(times, "import frontier", "import pandas"),
        },
        {
            "what": "sae-frontier --help / (3 × pass + import pandas)", "aim": 1,
            "ratio": middle["sae-frontier --help"] / limit,
        },
    ]  # fmt: skip
    for check in checks:
        check["ratio"], check["met"] = round(check["ratio"], 3), check["ratio"] <= check["aim"]
    modules = torch_in_analysis()
    print(tabulate([(k, round(1e3 * v)) for k, v in middle.items()], ("process", "CPU ms")))
    print(tabulate([(c["what"], c["ratio"], c["aim"]) for c in checks], ("what", "ratio", "aim")))
    print(f"modules of the trainer loaded by an analysis: {modules}")
    folder = folder_of(asked)
    record = {
        **circumstances("numpy", "pandas", "sae-frontier"),
        "milliseconds": {k: round(1e3 * v, 1) for k, v in middle.items()}, "checks": checks,
        "trainer_modules_in_analysis": modules, "rounds": len(times["pass"]),
    }  # fmt: skip
    if asked.sizes:
        record["installed"] = sizes()
        print(record["installed"])
    elif not asked.quick and (folder / "start_up.json").exists():
        record["installed"] = json.loads((folder / "start_up.json").read_text(encoding="utf-8")).get(
            "installed"
        )
    write("start_up", record, folder)


if __name__ == "__main__":
    main()
