"""A finished run as a repository of the hub: SAEs as SAELens loads them, metrics as Parquet, a card."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from frontier import compare, plot_frontiers, read, save_figure
from frontier.comparison import Comparisons
from frontier.metrics.checks import TableError
from frontier.studies.evaluation import METRICS_FILE
from frontier.wording import listed, plural
from frontier.writing import write_text
from trainers.export.runs import export_run
from trainers.piloting import not_evaluated
from trainers.publishing_card import card
from trainers.run import RunError

FIGURE, COMPARISON = "frontier.png", "comparison.json"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Publication:
    """A folder that is ready for the hub.

    Attributes
    ----------
    saes : tuple of str
        Folders of SAEs in it.
    refused : tuple of str
        SAEs that the layout cannot hold, with the reason; their metrics are published all the same.
    compared : bool
        Whether families could be compared.
    """

    folder: Path
    saes: tuple[str, ...]
    refused: tuple[str, ...]
    compared: bool


def repository_of(address: str) -> str:
    """OWNER/NAME of hf://OWNER/NAME.

    Raises
    ------
    RunError
        If it is no such address.
    """
    name = address.removeprefix("hf://").strip("/")
    if not _REPOSITORY.fullmatch(name) or name.startswith(("datasets/", "spaces/")):
        raise RunError(f"--to takes hf://OWNER/NAME of a model repository, found {address!r}")
    return name


def prepare(
    run: str | Path, out: str | Path, repository: str, licence: str, *, reference: str | None = None
) -> Publication:
    """Write the folder: SAEs, metrics, the frontier as a figure, the comparison, and the card README.md.

    Raises
    ------
    RunError
        If the run was not evaluated, `out` holds something, or no SAE can be written.
    ExportError
        If two SAEs have one run_id.
    """
    run, out = Path(run), Path(out)
    if not (run / METRICS_FILE).is_file():
        raise RunError(not_evaluated(run))
    if out.exists() and any(out.iterdir()):
        raise RunError(f"{out} is not empty; name another folder")
    table = read(run / METRICS_FILE)
    out.mkdir(parents=True, exist_ok=True)
    done = export_run(run, out)
    written, refused = list(done.places.values()), [f"{name}: {why}" for name, why in done.refused.items()]
    if not written:
        raise RunError(f"SAELens' layout can hold none of these SAEs: {refused[0]}")
    shutil.copyfile(run / METRICS_FILE, out / METRICS_FILE)
    found = _compared(table, reference)
    save_figure(plot_frontiers(table, reference=found[0].reference if found else None), out / FIGURE, "png")
    if found is not None:
        found.save(out / COMPARISON)
    write_text(out / "README.md", card(table, found, repository, licence, written, refused))
    return Publication(out, tuple(written), tuple(refused), found is not None)


def _compared(table: pd.DataFrame, reference: str | None) -> Comparisons | None:
    """The comparison, where families can be compared."""
    try:
        found = compare(table, reference)
    except (ValueError, TableError):
        if reference is not None:
            raise
        return None
    return found if len(found) else None


def upload(folder: Path, repository: str, *, private: bool = False) -> str:
    """Make the repository where it is not there, and put the folder into it; the address of the commit.

    The token is the one that `hf auth login` or HF_TOKEN gives; it is neither printed nor written.

    Raises
    ------
    RunError
        If huggingface_hub is missing, or the hub refuses.
    """
    try:
        hub: Any = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise RunError("this needs huggingface_hub: pip install 'sae-frontier[hub]'") from error
    api = hub.HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(
            folder_path=folder, repo_id=repository, commit_message="SAEs, metrics and card"
        )
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        why = f"status {status}" if status else type(error).__name__
        raise RunError(
            f"the hub did not take {repository} ({why}); `hf auth login` or HF_TOKEN gives access. {folder} "
            "is ready to be put there by hand"
        ) from None
    return str(getattr(done, "commit_url", ""))


def get(address: str, out: str | Path, only: Sequence[str] = ()) -> list[Path]:
    """Folders of SAEs (SAELens' or dictionary_learning's) from the hub, copied below `out` and tried.

    Parameters
    ----------
    address : str
        hf://OWNER/NAME or hf://OWNER/NAME/folder.
    only : sequence of str
        Folders to take, by a part of their path; all by default.

    Raises
    ------
    RunError
        If nothing is found, or it cannot be reached.
    """
    from trainers.export import LAYOUTS, LayoutError, load

    try:
        files_system: Any = importlib.import_module("huggingface_hub").HfFileSystem()
    except ImportError as error:
        raise RunError("this needs huggingface_hub: pip install 'sae-frontier[hub]'") from error
    root, out = address.removeprefix("hf://").strip("/"), Path(out)
    try:
        there = files_system.find(root, detail=True)
    except Exception as error:
        raise RunError(f"{root} cannot be reached ({type(error).__name__}); is it private?") from None
    below = {p.removeprefix(f"{root}/"): i for p, i in there.items()}
    pairs = [module.FILES for module in LAYOUTS.values()]
    folders = sorted({p.rpartition("/")[0] for p in below if any(p.endswith(f[0]) for f in pairs)})
    folders = [f for f in folders if _complete(f, below, pairs) and (not only or any(o in f for o in only))]
    if not folders:
        raise RunError(f"{root} holds no SAE of {listed(list(LAYOUTS))}{' by that name' if only else ''}")
    made = []
    for folder in folders:
        place = out.joinpath(*[p for p in folder.split("/") if p not in ("", ".", "..")])
        place.mkdir(parents=True, exist_ok=True)
        for name in {n for pair in pairs for n in pair} & _names(folder, below):
            files_system.get_file(f"{root}/{folder}/{name}".replace("//", "/"), str(place / name))
        try:
            load(place)
        except LayoutError as error:
            raise RunError(f"{folder} was copied, and cannot be loaded: {error}") from error
        made.append(place)
    return made


def _names(folder: str, files: Any) -> set[str]:
    return {p.rpartition("/")[2] for p in files if p.rpartition("/")[0] == folder}


def _complete(folder: str, files: Any, pairs: Sequence[tuple[str, ...]]) -> bool:
    return any(set(pair) <= _names(folder, files) for pair in pairs)


def summary(made: Publication) -> str:
    """What a folder holds, in a sentence."""
    left = (
        f"; {plural(len(made.refused), 'SAE')} left out ({listed(made.refused, 2)})" if made.refused else ""
    )
    return f"{plural(len(made.saes), 'SAE')}, {METRICS_FILE}, {FIGURE} and the card README.md{left}"
