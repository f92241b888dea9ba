"""One member trained on one device and over shards, on the same batches: losses, and which latents fired."""

from typing import NamedTuple

import torch

from trainers.activations import Batch, Scaling
from trainers.architectures import (
    AbsTopK,
    BatchTopK,
    Gated,
    JumpReLU,
    Knobs,
    Matryoshka,
    PAnneal,
    ReLU,
    TopK,
)
from trainers.family import Family, Member, Schedule
from trainers.sharding import ShardedEngine, ShardedFamily
from trainers.steps import LoopEngine
from trainers.steps.engine import StepOptions

D, F, B = 12, 64, 48
KINDS = {
    "relu": ReLU(),
    "relu, p-norm": ReLU(free_decoder_norms=False, p=0.5),
    "gated": Gated(),
    "gated, untied": Gated(tied=False, frozen_decoder=False),
    "jumprelu": JumpReLU(),
    "jumprelu, tanh": JumpReLU(penalty="tanh", pre_coefficient=0.1),
    "jumprelu, target": JumpReLU(penalty="target"),
    "topk": TopK(dead_after=0.05),
    "abs_topk": AbsTopK(dead_after=0.05),
    "batch_topk": BatchTopK(dead_after=0.05),
    "matryoshka": Matryoshka(dead_after=0.05, prefixes=(0.1, 0.3, 0.55, 1.0)),
    "p_anneal": PAnneal(changes=5),
    "skip": ReLU(subtract_decoder_bias=False, skip=True),
    "penalties": ReLU(independence=0.5, contrastive=0.5, frequency=0.5),
    "crosscoder": ReLU(parts=(5, 7)),
    "crosscoder, gated": Gated(parts=(5, 7)),
    "crosscoder, topk": TopK(dead_after=0.05, parts=(5, 7)),
}
"""Every architecture, and the forms of it that sum something else over latents."""


class Trained(NamedTuple):
    """Losses `[steps]`, what fired `[steps, B, F]`, and the family."""

    losses: torch.Tensor
    fired: torch.Tensor
    family: Family


def batch(seed, double=True):
    """Sparse sums of random directions, with a mean; a code in every token."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.randn(40, D, generator=torch.Generator().manual_seed(0))
    codes = torch.rand(B, 40, generator=random) * (torch.rand(B, 40, generator=random) < 0.15)
    codes[(codes == 0).all(1), 0] = 1.0
    x = 2 * codes @ directions + 0.3
    x = x.double() if double else x
    return Batch(x, x)


def rate_of(kind):
    """A learning rate at which 200 steps do not blow up the last bit of a number.

    With powers below 1 they do at 2⁻⁷: on one device too, in float64, the last bits of the encoder changed at
    the start change the losses by 3e-3 in the end. Then no two orders of a sum can agree. So do thresholds
    with momentum, in float32.
    """
    wild = isinstance(kind, PAnneal) or getattr(kind, "p", 1) < 1 or getattr(kind, "momentum", 0)
    return 2**-11 if wild or kind.frequency else 2**-7


def made(kind, double=True, shards=None):
    """A family of one member; in float64 what differs is wrong, and no rounding."""
    mean = 0.0 if kind.skip else 0.3  # a transcoder's b_enc is a product with it: rounded by its width
    scaling = Scaling(1.0, 1.0, torch.full((D,), mean), torch.full((D,), mean))
    wants_l0 = isinstance(kind, TopK) or kind.sparsity_name == "target_l0"
    member = Member("m", 4.0 if wants_l0 else 0.5, 0, rate_of(kind))
    given = {"d_in": D, "d_out": D, "dictionary_size": F, "scaling": scaling}
    if shards is None:
        family = Family("f", kind, [member], **given)
    else:
        family = ShardedFamily("f", kind, [member], shards=shards, **given)
    if double:
        family.parameters = {k: v.double() for k, v in family.parameters.items()}
        family.state = {k: v.double() for k, v in family.state.items()}
        family.leaves = [family._views(0)]
    return family


def on_one_device(kind, steps, double=True):
    """By the loop and the plain autograd loss, which knows nothing of shards."""
    family = made(kind, double)
    engine = LoopEngine(family, StepOptions(Schedule(steps)), closed_forms=False)
    losses, fired = [], []
    for step in range(steps):
        now, ramp = batch(step, double), engine.options.schedule.ramp(step)
        knobs = Knobs(family.members[0].setting, ramp, step, steps)
        with torch.no_grad():
            found = kind.training_loss(family.leaves[0], family.state_of(0), *now, knobs)
        losses.append(found.total)
        fired.append(found.latents != 0)
        engine.step(now, step)
    return Trained(torch.stack(losses), torch.stack(fired), family)


def over_shards(shards, kind, steps, double=True, until=None):
    """The same over shards, or its first `until` steps; what fired is that of all of them."""
    family = made(kind, double, shards)
    engine = ShardedEngine(family, StepOptions(Schedule(steps)))
    plain, losses, fired = engine.losses, [], []

    def watched(m, now, step):
        found = plain(m, now, step)
        losses.append(found.total.detach())
        fired.append(found.latents != 0)
        return found

    engine.losses = watched
    for step in range(until or steps):
        engine.step(batch(step, double), step)
    every = shards.gathered(torch.stack(fired).to(torch.uint8))
    return Trained(torch.stack(losses), torch.cat(list(every), -1) > 0, family)
