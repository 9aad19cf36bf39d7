"""Drawings of verification runs: instances solved within a time, and times against a baseline's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import floor, log10

from certify.report.document import Figure, Key
from certify.report.drawing import Frame, Point, axes, cross, dot, drawing, guide, line, steps, swatch, text
from certify.report.scale import Linear, Log

SHORTEST = 0.01
"""Seconds; what took less is drawn here."""
CUMULATED = "5 3"


def cactus(sides: Mapping[str, Sequence[float]], instances: int) -> Figure:
    """How many instances were solved within t seconds each, and within t seconds in all (the fastest first, dashed), by tool."""
    frame = Frame()
    every = [seconds for times in sides.values() for seconds in (*times, sum(times))]
    x, y = Log(*_decades(every), *frame.across), Linear(0, max(instances, 1), *frame.upward, apart=1)
    parts = axes(frame, x, y, "seconds", "instances solved")
    keys = []
    for number, (name, times) in enumerate(sides.items()):
        ordered = sorted(times)
        parts += [line(_rising(ordered, x, y), number, ""), line(_rising(list(accumulate(ordered)), x, y), number, CUMULATED)]
        keys += [Key(swatch(line([(0, 6), (22, 6)], number, "")), f"{name}, each")]
        keys += [Key(swatch(line([(0, 6), (22, 6)], number, CUMULATED)), f"{name}, in all")]
    said = "; ".join(f"{name} solved {len(times)} of {instances}" for name, times in sides.items())
    image = drawing(frame, f"Instances solved against time: {said}.", parts)
    return Figure(
        "Solved within a time", image, tuple(keys), "Each: within so many seconds. In all: one after the other, fastest first."
    )


def _rising(times: Sequence[float], x: Log, y: Linear) -> list[Point]:
    """A curve that starts at the axis and rises by one at each time, up to the right end."""
    return steps([(x.start, y(0)), *((x(seconds), y(count)) for count, seconds in enumerate(times, 1)), (x.end, y(len(times)))])


@dataclass(frozen=True)
class Pair:
    """An instance in the scatter: seconds of baseline and run, None where it is not solved; `kind` is a key of `KINDS`."""

    name: str
    anchor: str
    kind: str
    baseline: float | None
    own: float | None


Mark = Callable[[Point, str, str, str], str]
KINDS: Mapping[str, tuple[Mark, str]] = {"unsat": (dot, "mark s0"), "sat": (dot, "ring s1"), "wrong": (cross, "mark bad")}
RIM = 26
"""Room outside the scales, where what one tool did not solve is drawn."""


def scatter(pairs: Sequence[Pair]) -> Figure:
    """Seconds of the run against the baseline's, both axes logarithmic; below the diagonal the run is faster.

    What only one of them solved lies on the rim of the other; what neither solved is counted in the caption.
    """
    frame = Frame(height=428)
    drawn = [pair for pair in pairs if not pair.baseline is pair.own is None]
    low, high = _decades([seconds for pair in drawn for seconds in (pair.baseline, pair.own) if seconds is not None])
    (left, right), (bottom, top) = frame.across, frame.upward
    x, y = Log(low, high, left, right - RIM), Log(low, high, bottom, top + RIM)
    parts = axes(frame, x, y, "seconds, baseline", "seconds, this run")
    parts += [guide((x(low), y(low)), (x(high), y(high)))]
    parts += [guide((x.end, bottom), (x.end, y.end)), guide((left, y.end), (x.end, y.end))]
    parts += [text((right, bottom + 16), "none", "end"), text((left - 6, top + 12), "none", "end")]
    parts += [_pair(pair, x, y, RIM / 2) for pair in sorted(drawn, key=lambda pair: list(KINDS).index(pair.kind))]
    faster = sum(_less(pair.own, pair.baseline) for pair in drawn)
    slower = sum(_less(pair.baseline, pair.own) for pair in drawn)
    caption = f"This run is faster, or alone, on {faster} instances; the baseline on {slower}."
    if len(drawn) < len(pairs):
        caption += f" {len(pairs) - len(drawn)} that neither solved are not drawn."
    keys = tuple(Key(swatch(mark((11, 6), style, kind, "")), kind) for kind, (mark, style) in KINDS.items())
    return Figure("Time against the baseline", drawing(frame, f"Seconds of each instance. {caption}", parts), keys, caption)


def _pair(pair: Pair, x: Log, y: Log, beyond: float) -> str:
    mark, style = KINDS[pair.kind]
    at = (
        x.end + beyond if pair.baseline is None else x(pair.baseline),
        y.end - beyond if pair.own is None else y(pair.own),
    )
    said = f"{pair.name}: {_clock(pair.own)}, baseline {_clock(pair.baseline)}"
    return mark(at, style, said, pair.anchor)


def _less(first: float | None, second: float | None) -> bool:
    return first is not None and (second is None or first < second)


def _clock(seconds: float | None) -> str:
    return "not solved" if seconds is None else f"{seconds:.2f} s"


def _decades(times: Sequence[float]) -> tuple[float, float]:
    """Ends of a logarithmic axis: a power of ten below all times, and a little more than the longest."""
    shortest, longest = min(times, default=1.0), max(times, default=1.0)
    low = 10.0 ** floor(log10(max(shortest, SHORTEST)))
    return low, max(longest * 1.1, low * 10)
