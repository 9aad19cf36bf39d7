"""x times a gate: GELU, SiLU, Mish, HardSwish. One minimum below zero, convex in the middle, concave in both tails.

The inflection points and minima are the zeros of f'' and f'; least values are rounded down. A test holds every number here against 80
digits.
"""

from __future__ import annotations

from functools import lru_cache
from math import inf, pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from certify.operators.elementwise.curve import Curve, Function, Piece, Scale, at, between, relative
from certify.operators.elementwise.rounding import eps, tiny
from certify.operators.elementwise.s_shaped import gauss, sigmoid_slope, square_where_it_matters


def gate(
    value: Function,
    slope: Function,
    bend: Function,
    *,
    inflections: tuple[float, float],
    minimum: tuple[float, float],
    scale: Scale = relative,
    slope_scale: Scale = relative,
) -> Curve:
    """A function x g(x) concave outside its two inflection points and convex between them.

    `minimum` is where f is least, and that value, rounded down.
    """
    left, right = inflections
    return Curve(
        value,
        convex=(Piece(slope, bend, between(left, right), slope_scale),),
        concave=(Piece(slope, bend, between(-inf, left), slope_scale), Piece(slope, bend, between(right, inf), slope_scale)),
        turns=(at(minimum[0]),),
        scale=scale,
        range=(minimum[1], inf),
        origin=0.0,
    )


def below_zero(x: Tensor) -> Tensor:
    """|x| where x is negative, else 0: what the relative error of an exponential tail grows with."""
    return torch.relu(-x)


# GELU: x Phi(x), with erfc for its relative accuracy in the lower tail: f' = Phi + x phi, f'' = phi (2 - x^2).


def _phi(x: Tensor) -> Tensor:
    return gauss(x / sqrt(2)) / sqrt(2 * pi)


def _cdf(x: Tensor) -> Tensor:
    return 0.5 * torch.special.erfc(-x / sqrt(2))


def _cdf_scale(x: Tensor) -> Tensor:
    return _cdf(x) * (1 + square_where_it_matters(below_zero(x)))


GELU = gate(
    lambda x: x * _cdf(x),
    lambda x: _cdf(x) + x * _phi(x),
    lambda x: _phi(x) * (2 - x * x),
    inflections=(-sqrt(2), sqrt(2)),
    minimum=(-0.7517915246935645, -0.16997120747990369),
    scale=lambda x, y: x.abs() * _cdf_scale(x),
    slope_scale=lambda x, slope: _cdf_scale(x) + x.abs() * _phi(x) * (1 + square_where_it_matters(x)),
)


# GELU with tanh: x sigmoid(w(x)), w = 2 sqrt(2 / pi) (x + cubic x^3). With s = sigmoid(w), s' = s (1 - s):
# f' = s + x s' w',  f'' = 2 s' w' + x (s' (1 - 2 s) w'^2 + s' w'').

CUBIC = 0.044715
_FACTOR = 2 * sqrt(2 / pi)


@lru_cache
def gelu_tanh(cubic: float = CUBIC) -> Curve:
    """The curve for a cubic between 0.04 and 0.05: there, as for 0.044715, f has one minimum and two inflection points."""
    if not 0.04 <= cubic <= 0.05:
        raise ValueError(f"gelu_tanh: its cubic must be between 0.04 and 0.05, got {cubic:g}")

    def w(x: Tensor) -> Tensor:
        x = x.clamp(-30, 30)  # beyond, the sigmoid is 0 or 1 in every dtype
        return _FACTOR * (x + cubic * x * x * x)

    def dw(x: Tensor) -> Tensor:
        x = x.clamp(-30, 30)
        return _FACTOR * (1 + 3 * cubic * x * x)

    def value(x: Tensor) -> Tensor:
        return x * torch.sigmoid(w(x))

    def slope(x: Tensor) -> Tensor:
        return torch.sigmoid(w(x)) + x * sigmoid_slope(w(x)) * dw(x)

    def bend(x: Tensor) -> Tensor:
        ddw = 6 * _FACTOR * cubic * x.clamp(-30, 30)
        turned = (torch.sigmoid(-w(x)) - torch.sigmoid(w(x))) * dw(x) ** 2
        return sigmoid_slope(w(x)) * (2 * dw(x) + x * (turned + ddw))

    def slope_scale(x: Tensor, slope: Tensor) -> Tensor:
        lost = tiny(x) / eps(x)  # where exp(-w) overflows, sigmoid(w) is 0, and w' is in the hundreds
        return torch.sigmoid(w(x)) * (1 + below_zero(w(x))) + x.abs() * dw(x) * (sigmoid_slope(w(x)) * (1 + w(x).abs()) + lost)

    inflection, least = zero(bend, 1.0, 2.0), zero(slope, -1.0, -0.5)
    lowest = float(value(torch.tensor(least, dtype=torch.float64)))
    return gate(
        value,
        slope,
        bend,
        inflections=(-inflection, inflection),
        # Rounding errs by a few 2^-53 of the value, and the point by d ~ 2^-52, which costs f'' d^2 / 2.
        minimum=(least, lowest * (1 + 2.0**-48)),
        scale=lambda x, y: y.abs() * (1 + below_zero(w(x))),
        slope_scale=slope_scale,
    )


def zero(function: Function, low: float, high: float) -> float:
    """Where a function that changes its sign between low and high does so, as well as doubles tell."""
    rising = float(function(torch.tensor(high, dtype=torch.float64))) > 0
    for _ in range(60):
        middle = (low + high) / 2
        if (float(function(torch.tensor(middle, dtype=torch.float64))) > 0) == rising:
            high = middle
        else:
            low = middle
    return (low + high) / 2


# SiLU: x s with s = sigmoid(x): f' = s + x s', f'' = s' (2 - x tanh(x / 2)).

SILU = gate(
    lambda x: x * torch.sigmoid(x),
    lambda x: torch.sigmoid(x) + x * sigmoid_slope(x),
    lambda x: sigmoid_slope(x) * (2 - x * torch.tanh(0.5 * x)),
    inflections=(-2.3993572805154677, 2.3993572805154677),
    minimum=(-1.2784645427610738, -0.27846454276107385),
    slope_scale=lambda x, slope: torch.sigmoid(x) + x.abs() * sigmoid_slope(x),
)


# Mish: x T with T = tanh(p), p = softplus(x), s = sigmoid(x), S = 1 - T^2: f' = T + x s S, f'' = 2 s S + x S (s' - 2 T s^2).


def _mish_parts(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    p = torch.logaddexp(x, torch.zeros_like(x))
    return torch.tanh(p), torch.sigmoid(x), 4 * sigmoid_slope(2 * p)


def _mish_slope(x: Tensor) -> Tensor:
    T, s, S = _mish_parts(x)
    return T + x * s * S


def _mish_bend(x: Tensor) -> Tensor:
    T, s, S = _mish_parts(x)
    return S * (2 * s + x * (sigmoid_slope(x) - 2 * T * s * s))


def _mish_slope_scale(x: Tensor, slope: Tensor) -> Tensor:
    T, s, S = _mish_parts(x)
    return T + x.abs() * s * S * (1 + 2 * torch.relu(x))


MISH = gate(
    lambda x: x * torch.tanh(torch.logaddexp(x, torch.zeros_like(x))),
    _mish_slope,
    _mish_bend,
    inflections=(-2.2563763963607931, 1.4905711794854285),
    minimum=(-1.1924312145154952, -0.30884341301725043),
    slope_scale=_mish_slope_scale,
)


# HardSwish: 0 up to -3, x (x + 3) / 6 up to 3, x beyond. Both kinks are concave; the straight tails count as pieces of either kind.


def _constant(number: float) -> Function:
    return lambda x: torch.full_like(x, number)


HARD_SWISH = Curve(
    F.hardswish,
    convex=(
        Piece(
            lambda x: (2 * x.clamp(-3, 3) + 3) / 6,
            _constant(1 / 3),
            between(-3.0, 3.0),
            lambda x, slope: torch.full_like(x, 1.5),
        ),
    ),
    concave=(
        Piece(_constant(0.0), _constant(0.0), between(-inf, -3.0), straight=True),
        Piece(_constant(1.0), _constant(0.0), between(3.0, inf), straight=True),
    ),
    turns=(at(-1.5),),
    corners=(at(-3.0), at(3.0)),
    range=(-0.375, inf),
    origin=0.0,
)
