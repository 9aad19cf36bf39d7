"""HardSigmoid: clip(alpha x + beta, 0, 1). Lines of clip in z = alpha x + beta become lines in x."""

from __future__ import annotations

import torch
from torch import Tensor

from certify.graph import Node
from certify.operators.base import Elementwise, Line, Lines, Params
from certify.operators.elementwise.clip import lower_line, lower_member
from certify.operators.elementwise.rounding import eps, tiny


def coefficients(node: Node) -> tuple[float, float]:
    """alpha and beta."""
    return float(node.attrs.get("alpha", 0.2)), float(node.attrs.get("beta", 0.5))


def _affine(x: Tensor, node: Node) -> tuple[Tensor, Tensor]:
    """alpha x + beta, rounded down and up. Four roundings: of alpha, of beta, of the product, of the sum."""
    alpha, beta = coefficients(node)
    z = alpha * x + beta
    with torch.no_grad():
        error = 2 * eps(x) * ((alpha * x).abs() + abs(beta) + z.abs()) + tiny(x)
    return z - error, z + error


def _range(l: Tensor, u: Tensor, node: Node) -> tuple[Tensor, Tensor]:
    """Bounds of alpha x + beta on [l, u]."""
    ends = (_affine(l, node), _affine(u, node))
    return torch.minimum(ends[0][0], ends[1][0]), torch.maximum(ends[0][1], ends[1][1])


def _in_x(slope: Tensor, intercept: Tensor, l: Tensor, u: Tensor, node: Node) -> tuple[Tensor, Tensor]:
    """A line below, in z, as a line below, in x. A flat line stays as it is."""
    alpha, beta = coefficients(node)
    with torch.no_grad():
        steep = (slope * alpha).abs() * torch.maximum(l.abs(), u.abs())
        margin = 2 * eps(l) * (steep + (slope * beta).abs() + intercept.abs()) + 2 * tiny(l) * (1 + u - l)
        margin = torch.where(slope == 0, 0, margin)
    return slope * alpha, slope * beta + intercept - margin


def _below(l: Tensor, u: Tensor, node: Node) -> tuple[Tensor, Tensor]:
    return _in_x(*lower_line(*_range(l, u, node), 0.0, 1.0), l, u, node)


def _above(l: Tensor, u: Tensor, node: Node) -> tuple[Tensor, Tensor]:
    """-clip(z, 0, 1) = clip(-z, -1, 0) is a function of -z = -alpha x - beta."""
    low, high = _range(l, u, node)
    slope, intercept = lower_line(-high, -low, -1.0, 0.0)
    slope, intercept = _in_x(-slope, intercept, l, u, node)
    return -slope, -intercept


def _lower_family(t: Tensor, l: Tensor, u: Tensor, node: Node, params: Params) -> Line:
    alpha, beta = coefficients(node)
    line = lower_member(t, *_range(l, u, node), 0.0, 1.0)
    return Line(*_in_x(line.slope, line.intercept, l, u, node), line.slope_dt * alpha, line.intercept_dt + line.slope_dt * beta)


def _upper_family(t: Tensor, l: Tensor, u: Tensor, node: Node, params: Params) -> Line:
    alpha, beta = coefficients(node)
    low, high = _range(l, u, node)
    line = lower_member(t, -high, -low, -1.0, 0.0)
    slope, intercept = _in_x(-line.slope, line.intercept, l, u, node)
    return Line(-slope, -intercept, line.slope_dt * alpha, line.slope_dt * beta - line.intercept_dt)


def _interval(l: Tensor, u: Tensor, node: Node, params: Params) -> tuple[Tensor, Tensor]:
    low, high = _range(l, u, node)
    return low.clamp(0, 1), high.clamp(0, 1)


def _linear(l: Tensor, u: Tensor, node: Node, params: Params) -> Tensor:
    low, high = _range(l, u, node)
    return (high <= 0) | (low >= 1) | ((low >= 0) & (high <= 1))


def _lower_start(l: Tensor, u: Tensor, node: Node, params: Params) -> Tensor:
    low, high = _range(l, u, node)
    return (low + high >= 0).to(l.dtype)


def _upper_start(l: Tensor, u: Tensor, node: Node, params: Params) -> Tensor:
    low, high = _range(l, u, node)
    return (low + high <= 2).to(l.dtype)


def _value(x: Tensor, node: Node, params: Params) -> Tensor:
    alpha, beta = coefficients(node)
    return (alpha * x + beta).clamp(0, 1)


def _breaks(node: Node) -> tuple[float, ...]:
    alpha, beta = coefficients(node)
    return tuple(sorted((-beta / alpha, (1 - beta) / alpha))) if alpha else ()


HARD_SIGMOID = Elementwise(
    value=_value,
    interval=_interval,
    lines=lambda l, u, node, params: Lines(*_below(l, u, node), *_above(l, u, node)),
    linear=_linear,
    lower_family=_lower_family,
    upper_family=_upper_family,
    lower_start=_lower_start,
    upper_start=_upper_start,
    breaks=_breaks,
    examples=(({"alpha": 0.2, "beta": 0.5}, {}), ({"alpha": 1 / 6, "beta": 0.5}, {}), ({"alpha": -0.5, "beta": 0.25}, {})),
)
