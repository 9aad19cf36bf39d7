"""What visiting a domain and finding intervals of its own take, as measured while a search runs, and when the latter pays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from certify.search.domains import Domains

SECONDS_A_STEP = 1.0
"""A step of a search is to take about so long."""
PATIENCE = 0.1
"""Of the time that finding intervals takes, what the tree below a domain has to promise to take before they are worth it."""


@dataclass
class Rate:
    """What one of something takes: seconds, over the last ones mostly."""

    seconds: float

    def add(self, number: int, seconds: float) -> None:
        """So many took so long."""
        share = min(1.0, 0.1 * number)
        self.seconds += share * (seconds / max(number, 1) - self.seconds)


class Pace:
    """Whether intervals of its own pay for a domain: when the tree that is to be expected below it takes longer."""

    def __init__(self) -> None:
        self.visits, self.narrowings, self.gain = Rate(0.01), Rate(0.2), 0.1

    @property
    def at_once(self) -> int:
        """How many domains to narrow in a step."""
        return max(1, int(SECONDS_A_STEP / self.narrowings.seconds))

    def gained(self, before: Tensor, after: Tensor) -> None:
        """Takes note of what a split has gained."""
        gain = (after - before)[torch.isfinite(before) & (after < 0)]
        if len(gain):
            share = min(0.5, 0.01 * len(gain))
            self.gain += share * (max(float(gain.mean()), 1e-6) - self.gain)

    def worth_narrowing(self, domains: Domains) -> Tensor:
        """Their numbers, the least bounds first."""
        levels = (-domains.bound / self.gain).clamp(max=60).double()
        worth = (2.0**levels * self.visits.seconds > PATIENCE * self.narrowings.seconds) & (domains.fresh < domains.depth)
        index = worth.nonzero().squeeze(1)
        return index[domains.bound[index].argsort()]
