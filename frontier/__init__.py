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
    "CurveSelection": "curve_choice",
    "FrontierFits": "curve_fit",
    "HillModel": "lmfit_models",
    "Interval": "intervals",
    "LinearModel": "lmfit_models",
    "ObservedRatios": "observed",
    "PowerModel": "lmfit_models",
    "Ratio": "ratio_results",
    "RatioTable": "ratio_results",
    "TableError": "checks",
    "attainment": "uncertain_pareto",
    "averaged_potency": "averaging",
    "calibrate": "calibration",
    "compare": "comparison",
    "compare_seeds": "seeds",
    "family_styles": "figures",
    "fit": "fits",
    "fit_frontier": "inefficiency",
    "fit_points": "fits",
    "fits_table": "tables",
    "hill": "curves",
    "hit_ratio": "ratios",
    "hit_ratio_curve": "ratio_curves",
    "hypervolume": "pareto",
    "is_pareto_optimal": "pareto",
    "joint_region": "joint",
    "lack_of_fit": "seeds",
    "linear": "curves",
    "load_dataset": "datasets",
    "mark_pareto": "pareto",
    "mean_hit_ratio": "ratio_curves",
    "mean_relative_potency": "ratio_curves",
    "metrics_table": "metrics",
    "notes": "metrics",
    "observed_potency": "observed",
    "paired_batches": "seeds",
    "paper_style": "figures",
    "parallelism": "parallel",
    "pareto_probability": "uncertain_pareto",
    "pareto_set": "pareto",
    "plan": "planning",
    "plot_fit": "figures",
    "plot_fits": "figures",
    "plot_frontier": "figures",
    "plot_frontiers": "figures",
    "plot_ratios": "figures",
    "pool_ratios": "pooling",
    "power": "curves",
    "ratio_table": "ratios",
    "ratios_table": "tables",
    "read": "readers",
    "relative_potency": "ratios",
    "relative_potency_curve": "ratio_curves",
    "runs_table": "tables",
    "save_figure": "figures",
    "select_curve": "selection",
    "select_curves": "selection",
    "shared_fit": "parallel",
    "within_setting": "seeds",
}

__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from frontier.averaging import averaged_potency as averaged_potency
    from frontier.calibration import calibrate as calibrate
    from frontier.checks import TableError as TableError
    from frontier.comparison import compare as compare
    from frontier.comparison_results import Comparison as Comparison
    from frontier.comparison_results import Comparisons as Comparisons
    from frontier.curve_choice import CurveSelection as CurveSelection
    from frontier.curve_fit import CurveFit as CurveFit
    from frontier.curve_fit import FrontierFits as FrontierFits
    from frontier.curves import CURVES as CURVES
    from frontier.curves import hill as hill
    from frontier.curves import linear as linear
    from frontier.curves import power as power
    from frontier.datasets import load_dataset as load_dataset
    from frontier.figures import family_styles as family_styles
    from frontier.figures import paper_style as paper_style
    from frontier.figures import plot_fit as plot_fit
    from frontier.figures import plot_fits as plot_fits
    from frontier.figures import plot_frontier as plot_frontier
    from frontier.figures import plot_frontiers as plot_frontiers
    from frontier.figures import plot_ratios as plot_ratios
    from frontier.figures import save_figure as save_figure
    from frontier.fits import fit as fit
    from frontier.fits import fit_points as fit_points
    from frontier.inefficiency import fit_frontier as fit_frontier
    from frontier.intervals import Interval as Interval
    from frontier.joint import joint_region as joint_region
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
    from frontier.planning import plan as plan
    from frontier.pooling import pool_ratios as pool_ratios
    from frontier.ratio_curves import hit_ratio_curve as hit_ratio_curve
    from frontier.ratio_curves import mean_hit_ratio as mean_hit_ratio
    from frontier.ratio_curves import mean_relative_potency as mean_relative_potency
    from frontier.ratio_curves import relative_potency_curve as relative_potency_curve
    from frontier.ratio_results import Ratio as Ratio
    from frontier.ratio_results import RatioTable as RatioTable
    from frontier.ratios import hit_ratio as hit_ratio
    from frontier.ratios import ratio_table as ratio_table
    from frontier.ratios import relative_potency as relative_potency
    from frontier.readers import read as read
    from frontier.seeds import compare_seeds as compare_seeds
    from frontier.seeds import lack_of_fit as lack_of_fit
    from frontier.seeds import paired_batches as paired_batches
    from frontier.seeds import within_setting as within_setting
    from frontier.selection import select_curve as select_curve
    from frontier.selection import select_curves as select_curves
    from frontier.tables import fits_table as fits_table
    from frontier.tables import ratios_table as ratios_table
    from frontier.tables import runs_table as runs_table
    from frontier.uncertain_pareto import attainment as attainment
    from frontier.uncertain_pareto import pareto_probability as pareto_probability


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"frontier.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'frontier' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
