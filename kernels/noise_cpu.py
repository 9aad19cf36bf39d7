"""numba twins of `noise_reference`: the same numbers, bit by bit, one pass over the output and no temporary arrays."""

from __future__ import annotations

import numpy as np
from numba import njit

from certify.kernels.noise_reference import AMBIGUOUS, MULTIPLIERS, REFINE, REST_BITS, ROUNDS, WEYL

_OPTIONS = {"cache": True, "error_model": "numpy", "nogil": True}
_M0, _M1 = (np.uint64(m) for m in MULTIPLIERS)
_W0, _W1 = (np.uint64(w) for w in WEYL)
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


@njit(inline="always")  # type: ignore[misc]
def _philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """The four words of a block, in 64-bit lanes: what stands above their 32 bits is junk, which no product reads."""
    for _ in range(ROUNDS):
        first, second = _M0 * (c0 & _LOW), _M1 * (c2 & _LOW)
        c0, c1, c2, c3 = (second >> _SHIFT) ^ c1 ^ k0, second, (first >> _SHIFT) ^ c3 ^ k1, first
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return np.uint32(c0), np.uint32(c1), np.uint32(c2), np.uint32(c3)


@njit(inline="always")  # type: ignore[misc]
def _draw(out, sample, index, stage, k0, k1):  # type: ignore[no-untyped-def]
    """One stream's first words, as many whole blocks as fit into `out`."""
    for block in range(len(out) // 4):
        w0, w1, w2, w3 = _philox(np.uint64(block), sample, index, stage, k0, k1)
        out[4 * block], out[4 * block + 1], out[4 * block + 2], out[4 * block + 3] = w0, w1, w2, w3


@njit(**_OPTIONS)  # type: ignore[call-overload]
def words(out, sample, index, stage, k0, k1):  # type: ignore[no-untyped-def]
    """See `noise_reference.words`; `out` is uint32 (rows, 4 * blocks), the address uint64."""
    for row in range(out.shape[0]):
        _draw(out[row], sample[row], index[row], stage, k0, k1)


@njit(inline="always")  # type: ignore[misc]
def _look_up(noise, open_places, halves, table):  # type: ignore[no-untyped-def]
    """Fills `noise` by the first 16 bits of each draw and lists the places that need more; returns their number."""
    count = 0
    for place in range(len(halves)):
        noise[place] = table[halves[place]]
        if noise[place] == AMBIGUOUS:
            open_places[count] = place
            count += 1
    return count


@njit(inline="always")  # type: ignore[misc]
def _refine(noise, places, rest, halves, sample, index, stage, k0, k1, lowest, thresholds, starts):  # type: ignore[no-untyped-def]
    """Settles the draws at `places` by all of their 60 bits: few thresholds share their first 16. `rest` is room to work in."""
    for j in range(len(places)):
        w0, w1, _, _ = _philox(places[j], sample, index, stage | np.uint64(REFINE), k0, k1)
        rest[j] = (np.int64(w0) << 12) | (np.int64(w1) >> 20)
    for j in range(len(places)):
        prefix = halves[places[j]]
        u = (np.int64(prefix) << REST_BITS) | rest[j]
        passed = starts[prefix] - lowest
        while passed < len(thresholds) and thresholds[passed] <= u:
            passed += 1
        noise[places[j]] = lowest + passed


@njit(**_OPTIONS)  # type: ignore[call-overload]
def noisy_grid(out, inputs, owner, sample, index, stage, k0, k1, lowest, thresholds, table, starts, scale):  # type: ignore[no-untyped-def]
    """See `noise_reference.noisy_grid`; writes into `out`, float32 (rows, pixels). Separate loops vectorise."""
    pixels = out.shape[1]
    blocks = (pixels + 7) // 8
    drawn = np.empty(4 * blocks, dtype=np.uint32)
    halves = drawn.view(np.uint16)  # low half first, as on every platform that numba and torch share
    noise = np.empty(8 * blocks, dtype=np.int16)
    places, rest = np.empty(8 * blocks, dtype=np.uint64), np.empty(8 * blocks, dtype=np.int64)
    for row in range(out.shape[0]):
        _draw(drawn, sample[row], index[row], stage, k0, k1)
        count = _look_up(noise, places, halves, table)
        _refine(noise, places[:count], rest, halves, sample[row], index[row], stage, k0, k1, lowest, thresholds, starts)
        x = inputs[owner[row]]
        for pixel in range(pixels):
            out[row, pixel] = scale * np.float32(np.int32(x[pixel]) + np.int32(noise[pixel]))
