"""Which method of bounding gets to the end soonest: tried on the same boxes, again as the boxes get smaller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Rates:
    """Methods, the seconds per box of each in its latest run, and the best one: the method whose price of a box, times the boxes it
    would take, was the lowest in the latest trial. Trials get rarer: steps 1, 2, 4, 8, ...
    """

    methods: Sequence[str]
    seconds: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    best: str = ""

    def due(self) -> Sequence[str]:
        """The methods to run on the next boxes: the best one, or in a trial all that could be better."""
        self.steps += 1
        return [self.best] if self.steps & (self.steps - 1) else self.methods

    def note(self, runs: Sequence[tuple[str, float, float]]) -> None:
        """Takes note of runs on the same boxes: method, seconds per box, boxes needed (one at least).

        After a trial only those stay that would win if they closed everything at once: as boxes shrink, tightness is worth less.
        """
        self.seconds.update({method: max(seconds, 1e-9) for method, seconds, _ in runs})
        if len(runs) == len(self.methods):
            self.best, seconds, boxes = min(runs, key=lambda run: run[1] * run[2])
            self.methods = [name for name, price, _ in runs if name == self.best or price < seconds * boxes]
