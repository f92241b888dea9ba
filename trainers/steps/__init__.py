"""Step engines: how a family makes one training step, on the CPU member by member, on a GPU all at once."""

from trainers.steps.choice import engine_for
from trainers.steps.engine import Engine, MemberLog
from trainers.steps.loop import LoopEngine
from trainers.steps.stacked import StackedEngine

__all__ = ["Engine", "LoopEngine", "MemberLog", "StackedEngine", "engine_for"]
