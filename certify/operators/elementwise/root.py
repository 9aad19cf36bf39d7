"""Zeros of monotone functions, many at once: Newton's method inside a bracket."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from certify.operators.elementwise.rounding import eps, tiny

MAX_STEPS = 80

Monotone = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""`(t, index) -> (h, dh/dt, magnitude)`: h at t for the elements at those flat positions, and the size of the terms it sums."""


@torch.no_grad()
def crossing(function: Monotone, start: Tensor, stop: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The last point from start towards stop where h <= 0; and the flat positions of those that are zeros between the ends.

    h must not fall on the way from start to stop. Where h <= 0 throughout, and where it is not `wanted`, the result is stop;
    where h > 0 throughout it is start. A zero is found to the precision that rounding leaves h; nobody's soundness depends on
    that.
    """
    result = stop.flatten().clone()
    index = wanted.flatten().nonzero().squeeze(1)
    first, last = start.flatten()[index], stop.flatten()[index]
    h_last, _, magnitude = function(last, index)
    below_first, above_last = function(first, index)[0] < 0, h_last > eps(last) * magnitude
    result[index] = torch.where(above_last, first, last)
    between = below_first & above_last
    index = index[between]
    if index.numel():
        result[index] = _newton(function, first[between], last[between], index)
    return result.reshape(stop.shape), index


def _newton(function: Monotone, low: Tensor, high: Tensor, index: Tensor) -> Tensor:
    """Newton steps, or halvings where they would leave the bracket; `low` is the end where h <= 0, on whichever side that is.

    An element stays where it is once h is all rounding, or after a Newton step shorter than sqrt(eps), whose error is about its
    square.
    """
    t = 0.5 * low + 0.5 * high
    close, exact = 0.1 * eps(t) ** 0.5, 2 * eps(t)
    size = torch.maximum(low.abs(), high.abs())
    settled = torch.zeros_like(t, dtype=torch.bool)
    for _ in range(MAX_STEPS):
        h, slope, magnitude = function(t, index)
        settled |= h.abs() <= eps(t) * magnitude
        low, high = torch.where(h <= 0, t, low), torch.where(h > 0, t, high)
        least, most = torch.minimum(low, high), torch.maximum(low, high)
        newton = t - h / slope
        short = (newton - t).abs() <= close * t.abs()
        inside = short | ((newton > least) & (newton < most))
        step = torch.where(settled, t, torch.where(inside, newton.clamp(least, most), 0.5 * low + 0.5 * high))
        settled |= short | ((step - t).abs() <= exact * size + tiny(t))
        t = step
        if bool(settled.all()):
            break
    return t
