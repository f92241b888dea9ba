"""A candidate against its rivals, from a name to verdicts, a report and a fairness table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from frontier import compare, report
from frontier.wording import plural
from frontier.writing import write_json, write_text
from trainers import ranks
from trainers.head_to_head.asking import FACTORS, Equal, Question, asked, recall
from trainers.head_to_head.budget import VersusError, budget_of
from trainers.head_to_head.contest import Outcome, contest
from trainers.head_to_head.fairness import fairness
from trainers.head_to_head.levelling import equal_sizes, level
from trainers.head_to_head.making import Ledger, Trained
from trainers.head_to_head.pace import pace
from trainers.head_to_head.result import Versus
from trainers.head_to_head.rounds import LEAST, Rules
from trainers.head_to_head.tuning import tuned
from trainers.origin import origin_of
from trainers.precision import with_formats
from trainers.run import alone_in, chosen_device

METRICS, RESULT, PAGE, TEXT = "metrics.parquet", "result.json", "report.html", "result.md"


def versus(
    candidate: str | Path,
    against: Sequence[str] = ("relu",),
    *,
    budget: str | float | None = None,
    saes: int | None = None,
    out: str | Path = "versus",
    equal: Equal = "width",
    rates: Sequence[float] = FACTORS,
    l0: tuple[float, float] | None = None,
    looks: int = 3,
    changes: Sequence[str] = (),
    progress: bool = True,
) -> Versus:
    """Is a candidate better than its rivals, and is the comparison fair? Trained and decided in one call.

    One range of L0 that every family reaches; each family's learning rate tuned with as many pilots around
    its own default; the same text, steps, batch and width, another seed for each SAE. Then rounds: SAEs are
    trained and measured, every pair is looked at, and the planner puts further ones where they tell most,
    until each pair is decided or the budget is spent. At most 5 % of contests between equal families end with
    a verdict, all looks and pairs together.

    Parameters
    ----------
    candidate : str or path
        A built-in architecture, "my_sae.py:MySAE", or a TOML file whose one [[families]] is the candidate
        and whose other sections are the run of all families.
    against : names of architectures
    budget : str or seconds
        For everything, pilots too: "30min".
    saes : int
        Instead of a time: SAEs that are compared, pilots not counted.
    out : path
        A folder in which a killed call goes on.
    equal : {"width", "products"}
        Equal latents, or equal multiplications per token.
    rates : factors
        Learning rates that are tried, over each family's default; (1,) tunes nothing.
    l0 : (low, high), optional
        The range of L0; default √width / 4 to 4 √width, as far as every family reaches.
    looks : int
        Looks at most.
    changes : sequence of str
        Fields of the run, as in `read_config`: "training.steps=500".

    Raises
    ------
    VersusError
        If the question cannot be asked, the budget is too small, or the folder holds another one.

    Notes
    -----
    `result.save(path)` and `trainers.Versus.load(path)`; the result is also kept in `out`.
    """
    if ranks.world_size() > 1:
        raise VersusError("a head to head runs in one process; leave torchrun out")
    budget_asked = budget_of(budget, saes)
    question = asked(
        candidate, against, budget_asked, equal=equal, factors=rates, l0=l0, looks=looks, changes=changes
    )
    folder = Path(out)
    with alone_in(folder):
        recall(question, folder, Ledger(folder).looked)
        return _decided(question, folder, progress)


def _decided(question: Question, folder: Path, progress: bool) -> Versus:
    """The stages in their order; what is finished in the folder is not done again."""
    ledger = Ledger(folder)
    device = chosen_device(question.config.model.device)
    model = origin_of(with_formats(question.config, device), device)
    activations = question.config.activations
    sites = (activations.site, activations.target_site or activations.site)
    widths = (int(model.site(sites[0]).width), int(model.site(sites[1]).width))
    config = equal_sizes(question, widths)
    with ledger.timed("pilots"):
        same = level(config, question, widths[0], folder, progress)
    with ledger.timed("tuning"):
        first = LEAST * len(config.families)
        keep = folder / "tuning" / "checkpoints"
        watch = pace(question.budget, ledger.seconds, len(config.families), first, keep=keep)
        tuning, chosen = tuned(config, same.settings, question.factors, folder, progress, watch)
    write_json(folder / "rates.json", {n: asdict(t) for n, t in chosen.items()}, indent=1, allow_nan=True)
    rules = Rules(question.candidate, question.rivals, same.low, same.high, question.looks)
    maker = Trained(config, question.budget, chosen, tuning, folder, progress)
    ended = contest(rules, maker)
    found = Versus(
        question.candidate, ended.verdicts, ended.looks,
        fairness(config, same, chosen, ended.table, folder, widths), str(question.budget),
        maker.ledger.seconds, sum(t.pilots for t in chosen.values()), rules.alpha, str(folder),
        tuple(_notes(ended)),
    )  # fmt: skip
    _write(found, ended, folder)
    return found


def _notes(ended: Outcome) -> list[str]:
    lost = ended.looks[-1].trained - len(ended.table)
    return [f"{plural(lost, 'SAE')} diverged and is in no comparison."] if lost else []


def _write(found: Versus, ended: Outcome, folder: Path) -> None:
    """The SAEs' metrics, the result as JSON and Markdown, and the report at the level of the last look."""
    table: pd.DataFrame = ended.table
    table.to_parquet(folder / METRICS, index=False)
    found.save(folder / RESULT)
    write_text(folder / TEXT, found.to_markdown() + "\n")
    final = compare(table, found.candidate, rows="all", level=1 - ended.looks[-1].level)
    rivals = ", ".join(v.rival for v in found.verdicts)
    title = f"{found.candidate} against {rivals}"
    report(final, folder / PAGE, table=table, title=title, preface=_preface(found))


def _preface(found: Versus) -> tuple[str, ...]:
    """What was decided, and when: the page compares all SAEs anew, those of pairs long decided too."""
    count, level = len(found.looks), found.looks[-1].level
    told = (f"{v.sentence} (Look {v.look} of {count}, level {v.level:.4f}.)" for v in found.verdicts)
    return (
        *told,
        "So the head to head ended. Below all SAEs and families are compared anew, at the level of the last "
        f"look ({level:.4f}); where that says something else, what was decided stands.",
    )
