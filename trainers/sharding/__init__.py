"""One SAE over many devices: its latents are divided, F / N to each of N processes ("shards").

`mesh` places the processes (members × shards), `collectives` are sums that gradients go through, `selection`
chooses latents over all of them, `kinds` makes an architecture's own loss hold for a part of its latents,
`pieces` names the parts in checkpoints, `family` and `engine` are those of `trainers.family` and
`trainers.steps` for a part. Data are not divided: every process sees every batch.
"""

from trainers.sharding.engine import ShardedEngine
from trainers.sharding.family import ShardedFamily
from trainers.sharding.kinds import part_of
from trainers.sharding.mesh import Mesh, ShardError, check, mesh_of

__all__ = ["Mesh", "ShardError", "ShardedEngine", "ShardedFamily", "check", "mesh_of", "part_of"]
