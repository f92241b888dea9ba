"""Gradients in closed form for the CPU: the same numbers as autograd, in a fraction of its time.

Why they exist
    On a CPU most of an autograd step is spent on codes that are zero: it multiplies, stores and
    differentiates `[B, F]` matrices of which a TopK SAE uses one value in thirty. The gradients of these
    losses are short formulas (each module begins with its own) and need the selected latents alone. CPU
    time of one step with autograd over that in closed form, at d 128, F 1,024 and 2,048 activations, one
    thread (2026-11-29): TopK 5.9, BatchTopK 7.1, Matryoshka 5.2 at k 32; ReLU 1.9 and Gated 2.0 where
    half of the latents fire, JumpReLU 3.8 where a third does. docs/benchmarks.md sets them against other
    libraries.
What they must equal
    The loss in `architectures` is the oracle: tests/trainers/test_fast_steps.py holds every gradient to
    1e-9 of autograd's in float64. An architecture is written, read and changed there; a closed form may
    be deleted, and the loop engine then takes autograd.
When they are chosen
    By `by_architecture.closed_form`, for the loop engine only: TopK, AbsTopK, HierarchicalTopK, BatchTopK,
    Matryoshka, ReLU with p 1, JumpReLU's step penalty and the paper's Gated, all without optional
    penalties and skips. Whether a member's codes count as sparse is decided by its own codes at each step,
    never by who trains beside it.

========================  =============================================================================
`by_architecture`         which form covers which architecture and density
`sparse`                  TopK kinds; `dead_latents` is their AuxK
`sparse_gates`, `dense`   ReLU, JumpReLU and Gated, where few or many latents fire
`selection`               pre-activations, and the latents that are chosen from them
`codes`, `sums`           few values of a wide matrix; what the slices of a batch add up to
`kernels`, `memory`       compiled loops; blocks that are used again
========================  =============================================================================
"""

from trainers.steps.closed_forms.by_architecture import closed_form

__all__ = ["closed_form"]
