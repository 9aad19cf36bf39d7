"""Functions convex or concave wherever they are defined, and powers."""

from __future__ import annotations

from math import exp, inf

import torch
import torch.nn.functional as F
from torch import Tensor

from certify.operators.elementwise.curve import Curve, Function, Piece, Scale, at, between, relative
from certify.operators.elementwise.rounding import ULPS, eps
from certify.operators.elementwise.s_shaped import sigmoid_slope


def convex_curve(
    value: Function, slope: Function, bend: Function, *, scale: Scale = relative, slope_scale: Scale = relative, **rest: object
) -> Curve:
    """A function that is convex on every interval of its domain."""
    return Curve(value, convex=(Piece(slope, bend, scale=slope_scale),), scale=scale, **rest)  # type: ignore[arg-type]


def concave_curve(value: Function, slope: Function, bend: Function, **rest: object) -> Curve:
    """A function that is concave on every interval of its domain."""
    return Curve(value, concave=(Piece(slope, bend),), **rest)  # type: ignore[arg-type]


EXP = convex_curve(torch.exp, torch.exp, torch.exp, range=(0.0, inf), origin=1.0)
LOG = concave_curve(torch.log, torch.reciprocal, lambda x: -1 / (x * x))
SQRT = concave_curve(torch.sqrt, lambda x: 0.5 / torch.sqrt(x), lambda x: -0.25 / (x * torch.sqrt(x)), range=(0.0, inf), origin=0.0)
SQUARE = convex_curve(
    lambda x: x * x, lambda x: 2 * x, lambda x: torch.full_like(x, 2.0), turns=(at(0.0),), range=(0.0, inf), origin=0.0
)
LOG_SIGMOID = concave_curve(F.logsigmoid, lambda x: torch.sigmoid(-x), lambda x: -sigmoid_slope(x), range=(-inf, 0.0))


def softplus(beta: float, threshold: float) -> Curve:
    """log(1 + exp(beta x)) / beta, beta positive; and torch's version of it, which returns x beyond beta x = threshold.

    That is lower by at most exp(-threshold) / beta, granted as an error to values from 2 before the threshold on. A tangent
    further down is below x when it gets there: in units of 1 / beta, it starts log(1 + e^-t) <= e^-t above x, and falls behind
    x by 1 / (1 + e^t) per step.
    """
    if beta <= 0:
        raise ValueError(f"softplus: beta must be positive, got {beta:g}")
    switch = threshold - 2 if threshold >= 5 else -inf

    def tail(x: Tensor, y: Tensor) -> Tensor:
        return y.abs() * (1 + torch.relu(-beta * x))  # beta may have been rounded: exp(beta x) feels that times beta x

    def scale(x: Tensor, y: Tensor) -> Tensor:
        jump = exp(-threshold) / beta / (ULPS * eps(x))
        return tail(x, y) + torch.where(beta * x > switch, jump, 0.0)

    return convex_curve(
        lambda x: torch.logaddexp(beta * x, torch.zeros_like(x)) / beta,
        lambda x: torch.sigmoid(beta * x),
        lambda x: beta * sigmoid_slope(beta * x),
        scale=scale,
        slope_scale=tail,
        range=(0.0, inf),
    )


# Powers. Whole exponents have both signs of x; others need x >= 0.


def _monomial(factor: float, exponent: float) -> Function:
    """factor * x^exponent, and 0 where factor is."""
    return (lambda x: factor * torch.pow(x, exponent)) if factor else torch.zeros_like


def _power_scale(exponent: float) -> Scale:
    """torch's pow is granted twice the usual error; rounding a fractional exponent e changes x^e by e log x times as much."""
    if exponent == int(exponent):
        return lambda x, y: 2 * y.abs()
    return lambda x, y: y.abs() * (2 + (abs(exponent) + 2) * torch.log(x.abs().clamp(min=torch.finfo(x.dtype).tiny)).abs())


def power(exponent: float) -> Curve:
    """x^exponent, on the domain of `power_domain`."""
    slope, bend = _monomial(exponent, exponent - 1), _monomial(exponent * (exponent - 1), exponent - 2)
    scale, derivative_scale = _power_scale(exponent), _power_scale(exponent)
    odd = exponent == int(exponent) and int(exponent) % 2 == 1
    above = Piece(slope, bend, between(0.0, inf) if odd else between(-inf, inf), derivative_scale)
    below = Piece(slope, bend, between(-inf, 0.0), derivative_scale)
    concave_above, straight = 0 < exponent < 1, exponent in (0, 1)
    even = exponent == int(exponent) and int(exponent) % 2 == 0
    return Curve(
        _monomial(1.0, exponent),
        convex=() if concave_above else (above, below) if straight else (above,),
        concave=(above,) if concave_above or straight else (below,) if odd else (),
        turns=(at(0.0),) if even and exponent > 0 else (),
        scale=scale,
        range=(-inf if odd else 0.0, inf),
        origin=None if exponent < 0 else float(exponent == 0),
    )


def power_domain(l: Tensor, u: Tensor, exponent: float) -> Tensor:
    """Where x^exponent is defined on all of [l, u]."""
    whole, positive = exponent == int(exponent), exponent >= 0
    if whole:
        return torch.ones_like(l, dtype=torch.bool) if positive else (l > 0) | (u < 0)
    return l >= 0 if positive else l > 0
