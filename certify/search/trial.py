"""Points that a solver takes for witnesses, tried: moved to float32 points of the exact set, evaluated, replayed."""

from __future__ import annotations

from math import inf

import numpy as np
import torch
from numpy.typing import NDArray

from certify.io.witness import Witness, replay
from certify.search.projection import interior, project
from certify.search.stage import Problem

_NEAR = 1e-5  # the original may round the other way
_MOST_REPLAYS = 4


def try_points(problem: Problem, clause: int, points: NDArray[np.float64]) -> Witness | None:
    """A strictly replayed witness of the clause among float32 points next to some (points, inputs), or None.

    A ValueError where the network's output is NaN.
    """
    spec, region = problem.spec, problem.spec.clauses[clause].region
    if not len(points) or not spec.inputs.attackable()[region]:
        return None
    inside = spec.inputs.attack_region([region] * len(points))
    x = project(inside, interior(inside), torch.from_numpy(points.astype(np.float32))).numpy()
    violation = _violation(problem, clause, x)
    problem.nearest.offer(x, violation)
    for i in np.argsort(violation, kind="stable")[:_MOST_REPLAYS]:
        if violation[i] <= _NEAR:
            found = replay(problem.model, spec, x[i], np.array([clause], dtype=np.intp))
            if found.ok:
                return found.witness
    return None


def _violation(problem: Problem, clause: int, points: NDArray[np.float32]) -> NDArray[np.float64]:
    """max over the clause's atoms of left side - right-hand side at each point, in float32: (points,)."""
    model, table = problem.model, problem.table
    atoms = np.flatnonzero(table.clause == clause)
    with torch.no_grad():
        x = torch.from_numpy(points).to(problem.device).reshape(-1, *model.graph.input_shape)
        y = model(x).reshape(len(points), -1).cpu().numpy()
    if np.isnan(y).any():
        raise model.no_number_at(points)
    value = y @ table.directions.outputs[table.direction[atoms]].T - table.rhs[atoms]
    if table.directions.inputs is not None:
        value = value + points @ table.directions.inputs[table.direction[atoms]].T
    return np.asarray(value.max(axis=1, initial=-inf))
