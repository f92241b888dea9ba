"""What a run survives: faults tried, survived and lost. `python -m benchmarks.torture [--quick]`.

A fault is survived if nothing wrong is taken for right: a run that was stopped or robbed goes on to the same
weights, bit for bit; a damaged file is refused, or made again. Kills and limits are real, in processes of
their own; damage is done to copies of a finished run. Writes `benchmarks/results/torture.json` and the table
in docs/reliability.md.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tabulate import tabulate

from benchmarks.measuring import arguments, between, circumstances, folder_of, write
from benchmarks.torture_bench import Bench, ended, refused
from frontier.writing import DRAFT, file_name, write_sums, write_text
from trainers import checkpoints, load_language_model, load_saes
from trainers.activations import activation_stream
from trainers.cli import Format
from trainers.cli import export as write_exports
from trainers.export import LayoutError, export, load
from trainers.sae_files import SAEFileError, load_sae

PAGE = Path("docs/reliability.md")
NAMES = (
    "../../escape",
    "/etc/escape",
    "a/b",
    "..",
    "x\0y",
    "n" * 300,
    "\x1b[2J",
    "CON:",
    "ü" * 150,
    ".hidden",
)


def killed(bench: Bench) -> bool:
    """SIGKILL at a random moment, twice, then resume."""
    folder = bench.fresh()
    for _ in range(2):
        words = (
            ("resume", folder)
            if (folder / "config.toml").exists()
            else ("run", bench.config, "--out", folder)
        )
        process = bench.command(*words)
        time.sleep(bench.draw.uniform(0.3, 1.0) * bench.seconds)
        process.kill()
        ended(process)
    return bench.goes_on(folder)


def terminated(bench: Bench) -> bool:
    """SIGTERM or SIGINT at a random moment: the exit code that shells expect, then resume."""
    folder, number = bench.fresh(), bench.draw.choice([signal.SIGTERM, signal.SIGINT])
    process = bench.command("run", bench.config, "--out", folder)
    time.sleep(bench.draw.uniform(0.3, 1.0) * bench.seconds)
    process.send_signal(number)
    code = ended(process)
    return code in (0, 128 + number, -number) and bench.goes_on(folder)  # -number: Python had not begun


def short_of_room(bench: Bench) -> bool:
    """A random limit on the size of files: one line that names a file, then resume without it."""
    folder = bench.fresh()
    process = bench.command(
        "run", bench.config, "--out", folder, limit=int(10 ** bench.draw.uniform(2.5, 5.3))
    )
    said = process.communicate()[1]
    fine = process.returncode == 2 and said.count("\n") == 1 and "File too large" in said
    return (fine or process.returncode == 0) and bench.goes_on(folder)


def in_a_checkpoint(bench: Bench, truncate: bool) -> bool:
    """Damage to the newest checkpoint: it is refused, and the one before gives the same bits."""
    folder = bench.copy()
    newest = checkpoints.complete(folder / "checkpoints")[-1]
    bench.spoilt(bench.draw.choice(sorted(newest.iterdir())), truncate)
    if not refused(lambda: checkpoints.load(newest), checkpoints.CheckpointError):
        return False
    return bench.draw.random() > 0.1 or bench.trained_on(folder)  # every tenth is trained to its end


def in_an_sae(bench: Bench, truncate: bool) -> bool:
    """Damage to a trained SAE."""
    folder = shutil.copytree(next((bench.run / "saes").iterdir()), bench.fresh())
    bench.spoilt(bench.draw.choice(sorted(folder.iterdir())), truncate)
    return refused(lambda: load_sae(folder), SAEFileError)


def in_an_export(bench: Bench, truncate: bool) -> bool:
    """Damage to an exported SAE, in either layout."""
    sae = next(load_saes(bench.run / "saes"))
    folder = export(sae, bench.fresh(), bench.draw.choice(["sae-lens", "dictionary-learning"]))
    bench.spoilt(bench.draw.choice(sorted(folder.iterdir())), truncate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return refused(lambda: load(folder), LayoutError)


def in_a_cache(bench: Bench, truncate: bool) -> bool:
    """Damage to cached activations: they are the same, as what is damaged is made again."""
    model, cache = load_language_model(), bench.fresh()
    given: dict[str, Any] = {"tokens": 3000, "batch_size": 256, "buffer_tokens": 1024, "cache": str(cache)}
    stream = activation_stream(model, "mlp_out.-1", progress=False, **given)
    first = [next(stream).input for _ in range(8)]
    bench.spoilt(bench.draw.choice(sorted(cache.rglob("*.safetensors"))), truncate)
    again = activation_stream(model, "mlp_out.-1", progress=False, **given)
    return all(torch.equal(next(again).input, x) for x in first)


def robbed(bench: Bench) -> bool:
    """A configuration, log or SAE that is lost, empty or full of zeros, and drafts of killed writers."""
    folder = bench.copy()
    one = next(iter(bench.weights))
    shutil.rmtree(checkpoints.complete(folder / "checkpoints")[-1])
    for name in (
        "config.toml",
        "log.jsonl",
        "environment.json",
        f"saes/{one}/sae.json",
    ):
        content = bench.draw.choice([None, b"", b"\0" * 200, b"keep"])
        if content is None:
            (folder / name).unlink()
        elif content != b"keep":
            (folder / name).write_bytes(content)
    for place in (folder, folder / "saes", folder / "checkpoints"):
        (place / f"{DRAFT}0").mkdir()
        (place / f"{DRAFT}1").write_bytes(b"half of")
    return bench.goes_on(folder)


def misnamed(bench: Bench) -> bool:
    """An SAE and a row of metrics whose name is a place outside: in every layout, exports stay inside."""
    folder, name = bench.copy(), bench.draw.choice(NAMES)
    one = next((folder / "saes").iterdir())
    about = json.loads((one / "sae.json").read_text(encoding="utf-8"))
    about["identity"]["run_id"] = name
    (one / "sae.json").write_text(json.dumps(about), encoding="utf-8")
    write_sums(one, ["sae.json", "sae.safetensors"])
    metrics = pd.read_parquet(folder / "metrics.parquet")
    metrics.loc[0, "run_id"] = name
    metrics.to_parquet(folder / "metrics.parquet", index=False)
    return all([stays_inside(bench, folder, layout) for layout in Format])


def stays_inside(bench: Bench, folder: Path, layout: Format) -> bool:
    """Whether an export of a run makes one entry per SAE, under plain names, and nothing elsewhere."""
    out, before = bench.fresh(), {*bench.place.iterdir()}
    with contextlib.redirect_stdout(io.StringIO()):
        write_exports(folder, out, layout)
    place = out / "core" if layout is Format.sae_bench_results else out
    made = [p.name.removesuffix("_eval_results.json") for p in place.iterdir() if p.suffix != ".py"]
    stray = {*bench.place.iterdir()} - before - {out} | {*out.iterdir()} - {place, *place.iterdir()}
    return not stray and all(file_name(n) == n for n in made) and len(made) == len(bench.weights)


FAULTS: dict[str, tuple[Callable[[Bench], bool], int, int]] = {
    "SIGKILL at two random moments, then resume": (killed, 8, 1),
    "SIGTERM or SIGINT at a random moment, then resume": (terminated, 6, 1),
    "files limited to a random size (0.3 to 200 kB), then resume": (short_of_room, 6, 1),
    "configuration, log, SAE lost or zeroed, stale drafts, then resume": (robbed, 6, 1),
    "one bit of a checkpoint flipped": (lambda b: in_a_checkpoint(b, False), 100, 5),
    "a file of a checkpoint cut short": (lambda b: in_a_checkpoint(b, True), 50, 5),
    "one bit of an SAE flipped": (lambda b: in_an_sae(b, False), 200, 20),
    "a file of an SAE cut short": (lambda b: in_an_sae(b, True), 100, 10),
    "one bit of an exported SAE flipped": (lambda b: in_an_export(b, False), 200, 20),
    "a file of an exported SAE cut short": (lambda b: in_an_export(b, True), 100, 10),
    "one bit of cached activations flipped": (lambda b: in_a_cache(b, False), 20, 2),
    "a file of cached activations cut short": (lambda b: in_a_cache(b, True), 10, 1),
    "a name that points outside, exported": (misnamed, 20, 3),
}
"""What is tried, and how often: at length, and with `--quick`."""


def tried(place: Path, quick: bool = False, share: float = 1.0) -> list[dict[str, Any]]:
    """Every fault as often as it says, or a share of that; what was survived, and what was lost."""
    bench, rows = Bench(place), []
    for name, (once, often, seldom) in FAULTS.items():
        count = seldom if quick else max(1, round(share * often))
        survived = sum(once(bench) for _ in range(count))
        rows.append({"fault": name, "tried": count, "survived": survived, "lost": count - survived})
        print(f"{name}: {survived} of {count}", flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The faults as a Markdown table."""
    return tabulate(rows, headers="keys", tablefmt="github") + "\n"


def on_page(text: str, rows: list[dict[str, Any]]) -> str:
    """A page with its table made anew."""
    return between(text, "table", table(rows))


def main() -> None:
    """Try everything, print the table, write the result and the page."""
    parser = arguments(__doc__, "few tries of each fault")
    parser.add_argument("--share", type=float, default=1.0, help="share of the tries (a busy machine)")
    asked = parser.parse_args()
    start = os.times()
    with tempfile.TemporaryDirectory() as place:
        rows = tried(Path(place), asked.quick, asked.share)
    spent = sum(os.times()[:4]) - sum(start[:4])
    print(f"\n{table(rows)}\n{spent:.0f} CPU-seconds")
    record = circumstances("torch", "safetensors", "numpy") | {"cpu_seconds": round(spent), "faults": rows}
    write("torture", record, folder_of(asked))
    if not asked.quick:
        write_text(PAGE, on_page(PAGE.read_text(encoding="utf-8"), rows))
    if any(row["lost"] for row in rows):
        sys.exit("something was lost")


if __name__ == "__main__":
    main()
