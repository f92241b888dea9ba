"""All SAEs of a run in another library's layout, with what the run knows of them: L0, context length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frontier.wording import listed, nearest
from frontier.writing import file_names
from trainers.export import ExportError, export
from trainers.export.sae_bench import refuse_unfit, write_script
from trainers.kept import KEPT
from trainers.sae_files import load_saes


@dataclass(frozen=True)
class Exported:
    """What became of the SAEs of a run, by run_id: the folder's name, or why there is none."""

    places: dict[str, str]
    refused: dict[str, str]


def export_run(folder: Path, out: Path, layout: str = "sae-lens", only: Sequence[str] = ()) -> Exported:
    """Write a folder per SAE below `out`: of all finished ones, or of these run_ids, kept ones among them.

    `layout` is one of `export`, or `sae-bench`: that of SAELens, and a script for SAEBench.

    Raises
    ------
    ExportError
        If there is no such folder, two SAEs have one run_id, or a run_id is asked for that is not there.
    """
    if not folder.is_dir():
        raise ExportError(f"there is no run in {folder}: there is no such folder")
    found = list(load_saes(folder / "saes"))
    saes = {str(s.identity["run_id"]): s for s in found}
    if len(saes) < len(found):
        raise ExportError(
            f"{folder / 'saes'} has several SAEs of one run_id; there are {listed(sorted(saes))}"
        )
    if set(only) - set(saes):
        kept = (s for place in folder.glob(f"{KEPT}/*") for s in load_saes(place))
        saes |= {s.identity["run_id"]: s for s in kept if s.identity["run_id"] in only}
    for name in only:
        if name not in saes:
            raise ExportError(f"{folder} has no SAE {name!r}{nearest(name, saes)}")
    known, done = known_of_run(folder), Exported({}, {})
    places = dict(zip(saes, file_names(saes), strict=True))
    for_bench = layout == "sae-bench"
    for name in only or saes:
        try:
            if for_bench:
                refuse_unfit(saes[name])
            export(saes[name], out / places[name], "sae-lens" if for_bench else layout, known=known.get(name))
        except ExportError as error:
            done.refused[name] = str(error)
        else:
            done.places[name] = places[name]
    if for_bench and done.places:
        write_script(out)
    return done


def known_of_run(folder: str | Path) -> dict[str, dict[str, Any]]:
    """`known` of `export` for every run_id: `l0` from metrics.parquet, `context_length` from config.toml.

    What is not there yet is left out; a run that was not evaluated has no L0.
    """
    import pandas as pd

    from trainers.config import run_config

    folder, shared = Path(folder), {}
    if (folder / "config.toml").is_file():
        length = run_config(folder).activations.context_length
        shared = {"context_length": length} if length else {}
    if not (folder / "metrics.parquet").is_file():
        return {p.parent.name: shared for p in sorted((folder / "saes").glob("*/sae.json"))}
    table = pd.read_parquet(folder / "metrics.parquet", columns=["run_id", "l0"])
    return {
        str(name): shared | ({"l0": float(l0)} if l0 == l0 else {})
        for name, l0 in zip(table["run_id"], table["l0"], strict=True)
    }
