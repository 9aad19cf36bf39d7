"""What visiting a domain and finding intervals of its own take and gain, as measured while a search runs, and when the latter pays."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf, log, log1p
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.search.domains import Domains

SECONDS_A_STEP = 1.0
"""A step of a search is to take about so long."""
CURIOSITY = 0.1
"""Of the time, what finding intervals gets in any case, so that their worth stays known."""
_LAST = 512


@dataclass
class Rate:
    """What one of something takes: seconds, over the last ones mostly."""

    seconds: float

    def add(self, number: int, seconds: float) -> None:
        """So many took so long."""
        share = min(1.0, 0.1 * number)
        self.seconds += share * (seconds / max(number, 1) - self.seconds)


class Pace:
    """Whether intervals of its own pay for a domain.

    Let a visit lift the bound of a domain by s, and intervals of its own by another t, both random. The trees that close a gap g grow like
    exp(a g) where splitting is all that is done, and like exp(b g) where every domain gets intervals, with a and b such that the two
    children of a domain have together the expected size of its own tree:

        2 E[exp(-a s)] = 1,    2 E[exp(-b s)] E[exp(-b t)] = 1.

    So a domain gets intervals where exp((a - b) g) exceeds what a visit with them takes, in visits without; and in any case once it has
    as many splits since its last intervals as take that time, for where a domain holds no point, nothing else may show it.
    Several threads may share one.
    """

    def __init__(self) -> None:
        self.visits, self.narrowings = Rate(0.01), Rate(0.2)
        self.gains: deque[float] = deque(maxlen=_LAST)
        self.lifts: deque[float] = deque(maxlen=_LAST)
        self.spent = self.on_intervals = 0.0
        self._lock = Lock()

    @property
    def at_once(self) -> int:
        """How many domains to narrow in a step."""
        return max(1, int(SECONDS_A_STEP / self.narrowings.seconds))

    def visited(self, before: Tensor, after: Tensor) -> None:
        """Takes note of what visits have gained."""
        with self._lock:
            self.gains.extend(_gains(before, after))

    def narrowed(self, before: Tensor, after: Tensor) -> None:
        """Takes note of what intervals of their own have gained, infinitely much where they showed that a domain is empty."""
        with self._lock:
            self.lifts.extend(_gains(before, after))

    def took(self, visits: int, visiting: float, narrowings: int, narrowing: float) -> None:
        """Takes note of the seconds of a step."""
        with self._lock:
            self.spent += visiting + narrowing
            self.on_intervals += narrowing
            self.visits.add(visits, visiting)
            self.narrowings.add(narrowings, narrowing)

    def worth_narrowing(self, domains: Domains) -> Tensor:
        """Their numbers, the least bounds first."""
        ratio = self.narrowings.seconds / self.visits.seconds
        age = domains.depth - domains.fresh
        worth = (-domains.bound * self._saved() > log1p(ratio)) | (age >= max(2.0, ratio))
        index = (worth & (age > 0)).nonzero().squeeze(1)
        if not len(index) and self.on_intervals < CURIOSITY * self.spent:
            index = (age > 0).nonzero().squeeze(1)
            return index[domains.bound[index].argsort()][:1]
        return index[domains.bound[index].argsort()]

    def _saved(self) -> float:
        """a - b."""
        with self._lock:
            s, t = np.array(self.gains), np.array(self.lifts)
        if not len(s):
            return 0.0
        b = _growth(s, t) if len(t) else 0.0
        return _growth(s, np.zeros(1)) - b if b < inf else 0.0


def _gains(before: Tensor, after: Tensor) -> list[float]:
    """Of those domains that had a bound."""
    return list((after - before)[torch.isfinite(before)].clamp(min=0).tolist())


def _growth(s: NDArray[np.float64], t: NDArray[np.float64]) -> float:
    """The a with 2 E[exp(-a s)] E[exp(-a t)] = 1; infinite where too many gain nothing."""

    def children(a: float) -> float:
        return 2 * float(np.exp(-a * s).mean() * np.exp(-a * t).mean())

    low, high = 0.0, log(2) / max(float(np.median(s + t.mean() if np.isfinite(t).all() else s)), 1e-9)
    while children(high) > 1:
        low, high = high, 2 * high
        if high > 1e9:
            return inf
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if children(middle) > 1 else (low, middle)
    return high
