"""Lines below a curve: every candidate slope gets a proved intercept, and the line that is highest in the middle is kept.

The line of least area below f on [l, u] supports the convex envelope of f at the midpoint. The envelope consists of parts of the convex
pieces of f and of straight segments, each from a point of contact in a convex piece to an end of the interval or to the other end. So
the slope is that of a tangent in some convex piece or of the chord; which one, and where, is found by iteration and needs no proof,
because of what follows.

The intercept. For a slope s, any b <= min of f(x) - s x over [l, u] is sound. That minimum is attained at l, at u, or in a convex piece,
since on what lies between these f - s x is concave and has its minimum at the ends. In a convex piece [p, q], for any t in it,

    f(x) - s x >= f(t) - s t + (f'(t) - s) (x - t) >= f(t) - s t + min((f'(t) - s) (p - t), (f'(t) - s) (q - t)),

equal to the minimum if f'(t) = s. Everything is evaluated in the working dtype and moved down by a bound of its rounding error: with y and
d the computed f(t) and f'(t), of errors e_y and e_d, the exact value lies within
e_y + eps (|s t| + |y - s t|) + (e_d + 2 eps |d - s|) max(t - p, q - t) of the computed one (three roundings outside, four inside, each of
eps / 2 relative to its own result), and twice that bound is subtracted, which covers the roundings of the bound and of the subtraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from certify.operators.elementwise.curve import Curve, Piece
from certify.operators.elementwise.root import crossing
from certify.operators.elementwise.rounding import eps, function_error, largest, rounded_outward, tiny


@dataclass(frozen=True)
class Support:
    """Candidate lines below f: slopes and proved intercepts, `best` the index of the highest, and the contacts of the tangents.

    Candidate 0 is flat, 1 the chord if `chord`, and the last ones are the tangents, one for each convex piece: in piece i the tangents at
    `first[i]` ... `last[i]` stay below f at both ends of the interval.
    """

    slopes: Sequence[Tensor]
    intercepts: Sequence[Tensor]
    best: Tensor
    first: Sequence[Tensor]
    last: Sequence[Tensor]

    @property
    def line(self) -> tuple[Tensor, Tensor]:
        """Slope and intercept of the best line."""
        slope, intercept = self.slopes[0], self.intercepts[0]
        for number in range(1, len(self.slopes)):
            chosen = self.best == number
            slope = torch.where(chosen, self.slopes[number], slope)
            intercept = torch.where(chosen, self.intercepts[number], intercept)
        return slope, intercept


def interval(curve: Curve, l: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of f on [l, u]: its values at the ends and turning points, rounded outward, and clamped to its range."""
    points = [l, u, *(turn(l, u) for turn in curve.turns)]
    ends = []
    for x in points:
        y = curve.value(x)
        with torch.no_grad():
            error = 2 * function_error(x, curve.scale(x, y.clamp(-largest(y), largest(y))))
        ends.append(rounded_outward(y, error, y, error))
    lower = reduce(torch.minimum, [low for low, _ in ends]).clamp(*curve.range)
    upper = reduce(torch.maximum, [high for _, high in ends]).clamp(*curve.range)
    known = torch.as_tensor(curve.known(l, u), device=l.device)
    return torch.where(known, lower, curve.range[0]), torch.where(known, upper, curve.range[1])


def end_height(curve: Curve, x: Tensor, slope: Tensor) -> Tensor:
    """At most f(x) - slope * x, in exact arithmetic."""
    y = curve.value(x)
    y = y.clamp(max=largest(y))  # what overflowed is at least this
    shift = slope * x
    height = y - shift
    with torch.no_grad():
        margin = 2 * (function_error(x, curve.scale(x, y)) + eps(x) * (shift.abs() + height.abs()))
    return height - margin


def piece_height(curve: Curve, piece: Piece, t: Tensor, slope: Tensor, l: Tensor, u: Tensor) -> Tensor:
    """At most the minimum of f(x) - slope * x over a convex piece, in exact arithmetic, by the tangent at t."""
    start, stop = piece.within(l, u)
    tilt = piece.slope(t) - slope
    descent = torch.minimum(tilt * (start - t), tilt * (stop - t))
    with torch.no_grad():
        reach = torch.maximum(t - start, stop - t)
        derivative_error = function_error(t, piece.scale(t, piece.slope(t))) + 2 * eps(t) * tilt.abs()
        margin = 2 * derivative_error * reach + eps(t) * descent.abs()
    return end_height(curve, t, slope) + descent - margin


def chord_slope(curve: Curve, l: Tensor, u: Tensor) -> Tensor:
    """Slope of the chord, held within the range of f' so that rounding on a tiny interval does not blow it up."""
    width = u - l
    slope = (curve.value(u) - curve.value(l)) / torch.where(width > 0, width, 1)
    with torch.no_grad():
        slopes = [piece.slope(x) for piece in (*curve.convex, *curve.concave) for x in piece.within(l, u)]
        least, most = reduce(torch.minimum, slopes), reduce(torch.maximum, slopes)
    return torch.minimum(torch.maximum(slope, least), most)


def touching(curve: Curve, piece: Piece, end: Tensor, safe: Tensor, limit: Tensor) -> Tensor:
    """The point farthest from `safe` towards `limit` whose tangent is not above f at `end`; `safe` if there is none.

    Differentiable in `end`: the last Newton step is repeated with it.
    """
    flat_end = end.detach().flatten()

    def excess(t: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        # The tangent at t, measured at the end: it rises as t comes nearer to the end, and is above f where positive.
        away = flat_end[index] - t
        return curve.value(t) + piece.slope(t) * away - curve.value(flat_end[index]), piece.bend(t) * away

    t, touches = crossing(excess, safe, limit)
    if not (torch.is_grad_enabled() and end.requires_grad):
        return t
    rate = piece.bend(t) * (end.detach() - t)
    movable = touches & (rate.abs() > tiny(t))
    step = (curve.value(t) + piece.slope(t) * (end - t) - curve.value(end)) / torch.where(movable, rate, 1)
    fixed = torch.where(t == limit, limit, safe)
    return torch.where(touches, t - torch.where(movable, step - step.detach(), 0), fixed)


def stationary(piece: Piece, slope: Tensor, l: Tensor, u: Tensor) -> Tensor:
    """The point of a convex piece where f(x) - slope * x is least; a constant to autograd."""
    flat_slope = slope.detach().flatten()
    start, stop = piece.within(l.detach(), u.detach())
    return crossing(lambda t, index: (piece.slope(t) - flat_slope[index], piece.bend(t)), start, stop)[0]


def contacts(curve: Curve, piece: Piece, l: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """first, last: the tangents at points of a convex piece between them are not above f at l and u. first > last: there are none."""
    start, stop = piece.within(l, u)
    return touching(curve, piece, l, stop, start), touching(curve, piece, u, start, stop)


def convex_support(curve: Curve, l: Tensor, u: Tensor) -> Support:
    """Lines below a function that is convex on [l, u]: the tangent at the midpoint."""
    (piece,) = curve.convex
    t = 0.5 * l + 0.5 * u
    slope = piece.slope(t)
    return _highest(curve, [slope], [piece_height(curve, piece, t, slope, l, u)], [l], [u], l, u)


def concave_support(curve: Curve, l: Tensor, u: Tensor) -> Support:
    """Lines below a function that is concave on [l, u]: the chord."""
    slope = chord_slope(curve, l, u)
    height = torch.minimum(end_height(curve, l, slope), end_height(curve, u, slope))
    return _highest(curve, [slope], [height], [], [], l, u)


def mixed_support(curve: Curve, l: Tensor, u: Tensor) -> Support:
    """Lines below a function with several pieces: the chord, and of each convex piece the tangent nearest to the midpoint.

    Where the chord is best, no tangent of a convex piece is below f at both ends; contacts[i] then lies where it is above at both, and
    the tangent there proves that the chord is below the piece.
    """
    middle = 0.5 * l + 0.5 * u
    reaches = [contacts(curve, piece, l, u) for piece in curve.convex]
    points = [torch.maximum(first, torch.minimum(middle, last)) for first, last in reaches]
    chord = chord_slope(curve, l, u)
    slopes = [chord, *(piece.slope(t) for piece, t in zip(curve.convex, points, strict=True))]
    intercepts = [proved(curve, chord, points, l, u)]
    for number, slope in enumerate(slopes[1:]):
        intercepts.append(proved(curve, slope, _least(curve, number, points, slope, l, u), l, u))
    return _highest(curve, slopes, intercepts, [first for first, _ in reaches], [last for _, last in reaches], l, u)


def proved(curve: Curve, slope: Tensor, points: Sequence[Tensor], l: Tensor, u: Tensor) -> Tensor:
    """The intercept of a line of that slope below f on [l, u], by the tangents at one point of each convex piece."""
    heights = [end_height(curve, l, slope), end_height(curve, u, slope)]
    heights += [piece_height(curve, piece, t, slope, l, u) for piece, t in zip(curve.convex, points, strict=True)]
    return reduce(torch.minimum, heights)


def _least(curve: Curve, own: int, points: Sequence[Tensor], slope: Tensor, l: Tensor, u: Tensor) -> list[Tensor]:
    """Where f - slope * x is least in each convex piece, `slope` being that of the tangent at points[own]."""
    return [points[own] if number == own else stationary(piece, slope, l, u) for number, piece in enumerate(curve.convex)]


def _highest(
    curve: Curve,
    slopes: Sequence[Tensor],
    intercepts: Sequence[Tensor],
    first: Sequence[Tensor],
    last: Sequence[Tensor],
    l: Tensor,
    u: Tensor,
) -> Support:
    """Adds the flat line, and chooses. A NaN, from an overflow on a huge interval, compares as not higher."""
    flat = interval(curve, l, u)[0]
    with torch.no_grad():
        middle, known = 0.5 * l + 0.5 * u, curve.known(l, u)
        top, best = flat, torch.zeros_like(l, dtype=torch.int64)
        for number, (slope, intercept) in enumerate(zip(slopes, intercepts, strict=True), start=1):
            height = slope * middle + intercept
            higher = (height > top) & intercept.isfinite() & slope.isfinite() & known
            top, best = torch.where(higher, height, top), torch.where(higher, number, best)
    return Support([torch.zeros_like(flat), *slopes], [flat, *intercepts], best, first, last)
