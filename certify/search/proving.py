"""Bounds of a specification's atoms: rigorous lower bounds, in float64 with every rounding outward."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import inf, prod

import numpy as np
import torch
from numpy.typing import NDArray

from certify.bounds.budget import Budget
from certify.bounds.compute import Objective, bound_rows
from certify.bounds.relaxed import Relaxed
from certify.graph import GraphError
from certify.model import Model
from certify.operators.rows import DenseRows
from certify.search.enough import relax_until
from certify.search.problem import Table
from certify.search.stage import Problem, Progress, count
from certify.specification import Specification

_CHUNK_ELEMENTS = 1 << 22  # node values of all boxes of one chunk
_MAX_BOXES = 4096


def exclude(problem: Problem, progress: Progress, *, method: str) -> Progress:
    """A stage: excludes clauses one of whose atoms is bounded away from its right-hand side."""
    table = problem.table
    atoms = table.of_clauses(progress.open)
    before = int(progress.open.sum())
    try:
        lower = lower_bounds(
            problem.model, problem.spec, table, atoms, method, deadline=problem.deadline, device=problem.device, enough=True
        )
    except GraphError as error:
        return progress.noted(f"{method}: gives no bounds here: {error}")
    open_ = progress.open.copy()
    open_[table.clause[atoms[table.excluded(atoms, lower)]]] = False
    margin = progress.margin.copy()
    # Rounded down, so that the figure is as safe as the verdict.
    np.maximum.at(margin, table.clause[atoms], np.nextafter(lower - table.rhs[atoms], -inf))
    line = f"{method} on {count(before)}: {before - int(open_.sum())} excluded, least margin {margin[progress.open].min():.6g}"
    return replace(progress, open=open_, margin=margin).noted(line)


def lower_bounds(
    model: Model,
    spec: Specification,
    table: Table,
    atoms: NDArray[np.intp],
    method: str,
    *,
    deadline: float = inf,
    device: torch.device | str = "cpu",
    enough: bool = False,
) -> NDArray[np.float64]:
    """A lower bound of the left side of each of the atoms over its input set, in real arithmetic: (len(atoms),).

    With `enough`, bounds need be no better than that every clause of the atoms is excluded.

    Atoms with the same row over the same set are bounded once, and sets are relaxed once for all their atoms. Work stops
    at the deadline (time.monotonic), and leaves bounds that are loose, or -inf. A ValueError where something is NaN.
    """
    key = table.region[atoms] * np.intp(max(len(table.directions.rhs), 1)) + table.direction[atoms]
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    distinct = atoms[first]  # sorted by region
    result = np.full(len(distinct), -inf)
    regions, starts = np.unique(table.region[distinct], return_index=True)
    ends = np.append(starts[1:], len(distinct))
    size = _boxes_per_chunk(model)
    for i in range(0, len(regions), size):
        if time.monotonic() > deadline:
            break
        chunk = slice(starts[i], ends[min(i + size, len(regions)) - 1])
        rows = _Rows(table, distinct[chunk], regions[i : i + size])
        mine = np.flatnonzero((inverse >= chunk.start) & (inverse < chunk.stop))
        proves = partial(_all_excluded, table, atoms[mine], inverse[mine] - chunk.start) if enough else _nothing
        result[chunk] = _bound_chunk(model, spec, rows, method, device, Budget(deadline=deadline), proves)
    if np.isnan(result).any():
        raise ValueError(f"{model.name}: a bound by {method} is NaN; the network overflows on the input set")
    result[np.isinf(result)] = -inf  # an overflow says nothing
    return result[inverse]


def _boxes_per_chunk(model: Model) -> int:
    elements = sum(prod(node.shape) for node in model.graph.nodes)
    return max(1, min(_MAX_BOXES, _CHUNK_ELEMENTS // max(elements, 1)))


@dataclass(frozen=True)
class _Rows:
    """Atoms of a table that lie over some regions, in ascending order."""

    table: Table
    atoms: NDArray[np.intp]
    regions: NDArray[np.intp]

    def bound(self, relaxed: Relaxed, method: str) -> NDArray[np.float64]:
        """A lower bound of each on a network relaxed over the regions."""
        graph, device, table, atoms = relaxed.program.graph, relaxed.program.device, self.table, self.atoms
        owner = torch.from_numpy(np.searchsorted(self.regions, table.region[atoms])).to(device)
        outputs = coefficients(table.directions.outputs, table.direction[atoms], graph.output_shape, device)
        assert outputs is not None
        inputs = coefficients(table.directions.inputs, table.direction[atoms], graph.input_shape, device)
        with torch.no_grad():
            bounds = bound_rows(relaxed, Objective(owner, outputs, inputs), method).cpu().numpy()
        return np.asarray(bounds - lost_digits(relaxed, table, atoms, owner))


Judge = Callable[[NDArray[np.float64]], bool]


def _nothing(lower: NDArray[np.float64]) -> bool:
    """No bounds are good enough."""
    return False


def _all_excluded(table: Table, atoms: NDArray[np.intp], row: NDArray[np.intp], lower: NDArray[np.float64]) -> bool:
    """Whether every clause of the atoms is excluded by bounds of rows, of which `row` is that of each atom."""
    done = table.excluded(atoms, lower[row])
    return set(table.clause[atoms[done]].tolist()) == set(table.clause[atoms].tolist())


def _bound_chunk(
    model: Model, spec: Specification, rows: _Rows, method: str, device: torch.device | str, budget: Budget, judge: Judge
) -> NDArray[np.float64]:
    region = spec.inputs.region(rows.regions).map(lambda t: t.reshape(-1, *model.graph.input_shape).to(device))
    program = model.program(torch.float64, device)
    relaxed = relax_until(program, region, method, budget, lambda known: judge(rows.bound(known, "crown-ibp")))
    return rows.bound(relaxed, method)


def coefficients(
    matrix: NDArray[np.float64] | None, direction: NDArray[np.intp], shape: tuple[int, ...], device: torch.device | str
) -> DenseRows | None:
    """Some directions of a table as rows over a node of that shape; None where there is no matrix."""
    return None if matrix is None else DenseRows(torch.from_numpy(matrix[direction]).reshape(-1, *shape).to(device))


def lost_digits(relaxed: Relaxed, table: Table, atoms: NDArray[np.intp], owner: torch.Tensor) -> NDArray[np.float64]:
    """What coefficients that are no float64 may take away: slack @ |value|, rounded up."""
    total = np.zeros(len(atoms))
    graph = relaxed.program.graph
    for slack, name in ((table.directions.output_slack, graph.output), (table.directions.input_slack, graph.input)):
        if slack is not None:
            l, u = relaxed.intervals[name]
            magnitude = torch.maximum(l.abs(), u.abs()).flatten(1)[owner].cpu().numpy()
            total += (slack[table.direction[atoms]] * magnitude).sum(axis=1) * (1 + 1e-9)
    return total * (1 + 1e-9)
