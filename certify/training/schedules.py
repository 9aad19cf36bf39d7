"""Schedules: a value that moves from one number to another as training steps go by.

A certified loss at full radius from the first step collapses the network to a constant, so the radius grows from zero; the share
of the clean loss (kappa) and of the tighter bound (beta) move the same way. Each schedule is a value, called with a step.
"""

from __future__ import annotations

from dataclasses import dataclass


def progress(step: float, begin: float, end: float) -> float:
    """The share of the ramp from `begin` to `end` that `step` has covered, between 0 and 1; a ramp of no length is a jump."""
    if end <= begin:
        return float(step >= end)
    return min(max((step - begin) / (end - begin), 0.0), 1.0)


@dataclass(frozen=True)
class Linear:
    """`first` until step `begin`, `last` from step `end` on, and the straight line between them."""

    first: float
    last: float
    begin: float
    end: float

    def __call__(self, step: float) -> float:
        share = progress(step, self.begin, self.end)
        return (1.0 - share) * self.first + share * self.last


@dataclass(frozen=True)
class Smoothed:
    """`first` until step `begin`, `last` from step `end` on; between them a power law that turns into its own tangent.

    The share s of the ramp maps to a * s**power up to s = `bend`, and beyond it to the tangent there, with a chosen so that s = 1
    maps to 1: value and slope are continuous, and the first steps, where the weights are still random, see almost no radius. The
    shape of the schedule of arXiv 2002.12920.
    """

    first: float
    last: float
    begin: float
    end: float
    bend: float = 0.25
    power: float = 4.0

    def __post_init__(self) -> None:
        if not (0.0 < self.bend <= 1.0 and self.power >= 1.0):
            raise ValueError(f"Smoothed: bend must lie in (0, 1] and power be at least 1, got bend {self.bend}, power {self.power}")

    def __call__(self, step: float) -> float:
        share = progress(step, self.begin, self.end)
        curve = min(share, self.bend) ** self.power
        tangent = self.power * self.bend ** (self.power - 1.0)
        height = self.bend**self.power + tangent * (1.0 - self.bend)
        risen = (curve + tangent * max(share - self.bend, 0.0)) / height
        return (1.0 - risen) * self.first + risen * self.last
