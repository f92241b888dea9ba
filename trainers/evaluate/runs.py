"""A finished run evaluated: its SAEs, the held-out text, and the rows of the metrics table."""

from __future__ import annotations

import shutil
from dataclasses import replace
from math import gcd
from pathlib import Path

import pandas as pd
from torch import Tensor

from frontier.studies.evaluation import METRICS_FILE, joined
from frontier.wording import listed
from frontier.writing import remove_drafts
from trainers import ranks, sharding
from trainers.activations.stored import StoredActivations
from trainers.config import RunConfig, run_config
from trainers.config_members import members
from trainers.evaluate import Evaluation, evaluate
from trainers.exclusions import leave_out
from trainers.held_out import check_same_text, read_held_out
from trainers.kept import kept_folders
from trainers.loggers import log_evaluation
from trainers.origin import Origin, change_of, origin_of, own_origin, recorded
from trainers.precision import prepare, with_formats
from trainers.promises.lines import own_fault
from trainers.run import RunError, chosen_device
from trainers.sae import SAE
from trainers.sae_files import SAEFileError, load_sae, run_id_of, sae_folders

ORDER = ["family", "dictionary_size", "learning_rate", "sparsity_setting", "seed", "tokens_trained"]
"""Of the rows: numbers as numbers."""


def evaluate_run(folder: str | Path, *, model: Origin | None = None, progress: bool = True) -> pd.DataFrame:
    """Every metric of every SAE below `folder`, written there as `metrics.parquet` with its companions.

    Raises
    ------
    RunError
        If the folder holds no finished run.
    """
    folder = Path(folder)
    config = run_config(folder)
    device = chosen_device(config.model.device)
    config = with_formats(config, device)
    places = trained_places(folder, config)
    shards = gcd(config.training.shards, ranks.world_size())
    sharding.check(shards, (), {f.kind for f in config.families})
    mesh = sharding.mesh_of(shards, device)
    mine = [load_sae(place, mesh.shards) for place in mesh.mine(places)]
    if model is None:
        prepare(device, config.training.precision)
        model = origin_of(config, device)
    own_origin(model)
    check_model(mine, model, config)
    check_unchanged(folder, model)
    leave_out(model, config)
    if ranks.is_first():
        remove_drafts(folder)
    kept = f"{METRICS_FILE} of before is unchanged" if (folder / METRICS_FILE).exists() else ""
    alone, parts = ranks.world_size() == 1, list[Path]()
    if mine:
        with own_fault([type(s.architecture) for s in mine]):
            windows = read_held_out(config, model, progress and ranks.is_first())
            check_same_text(folder, config, model, windows[1])
            found = evaluated(mine, model, config, windows, progress and ranks.is_first())
        if mesh.shards.rank == 0 and not alone:
            found.save(folder / f".evaluation_{mesh.group}", kept)
    ranks.barrier()
    if ranks.is_first():
        if not alone:
            parts = [folder / f".evaluation_{group}" for group in range(min(mesh.groups, len(places)))]
            found = joined([Evaluation.load(p) for p in parts])
        replace(found, table=in_order(found.table, config)).save(folder, kept)
        for done in parts:
            shutil.rmtree(done)
    ranks.barrier()
    table = pd.read_parquet(folder / METRICS_FILE)
    log_evaluation(config.training.logger, folder, table, config.training.steps)
    return table


def trained_places(folder: Path, config: RunConfig) -> list[Path]:
    """Folders of the SAEs that a run's configuration names, finished and at named steps; no others.

    Raises
    ------
    RunError
        If there is none.
    """
    try:
        found = {run_id_of(place): place for place in sae_folders(folder / "saes")}
    except SAEFileError as error:
        raise RunError(
            f"{folder} has no trained SAEs yet ({error}); `sae-train resume {folder}` goes on"
        ) from error
    names = [m.run_id for m in members(config)]
    mine = [name for name in names if name in found]
    missing = [name for name in names if name not in found]
    measured = _measured(folder) if missing else set()
    if lost := [name for name in missing if name in measured]:
        raise RunError(
            f"{folder}/saes lacks {listed(lost, 4)}, which {METRICS_FILE} has; `sae-train resume {folder}` "
            f"writes them again from the last checkpoint; without {METRICS_FILE} the others are measured"
        )
    if not mine:
        raise RunError(f"{folder}/saes holds none of the SAEs that {folder}/config.toml names")
    return [*(found[name] for name in mine), *kept_folders(folder, config, mine)]


def _measured(folder: Path) -> set[str]:
    """The SAEs of the evaluation before; none where it is damaged."""
    try:
        return set(pd.read_parquet(folder / METRICS_FILE, columns=["run_id"])["run_id"])
    except (OSError, ValueError):
        return set()


def check_unchanged(folder: Path, model: Origin) -> None:
    """Nothing, if the model, or the files of activations, are what the run was trained on.

    Raises
    ------
    RunError
        If they have become others under the same name.
    """
    was = recorded(folder).get("model", {})
    if was.get("name") == model.name and (change := change_of(was, model)):
        other = "its SAEs are of other activations"
        why = other if model.predicts else "what is held out may have been trained on"
        raise RunError(f"{change} since {folder} was trained: {why}; put back what was")


def check_model(saes: list[SAE], model: Origin, config: RunConfig) -> None:
    """Nothing, if the SAEs were trained on this model, or rows of this width, with this context length.

    Raises
    ------
    RunError
        If the configuration was changed since; what to type is said.
    """
    source, called = ("model", "model.name") if model.predicts else ("StoredActivations(files)", "files")
    elsewhere = f"in Python, trainers.evaluate.evaluate(saes, {source}, tokens, site, protocol=...) measures"
    if isinstance(model, StoredActivations) and (widths := {s.d_in for s in saes} - {model.site("").width}):
        wanted = listed(sorted(widths))
        raise RunError(
            f"these SAEs were trained on rows of width {wanted}; the files that config.toml now names, "
            f"{model.text}, have width {model.site('').width}. Put back activations.files; {elsewhere} other "
            f"rows of width {wanted}"
        )
    length = config.activations.context_length or model.context_length
    for key, now, field in (("model", model.name, called), ("context_length", length, "context_length")):
        was = {s.identity.get(key) for s in saes} - {None, now}
        if was:
            raise RunError(
                f"these SAEs were trained with {key} {was.pop()!r}, config.toml now says {now!r}. Put back "
                f"{field} as it was; {elsewhere} them on another"
            )


def evaluated(
    saes: list, model: Origin, config: RunConfig, windows: tuple[Tensor, str], progress: bool
) -> Evaluation:
    """These SAEs on windows of held-out text, those of each site in a pass of their own."""
    given, target = config.evaluation, config.activations.target_site
    tokens, protocol = windows
    found = []
    for site in config.activations.places:
        own = [s for s in saes if not config.activations.sites or s.identity["site"] == site]
        points = [one for s in own for one in s.points()]
        if points:
            found.append(
                evaluate(
                    points, model, tokens, site, target, batch_size=given.batch_size, protocol=protocol,
                    progress=progress,
                )
            )  # fmt: skip
    return joined(found)


def in_order(table: pd.DataFrame, config: RunConfig) -> pd.DataFrame:
    """The rows by site, as the configuration names them, then by family, size, rate, setting and seed."""
    sites = config.activations.sites or []
    place = table["site"].map({site: n for n, site in enumerate(sites)})
    return (
        table.assign(_place=place).sort_values(["_place", *ORDER], ignore_index=True).drop(columns="_place")
    )
