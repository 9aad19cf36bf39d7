"""A sequential test for dual smoothing: do the probits of the two halves' probabilities add up to more than a threshold?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import betaln, ndtr, ndtri

from certify.smoothing.confidence import LOG_ERROR
from certify.smoothing.sequential import check_test

CELLS = 256
"""Cells that the boundary of the hypothesis is covered with: the wealth is known up to what it changes over one of them."""
REACH = 8.0
"""Probits between which the cells lie evenly; one more at either end reaches to infinity."""
GROWTH = 1.02
"""The test looks after every sample at first, then whenever their number has grown by this factor."""


@dataclass(frozen=True)
class DualBetting:
    """One bet against each pair (p_l, p_r) of probabilities of a hit, of which n samples of either half have been seen.

    The wealth against a pair is the product of the two halves' mixtures (see `confidence.betting`), whose samples are independent: a
    martingale under that pair, which ever reaches 1/alpha with probability at most alpha. Yes is said when it has reached 1/alpha
    against every pair with Phi^-1(p_l) + Phi^-1(p_r) <= threshold, so alpha is not split between the halves; no is the mirror image.
    `slacks` bound by how much the probabilities of what is drawn may differ from those in question.
    """

    threshold_up: float
    threshold_down: float
    slacks: tuple[float, float]
    alpha: float
    beta: float
    budget: int = 100_000

    def __post_init__(self) -> None:
        check_test(self.threshold_down, self.threshold_up, self.alpha, self.beta, self.budget, (-math.inf, math.inf))

    def verdicts(self, hits: np.ndarray, n: np.ndarray) -> np.ndarray:
        """1, -1 or 0 for each number of samples n, (looks,), and the two halves' hits among them, (2, looks)."""
        found = np.zeros(len(n), dtype=int)
        looked = np.flatnonzero(self._looks[n])
        hits, n = hits[:, looked], n[looked]
        yes = least_log_wealth(hits, n, self.threshold_up, self.slacks) >= math.log(1 / self.alpha) + 2 * LOG_ERROR
        no = least_log_wealth(n - hits, n, -self.threshold_down, self.slacks) >= math.log(1 / self.beta) + 2 * LOG_ERROR
        found[looked] = yes.astype(int) - (no & ~yes)
        return found

    @cached_property
    def _looks(self) -> np.ndarray:
        """Whether to look after n samples, by n = 0, ..., budget."""
        steps = np.floor(np.log(np.maximum(1, np.arange(self.budget + 1))) / math.log(GROWTH))
        looks = np.diff(steps, prepend=-1.0) > 0
        looks[0], looks[-1] = False, True
        return looks


def least_log_wealth(hits: np.ndarray, n: np.ndarray, threshold: float, slacks: tuple[float, float]) -> np.ndarray:
    """A lower bound of the log wealth against all pairs of probits a_l + a_r <= threshold; -inf where the sample is such a pair.

    hits are (2, looks), n (looks,). Each half's wealth falls as its probit rises to that of the sample, so the minimum lies on the
    line a_l + a_r = threshold between (threshold - a_r of the sample) and (a_l of the sample). On a cell [u, v] of a_l there, the left
    wealth is least at a_l = v and the right one, which rises with a_l, at a_r = threshold - u.
    """
    with np.errstate(invalid="ignore"):
        left, right = ndtri(hits / n)
        outside = left + right > threshold
    low, high = (threshold - right)[outside], left[outside]
    nodes = np.linspace(np.maximum(low, -REACH), np.minimum(high, REACH), CELLS + 1, axis=1)
    nodes[:, 0], nodes[:, -1] = low, high
    nodes = np.maximum.accumulate(nodes, axis=1)
    (k, j), m = hits[:, outside], n[outside]
    wealth = np.full(len(n), -np.inf)
    wealth[outside] = np.min(_mixture(k, m, nodes[:, 1:], slacks[0]) + _mixture(j, m, threshold - nodes[:, :-1], slacks[1]), axis=1)
    return wealth


def _mixture(k: np.ndarray, n: np.ndarray, probits: np.ndarray, slack: float) -> np.ndarray:
    """Log wealth, (looks, probits), of the Beta(1/2, 1/2) mixture after k hits in n: at least this within `slack` of each p."""
    tiny = np.finfo(float).tiny
    hit, miss = (np.log(ndtr(side * probits) + slack + tiny) for side in (1, -1))
    return (betaln(k + 0.5, n - k + 0.5) - math.log(math.pi))[:, None] - k[:, None] * hit - (n - k)[:, None] * miss
