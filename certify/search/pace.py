"""What visiting a domain and finding intervals of its own take, as measured while a search runs, and when the latter pays."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from certify.search.domains import Domains

SECONDS_A_STEP = 1.0
"""A step of a search is to take about so long."""
PATIENCE = 0.1
"""Of the time that finding intervals takes, what splitting has to take for the same gain before they are worth it."""


@dataclass
class Rate:
    """What one of something takes: seconds, over the last ones mostly."""

    seconds: float

    def add(self, number: int, seconds: float) -> None:
        """So many took so long."""
        share = min(1.0, 0.1 * number)
        self.seconds += share * (seconds / max(number, 1) - self.seconds)


class Pace:
    """Whether intervals of its own pay for a domain: when splitting until as much is gained takes longer.

    `gain` is what a visit lifts the bound of a domain by, `lift` what intervals of its own do: both as measured, over the last ones mostly.
    """

    def __init__(self) -> None:
        self.visits, self.narrowings, self.gain, self.lift = Rate(0.01), Rate(0.2), 0.1, inf

    @property
    def at_once(self) -> int:
        """How many domains to narrow in a step."""
        return max(1, int(SECONDS_A_STEP / self.narrowings.seconds))

    def gained(self, before: Tensor, after: Tensor) -> None:
        """Takes note of what visits have gained, those with new intervals included."""
        gain = (after - before)[torch.isfinite(before) & (after < 0)]
        if len(gain):
            share = min(0.5, 0.01 * len(gain))
            self.gain += share * (max(float(gain.mean()), 1e-6) - self.gain)

    def lifted(self, before: Tensor, after: Tensor) -> None:
        """Takes note of what intervals of their own have gained; domains that they close gain all that was missing."""
        lift = (after.clamp(max=0) - before)[torch.isfinite(before)]
        if len(lift):
            mean, share = max(float(lift.mean()), 1e-6), min(0.5, 0.1 * len(lift))
            self.lift = mean if self.lift == inf else self.lift + share * (mean - self.lift)

    def worth_narrowing(self, domains: Domains) -> Tensor:
        """Their numbers, the least bounds first."""
        levels = ((-domains.bound).clamp(max=self.lift) / self.gain).clamp(max=60).double()
        worth = (2.0**levels * self.visits.seconds > PATIENCE * self.narrowings.seconds) & (domains.fresh < domains.depth)
        index = worth.nonzero().squeeze(1)
        return index[domains.bound[index].argsort()]
