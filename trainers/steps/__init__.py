"""Step engines: how a family makes one training step, on the CPU member by member, on a GPU all at once.

`engine` is the interface, `loop` and `stacked` the two engines, `choice` picks one, `decoder` is what both do
to decoder rows. `closed_forms` spares the CPU autograd; nothing else depends on it.
"""

from trainers.steps.choice import engine_for
from trainers.steps.engine import Engine, MemberLog
from trainers.steps.loop import LoopEngine
from trainers.steps.stacked import StackedEngine

__all__ = ["Engine", "LoopEngine", "MemberLog", "StackedEngine", "engine_for"]
