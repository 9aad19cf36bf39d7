"""alpha-CROWN (arXiv 2011.13824): the free parameters of the lines optimised, each row of the objective for itself.

No autograd tape. Let x* minimise the final linear function of a row. By the envelope theorem the derivative of the bound with respect to
a parameter t of the lower line of neuron i is max(A_i, 0) * (slope'(t) z_i + intercept'(t)), where A_i is the coefficient that arrived
at the neuron's output on the way back and z_i is the neuron's input when x* is sent forward through the lines that were chosen (upper
lines: min(A_i, 0)). One pass back and one forward an iteration; every iterate is a sound bound, so the best of them is returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Protocol

import torch
from torch import Tensor

from certify.bounds.backward import Narrowing, at_input, both_signs, pull_to_input, tighten_backward
from certify.bounds.concretize import minimiser
from certify.bounds.interval import Interval, largest_magnitude
from certify.bounds.relaxed import NonlinearStep, Relaxed, Step, worth_tightening
from certify.bounds.rounding import Allowance
from certify.graph import Node
from certify.operators.base import Elementwise, Line, Lines
from certify.operators.relaxation import LinesRelaxation
from certify.operators.rows import Rows, UnitRows
from certify.operators.table import OPS


@dataclass(frozen=True)
class Schedule:
    """Adam with a decaying step; parameters live in [0, 1]."""

    iterations: int = 20
    step: float = 0.5
    decay: float = 0.98
    momentum: tuple[float, float] = (0.9, 0.999)


INTERMEDIATE = Schedule(iterations=3, step=0.5, decay=0.7, momentum=(0.5, 0.999))
"""For the neurons inside: few steps that settle quickly; on small networks within 2 % of what twenty joint steps reach."""
_MOST_PAIRS = 1 << 27
"""Pairs of a row and a neuron behind it up to which neurons inside are optimised; beyond, CROWN's bounds of them have to do."""


Parameters = Mapping[tuple[str, str], Tensor]
"""By (node, "lower" or "upper"): the parameters t of all rows' lines, (rows, elements of the node)."""


class Inequality(Protocol):
    """Inequalities a @ z <= h between nodes that hold on the points that matter, some for each row, and their multipliers m >= 0.

    min over the set of (row + m a) @ z - m h bounds row @ z from below on those points. Its derivative in m is a @ z - h at the
    minimiser, by the same theorem.
    """

    def start(self, count: int) -> tuple[Mapping[str, Rows], Tensor]:
        """m a as rows over nodes, and -m h rounded as the bounds are: (count,)."""

    def ascend(self, values: Mapping[str, Tensor], iteration: int, schedule: Schedule) -> None:
        """A step along the derivative, given the minimiser sent forward."""

    def keep(self, improved: Tensor) -> None:
        """Notes that the current multipliers are the best so far of the rows where `improved`."""


class Adam:
    """Moments of one vector of parameters."""

    def __init__(self, like: Tensor) -> None:
        self.first, self.second = torch.zeros_like(like), torch.zeros_like(like)

    def direction(self, gradient: Tensor, iteration: int, schedule: Schedule) -> Tensor:
        """The step to take, at most about `schedule.step` in size."""
        b1, b2 = schedule.momentum
        self.first.lerp_(gradient, 1 - b1)
        self.second.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        rate = schedule.step * schedule.decay**iteration / (1 - b1 ** (iteration + 1))
        scale = (self.second / (1 - b2 ** (iteration + 1))).sqrt_().add_(1e-12)
        return (self.first / scale).mul_(rate)


@dataclass
class _Side:
    """The free lower (or upper) lines of one node: one parameter t for every pair of a row and a neuron whose line is not determined.

    `where` are the pairs, flat in (rows, *shape); `slope` and `shift` hold the lines of all pairs, those of the others once and for all.
    """

    family: Callable[..., Line]
    where: Tensor
    row: Tensor
    l: Tensor
    u: Tensor
    node: Node
    params: Mapping[str, Tensor]
    t: Tensor
    slope: Tensor
    shift: Tensor
    line: Line = field(init=False)

    def __post_init__(self) -> None:
        self.adam, self.best = Adam(self.t), self.t
        self.refresh()

    def refresh(self) -> None:
        """Writes the lines of the current parameters."""
        self.line = self.family(self.t, self.l, self.u, self.node, self.params)
        self.slope.view(-1)[self.where] = self.line.slope
        self.shift.view(-1)[self.where] = self.line.intercept

    def ascend(self, part: Tensor, z: Tensor, iteration: int, schedule: Schedule) -> None:
        """One step of Adam along d bound / d t, given the coefficients that use this side and the neurons' inputs."""
        gradient = part * (self.line.slope_dt * z + self.line.intercept_dt)
        self.t = (self.t + self.adam.direction(gradient, iteration, schedule)).clamp_(0, 1)
        self.refresh()

    def keep(self, improved: Tensor) -> None:
        """Notes that the current parameters are the best so far of the rows where `improved`."""
        self.best = torch.where(improved[self.row], self.t, self.best)

    def parameters(self) -> Tensor:
        """The best parameters, (rows, elements of the node), zero where the line is determined."""
        dense = torch.zeros_like(self.slope).flatten(1)
        dense.view(-1)[self.where] = self.best
        return dense


@dataclass(frozen=True)
class _Free:
    """A node with free lines."""

    node: Node
    step: NonlinearStep
    lower: _Side | None
    upper: _Side | None
    magnitude: Tensor
    owner: Tensor

    @property
    def sides(self) -> list[tuple[str, _Side]]:
        """Those that there are, by name."""
        return [(name, side) for name, side in (("lower", self.lower), ("upper", self.upper)) if side is not None]

    def relaxed(self) -> Step:
        ls, lb, us, ub = self.step.relaxation.lines  # type: ignore[attr-defined]
        lower = (ls, lb) if self.lower is None else (self.lower.slope, self.lower.shift)
        upper = (us, ub) if self.upper is None else (self.upper.slope, self.upper.shift)
        relaxation = LinesRelaxation(Lines(*lower, *upper), self.lower is not None, self.upper is not None)
        return NonlinearStep(relaxation, self._allowance(relaxation.lines))

    def _allowance(self, lines: Lines) -> Allowance | None:
        """The step's allowance on the lines that each row has chosen."""
        if self.step.allowance is None:
            return None
        own = torch.arange(len(self.owner), device=self.owner.device)
        lower, upper = (own if side else self.owner for side in (self.lower, self.upper))
        below, above = (
            slope[which].abs() * self.magnitude[self.owner] + shift[which].abs()
            for slope, shift, which in ((*lines[:2], lower), (*lines[2:], upper))
        )
        return replace(self.step.allowance, scale=torch.maximum(below, above), own=own)

    def ascend(self, rows: Tensor, z: Tensor, iteration: int, schedule: Schedule) -> None:
        if self.lower is not None:
            part = rows.flatten()[self.lower.where].clamp_(min=0)
            self.lower.ascend(part, z.flatten()[self.lower.where], iteration, schedule)
        if self.upper is not None:
            part = rows.flatten()[self.upper.where].clamp_(max=0)
            self.upper.ascend(part, z.flatten()[self.upper.where], iteration, schedule)


def _single_neurons(relaxed: Relaxed, start: Mapping[str, Rows]) -> dict[str, Tensor]:
    """The neuron that each row reads, by node, where whatever the lines it can read one only: bounds of elementwise outputs themselves."""
    single = {name: rows.index for name, rows in start.items() if isinstance(rows, UnitRows) and len(start) == 1}
    for node in reversed(relaxed.order):
        if node.name not in single or not isinstance(OPS.get(node.op), Elementwise):
            continue
        (name,) = node.inputs
        if name not in start and len(relaxed.readers[name]) == 1:
            single[name] = single[node.name]
    return single


def _free_nodes(
    relaxed: Relaxed,
    owner: Tensor,
    initial: Parameters | None = None,
    also: Mapping[str, Tensor] | None = None,
    single: Mapping[str, Tensor] | None = None,
) -> dict[str, _Free]:
    free, initial, also, single = {}, initial or {}, also or {}, single or {}
    for node in relaxed.order:
        rule = OPS.get(node.op)
        if node.name not in relaxed.steps or not isinstance(rule, Elementwise) or not (rule.lower_family or rule.upper_family):
            continue
        params = relaxed.program.params(node)
        l, u = relaxed.intervals[node.inputs[0]]
        loose = (~rule.linear(l, u, node, params)).flatten(1)
        if rule.lower_everywhere and node.name in also:
            loose = loose | also[node.name]
        if not bool(loose.any()):
            continue
        row, neuron = _pairs(loose, owner, single.get(node.name))
        pair = (owner[row], neuron)
        known = {role: p.expand(node.shape).flatten()[neuron] if p.is_floating_point() else p for role, p in params.items()}
        step = relaxed.steps[node.name]
        lines: Lines = step.relaxation.lines  # type: ignore[attr-defined]

        def side(
            name: str,
            family: Callable[..., Line] | None,
            start: Callable[..., Tensor] | None,
            slope: Tensor,
            shift: Tensor,
            *,
            row: Tensor = row,
            where: Tensor = row * loose.shape[1] + neuron,
            ends: tuple[Tensor, Tensor] = (l.flatten(1)[pair], u.flatten(1)[pair]),
            node: Node = node,
            known: Mapping[str, Tensor] = known,
        ) -> _Side | None:
            if family is None or start is None:
                return None
            slope, shift = slope[owner].contiguous(), shift[owner].contiguous()
            given = initial.get((node.name, name))
            t = start(*ends, node, known).clone() if given is None else given.reshape(-1)[where].to(slope.dtype)
            return _Side(family, where, row, *ends, node, known, t, slope, shift)

        free[node.name] = _Free(
            node,
            step,  # type: ignore[arg-type]
            side("lower", rule.lower_family, rule.lower_start, lines.lower_slope, lines.lower_intercept),
            side("upper", rule.upper_family, rule.upper_start, lines.upper_slope, lines.upper_intercept),
            largest_magnitude(l, u),
            owner,
        )
    return free


def _pairs(loose: Tensor, owner: Tensor, single: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rows and neurons whose lines are free, of those that meet at all."""
    if single is None:
        return loose[owner].nonzero(as_tuple=True)  # type: ignore[return-value]
    row = loose[owner, single].nonzero().squeeze(1)
    return row, single[row]


@dataclass(frozen=True)
class Optimum:
    """The best of the lower bounds met, (rows,), and the lines that gave it."""

    bound: Tensor
    parameters: Parameters


@dataclass(frozen=True)
class Tape:
    """One pass back and forth: coefficients that arrived at the nonlinear nodes, and the minimiser sent forward; (rows, *shape) by node."""

    arrived: Mapping[str, Tensor]
    values: Mapping[str, Tensor]


def optimised_lower_bound(relaxed: Relaxed, start: Mapping[str, Rows], owner: Tensor, schedule: Schedule | None = None) -> Tensor:
    """The best of the lower bounds met while the free lines of `relaxed` are optimised for each row: (rows,), never below CROWN's."""
    return optimise(relaxed, start, owner, schedule or Schedule()).bound


@torch.no_grad()
def optimise(
    relaxed: Relaxed,
    start: Mapping[str, Rows],
    owner: Tensor,
    schedule: Schedule,
    *,
    inequalities: Sequence[Inequality] = (),
    initial: Parameters | None = None,
    free: Mapping[str, Tensor] | None = None,
    goal: Tensor | None = None,
) -> Optimum:
    """Lower bounds of the rows on those points of their sets where the inequalities hold, their multipliers optimised with the lines.

    Starts from `initial` lines (default: CROWN's) and the multipliers as they are; stops early once every row has passed its `goal`.
    Neurons in `free`, (elements,) by node, keep parameters when they are settled, where their lower lines hold everywhere: the relaxed set
    knows nothing of what settled them, and on the wrong side of it the exact function may be lower than the line that was used before.
    """
    nodes = _free_nodes(relaxed, owner, initial, free, None if inequalities else _single_neurons(relaxed, start))
    best = torch.full(owner.shape, -torch.inf, dtype=relaxed.program.dtype, device=owner.device)
    for iteration in range(schedule.iterations + 1):
        pass_ = _back(relaxed, nodes, start, owner, inequalities)
        improved = pass_.value > best
        best = torch.where(improved | pass_.value.isnan(), pass_.value, best)
        for side in (side for node in nodes.values() for _, side in node.sides):
            side.keep(improved)
        for inequality in inequalities:
            inequality.keep(improved)
        last = iteration == schedule.iterations or relaxed.budget.spent or (goal is not None and bool((best > goal).all()))
        if last or pass_.rows is None or not (nodes or inequalities):
            break
        tape = _forth(relaxed, pass_, owner)
        for name, node in nodes.items():
            if name in tape.arrived:
                node.ascend(tape.arrived[name], tape.values[node.node.inputs[0]], iteration, schedule)
        for inequality in inequalities:
            inequality.ascend(tape.values, iteration, schedule)
    parameters = {(name, which): side.parameters() for name, node in nodes.items() for which, side in node.sides}
    return Optimum(best, parameters)


@torch.no_grad()
def minimum(
    relaxed: Relaxed,
    start: Mapping[str, Rows],
    owner: Tensor,
    *,
    inequalities: Sequence[Inequality] = (),
    initial: Parameters | None = None,
    free: Mapping[str, Tensor] | None = None,
    forth: bool = True,
) -> tuple[Tensor, Tape | None]:
    """The bound that given lines and multipliers have, and the tape of that pass (None where the input does not matter)."""
    pass_ = _back(relaxed, _free_nodes(relaxed, owner, initial, free), start, owner, inequalities)
    return pass_.value, None if pass_.rows is None or not forth else _forth(relaxed, pass_, owner)


@dataclass(frozen=True)
class _Pass:
    """One pass back: the value, and what a pass forth needs."""

    value: Tensor
    rows: Rows | None
    steps: Mapping[str, Step]
    trace: Mapping[str, Rows]


def _back(
    relaxed: Relaxed, free: Mapping[str, _Free], start: Mapping[str, Rows], owner: Tensor, inequalities: Sequence[Inequality]
) -> _Pass:
    steps = {**relaxed.steps, **{name: node.relaxed() for name, node in free.items()}}
    total, shift = dict(start), None
    for inequality in inequalities:
        pieces, part = inequality.start(len(owner))
        shift = part if shift is None else shift + part
        for name, piece in pieces.items():
            total[name] = total[name].plus(piece) if name in total else piece
    trace: dict[str, Rows] = {}
    rows, constant = pull_to_input(relaxed, total, owner, steps, trace)
    if shift is not None:
        constant = constant + shift - relaxed.rounding.gamma(1, constant.dtype) * (constant.abs() + shift.abs())
    return _Pass(at_input(relaxed, rows, constant, owner), rows, steps, trace)


def _forth(relaxed: Relaxed, back: _Pass, owner: Tensor) -> Tape:
    arrived = {name: piece.dense() for name, piece in back.trace.items() if not OPS[_op(relaxed, name)].affine}
    assert back.rows is not None
    x = minimiser(back.rows.dense(), relaxed.region, owner)
    return Tape(arrived, _push(relaxed, back.steps, x, arrived, owner))


def _op(relaxed: Relaxed, name: str) -> str:
    return relaxed.program.graph.node(name).op


def _push(
    relaxed: Relaxed, steps: Mapping[str, Step], x: Tensor, arrived: Mapping[str, Tensor], owner: Tensor
) -> dict[str, Tensor]:
    """x sent forward through the chosen lines, as far as the last node with rows."""
    values = {relaxed.program.graph.input: x}
    for node in relaxed.order:
        if node.name not in steps:
            continue
        nonlinear = not OPS[node.op].affine
        if (nonlinear and node.name not in arrived) or any(name not in values for name in node.inputs):
            continue
        inputs = [values[name] for name in node.inputs]
        values[node.name] = steps[node.name].push(inputs, arrived.get(node.name), owner)
    return values


def tighten_optimised(relaxed: Relaxed, node: Node, mask: Tensor) -> Interval:
    """The node's interval by CROWN, and by optimised lines for the neurons whose own lines still depend on it."""
    relaxed.intervals[node.name] = tighten_backward(relaxed, node, mask)
    undecided = worth_tightening(relaxed, node)
    if undecided is None:
        return relaxed.intervals[node.name]
    alive = relaxed.program.graph.ancestors(node.name)
    behind = sum(prod(n.shape) for n in relaxed.order if n.name in alive)
    owner, index = undecided.flatten(1).nonzero(as_tuple=True)
    if 2 * len(owner) * behind > _MOST_PAIRS:
        return relaxed.intervals[node.name]
    chunk = max(1, relaxed.budget.memory // (16 * behind * relaxed.intervals[node.name][0].element_size()))
    for own, position in zip(owner.split(chunk), index.split(chunk), strict=True):
        if relaxed.budget.spent:
            break
        narrowing = Narrowing(relaxed, node, own, position)
        rows = both_signs(position, node, relaxed.program.dtype)
        narrowing.narrow(optimised_lower_bound(relaxed, {node.name: rows}, own.repeat(2), INTERMEDIATE))
    return relaxed.intervals[node.name]
