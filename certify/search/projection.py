"""Points inside input sets: projection that ends inside, and random starts."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch
from torch import Tensor

from certify.sets import Box, LpBall

_BISECTIONS = 40


def interior(region: Box | LpBall) -> Box:
    """A box inside (p = infinity) or around (else) the set, whose corners no rounding has pushed out of the ball's reach."""
    if region.box is region:
        return region
    low, high = region.domain  # type: ignore[misc, union-attr]
    center, radius = region.center, region.radius  # type: ignore[union-attr]
    # One step inward undoes the rounding of the sum; the centre itself is always inside.
    down = torch.minimum(torch.nextafter(center - radius, center), center)
    up = torch.maximum(torch.nextafter(center + radius, center), center)
    return Box(torch.maximum(low, down), torch.minimum(high, up))


def project(region: Box | LpBall, box: Box, x: Tensor) -> Tensor:
    """A point of the set near x (the nearest one but for bisection), for `box = interior(region)`."""
    clipped = torch.clamp(x, box.lower, box.upper)
    shrink = _SHRINK.get(getattr(region, "p", inf))
    return clipped if shrink is None else _into_ball(region, box, x, shrink)  # type: ignore[arg-type]


def random_start(region: Box | LpBall, box: Box, generator: torch.Generator) -> Tensor:
    """A random point of the set per batch element: uniform in the bounding box, then projected."""
    noise = torch.rand(box.lower.shape, generator=generator, dtype=box.lower.dtype).to(box.lower.device)
    return project(region, box, box.lower + noise * (box.upper - box.lower))


Shrink = Callable[[Tensor, Tensor], Tensor]
"""(offset from the centre, multiplier) -> the minimiser over z of |z - offset|^2 / 2 + multiplier * cost(z), elementwise."""

_SHRINK: dict[float, Shrink] = {
    1.0: lambda offset, t: offset.sign() * (offset.abs() - t).clamp(min=0),
    2.0: lambda offset, t: offset / (1 + t),
}


def _into_ball(ball: LpBall, box: Box, x: Tensor, shrink: Shrink) -> Tensor:
    """Projection onto ball and box by the multiplier of the ball's constraint.

    The nearest point is clamp(center + shrink(x - center, t)) for the smallest t >= 0 that lands in the ball: the Lagrangian is
    separable, and with the centre inside the box, clamping its scalar minimisers is exact. The search keeps a t that lands inside.
    """
    center, offset = ball.center, x - ball.center
    limit = ball.eps.double() * (1 - 1e-12)
    axes = tuple(range(1, x.ndim))

    def candidate(t: Tensor) -> Tensor:
        return torch.clamp(center + shrink(offset, t.reshape(ball.radius.shape)), box.lower, box.upper)

    def inside(z: Tensor) -> Tensor:
        return torch.linalg.vector_norm(z.double() - center.double(), ord=ball.p, dim=axes) <= limit

    first = candidate(torch.zeros_like(ball.eps))
    done = inside(first)
    if bool(done.all()):
        return first
    low = torch.zeros_like(ball.eps)
    high = offset.abs().amax(dim=axes) if ball.p == 1 else offset.flatten(1).norm(dim=1) / ball.eps.clamp(min=1e-30)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        ok = inside(candidate(middle))
        low, high = torch.where(ok, low, middle), torch.where(ok, middle, high)
    shape = ball.radius.shape
    best = candidate(high)
    best = torch.where(inside(best).reshape(shape), best, center)
    return torch.where(done.reshape(shape), first, best)
