"""The normal distribution function and its inverse as floats, rounded to a stated side: guessed in floats, proved in decimals."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import lru_cache
from itertools import count

from scipy.special import ndtri

from certify.smoothing.exact import float_down, float_up, normal_cdf

SMALLEST = 1e-25
"""Below this probability the inverse is not resolved: the quantile's lower bound is -infinity there."""


def cdf_up(z: float) -> float:
    """A float not below Phi(z); nan is a ValueError."""
    return min(1.0, float_up(normal_cdf(_number(z))[1]))


def cdf_down(z: float) -> float:
    """A float not above Phi(z); nan is a ValueError."""
    return max(0.0, float_down(normal_cdf(_number(z))[0]))


@lru_cache(maxsize=1 << 16)
def quantile_down(p: float) -> float:
    """A float not above Phi^-1(p), within a few units in the last place of it; -inf for p below 1e-25, inf for p = 1."""
    if not 0 <= p <= 1:
        raise ValueError(f"a probability lies between 0 and 1, got {p}")
    if p < SMALLEST:
        return -math.inf
    if p == 1:
        return math.inf
    guess, exact = float(ndtri(p)), Decimal(p)
    steps = (guess - 2**i * math.ulp(guess) for i in count())
    return next(z for z in steps if normal_cdf(z)[1] <= exact)


@lru_cache(maxsize=1 << 16)
def quantile_up(p: float) -> float:
    """A float not below Phi^-1(p), within a few units in the last place of it; -inf for p = 0, inf for p = 1."""
    if not 0 <= p <= 1:
        raise ValueError(f"a probability lies between 0 and 1, got {p}")
    if p in (0, 1):
        return math.copysign(math.inf, p - 0.5)
    guess, exact = float(ndtri(max(p, SMALLEST))), Decimal(p)
    steps = (guess + 2**i * math.ulp(guess) for i in count())
    return next(z for z in steps if normal_cdf(z)[0] >= exact)


def _number(z: float) -> float:
    if math.isnan(z):
        raise ValueError("not a number")
    return z
