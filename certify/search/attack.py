"""Projected gradient descent inside an input set: the upper limit of robustness, and the search for witnesses.

Many restarts of many batch elements run as one batch. Steps follow the sign of the gradient in boxes (arXiv 1706.06083), its
direction in l_2 balls, and its largest entries in l_1 balls (arXiv 1904.13000); they shrink geometrically.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.io.witness import Witness, replay
from certify.model import Model
from certify.search.projection import interior, project, random_start
from certify.sets import Box, LpBall
from certify.specification import Specification

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(x, y), each (batch, restarts, flat) -> (what to descend, what to achieve), each (batch, restarts); a value < 0 is success."""

_FIRST_STEP, _LAST_STEP = 0.5, 0.01  # in half widths of the set
_L1_SHARE = 0.05  # of the coordinates move in one step of an l_1 attack


def pgd(
    model: Model, region: Box | LpBall, rows: Tensor, *, steps: int = 40, restarts: int = 4, seed: int = 0, deadline: float = inf
) -> Tensor:
    """Points of the set, one per batch element, that make the least of `rows @ y` as small as the search could: (batch, *input).

    rows is (batch, specs, outputs), such as the margins y_label - y_c: a negative value breaks one. Stops early when every batch
    element is broken. Deterministic for a seed; `deadline` is a time.monotonic() value.
    """

    def least_margin(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        value = torch.einsum("bso,bro->brs", rows, y).amin(dim=2)
        return value, value

    points, _ = descend(model, region, least_margin, steps=steps, restarts=restarts, seed=seed, deadline=deadline)
    return points


def descend(
    model: Model, region: Box | LpBall, loss: Loss, *, steps: int, restarts: int, seed: int, deadline: float = inf
) -> tuple[Tensor, Tensor]:
    """The best point of all restarts and steps, (batch, *input), and the value achieved there, (batch,).

    The first restart starts at the middle of the set, the others at random. A ValueError where the network's output is NaN.
    """
    batch = len(region.box.lower)
    copies = region.map(lambda t: t.repeat_interleave(restarts, dim=0))
    box = interior(copies)
    x = _starts(copies, box, restarts, torch.Generator().manual_seed(seed))
    best, best_value = x, torch.full((batch * restarts,), inf, dtype=x.dtype, device=x.device)
    for step in range(steps + 1):
        gradient, value = _gradient(model, x, loss, batch)
        improved = value < best_value
        best_value = torch.where(improved, value, best_value)
        best = torch.where(improved.reshape(-1, *(1,) * (x.ndim - 1)), x, best)
        if step == steps or time.monotonic() > deadline or bool((best_value.reshape(batch, -1).amin(dim=1) < 0).all()):
            break
        size = _FIRST_STEP * (_LAST_STEP / _FIRST_STEP) ** (step / max(steps - 1, 1))
        x = project(copies, box, x - size * _DIRECTIONS[getattr(region, "p", inf)](gradient, copies, box))
    chosen = best_value.reshape(batch, restarts).argmin(dim=1) + restarts * torch.arange(batch, device=x.device)
    return best[chosen], best_value[chosen]


def _starts(region: Box | LpBall, box: Box, restarts: int, generator: torch.Generator) -> Tensor:
    """Random points, but the middle of the set for the first restart of every element."""
    x = random_start(region, box, generator)
    middle = torch.clamp(box.lower + (box.upper - box.lower) / 2, box.lower, box.upper)
    middle = getattr(region, "center", middle)
    first = (torch.arange(len(x), device=x.device) % restarts == 0).reshape(-1, *(1,) * (x.ndim - 1))
    return torch.where(first, middle, x)


def _gradient(model: Model, x: Tensor, loss: Loss, batch: int) -> tuple[Tensor, Tensor]:
    """The gradient of the loss at every point, (batch * restarts, *input), and the values, (batch * restarts,)."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = model(x)
        descended, value = loss(x.reshape(batch, -1, x[0].numel()), y.reshape(batch, -1, y[0].numel()))
        if bool(torch.isnan(value).any()):
            raise ValueError(f"{model.name}: the output is NaN at an input of the set; the network overflows there")
        (gradient,) = torch.autograd.grad(descended.sum(), x, allow_unused=True)
    gradient = torch.zeros_like(x) if gradient is None else torch.nan_to_num(gradient)
    return gradient, value.detach().reshape(-1)


def _sign_direction(gradient: Tensor, region: Box | LpBall, box: Box) -> Tensor:
    return gradient.sign() * (box.upper - box.lower) / 2


def _l2_direction(gradient: Tensor, region: LpBall, box: Box) -> Tensor:
    norm = gradient.flatten(1).norm(dim=1).clamp(min=torch.finfo(gradient.dtype).tiny)
    return gradient / norm.reshape(region.radius.shape) * region.radius


def _l1_direction(gradient: Tensor, region: LpBall, box: Box) -> Tensor:
    """The budget spread over the coordinates of largest gradient."""
    count = max(1, int(_L1_SHARE * gradient[0].numel()))
    top = gradient.flatten(1).abs().topk(count, dim=1).values[:, -1].reshape(region.radius.shape)
    return torch.where(gradient.abs() >= top, gradient.sign(), torch.zeros_like(gradient)) * region.radius / count


_DIRECTIONS: dict[float, Callable[[Tensor, Box | LpBall, Box], Tensor]] = {
    inf: _sign_direction,
    2.0: _l2_direction,  # type: ignore[dict-item]
    1.0: _l1_direction,  # type: ignore[dict-item]
}


def find_witness(
    model: Model,
    spec: Specification,
    clauses: Sequence[int] | NDArray[np.intp],
    *,
    steps: int,
    restarts: int,
    seed: int = 0,
    deadline: float = inf,
    device: torch.device | str = "cpu",
) -> Witness | None:
    """A point that satisfies one of the clauses (numbers into a bound specification), strictly replayed in the original; or None.

    The search runs inside the float32 sets rounded inward, so that what it finds is a point of the exact set.
    """
    attackable = spec.inputs.attackable()
    candidates = np.array([i for i in clauses if attackable[spec.clauses[i].region]], dtype=np.intp)
    size = max(1, min(_MAX_POINTS, _MAX_ELEMENTS // spec.inputs.size) // restarts)
    for start in range(0, len(candidates), size):
        if time.monotonic() > deadline:
            return None
        part = candidates[start : start + size]
        region = spec.inputs.attack_region([spec.clauses[i].region for i in part])
        region = region.map(lambda t: model.to_input(t.reshape(len(t), *model.graph.input_shape)).to(device))
        loss = conjunction(spec, part, device)
        points, values = descend(model, region, loss, steps=steps, restarts=restarts, seed=seed + start, deadline=deadline)
        order = values.argsort()[:_MAX_REPLAYS]
        for i in order[values[order] <= _NEAR].tolist():
            found = replay(model, spec, points[i].cpu().numpy(), part[i : i + 1])
            if found.ok:
                return found.witness
    return None


_MAX_POINTS = 8192
_MAX_ELEMENTS = 1 << 23
_MAX_REPLAYS = 16
_NEAR = 1e-5  # the original may round the other way


def conjunction(spec: Specification, clauses: Sequence[int] | NDArray[np.intp], device: torch.device | str) -> Loss:
    """The loss of satisfying all atoms of a clause, one clause per batch element.

    With v_j = C_j y + G_j x - rhs_j it descends sum_j max(v_j, 0), and max_j v_j where that has vanished; the value is max_j v_j,
    raised by what float32 evaluation may be off, so that a value below zero is worth a replay.
    """
    rows = [spec.rows(spec.clauses[i]) for i in clauses]
    most = max(1, max(len(r.rhs) for r in rows))

    def stack(parts: Sequence[NDArray[Any]], *width: int) -> Tensor:
        """The parts, one per clause, as one float32 tensor (clauses, most, *width), filled up with zeros."""
        result = torch.zeros(len(parts), most, *width)
        for k, part in enumerate(parts):
            result[k, : len(part)] = torch.from_numpy(part)
        return result.to(device)

    C, rhs = stack([r.outputs for r in rows], spec.outputs), stack([r.rhs for r in rows])[:, None]
    present = stack([np.ones(len(r.rhs)) for r in rows])[:, None] > 0
    mixed = any(r.inputs is not None for r in rows)
    empty = np.zeros((0, spec.inputs.size))
    G = stack([empty if r.inputs is None else r.inputs for r in rows], spec.inputs.size) if mixed else None

    def loss(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        value = torch.einsum("bao,bro->bra", C, y) - rhs
        if G is not None:
            value = value + torch.einsum("bai,bri->bra", G, x)
        value = value + _ROUNDING * (torch.einsum("bao,bro->bra", C.abs(), y.detach().abs()) + rhs.abs())
        worst = torch.where(present, value, -inf).amax(dim=2)
        hinge = torch.where(present, torch.relu(value), 0.0).sum(dim=2)
        return hinge + _BEYOND * torch.where(torch.isfinite(worst), worst, 0.0), worst

    return loss


_ROUNDING = 1e-6
_BEYOND = 0.01  # weight of going on once all atoms hold: a strict replay wants more than equality
