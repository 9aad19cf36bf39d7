"""Floating-point formats that models compute in, and rounding to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Format:
    """A floating-point format.

    epsilon  the machine epsilon. `largest` is its largest number, `least` the size below which runtimes may keep nothing.
    round    numbers to the nearest of the format, in an array of `kept`, which holds them exactly.
    grid     the format of witnesses, all of them numbers of this one: points of a set are looked for, and run, among them.
    """

    epsilon: float
    largest: float
    least: float
    kept: np.dtype
    grid: np.dtype
    round: Callable[[Array], Array]


def _cast(*dtypes: type[np.floating]) -> Callable[[Array], Array]:
    """Rounds to the first type, and keeps in the last."""

    def rounded(x: Array) -> Array:
        with np.errstate(over="ignore"):
            for dtype in dtypes:
                x = np.asarray(x, dtype)
        return x

    return rounded


def _bfloat16(x: Array) -> Array:
    """To the nearest float32 whose lower half of bits is zero, ties to even; infinities and NaN stay."""
    single = np.array(x, np.float32)
    bits = single.view(np.uint32)
    rounded = ((bits + (0x7FFF + (bits >> 16 & 1)).astype(np.uint32)) & np.uint32(0xFFFF0000)).view(np.float32)
    return np.where(np.isfinite(single), rounded, single)


_TINY = 2.0**-126  # of float32: numbers below it are flushed to zero by some runtimes

FORMATS: Mapping[str, Format] = {
    "float16": Format(2.0**-10, 65504.0, 2.0**-24, np.dtype("f4"), np.dtype("f2"), _cast(np.float16, np.float32)),
    "bfloat16": Format(2.0**-7, 2.0**127 * (2 - 2.0**-7), _TINY, np.dtype("f4"), np.dtype("f4"), _bfloat16),
    "float32": Format(2.0**-23, 2.0**127 * (2 - 2.0**-23), _TINY, np.dtype("f4"), np.dtype("f4"), _cast(np.float32)),
    "float64": Format(2.0**-52, 2.0**1023 * (2 - 2.0**-52), 2.0**-1022, np.dtype("f8"), np.dtype("f4"), _cast(np.float64)),
}
"""By the names that numpy and torch give them."""
