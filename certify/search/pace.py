"""What visiting a domain and finding intervals of its own take and gain, as measured while a search runs, and when the latter pays."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import log, log1p
from threading import Lock

import torch
from torch import Tensor

from certify.search.domains import Domains

SECONDS_A_STEP = 1.0
"""A step of a search is to take about so long."""
CURIOSITY = 0.1
"""Of the time, what finding intervals gets in any case, so that their worth stays known."""
_LAST = 512
_TRIALS = 5  # intervals that are found before their worth is judged
_AT_LEAST = 1000  # visits: a search that takes fewer is soon over either way


@dataclass
class Rate:
    """What one of something takes: seconds, over the last ones mostly."""

    seconds: float

    def add(self, number: int, seconds: float) -> None:
        """So many took so long."""
        share = min(1.0, 0.1 * number)
        self.seconds += share * (seconds / max(number, 1) - self.seconds)


class Pace:
    """Whether intervals of their own pay for domains.

    Let a visit lift the bound of a domain by s on average, and intervals of its own by another t. Closing a gap g takes about
    N = 2^(g / s) visits where splitting is all that is done, and 2^(g / (s + t)) = N^(s / (s + t)) of both where every domain gets
    intervals. So intervals pay if N^(t / (s + t)) exceeds what a visit with them takes, in visits without. How large N is shows only
    in the end; as long as a search goes on, it is taken to be halfway through.

    Whatever the answer, a domain gets intervals once it has as many splits since its last ones as take that time: where it holds no
    point, nothing else may show it. Several threads may share one.
    """

    def __init__(self) -> None:
        self.visits, self.narrowings = Rate(0.01), Rate(0.2)
        self.gains: deque[float] = deque(maxlen=_LAST)
        self.lifts: deque[float] = deque(maxlen=_LAST)
        self.count, self.spent, self.on_intervals = 0, 0.0, 0.0
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
        """Takes note of what intervals of their own have gained."""
        with self._lock:
            self.lifts.extend(_gains(before, after))

    def took(self, visits: int, visiting: float, narrowings: int, narrowing: float) -> None:
        """Takes note of the seconds of a step."""
        with self._lock:
            self.count += visits
            self.spent += visiting + narrowing
            self.on_intervals += narrowing
            self.visits.add(visits, visiting)
            self.narrowings.add(narrowings, narrowing)

    def worth_narrowing(self, domains: Domains) -> Tensor:
        """Their numbers, the least bounds first."""
        age = domains.depth - domains.fresh
        old = age > (0 if self.pays else max(1.0, self.narrowings.seconds / self.visits.seconds))
        index = old.nonzero().squeeze(1)
        curious = not len(index) and self.on_intervals < CURIOSITY * self.spent
        if curious:
            index = (age > 0).nonzero().squeeze(1)
        index = index[domains.bound[index].argsort()]
        return index[:1] if curious else index

    @property
    def pays(self) -> bool:
        """Whether intervals pay, by all that is known."""
        with self._lock:
            if len(self.lifts) < _TRIALS or not self.gains:
                return True
            s, t = (sum(values) / len(values) for values in (self.gains, self.lifts))
            ratio = self.narrowings.seconds / self.visits.seconds
            return t > 0 and t / (s + t) * log(max(self.count, _AT_LEAST)) > log1p(ratio)


def _gains(before: Tensor, after: Tensor) -> list[float]:
    """Of those domains that had a bound, up to what was missing."""
    return list((after.clamp(max=0) - before)[torch.isfinite(before)].clamp(min=0).tolist())
