"""Projected gradient descent from many starts, all batch elements and restarts as one batch.

Steps follow the sign of the gradient in boxes (arXiv 1706.06083), its direction in l_2 balls, and its largest entries in l_1 balls
(arXiv 1904.13000); they shrink geometrically. Every other restart first walks along a random direction of the output space
(output-diversified initialisation, arXiv 2003.06878): networks that are flat around the middle of the set hold the others there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, prod

import torch
from torch import Tensor

from certify.model import Model
from certify.search.projection import interior, project, random_start
from certify.search.surrogate import leaking
from certify.sets import Box, LpBall

Region = Box | LpBall
Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(x, y), each (batch, restarts, flat) -> (what to descend, what to achieve), each (batch, restarts); a value < 0 is success."""


@dataclass(frozen=True)
class Effort:
    """How hard to search: steps of descent, restarts of every batch element, random draws of which each restart takes the best.

    `leak` is the share of the gradient that flat activations pass on (`surrogate.leaking`).
    """

    steps: int = 40
    restarts: int = 4
    draws: int = 1
    leak: float = 0.0


_FIRST_STEP, _LAST_STEP = 0.5, 0.01  # in half widths of the set
_WALK = 4  # steps of a full half width along a random output direction
_L1_SHARE = 0.05  # of the coordinates move in one step of an l_1 attack


def descend(model: Model, region: Region, loss: Loss, effort: Effort, *, seed: int, deadline: float = inf) -> tuple[Tensor, Tensor]:
    """The best point of all restarts and steps, (batch, *input), and the value achieved there, (batch,).

    The first restart starts at the middle of the set. Stops when every batch element has succeeded, or at `deadline`, a
    time.monotonic() value. Deterministic for a seed but for the deadline. A ValueError where the network's output is NaN.
    """
    batch, restarts = len(region.box.lower), effort.restarts
    copies = region.map(lambda t: t.repeat_interleave(restarts, dim=0))
    network = leaking(model, effort.leak) if effort.leak else model
    field = _Field(model, network, copies, interior(copies), batch, deadline)
    generator = torch.Generator().manual_seed(seed)
    best = _draw(field, loss, effort, generator)
    if not field.finished(best):
        best = _walk_and_descend(field, loss, effort, best, generator)
    chosen = best.value.reshape(batch, restarts).argmin(dim=1) + restarts * torch.arange(batch, device=best.x.device)
    return best.x[chosen], best.value[chosen]


@dataclass(frozen=True)
class _Best:
    """The best point so far of every restart, and its value."""

    x: Tensor
    value: Tensor

    def or_better(self, x: Tensor, value: Tensor) -> _Best:
        improved = value < self.value
        return _Best(torch.where(_broad(improved, x), x, self.x), torch.where(improved, value, self.value))


@dataclass(frozen=True)
class _Field:
    """Where the search takes place: `region` holds every batch element `restarts` times in a row."""

    model: Model
    network: Callable[[Tensor], Tensor]
    region: Region
    box: Box
    batch: int
    deadline: float

    def evaluate(self, x: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """The loss at every point: what to descend and what to achieve, each (batch * restarts,); infinite where outputs that overflow
        leave no number. A ValueError where an output itself is none."""
        y = self.network(x)
        descended, value = loss(x.reshape(self.batch, -1, x[0].numel()), y.reshape(self.batch, -1, y[0].numel()))
        if bool(torch.isnan(value).any()) and bool(torch.isnan(y).any()):
            raise self.model.no_number_at(x.detach().cpu().numpy())
        return descended.reshape(-1), torch.nan_to_num(value.detach(), nan=inf, posinf=inf, neginf=-inf).reshape(-1)

    def gradient(self, x: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """The gradient of the loss at every point, (batch * restarts, *input), and the values, (batch * restarts,)."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            descended, value = self.evaluate(x, loss)
            (gradient,) = torch.autograd.grad(descended.sum(), x, allow_unused=True)
        return torch.zeros_like(x) if gradient is None else torch.nan_to_num(gradient), value

    def step(self, x: Tensor, gradient: Tensor, size: float) -> Tensor:
        """A step of `size` half widths against the gradient, back into the set."""
        direction = _DIRECTIONS[getattr(self.region, "p", inf)](gradient, self.region, self.box)
        return project(self.region, self.box, x - size * direction)

    def finished(self, best: _Best) -> bool:
        """Whether every batch element has a restart that succeeded, or the time is up."""
        return time.monotonic() > self.deadline or bool((best.value.reshape(self.batch, -1).amin(dim=1) < 0).all())


def _draw(field: _Field, loss: Loss, effort: Effort, generator: torch.Generator) -> _Best:
    """The best of several random points for every restart; the middle of the set for the first."""
    x = random_start(field.region, field.box, generator)
    first = torch.arange(len(x), device=x.device) % effort.restarts == 0
    middle = torch.clamp(field.box.lower + (field.box.upper - field.box.lower) / 2, field.box.lower, field.box.upper)
    x = torch.where(_broad(first, x), getattr(field.region, "center", middle), x)
    best = _Best(x, torch.full((len(x),), inf, dtype=x.dtype, device=x.device))
    for _ in range(effort.draws):
        with torch.no_grad():
            best = best.or_better(x, field.evaluate(x, loss)[1])
        if field.finished(best):
            break
        x = random_start(field.region, field.box, generator)
    return best


def _walk_and_descend(field: _Field, loss: Loss, effort: Effort, best: _Best, generator: torch.Generator) -> _Best:
    x = best.x
    wandering = _output_walk(field, loss, x, generator)
    for _ in range(_WALK):
        if field.finished(best):
            break
        gradient, value = field.gradient(x, wandering)
        best = best.or_better(x, value)
        x = field.step(x, gradient, 1.0)
    for step in range(effort.steps + 1):
        gradient, value = field.gradient(x, loss)
        best = best.or_better(x, value)
        if step == effort.steps or field.finished(best):
            break
        x = field.step(x, gradient, _FIRST_STEP * (_LAST_STEP / _FIRST_STEP) ** (step / max(effort.steps - 1, 1)))
    return best


def _output_walk(field: _Field, loss: Loss, x: Tensor, generator: torch.Generator) -> Loss:
    """A loss that leads odd restarts along random output directions and leaves the even ones where they are."""
    shape = (field.batch, len(x) // field.batch, prod(field.model.graph.output_shape))
    direction = torch.randn(shape, generator=generator, dtype=x.dtype)
    direction[:, ::2] = 0
    direction = direction.to(x.device)

    def wander(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (direction * y).sum(dim=2), loss(x, y)[1]

    return wander


def _broad(mask: Tensor, x: Tensor) -> Tensor:
    return mask.reshape(-1, *(1,) * (x.ndim - 1))


def _sign_direction(gradient: Tensor, region: Region, box: Box) -> Tensor:
    return gradient.sign() * (box.upper - box.lower) / 2


def _l2_direction(gradient: Tensor, region: LpBall, box: Box) -> Tensor:
    norm = gradient.flatten(1).norm(dim=1).clamp(min=torch.finfo(gradient.dtype).tiny)
    return gradient / _broad(norm, gradient) * region.radius


def _l1_direction(gradient: Tensor, region: LpBall, box: Box) -> Tensor:
    """The budget spread over the coordinates of largest gradient."""
    count = max(1, int(_L1_SHARE * gradient[0].numel()))
    top = gradient.flatten(1).abs().topk(count, dim=1).values[:, -1]
    return torch.where(gradient.abs() >= _broad(top, gradient), gradient.sign(), torch.zeros_like(gradient)) * region.radius / count


_DIRECTIONS: dict[float, Callable[[Tensor, Region, Box], Tensor]] = {
    inf: _sign_direction,
    2.0: _l2_direction,  # type: ignore[dict-item]
    1.0: _l1_direction,  # type: ignore[dict-item]
}
