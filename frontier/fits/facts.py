"""Facts of a family that a fair comparison needs equal, or doubts, read from its rows of a metrics table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frontier.fits.own_facts import own_columns, own_facts
from frontier.groups import PROTOCOL, as_text
from frontier.metrics import values
from frontier.metrics.finished import size_columns
from frontier.metrics.losses import UNLIKE, hits_by_losses
from frontier.problems import Array
from frontier.wording import number, plural

TRAINING = (
    "tokens_trained", "dictionary_size", "dataset", "training_dataset", "train_dataset", "dataset_path",
    "training_data", "corpus",
)  # fmt: skip
"""How SAEs were trained, in our columns and in those that are a table's own."""
FACTS = (*PROTOCOL, *TRAINING)
"""Kept with each fit, so that a ratio can refuse or doubt a comparison across them."""
SHARED_PARENTS = "shared parents"
"""A fact of groups in which one SAE, pruned or pursued at several strengths, gives several points."""
L0_SPAN = "l0"
"""A fact: least, middle and largest L0 of a group."""
UNLIKE_LOSSES = "unlike losses"
"""A fact: SAEs whose hits contradict the losses printed beside them, of how many, how many times as large
the losses make them in the middle."""


@dataclass(frozen=True)
class Facts:
    """The columns that tell facts, each read once for all groups; None where the table has none.

    Attributes
    ----------
    texts, sizes, own : by column
        As text; as numbers, of which a group's largest counts; of the table's own (`own_facts`).
    l0, clean_loss : (rows,)
    parents : (rows,)
        The SAE that a row was made from.
    unlike, times : (rows,)
        Whether the hit contradicts the losses beside it, and how many times as large they make it.
    """

    texts: Mapping[str, NDArray[np.object_]]
    sizes: Mapping[str, Array]
    own: Mapping[str, NDArray[np.object_]]
    l0: Array | None
    clean_loss: Array | None
    parents: pd.Series | None
    unlike: NDArray[np.bool_] | None
    times: Array | None

    @classmethod
    def read(
        cls, table: pd.DataFrame, groups: Sequence[str], hits: Array | None, across: Sequence[str]
    ) -> Facts:
        """Of a metrics table; `hits` are its performance hits where these are fitted.

        What stands in the columns `across` may differ.
        """
        texts = [c for c in FACTS if c in table and c not in across]
        sizes = [c for c in size_columns(table.columns) if c not in across]
        unlike, times = _unlike_losses(table, hits) if hits is not None else (None, None)
        return cls(
            {c: as_text(table[c]).to_numpy(dtype=object) for c in texts},
            {c: pd.to_numeric(table[c], errors="coerce").to_numpy(float, na_value=np.nan) for c in sizes},
            own_columns(table, groups, across),
            values(table, "l0") if "l0" in table and "l0" not in across else None,
            values(table, "ce_clean") if "ce_clean" in table else None,
            table["parent"] if "parent" in table else None,
            unlike,
            times,
        )

    def of(self, rows: NDArray[np.intp]) -> dict[str, str]:
        """Those of one group, by name.

        >>> table = pd.DataFrame({"dataset": ["pile", "owt"], "l0": [8.0, 32.0]})
        >>> Facts.read(table, [], None, ()).of(np.arange(2))
        {'dataset': 'owt, pile', 'l0': '8, 32, 32'}
        """
        if not rows.size:
            return {}
        found = {c: ", ".join(sorted(set(v[rows]))) for c, v in self.texts.items()}
        found |= {c: number(float(np.fmax.reduce(v[rows])), 15) for c, v in self.sizes.items()}
        found |= own_facts(self.own, rows)
        return (
            found
            | self._clean_loss(rows)
            | self._shared_parents(rows)
            | self._unlike(rows)
            | self._span(rows)
        )

    def _clean_loss(self, rows: NDArray[np.intp]) -> dict[str, str]:
        """The model's own loss on the text that the group was evaluated on, where it is known."""
        clean = np.zeros(0) if self.clean_loss is None else self.clean_loss[rows]
        known = clean[np.isfinite(clean)]
        return {"ce_clean": f"{np.median(known):.6g}"} if len(known) else {}

    def _shared_parents(self, rows: NDArray[np.intp]) -> dict[str, str]:
        """How many SAEs the points come from, where some SAE gives several."""
        if self.parents is None:
            return {}
        parents = self.parents.iloc[rows].dropna()
        if not parents.duplicated().any():
            return {}
        return {SHARED_PARENTS: f"{len(parents)} points come from {plural(parents.nunique(), 'SAE')}"}

    def _unlike(self, rows: NDArray[np.intp]) -> dict[str, str]:
        """How many hits contradict the losses printed beside them, of how many; and how far."""
        if self.unlike is None or self.times is None or not self.unlike[rows].any():
            return {}
        unlike = self.unlike[rows]
        times = np.median(self.times[rows][unlike])
        return {UNLIKE_LOSSES: f"{int(unlike.sum())}, {len(rows)}, {times:.3g}"}

    def _span(self, rows: NDArray[np.intp]) -> dict[str, str]:
        """Least, middle and largest L0 of several, of two in the middle the larger one."""
        l0 = np.zeros(0) if self.l0 is None else np.sort(self.l0[rows])
        if len(l0) < 2 or not np.isfinite(l0).all():
            return {}
        return {L0_SPAN: ", ".join(f"{v:.6g}" for v in (l0[0], l0[len(l0) // 2], l0[-1]))}


def _unlike_losses(table: pd.DataFrame, hits: Array) -> tuple[NDArray[np.bool_] | None, Array | None]:
    if "doubts" not in table:
        return None, None
    unlike = table["doubts"].astype("string").str.contains(UNLIKE, regex=False).fillna(False)
    if not unlike.any():
        return None, None
    with np.errstate(divide="ignore", invalid="ignore"):
        return unlike.to_numpy(dtype=bool), hits_by_losses(table) / hits
