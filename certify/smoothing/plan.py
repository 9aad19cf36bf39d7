"""What a budget can certify: the largest radius that n samples can show, and the samples that a radius needs."""

from __future__ import annotations

import math
from fractions import Fraction

from certify.smoothing.conclusion import VARIANTS, conclude
from certify.smoothing.confidence import rank_test


def largest_radius(n: int, alpha: Fraction, scale: float, variant: str = "pa", bound: str = "cp") -> float:
    """The radius when all n samples (of each part, all at noise `scale`) agree: no input can get more."""
    parts = VARIANTS[variant].parts.start
    return conclude([(n, 0)] * parts, 0, alpha, [scale] * parts, [0.0] * parts, variant, bound).radius


def samples_needed(radius: float, alpha: Fraction, scale: float, variant: str = "pa", bound: str = "cp", most: int = 10**9) -> int:
    """The least n whose largest radius reaches `radius`; a ValueError where `most` samples are not enough."""
    if largest_radius(most, alpha, scale, variant, bound) < radius:
        raise ValueError(f"radius {radius:g} is out of reach of {most:g} samples at noise {scale:g}; use more noise")
    low, high = 0, 1
    while largest_radius(high, alpha, scale, variant, bound) < radius:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = largest_radius(middle, alpha, scale, variant, bound) >= radius
        low, high = (low, middle) if enough else (middle, high)
    return high


def samples_to_predict(alpha: Fraction) -> int:
    """The least n with which `predict` can answer at all: below it even a unanimous vote is not significant."""
    n = max(1, math.ceil(1 - math.log2(alpha)))
    return next(m for m in range(max(1, n - 2), n + 3) if rank_test(m, 0) <= alpha)
