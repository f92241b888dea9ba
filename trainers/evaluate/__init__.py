"""Every metric of every SAE in one pass over the evaluation text: `evaluate`; of a finished run: `runs`."""

from frontier.studies.evaluation import Evaluation, EvaluationError
from trainers.evaluate.one_pass import evaluate

__all__ = ["Evaluation", "EvaluationError", "evaluate"]
