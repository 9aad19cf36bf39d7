"""Scales of drawings: where a value lies on the paper, and which values are written at the axis."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Protocol


class Scale(Protocol):
    """Maps values to coordinates."""

    def __call__(self, value: float) -> float:
        """The coordinate of a value."""

    def ticks(self) -> list[tuple[float, str]]:
        """The values that are written at the axis, ascending, and how."""


@dataclass(frozen=True)
class Linear:
    """Values from `low` to `high` > low, evenly from coordinate `start` to `end`; at most `most` ticks, at least `apart` apart."""

    low: float
    high: float
    start: float
    end: float
    most: int = 7
    apart: float = 0.0

    def __call__(self, value: float) -> float:
        """The coordinate of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Multiples of a round step."""
        step = round_step(max((self.high - self.low) / (self.most - 1), self.apart))
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [(i * step, f"{i * step:.10g}") for i in range(first, last + 1)]


@dataclass(frozen=True)
class Log:
    """Positive values from `low` to `high` > low, by their logarithm; what lies below `low` is drawn there."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The coordinate of a value."""
        share = log10(max(value, self.low) / self.low) / log10(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Powers of ten; with twice and five times of each where there are few, every other one where there are many."""
        first, last = ceil(log10(self.low) - 1e-9), floor(log10(self.high) + 1e-9)
        if last - first < 2:
            values = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
        else:
            values = [10.0**power for power in range(first, last + 1, 1 + (last - first) // 8)]
        return [(value, f"{value:g}") for value in values if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]


def round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `least` > 0."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
