"""Which method of bounding gets to the end soonest: tried on the same boxes, again as the boxes get smaller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Rates:
    """Methods with their seconds per box, and how many boxes it would take to close what they were last tried on: one at least.

    Trials get rarer: steps 1, 2, 4, 8, ... The best method is the one with the least product; the first, before any trial.
    """

    methods: Sequence[str]
    seconds: dict[str, float] = field(default_factory=dict)
    boxes: dict[str, float] = field(default_factory=dict)
    steps: int = 0

    def due(self) -> Sequence[str]:
        """The methods to run on the next boxes: the best one, or in a trial all that could be better."""
        self.steps += 1
        best = self.best
        if self.steps & (self.steps - 1):
            return [best]
        # A method is not tried again that would be too slow even if it closed everything at once.
        return [name for name in self.methods if name in (best, *self._untried) or self.seconds[name] < self._cost(best)]

    def note(self, trial: Sequence[tuple[str, float, float]]) -> None:
        """Takes note of runs on the same boxes: method, seconds per box, boxes needed. Those of one method alone compare with none."""
        for method, seconds, boxes in trial:
            self.seconds[method] = max(seconds, 1e-9)
            if len(trial) > 1 or method not in self.boxes:
                self.boxes[method] = boxes

    @property
    def best(self) -> str:
        """The method that would be done first."""
        return min((name for name in self.methods if name in self.seconds), key=self._cost, default=self.methods[0])

    @property
    def _untried(self) -> Sequence[str]:
        return [name for name in self.methods if name not in self.seconds]

    def _cost(self, name: str) -> float:
        return self.seconds[name] * self.boxes[name]
