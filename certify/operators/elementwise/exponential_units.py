"""ELU, SELU, CELU: gamma * (x above zero, alpha * (exp(x / width) - 1) below)."""

from __future__ import annotations

from math import inf, nextafter

import torch
from torch import Tensor

from certify.operators.elementwise.curve import Curve, Piece, at, between


def exponential_unit(alpha: float, gamma: float = 1.0, width: float = 1.0) -> Curve:
    """The curve of such a unit; gamma and width are positive, alpha is any number.

    The kink at zero, of slopes gamma * alpha / width and gamma, is an end of a piece on either side, so it may be convex or
    concave.
    """
    if gamma <= 0 or width <= 0:
        raise ValueError(f"elu, selu and celu: gamma and the width must be positive, got {gamma} and {width}")

    def value(x: Tensor) -> Tensor:
        return gamma * torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0) / width))

    def slope(x: Tensor) -> Tensor:
        return gamma * alpha / width * torch.exp(x.clamp(max=0) / width)

    left = Piece(slope, lambda x: slope(x) / width, between(-inf, 0.0), lambda x, d: d.abs() * (1 + torch.relu(-x / width)))
    right = Piece(lambda x: torch.full_like(x, gamma), torch.zeros_like, between(0.0, inf), straight=True)
    return Curve(
        value,
        convex=(left, right) if alpha >= 0 else (right,),
        concave=(right,) if alpha >= 0 else (left, right),
        corners=(at(0.0),) if alpha != width else (),
        turns=() if alpha >= 0 else (at(0.0),),
        range=(0.0 if alpha < 0 else _least(gamma, alpha), inf),
        origin=0.0,
    )


def _least(gamma: float, alpha: float) -> float:
    """-gamma alpha, which no value reaches, rounded down: the product of two doubles is exact where one of them is 1."""
    return -gamma * alpha if 1.0 in (gamma, alpha) else nextafter(-gamma * alpha, -inf)
