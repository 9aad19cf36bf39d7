"""Functions of two slopes, `left` below zero and `right` above: ReLU, LeakyReLU, PReLU, |x|.

With s the fraction u / (u - l) of an interval that crosses zero, the chord of max(x, 0) is s (x - l), and the chord of any of
these functions is left x + (right - left) s (x - l). On the other side of the function every line through the kink whose slope
is between the two is sound; the default is the one of least area.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from certify.graph import Node
from certify.operators.base import Elementwise, Line, Lines, Params
from certify.operators.elementwise.rounding import eps, largest, tiny


class Chord(NamedTuple):
    """slope * x + intercept >= max(x, 0) on [l, u], with up = max(u, 0) and down = max(-l, 0)."""

    up: Tensor
    down: Tensor
    slope: Tensor
    intercept: Tensor


def relu_chord(l: Tensor, u: Tensor) -> Chord:
    """The chord of max(x, 0), rounded upward; exactly the identity or zero where [l, u] does not cross zero.

    Proof, where l < 0 < u. The function is convex, so a line of slope s and intercept b needs b >= s (-l) and s u + b >= u. The
    first holds: the product s (-l) has a relative error of eps / 2, undone by the factor, or underflows by less than the floor,
    which is min(u, tiny) on an interval that crosses zero. The second: if u < tiny, then b >= floor = u. Otherwise s >= u / (u
    - l), of which s u + s (-l) >= u follows: the computed quotient has a relative error below 2 eps, undone by the factor, or
    underflows below tiny, the least s there is. Cutting a width that overflows makes s greater, and the least width only
    matters for u < tiny. The slope 1 is always enough.
    """
    up, down = torch.relu(u), torch.relu(-l)
    # The least positive number over eps is tiny, so this is min(up, tiny) unless down is zero.
    floor = torch.minimum(up.detach(), down.detach() / eps(l)).clamp(max=tiny(l))
    outward = 1 + 4 * eps(l)
    width = (up + down).clamp(tiny(l), largest(l))
    slope = torch.where(l >= 0, 1.0, torch.maximum(up / width * outward, floor).clamp(max=1))
    return Chord(up, down, slope, slope * down * outward + floor)


def _relu_lines(l: Tensor, u: Tensor, node: Node, params: Params) -> Lines:
    up, down, slope, intercept = relu_chord(l, u)
    return Lines((up > down).to(l.dtype), torch.zeros_like(l), slope, intercept)


def _relu_family(t: Tensor, l: Tensor, u: Tensor, node: Node, params: Params) -> Line:
    """t x <= max(x, 0) for every x, as 0 <= t <= 1."""
    zero = torch.zeros_like(t)
    return Line(t, zero, torch.ones_like(t), zero)


RELU = Elementwise(
    value=lambda x, node, params: torch.relu(x),
    interval=lambda l, u, node, params: (torch.relu(l), torch.relu(u)),
    lines=_relu_lines,
    linear=lambda l, u, node, params: (l >= 0) | (u <= 0),
    lower_family=_relu_family,
    lower_start=lambda l, u, node, params: (u > -l).to(l.dtype),
    lower_everywhere=True,
    kinks=(0.0,),
    breaks=lambda node: (0.0,),
)


class Slopes(NamedTuple):
    """The two slopes in the working dtype, and how far the left one may be from the number that the model names (None: it is that)."""

    left: Tensor
    right: Tensor
    gap: Tensor | None = None


SlopesOf = Callable[[Node, Params, Tensor], Slopes]


def from_attribute(name: str, default: float) -> SlopesOf:
    """Left slope from a node's attribute, right slope 1."""

    def slopes(node: Node, params: Params, like: Tensor) -> Slopes:
        exact = float(node.attrs.get(name, default))
        left = torch.as_tensor(exact, dtype=like.dtype, device=like.device)
        gap = abs(float(left) - exact)
        return Slopes(left, torch.ones_like(left), torch.full_like(left, gap * (1 + 4 * eps(left)) + tiny(left)) if gap else None)

    return slopes


def from_parameter(node: Node, params: Params, like: Tensor) -> Slopes:
    """Left slope from the parameter `slope`, right slope 1.

    The graph holds it in float64 at most, exactly (front ends write what is not exact as two ReLUs, see `lowering.prelu`): in float64
    it is what the model names. A narrower dtype may have rounded it, by eps / 2 of what it is now, or, below the normal numbers, by
    less than eps * tiny.
    """
    left = params["slope"]
    with torch.no_grad():
        gap = None if like.dtype == torch.float64 else eps(like) * left.abs().clamp(min=tiny(like))
    return Slopes(left, torch.ones_like(left), gap)


def fixed(left: float) -> SlopesOf:
    """A left slope that every dtype represents."""
    return lambda node, params, like: Slopes(like.new_tensor(left), like.new_tensor(1.0))


def _gap(slopes: Slopes, down: Tensor) -> Tensor:
    """At most this far is f from the function of the rounded slopes on x >= -down, rounded upward; exactly zero without a gap."""
    if slopes.gap is None:
        return torch.zeros_like(down)
    return slopes.gap * (1 + 4 * eps(down)) * down + down.clamp(max=tiny(down))


def _chord(slopes: Slopes, l: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """The line through both ends, on the outer side of the kink: above where f is convex, below where it is concave.

    A line of slope k holds at both ends if its intercept is at least (at most) (k - left) (-l) and (right - k) u; where [l, u]
    does not cross zero, k is the slope there and both are zero.
    """
    left, right = slopes.left, slopes.right
    up, down, fraction, _ = relu_chord(l, u)
    slope = torch.where(l >= 0, right, torch.where(u <= 0, left, left + (right - left) * fraction))
    outer = torch.where(right >= left, 1.0, -1.0).to(l.dtype)
    height = torch.maximum(outer * (slope - left) * down, outer * (right - slope) * up)
    floor = torch.minimum(up, down).clamp(max=tiny(l))
    return slope, outer * ((height + _gap(slopes, down)) * (1 + 4 * eps(l)) + floor)


def _pivot(slopes: Slopes, t: Tensor, l: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The line through the kink at the fraction t of the way from the left slope to the right one; and the slope's derivative."""
    left, right = slopes.left, slopes.right
    crosses = (l < 0) & (u > 0)
    between = left + (right - left) * t
    between = torch.minimum(torch.maximum(between, torch.minimum(left, right)), torch.maximum(left, right))
    slope = torch.where(crosses, between, torch.where(l >= 0, right, left))
    below = torch.where(right >= left, -1.0, 1.0).to(l.dtype)
    return slope, below * _gap(slopes, torch.relu(-l)), torch.where(crosses, right - left, 0)


def two_slope(value: Callable[[Tensor, Node, Params], Tensor], slopes_of: SlopesOf, **rest: object) -> Elementwise:
    """The operator of a function with a slope below zero and a slope above."""

    def interval(l: Tensor, u: Tensor, node: Node, params: Params) -> tuple[Tensor, Tensor]:
        slopes = slopes_of(node, params, l)
        inexact = torch.where((slopes.left.abs() == 1) | (slopes.left == 0), 0, 1).to(l.dtype)
        lows, highs = [], []
        for x in (l, u, torch.minimum(torch.relu(l), u)):
            y = torch.where(x >= 0, x, slopes.left * x)
            down = torch.relu(-x)
            error = inexact * (eps(x) * (slopes.left * down).abs() + down.clamp(max=tiny(x))) + _gap(slopes, down)
            lows.append(y - error)
            highs.append(y + error)
        return torch.minimum(torch.minimum(lows[0], lows[1]), lows[2]), torch.maximum(torch.maximum(highs[0], highs[1]), highs[2])

    def lines(l: Tensor, u: Tensor, node: Node, params: Params) -> Lines:
        slopes = slopes_of(node, params, l)
        convex = slopes.right >= slopes.left
        chord = _chord(slopes, l, u)
        slope, intercept, _ = _pivot(slopes, start(l, u, node, params), l, u)
        return Lines(
            torch.where(convex, slope, chord[0]),
            torch.where(convex, intercept, chord[1]),
            torch.where(convex, chord[0], slope),
            torch.where(convex, chord[1], intercept),
        )

    def start(l: Tensor, u: Tensor, node: Node, params: Params) -> Tensor:
        return (u > -l).to(l.dtype)

    def family(convex_side: bool) -> Callable[..., Line]:
        def member(t: Tensor, l: Tensor, u: Tensor, node: Node, params: Params) -> Line:
            slopes = slopes_of(node, params, l)
            free = (slopes.right >= slopes.left) == convex_side
            chord = _chord(slopes, l, u)
            slope, intercept, slope_dt = _pivot(slopes, t, l, u)
            return Line(
                torch.where(free, slope, chord[0]),
                torch.where(free, intercept, chord[1]).expand_as(t),
                torch.where(free, slope_dt, 0).expand_as(t),
                torch.zeros_like(t),
            )

        return member

    return Elementwise(
        value=value,
        interval=interval,
        lines=lines,
        linear=lambda l, u, node, params: (l >= 0) | (u <= 0),
        lower_family=family(True),
        upper_family=family(False),
        lower_start=start,
        upper_start=start,
        kinks=(0.0,),
        breaks=lambda node: (0.0,),
        **rest,  # type: ignore[arg-type]
    )


LEAKY_RELU = two_slope(
    lambda x, node, params: F.leaky_relu(x, float(node.attrs.get("slope", 0.01))),
    from_attribute("slope", 0.01),
    examples=tuple(({"slope": slope}, {}) for slope in (0.01, 0.25, 2.5, -0.5, 1.0, 0.0)),
)
PRELU = two_slope(
    lambda x, node, params: torch.where(x >= 0, x, params["slope"] * x),
    from_parameter,
    examples=tuple(({}, {"slope": slope}) for slope in (0.25, 1.75, -0.3, 0.1, 1e-42)),
)
ABS = two_slope(lambda x, node, params: x.abs(), fixed(-1.0))
