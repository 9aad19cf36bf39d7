"""Mixed-integer programs of small piecewise linear networks: every piece of every unstable neuron has a binary variable.

The encoding (arXiv 1711.07356) takes its big constants from rigorous intervals, but what the solver says rests on tolerances: it gives
candidates for witnesses, which are replayed, and a guess which clauses have none. It never proves anything: `lp_split` does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from certify.graph.passes.maxima_to_relu import maxima_to_relu
from certify.operators.base import Elementwise
from certify.operators.program import Program, bind
from certify.operators.table import OPS
from certify.search.constraints import Array, Domain
from certify.search.lp_split import MOST_UNSTABLE, relaxed_root
from certify.search.stage import Problem, Progress, count
from certify.search.trial import try_points
from certify.search.triangle import Neuron, Triangle, encode


@dataclass(frozen=True)
class MixedIntegerProgram:
    """Minimise the last variable, subject to rows @ variables <= limit, lower <= variables <= upper, and whole numbers where `whole`.

    The first `inputs` variables are the network's input; the last is the largest violation of an atom.
    """

    rows: csr_array
    limit: Array
    lower: Array
    upper: Array
    whole: NDArray[np.bool_]
    inputs: int


@dataclass(frozen=True)
class Answer:
    """What the solver says: the least violation it found and proved, as it sees them, and the input where it found it."""

    found: float
    bound: float
    point: Array | None


def as_milp(program: Program, triangle: Triangle, atoms: int) -> MixedIntegerProgram:
    """The question of a triangle program without splits, whose first constraints are its `atoms`, with every neuron's function exact."""
    linear, columns = triangle.program, triangle.program.rows.shape[1]
    pieces = [_pieces(program, neuron) for neuron in triangle.neurons]
    binaries = sum(len(own) for own in pieces)
    width = columns + binaries + 1
    blocks = [np.zeros((len(linear.rows), width))]
    blocks[0][:, :columns] = linear.rows
    blocks[0][:atoms, -1] = -1
    limits = [-linear.shift]
    first, outputs = columns, columns - len(pieces)
    for i, own in enumerate(pieces):
        ends = (linear.lower[outputs + i], linear.upper[outputs + i])
        rows, limit = _switches(triangle, i, own, ends, first, width)
        blocks.append(rows)
        limits.append(limit)
        first += len(own)
    return MixedIntegerProgram(
        csr_array(np.concatenate(blocks)),
        np.concatenate(limits),
        np.concatenate([linear.lower, np.zeros(binaries), [-inf]]),
        np.concatenate([linear.upper, np.ones(binaries), [inf]]),
        (np.arange(width) >= columns) & (np.arange(width) < width - 1),
        columns - len(pieces),
    )


@dataclass(frozen=True)
class _Piece:
    """y = slope z + intercept for start <= z <= end."""

    slope: float
    intercept: float
    start: float
    end: float


def _pieces(program: Program, neuron: Neuron) -> list[_Piece]:
    """The affine pieces of a neuron's function on its interval."""
    rule, node, shape = OPS[neuron.node.op], neuron.node, (1, *neuron.node.shape)
    assert isinstance(rule, Elementwise)
    assert rule.breaks is not None
    ends = [neuron.lower, *(p for p in rule.breaks(node) if neuron.lower < p < neuron.upper), neuron.upper]
    found = []
    for start, end in pairwise(ends):
        low, high = (torch.full(shape, e, dtype=torch.float64, device=program.device) for e in (start, end))
        slope, intercept, _, _ = (
            line.expand(shape).flatten()[neuron.index] for line in rule.lines(low, high, node, program.params(node))
        )
        found.append(_Piece(float(slope), float(intercept), start, end))
    return found


def _switches(
    triangle: Triangle, number: int, pieces: Sequence[_Piece], output: tuple[float, float], first: int, width: int
) -> tuple[Array, Array]:
    """Rows and limits that make neuron `number` follow the piece whose binary, from column `first` on, is one; exactly one is.

    A constraint expression <= 0 of a piece is switched off by adding largest * (1 - binary), its largest value on the intervals.
    """
    columns = triangle.program.rows.shape[1]
    neuron, own = triangle.neurons[number], columns - len(triangle.neurons) + number
    z, y, constant = np.zeros(width), np.zeros(width), float(triangle.below[number, -1])
    z[:columns], y[own] = triangle.below[number, :-1], 1.0
    rows, limits = [], []
    for j, piece in enumerate(pieces):
        lows = (piece.slope * neuron.lower, piece.slope * neuron.upper)
        difference = (output[0] - max(lows) - piece.intercept, output[1] - min(lows) - piece.intercept)
        line, offset = y - piece.slope * z, -piece.slope * constant - piece.intercept
        for expression, shift, largest in (
            (line, offset, difference[1]),
            (-line, -offset, -difference[0]),
            (z, constant - piece.end, neuron.upper - piece.end),
            (-z, piece.start - constant, piece.start - neuron.lower),
        ):
            row = expression.copy()
            row[first + j] = max(largest, 0.0)
            rows.append(row)
            limits.append(max(largest, 0.0) - shift)
    chosen = np.zeros(width)
    chosen[first : first + len(pieces)] = 1
    return np.array([*rows, chosen, -chosen]), np.array([*limits, 1.0, -1.0])


def solve(program: MixedIntegerProgram, seconds: float) -> Answer:
    """What HiGHS makes of the program in so many seconds; `point` None where it found nothing."""
    solved = milp(
        np.append(np.zeros(len(program.whole) - 1), 1.0),
        integrality=program.whole.astype(np.int64),
        bounds=Bounds(program.lower, program.upper),
        constraints=LinearConstraint(program.rows, -inf, program.limit),
        options={"time_limit": max(seconds, 0.01)},
    )
    settled = solved.status == 0 and not program.whole.any()  # then it was a linear program
    bound = float(solved.fun) if settled else -inf if solved.mip_dual_bound is None else float(solved.mip_dual_bound)
    if solved.x is None:
        return Answer(inf, inf if solved.status == 2 else bound, None)
    return Answer(float(solved.x[-1]), bound, np.asarray(solved.x[: program.inputs]))


def search_milp(problem: Problem, progress: Progress) -> Progress:
    """A stage: looks for witnesses among the solutions of mixed-integer programs, one for each open clause; excludes nothing.

    For problems that are `lp_split.small`.
    """
    program = bind(maxima_to_relu(problem.model.graph), torch.float64, problem.device)
    clauses = np.flatnonzero(progress.open).tolist()
    barren = 0
    for done, k in enumerate(clauses):
        if problem.remaining() <= 0:
            break
        deadline = time.monotonic() + problem.remaining() / (len(clauses) - done)
        root = relaxed_root(problem, program, problem.spec.clauses[k].region, deadline)
        atoms = np.flatnonzero(problem.table.clause == k)
        (triangle,) = encode(root, problem.table, [Domain(0, atoms)])
        if len(triangle.neurons) > MOST_UNSTABLE:
            continue
        answer = solve(as_milp(program, triangle, len(atoms)), deadline - time.monotonic())
        witness = None if answer.point is None else try_points(problem, k, answer.point[None])
        if witness is not None:
            line = f"mixed-integer programs on {count(done + 1)}: found a witness, replayed in the original model"
            return replace(progress, witness=witness).noted(line)
        barren += answer.bound > 0
    return progress.noted(f"mixed-integer programs on {count(len(clauses))}: no witness; they see none in {count(barren)}")
