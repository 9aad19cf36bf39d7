"""alpha-CROWN (arXiv 2011.13824): the free parameters of the lines optimised, each row of the objective for itself.

No autograd tape. Let x* minimise the final linear function of a row. By the envelope theorem the derivative of the bound with respect to
a parameter t of the lower line of neuron i is max(A_i, 0) * (slope'(t) z_i + intercept'(t)), where A_i is the coefficient that arrived
at the neuron's output on the way back and z_i is the neuron's input when x* is sent forward through the lines that were chosen (upper
lines: min(A_i, 0)). One pass back and one forward an iteration; every iterate is a sound bound, so the best of them is returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from certify.bounds.backward import at_input, pull_to_input
from certify.bounds.concretize import minimiser
from certify.bounds.relaxed import NonlinearStep, Relaxed, Step
from certify.graph import Node
from certify.operators.base import Elementwise, Line, Lines
from certify.operators.relaxation import LinesRelaxation
from certify.operators.rows import Rows
from certify.operators.table import OPS


@dataclass(frozen=True)
class Schedule:
    """Adam with a decaying step; parameters live in [0, 1]."""

    iterations: int = 20
    step: float = 0.5
    decay: float = 0.98
    momentum: tuple[float, float] = (0.9, 0.999)


@dataclass
class _Side:
    """The parameter t of one node's lower (or upper) lines, one value for each row and neuron, and Adam's moments."""

    family: Any
    t: Tensor
    first: Tensor = field(init=False)
    second: Tensor = field(init=False)
    line: Line | None = None

    def __post_init__(self) -> None:
        self.first, self.second = torch.zeros_like(self.t), torch.zeros_like(self.t)

    def ascend(self, gradient: Tensor, iteration: int, schedule: Schedule) -> None:
        b1, b2 = schedule.momentum
        self.first.lerp_(gradient, 1 - b1)
        self.second.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        rate = schedule.step * schedule.decay**iteration / (1 - b1 ** (iteration + 1))
        scale = (self.second / (1 - b2 ** (iteration + 1))).sqrt_().add_(1e-12)
        self.t.addcdiv_(self.first, scale, value=rate).clamp_(0, 1)


@dataclass
class _Free:
    """A node with free lines: its input bounds and lines gathered for the rows, and the parameters of its sides."""

    node: Node
    rule: Elementwise
    params: Mapping[str, Tensor]
    l: Tensor
    u: Tensor
    step: NonlinearStep
    lower: _Side | None
    upper: _Side | None

    def relaxed(self) -> Step:
        lines, rowwise = list(self.step.relaxation.lines), [False, False]  # type: ignore[attr-defined]
        for side, at, which in ((self.lower, 0, 0), (self.upper, 2, 1)):
            if side is not None:
                side.line = side.family(side.t, self.l, self.u, self.node, self.params)
                lines[at], lines[at + 1] = side.line.slope, side.line.intercept
                rowwise[which] = True
        return NonlinearStep(LinesRelaxation(Lines(*lines), *rowwise), self.step.gamma, self.step.scale)

    def ascend(self, rows: Tensor, z: Tensor, iteration: int, schedule: Schedule) -> None:
        for side, part in ((self.lower, rows.clamp(min=0)), (self.upper, rows.clamp(max=0))):
            if side is not None and side.line is not None:
                side.ascend(part * (side.line.slope_dt * z + side.line.intercept_dt), iteration, schedule)


def _free_nodes(relaxed: Relaxed, owner: Tensor) -> dict[str, _Free]:
    free = {}
    for node in relaxed.order:
        rule = OPS.get(node.op)
        families = (getattr(rule, "lower_family", None), getattr(rule, "upper_family", None))
        if not any(families):
            continue
        params = relaxed.program.params(node)
        l, u = relaxed.intervals[node.inputs[0]]
        if bool(rule.linear(l, u, node, params).all()):
            continue
        starts = (rule.lower_start, rule.upper_start)
        lo, hi = l[owner], u[owner]
        sides = [
            _Side(family, start(l, u, node, params)[owner].clone()) if family else None
            for family, start in zip(families, starts, strict=True)
        ]
        free[node.name] = _Free(node, rule, params, lo, hi, relaxed.steps[node.name], *sides)  # type: ignore[arg-type]
    return free


@torch.no_grad()
def optimised_lower_bound(relaxed: Relaxed, start: Mapping[str, Rows], owner: Tensor, schedule: Schedule | None = None) -> Tensor:
    """The best of the lower bounds met while the free lines of `relaxed` are optimised for each row: (rows,), never below CROWN's."""
    schedule = schedule or Schedule()
    free = _free_nodes(relaxed, owner)
    best = None
    for iteration in range(schedule.iterations + 1):
        steps = {**relaxed.steps, **{name: node.relaxed() for name, node in free.items()}}
        trace: dict[str, Rows] = {}
        rows, constant = pull_to_input(relaxed, start, owner, steps, trace)
        value = at_input(relaxed, rows, constant, owner)
        best = value if best is None else torch.maximum(best, value)
        if rows is None or not free or iteration == schedule.iterations:
            break
        arrived = {name: piece.dense() for name, piece in trace.items() if not OPS[_op(relaxed, name)].affine}
        points = _push(relaxed, steps, minimiser(rows.dense(), relaxed.region, owner), arrived, owner)
        for name, node in free.items():
            if name in arrived:
                node.ascend(arrived[name], points[node.node.inputs[0]], iteration, schedule)
    assert best is not None
    return best


def _op(relaxed: Relaxed, name: str) -> str:
    return relaxed.program.graph.node(name).op


def _push(relaxed: Relaxed, steps: Mapping[str, Step], x: Tensor, arrived: Mapping[str, Tensor], owner: Tensor) -> dict[str, Tensor]:
    """x sent forward through the chosen lines, as far as the last node with rows."""
    values = {relaxed.program.graph.input: x}
    for node in relaxed.order:
        if not node.inputs:
            continue
        nonlinear = not OPS[node.op].affine
        if (nonlinear and node.name not in arrived) or any(name not in values for name in node.inputs):
            continue
        inputs = [values[name] for name in node.inputs]
        values[node.name] = steps[node.name].push(inputs, arrived.get(node.name), owner)
    return values
