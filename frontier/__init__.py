"""Frontiers of sparse autoencoders as numbers one can publish.

    table = frontier.read("sweep.csv")            # one row per SAE
    front = frontier.pareto_set(table)            # the SAEs that no other one beats
    fits = frontier.fit(front, "hill")            # k and n with intervals, per family
    frontier.ratio_table(fits, reference="relu")  # how much better, how sure
    frontier.compare(table, reference="relu")     # all of it in one call, with verdicts

Names are loaded when they are first used, so `import frontier` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "CURVES": "curves",
    "Comparison": "comparison_results",
    "Comparisons": "comparison_results",
    "CurveFit": "curve_fit",
    "FrontierFits": "curve_fit",
    "HillModel": "lmfit_models",
    "Interval": "intervals",
    "LinearModel": "lmfit_models",
    "ObservedRatios": "observed",
    "PowerModel": "lmfit_models",
    "Ratio": "ratio_results",
    "RatioTable": "ratio_results",
    "TableError": "checks",
    "compare": "comparison",
    "fit": "fits",
    "fit_points": "fits",
    "fits_table": "tables",
    "hill": "curves",
    "hit_ratio": "ratios",
    "hypervolume": "pareto",
    "is_pareto_optimal": "pareto",
    "linear": "curves",
    "load_dataset": "datasets",
    "mark_pareto": "pareto",
    "metrics_table": "metrics",
    "notes": "metrics",
    "observed_potency": "observed",
    "paper_style": "figures",
    "parallelism": "parallel",
    "pareto_set": "pareto",
    "plot_fit": "figures",
    "plot_fits": "figures",
    "plot_frontier": "figures",
    "plot_ratios": "figures",
    "power": "curves",
    "ratio_table": "ratios",
    "ratios_table": "tables",
    "read": "readers",
    "relative_potency": "ratios",
    "runs_table": "tables",
    "save_figure": "figures",
    "shared_fit": "parallel",
}

__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from frontier.checks import TableError as TableError
    from frontier.comparison import compare as compare
    from frontier.comparison_results import Comparison as Comparison
    from frontier.comparison_results import Comparisons as Comparisons
    from frontier.curve_fit import CurveFit as CurveFit
    from frontier.curve_fit import FrontierFits as FrontierFits
    from frontier.curves import CURVES as CURVES
    from frontier.curves import hill as hill
    from frontier.curves import linear as linear
    from frontier.curves import power as power
    from frontier.datasets import load_dataset as load_dataset
    from frontier.figures import paper_style as paper_style
    from frontier.figures import plot_fit as plot_fit
    from frontier.figures import plot_fits as plot_fits
    from frontier.figures import plot_frontier as plot_frontier
    from frontier.figures import plot_ratios as plot_ratios
    from frontier.figures import save_figure as save_figure
    from frontier.fits import fit as fit
    from frontier.fits import fit_points as fit_points
    from frontier.intervals import Interval as Interval
    from frontier.lmfit_models import HillModel as HillModel
    from frontier.lmfit_models import LinearModel as LinearModel
    from frontier.lmfit_models import PowerModel as PowerModel
    from frontier.metrics import metrics_table as metrics_table
    from frontier.metrics import notes as notes
    from frontier.observed import ObservedRatios as ObservedRatios
    from frontier.observed import observed_potency as observed_potency
    from frontier.parallel import parallelism as parallelism
    from frontier.parallel import shared_fit as shared_fit
    from frontier.pareto import hypervolume as hypervolume
    from frontier.pareto import is_pareto_optimal as is_pareto_optimal
    from frontier.pareto import mark_pareto as mark_pareto
    from frontier.pareto import pareto_set as pareto_set
    from frontier.ratio_results import Ratio as Ratio
    from frontier.ratio_results import RatioTable as RatioTable
    from frontier.ratios import hit_ratio as hit_ratio
    from frontier.ratios import ratio_table as ratio_table
    from frontier.ratios import relative_potency as relative_potency
    from frontier.readers import read as read
    from frontier.tables import fits_table as fits_table
    from frontier.tables import ratios_table as ratios_table
    from frontier.tables import runs_table as runs_table


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"frontier.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'frontier' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
