"""The linear program of a relaxed network: variables for the input and for every unstable neuron, its lines as constraints.

For ReLU this is the triangle relaxation (arXiv 1711.07356). Stable neurons and affine layers leave no variables: every pre-activation,
split and atom is one row over the input and the outputs of unstable neurons before it, with its rounding already taken outward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.bounds.relaxed import Relaxed
from certify.bounds.rounding import OUTWARD
from certify.graph import Node
from certify.operators.base import Elementwise
from certify.operators.rows import UnitRows
from certify.operators.table import OPS
from certify.search.constraints import Array, Constraints, Domain, Frontier
from certify.search.leaf import over_input
from certify.search.linear_program import LinearProgram
from certify.search.problem import Table


@dataclass(frozen=True)
class Neuron:
    """An unstable neuron: the node of its activation, its flat index, and the interval of what it reads."""

    node: Node
    index: int
    lower: float
    upper: float


@dataclass(frozen=True)
class Triangle:
    """A domain's program over (input, outputs of the unstable `neurons` in order).

    Its constraints begin with the splits and the atoms, in the order of the domain. `below` and `above` (neurons, n + 1) are rows
    between which each neuron's input lies on the domain, the constant last.
    """

    program: LinearProgram
    neurons: Sequence[Neuron]
    below: Array
    above: Array

    def inputs(self, point: Array) -> Array:
        """What the neurons read at a point of the program, up to rounding: (neurons,)."""
        return self.below[:, :-1] @ point + self.below[:, -1]

    def outputs(self, point: Array) -> Array:
        """The neurons' own variables at a point of the program: (neurons,)."""
        return point[len(point) - len(self.neurons) :]


def unstable(relaxed: Relaxed) -> dict[str, Tensor]:
    """The neurons on whose interval their function is no line: masks (batch, *shape) by node; nodes without any are left out."""
    found = {}
    for node in relaxed.order:
        rule = OPS.get(node.op)
        if isinstance(rule, Elementwise):
            l, u = relaxed.intervals[node.inputs[0]]
            mask = ~rule.linear(l, u, node, relaxed.program.params(node)) & (l < u)
            if bool(mask.any()):
                found[node.name] = mask
    return found


def encode(relaxed: Relaxed, table: Table, domains: Sequence[Domain]) -> list[Triangle]:
    """A program for each domain, satisfied by every point of the domain that satisfies its atoms, with its neurons' values.

    `relaxed` must have been made in float64 with outward rounding; its nonlinear nodes must be elementwise.
    """
    frontier = Frontier(relaxed, unstable(relaxed))
    layers = [_Layer.of(frontier, name, first) for name, first in frontier.start.items()]
    constraints = Constraints.gather(frontier, table, domains)
    return [_assemble(relaxed, layers, domain.owner, *constraints.of(i)) for i, domain in enumerate(domains)]


class _Line(NamedTuple):
    """sign * (y - slope * z - intercept) >= 0 for z = input and y = output of every neuron: a lower line (1) or an upper one (-1)."""

    sign: float
    slope: Array
    intercept: Array


@dataclass(frozen=True)
class _Layer:
    """The unstable neurons of one node: their batch elements and flat indices, and the rows e_i and -e_i of their inputs, pulled back.

    `column` are their own variables; lines are (neurons,).
    """

    node: Node
    owner: NDArray[np.intp]
    index: NDArray[np.intp]
    column: NDArray[np.intp]
    interval: tuple[Array, Array]
    output: tuple[Array, Array]
    rows: tuple[Array, Array]
    shift: tuple[Array, Array]
    lines: Sequence[_Line]

    @classmethod
    def of(cls, frontier: Frontier, name: str, first: int) -> _Layer:
        """Of one node of the frontier, whose variables begin at number `first`."""
        relaxed = frontier.relaxed
        node = relaxed.program.graph.node(name)
        owner, index = frontier.free[name].flatten(1).nonzero(as_tuple=True)
        sign = torch.ones(len(index), dtype=torch.float64, device=index.device)
        start = UnitRows(index.repeat(2), torch.cat([sign, -sign]), relaxed.program.graph.node(node.inputs[0]).shape)
        rows, shift = frontier.pull({node.inputs[0]: start}, owner.repeat(2), np.zeros(2 * len(index)))

        def own(values: Tensor) -> Array:
            return values.flatten(1)[owner, index].cpu().numpy()

        lower, upper = (own(end) for end in relaxed.intervals[node.inputs[0]])
        output = tuple(own(end) for end in relaxed.intervals[name])
        lines = [_Line(sign, own(slope), own(intercept)) for sign, slope, intercept in _lines(relaxed, node)]
        count, numbers = len(index), index.cpu().numpy()
        return cls(
            node,
            owner.cpu().numpy(),
            numbers,
            first + numbers,
            (lower, upper),
            (output[0], output[1]),
            (rows[:count], rows[count:]),
            (shift[:count], shift[count:]),
            lines,
        )


def _lines(relaxed: Relaxed, node: Node) -> list[tuple[float, Tensor, Tensor]]:
    """The sound lines of an elementwise node that are worth a constraint: sign, slope and intercept, (batch, *shape).

    Of a family the two ends, between which all its members lie for a function of two pieces.
    """
    rule, params = OPS[node.op], relaxed.program.params(node)
    assert isinstance(rule, Elementwise)
    l, u = relaxed.intervals[node.inputs[0]]
    drawn = rule.lines(l, u, node, params)
    found = []
    for sign, family, slope, intercept in ((1.0, rule.lower_family, *drawn[:2]), (-1.0, rule.upper_family, *drawn[2:])):
        ends = [] if family is None else [family(torch.full_like(l, t), l, u, node, params) for t in (0.0, 1.0)]
        lines = [(slope, intercept), *((line.slope, line.intercept) for line in ends)]
        found += [(sign, s.expand_as(l), b.expand_as(l)) for s, b in lines]
    return found


def _assemble(relaxed: Relaxed, layers: Sequence[_Layer], owner: int, rows: Array, shift: Array) -> Triangle:
    """The program of one batch element, given its constraints on splits and atoms; columns of stable neurons go."""
    inputs = prod(relaxed.program.graph.input_shape)
    own = [np.flatnonzero(layer.owner == owner) for layer in layers]
    columns = np.concatenate([np.arange(inputs), *(layer.column[mine] for layer, mine in zip(layers, own, strict=True))])
    region = over_input(relaxed.region, owner, rows, shift)
    ends = (
        np.concatenate([end, *(layer.output[side][mine] for layer, mine in zip(layers, own, strict=True))])
        for side, end in enumerate((region.lower, region.upper))
    )
    lower, upper = ends
    size = np.maximum(np.abs(lower), np.abs(upper))
    parts, neurons, below, above = [(rows[:, columns], shift)], [], [], []
    for layer, mine in zip(layers, own, strict=True):
        positive, negative = ((layer.rows[side][mine][:, columns], layer.shift[side][mine]) for side in (0, 1))
        variable = (columns == layer.column[mine][:, None]).astype(np.float64)
        parts += [_constraint(line, mine, positive, negative, variable, size) for line in layer.lines]
        below.append(np.column_stack(positive))
        above.append(-np.column_stack(negative))
        neurons += [Neuron(layer.node, int(layer.index[i]), float(layer.interval[0][i]), float(layer.interval[1][i])) for i in mine]
    all_rows, all_shifts = (np.concatenate(column) for column in zip(*parts, strict=True))
    distinct = np.sort(np.unique(np.column_stack([all_rows, all_shifts]), axis=0, return_index=True)[1])
    distinct = np.concatenate([np.arange(len(rows)), distinct[distinct >= len(rows)]])
    nothing = np.zeros((0, len(columns) + 1))
    return Triangle(
        LinearProgram(all_rows[distinct], all_shifts[distinct], lower, upper, region.ball),
        neurons,
        np.concatenate([nothing, *below]),
        np.concatenate([nothing, *above]),
    )


def _constraint(
    line: _Line, mine: NDArray[np.intp], positive: tuple[Array, Array], negative: tuple[Array, Array], variable: Array, size: Array
) -> tuple[Array, Array]:
    """-sign (y - slope z - intercept) <= 0 with z replaced by a row: sign slope z is at least |slope| times the row of +z or of -z.

    Each product and sum below is one rounding, relative to what it gives, besides underflow; the shift is lowered by more than all of
    them can come to on the box.
    """
    sign, slope, intercept = line.sign, line.slope[mine], line.intercept[mine]
    steep = np.abs(slope)
    rising = (sign * slope > 0)[:, None]
    rows = steep[:, None] * np.where(rising, positive[0], negative[0])
    shift = steep * np.where(rising[:, 0], positive[1], negative[1])
    gamma, tiny = OUTWARD.gamma(len(size), torch.float64), np.finfo(np.float64).tiny
    lost = gamma * (np.abs(rows) @ size + np.abs(shift) + np.abs(intercept) + tiny * (1 + size.sum()))
    return rows - sign * variable, shift + sign * intercept - lost
