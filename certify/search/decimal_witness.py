"""The attack on input sets that hold no float32 point: it descends on float32 points next to the set, and ends at decimal points inside."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from certify.io.witness import Witness
from certify.model import Model
from certify.search.attack import conjunction
from certify.search.descent import Effort, descend
from certify.search.exact_point import witness_at
from certify.search.stage import Problem, Progress, count
from certify.sets import Box
from certify.specification import Boxes, Specification

_MOST_CLAUSES, _MOST_TRIED = 256, 16
_NEAR = 1e-5  # exact arithmetic may see what float32 does not


def attack_decimals(problem: Problem, progress: Progress, *, steps: int, restarts: int, share: float) -> Progress:
    """A stage: looks for decimal witnesses of the open clauses over sets that hold no float32 point; does nothing where all hold some."""
    spec = problem.spec
    barren = ~spec.inputs.attackable()
    clauses = np.array([k for k in np.flatnonzero(progress.open) if barren[spec.clauses[k].region]], dtype=np.intp)[:_MOST_CLAUSES]
    if not len(clauses) or not isinstance(spec.inputs, Boxes):
        return progress
    region = _nearby(problem.model, spec.inputs, [spec.clauses[k].region for k in clauses]).map(lambda t: t.to(problem.device))
    loss = conjunction(spec, clauses, problem.device)
    deadline = time.monotonic() + share * problem.remaining()
    points, values = descend(problem.model, region, loss, Effort(steps, restarts), seed=problem.seed, deadline=deadline)
    tried = (
        (confirm(problem.model, spec, int(clauses[i]), points[i].cpu().numpy()))
        for i in values.argsort()[:_MOST_TRIED]
        if values[i] <= _NEAR
    )
    witness = next((found for found in tried if found is not None), None)
    outcome = (
        "no witness found"
        if witness is None
        else "found one, proved in exact arithmetic; the original agrees at its float32 neighbour"
    )
    line = f"attack off the float32 grid on {count(len(clauses))} over sets without a float32 point: {outcome}"
    return replace(progress, witness=witness).noted(line)


def _nearby(model: Model, inputs: Boxes, regions: list[int]) -> Box:
    """The float32 boxes inside the sets; an input whose interval holds no float32 gets the nearest one."""
    rows = np.asarray(regions)
    lower, upper = inputs.lower[rows].up(np.float32), inputs.upper[rows].down(np.float32)
    nearest = inputs.lower.nearest[rows].astype(np.float32)
    held = lower <= upper
    ends = (torch.from_numpy(np.where(held, end, nearest)).reshape(-1, *model.graph.input_shape) for end in (lower, upper))
    return Box(*ends)


def confirm(model: Model, spec: Specification, clause: int, x: NDArray[np.float32]) -> Witness | None:
    """The witness at a point of the clause's set next to the float32 point x, where `exact_point` can show it; or None."""
    assert isinstance(spec.inputs, Boxes)
    return witness_at(model, spec, clause, _next_to(spec.inputs, spec.clauses[clause].region, x.ravel()))


def _next_to(inputs: Boxes, region: int, x: NDArray[np.float32]) -> list[Fraction]:
    """The point of the exact set next to x, with few digits where few will do."""
    lower, upper = inputs.lower[region], inputs.upper[region]
    found = []
    for i, value in enumerate(x.astype(np.float64)):
        ends = (lower.exact(i), upper.exact(i))
        short = (Fraction(_text(number)) for number in (value, lower.nearest[i], upper.nearest[i]))
        found.append(next((number for number in short if ends[0] <= number <= ends[1]), ends[0]))
    return found


def _text(number: np.floating | float) -> str:
    return np.format_float_positional(np.float64(number), unique=True, trim="0")
