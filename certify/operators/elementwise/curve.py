"""What is known of a function of one variable: its value, its derivatives, and where it is convex or concave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]
Scale = Callable[[Tensor, Tensor], Tensor]
Within = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Point = Callable[[Tensor, Tensor], Tensor]


def relative(x: Tensor, y: Tensor) -> Tensor:
    """Error scale of a function that torch computes to a few units in the last place."""
    return y.abs()


def between(low: float, high: float) -> Within:
    """The part of [low, high] that lies in [l, u]; an end of [l, u], twice, where there is none."""
    return lambda l, u: (torch.minimum(l.clamp(min=low), u), torch.maximum(u.clamp(max=high), l))


def at(point: float) -> Point:
    """A fixed point, moved into [l, u]."""
    return lambda l, u: torch.minimum(l.clamp(min=point), u)


EVERYWHERE = between(-inf, inf)


@dataclass(frozen=True)
class Piece:
    """An interval on which f is convex (or concave), and the derivatives that f has there: one-sided ones at its ends.

    `slope` and `bend`, f' and f'', are finite outside the piece too, whatever they mean there. An end that is rounded to a
    floating-point number leaves a sliver where the curvature has the wrong sign: of width d ~ eps it bends f by less than
    |f'''| d^3.
    """

    slope: Function
    bend: Function
    within: Within = EVERYWHERE
    scale: Scale = relative
    """Error scale of `slope`, as (x, slope) -> Tensor."""
    straight: bool = False
    """f is affine on the piece: any of its points is as good a contact as any other."""


@dataclass(frozen=True)
class Curve:
    """f with its facts. Every point of an interval that is in no convex piece lies where f is concave, between ends of the others;
    the same with the two words exchanged. `turns` are the points where f may have an extremum besides the ends."""

    value: Function
    convex: tuple[Piece, ...] = ()
    concave: tuple[Piece, ...] = ()
    turns: tuple[Point, ...] = ()
    corners: tuple[Point, ...] = ()
    """Where two pieces meet at an angle, so that lines through that point and an end may be the best."""
    scale: Scale = relative
    range: tuple[float, float] = (-inf, inf)
    origin: float | None = None
    """f(0), where that is known without any error."""
    known: Callable[[Tensor, Tensor], Tensor | bool] = lambda l, u: True
    """Mask of the intervals on which `convex`, `concave` and `turns` hold; on others only `range` does."""


def negated(curve: Curve) -> Curve:
    """-f: its lower line is the upper line of f."""
    return replace(
        curve,
        value=_minus(curve.value),
        convex=tuple(_negated_piece(piece) for piece in curve.concave),
        concave=tuple(_negated_piece(piece) for piece in curve.convex),
        range=(-curve.range[1], -curve.range[0]),
        origin=None if curve.origin is None else -curve.origin,
    )


def _negated_piece(piece: Piece) -> Piece:
    return replace(piece, slope=_minus(piece.slope), bend=_minus(piece.bend))


def _minus(function: Function) -> Function:
    return lambda x: -function(x)
