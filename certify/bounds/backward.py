"""Backward bound propagation: CROWN (arXiv 1811.00866) on any graph (arXiv 2002.12920), one row axis for all that is being bounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from certify.bounds.concretize import minimise
from certify.bounds.interval import Interval
from certify.bounds.relaxed import Relaxed, Step, worth_tightening
from certify.graph import Node
from certify.operators.rows import Rows, UnitRows
from certify.operators.table import OPS

Settle = Callable[[Mapping[str, Rows], Tensor, Tensor], Tensor | None]
"""`(pending rows, constant, owner) -> rows to go on with`, or None for all: drops what is already decided on the way."""


def pull_back(
    relaxed: Relaxed,
    start: Mapping[str, Rows],
    owner: Tensor,
    steps: Mapping[str, Step],
    through: Callable[[Node], bool] = lambda node: True,
    trace: dict[str, Rows] | None = None,
    settle: Settle = lambda pending, constant, owner: None,
) -> tuple[dict[str, Rows], Tensor, Tensor]:
    """Rows over the nodes at which it stops, a constant and the rows' owners: start @ node >= sum of rows[node] @ node + constant.

    It stops at the input and at nodes that are not `through`. Coefficients that reach a node over several paths are added before
    the node is processed, so each node is visited once. `trace` receives the rows that arrived at each node; `settle` is asked behind
    every nonlinear node.
    """
    pending = dict(start)
    dtype = relaxed.program.dtype
    gamma = relaxed.rounding.gamma(len(relaxed.order), dtype)  # of the constant, a sum with a term for each node
    constant = weight = torch.zeros(len(owner), dtype=dtype, device=owner.device)
    for node in reversed(relaxed.order):
        rows = pending.pop(node.name, None) if node.inputs and through(node) else None
        if rows is None:
            continue
        if trace is not None:
            trace[node.name] = rows
        pieces, shift = steps[node.name].pull_back(rows, owner)
        if shift is not None:
            constant = constant + shift
            weight = weight + shift.detach().abs() if relaxed.rounding.active else weight
        for name, piece in zip(node.inputs, pieces, strict=True):
            pending[name] = pending[name].plus(piece) if name in pending else piece
        keep = None if OPS[node.op].affine else settle(pending, constant - gamma * weight, owner)
        if keep is not None:
            pending = {name: rows.select(keep) for name, rows in pending.items()}
            constant, weight, owner = constant[keep], weight[keep], owner[keep]
            if not len(keep):
                break
    return pending, constant - gamma * weight, owner


def pull_to_input(
    relaxed: Relaxed, start: Mapping[str, Rows], owner: Tensor, steps: Mapping[str, Step], trace: dict[str, Rows] | None = None
) -> tuple[Rows | None, Tensor]:
    """`pull_back` all the way: rows over the input (None where it does not matter) and a constant."""
    left, constant, _ = pull_back(relaxed, start, owner, steps, trace=trace)
    return left.get(relaxed.program.graph.input), constant


def lower_bound(relaxed: Relaxed, start: Mapping[str, Rows], owner: Tensor) -> Tensor:
    """A lower bound of sum over nodes of start[node] @ node over the input set of each row's owner: (rows,)."""
    rows, constant = pull_to_input(relaxed, start, owner, relaxed.steps)
    return at_input(relaxed, rows, constant, owner)


def at_input(relaxed: Relaxed, rows: Rows | None, constant: Tensor, owner: Tensor) -> Tensor:
    """The minimum of rows @ x + constant over the input set, rounded down."""
    return constant if rows is None else over_intervals(relaxed, {relaxed.program.graph.input: rows}, constant, owner)


def rows_per_chunk(relaxed: Relaxed, name: str) -> int:
    """How many rows over `name` fit the memory budget when they become dense over the widest node on the way."""
    alive = relaxed.program.graph.ancestors(name)
    widest = max(prod(node.shape) for node in relaxed.order if node.name in alive)
    itemsize = torch.empty((), dtype=relaxed.program.dtype).element_size()
    return max(2, relaxed.budget.memory // (3 * widest * itemsize))


def tighten_backward(relaxed: Relaxed, node: Node, mask: Tensor) -> Interval:
    """The node's interval with the neurons in `mask`, (batch, *shape), bounded by backward propagation as well.

    A neuron whose lines are already exact by what is known halfway (its sign is certain, for a ReLU) goes no further: tighter bounds
    would not change its lines. Neurons whose turn comes after the deadline keep their interval.
    """
    owner, index = mask.flatten(1).nonzero(as_tuple=True)
    chunk = max(1, rows_per_chunk(relaxed, node.name) // 2)
    for own, position in zip(owner.split(chunk), index.split(chunk), strict=True):
        if relaxed.budget.spent:
            break
        narrowing = Narrowing(relaxed, node, own, position)
        rows = both_signs(position, node, relaxed.program.dtype)
        left, constant, kept = pull_back(relaxed, {node.name: rows}, own.repeat(2), relaxed.steps, settle=narrowing)
        narrowing.narrow(at_input(relaxed, left.get(relaxed.program.graph.input), constant, kept))
    return relaxed.intervals[node.name]


def both_signs(index: Tensor, node: Node, dtype: torch.dtype) -> UnitRows:
    """The rows e_i and then the rows -e_i over a node, whose lower bounds give both sides."""
    sign = torch.ones(len(index), dtype=dtype, device=index.device)
    return UnitRows(index.repeat(2), torch.cat([sign, -sign]), node.shape)


_WIDE = 128
"""Elements of a node from which on a product with its rows costs much more than a look at them."""


@dataclass
class Narrowing:
    """The neurons of one node that are being bounded, rows e_i before rows -e_i; writes what it learns into `relaxed.intervals`."""

    relaxed: Relaxed
    node: Node
    owner: Tensor
    index: Tensor

    def __call__(self, pending: Mapping[str, Rows], constant: Tensor, owner: Tensor) -> Tensor | None:
        """Bounds the rows by the intervals of the nodes they have reached; drops the neurons that this decides, if they are many."""
        widest = max(self.relaxed.intervals[name][0][0].numel() for name in pending)
        if widest < _WIDE or list(pending) == [self.relaxed.program.graph.input]:
            return None
        self.narrow(over_intervals(self.relaxed, pending, constant, owner))
        useful = worth_tightening(self.relaxed, self.node)
        undecided = (
            useful.flatten(1)[self.owner, self.index] if useful is not None else torch.zeros_like(self.owner, dtype=torch.bool)
        )
        count = len(self.owner)
        if int(undecided.sum()) > 0.8 * count:
            return None
        kept = undecided.nonzero().squeeze(1)
        self.owner, self.index = self.owner[kept], self.index[kept]
        return torch.cat([kept, kept + count])

    def narrow(self, bounds: Tensor) -> None:
        """Intersects the interval with bounds of the rows."""
        low, high = bounds[: len(self.owner)], -bounds[len(self.owner) :]
        l, u = self.relaxed.intervals[self.node.name]
        where, flat_l, flat_u = (self.owner, self.index), l.flatten(1), u.flatten(1)
        old_l, old_u = flat_l[where], flat_u[where]
        low, high = torch.maximum(low, old_l), torch.minimum(high, old_u)
        # Bounds computed two ways may cross by rounding: fall back on the interval there, which is sound on its own.
        crossed = low > high
        low, high = torch.where(crossed, old_l, low), torch.where(crossed, old_u, high)
        self.relaxed.intervals[self.node.name] = (
            flat_l.index_put(where, low).reshape(l.shape),
            flat_u.index_put(where, high).reshape(u.shape),
        )


def over_intervals(relaxed: Relaxed, pending: Mapping[str, Rows], constant: Tensor, owner: Tensor) -> Tensor:
    """A lower bound of sum of pending[node] @ node + constant from the nodes' intervals (the input: from the input set itself)."""
    gamma, active = relaxed.rounding.gamma, relaxed.rounding.active
    total = constant
    for name, rows in pending.items():
        if name == relaxed.program.graph.input:
            part = minimise(rows, relaxed.region, owner, relaxed.rounding)
        else:
            l, u = relaxed.intervals[name]
            part = rows.minimise(l, u, owner)
            if active:
                scale = torch.maximum(l.abs(), u.abs())
                tiny = torch.finfo(scale.dtype).tiny
                part = part - gamma(scale[0].numel(), scale.dtype) * (rows.magnitude(scale, owner) + tiny)
        total = total + part - gamma(1, part.dtype) * (part.abs() + total.abs()) if active else total + part
    return total
