"""Intermediate bounds are improved only until what was asked is proved: effort depends on the question, not on the time allowed.

Linear bounds of the neurons inside cost far more than those of the few rows that are asked about. So while they are improved, neuron
after neuron, the rows are looked at now and then with what is known by then; once that proves enough, nothing is improved any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from certify.bounds.budget import Budget
from certify.bounds.compute import METHODS
from certify.bounds.interval import Interval
from certify.bounds.relaxed import Region, Relaxed, refuse_nan, relax_network
from certify.bounds.rounding import OUTWARD
from certify.graph import Node
from certify.operators.program import Program

_FIRST_LOOK = 0.05
"""Seconds of improving before the first look."""
_PATIENCE = 6.0
"""So many times as long as a look takes is spent on improving before the next one."""

Proves = Callable[[Relaxed], bool]
"""Whether a relaxed network proves what was asked."""


@dataclass
class Look:
    """What is known so far, and when it is looked at next."""

    proves: Proves
    known: Relaxed | None = None
    due: float = field(default_factory=lambda: time.monotonic() + _FIRST_LOOK)
    enough: bool = False

    def again(self) -> bool:
        """Whether enough is known; looks at it only when a look is due."""
        began = time.monotonic()
        if not self.enough and self.known is not None and began >= self.due:
            self.enough = self._proved(self.known)
            self.due = time.monotonic() + _PATIENCE * (time.monotonic() - began)
        return self.enough

    def _proved(self, known: Relaxed) -> bool:
        """With the intervals found so far, and plain ones from there on."""
        budget = Budget(known.budget.memory, known.budget.deadline)
        program = known.program
        try:
            with torch.no_grad():
                whole = relax_network(program, known.region, program.graph.output, None, OUTWARD, budget, dict(known.intervals))
                return self.proves(whole)
        except ValueError:  # not defined, or an overflow, on intervals that are still too wide
            return False


@dataclass(frozen=True)
class UntilProved(Budget):
    """A budget that is spent once a look says so."""

    look: Look | None = None

    @property
    def spent(self) -> bool:
        """Whether the deadline has passed, or enough is known."""
        return super().spent or (self.look is not None and self.look.again())


def relax_until(program: Program, region: Region, method: str, budget: Budget, proves: Proves) -> Relaxed:
    """The network relaxed by a method, outward, whose intermediate bounds are improved until `proves` holds or the budget is spent."""
    region = region.simplest
    strategy = METHODS[method].tighten(region)
    look = Look(proves)

    def watched(relaxed: Relaxed, node: Node, mask: torch.Tensor) -> Interval:
        look.known = relaxed
        assert strategy is not None
        return strategy(relaxed, node, mask)

    until = UntilProved(budget.memory, budget.deadline, look)
    tighten = None if strategy is None else watched
    relaxed = relax_network(program, region, program.graph.output, tighten, OUTWARD, until, None)
    refuse_nan(relaxed.intervals)
    return relaxed
