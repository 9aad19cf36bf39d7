"""Backward bound propagation: CROWN (arXiv 1811.00866) on any graph (arXiv 2002.12920), one row axis for all that is being bounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import torch
from torch import Tensor

from certify.bounds.concretize import minimise
from certify.bounds.interval import Interval
from certify.bounds.relaxed import Relaxed, Step
from certify.graph import Node
from certify.operators.rows import Rows, UnitRows

DEFAULT_MEMORY = 1 << 28
"""Bytes that the coefficients of one chunk of rows may take; peak use is a small multiple."""


def pull_back(
    relaxed: Relaxed,
    start: Mapping[str, Rows],
    owner: Tensor,
    steps: Mapping[str, Step],
    through: Callable[[Node], bool] = lambda node: True,
    trace: dict[str, Rows] | None = None,
) -> tuple[dict[str, Rows], Tensor]:
    """Rows over the nodes at which it stops and a constant, with sum of start[node] @ node >= sum of rows[node] @ node + constant.

    It stops at the input and at nodes that are not `through`. Coefficients that reach a node over several paths are added before
    the node is processed, so each node is visited once. `trace` receives the rows that arrived at each node.
    """
    pending = dict(start)
    shifts = []
    for node in reversed(relaxed.order):
        rows = pending.pop(node.name, None) if node.inputs and through(node) else None
        if rows is None:
            continue
        if trace is not None:
            trace[node.name] = rows
        pieces, shift = steps[node.name].pull_back(rows, owner)
        if shift is not None:
            shifts.append(shift)
        for name, piece in zip(node.inputs, pieces, strict=True):
            pending[name] = pending[name].plus(piece) if name in pending else piece
    dtype, device = relaxed.program.dtype, owner.device
    constant = sum(shifts, torch.zeros(len(owner), dtype=dtype, device=device))
    if relaxed.rounding.active and shifts:
        constant = constant - relaxed.rounding.gamma(len(shifts), dtype) * torch.stack(shifts).abs().sum(dim=0)
    return pending, constant


def pull_to_input(
    relaxed: Relaxed, start: Mapping[str, Rows], owner: Tensor, steps: Mapping[str, Step], trace: dict[str, Rows] | None = None
) -> tuple[Rows | None, Tensor]:
    """`pull_back` all the way: rows over the input (None where it does not matter) and a constant."""
    left, constant = pull_back(relaxed, start, owner, steps, trace=trace)
    return left.get(relaxed.program.graph.input), constant


def lower_bound(relaxed: Relaxed, start: Mapping[str, Rows], owner: Tensor) -> Tensor:
    """A lower bound of sum over nodes of start[node] @ node over the input set of each row's owner: (rows,)."""
    rows, constant = pull_to_input(relaxed, start, owner, relaxed.steps)
    return at_input(relaxed, rows, constant, owner)


def at_input(relaxed: Relaxed, rows: Rows | None, constant: Tensor, owner: Tensor) -> Tensor:
    """The minimum of rows @ x + constant over the input set, rounded down."""
    if rows is None:
        return constant
    total = constant + minimise(rows, relaxed.region, owner, relaxed.rounding)
    return total - relaxed.rounding.gamma(1, total.dtype) * (constant.abs() + total.abs()) if relaxed.rounding.active else total


def rows_per_chunk(relaxed: Relaxed, name: str, memory: int) -> int:
    """How many rows over `name` fit the memory budget when they become dense over the widest node on the way."""
    alive = relaxed.program.graph.ancestors(name)
    widest = max(prod(node.shape) for node in relaxed.order if node.name in alive)
    itemsize = torch.empty((), dtype=relaxed.program.dtype).element_size()
    return max(2, memory // (3 * widest * itemsize))


def tighten_backward(relaxed: Relaxed, node: Node, mask: Tensor, memory: int = DEFAULT_MEMORY) -> Interval:
    """The node's interval with the neurons in `mask`, (batch, *shape), bounded by backward propagation as well."""
    l, u = relaxed.intervals[node.name]
    owner, index = mask.flatten(1).nonzero(as_tuple=True)
    chunk = max(1, rows_per_chunk(relaxed, node.name, memory) // 2)
    lows, highs = [], []
    for own, position in zip(owner.split(chunk), index.split(chunk), strict=True):
        sign = torch.ones(len(own), dtype=l.dtype, device=l.device)
        rows = UnitRows(torch.cat([position, position]), torch.cat([sign, -sign]), node.shape)
        low, negated_high = lower_bound(relaxed, {node.name: rows}, torch.cat([own, own])).chunk(2)
        lows.append(low)
        highs.append(-negated_high)
    where = (owner, index)
    flat_l, flat_u = l.flatten(1), u.flatten(1)
    low, high = torch.maximum(torch.cat(lows), flat_l[where]), torch.minimum(torch.cat(highs), flat_u[where])
    # Bounds computed two ways may cross by rounding: fall back on the interval there, which is sound on its own.
    crossed = low > high
    low, high = torch.where(crossed, flat_l[where], low), torch.where(crossed, flat_u[where], high)
    return flat_l.index_put(where, low).reshape(l.shape), flat_u.index_put(where, high).reshape(u.shape)
