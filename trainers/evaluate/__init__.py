"""Every metric of every SAE in one pass over the evaluation text: `evaluate`; of a finished run: `runs`."""

from trainers.evaluate.one_pass import evaluate
from trainers.evaluate.results import Evaluation, EvaluationError

__all__ = ["Evaluation", "EvaluationError", "evaluate"]
