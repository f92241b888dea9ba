"""How often verdicts and intervals are right on tables like the user's, by simulation."""

from frontier.calibration.calibrating import calibrate
from frontier.calibration.coverage import Calibration, Coverage
from frontier.calibration.of_fits import Truth, welch_limits
from frontier.calibration.verdict_rates import VerdictCalibration

__all__ = ["Calibration", "Coverage", "Truth", "VerdictCalibration", "calibrate", "welch_limits"]
