"""Compiled loops over pre-activations and codes: one pass where numpy and torch need many.

Each runs on one thread, without Python's lock, in the precision of its arrays. What is not a number is never
below a limit, so that it reaches the loss. The compiled code is kept beside this file, or in the user's
cache folder where that cannot be written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in machine code, made at its first call and kept on the disk where there is a place."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep it in
        return njit(**options)(function)


# ---- which values are chosen


WORD = 64
GATHER = np.uint64(0x0102040810204080)
"""Times eight bytes of 0 or 1: the top byte has their bits."""
DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
PLACES = np.zeros(WORD, np.int32)
"""Where the only bit of a word is, by the top six bits of its product with the de Bruijn sequence."""
for _bit in range(WORD):
    PLACES[((int(DE_BRUIJN) << _bit) % 2**64) >> 58] = _bit


@compiled
def marked(mask, packed, row, n, places, values):
    """Append place and value of every marked number of a row; how many there are then.

    mask : uint8 [multiple of 64]; packed : uint8 [an eighth of it], room for the bits.
    """
    eights, words = mask.view(np.uint64), packed.view(np.uint64)
    for j in range(len(eights)):
        packed[j] = (eights[j] * GATHER) >> np.uint64(56)
    for j in range(len(words)):
        word = words[j]
        while word:
            place = WORD * j + PLACES[((word & (~word + np.uint64(1))) * DE_BRUIJN) >> np.uint64(58)]
            places[n] = place
            values[n] = row[place]
            n += 1
            word &= word - np.uint64(1)
    return n


@compiled
def reach(z, limits, places, values, ends):
    """Every z `[n, F]` that is not below its latent's limit `[F]`; how many there are.

    Written: place and value of each, row after row, and where each row ends `[n]`.
    """
    size = z.shape[1]
    mask = np.zeros(-(-size // WORD) * WORD, np.uint8)
    packed = np.empty(len(mask) // 8, np.uint8)
    n = 0
    for b in range(len(z)):
        row = z[b]
        for i in range(size):
            mask[i] = not row[i] < limits[i]
        n = marked(mask, packed, row, n, places, values)
        ends[b] = n
    return n


@compiled
def highest(z, k, least, places, values, ends):
    """The k highest of each row of z `[n, F]`, of equal ones the first, without those below `least`.

    Written as by `reach`. Each row's limit is found by counting what reaches it.
    """
    size = z.shape[1]
    mask = np.zeros(-(-size // WORD) * WORD, np.uint8)
    packed = np.empty(len(mask) // 8, np.uint8)
    n, guess = 0, z.dtype.type(1)
    for b in range(len(z)):
        row, begin = z[b], n
        limit = limit_of(row, k, least, guess)
        guess = limit if limit > least else guess
        for i in range(size):
            mask[i] = not row[i] < limit
        n = marked(mask, packed, row, n, places, values)
        if n > begin + k:
            n = first_of_equals(limit, k, begin, n, places, values)
        ends[b] = n
    return n


@compiled
def limit_of(row, k, least, guess):
    """A number, not below `least`, that k values of the row reach; if none is, the highest that more reach.

    What reaches a limit is counted, first for the guess. From there the logarithm of the count is continued
    in a line, and the gap halved now and then, until the count is k or no number is left between too low and
    too high: then equal values forbid it.
    """
    number, infinity = row.dtype.type, row.dtype.type(np.inf)
    low, high, middle, turn = least, infinity, guess, 0
    many = count(row, least)
    if many <= k:
        return least
    wanted, at_least, at_high = np.log(k), np.log(many), 0.0
    at_low = at_least
    while low < middle < high:
        found, turn = count(row, middle), turn + 1
        if found == k:
            return middle
        height = np.log(max(found, 0.5))  # none: as if half a value reached it
        if found > k and high == infinity:  # on from the least along the line, but at most twice as far
            share = (height - wanted) / max(at_least - height, height - wanted)
            low, at_low = middle, height
            middle += number(share) * (middle - least)
            continue
        if found > k:
            low, at_low = middle, height
        else:
            high, at_high = middle, height
        share = 0.5 if turn % 8 == 0 else min(max((at_low - wanted) / (at_low - at_high), 0.02), 0.98)
        middle = low + number(share) * (high - low)
        if not low < middle < high:
            middle = low + number(0.5) * (high - low)
    return low


@compiled
def count(row, limit):
    """How many are not below the limit."""
    found = 0
    for i in range(len(row)):
        found += not row[i] < limit
    return found


@compiled
def first_of_equals(limit, k, begin, end, places, values):
    """Leave k values from `begin` on: those above the limit, and the first that equal it; the new end."""
    spare = k
    for j in range(begin, end):
        spare -= not values[j] <= limit
    n = begin
    for j in range(begin, end):
        equal = values[j] <= limit
        if n < begin + k and (not equal or spare > 0):
            spare -= equal
            places[n], values[n] = places[j], values[j]
            n += 1
    return n


# ---- what is done to chosen values


@compiled
def taken(table, begins, places, values):
    """The numbers of a table `[rows, F]` at the places of codes are written to `values`."""
    for b in range(len(begins) - 1):
        for j in range(begins[b], begins[b + 1]):
            values[j] = table[b, places[j]]


@compiled
def by_latent(begins, places, values, slopes, starts, rows, sorted_values, sorted_slopes, sums):
    """Codes sorted by latent: where each starts `[F + 1]`, rows, values and slopes, and Σ slopes `[F]`."""
    for place in places:
        starts[place + 1] += 1
    for i in range(len(sums)):
        starts[i + 1] += starts[i]
    ends = starts[:-1].copy()
    records = np.empty((len(places), 4), values.dtype)  # side by side: one line of the cache each
    numbers = records.view(np.int32)
    for b in range(len(begins) - 1):
        for j in range(begins[b], begins[b + 1]):
            at = ends[places[j]]
            numbers[at, 0], records[at, 1], records[at, 2] = b, values[j], slopes[j]
            ends[places[j]] = at + 1
    for i in range(len(sums)):
        for at in range(starts[i], starts[i + 1]):
            rows[at], sorted_values[at], sorted_slopes[at] = numbers[at, 0], records[at, 1], records[at, 2]
            sums[i] += records[at, 2]


# ---- what is done to dense codes, slice by slice; [n, F] each, sums over tokens are added to [F]


@compiled
def rectify(z, along):
    """Z becomes f = relu(z), whose sums are added to `along`.

    As `rectify_back(z, z, along)`, which no vector instructions could do: two of its arrays would be one.
    """
    zero, sums = z.dtype.type(0), np.zeros_like(along)
    for b in range(len(z)):
        for i in range(z.shape[1]):
            value = zero if z[b, i] <= zero else z[b, i]
            z[b, i] = value
            sums[i] += value
    along += sums


@compiled
def rectify_back(f, d_f, shift):
    """∂f becomes ∂z = ∂f 1[f > 0], whose sums are added to `shift`."""
    zero, sums = f.dtype.type(0), np.zeros_like(shift)
    for b in range(len(f)):
        for i in range(f.shape[1]):
            value = zero if f[b, i] <= zero else d_f[b, i]
            d_f[b, i] = value
            sums[i] += value
    shift += sums


@compiled
def jump(z, threshold, f):
    """Codes f = z 1[z > θ] 1[z > 0]; how many are not 0."""
    zero, active = z.dtype.type(0), 0
    for b in range(len(z)):
        for i in range(z.shape[1]):
            off = z[b, i] <= threshold[i] or z[b, i] <= zero
            f[b, i] = zero if off else z[b, i]
            active += not off
    return active


@compiled
def jump_window(z, d_f, threshold, weight, half, window):
    """Σ_b (θ ∂f + weight) 1[|z − θ| < half] is added to `window`."""
    zero, sums = z.dtype.type(0), np.zeros_like(window)
    for b in range(len(z)):
        for i in range(z.shape[1]):
            term = threshold[i] * d_f[b, i] + weight
            sums[i] += term if abs(z[b, i] - threshold[i]) < half else zero
    window += sums


@compiled
def gates(z, scale, offset, f, opened):
    """Of z = π_gate: z becomes o = relu(z), whose sums are added; f = 1[z > 0] relu(z · scale + offset)."""
    zero, sums = z.dtype.type(0), np.zeros_like(opened)
    for b in range(len(z)):
        for i in range(z.shape[1]):
            value = z[b, i]
            magnitude = value * scale[i] + offset[i]
            f[b, i] = zero if value <= zero or magnitude <= zero else magnitude
            z[b, i] = zero if value <= zero else value
            sums[i] += z[b, i]
    opened += sums


@compiled
def gates_back(o, d_f, d_o, scale, weight, to_gate):
    """∂o becomes ∂z = g + scale · ∂f, with g = 1[o > 0] (∂o + weight), whose sums are added."""
    zero, sums = o.dtype.type(0), np.zeros_like(to_gate)
    for b in range(len(o)):
        for i in range(o.shape[1]):
            gate = zero if o[b, i] <= zero else d_o[b, i] + weight
            sums[i] += gate
            d_o[b, i] = gate + scale[i] * d_f[b, i]
    to_gate += sums
