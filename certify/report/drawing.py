"""Drawings as inline SVG without scripts: a frame with two axes, and what is drawn in it.

Colours come from the page's style sheet, by class: `s0` to `s5` for series, `bad` for what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from certify.report.scale import Scale

Point = tuple[float, float]
SERIES = 6
DASHES = ("", "6 3", "2 3")
"""How lines are dashed once all colours are used."""


@dataclass(frozen=True)
class Frame:
    """The paper and the margins around the field of the drawing, in units of the drawing."""

    width: float = 480
    height: float = 330
    left: float = 52
    right: float = 16
    top: float = 12
    bottom: float = 46

    @property
    def across(self) -> Point:
        """Left and right end of the field."""
        return self.left, self.width - self.right

    @property
    def upward(self) -> Point:
        """Lower and upper end of the field."""
        return self.height - self.bottom, self.top


def drawing(frame: Frame, description: str, parts: Iterable[str]) -> str:
    """The whole SVG element, said to a screen reader in one sentence."""
    size = f'viewBox="0 0 {frame.width:g} {frame.height:g}" width="{frame.width:g}" height="{frame.height:g}"'
    return f'<svg {size} role="graphics-document" aria-label="{escape(description)}">\n' + "\n".join(parts) + "\n</svg>"


def axes(frame: Frame, x: Scale, y: Scale, x_title: str, y_title: str) -> list[str]:
    """Grid, ticks and titles of both axes."""
    (left, right), (bottom, top) = frame.across, frame.upward
    lines = [_line((left, y(value)), (right, y(value)), "grid") for value, _ in y.ticks()]
    lines += [_line((x(value), bottom), (x(value), top), "grid") for value, _ in x.ticks()]
    lines += [text((left - 6, y(value) + 4), label, "end") for value, label in y.ticks()]
    lines += [text((x(value), bottom + 16), label, "middle") for value, label in x.ticks()]
    lines.append(text(((left + right) / 2, frame.height - 8), x_title, "middle", "title"))
    middle = (bottom + top) / 2
    turned = f'transform="rotate(-90 12 {middle:.1f})"'
    lines.append(f'<text x="12" y="{middle:.1f}" text-anchor="middle" class="title" {turned}>{escape(y_title)}</text>')
    return [*lines, f'<polyline class="axis" points="{_points([(left, top), (left, bottom), (right, bottom)])}"/>']


def text(at: Point, said: str, anchor: str = "start", style: str = "label") -> str:
    """Text that starts, ends or has its middle at a point."""
    return f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}" class="{style}">{escape(said)}</text>'


def line(points: Sequence[Point], series: int = 0, dash: str | None = None) -> str:
    """A line through points in the colour of a series, dashed as `dash` says or as its number does."""
    pattern = DASHES[series // SERIES % len(DASHES)] if dash is None else dash
    dashes = f' stroke-dasharray="{pattern}"' if pattern else ""
    return f'<polyline class="line s{series % SERIES}"{dashes} points="{_points(points)}"/>'


def guide(start: Point, end: Point) -> str:
    """A thin line to compare with."""
    return _line(start, end, "guide")


def steps(points: Sequence[Point]) -> list[Point]:
    """The corners of a curve whose values each hold until the next x."""
    corners = [points[0]]
    for before, after in pairwise(points):
        corners += [(after[0], before[1]), after]
    return corners


def dot(at: Point, style: str, said: str, link: str = "") -> str:
    """A round mark; `said` is shown when it is pointed at, `link` names an element of the page."""
    return _mark(f'<circle class="{style}" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="3.5">', "</circle>", said, link)


def cross(at: Point, style: str, said: str, link: str = "") -> str:
    """A cross, likewise."""
    x, y, arm = *at, 5.0
    strokes = f"M{x - arm:.1f},{y - arm:.1f}L{x + arm:.1f},{y + arm:.1f}M{x - arm:.1f},{y + arm:.1f}L{x + arm:.1f},{y - arm:.1f}"
    return _mark(f'<path class="{style}" d="{strokes}">', "</path>", said, link)


def swatch(mark: str) -> str:
    """A small drawing for a legend: `mark` in a field of 22 by 12."""
    return f'<svg viewBox="0 0 22 12" width="22" height="12" aria-hidden="true">{mark}</svg>'


def _mark(opening: str, closing: str, said: str, link: str) -> str:
    mark = f"{opening}<title>{escape(said)}</title>{closing}"
    return f'<a href="#{escape(link)}">{mark}</a>' if link else mark


def _line(start: Point, end: Point, style: str) -> str:
    return f'<line class="{style}" x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'


def _points(points: Iterable[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
