"""Elementwise operators from curves: everything the engine asks for, derived from the facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from certify.graph import Node
from certify.operators.base import Elementwise, Line, Lines, Params
from certify.operators.elementwise import support
from certify.operators.elementwise.curve import Curve, negated
from certify.operators.elementwise.curves import Attrs, Facts
from certify.operators.elementwise.rounding import tiny

Supporter = Callable[[Curve, Tensor, Tensor], support.Support]
Value = Callable[[Tensor, Attrs], Tensor]


def elementwise(value: Value, facts: Facts, below: Supporter, above: Supporter, **rest: Any) -> Elementwise:
    """The operator whose lower lines `below` finds for its curve, and whose upper lines `above` finds for the negated curve."""

    def curve(node: Node) -> Curve:
        return facts(node.attrs)

    def over(node: Node) -> Curve:
        return negated(facts(node.attrs))

    def lines(l: Tensor, u: Tensor, node: Node, params: Params) -> Lines:
        slope, intercept = below(curve(node), l, u).line
        upper_slope, upper_intercept = above(over(node), l, u).line
        return Lines(slope, intercept, -upper_slope, -upper_intercept)

    def lower_family(t: Tensor, l: Tensor, u: Tensor, node: Node, params: Params) -> Line:
        return members(below, curve(node), l, u)(t)

    def upper_family(t: Tensor, l: Tensor, u: Tensor, node: Node, params: Params) -> Line:
        return Line(*(-part for part in members(above, over(node), l, u)(t)))

    tangents_below = below is not support.concave_support
    tangents_above = above is not support.concave_support
    return Elementwise(
        value=lambda x, node, params: value(x, node.attrs),
        interval=lambda l, u, node, params: support.interval(curve(node), l, u),
        lines=lines,
        linear=lambda l, u, node, params: straight(curve(node), l, u),
        lower_family=lower_family if tangents_below else None,
        upper_family=upper_family if tangents_above else None,
        lower_start=(lambda l, u, node, params: start(below, curve(node), l, u)) if tangents_below else None,
        upper_start=(lambda l, u, node, params: start(above, over(node), l, u)) if tangents_above else None,
        **rest,
    )


def straight(curve: Curve, l: Tensor, u: Tensor) -> Tensor:
    """Mask of the intervals that lie in a straight piece."""
    mask = torch.zeros_like(l, dtype=torch.bool)
    for piece in (*curve.convex, *curve.concave):
        if piece.straight:
            start, stop = piece.within(l, u)
            mask |= (start == l) & (stop == u)
    return mask


@torch.no_grad()
def members(supporter: Supporter, curve: Curve, l: Tensor, u: Tensor) -> Callable[[Tensor], Line]:
    """From t to the tangent at that fraction of the way between the contacts of the best piece; elsewhere the default line.

    With x = first + t (last - first) the line is f'(x), f(x) - x f'(x), so its derivatives in x are f''(x) and -x f''(x). All
    but the tangent itself is found once for all t.
    """
    found = supporter(curve, l, u)
    slope, intercept = found.line

    @torch.no_grad()
    def member(t: Tensor) -> Line:
        zero = torch.zeros_like(t)
        line = Line(slope.expand_as(t), intercept.expand_as(t), zero, zero)
        for number, (piece, first, last) in enumerate(zip(curve.convex, found.first, found.last, strict=True)):
            x = first + t * (last - first)
            tangent = support.contact(curve, piece, x, l, u)
            contacts = support.lowest_contacts(curve, tangent.slope, l, u, {number: tangent})
            rate = piece.bend(x) * (last - first)
            free = Line(tangent.slope, support.proved(tangent.slope, found.ends, contacts), rate, -x * rate)
            chosen = found.best == found.tangent(number)
            for part in free:
                chosen = chosen & part.isfinite()
            line = Line(*(torch.where(chosen, new, old) for new, old in zip(free, line, strict=True)))
        return line

    return member


@torch.no_grad()
def start(supporter: Supporter, curve: Curve, l: Tensor, u: Tensor) -> Tensor:
    """The t of the default line."""
    found = supporter(curve, l, u)
    result = torch.full_like(l, 0.5)
    for number, (first, last) in enumerate(zip(found.first, found.last, strict=True)):
        span = last - first
        t = (0.5 * l + 0.5 * u - first) / torch.where(span > tiny(l), span, 1)
        result = torch.where(found.best == found.tangent(number), t.clamp(0, 1), result)
    return result


def convex(value: Value, facts: Facts, **rest: Any) -> Elementwise:
    """A function that is convex wherever it is defined: tangents below, the chord above."""
    return elementwise(value, facts, support.convex_support, support.concave_support, **rest)


def concave(value: Value, facts: Facts, **rest: Any) -> Elementwise:
    """A function that is concave wherever it is defined: the chord below, tangents above."""
    return elementwise(value, facts, support.concave_support, support.convex_support, **rest)


def mixed(value: Value, facts: Facts, **rest: Any) -> Elementwise:
    """A function with convex and concave pieces: S-shaped, bell-shaped, periodic, or with kinks between smooth pieces."""
    return elementwise(value, facts, support.mixed_support, support.mixed_support, **rest)
