"""Confidence bounds on a probability from counts: exact, for a number of samples fixed in advance, and anytime.

`lower(k, n, alpha)` is not above the true p with probability at least 1 - alpha, whatever p is; `upper` mirrors it. All are rounded
outward. `BOUNDS` lists the methods by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import count

from scipy.special import betaincinv, betaln

from certify.smoothing.exact import binomial_tail, float_up

LOG_ERROR = 1e-6
"""Allowance for rounding in log wealth: betaln's terms are below 10^9 in size, each with a relative error of a few 1e-16."""

LowerBound = Callable[[int, int, float], float]


@lru_cache(maxsize=1 << 16)
def clopper_pearson(k: int, n: int, alpha: float) -> float:
    """The exact one-sided lower bound (Clopper and Pearson 1934), rounded down: the largest p with P(Bin(n, p) >= k) <= alpha.

    For k = n it is alpha^(1/n). `n` must have been fixed before looking.
    """
    check_counts(k, n, alpha)
    if k == 0:
        return 0.0
    guess = float(betaincinv(k, n - k + 1, alpha))
    steps = (max(0.0, guess * (1 - 2.0 ** (i - 51))) for i in count())
    return next(p for p in steps if p == 0 or binomial_tail(k, n, Decimal(p)) <= Decimal(alpha))


@lru_cache(maxsize=1 << 16)
def betting(k: int, n: int, alpha: float) -> float:
    """A lower bound that holds for all n at once, rounded down: peeking and stopping at will are allowed.

    The wealth of a bettor against p with the Beta(1/2, 1/2) mixture of Krichevsky and Trofimov, after k hits in n, is
    B(k + 1/2, n - k + 1/2) / (B(1/2, 1/2) p^k (1 - p)^(n - k)): a martingale under p, which by Ville's inequality ever reaches
    1/alpha with probability at most alpha (Waudby-Smith and Ramdas, arXiv 2010.09686). The bound is the least p at which it has
    not.
    """
    check_counts(k, n, alpha)
    if k == 0:
        return 0.0
    target = math.log(1 / alpha) + LOG_ERROR
    mixture = float(betaln(k + 0.5, n - k + 0.5) - betaln(0.5, 0.5))

    def refuted(p: float) -> bool:
        return mixture - k * math.log(p) - (n - k) * math.log1p(-p) >= target

    low, high = 0.0, k / n  # wealth falls on (0, k/n): bisect
    while math.nextafter(low, 1.0) < high:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
        if high - low <= 1e-15 * high:
            break
    return low


BOUNDS: Mapping[str, LowerBound] = {"cp": clopper_pearson, "betting": betting}


def upper(lower: LowerBound, k: int, n: int, alpha: float) -> float:
    """The upper bound that mirrors a lower one: the misses' share is 1 minus the hits'. Rounded up."""
    return float_up(1 - Fraction(lower(n - k, n, alpha)))


def rank_test(first: int, second: int) -> float:
    """p-value, rounded up, of "the class with `first` votes is not the likeliest" against the one with `second` votes.

    The two-sided binomial test of Hung and Fithian (arXiv 1610.03944), as `predict` of Cohen et al. 2019 uses it; 1 at a tie.
    """
    if second > first or second < 0:
        raise ValueError(f"rank test: the first count must be the larger one, got {first} and {second}")
    if first == second:
        return 1.0
    return min(1.0, float_up(2 * Fraction(binomial_tail(first, first + second, Decimal("0.5")))))


def check_counts(k: int, n: int, alpha: float) -> None:
    """A ValueError where these are not k hits in n samples at an error probability inside (0, 1)."""
    if not (0 <= k <= n and n > 0):
        raise ValueError(f"{k} hits in {n} samples are impossible")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
