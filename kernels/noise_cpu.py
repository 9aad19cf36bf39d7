"""numba twins of `noise_reference`: the same numbers, bit by bit, one pass over the output and no temporary arrays."""

from __future__ import annotations

import numpy as np
from numba import njit

from certify.kernels.noise_reference import AMBIGUOUS, MULTIPLIERS, REFINE, REST_BITS, ROUNDS, WEYL

_OPTIONS = {"cache": True, "error_model": "numpy", "nogil": True}
_M0, _M1 = (np.uint64(m) for m in MULTIPLIERS)
_W0, _W1 = (np.uint32(w) for w in WEYL)
_SHIFT = np.uint64(32)


@njit(inline="always")  # type: ignore[misc]
def _philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    for _ in range(ROUNDS):
        first = _M0 * np.uint64(c0)
        second = _M1 * np.uint64(c2)
        c0 = np.uint32(np.uint32(second >> _SHIFT) ^ c1 ^ k0)
        c1 = np.uint32(second)
        c2 = np.uint32(np.uint32(first >> _SHIFT) ^ c3 ^ k1)
        c3 = np.uint32(first)
        k0 = np.uint32(k0 + _W0)
        k1 = np.uint32(k1 + _W1)
    return c0, c1, c2, c3


@njit(**_OPTIONS)  # type: ignore[call-overload]
def words(out, sample, index, stage, k0, k1):  # type: ignore[no-untyped-def]
    """See `noise_reference.words`; `out` is uint32 (rows, 4 * blocks), all numbers uint32."""
    for row in range(out.shape[0]):
        for block in range(out.shape[1] // 4):
            w = _philox(np.uint32(block), sample[row], index[row], stage, k0, k1)
            for j in range(4):
                out[row, 4 * block + j] = w[j]


@njit(**_OPTIONS)  # type: ignore[call-overload]
def _refined(pixel, prefix, sample, index, stage, k0, k1, lowest, thresholds):  # type: ignore[no-untyped-def]
    w0, w1, _, _ = _philox(np.uint32(pixel), sample, index, stage | np.uint32(REFINE), k0, k1)
    rest = (np.int64(w0) << 12) | (np.int64(w1) >> 20)
    u = (np.int64(prefix) << REST_BITS) | rest
    return lowest + np.searchsorted(thresholds, u, side="right")


@njit(**_OPTIONS)  # type: ignore[call-overload]
def noisy_grid(out, inputs, owner, sample, index, stage, k0, k1, lowest, thresholds, table, scale):  # type: ignore[no-untyped-def]
    """See `noise_reference.noisy_grid`; writes into `out`, float32 (rows, pixels). Separate loops vectorise."""
    pixels = out.shape[1]
    blocks = (pixels + 7) // 8
    drawn = np.empty(4 * blocks, dtype=np.uint32)
    noise = np.empty(8 * blocks, dtype=np.int16)
    for row in range(out.shape[0]):
        for block in range(blocks):
            w0, w1, w2, w3 = _philox(np.uint32(block), sample[row], index[row], stage, k0, k1)
            drawn[4 * block], drawn[4 * block + 1], drawn[4 * block + 2], drawn[4 * block + 3] = w0, w1, w2, w3
        for i in range(4 * blocks):
            noise[2 * i] = table[drawn[i] & np.uint32(0xFFFF)]
            noise[2 * i + 1] = table[drawn[i] >> np.uint32(16)]
        for pixel in range(pixels):
            if noise[pixel] == AMBIGUOUS:
                prefix = (drawn[pixel // 2] >> np.uint32(16 * (pixel % 2))) & np.uint32(0xFFFF)
                noise[pixel] = _refined(pixel, prefix, sample[row], index[row], stage, k0, k1, lowest, thresholds)
        x = inputs[owner[row]]
        for pixel in range(pixels):
            out[row, pixel] = scale * np.float32(np.int32(x[pixel]) + np.int32(noise[pixel]))
