"""The card of published SAEs: the frontier, verdicts, what each family was given, how to load."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from frontier import __version__, cite
from frontier.comparison import Comparisons
from frontier.tables.styles import Field, Sheet
from frontier.wording import listed, number, plural

TEXT = """---
license: {licence}
library_name: saelens
tags:
- sparse-autoencoder
- interpretability
- sae-frontier
configs:
- config_name: metrics
  data_files: metrics.parquet
---

# {title}

{intro}

![The frontier of every family](frontier.png)

{verdicts}
## What each family was given

{fairness}

A comparison is fair where these agree: the same text, tokens, widths, seeds, and a search of the same size.

## How to load

```python
from sae_lens import SAE  # SAELens

sae = SAE.from_pretrained({repository}, {first})
```

```python
import frontier  # pip install 'sae-frontier[hub]'

table = frontier.read({address})  # one row per SAE, every metric
```

```
sae-train get {plain} --out saes   # the same folders, for `trainers.load` and evaluation
```

SAEs here: {saes}.{refused}

Made with sae-frontier {version}.

```bibtex
{bibtex}
```
"""


def card(
    table: pd.DataFrame, found: Comparisons | None, repository: str, licence: str, saes: Sequence[str],
    refused: Sequence[str],
) -> str:  # fmt: skip
    """The card as Markdown with the hub's head."""
    families = sorted(map(str, table["family"].dropna().unique()))
    models, sites = (listed(sorted(map(str, table[c].dropna().unique()))) for c in ("model", "site"))
    who = f"{plural(len(table), 'sparse autoencoder')} of {plural(len(families), 'family')}"
    intro = (
        f"{who} ({listed(families)}) on {sites} of {models}, trained on one stream of activations, measured "
        "on the same held-out text."
    )
    verdicts = "## Verdicts\n\nOne family only, or too few SAEs: nothing was compared.\n"
    if found is not None:
        verdicts = f"## Verdicts\n\n{found.to_markdown()}\n"
    left = f"\n\nNot here, since SAELens' layout cannot hold them: {'; '.join(refused)}." if refused else ""
    return TEXT.format(
        licence=licence, title=repository.partition("/")[2], intro=intro, verdicts=verdicts,
        fairness=fairness(table), repository=json.dumps(repository), first=json.dumps(saes[0]),
        address=json.dumps(f"hf://{repository}"), plain=f"hf://{repository}",
        saes=listed([f"`{s}`" for s in saes], 200), refused=left, version=__version__,
        bibtex=cite(found if found is not None else table).bibtex,
    )  # fmt: skip


def fairness(table: pd.DataFrame) -> str:
    """Per family what it was given: SAEs, settings, seeds, learning rates, widths, tokens; the L0 found."""
    rows = []
    for family, own in table.groupby("family", sort=True):
        rows.append(
            (
                str(family), str(len(own)), *(_distinct(own, c) for c in ("sparsity_setting", "seed")),
                *(_values(own, c) for c in ("learning_rate", "dictionary_size", "tokens_trained")),
                f"{number(float(own['l0'].min()))} to {number(float(own['l0'].max()))}",
            )
        )  # fmt: skip
    heads = ("family", "SAEs", "settings", "seeds", "learning rates", "latents", "tokens", "L0")
    columns = list(zip(*rows, strict=True))
    return Sheet("", tuple(Field(h, list(c)) for h, c in zip(heads, columns, strict=True))).write("markdown")


def _distinct(rows: pd.DataFrame, column: str) -> str:
    return str(len(set(rows[column].dropna()))) if column in rows else ""


def _values(rows: pd.DataFrame, column: str) -> str:
    return listed([number(float(v)) for v in sorted(set(rows[column].dropna()))], 4) if column in rows else ""
