"""Witnesses from input sets that hold no float32 point: where an input is fixed to a decimal such as 0.1, no float32 equals it.

No point of such a set can be run in the original model, so the witness is a decimal point of the set, and two things are shown of it:
interval arithmetic with outward rounding proves that it satisfies the clause in real arithmetic, which is what an `unsat` would deny;
and the original model, run at the nearest float32 point, satisfies the clause's conditions as well.
"""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from certify.bounds.compute import compute_bounds
from certify.bounds.rounding import OUTWARD
from certify.io.witness import Witness, run_original
from certify.model import Model
from certify.search.attack import conjunction
from certify.search.descent import Effort, descend
from certify.search.stage import Problem, Progress, count
from certify.sets import Box
from certify.specification import Boxes, Specification
from certify.specification.atoms import Atom
from certify.specification.exact import Rationals

_MOST_CLAUSES = 256


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
    tried = ((confirm(problem.model, spec, int(clauses[i]), points[i].cpu().numpy())) for i in (values < 0).nonzero().flatten())
    witness = next((found for found in tried if found is not None), None)
    outcome = "no witness found" if witness is None else "found one, proved in real arithmetic; its float32 neighbour was replayed"
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
    """The witness at the decimal point of the clause's set next to the float32 point x, where all that is said above holds; or None.

    None of a model whose inputs are coarser than float32: the point that its runtime makes of a decimal may be far from it.
    """
    if not model.takes_decimals:
        return None
    atoms, region = spec.clauses[clause].atoms, spec.clauses[clause].region
    assert isinstance(spec.inputs, Boxes)
    literals = _literals(spec.inputs, region, x.ravel())
    if literals is None:
        return None
    y = run_original(model, x)
    decimals = Rationals.of(literals)
    shape = model.graph.input_shape
    point = Box(*(torch.from_numpy(end).reshape(1, *shape) for end in (decimals.down(), decimals.up())))
    with torch.no_grad():
        low, high = compute_bounds(model.program(torch.float64), point, "ibp", rounding=OUTWARD)
    if not bool(torch.isfinite(low).all() & torch.isfinite(high).all()):
        return None
    exact = [Fraction(literal) for literal in literals]
    original = [Fraction(float(v)) for v in y.ravel()]
    ends = ([Fraction(float(v)) for v in end.flatten()] for end in (low, high))
    proved = list(zip(*ends, strict=True))
    if all(_holds(atom, exact, proved) and _holds(atom, exact, list(zip(original, original, strict=True))) for atom in atoms):
        return Witness(decimals.nearest.reshape(shape), y)
    return None


def _literals(inputs: Boxes, region: int, x: NDArray[np.float32]) -> list[str] | None:
    """Decimals of the exact set next to x, as the witness is printed; None where some input has none of 17 digits."""
    lower, upper = inputs.lower[region], inputs.upper[region]
    found = []
    for i, value in enumerate(x.astype(np.float64)):
        ends = (lower.exact(i), upper.exact(i))
        texts = (_text(number) for number in (value, lower.nearest[i], upper.nearest[i]))
        inside = next((text for text in texts if ends[0] <= Fraction(text) <= ends[1]), None)
        if inside is None:
            return None
        found.append(inside)
    return found


def _text(number: np.floating | float) -> str:
    return np.format_float_positional(np.float64(number), unique=True, trim="0")


def _holds(atom: Atom, x: list[Fraction], y: list[tuple[Fraction, Fraction]]) -> bool:
    """Whether the atom holds at x for every output within the intervals, in exact arithmetic."""
    value = sum((c * y[i][1 if c > 0 else 0] for i, c in atom.outputs), Fraction(0))
    value += sum((c * x[i] for i, c in atom.inputs), Fraction(0))
    return value < atom.rhs if atom.strict else value <= atom.rhs
