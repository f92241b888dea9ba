"""Writes docs/columns.md from the registry of metrics: `python docs/columns_page.py`."""

from __future__ import annotations

from pathlib import Path

from frontier.metrics.axes import known_falling, usual_curve
from frontier.metrics.columns import COLUMNS, COMPUTED, DOWNSTREAM, FIDELITY, Column

PAGE = Path(__file__).with_name("columns.md")

INTRODUCTION = """\
# Columns and their other names

One row per trained SAE. This page is written from the registry of metrics (`python docs/columns_page.py`),
which is what reads your table: names are compared without case and punctuation, prefixes such as `metrics/`
or `eval_result_metrics.` are cut, and a word for per cent in the name of a share (`FVU (%)`, `fvu_pct`)
divides by 100. A share that rises, all of it at most 1 under such a name, is a fraction all the same: no SAE
worth a table recovers 0.98 % of the loss. Where no name tells and values may be either, the answer is a
question; `columns={"hit": "performance_hit (%)"}` or `"performance_hit (fraction)"` says which.

What is read under another name is said in the notes, and so is every column that was not used. A column of
your own is mapped by hand: `read("sweep.csv", columns={"active": "l0"})`, `--map active=l0`; one that is to
play no part is `ignored`. A metric that does not stand here needs a word on which side is better:
`better="higher"`, `--better higher`. Without it the answer is a question, never a guess.
"""

AXES = """\
## Metrics

`better` is the side on which an SAE is better. A comparison wants a y axis that falls to 0: for a metric
that rises to 1 that is one minus it. Only an axis that is known to level off at 1 gets a Hill curve by
default; others get a power law. Where nobody names y, the first of these that the table holds is taken:
{order}.
Where the best value is not 0 and not known (`ce_sae` alone, a metric of your own) errors may be a share
of the excess over it, and limits allow for not knowing which; with `ce_clean` beside `ce_sae` they need not.
"""

DOWNSTREAM_WORDS = """\
## Metrics of SAEBench's other evaluations

They keep their names, in which numbers may stand (`scr_metric_threshold_10`,
`sparse_probing_sae_top_1_test_accuracy`).
"""


SIGNED = """\
## Signed codes and shared weights

A latent fires where its code is not 0. AbsTopK, and a class of your own that says `signed = True`, has
negative codes too: L0, `alive_fraction` and the frequencies count both signs, `l1` sums |f|, and pruning
goes by |f|. So one signed latent does the work of two others, and an equal `dictionary_size` is not an
equal number of directions: of a comparison with unsigned SAEs say which of the two was held. L1
penalties, sign tests and "the top activating texts" need both ends.

Rows with the same `parent` have the same weights: pruned or fine-tuned SAEs, and the budgets of one
HierarchicalTopK SAE. They err alike. `compare` says so (*Points come from one SAE and err alike*): its
interval counts them as independent, and is too narrow; several seeds, or differences paired by batch
(`frontier.studies.paired_frontiers`), are the way out.

The L0 of matching pursuit is at most its k: a token stops when a step adds no new latent. A skip
transcoder's output has x W_skipᵀ beside its latents, so that its metrics are not those of the latents
alone: at L0 0 it is still a linear map.

The SAEs of a joined site (`resid_post.0+resid_post.1`) have an FVU for each part, `fvu_at_resid_post.0`;
`fvu` is their mean, since each part is measured in units of its own variance, as are all numbers of the
reconstruction.
"""


def page() -> str:
    """The page as Markdown."""
    identity = [c for c in COLUMNS if c.kind == "identity"]
    metrics = [c for c in (*COLUMNS, *COMPUTED) if c.better]
    others = [c for c in (*COLUMNS, *COMPUTED) if c.kind != "identity" and not c.better]
    order = ", ".join(f"`{name}`" for name in FIDELITY)
    parts = [
        INTRODUCTION,
        "## Which SAE it is\n",
        _table(("column", "meaning", "also read"), [(_code(c.name), c.meaning, _names(c)) for c in identity]),
        AXES.format(order=order),
        _table(
            ("column", "meaning", "better", "y axis of a comparison", "curve", "also read"),
            [
                (_code(c.name), _meaning(c), c.better, _code(known_falling(c)), _curve(c), _names(c))
                for c in metrics
            ],
        ),
        DOWNSTREAM_WORDS,
        _table(
            ("evaluation", "meaning", "better"), [(_code(c.name), c.meaning, c.better) for c in DOWNSTREAM]
        ),
        "## Other numbers\n",
        _table(("column", "meaning", "also read"), [(_code(c.name), _meaning(c), _names(c)) for c in others]),
        SIGNED,
    ]
    return "\n".join(parts)


def _table(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [headers, tuple("---" for _ in headers), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _curve(spec: Column) -> str:
    return (
        usual_curve(known_falling(spec)) if spec.name not in ("l0", "sparsity", "relative_sparsity") else ""
    )


def _meaning(spec: Column) -> str:
    unit = f" ({spec.unit})" if spec.unit and spec.unit not in spec.meaning else ""
    return spec.meaning + unit


def _names(spec: Column) -> str:
    return ", ".join(map(_code, spec.aliases))


def _code(name: str) -> str:
    return f"`{name}`" if name else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
