"""What a step costs without a device: every operation counted on tensors that have no memory.

`traffic` counts the bytes, operations and memory of whatever runs inside it, `steps` runs the real step of a
family there. `trainers.needs` says from it what a run will need before it begins.
"""

from trainers.counting.steps import Counted, counted_step
from trainers.counting.traffic import Operation, Traffic

__all__ = ["Counted", "Operation", "Traffic", "counted_step"]
