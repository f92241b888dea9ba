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
    "Comparison": "comparison.results",
    "Comparisons": "comparison.results",
    "CurveFit": "fits.curve_fit",
    "CurveSelection": "selection.curve_selection",
    "FrontierFits": "fits.curve_fit",
    "HillModel": "fits.lmfit_models",
    "Interval": "intervals",
    "LinearModel": "fits.lmfit_models",
    "ObservedRatios": "ratios.observed",
    "PowerModel": "fits.lmfit_models",
    "Ratio": "ratios.results",
    "RatioTable": "ratios.results",
    "TableError": "metrics.checks",
    "attainment": "pareto.uncertain",
    "averaged_potency": "selection.averaging",
    "calibrate": "calibration",
    "compare": "comparison.comparing",
    "compare_seeds": "seeds.comparing",
    "explore": "explorer",
    "family_styles": "figures.frontiers",
    "fit": "fits.fitting",
    "fit_frontier": "inefficiency.fitting",
    "fit_points": "fits.fitting",
    "fits_table": "tables.contents",
    "hill": "curves",
    "hit_ratio": "ratios.from_fits",
    "hit_ratio_curve": "ratios.curves",
    "hypervolume": "pareto.sets",
    "is_pareto_optimal": "pareto.sets",
    "joint_region": "fits.joint",
    "lack_of_fit": "seeds.comparing",
    "linear": "curves",
    "load_dataset": "datasets",
    "mark_pareto": "pareto.sets",
    "mean_hit_ratio": "ratios.curves",
    "mean_relative_potency": "ratios.curves",
    "metrics_table": "metrics.table",
    "notes": "metrics.table",
    "observed_potency": "ratios.observed",
    "paired_batches": "seeds.comparing",
    "paper_style": "figures.frontiers",
    "parallelism": "ratios.parallel",
    "pareto_probability": "pareto.uncertain",
    "pareto_set": "pareto.sets",
    "plan": "selection.planning",
    "plot_attainment": "figures",
    "plot_evidence": "figures",
    "plot_fit": "figures.frontiers",
    "plot_fits": "figures.frontiers",
    "plot_frequencies": "figures",
    "plot_frontier": "figures.frontiers",
    "plot_frontiers": "figures.frontiers",
    "plot_high_frequency": "figures",
    "plot_hit_ratio": "figures",
    "plot_hit_ratios": "figures",
    "plot_metric": "figures",
    "plot_metrics": "figures",
    "plot_potencies": "figures",
    "plot_potency": "figures",
    "plot_pruning": "figures",
    "plot_ratios": "figures.frontiers",
    "plot_reconstruction": "figures",
    "plot_region": "figures",
    "plot_regions": "figures",
    "plot_residual": "figures",
    "plot_residuals": "figures",
    "plot_settings": "figures",
    "plot_training": "figures",
    "pool_ratios": "pooling",
    "power": "curves",
    "ratio_table": "ratios.from_fits",
    "ratios_table": "tables.contents",
    "read": "readers",
    "relative_potency": "ratios.from_fits",
    "relative_potency_curve": "ratios.curves",
    "report": "html_report",
    "runs_table": "tables.runs",
    "save_figure": "figures.files",
    "select_curve": "selection.choosing",
    "select_curves": "selection.choosing",
    "shared_fit": "ratios.parallel",
    "training_log": "figures",
    "within_setting": "seeds.comparing",
}

__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from frontier.calibration import calibrate as calibrate
    from frontier.comparison import compare as compare
    from frontier.comparison.results import Comparison as Comparison
    from frontier.comparison.results import Comparisons as Comparisons
    from frontier.curves import CURVES as CURVES
    from frontier.curves import hill as hill
    from frontier.curves import linear as linear
    from frontier.curves import power as power
    from frontier.datasets import load_dataset as load_dataset
    from frontier.explorer import explore as explore
    from frontier.figures import family_styles as family_styles
    from frontier.figures import paper_style as paper_style
    from frontier.figures import plot_attainment as plot_attainment
    from frontier.figures import plot_evidence as plot_evidence
    from frontier.figures import plot_fit as plot_fit
    from frontier.figures import plot_fits as plot_fits
    from frontier.figures import plot_frequencies as plot_frequencies
    from frontier.figures import plot_frontier as plot_frontier
    from frontier.figures import plot_frontiers as plot_frontiers
    from frontier.figures import plot_high_frequency as plot_high_frequency
    from frontier.figures import plot_hit_ratio as plot_hit_ratio
    from frontier.figures import plot_hit_ratios as plot_hit_ratios
    from frontier.figures import plot_metric as plot_metric
    from frontier.figures import plot_metrics as plot_metrics
    from frontier.figures import plot_potencies as plot_potencies
    from frontier.figures import plot_potency as plot_potency
    from frontier.figures import plot_pruning as plot_pruning
    from frontier.figures import plot_ratios as plot_ratios
    from frontier.figures import plot_reconstruction as plot_reconstruction
    from frontier.figures import plot_region as plot_region
    from frontier.figures import plot_regions as plot_regions
    from frontier.figures import plot_residual as plot_residual
    from frontier.figures import plot_residuals as plot_residuals
    from frontier.figures import plot_settings as plot_settings
    from frontier.figures import plot_training as plot_training
    from frontier.figures import save_figure as save_figure
    from frontier.figures import training_log as training_log
    from frontier.fits import fit as fit
    from frontier.fits import fit_points as fit_points
    from frontier.fits.curve_fit import CurveFit as CurveFit
    from frontier.fits.curve_fit import FrontierFits as FrontierFits
    from frontier.fits.joint import joint_region as joint_region
    from frontier.fits.lmfit_models import HillModel as HillModel
    from frontier.fits.lmfit_models import LinearModel as LinearModel
    from frontier.fits.lmfit_models import PowerModel as PowerModel
    from frontier.html_report import report as report
    from frontier.inefficiency import fit_frontier as fit_frontier
    from frontier.intervals import Interval as Interval
    from frontier.metrics import metrics_table as metrics_table
    from frontier.metrics import notes as notes
    from frontier.metrics.checks import TableError as TableError
    from frontier.pareto import hypervolume as hypervolume
    from frontier.pareto import is_pareto_optimal as is_pareto_optimal
    from frontier.pareto import mark_pareto as mark_pareto
    from frontier.pareto import pareto_set as pareto_set
    from frontier.pareto.uncertain import attainment as attainment
    from frontier.pareto.uncertain import pareto_probability as pareto_probability
    from frontier.pooling import pool_ratios as pool_ratios
    from frontier.ratios import hit_ratio as hit_ratio
    from frontier.ratios import ratio_table as ratio_table
    from frontier.ratios import relative_potency as relative_potency
    from frontier.ratios.curves import hit_ratio_curve as hit_ratio_curve
    from frontier.ratios.curves import mean_hit_ratio as mean_hit_ratio
    from frontier.ratios.curves import mean_relative_potency as mean_relative_potency
    from frontier.ratios.curves import relative_potency_curve as relative_potency_curve
    from frontier.ratios.observed import ObservedRatios as ObservedRatios
    from frontier.ratios.observed import observed_potency as observed_potency
    from frontier.ratios.parallel import parallelism as parallelism
    from frontier.ratios.parallel import shared_fit as shared_fit
    from frontier.ratios.results import Ratio as Ratio
    from frontier.ratios.results import RatioTable as RatioTable
    from frontier.readers import read as read
    from frontier.seeds import compare_seeds as compare_seeds
    from frontier.seeds import lack_of_fit as lack_of_fit
    from frontier.seeds import paired_batches as paired_batches
    from frontier.seeds import within_setting as within_setting
    from frontier.selection import select_curve as select_curve
    from frontier.selection import select_curves as select_curves
    from frontier.selection.averaging import averaged_potency as averaged_potency
    from frontier.selection.curve_selection import CurveSelection as CurveSelection
    from frontier.selection.planning import plan as plan
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
