"""Leaves of a search over neuron splits: domains on which the network is affine, decided by one linear program over the input.

On a domain whose unstable neurons are all fixed, every split neuron and every atom of the clause is an affine function of the input,
and its bounding lines are exact. A point of the domain that satisfies the clause has

    s (z_i(x) - p) >= 0 for every split,    row_j @ (y(x), x) <= rhs_j for every atom:

linear constraints on x, whose coefficients backward propagation hands down with outward rounding. No such point exists if an
aggregation of them is positive on the input set (`linear_program.margin`). Where some neurons are still unstable the same holds with
their lines in place of the function: what is closed is closed, only the converse fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.bounds.backward import pull_to_input
from certify.bounds.interval import Interval
from certify.bounds.relaxed import Region, Relaxed
from certify.operators.rows import Rows, UnitRows
from certify.operators.table import OPS
from certify.search.evidence import Reason, Split
from certify.search.linear_program import Array, LinearProgram, least_violation, margin
from certify.search.problem import Table
from certify.search.proving import coefficients, lost_digits
from certify.sets import LpBall


@dataclass(frozen=True)
class Domain:
    """Part of an input set: the points of batch element `owner` of a relaxed network that satisfy the `splits`.

    The intervals and lines of that batch element hold on the domain. `atoms` are numbers in the table: all those of one clause.
    """

    owner: int
    atoms: NDArray[np.intp]
    splits: Sequence[Split] = ()


@dataclass(frozen=True)
class Leaf:
    """What the linear program says of a domain.

    closed       proved, in real arithmetic: no point of the domain satisfies the clause.
    reason       "infeasible" where the multipliers need no atom: the splits contradict each other; else "leaf".
    margin       the lower bound of the aggregated inequality that proves it where positive; -inf where the solver gave up.
    multipliers  of that inequality: the splits in their order, then the atoms.
    candidate    a point of the input set, flat, that the program takes for a witness; None where it sees none.
    """

    closed: bool
    reason: Reason
    margin: float
    multipliers: Array
    candidate: Array | None = None


def close_leaf(relaxed: Relaxed, table: Table, domain: Domain, deadline: float = inf) -> Leaf:
    """Whether no point of the domain satisfies all its atoms, proved; see `close_leaves`."""
    return close_leaves(relaxed, table, [domain], deadline)[0]


def close_leaves(relaxed: Relaxed, table: Table, domains: Sequence[Domain], deadline: float = inf) -> list[Leaf]:
    """For every domain, whether it is proved that none of its points satisfies all its atoms.

    `relaxed` must have been made with outward rounding, up to the network's output; a domain's atoms lie over its input set. After the
    deadline, a time.monotonic() value, domains stay open.
    """
    if not relaxed.rounding.active or relaxed.program.dtype != torch.float64:
        raise ValueError("leaves are closed by rigorous bounds only: relax the network in float64 with rounding=OUTWARD")
    if not domains:
        return []
    constraints = _Constraints.gather(relaxed, table, domains)
    return [_decide(relaxed.region, domain, *constraints.of(i), deadline) for i, domain in enumerate(domains)]


@dataclass(frozen=True)
class _Constraints:
    """row @ x + shift <= 0 at every point in question: constraints of all domains, those of one domain in order, splits first."""

    rows: Array
    shift: Array
    domain: NDArray[np.intp]

    @classmethod
    def gather(cls, relaxed: Relaxed, table: Table, domains: Sequence[Domain]) -> _Constraints:
        """One backward pass for each node that has splits, and one for the atoms."""
        parts = [*_split_constraints(relaxed, domains), _atom_constraints(relaxed, table, domains)]
        rows, shift, domain, position = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((position, domain))
        return cls(rows[order], shift[order], domain[order])

    def of(self, number: int) -> tuple[Array, Array]:
        """Rows and shifts of one domain."""
        first, last = np.searchsorted(self.domain, [number, number + 1])
        return self.rows[first:last], self.shift[first:last]


_Part = tuple[Array, Array, NDArray[np.intp], NDArray[np.intp]]
"""Rows, shifts, domains, and the constraint's place among those of its domain."""


def _split_constraints(relaxed: Relaxed, domains: Sequence[Domain]) -> list[_Part]:
    """-s (z_i - p) <= 0 for the splits of all domains, node by node."""
    splits = [(d, place, *split) for d, domain in enumerate(domains) for place, split in enumerate(domain.splits)]
    parts = []
    for name in dict.fromkeys(split[2] for split in splits):
        d, place, _, index, point, sign = zip(*(split for split in splits if split[2] == name), strict=True)
        device = relaxed.program.device
        owner = torch.tensor([domains[i].owner for i in d], device=device)
        signs = torch.tensor([-float(s) for s in sign], dtype=relaxed.program.dtype, device=device)
        start = {name: UnitRows(torch.tensor(index, device=device), signs, relaxed.program.graph.node(name).shape)}
        limits = np.array(sign) * np.array(point, dtype=np.float64)
        parts.append((*_pulled(relaxed, start, owner, limits), np.array(d, dtype=np.intp), np.array(place, dtype=np.intp)))
    return parts


def _atom_constraints(relaxed: Relaxed, table: Table, domains: Sequence[Domain]) -> _Part:
    """row_j @ (y, x) - rhs_j <= 0 for the atoms of all domains."""
    atoms = np.concatenate([domain.atoms for domain in domains])
    d = np.repeat(np.arange(len(domains)), [len(domain.atoms) for domain in domains])
    place = np.concatenate([len(domain.splits) + np.arange(len(domain.atoms)) for domain in domains])
    graph, device = relaxed.program.graph, relaxed.program.device
    owner = torch.tensor([domains[i].owner for i in d.tolist()], device=device)
    shapes = {
        graph.output: (table.directions.outputs, graph.output_shape),
        graph.input: (table.directions.inputs, graph.input_shape),
    }
    found = {name: coefficients(matrix, table.direction[atoms], shape, device) for name, (matrix, shape) in shapes.items()}
    start = {name: rows for name, rows in found.items() if rows is not None}
    rows, shift = _pulled(relaxed, start, owner, -table.rhs[atoms])
    slack = lost_digits(relaxed, table, atoms, owner)
    return rows, np.where(slack > 0, np.nextafter(shift - slack, -inf), shift), d, place


def _pulled(relaxed: Relaxed, start: Mapping[str, Rows], owner: Tensor, offset: Array) -> tuple[Array, Array]:
    """Rows and shifts with start @ nodes + offset >= rows @ x + shifts on each owner's domain, in real arithmetic."""
    with torch.no_grad():
        rows, constant = pull_to_input(relaxed, start, owner, relaxed.steps)
    flat = np.zeros((len(owner), relaxed.region.box.lower[0].numel())) if rows is None else rows.dense().flatten(1).cpu().numpy()
    shift = constant.cpu().numpy() + offset
    return flat.astype(np.float64), np.nextafter(shift, -inf)  # one rounding to nearest, undone


def _decide(region: Region, domain: Domain, rows: Array, shift: Array, deadline: float) -> Leaf:
    """Looks for multipliers, and evaluates what they prove."""
    program = over_input(region, domain.owner, rows, shift)
    solution = least_violation(program, deadline)
    if solution is None:
        return Leaf(False, "leaf", -inf, np.zeros(len(rows)))
    proved = margin(program, solution.multipliers)
    empty = not solution.multipliers[len(domain.splits) :].any()
    return Leaf(
        proved > 0,
        "infeasible" if empty else "leaf",
        proved,
        solution.multipliers,
        None if proved > 0 else solution.point,
    )


def over_input(region: Region, owner: int, rows: Array, shift: Array) -> LinearProgram:
    """The program of constraints on the input, which lies in one batch element of a region."""
    own = region.map(lambda t: t[owner : owner + 1])
    lower, upper = (end.flatten().cpu().numpy() for end in (own.box.lower, own.box.upper))
    return LinearProgram(rows, shift, lower, upper, own if isinstance(own, LpBall) and own.p < inf else None)


def cut_intervals(root: Relaxed, domains: Sequence[Domain]) -> dict[str, Interval]:
    """The intervals of `root` cut off at the splits, one batch element a domain: what `relax_network` takes as `known`.

    Of all nodes that a nonlinear one reads: lines that are exact on one side of a split may bound the neurons behind it worse over the
    whole input set than the root's did. Where a split contradicts the interval, lower > upper.
    """
    names = {name for node in root.order if node.inputs and not OPS[node.op].affine for name in node.inputs}
    owner = torch.tensor([domain.owner for domain in domains], device=root.program.device)
    lower, upper = ({name: root.intervals[name][side][owner].clone() for name in names} for side in (0, 1))
    for number, domain in enumerate(domains):
        for name, index, point, sign in domain.splits:
            ends, cut = (lower, max) if sign > 0 else (upper, min)
            end = ends[name][number].view(-1)
            end[index] = cut(float(end[index]), point)
    return {name: (lower[name], upper[name]) for name in names}
