"""All SAEs of a run in another library's layout, with what the run knows of them: L0, context length."""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from frontier.wording import listed, nearest
from frontier.writing import file_names
from trainers.export import LAYOUTS, ExportError, export
from trainers.export.sae_bench import refuse_unfit, write_script
from trainers.kept import KEPT
from trainers.sae import SAE
from trainers.sae_files import load_saes


@dataclass(frozen=True)
class Exported:
    """What became of the SAEs of a run, by run_id: the folder's name, or why there is none."""

    places: dict[str, str]
    refused: dict[str, str]

    @property
    def why(self) -> str:
        """What was refused, each reason once with the SAEs that it is said of."""
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.refused.items():
            by_reason.setdefault(reason, []).append(name)
        return "; ".join(
            f"{listed(names, 4)} {'was' if len(names) == 1 else 'were'} not written: {reason}"
            for reason, names in by_reason.items()
        )


def export_run(folder: Path, out: Path, layout: str = "sae-lens", only: Sequence[str] = ()) -> Exported:
    """Write a folder per SAE below `out`: of all finished ones, or of these run_ids, kept ones among them.

    `layout` is one of `export`, or `sae-bench`: that of SAELens, and a script for SAEBench.

    Raises
    ------
    ExportError
        If there is no such folder, two SAEs have one run_id, a run_id is asked for that is not there, or
        `out` holds an SAE that this export would not write: another of its name, or one of another run.
    """
    if not folder.is_dir():
        raise ExportError(f"there is no run in {folder}: there is no such folder")
    found = list(load_saes(folder / "saes"))
    saes = {str(s.identity["run_id"]): s for s in found}
    if len(saes) < len(found):
        raise ExportError(
            f"{folder / 'saes'} has several SAEs of one run_id; there are {listed(sorted(saes))}"
        )
    asked, there = list(only or saes), _exported(out)
    if set(asked) - set(saes) or there - set(file_names(saes)):
        kept = (s for place in folder.glob(f"{KEPT}/*") for s in load_saes(place))
        wanted = {*asked, *there}
        saes |= {s.identity["run_id"]: s for s in kept if s.identity["run_id"] in wanted}
    for name in only:
        if name not in saes:
            raise ExportError(f"{folder} has no SAE {name!r}{nearest(name, saes)}")
    known, done = known_of_run(folder), Exported({}, {})
    places = dict(zip(saes, file_names(saes), strict=True))
    for_bench = layout == "sae-bench"
    own = "sae-lens" if for_bench else layout
    same = {
        n for n, place in places.items() if place in there and _is_in(out / place, saes[n], own, known.get(n))
    }
    if others := sorted(there - {places[name] for name in same}):
        raise ExportError(
            f"{out} holds SAEs of another run, layout or evaluation: {listed(others, 4)}; nothing was "
            "written. Name another folder by --out, or remove these"
        )
    for name in asked:
        try:
            if for_bench:
                refuse_unfit(saes[name])
            if name not in same:
                export(saes[name], out / places[name], own, known=known.get(name))
        except ExportError as error:
            done.refused[name] = str(error)
        else:
            done.places[name] = places[name]
    if for_bench and done.places:
        write_script(out)
    return done


def _exported(out: Path) -> set[str]:
    """Folders of exported SAEs below a folder."""
    files = [module.FILES for module in LAYOUTS.values()]
    return {
        place.name
        for place in (out.iterdir() if out.is_dir() else ())
        if any(all((place / name).is_file() for name in both) for both in files)
    }


def _is_in(place: Path, sae: SAE, layout: str, known: dict[str, Any] | None) -> bool:
    """Whether a folder holds this SAE as it would be written now, byte by byte."""
    with TemporaryDirectory(prefix=".", dir=place.parent) as draft:
        try:
            fresh = export(sae, Path(draft) / place.name, layout, known=known)
        except ExportError:
            return False
        names = [p.name for p in fresh.iterdir()]
        return not any(filecmp.cmpfiles(fresh, place, names, shallow=False)[1:])


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
