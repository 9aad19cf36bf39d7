"""Lines below a curve: every candidate slope gets a proved intercept, and the line that is highest in the middle is kept.

The line of least area below f on [l, u] supports the convex envelope of f at the midpoint. The envelope consists of parts of
the convex pieces of f and of straight segments between such parts, corners and ends. So the best slope is that of a tangent in
some convex piece, of the chord, or of a line through a corner and an end; which one, and where it touches, is found by
iteration and needs no proof, because of what follows.

The intercept. For a slope s, any b <= min of f(x) - s x over [l, u] is sound. That minimum is attained at l, at u, or in a
convex piece, since on what lies between these f - s x is concave and has its minimum at the ends. In a convex piece [p, q], for
any t in it,

    f(x) - s x >= f(t) - s t + (f'(t) - s) (x - t) >= f(t) - s t + min((f'(t) - s) (p - t), (f'(t) - s) (q - t)),

equal to the minimum if f'(t) = s. Everything is evaluated in the working dtype and moved down by a bound of its rounding error:
with y and d the computed f(t) and f'(t), of errors e_y and e_d, the exact value lies within

    e_y + eps (|s t| + |y - s t|) + (e_d + 2 eps |d - s|) max(t - p, q - t)

of the computed one (two roundings outside, four inside, each of at most eps / 2 relative to its own result, or of less than the
underflow term of e_y and e_d). Twice that bound is subtracted: e_y is at least 4 eps |y|, so what is left over covers the
roundings of the bound itself and of the sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from certify.operators.elementwise.curve import Curve, Piece
from certify.operators.elementwise.root import crossing
from certify.operators.elementwise.rounding import eps, function_error, largest, rounded, tiny


class Sample(NamedTuple):
    """f(x), computed, and a bound of its error."""

    x: Tensor
    y: Tensor
    error: Tensor


class Contact(NamedTuple):
    """A point of a convex piece [start, stop], with f and f' there."""

    at: Sample
    slope: Tensor
    slope_error: Tensor
    start: Tensor
    stop: Tensor


@dataclass(frozen=True)
class Support:
    """Candidate lines below f, with proved intercepts; `best` is the number of the highest one in the middle.

    Candidate 0 is flat. The last ones are the tangents, one for each convex piece: in piece i the tangents at points between
    first[i] and last[i] are not above f at either end of the interval. `ends` are what the intercept of a line has to respect
    besides the pieces.
    """

    slopes: Sequence[Tensor]
    intercepts: Sequence[Tensor]
    best: Tensor
    first: Sequence[Tensor]
    last: Sequence[Tensor]
    ends: Sequence[Sample]

    def tangent(self, piece: int) -> int:
        """The number of the candidate that is tangent in that convex piece."""
        return len(self.slopes) - len(self.first) + piece

    @property
    def line(self) -> tuple[Tensor, Tensor]:
        """Slope and intercept of the best line."""
        slope, intercept = self.slopes[0], self.intercepts[0]
        for number in range(1, len(self.slopes)):
            chosen = self.best == number
            slope = torch.where(chosen, self.slopes[number], slope)
            intercept = torch.where(chosen, self.intercepts[number], intercept)
        return slope, intercept


def sample(curve: Curve, x: Tensor) -> Sample:
    """f at x. If that overflows upward y is the largest number, which is less."""
    y = curve.value(x)
    y = y.clamp(max=largest(y))
    with torch.no_grad():
        return Sample(x, y, function_error(x, curve.scale(x, y.clamp(min=-largest(y)))))


def contact(curve: Curve, piece: Piece, t: Tensor, l: Tensor, u: Tensor) -> Contact:
    """f and f' at a point t of a convex piece of [l, u]."""
    slope = piece.slope(t)
    with torch.no_grad():
        error = function_error(t, piece.scale(t, slope))
    return Contact(sample(curve, t), slope, error, *piece.within(l, u))


def height(point: Sample, slope: Tensor) -> Tensor:
    """At most f(x) - slope * x, in exact arithmetic."""
    shift = slope * point.x
    difference = point.y - shift
    with torch.no_grad():
        margin = 2 * (point.error + eps(shift) * (shift.abs() + difference.abs()))
    return difference - margin


def piece_height(point: Contact, slope: Tensor) -> Tensor:
    """At most the minimum of f(x) - slope * x over a convex piece, in exact arithmetic, by the tangent at its contact."""
    tilt, t = point.slope - slope, point.at.x
    descent = torch.minimum(tilt * (point.start - t), tilt * (point.stop - t))
    with torch.no_grad():
        reach = torch.maximum(t - point.start, point.stop - t)
        margin = 2 * (point.slope_error + 2 * eps(t) * tilt.abs()) * reach
    return height(point.at, slope) + descent - margin


def proved(slope: Tensor, ends: Sequence[Sample], contacts: Sequence[Contact]) -> Tensor:
    """The intercept of a line of that slope below f on [l, u], given both ends and a contact of every convex piece."""
    heights = [height(end, slope) for end in ends] + [piece_height(point, slope) for point in contacts]
    return reduce(torch.minimum, heights)


def interval(curve: Curve, l: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of f on [l, u]: its values at the ends and turning points, rounded outward, and clamped to its range."""
    points = [_exact_at_zero(curve, sample(curve, x)) for x in (l, u, *(turn(l, u) for turn in curve.turns))]
    top = reduce(torch.maximum, [p.y.clamp(min=-largest(l)) + 2 * p.error for p in points])  # infinite where y overflowed
    known = torch.as_tensor(curve.known(l, u), device=l.device)
    low, high = _range(curve, l)
    return _least_value(curve, points, known), torch.where(known, top.clamp(low, high), high)


def _exact_at_zero(curve: Curve, point: Sample) -> Sample:
    """The sample, without an error at zero where f(0) is known."""
    if curve.origin is None:
        return point
    at_zero = point.x == 0
    return Sample(point.x, torch.where(at_zero, curve.origin, point.y), torch.where(at_zero, 0.0, point.error))


def _least_value(curve: Curve, points: Sequence[Sample], known: Tensor) -> Tensor:
    """The least value of f, given the ends and turning points, rounded down."""
    bottom = reduce(torch.minimum, [p.y - 2 * p.error for p in points])
    low, high = _range(curve, bottom)
    return torch.where(known, bottom.clamp(low, high), low)


def _range(curve: Curve, like: Tensor) -> tuple[float, float]:
    """The range of f, rounded outward to like's dtype."""
    low, high = curve.range
    return rounded(low, like, -inf), rounded(high, like, inf)


def chord_slope(curve: Curve, left: Sample, right: Sample) -> Tensor:
    """Slope of the chord, held within the range of f' so that rounding on a tiny interval does not blow it up."""
    width = right.x - left.x
    slope = (right.y - left.y) / torch.where(width > tiny(width), width, 1)
    with torch.no_grad():
        slopes = [piece.slope(x) for piece in (*curve.convex, *curve.concave) for x in piece.within(left.x, right.x)]
        least, most = reduce(torch.minimum, slopes), reduce(torch.maximum, slopes)
    return torch.minimum(torch.maximum(slope, least), most)


def touching(curve: Curve, piece: Piece, end: Sample, safe: Tensor, limit: Tensor) -> Tensor:
    """The last point from `safe` to `limit`, in a convex piece, whose tangent is not above f at `end`; `safe` if none is.

    The limit is the point of the piece nearest to the end, and is the answer where that is the end itself. Differentiable in
    the end's x: the last Newton step is repeated with it.
    """
    flat_x, flat_y = end.x.flatten(), end.y.flatten()

    def excess(t: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # The tangent at t, measured at the end: it rises as t comes nearer to the end, and is above f where positive.
        y, away = curve.value(t), flat_x[index] - t
        rise = piece.slope(t) * away
        return y + rise - flat_y[index], piece.bend(t) * away, y.abs() + rise.abs() + flat_y[index].abs()

    t, index = crossing(excess, safe, limit, (end.x != limit) & (safe != limit))
    flat_t = torch.where(t == limit, limit, torch.where(t == safe, safe, t)).flatten()
    if torch.is_grad_enabled() and end.x.requires_grad:
        zero = t.flatten()[index]
        h, rate, _ = excess(zero, index)
        movable = rate.detach().abs() > tiny(zero)
        step = torch.where(movable, h, 0) / torch.where(movable, rate.detach(), 1)
        flat_t = flat_t.index_put((index,), zero - (step - step.detach()))
    return flat_t.reshape(t.shape)


def reach(curve: Curve, piece: Piece, left: Sample, right: Sample) -> tuple[Tensor, Tensor]:
    """first, last: between them tangents of a convex piece are not above f at the ends; first > last if nowhere."""
    start, stop = piece.within(left.x, right.x)
    if piece.straight:
        return start, stop
    return touching(curve, piece, left, stop, start), touching(curve, piece, right, start, stop)


def stationary(piece: Piece, slope: Tensor, l: Tensor, u: Tensor) -> Tensor:
    """The point of a convex piece where f(x) - slope * x is least; a constant to autograd, unless it is an end."""
    start, stop = piece.within(l, u)
    if piece.straight:
        return start
    flat_slope = slope.detach().flatten()

    def tilt(t: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        d = piece.slope(t)
        return d - flat_slope[index], piece.bend(t), d.abs()

    t, _ = crossing(tilt, start, stop, start != stop)
    return torch.where(t == stop, stop, torch.where(t == start, start, t))


def lowest_contacts(curve: Curve, slope: Tensor, l: Tensor, u: Tensor, known: Mapping[int, Contact]) -> list[Contact]:
    """Contacts where f - slope * x is least in each convex piece; those of some pieces are known."""
    return [
        known[number] if number in known else contact(curve, piece, stationary(piece, slope, l, u), l, u)
        for number, piece in enumerate(curve.convex)
    ]


def convex_support(curve: Curve, l: Tensor, u: Tensor) -> Support:
    """Lines below a function that is convex on [l, u]: the tangent at the midpoint."""
    tangent = contact(curve, curve.convex[0], 0.5 * l + 0.5 * u, l, u)
    ends = [sample(curve, l), sample(curve, u)]
    return replace(_highest(curve, ends, [(tangent.slope, piece_height(tangent, tangent.slope))], [(l, u)]), ends=())


def concave_support(curve: Curve, l: Tensor, u: Tensor) -> Support:
    """Lines below a function that is concave on [l, u]: the chord."""
    ends = [sample(curve, l), sample(curve, u)]
    slope = chord_slope(curve, *ends)
    return _highest(curve, ends, [(slope, proved(slope, ends, []))], [])


def mixed_support(curve: Curve, l: Tensor, u: Tensor) -> Support:
    """Lines below a function with several pieces: the chord, lines through corners, and a tangent of each convex piece.

    The tangent is the one nearest to the midpoint. Where the chord is best, no tangent of a convex piece is below f at both
    ends. The point taken then lies where it is above at both, and the tangent there proves that the chord is below the piece.
    """
    ends = [sample(curve, l), sample(curve, u)]
    middle = 0.5 * l + 0.5 * u
    reaches = [reach(curve, piece, *ends) for piece in curve.convex]
    points = [torch.maximum(first, torch.minimum(middle, last)) for first, last in reaches]
    tangents = [contact(curve, piece, t, l, u) for piece, t in zip(curve.convex, points, strict=True)]
    chord = chord_slope(curve, *ends)
    lines = [(chord, proved(chord, ends, tangents))]
    for corner in (sample(curve, point(l, u)) for point in curve.corners):
        for slope in (chord_slope(curve, ends[0], corner), chord_slope(curve, corner, ends[1])):
            lines.append((slope, proved(slope, ends, lowest_contacts(curve, slope, l, u, {}))))
    for number, tangent in enumerate(tangents):
        contacts = lowest_contacts(curve, tangent.slope, l, u, {number: tangent})
        lines.append((tangent.slope, proved(tangent.slope, ends, contacts)))
    return _highest(curve, ends, lines, reaches)


def _highest(
    curve: Curve, ends: Sequence[Sample], lines: Sequence[tuple[Tensor, Tensor]], reaches: Sequence[tuple[Tensor, Tensor]]
) -> Support:
    """Adds the flat line, and chooses. A NaN, from an overflow on a huge interval, compares as not higher."""
    l, u = ends[0].x, ends[1].x
    known = torch.as_tensor(curve.known(l, u), device=l.device)
    flat = _least_value(curve, [*ends, *(sample(curve, turn(l, u)) for turn in curve.turns)], known)
    with torch.no_grad():
        middle, top, best = 0.5 * l + 0.5 * u, flat, torch.zeros_like(l, dtype=torch.int64)
        for number, (slope, intercept) in enumerate(lines, start=1):
            level = slope * middle + intercept
            higher = (level > top) & intercept.isfinite() & slope.isfinite() & known
            top, best = torch.where(higher, level, top), torch.where(higher, number, best)
    slopes, intercepts = zip((torch.zeros_like(flat), flat), *lines, strict=True)
    return Support(slopes, intercepts, best, [first for first, _ in reaches], [last for _, last in reaches], ends)
