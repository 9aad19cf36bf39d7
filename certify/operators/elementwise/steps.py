"""Functions of steps: floor, ceil, round, sign.

A staircase that has the value k from k + shift on lies between x - shift - 1 and x - shift. On [l, u], with values i at l and j
> i at u, its convex envelope is flat up to the first jump, then x - shift - 1 up to the last jump, then steeper to the upper
end; the lower line is the part at the midpoint. The upper line is the lower line of -f(-x), again a staircase.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from certify.graph import Node
from certify.operators.base import Elementwise, Lines, Params
from certify.operators.elementwise.rounding import eps

Step = Callable[[Tensor], Tensor]
LowerLine = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def below_staircase(value: Step, shift: float) -> LowerLine:
    """Lower lines of a staircase; `shift` is 0 or -1/2, so that the jumps of interest are exact numbers.

    The steep line starts at the foot (last, j - 1) of the last jump. Its slope (f(u) - foot) / (u - last) is rounded down, but
    at least 1 (and at most 1 / eps): then it is below every earlier step. Its intercept is rounded down.
    """

    def lower(l: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        middle, bottom, top = 0.5 * l + 0.5 * u, value(l), value(u)
        first, last = bottom + 1 + shift, top + shift
        whole = torch.maximum(l.abs(), u.abs()) < 0.25 / eps(l)  # beyond, halves and ones no longer fit beside them
        known = whole & (middle >= first) & (bottom < top)
        steep = known & (middle >= last) & (last < u)
        run = torch.where(steep, u - last, 1).clamp(min=eps(l))
        slope = torch.where(steep, (1 - 2 * eps(l)) / run, 1).clamp(min=1)
        foot = top - 1 - slope * last
        foot = foot - 2 * eps(l) * ((slope * last).abs() + foot.abs())
        intercept = torch.where(steep, foot, -shift - 1)
        return torch.where(known, slope, 0), torch.where(known, intercept, bottom)

    return lower


def below_sign(l: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Lower lines of sign: flat up to zero, then from (0, the value at l) to (u, 1); the slope is rounded down."""
    rises = (l <= 0) & (u > 0) & (0.5 * l + 0.5 * u > 0)
    bottom = torch.sign(l)
    slope = (1 - bottom) * (1 - 2 * eps(l)) / torch.where(rises, u, 1).clamp(min=eps(l))
    return torch.where(rises, slope, 0), bottom


def steps(value: Step, below: LowerLine, below_mirrored: LowerLine, kinks: tuple[float, ...]) -> Elementwise:
    """The operator of a function of steps; `below_mirrored` finds lower lines of -f(-x)."""

    def lines(l: Tensor, u: Tensor, node: Node, params: Params) -> Lines:
        slope, intercept = below_mirrored(-u, -l)
        return Lines(*below(l, u), slope, -intercept)

    return Elementwise(
        value=lambda x, node, params: value(x),
        interval=lambda l, u, node, params: (value(l), value(u)),
        lines=lines,
        linear=lambda l, u, node, params: value(l) == value(u),
        kinks=kinks,
    )


FLOOR = steps(torch.floor, below_staircase(torch.floor, 0.0), below_staircase(torch.ceil, -1.0), (-1.0, 0.0, 1.0))
CEIL = steps(torch.ceil, below_staircase(torch.ceil, -1.0), below_staircase(torch.floor, 0.0), (-1.0, 0.0, 1.0))
ROUND = steps(torch.round, below_staircase(torch.round, -0.5), below_staircase(torch.round, -0.5), (-1.5, -0.5, 0.5, 1.5))
SIGN = steps(torch.sign, below_sign, below_sign, (0.0,))
