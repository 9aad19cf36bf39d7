"""Linear lower bounds of atoms over pieces of input sets, by the bounds engine: rigorous in float64, thousands of pieces at once."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, prod

import numpy as np
import torch
from numpy.typing import NDArray

from certify.bounds.backward import pull_to_input, rows_per_chunk
from certify.bounds.budget import Budget
from certify.bounds.compute import Objective, relax
from certify.bounds.relaxed import Relaxed
from certify.bounds.rounding import OUTWARD
from certify.graph import GraphError
from certify.search.boxes import Layout, Pieces
from certify.search.clip import Forms
from certify.search.problem import Table
from certify.search.proving import coefficients, lost_digits
from certify.search.stage import Problem
from certify.sets import Box


def lower_forms(problem: Problem, layout: Layout, pieces: Pieces, method: str) -> Forms:
    """The forms of all atoms of all open pairs (piece, clause) in the order of `layout.pairs`, each valid on the whole piece.

    Pieces on which the network may leave an operator's domain get forms that say nothing. A ValueError where something is NaN.
    """
    piece, clause = layout.pairs(pieces)
    atoms, first = layout.atoms(clause)
    owner = np.repeat(piece, np.diff(np.append(first, len(atoms))))
    slope, offset = np.zeros((len(atoms), pieces.lower.shape[1])), np.full(len(atoms), -inf)
    for run, relaxed in _parts(problem, pieces, method):
        rows = slice(*np.searchsorted(owner, [run.start, run.stop]))
        slope[rows], offset[rows] = _pulled(relaxed, problem.table, atoms[rows], owner[rows] - run.start)
    return Forms(slope, offset, problem.table.strict[atoms], first)


def _parts(problem: Problem, pieces: Pieces, method: str) -> Iterator[tuple[slice, Relaxed]]:
    """The network relaxed over runs of pieces: all at once where its operators are defined on all."""
    pending = [slice(0, len(pieces))]
    while pending:
        run = pending.pop()
        try:
            relaxed = _relax(problem, pieces[run], method)
        except GraphError:
            middle = (run.start + run.stop) // 2
            pending += [slice(run.start, middle), slice(middle, run.stop)] if run.stop - run.start > 1 else []
            continue
        yield run, relaxed


def _relax(problem: Problem, pieces: Pieces, method: str) -> Relaxed:
    graph = problem.model.graph
    ends = (torch.from_numpy(end).reshape(-1, *graph.input_shape).to(problem.device) for end in (pieces.lower, pieces.upper))
    program = problem.model.program(torch.float64, problem.device)
    return relax(program, Box(*ends), method, rounding=OUTWARD, budget=Budget(deadline=problem.deadline))


def _pulled(
    relaxed: Relaxed, table: Table, atoms: NDArray[np.intp], owner: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slope and offset of the form of each atom."""
    graph, device = relaxed.program.graph, relaxed.program.device
    outputs = coefficients(table.directions.outputs, table.direction[atoms], graph.output_shape, device)
    assert outputs is not None
    inputs = coefficients(table.directions.inputs, table.direction[atoms], graph.input_shape, device)
    which = torch.from_numpy(owner).to(device)
    slopes, constants = [], []
    for part in Objective(which, outputs, inputs).chunks(rows_per_chunk(relaxed, graph.output)):
        start = {graph.output: part.outputs} if part.inputs is None else {graph.output: part.outputs, graph.input: part.inputs}
        rows, constant = pull_to_input(relaxed, start, part.owner, relaxed.steps)
        slopes.append(constant.new_zeros(len(constant), prod(graph.input_shape)) if rows is None else rows.dense().flatten(1))
        constants.append(constant)
    # Two subtractions, each rounded down.
    offset = np.nextafter(torch.cat(constants).cpu().numpy() - lost_digits(relaxed, table, atoms, which), -inf)
    return torch.cat(slopes).cpu().numpy(), np.nextafter(offset - table.rhs[atoms], -inf)
