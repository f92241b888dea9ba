"""An explorer for notebooks: choose families, drag the range of L0, see k, n and their ratios change."""

from __future__ import annotations

import html
import importlib
import io
from typing import Any

import numpy as np
import pandas as pd

from frontier.fits import fit
from frontier.fits.frontier_fits import FrontierFits
from frontier.groups import Groups, group_codes
from frontier.metrics import metrics_table, usable, values
from frontier.metrics.checks import TableError
from frontier.pareto import pareto_set
from frontier.ratios import RatioTable, ratio_table
from frontier.ratios.pairs import reference_family
from frontier.results import in_words
from frontier.wording import number

LEAST_FAMILIES = 2
"""For a ratio."""


def explore(
    table: Any,
    *,
    reference: str | None = None,
    y: str | None = None,
    errors: str = "auto",
    family: str = "family",
) -> Explorer:
    """Hill fits of a table under controls: which group, which families, which range of L0.

    Parameters
    ----------
    table : anything that `metrics_table` takes
    reference : family, optional
        Default: the one called relu, standard, vanilla or baseline, else the first.
    errors, y : as in `fit`
    family : column name

    Raises
    ------
    ImportError
        Without ipywidgets (the extra `notebooks`).
    TableError
        When the table has no usable row.

    Examples
    --------
    >>> import frontier
    >>> explorer = frontier.explore("sweep.csv", reference="relu")  # doctest: +SKIP
    """
    return Explorer(metrics_table(table), reference, errors, family, y)


class Explorer:
    """What `explore` shows; the last cell of a notebook displays it.

    Attributes
    ----------
    group, families, reference, span, frontier_only
        The controls (ipywidgets): setting their `value` does what a hand would.
    fits : FrontierFits or None
    ratios : RatioTable or None
        What is shown now.
    numbers, picture, widget
        The tables (HTML), the figure (PNG) and all of it in one box.
    """

    def __init__(
        self, table: pd.DataFrame, reference: str | None, errors: str, family: str, y: str | None
    ) -> None:
        self._widgets = _ipywidgets()
        self._errors, self._family, self._y = errors, family, y
        self._rows = usable(table)
        if self._rows.empty:
            raise TableError("no usable row to explore")
        groups = Groups.of(table, None, family)
        self._cells, self._family = list(groups.cells), groups.family or groups.columns[-1]
        self._codes, names = group_codes(self._rows, self._cells)
        self.fits: FrontierFits | None = None
        self.ratios: RatioTable | None = None
        self._controls([in_words(g) or "all rows" for g in names], reference)
        self._choose_group()
        for control in (self.families, self.reference, self.span, self.frontier_only):
            control.observe(lambda _: self._show(), "value")
        self.group.observe(lambda _: self._choose_group(), "value")

    def _controls(self, groups: list[str], reference: str | None) -> None:
        w = self._widgets
        names = [str(v) for v in dict.fromkeys(self._rows[self._family])]
        self.group = w.Dropdown(options=[(g, i) for i, g in enumerate(groups)], description="Group")
        self.families = w.SelectMultiple(options=names, value=names, description="Families")
        self.reference = w.Dropdown(
            options=names, value=_first_reference(names, reference), description="Against"
        )
        wide = w.Layout(width="32em")
        self.span = w.SelectionRangeSlider(
            options=[("1", 1.0)],
            index=(0, 0),
            description="L0 from, to",
            layout=wide,
            continuous_update=False,
        )
        self.frontier_only = w.Checkbox(value=True, description="Pareto-optimal SAEs only")
        self.numbers, self.picture = w.HTML(), w.Image(format="png")
        left = w.VBox([self.group, self.families, self.reference, self.span, self.frontier_only])
        self.widget = w.VBox([w.HBox([left, self.picture]), self.numbers])
        self._quiet = False

    def _choose_group(self) -> None:
        """Offer the L0 values of the chosen group, all of them selected."""
        l0 = values(self._of_group(), "l0")
        known = np.unique(l0[np.isfinite(l0) & (l0 > 0)])
        self._quiet = True  # one drawing for all that changes here
        self.span.options = [(number(float(v)), float(v)) for v in known]
        self.span.index = (0, len(known) - 1)
        self._quiet = False
        self._show()

    def _of_group(self) -> pd.DataFrame:
        return self._rows[self._codes == self.group.value]

    def _chosen(self) -> pd.DataFrame:
        """The rows that the controls leave; the Pareto set is that of the whole range."""
        rows = self._of_group()
        names = {*self.families.value, self.reference.value}
        rows = rows[rows[self._family].astype(str).isin(names)]
        if self.frontier_only.value:
            rows = pareto_set(rows, self._cells, family=self._family)
        low, high = self.span.value
        l0 = values(rows, "l0")
        return rows[(l0 >= low) & (l0 <= high)]

    def _show(self) -> None:
        """Fit, compare, and show; what cannot be fitted is said in place of the numbers."""
        if self._quiet:
            return
        self.fits = self.ratios = None
        try:
            self.fits = fit(
                self._chosen(), "hill", self._cells, errors=self._errors, family=self._family, y=self._y
            )
            if len(self.fits) >= LEAST_FAMILIES:
                self.ratios = ratio_table(self.fits, self.reference.value)
        except (ValueError, KeyError) as error:
            words = str(error.args[0]) if error.args else str(error)
            self.numbers.value = f"<p>{html.escape(words)}</p>"
        else:
            self.numbers.value = "".join(r._repr_html_() for r in (self.fits, self.ratios) if r is not None)
        self.picture.value = _picture(self.fits, self.reference.value)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)


def _ipywidgets() -> Any:
    """The package, or an error that says how to get it."""
    try:
        return importlib.import_module("ipywidgets")
    except ImportError as error:
        raise ImportError(
            "explore needs ipywidgets, which is not installed: pip install 'sae-frontier[notebooks]'"
        ) from error


def _first_reference(names: list[str], reference: str | None) -> str:
    """The asked or usual reference; the first family where none is usual."""
    if reference is not None:
        return reference_family(names, reference)
    try:
        return reference_family(names)
    except ValueError:
        return names[0]


def _picture(fits: FrontierFits | None, reference: str) -> bytes:
    """The fits as PNG; empty without one."""
    if fits is None or not len(fits):
        return b""
    from matplotlib.figure import Figure

    from frontier.figures import plot_fits

    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    plot_fits(fits, figure=figure, reference=reference, panels=[])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
