"""The minimum of linear rows over an input set, and a point where it is attained.

Box: each coordinate goes to the end that its sign wants. l_1 ball inside a box: a fractional knapsack, exact. l_2 ball inside a box: the
Lagrangian dual in one multiplier, which is a lower bound for every value of the multiplier, so that an inexact search stays sound.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch
from torch import Tensor

from certify.bounds.rounding import Rounding
from certify.operators.rows import Rows
from certify.sets import Box, LpBall

_BISECTIONS = 40


def minimise(rows: Rows, region: Box | LpBall, owner: Tensor, rounding: Rounding) -> Tensor:
    """A lower bound of rows @ x over the set of each row's owner, (rows,): exact but for rounding and the search for a multiplier."""
    box = region.box
    scale = torch.maximum(box.lower.abs(), box.upper.abs())
    value = _rule(region)[0](rows, region, owner)
    if not rounding.active:
        return value
    # Over a ball the terms of three sums count: the objective's, and the cost's, whose terms are at most twice as large.
    gamma = rounding.gamma(3 * scale[0].numel(), scale.dtype)
    return value - gamma * (rows.magnitude(scale, owner) + torch.finfo(scale.dtype).tiny)


def minimiser(rows: Tensor, region: Box | LpBall, owner: Tensor) -> Tensor:
    """A point of each row's set where rows @ x is least, (rows, *shape)."""
    return _rule(region)[1](rows, region, owner)


def _box_minimise(rows: Rows, box: Box, owner: Tensor) -> Tensor:
    return rows.minimise(box.lower, box.upper, owner)


def _box_minimiser(rows: Tensor, box: Box, owner: Tensor) -> Tensor:
    return torch.where(rows > 0, box.lower[owner], box.upper[owner])


def _ball_minimise(rows: Rows, ball: LpBall, owner: Tensor) -> Tensor:
    """a @ center - eps ||a|| in the dual norm where the domain cuts nothing off; else through the dual of the ball's constraint.

    The first is exact, and `minimise` allows for its rounding: eps <= |x_i| + |center_i| <= 2 max |x_i| there. Gradients of the second
    come by the envelope theorem, with the optimal step and force held fixed.

    For any force f >= 0 on the boundary, min over the set >= min over the box of a @ x + f (cost(x - center) - budget), where cost is
    |.|_1 with budget eps (p = 1) or |.|_2^2 / (2 eps) with budget eps / 2 (p = 2): the minimum falls by f for each unit of eps. With d
    the box's minimiser, the right side is evaluated as a @ (center + d) + f (cost(d) - budget).
    """
    eps = ball.eps[owner]
    if ball.uncut:
        return rows.minimise(ball.center, ball.center, owner) - eps * rows.norm(_DUAL[ball.p])
    a = rows.dense().flatten(1)
    center = ball.center.flatten(1)[owner]
    with torch.no_grad():
        step, force = _BALL_STEP[ball.p](a, ball, owner)
        slack, pull = _CONSTRAINT[ball.p](step, force, eps)
        clipped = a + pull  # zero where the step is free of the domain
    value = (a * (center.detach() + step)).sum(dim=1) + slack
    # d value / d center: the force's pull, not a, where the domain stops the coordinate.
    moved = torch.where(step == 0, a.detach(), a.detach() - clipped)
    return value + (moved * (center - center.detach())).sum(dim=1) - force * (eps - eps.detach())


def _constraint_l1(step: Tensor, force: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """f (cost - budget), and f times the derivative of the cost."""
    return force * (step.abs().sum(dim=1) - eps), force[:, None] * step.sign()


def _constraint_l2(step: Tensor, force: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """The same; relative to eps, whose square may underflow or overflow."""
    share = step / torch.where(eps > 0, eps, 1)[:, None]
    return force * (0.5 * eps) * ((share * share).sum(dim=1) - 1), force[:, None] * share


def _ball_minimiser(rows: Tensor, ball: LpBall, owner: Tensor) -> Tensor:
    step, _ = _BALL_STEP[ball.p](rows.flatten(1), ball, owner)
    box = ball.box
    return torch.clamp(ball.center[owner] + step.reshape(rows.shape), box.lower[owner], box.upper[owner])


def _reach(ball: LpBall, owner: Tensor) -> tuple[Tensor, Tensor]:
    """How far each coordinate may go down and up before it leaves the domain; at most twice the radius, which none can."""
    low, high = ((end - ball.center).flatten(1)[owner] for end in ball.domain)  # type: ignore[union-attr]
    most = (2 * ball.eps).clamp(max=torch.finfo(ball.eps.dtype).max)[owner][:, None]
    return torch.maximum(low, -most), torch.minimum(high, most)


def _step_l1(a: Tensor, ball: LpBall, owner: Tensor) -> tuple[Tensor, Tensor]:
    """Fractional knapsack: the budget goes to the largest |a| first, each coordinate as far as the domain allows."""
    down, up = _reach(ball, owner)
    eps = ball.eps[owner][:, None]
    room = torch.where(a > 0, -down, up)
    order = a.abs().argsort(dim=1, descending=True)
    sorted_room = room.gather(1, order)
    before = sorted_room.cumsum(dim=1) - sorted_room
    taken = torch.minimum(sorted_room, (eps - before).clamp(min=0))
    # The force is the gain per unit of the first coordinate that does not get all it could take.
    gains = a.abs().gather(1, order)
    force = (gains * (taken < sorted_room)).amax(dim=1, keepdim=True)
    # Sums may be rounded: only a step that is all or nothing on either side of the force minimises the dual's objective.
    taken = torch.where(gains > force, sorted_room, torch.where(gains < force, 0, taken))
    return torch.zeros_like(a).scatter(1, order, taken) * -a.sign(), force.squeeze(1)


def _step_l2(a: Tensor, ball: LpBall, owner: Tensor) -> tuple[Tensor, Tensor]:
    """d(s) = clip(-s a) minimises the dual's objective at force eps / s; |d(s)| grows with s, and bisection finds |d(s)| = eps."""
    down, up = _reach(ball, owner)
    eps, norm = ball.eps[owner], a.norm(dim=1)
    tiny = torch.finfo(a.dtype).tiny

    def clipped(s: Tensor) -> Tensor:
        return torch.clamp(-s[:, None] * a, down, up)

    low = (eps / norm.clamp(min=tiny)).clamp(min=tiny)  # |clip(-s a)| <= s |a| <= eps here, unless s had to be raised to tiny
    # Beyond `high` every coordinate has reached its end: the ball's constraint is slack if that is still inside.
    smallest = torch.where(a != 0, a.abs(), torch.full_like(a, inf)).amin(dim=1)
    ends = torch.where(a > 0, down, torch.where(a < 0, up, torch.zeros_like(a)))
    slack = ends.norm(dim=1) <= eps
    reach = torch.maximum(-down, up).amax(dim=1)
    high = torch.maximum(low, torch.where(torch.isfinite(smallest), reach / smallest.clamp(min=tiny), low).clamp(max=1e30))
    for _ in range(_BISECTIONS):
        middle = low.sqrt() * high.sqrt()
        inside = clipped(middle).norm(dim=1) <= eps
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
        if bool((high <= low * (1 + 1e-6)).all()):
            break
    free = slack | (norm <= tiny) | (eps == 0)
    step = torch.where(free[:, None], ends, clipped(low))
    force = torch.where(free, torch.zeros_like(eps), eps / low)
    return torch.where((eps == 0)[:, None], torch.zeros_like(step), step), force


_DUAL = {1.0: inf, 2.0: 2.0}
# Step and force, both (rows, ...), by p.
_BALL_STEP: dict[float, Callable[[Tensor, LpBall, Tensor], tuple[Tensor, Tensor]]] = {1.0: _step_l1, 2.0: _step_l2}
_CONSTRAINT: dict[float, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]] = {1.0: _constraint_l1, 2.0: _constraint_l2}


def _rule(region: Box | LpBall) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    return _RULES[getattr(region, "p", inf)]


def _cube_minimise(rows: Rows, ball: Box | LpBall, owner: Tensor) -> Tensor:
    return _box_minimise(rows, ball.box, owner)


def _cube_minimiser(rows: Tensor, ball: Box | LpBall, owner: Tensor) -> Tensor:
    return _box_minimiser(rows, ball.box, owner)


_RULES: dict[float, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    inf: (_cube_minimise, _cube_minimiser),
    1.0: (_ball_minimise, _ball_minimiser),
    2.0: (_ball_minimise, _ball_minimiser),
}
