"""What the noise kernels compute, in numpy: counter-based random words, and integer noise drawn from them by exact thresholds.

Every sample has a stream of its own, addressed by five numbers: `seed` (64 bits), and 32 bits each of `stage`, `index` (of the
input) and `sample`, and the position in the stream. Words are those of Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers:
as easy as 1, 2, 3"): key = seed, counter = (block of four words, sample, index, stage). Nothing is shared by two addresses, so any
sample can be drawn again alone, and the batch it is drawn in does not matter.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
LOW32 = np.uint64(0xFFFFFFFF)
THIRTY_TWO = np.uint64(32)

PREFIX_BITS, REST_BITS = 16, 44
REFINE = 0x80000000
"""Set in the stage where the rest of a pixel's 60 bits comes from; stages stay below it."""
AMBIGUOUS = np.int16(-32768)
"""Entry of `Steps.table` for prefixes that do not decide the value."""


class Steps(NamedTuple):
    """A distribution on the integers, as thresholds of a 60-bit uniform number u: the value is `lowest` + #{t in thresholds: t <=
    u}.

    thresholds  int64 (m,), ascending, in [0, 2^60].
    table       int16 (65536,): the value where the first 16 bits of u decide it, else AMBIGUOUS.
    starts      int16 (65536,): the value at the least u with these first 16 bits.
    """

    lowest: int
    thresholds: np.ndarray
    table: np.ndarray
    starts: np.ndarray


def philox(block: np.ndarray, sample: np.ndarray, index: np.ndarray, stage: int, seed: int) -> list[np.ndarray]:
    """The four words of blocks, as uint64 arrays of 32-bit values; the arguments broadcast."""
    shape = np.broadcast_shapes(np.shape(block), np.shape(sample), np.shape(index))
    c = [np.broadcast_to(np.asarray(part, dtype=np.uint64), shape).copy() for part in (block, sample, index, stage)]
    keys = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    for _ in range(ROUNDS):
        first, second = c[0] * np.uint64(MULTIPLIERS[0]), c[2] * np.uint64(MULTIPLIERS[1])
        c = [
            (second >> THIRTY_TWO) ^ c[1] ^ np.uint64(keys[0]),
            second & LOW32,
            (first >> THIRTY_TWO) ^ c[3] ^ np.uint64(keys[1]),
            first & LOW32,
        ]
        keys = [key + step & 0xFFFFFFFF for key, step in zip(keys, WEYL, strict=True)]
    return c


def words(sample: np.ndarray, index: np.ndarray, stage: int, seed: int, count: int) -> np.ndarray:
    """The first `count` words of each stream, uint32 (rows, count); `sample` and `index` are (rows,)."""
    blocks = -(-count // 4)
    drawn = philox(np.arange(blocks)[None], sample[:, None], index[:, None], stage, seed)
    return np.stack(drawn, axis=2).reshape(len(sample), 4 * blocks)[:, :count].astype(np.uint32)


def steps_noise(sample: np.ndarray, index: np.ndarray, stage: int, seed: int, count: int, steps: Steps) -> np.ndarray:
    """`count` independent draws from `steps` for each stream, int64 (rows, count).

    Draw i takes its first 16 bits from half i % 2 (low first) of word i // 2, the rest from 44 bits of block i of the refining
    stage.
    """
    packed = words(sample, index, stage, seed, -(-count // 2)).astype(np.int64)
    prefix = np.stack([packed & 0xFFFF, packed >> 16], axis=2).reshape(len(sample), -1)[:, :count]
    rest = philox(np.arange(count)[None], sample[:, None], index[:, None], stage | REFINE, seed)
    u = prefix << REST_BITS | (rest[0] << np.uint64(12) | rest[1] >> np.uint64(20)).astype(np.int64)
    return steps.lowest + np.searchsorted(steps.thresholds, u, side="right")


def noisy_grid(
    inputs: np.ndarray, owner: np.ndarray, sample: np.ndarray, index: np.ndarray, stage: int, seed: int, steps: Steps, scale: float
) -> np.ndarray:
    """scale * (inputs[owner] + noise), float32 (rows, pixels): a function of the integer sum, rounded once.

    inputs are int16 (owners, pixels); owner, sample and index (rows,).
    """
    noise = steps_noise(sample, index, stage, seed, inputs.shape[1], steps)
    return (inputs[owner] + noise).astype(np.float32) * np.float32(scale)
