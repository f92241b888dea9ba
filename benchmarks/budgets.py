"""Does a ranking depend on the training budget? Checkpoints of one run beside runs of their own length.

`python -m benchmarks.budgets` trains ReLU, Gated, JumpReLU and TopK at the demonstration's site of the
shipped model, six sparsity settings each: once for 1,200 steps of 1,024 activations, keeping the SAEs of 75,
150, 300 and 600 steps, and once each for 150, 300 and 600 steps with a schedule of that length.
`compare_budgets` says what each budget gives. SAEs and numbers go to `benchmarks/results/budgets.json`, table
and figure to docs/budgets.md; some five CPU-minutes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

import frontier
from benchmarks.measuring import RESULTS, arguments, between, circumstances, folder_of, write
from frontier.comparison import BudgetComparisons
from frontier.wording import interval_cell, number
from frontier.writing import write_text
from trainers.config import checked
from trainers.evaluate.runs import evaluate_run
from trainers.recipes import families
from trainers.train import train

PAGE, FIGURE = Path("docs/budgets.md"), Path("docs/figures/budgets")
KINDS = ("relu", "gated", "jumprelu", "topk")
STEPS, KEPT, OWN = 1200, (75, 150, 300, 600), (150, 300, 600)
KEEPING, ALONE = "checkpoints of one run", "runs of their own length"
COLUMNS = (
    "training", "run_id", "family", "sparsity_name", "sparsity_setting", "steps_trained", "tokens_trained",
    "l0", "loss_recovered", "loss_recovered_se",
)  # fmt: skip


def trained(steps: int, kept: tuple[int, ...], windows: int = 64) -> pd.DataFrame:
    """The SAEs of one run at all steps that are kept, a row each."""
    training = {"steps": steps, "dictionary_size": 512, "checkpoint_every": 300, "keep_at": list(kept)}
    config = checked(
        {
            "activations": {"tokens": 200_000},
            "training": training,
            "evaluation": {"windows": windows, "batch_size": 8},
            "families": families(*KINDS),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        run = train(config, Path(folder) / "run", progress=False)
        run.release()
        return evaluate_run(Path(folder) / "run", model=run.model, progress=False)


def together(long: pd.DataFrame, short: list[pd.DataFrame]) -> pd.DataFrame:
    """Both ways of training, `COLUMNS`: the longest run is in both."""
    ended = long[long["steps_trained"] == long["steps_trained"].max()]
    own = pd.concat([*short, ended])
    own["run_id"] += " of " + own["steps_trained"].map("{:,}".format)  # runs that share nothing but a recipe
    ways = [long.assign(training=KEEPING), own.assign(training=ALONE)]
    found = pd.concat(ways, ignore_index=True)
    return found[list(COLUMNS)].round({"l0": 3, "loss_recovered": 5, "loss_recovered_se": 5})


def compared(saes: pd.DataFrame) -> BudgetComparisons:
    """Each way of training by itself."""
    return frontier.compare_budgets(saes, "relu", by="training")


def on_page(text: str, found: BudgetComparisons) -> str:
    """The page with its table made anew."""
    budgets = sorted({c.budget for c in found})
    rows = []
    for way in (KEEPING, ALONE):
        for family in KINDS[1:]:
            cells = []
            for budget in budgets:
                here = [
                    c for c in found if (c.group["training"], c.family, c.budget) == (way, family, budget)
                ]
                cells += [_cell(here[0]) if here else ""]
            (change,) = [c for c in found.overall if (c.group["training"], c.family) == (way, family)]
            factor = interval_cell(change.ratio, change.low, change.high)
            rows.append([way, family, *cells, f"{factor} from {number(change.first / 1024)} steps"])
    head = ["", "family", *(f"{b / 1024:,.0f} steps" for b in budgets), "changes by a factor"]
    return between(text, "budgets", tabulate(rows, head, tablefmt="github", disable_numparse=True) + "\n")


def _cell(c: Any) -> str:
    r = c.potency
    return f"{interval_cell(r.ratio, r.ratio_low, r.ratio_high)} {c.verdict}" if c.is_told else c.verdict


def draw(found: BudgetComparisons, stem: Path) -> list[Path]:
    """The figure of the page."""
    with frontier.paper_style():
        axes = frontier.plot_budget(found)
        return frontier.save_figure(axes, stem, ("png",))


def write_up(saes: pd.DataFrame, folder: Path) -> None:
    """The result, and the page where the result is the one that ships."""
    found = compared(saes)
    print(found.to_text(width=120))
    record = {"columns": COLUMNS, "saes": saes.to_numpy().tolist()}
    write("budgets", circumstances("torch", "numpy") | record, folder)
    if folder == RESULTS:
        write_text(PAGE, on_page(PAGE.read_text(encoding="utf-8"), found))
        draw(found, FIGURE)


def main() -> None:
    """Train, compare, write."""
    asked = arguments(__doc__, "runs of 40 and 20 steps").parse_args()
    steps, kept, own, windows = (40, (10, 20), (20,), 8) if asked.quick else (STEPS, KEPT, OWN, 64)
    long = trained(steps, kept, windows)
    write_up(together(long, [trained(n, (), windows) for n in own]), folder_of(asked))


if __name__ == "__main__":
    main()
