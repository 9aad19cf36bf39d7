"""sin, cos and tan: pieces that repeat, found anew for each interval.

The ends of pieces and the turning points are multiples of pi / 2, rounded with an error of at most 2 eps |x|. Up to |x| = 1 /
(4 sqrt(eps)) that is below sqrt(eps) / 2: it moves an extremum by eps / 8, and the sliver of wrong curvature it leaves bends f
by less than eps^(3/2). Beyond, and on intervals of a period or more, only the range is known.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from certify.operators.elementwise.curve import Curve, Function, Piece, Point, Within
from certify.operators.elementwise.rounding import eps


def far(x: Tensor) -> float:
    """From where on the multiples of pi are not known well enough."""
    return 0.25 / eps(x) ** 0.5


def within_period(l: Tensor, u: Tensor) -> Tensor:
    """Mask of the intervals shorter than a period and not too far out."""
    return (u - l < 6.28) & (l > -far(l)) & (u < far(l))


def half_period(start: float, number: int) -> Within:
    """The part in [l, u] of [start, start + pi] + 2 k pi, for the first k whose interval ends above l, or the next one after it."""

    def within(l: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            left = start + 2 * pi * (torch.ceil((l - start - pi) / (2 * pi)) + number)
        return torch.minimum(torch.maximum(l, left), u), torch.maximum(torch.minimum(u, left + pi), l)

    return within


def repeated(point: float, number: int) -> Point:
    """The first of point + k pi that is not below l, or the next one after it, moved into [l, u]."""

    def turn(l: Tensor, u: Tensor) -> Tensor:
        with torch.no_grad():
            found = point + pi * (torch.ceil((l - point) / pi) + number)
        return torch.minimum(torch.maximum(l, found), u)

    return turn


def wave(value: Function, slope: Function, bend: Function, zero: float, origin: float) -> Curve:
    """sin(x - zero), exactly `origin` at 0: concave from zero to zero + pi, convex from zero - pi to zero, with a period of 2 pi."""
    return Curve(
        value,
        convex=tuple(Piece(slope, bend, half_period(zero - pi, number), _one) for number in (0, 1)),
        concave=tuple(Piece(slope, bend, half_period(zero, number), _one) for number in (0, 1)),
        turns=tuple(repeated(zero + pi / 2, number) for number in (0, 1)),
        range=(-1.0, 1.0),
        origin=origin,
        known=within_period,
    )


def _one(x: Tensor, slope: Tensor) -> Tensor:
    return torch.ones_like(x)


SIN = wave(torch.sin, torch.cos, lambda x: -torch.sin(x), 0.0, 0.0)
COS = wave(torch.cos, lambda x: -torch.sin(x), lambda x: -torch.cos(x), -pi / 2, 1.0)


# tan: every branch is concave below its zero and convex above.


def _branch(x: Tensor) -> Tensor:
    """The zero of tan's branch that holds x."""
    return pi * torch.round(x.detach() / pi)


def tan_domain(l: Tensor, u: Tensor) -> Tensor:
    """Whether one branch of tan holds [l, u], with the rounding of its poles to spare."""
    zero = _branch(l)
    reach = torch.maximum(zero - l, u - zero)
    magnitude = torch.maximum(l.abs(), u.abs())
    return (reach < pi / 2 - 8 * eps(l) * (1 + magnitude)) & (magnitude < far(l))


def _tan_slope(x: Tensor) -> Tensor:
    return 1 + torch.tan(x) ** 2


def _tan_piece(within: Within) -> Piece:
    return Piece(_tan_slope, lambda x: 2 * torch.tan(x) * _tan_slope(x), within, lambda x, slope: 3 * slope.abs())


TAN = Curve(
    torch.tan,
    convex=(_tan_piece(lambda l, u: (torch.minimum(torch.maximum(l, _branch(l)), u), u)),),
    concave=(_tan_piece(lambda l, u: (l, torch.maximum(torch.minimum(u, _branch(l)), l))),),
    origin=0.0,
)
