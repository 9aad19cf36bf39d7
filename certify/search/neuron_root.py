"""What all domains of a search over neurons come from: intervals of the neurons, and the atoms of the clauses as conditions."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.bounds.budget import Budget
from certify.bounds.compute import relax
from certify.bounds.relaxed import Relaxed
from certify.bounds.rounding import OUTWARD
from certify.search.branching import splittable_nodes
from certify.search.domain_bounds import Base, Conditions, Network
from certify.search.domains import Neurons
from certify.search.proving import coefficients, lost_digits
from certify.search.stage import Problem


@dataclass(frozen=True)
class Root:
    """What all domains come from: clause k is input set k of the base; goals are atoms, `clause[g]` the clause of each."""

    clauses: NDArray[np.intp]
    network: Network
    base: Base
    conditions: Conditions
    atoms: NDArray[np.intp]
    clause: Tensor

    @property
    def assumed(self) -> Tensor:
        """Numbers of the conditions of each clause, (clauses, most), -1 where there are fewer."""
        members = [(self.clause == k).nonzero().squeeze(1) for k in range(len(self.clauses))]
        most = max(len(m) for m in members)
        return torch.stack([torch.nn.functional.pad(m, (0, most - len(m)), value=-1) for m in members])


def relax_root(problem: Problem, clauses: NDArray[np.intp]) -> Root | None:
    """Intervals of all neurons on the clauses' input sets, and the atoms as conditions; None where the time is up."""
    model, table, spec = problem.model, problem.table, problem.spec
    graph = model.graph
    regions, of_clause = np.unique([spec.clauses[k].region for k in clauses], return_inverse=True)
    region = spec.inputs.region(regions).map(lambda t: t.reshape(-1, *graph.input_shape).to(problem.device)).simplest
    program = model.program(torch.float64, problem.device)
    budget = Budget(deadline=time.monotonic() + 0.3 * problem.remaining())
    relaxed = relax(program, region, "alpha-crown", rounding=OUTWARD, budget=budget)
    if problem.remaining() <= 0:
        return None
    neurons = Neurons.of(splittable_nodes(relaxed))
    network = Network(model, neurons, problem.device, Budget(deadline=problem.deadline))
    own = torch.from_numpy(of_clause.reshape(-1))
    ends = (neurons.flat({name: relaxed.intervals[name][end] for name in neurons.nodes})[own] for end in (0, 1))
    lower, upper = ends
    base = Base(region, own, lower, upper, torch.ones(len(lower), 2 * lower.shape[1], dtype=torch.bool))
    wanted = np.zeros(len(spec.clauses), dtype=bool)
    wanted[clauses] = True
    atoms = table.of_clauses(wanted)
    clause = torch.from_numpy(np.searchsorted(clauses, table.clause[atoms]))
    return Root(clauses, network, base, _conditions(problem, relaxed, atoms, own[clause]), atoms, clause)


def _conditions(problem: Problem, relaxed: Relaxed, atoms: NDArray[np.intp], owner: Tensor) -> Conditions:
    """The atoms, right-hand sides rounded up; `owner` is the relaxed set of each."""
    table, graph = problem.table, problem.model.graph
    rows = [
        coefficients(matrix, table.direction[atoms], shape, problem.device)
        for matrix, shape in ((table.directions.outputs, graph.output_shape), (table.directions.inputs, graph.input_shape))
    ]
    outputs, inputs = (None if row is None else row.dense() for row in rows)
    assert outputs is not None
    magnitude = torch.zeros(len(atoms), dtype=torch.float64)
    spread = magnitude.clone()
    for row, name in ((outputs, graph.output), (inputs, graph.input)):
        if row is not None:
            l, u = (end[owner] for end in relaxed.intervals[name])
            magnitude += (row.abs() * torch.maximum(l.abs(), u.abs())).flatten(1).sum(dim=1) * (1 + 1e-9)
            spread += (row.abs() * (u - l)).flatten(1).sum(dim=1)
    lost = torch.from_numpy(lost_digits(relaxed, table, atoms, owner))
    rhs = torch.from_numpy(table.rhs[atoms])
    rhs = torch.where(lost > 0, torch.nextafter(rhs + lost, torch.full_like(rhs, inf)), rhs)
    return Conditions(outputs, inputs, rhs, magnitude, spread)
