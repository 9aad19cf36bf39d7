"""Curves of certified accuracy, the common drawing of smoothing and poisoning reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from certify.report.document import Figure, Key
from certify.report.drawing import Frame, Point, axes, drawing, line, steps, swatch
from certify.report.scale import Linear


@dataclass(frozen=True)
class Curve:
    """A named curve: (size of the attack, share of inputs that are right and certified from there to the next size), ascending."""

    name: str
    points: tuple[Point, ...]


def accuracy_curves(title: str, across: str, curves: Sequence[Curve], apart: float = 0.0) -> Figure:
    """The curves in one drawing, accuracy in per cent; `across` says what the attack's size is, ticks there are `apart` or more."""
    frame = Frame(width=640, height=360)
    largest = max((size for curve in curves for size, _ in curve.points), default=0.0) or 1.0
    x, y = Linear(0, largest, *frame.across, most=11, apart=apart), Linear(0, 100, *frame.upward)
    parts = axes(frame, x, y, across, "certified accuracy, %")
    for number, curve in enumerate(curves):
        parts.append(line([(x(size), y(100 * share)) for size, share in steps(curve.points)], number))
    keys = tuple(Key(swatch(line([(0, 6), (22, 6)], number)), curve.name) for number, curve in enumerate(curves))
    said = f"Certified accuracy against {across}, of " + ", ".join(curve.name for curve in curves)
    return Figure(title, drawing(frame, said, parts), keys)
