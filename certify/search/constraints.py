"""Splits and atoms of domains as linear constraints, with every rounding outward: what linear programs are made of.

A domain is the part of an input set on which some neurons lie on one side of a point. A point of it that satisfies a clause has

    s (z_i(x) - p) >= 0 for every split,    row_j @ (y(x), x) <= rhs_j for every atom.

Backward propagation turns each into a row over the input: exact lines hand the coefficients down as they are, others bound them. It
may stop at some neurons on the way, whose outputs are then variables as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.bounds.backward import pull_to_input
from certify.bounds.relaxed import Relaxed, Step
from certify.operators.rows import DenseRows, Rows, UnitRows
from certify.search.evidence import Split
from certify.search.problem import Table
from certify.search.proving import coefficients, lost_digits

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Domain:
    """Part of an input set: the points of batch element `owner` of a relaxed network that satisfy the `splits`.

    The intervals and lines of that batch element hold on the domain. `atoms` are numbers in the table: all those of one clause.
    """

    owner: int
    atoms: Index
    splits: Sequence[Split] = ()


@dataclass(frozen=True)
class Frontier:
    """Where backward propagation ends: at the input, and at the neurons marked in `free`, masks (batch, *shape) by nonlinear node.

    Variables are the input, flat, and then all neurons of the nodes in `free`, in that order.
    """

    relaxed: Relaxed
    free: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.relaxed.rounding.active or self.relaxed.program.dtype != torch.float64:
            raise ValueError("domains are closed by rigorous bounds only: relax the network in float64 with rounding=OUTWARD")

    @property
    def start(self) -> dict[str, int]:
        """The number of the first variable of each node in `free`."""
        sizes = [mask[0].numel() for mask in self.free.values()]
        first = np.cumsum([prod(self.relaxed.program.graph.input_shape), *sizes])
        return dict(zip(self.free, first.tolist(), strict=False))

    def pull(self, start: Mapping[str, Rows], owner: Tensor, offset: Array) -> tuple[Array, Array]:
        """Rows (rows, variables) and shifts with start @ nodes + offset >= rows @ variables + shifts on each owner's domain."""
        stops = {name: _Stop(self.relaxed.steps[name], mask) for name, mask in self.free.items()}
        with torch.no_grad():
            rows, constant = pull_to_input(self.relaxed, start, owner, {**self.relaxed.steps, **stops})
        size = prod(self.relaxed.program.graph.input_shape)
        none = torch.zeros(len(owner), size, dtype=torch.float64, device=owner.device)
        parts = [none if rows is None else rows.dense().flatten(1), *(stop.found(len(owner)) for stop in stops.values())]
        shift = constant.cpu().numpy() + offset
        return torch.cat(parts, dim=1).cpu().numpy(), np.nextafter(shift, -np.inf)  # one rounding to nearest, undone


@dataclass
class _Stop:
    """The step of a node that keeps back the coefficients of some of its neurons."""

    step: Step
    mask: Tensor
    kept: Tensor | None = None

    def pull_back(self, rows: Rows, owner: Tensor) -> tuple[tuple[Rows, ...], Tensor | None]:
        values, stopped = rows.dense(), self.mask[owner]
        self.kept = torch.where(stopped, values, 0.0)
        return self.step.pull_back(DenseRows(torch.where(stopped, 0.0, values)), owner)

    def push(self, inputs: Sequence[Tensor], rows: Tensor | None, owner: Tensor) -> Tensor:
        raise NotImplementedError("points are not pushed through a frontier")

    def found(self, rows: int) -> Tensor:
        """The coefficients, (rows, neurons): none where no row came this far."""
        return self.mask.new_zeros(rows, self.mask[0].numel(), dtype=torch.float64) if self.kept is None else self.kept.flatten(1)


@dataclass(frozen=True)
class Constraints:
    """rows @ variables + shift <= 0 at every point in question: of all domains, those of one in order, its splits first."""

    rows: Array
    shift: Array
    domain: Index

    @classmethod
    def gather(cls, frontier: Frontier, table: Table, domains: Sequence[Domain]) -> Constraints:
        """One backward pass for each node that has splits, and one for the atoms."""
        parts = [*_split_parts(frontier, domains), _atom_part(frontier, table, domains)]
        rows, shift, domain, place = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((place, domain))
        return cls(rows[order], shift[order], domain[order])

    def of(self, number: int) -> tuple[Array, Array]:
        """Rows and shifts of one domain."""
        first, last = np.searchsorted(self.domain, [number, number + 1])
        return self.rows[first:last], self.shift[first:last]


_Part = tuple[Array, Array, Index, Index]
"""Rows, shifts, domains, and the constraint's place among those of its domain."""


def _split_parts(frontier: Frontier, domains: Sequence[Domain]) -> list[_Part]:
    """-s (z_i - p) <= 0 for the splits of all domains, node by node."""
    program = frontier.relaxed.program
    splits = [(d, place, *split) for d, domain in enumerate(domains) for place, split in enumerate(domain.splits)]
    parts = []
    for name in dict.fromkeys(split[2] for split in splits):
        d, place, _, index, point, sign = zip(*(split for split in splits if split[2] == name), strict=True)
        owner = torch.tensor([domains[i].owner for i in d], device=program.device)
        signs = torch.tensor([-float(s) for s in sign], dtype=torch.float64, device=program.device)
        start = {name: UnitRows(torch.tensor(index, device=program.device), signs, program.graph.node(name).shape)}
        limits = np.array(sign) * np.array(point, dtype=np.float64)
        parts.append((*frontier.pull(start, owner, limits), np.array(d, dtype=np.intp), np.array(place, dtype=np.intp)))
    return parts


def _atom_part(frontier: Frontier, table: Table, domains: Sequence[Domain]) -> _Part:
    """row_j @ (y, x) - rhs_j <= 0 for the atoms of all domains."""
    relaxed = frontier.relaxed
    graph, device = relaxed.program.graph, relaxed.program.device
    atoms = np.concatenate([domain.atoms for domain in domains])
    d = np.repeat(np.arange(len(domains)), [len(domain.atoms) for domain in domains])
    place = np.concatenate([len(domain.splits) + np.arange(len(domain.atoms)) for domain in domains])
    owner = torch.tensor([domains[i].owner for i in d.tolist()], device=device)
    matrices = {
        graph.output: (table.directions.outputs, graph.output_shape),
        graph.input: (table.directions.inputs, graph.input_shape),
    }
    found = {name: coefficients(matrix, table.direction[atoms], shape, device) for name, (matrix, shape) in matrices.items()}
    start = {name: rows for name, rows in found.items() if rows is not None}
    rows, shift = frontier.pull(start, owner, -table.rhs[atoms])
    slack = lost_digits(relaxed, table, atoms, owner)
    return rows, np.where(slack > 0, np.nextafter(shift - slack, -np.inf), shift), d, place
