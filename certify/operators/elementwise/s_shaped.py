"""S-shaped functions: convex below zero, concave above."""

from __future__ import annotations

from math import inf, pi, sqrt

import torch
from torch import Tensor

from certify.operators.elementwise.curve import Curve, Function, Piece, Scale, between, relative


def s_shaped(
    value: Function,
    slope: Function,
    bend: Function,
    limit: float,
    *,
    scale: Scale = relative,
    low: float | None = None,
    origin: float = 0.0,
) -> Curve:
    """A function convex on x <= 0 and concave on x >= 0, with values in [low, limit] (low: -limit), and f(0) exactly `origin`."""
    return Curve(
        value,
        convex=(Piece(slope, bend, between(-inf, 0.0), scale),),
        concave=(Piece(slope, bend, between(0.0, inf), scale),),
        range=(-limit if low is None else low, limit),
        origin=origin,
    )


def sigmoid_slope(x: Tensor) -> Tensor:
    """sigmoid'(x), as a product without cancellation."""
    return torch.sigmoid(x) * torch.sigmoid(-x)


def sigmoid_bend(x: Tensor) -> Tensor:
    """sigmoid''(x)."""
    return sigmoid_slope(x) * (torch.sigmoid(-x) - torch.sigmoid(x))


def tanh_slope(x: Tensor) -> Tensor:
    """tanh'(x) = 4 sigmoid'(2 x)."""
    return 4 * sigmoid_slope(2 * x)


def gauss(x: Tensor) -> Tensor:
    """exp(-x^2). Relative error: x^2 times that of exp."""
    return torch.exp(-(x * x))


def square_where_it_matters(x: Tensor) -> Tensor:
    """x^2, up to where exp(-x^2) vanishes in every dtype."""
    return x.clamp(-40, 40).square()


SIGMOID = s_shaped(torch.sigmoid, sigmoid_slope, sigmoid_bend, 1.0, low=0.0, origin=0.5)

TANH = s_shaped(torch.tanh, tanh_slope, lambda x: -2 * torch.tanh(x) * tanh_slope(x), 1.0)

ERF = s_shaped(
    torch.erf,
    lambda x: 2 / sqrt(pi) * gauss(x),
    lambda x: -4 / sqrt(pi) * x * gauss(x),
    1.0,
    scale=lambda x, slope: slope.abs() * (1 + square_where_it_matters(x)),
)

ATAN = s_shaped(torch.atan, lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2, 1.5707963267948968)

SOFTSIGN = s_shaped(
    lambda x: x / (1 + x.abs()),
    lambda x: (1 + x.abs()) ** -2,
    lambda x: -2 * torch.sign(x) * (1 + x.abs()) ** -3,
    1.0,
)
