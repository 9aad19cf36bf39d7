"""What exact arithmetic on the conditions and the input sets decides, before anybody looks at a network.

A condition may be a constant, may hold on the whole input set or nowhere in it, may be said twice, or may contradict another one. None
of this is left to bounds: those are rounded outward, and a search that finds nothing to bound must not take that for a proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from certify.specification.atoms import Atom, Terms, atom
from certify.specification.inputs import Ball, Boxes
from certify.specification.specification import Clause, Specification


@dataclass(frozen=True)
class Simplified:
    """A specification that is satisfied by the same points, clause by clause.

    No condition of it is constant, none is implied by another one of the same direction, and of those that speak of inputs alone none holds
    on the whole box of its clause. `possible` (clauses,) are those that are not contradictory by themselves; the conditions of the others
    are as they were. A possible clause without conditions is satisfied by every point of its input set.
    """

    spec: Specification
    possible: NDArray[np.bool_]


def simplify(spec: Specification) -> Simplified:
    """The specification in this form; satisfied where it was, in exact arithmetic."""
    nonempty = spec.nonempty()
    clauses, possible = [], np.zeros(len(spec.clauses), dtype=bool)
    for k, clause in enumerate(spec.clauses):
        atoms = _simplified(clause.atoms, spec.inputs, clause.region) if nonempty[k] else None
        possible[k] = atoms is not None
        clauses.append(clause if atoms is None else Clause(clause.region, atoms))
    return Simplified(replace(spec, clauses=tuple(clauses)), possible)


def _simplified(atoms: Sequence[Atom], inputs: Boxes | Ball, region: int) -> tuple[Atom, ...] | None:
    """The tightest atom of every direction, in the order of the first; None where they cannot hold together on the input set."""
    tightest: dict[tuple[Terms, Terms], Atom] = {}
    for given in atoms:
        truth = given.constant if given.outputs or not isinstance(inputs, Boxes) else _over_box(given, inputs, region)
        if truth is False:
            return None
        if truth:
            continue
        scaled = atom(dict(given.outputs), dict(given.inputs), given.rhs, given.strict)
        key = scaled.outputs, scaled.inputs
        tightest[key] = min(tightest.get(key, scaled), scaled, key=lambda a: (a.rhs, not a.strict))
    for (outputs, terms), above in tightest.items():
        below = tightest.get((_negated(outputs), _negated(terms)))
        # -below.rhs <= value <= above.rhs
        if below is not None and (above.rhs + below.rhs < 0 or (above.rhs + below.rhs == 0 and (above.strict or below.strict))):
            return None
    return tuple(tightest.values())


def _over_box(given: Atom, boxes: Boxes, region: int) -> bool | None:
    """Whether an atom over inputs alone holds on all of a box (True) or nowhere in it (False); None where that depends on the point."""
    least = most = Fraction(0)
    for index, coefficient in given.inputs:
        if not 0 <= index < boxes.size:
            return None  # refused where the atoms are laid out
        ends = [coefficient * boxes.lower.exact((region, index)), coefficient * boxes.upper.exact((region, index))]
        least, most = least + min(ends), most + max(ends)
    if (most < given.rhs) if given.strict else (most <= given.rhs):
        return True
    return False if (least >= given.rhs if given.strict else least > given.rhs) else None


def _negated(terms: Terms) -> Terms:
    return tuple((index, -coefficient) for index, coefficient in terms)
