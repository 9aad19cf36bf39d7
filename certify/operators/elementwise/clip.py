"""Clip: min(max(x, low), high); and HardSigmoid, which clips an affine function to [0, 1].

The convex envelope of clip on [l, u] is flat up to the lower kink and then rises to the upper end; the lower line follows the
part that is above the midpoint. The upper line is the lower line of -clip(-x), which clips to [-high, -low].
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from certify.graph import Node
from certify.operators.base import Elementwise, Line, Lines, Params
from certify.operators.elementwise.rounding import eps, rounded, tiny


def limits(node: Node, like: Tensor, direction: float) -> tuple[float, float]:
    """The node's `min` and `max`, rounded in one direction: clip rises with both."""
    low, high = float(node.attrs.get("min", -np.inf)), float(node.attrs.get("max", np.inf))
    if not low <= high:
        raise ValueError(f"{node}: clip needs min <= max, got {low:g} and {high:g}")
    return rounded(low, like, direction), rounded(high, like, direction)


def rising_slope(l: Tensor, u: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """(pivot, slope) of the last edge of the convex envelope of clip on [l, u]; the slope is rounded down, unless it is exactly 1.

    The pivot is the lower kink, moved into [l, u]. A line through it with a slope between 0 and that one is below clip: it is
    below at u, clip is concave from the pivot on, and flat before it (or the pivot is l).
    """
    pivot = torch.minimum(l.clamp(min=low), u)
    width = u - pivot
    rise = u.clamp(low, high) - pivot.clamp(low, high)
    slope = (rise / torch.where(width > tiny(width), width, 1) * (1 - 4 * eps(l))).clamp(max=1)
    return pivot, torch.where((u <= high) & (u > low), torch.ones_like(slope), torch.where(slope < tiny(l), 0, slope))


def through(pivot: Tensor, slope: Tensor, low: float, high: float) -> Tensor:
    """Intercept of a line of that slope through (pivot, clip(pivot)), rounded down; exact for slopes 0 and 1."""
    shift = slope * pivot
    intercept = pivot.clamp(low, high) - shift
    with torch.no_grad():
        exact = (slope == 0) | ((slope == 1) & (intercept == 0)) | (pivot == 0)
        margin = torch.where(exact, 0, 2 * eps(pivot) * (shift.abs() + intercept.abs()) + tiny(pivot))
    return intercept - margin


def lower_line(l: Tensor, u: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """The line of least area below clip: flat if the midpoint is left of the lower kink, else the rising edge."""
    pivot, slope = rising_slope(l, u, low, high)
    flat = (pivot > 0.5 * l + 0.5 * u) & (l < low) | (u <= low)
    slope = torch.where(flat, 0, slope)
    return slope, through(pivot, slope, low, high)


def lower_member(t: Tensor, l: Tensor, u: Tensor, low: float, high: float) -> Line:
    """The line of slope t times the rising edge's through the lower kink; where the kink is not inside [l, u], the default line."""
    pivot, most = rising_slope(l, u, low, high)
    inside = (l < low) & (low < u)
    slope = torch.where(inside, t * most, lower_line(l, u, low, high)[0])
    rate = torch.where(inside, most, 0).expand_as(t)
    return Line(slope, through(pivot, slope, low, high).expand_as(t), rate, -pivot * rate)


def clip_lines(l: Tensor, u: Tensor, node: Node, params: Params) -> Lines:
    """Sound lines of clip on [l, u]."""
    low, high = limits(node, l, -np.inf)
    lower = lower_line(l, u, low, high)
    low, high = limits(node, l, np.inf)
    slope, intercept = lower_line(-u, -l, -high, -low)
    return Lines(*lower, slope, -intercept)


def clip_interval(l: Tensor, u: Tensor, node: Node, params: Params) -> tuple[Tensor, Tensor]:
    """Exact bounds of clip, but for limits that the dtype does not represent."""
    return l.clamp(*limits(node, l, -np.inf)), u.clamp(*limits(node, l, np.inf))


def _clip_linear(l: Tensor, u: Tensor, node: Node, params: Params) -> Tensor:
    low, high = limits(node, l, np.inf)
    return (u <= low) | (l >= high) | ((l >= low) & (u <= high))


def _lower_family(t: Tensor, l: Tensor, u: Tensor, node: Node, params: Params) -> Line:
    return lower_member(t, l, u, *limits(node, l, -np.inf))


def _upper_family(t: Tensor, l: Tensor, u: Tensor, node: Node, params: Params) -> Line:
    low, high = limits(node, l, np.inf)
    line = lower_member(t, -u, -l, -high, -low)
    return Line(line.slope, -line.intercept, line.slope_dt, -line.intercept_dt)


def _lower_start(l: Tensor, u: Tensor, node: Node, params: Params) -> Tensor:
    return (limits(node, l, -np.inf)[0] <= 0.5 * l + 0.5 * u).to(l.dtype)


def _upper_start(l: Tensor, u: Tensor, node: Node, params: Params) -> Tensor:
    return (limits(node, l, np.inf)[1] >= 0.5 * l + 0.5 * u).to(l.dtype)


CLIP = Elementwise(
    value=lambda x, node, params: x.clamp(node.attrs.get("min"), node.attrs.get("max", np.inf)),
    interval=clip_interval,
    lines=clip_lines,
    linear=_clip_linear,
    lower_family=_lower_family,
    upper_family=_upper_family,
    lower_start=_lower_start,
    upper_start=_upper_start,
    breaks=lambda node: tuple(end for end in (float(node.attrs.get(name, np.inf)) for name in ("min", "max")) if np.isfinite(end)),
    examples=(
        ({"min": 0.0, "max": 6.0}, {}),
        ({"min": -1.0, "max": 1.0}, {}),
        ({"min": 0.1, "max": 0.1}, {}),
        ({"min": -0.3, "max": np.inf}, {}),
        ({"min": -np.inf, "max": 0.7}, {}),
    ),
)
