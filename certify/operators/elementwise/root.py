"""Zeros of increasing functions, many at once: Newton's method inside a bracket."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from certify.operators.elementwise.rounding import eps, tiny

MAX_STEPS = 80

Increasing = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""`(t, index) -> (h, dh/dt)`: h at t for the elements whose flat positions are `index`."""


@torch.no_grad()
def crossing(function: Increasing, start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """Where h, which is monotone between start and stop, goes from h <= 0 (towards start) to h > 0; and where there is such a place.

    Without a change of sign the result is the end where h comes nearest to zero: stop where h <= 0 throughout, start where h > 0
    throughout. Only elements with a change of sign are iterated. The result is accurate to a few units in the last place; nobody's
    soundness depends on that.
    """
    everything = torch.arange(start.numel(), device=start.device)
    flat_start, flat_stop = start.flatten(), stop.flatten()
    below_stop = function(flat_stop, everything)[0] <= 0
    changes = (function(flat_start, everything)[0] < 0) & ~below_stop & (flat_start != flat_stop)
    result = torch.where(below_stop, flat_stop, flat_start)
    index = changes.nonzero().squeeze(1)
    if index.numel():
        result = result.index_put((index,), _newton(function, flat_start[index], flat_stop[index], index))
    return result.reshape(start.shape), changes.reshape(start.shape)


def _newton(function: Increasing, low: Tensor, high: Tensor, index: Tensor) -> Tensor:
    """Bracketed Newton steps; `low` is the end where h <= 0, on whichever side that is."""
    t = 0.5 * low + 0.5 * high
    for _ in range(MAX_STEPS):
        h, slope = function(t, index)
        low, high = torch.where(h <= 0, t, low), torch.where(h > 0, t, high)
        newton = t - h / slope
        inside = (newton > torch.minimum(low, high)) & (newton < torch.maximum(low, high))
        step = torch.where(inside, newton, 0.5 * low + 0.5 * high)
        settled = (step - t).abs() <= 2 * eps(t) * t.abs() + tiny(t)
        t = step
        if bool(settled.all()):
            break
    return t
