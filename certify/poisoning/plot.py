"""Curves of certified accuracy against poisoned training samples, as one self-contained SVG image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from certify.poisoning.gate import certified_accuracy

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 420, 60, 20, 20, 50
COLOURS = ("#1b6ca8", "#c8553d", "#2e7d4f", "#8a4fa0", "#b8860b", "#555555")
DASHES = ("", "7 4", "2 3")


def curves(records: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """An SVG with a step curve per named record, over the numbers of edits up to the largest radius in any; counted from the
    radii.
    """
    largest = max((max(record["radii"], default=0) for _, record in records), default=0) + 1
    across = (WIDTH - LEFT - RIGHT) / max(largest, 1)
    body = [*_grid(largest, across)]
    for index, (name, record) in enumerate(records):
        heights = [_y(certified_accuracy(record, edits)) for edits in range(largest + 1)]
        corners = [f"{LEFT + across * edits:.1f},{height:.1f}" for edits, height in enumerate(heights)]
        style = f'stroke="{COLOURS[index % len(COLOURS)]}" stroke-dasharray="{DASHES[index // len(COLOURS) % len(DASHES)]}"'
        body.append(f'<polyline fill="none" stroke-width="2" {style} points="{_steps(corners)}"/>')
        y = TOP + 18 * (index + 1)
        body.append(f'<line x1="{WIDTH - 230}" x2="{WIDTH - 200}" y1="{y - 4}" y2="{y - 4}" stroke-width="2" {style}/>')
        body.append(f'<text x="{WIDTH - 194}" y="{y}">{escape(name)}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', *body, "</svg>"]) + "\n"


def _y(share: float) -> float:
    return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)


def _steps(corners: Sequence[str]) -> str:
    """Corners of a step curve: a value holds until the next number of edits."""
    points = [corners[0]]
    for before, after in pairwise(corners):
        points += [f"{after.split(',')[0]},{before.split(',')[1]}", after]
    return " ".join(points)


def _grid(largest: int, across: float) -> list[str]:
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if largest / s <= 12)
    lines = []
    for percent in range(0, 101, 20):
        y = _y(percent / 100)
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{percent} %</text>')
    for edits in range(0, largest + 1, step):
        lines.append(f'<text x="{LEFT + across * edits:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{edits}</text>')
    centre = (LEFT + WIDTH - RIGHT) / 2
    lines.append(f'<text x="{centre:.0f}" y="{HEIGHT - 10}" text-anchor="middle">poisoned training samples (edits)</text>')
    return lines
