"""Points tried as witnesses: evaluated by the thousands, replayed where a clause is nearly satisfied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from certify.io.witness import Witness, replay
from certify.search.boxes import Layout, input_boxes
from certify.search.stage import Problem

_NEAR = 1e-5  # the original may round the other way
_MOST_REPLAYS = 4


@dataclass(frozen=True)
class Tried:
    """Points, (points, size) in float32, each for one clause; `value` is the largest left side - rhs of its atoms there.

    It is inf where the point does not lie in the clause's input set: where that holds no float32 point at all.
    """

    points: NDArray[np.float32]
    clause: NDArray[np.intp]
    value: NDArray[np.float64]


def evaluate(
    problem: Problem, layout: Layout, points: NDArray[np.float64], region: NDArray[np.intp], clause: NDArray[np.intp]
) -> Tried:
    """The points rounded into the input sets `region`, and how far they are from satisfying their clauses, in float32.

    A ValueError where the network's output is NaN.
    """
    model, table = problem.model, problem.table
    low, high = (end[region].astype(np.float32) for end in input_boxes(problem).inward())
    inside = np.clip(points.astype(np.float32), low, high)
    if not len(inside):
        return Tried(inside, clause, np.zeros(0))
    with torch.no_grad():
        x = torch.from_numpy(inside).to(problem.device).reshape(-1, *model.graph.input_shape)
        y = model(x).flatten(1).cpu().numpy()
    if np.isnan(y).any():
        raise model.no_number_at(inside)
    atoms, first = layout.atoms(clause)
    point = np.repeat(np.arange(len(inside)), np.diff(np.append(first, len(atoms))))
    excess = np.einsum("ro,ro->r", table.directions.outputs[table.direction[atoms]], y[point]) - table.rhs[atoms]
    if table.directions.inputs is not None:
        excess += np.einsum("ri,ri->r", table.directions.inputs[table.direction[atoms]], inside[point])
    reachable = (low <= high).all(axis=1)
    value = np.where(reachable, np.maximum.reduceat(excess, first), np.inf)
    problem.nearest.offer(inside, value)
    return Tried(inside, clause, value)


def first_witness(problem: Problem, tried: Tried) -> Witness | None:
    """A strictly replayed witness among the few points nearest to satisfying their clauses, or None."""
    order = np.argsort(tried.value, kind="stable")[:_MOST_REPLAYS]
    for i in order[tried.value[order] <= _NEAR]:
        found = replay(problem.model, problem.spec, tried.points[i], tried.clause[i : i + 1])
        if found.ok:
            return found.witness
    return None
