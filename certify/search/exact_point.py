"""Points of input sets as exact numbers, what the network does there in real arithmetic, and witnesses made of them.

An input that is fixed to 0.1 equals no float32 number, and a set that holds no float32 point cannot be run in the original model. Its
witness is a decimal point. Two things are shown of it: exact arithmetic (on curves: interval arithmetic) proves that it satisfies the
clause, which is what an `unsat` would deny; and the original model, run at the nearest float32 point, gives what our graph of it gives
there, up to the rounding of float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from certify.bounds.rational import Rational, propagate, rational, work
from certify.graph import GraphError
from certify.io.agreement import require_agreement
from certify.io.witness import Witness, run_original
from certify.model import Model
from certify.specification import Ball, Boxes, Specification
from certify.specification.atoms import Atom

Point = Sequence[Fraction]
_MOST_WORK = 1 << 22
"""Products of integers for one point: a few seconds."""


@dataclass(frozen=True)
class Enclosed:
    """Inputs between `lower` and `upper`, flat, and bounds of the outputs there."""

    lower: Point
    upper: Point
    outputs: Rational


def exact_box(inputs: Boxes | Ball, region: int) -> tuple[list[Fraction], list[Fraction]]:
    """The ends of a box as they were written; of a ball those of its box, rounded outward."""
    if isinstance(inputs, Boxes):
        return tuple([end.exact((region, i)) for i in range(inputs.size)] for end in (inputs.lower, inputs.upper))  # type: ignore[return-value]
    ends = zip(inputs.center, *(end[0] for end in inputs.domain.outward()), strict=True)
    clipped = [(Fraction(float(c)) - inputs.eps, Fraction(float(c)) + inputs.eps, low, high) for c, low, high in ends]
    return (
        [max(a, Fraction(float(low))) if np.isfinite(low) else a for a, _, low, _ in clipped],
        [min(b, Fraction(float(high))) if np.isfinite(high) else b for _, b, _, high in clipped],
    )


def atom_range(atom: Atom, found: Enclosed) -> tuple[Fraction, Fraction]:
    """Bounds of the left side of an atom, exact but for what `found` leaves open."""
    shape = found.outputs.lower.shape
    terms = [(c, *found.outputs.ends(np.unravel_index(i, shape))) for i, c in atom.outputs]
    terms += [(c, found.lower[i], found.upper[i]) for i, c in atom.inputs]
    ends = [(min(c * low, c * high), max(c * low, c * high)) for c, low, high in terms]
    return sum((low for low, _ in ends), Fraction(0)), sum((high for _, high in ends), Fraction(0))


def enclose(model: Model, point: Point) -> Enclosed | None:
    """The outputs at one point in real arithmetic, None where they cannot be told: exact for small piecewise linear networks."""
    if work(model.graph) <= _MOST_WORK:
        try:
            return Enclosed(point, point, propagate(model.graph, rational(point, point, model.graph.input_shape)))
        except GraphError:
            return None
    outputs = _by_intervals(model, point)
    return None if outputs is None else Enclosed(point, point, outputs)


def _by_intervals(model: Model, point: Point) -> Rational | None:
    """In float64, outward."""
    import torch

    from certify.bounds.compute import compute_bounds
    from certify.bounds.rounding import OUTWARD
    from certify.sets import Box
    from certify.specification import Rationals

    numbers = Rationals.of(list(point))
    shape = model.graph.input_shape
    box = Box(*(torch.from_numpy(end).reshape(1, *shape) for end in (numbers.down(), numbers.up())))
    try:
        with torch.no_grad():
            ends = compute_bounds(model.program(torch.float64), box, "ibp", rounding=OUTWARD)
    except GraphError:
        return None
    if not all(bool(torch.isfinite(end).all()) for end in ends):
        return None
    lower, upper = ([Fraction(float(v)) for v in end.flatten()] for end in ends)
    return rational(lower, upper, model.graph.output_shape)


def witness_at(model: Model, spec: Specification, clause: int, point: Point, found: Enclosed | None = None) -> Witness | None:
    """The witness at a point of the clause's input set, where all that is said above holds; else None.

    None of a model whose inputs are coarser than float32: the point that its runtime makes of a decimal may be far from it.
    """
    if not model.takes_decimals:
        return None
    atoms = spec.clauses[clause].atoms
    if atoms:
        found = enclose(model, point) if found is None else found
        if found is None or not all(_holds(atom, found) for atom in atoms):
            return None
    nearest = np.array([float(v) for v in point]).reshape(model.graph.input_shape)
    if not _agrees(model, nearest.astype(np.float32)):
        return None
    y = run_original(model, nearest.astype(np.float32))
    return Witness(nearest, y, tuple(point))


def _holds(atom: Atom, found: Enclosed) -> bool:
    most = atom_range(atom, found)[1]
    return most < atom.rhs if atom.strict else most <= atom.rhs


def _agrees(model: Model, x: NDArray[np.float32]) -> bool:
    """Whether the original gives what the graph gives at a float32 point, up to rounding; a model built by hand is its own original."""
    if model.reference is None:
        return True
    try:
        require_agreement(model.frozen().graph, model.reference, [x], model.precision, "the original model")
    except GraphError:
        return False
    return True


def any_point(spec: Specification, clause: int) -> list[Fraction]:
    """A point of the clause's input set, which must not be empty: one of float32 numbers where that is easy, else exact ones."""
    inputs, region = spec.inputs, spec.clauses[clause].region
    if isinstance(inputs, Ball):
        return [Fraction(float(c)) for c in inputs.center]
    low, high = inputs.inward()
    nearest = np.clip(low[region] / 2 + high[region] / 2, low[region], high[region])
    held = low[region] <= high[region]
    return [
        Fraction(float(v)) if ok else inputs.lower.exact((region, i)) for i, (v, ok) in enumerate(zip(nearest, held, strict=True))
    ]
