"""Sequential tests of "the probability of a hit is above a threshold": they look after every sample and stop when they know.

A rule answers 1 (yes), -1 (no) or 0 (go on). A wrong yes has probability at most `alpha`, a wrong no at most `beta`, over all times
together. `threshold_up` and `threshold_down` enclose the threshold; each side is tested against the harder end. `RULES` lists them.
Hits come as an array with a row for each part of the classifier, here one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import count
from typing import Protocol

import numpy as np
from scipy.special import betainc, betaln
from scipy.stats import binom

from certify.smoothing.confidence import LOG_ERROR
from certify.smoothing.exact import binomial_tail


class Rule(Protocol):
    """A stopping rule. After `budget` samples without an answer the question stays undecided."""

    @property
    def budget(self) -> int:
        """Most samples to look at."""
        ...

    def verdicts(self, hits: np.ndarray, n: np.ndarray) -> np.ndarray:
        """1, -1 or 0 for each number of samples n, (looks,), and the hits of each part among them, (parts, looks)."""
        ...


@dataclass(frozen=True)
class Betting:
    """Two one-sided bets, for p > threshold and for p < threshold, each with a Beta(1/2, 1/2) prior cut off at the threshold.

    Wealth after k hits in n against p* is the integral of p^k (1-p)^(n-k) over the prior on (p*, 1], divided by p*^k (1-p*)^(n-k).
    For every true p <= p* it is a supermartingale, since each bet above p* loses on average; so by Ville's inequality it ever
    reaches 1/alpha with probability at most alpha. Voracek 2024 with the prior truncated, which makes each side rigorous by itself.
    """

    threshold_up: float
    threshold_down: float
    alpha: float
    beta: float
    budget: int = 100_000

    def __post_init__(self) -> None:
        check_test(self.threshold_down, self.threshold_up, self.alpha, self.beta, self.budget, (0, 1))

    def verdicts(self, hits: np.ndarray, n: np.ndarray) -> np.ndarray:
        """1 where the bet for p > threshold has reached 1/alpha, -1 where the other has reached 1/beta."""
        (hits,) = hits
        yes = log_wealth(hits, n, self.threshold_up) >= math.log(1 / self.alpha) + LOG_ERROR
        no = log_wealth(n - hits, n, _complement_up(self.threshold_down)) >= math.log(1 / self.beta) + LOG_ERROR
        return yes.astype(int) - (no & ~yes)


def log_wealth(k: np.ndarray, n: np.ndarray, p: float) -> np.ndarray:
    """Logarithm of the wealth of the truncated bet on "a hit is likelier than p"; -inf where it is too small to compute."""
    misses = n - k
    with np.errstate(divide="ignore"):
        # The mass above p as a mass of misses below 1 - p: tiny values keep their digits.
        mass = np.log(betainc(misses + 0.5, k + 0.5, 1 - p)) - math.log(betainc(0.5, 0.5, 1 - p))
    return betaln(k + 0.5, misses + 0.5) - math.log(math.pi) - k * math.log(p) - misses * math.log1p(-p) + mass


@dataclass(frozen=True)
class UnionBound:
    """Exact binomial tests at times that grow by a tenth, with levels 5 alpha / ((j + 4)(j + 5)), j = 1, 2, ..., which add up to
    alpha.

    Voracek 2024. Hits only grow, so that a test counts as passed as soon as enough hits for it are there.
    """

    threshold_up: float
    threshold_down: float
    alpha: float
    beta: float
    budget: int = 100_000

    def __post_init__(self) -> None:
        check_test(self.threshold_down, self.threshold_up, self.alpha, self.beta, self.budget, (0, 1))

    def verdicts(self, hits: np.ndarray, n: np.ndarray) -> np.ndarray:
        """1 where the hits, -1 where the misses, reach what some test from now on asks for."""
        (hits,) = hits
        yes = hits >= self._hits_needed[n]
        no = n - hits >= self._misses_needed[n]
        return yes.astype(int) - (no & ~yes)

    @cached_property
    def _hits_needed(self) -> np.ndarray:
        return self._needed(self.threshold_up, self.alpha)

    @cached_property
    def _misses_needed(self) -> np.ndarray:
        return self._needed(_complement_up(self.threshold_down), self.beta)

    def _needed(self, p: float, level: float) -> np.ndarray:
        """Hits that suffice after n samples, by n = 0, ..., budget: the least that a test at time n or later asks for."""
        needed = np.full(self.budget + 1, self.budget + 1, dtype=np.int64)
        for j, t in enumerate(self._times(), start=1):
            needed[t] = least_hits(t, p, 5 * level / ((j + 4) * (j + 5)) * (1 - 1e-12))
        return np.minimum.accumulate(needed[::-1])[::-1]

    def _times(self) -> list[int]:
        times: list[int] = []
        for j in count(1):
            times.append(max(times[-1] + 1 if times else 1, math.floor(1.1 ** (10 + j)) + 1))
            if times[-1] > self.budget:
                return times[:-1]
        raise AssertionError


@dataclass(frozen=True)
class Curtailed:
    """The fixed test of `budget` samples, broken off once its outcome is certain: the same answers, at no cost in alpha.

    Yes means that the exact (Clopper-Pearson) bound at `budget` samples will exceed the threshold, no that it cannot; so `beta` is
    not an error probability here: no says that this many samples do not show it.
    """

    threshold_up: float
    threshold_down: float
    alpha: float
    beta: float
    budget: int = 100_000

    def __post_init__(self) -> None:
        check_test(self.threshold_down, self.threshold_up, self.alpha, self.beta, self.budget, (0, 1))

    def verdicts(self, hits: np.ndarray, n: np.ndarray) -> np.ndarray:
        """1 where the hits suffice, -1 where the misses are too many."""
        (hits,) = hits
        return (hits >= self._needed).astype(int) - (n - hits > self.budget - self._needed)

    @cached_property
    def _needed(self) -> int:
        return least_hits(self.budget, self.threshold_up, self.alpha)


RULES: Mapping[str, Callable[..., Rule]] = {"betting": Betting, "union": UnionBound, "curtailed": Curtailed}


def least_hits(n: int, p: float, level: float) -> int:
    """The least k with P(Bin(n, p) >= k) <= level, proved; n + 1 where there is none."""
    guess = int(binom.isf(level, n, p)) - 1
    return next(k for k in range(max(0, guess), n + 2) if binomial_tail(k, n, Decimal(p)) <= Decimal(level))


def _complement_up(p: float) -> float:
    """A float not below 1 - p, and below 1."""
    return min(math.nextafter(1 - p, 1.0), math.nextafter(1.0, 0.0))


def check_test(low: float, high: float, alpha: float, beta: float, budget: int, domain: tuple[float, float]) -> None:
    """A ValueError where no test is described: `low` and `high` must lie strictly inside `domain`, in this order."""
    if not domain[0] < low <= high < domain[1]:
        raise ValueError(f"the threshold must lie strictly between {domain[0]} and {domain[1]}, got [{low}, {high}]")
    if not (0 < alpha < 1 and 0 < beta < 1):
        raise ValueError(f"error probabilities must lie strictly between 0 and 1, got {alpha} and {beta}")
    if budget < 1:
        raise ValueError(f"the budget must be at least one sample, got {budget}")
