"""From assertions in normal form to a `Specification`: input boxes intersected, equal boxes shared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from math import inf

import numpy as np
from numpy.typing import NDArray

from certify.io.vnnlib.expressions import Bound, Conjunction, Disjunction, conjoin
from certify.io.vnnlib.source import Cursor
from certify.specification import Boxes, Clause, Declaration, Rationals, Specification
from certify.specification.exact import Number

Ends = dict[tuple[int, bool], Number]
"""(input, upper) -> the tightest end given."""


def build(
    assertions: Sequence[Disjunction],
    inputs: int,
    outputs: int,
    declaration: Declaration,
    cursor: Cursor,
    name_of: Callable[[int], str],
    notes: tuple[str, ...] = (),
) -> Specification:
    """The conjunction of all assertions as a specification; a ValueError names an input that has no bound."""
    certain = [assertion[0] for assertion in assertions if len(assertion) == 1]
    choices = [assertion for assertion in assertions if len(assertion) != 1]
    common = _tightest(bound for conjunction in certain for bound in conjunction.bounds)
    shared_atoms = tuple(atom for conjunction in certain for atom in conjunction.atoms)
    clauses, boxes = [], dict[tuple[tuple[tuple[int, bool], Number], ...], int]()
    for conjunction in conjoin(choices, cursor):
        key = _own_ends(conjunction, common)
        region = boxes.setdefault(key, len(boxes))
        clauses.append(Clause(region, (*shared_atoms, *conjunction.atoms)))
    sets = _boxes(common, list(boxes), inputs)
    _require_finite(sets, cursor, name_of)
    return Specification(sets, tuple(clauses), outputs, declaration, notes)


def _tightest(bounds: Iterable[Bound]) -> Ends:
    ends: Ends = {}
    for index, upper, number in bounds:
        key = (index, upper)
        if key not in ends or _tighter(number, ends[key], upper):
            ends[key] = number
    return ends


def _tighter(number: Number, other: Number, upper: bool) -> bool:
    return number != other and (Fraction(number) < Fraction(other)) == upper


def _own_ends(conjunction: Conjunction, common: Ends) -> tuple[tuple[tuple[int, bool], Number], ...]:
    """The ends that a clause has beyond the common ones, in a fixed order: what tells its box from others."""
    own = _tightest(conjunction.bounds)
    return tuple(sorted((k, n) for k, n in own.items() if k not in common or _tighter(n, common[k], k[1])))


def _boxes(common: Ends, own: Sequence[Sequence[tuple[tuple[int, bool], Number]]], inputs: int) -> Boxes:
    return Boxes(*(_ends(common, own, inputs, upper) for upper in (False, True)))


def _ends(common: Ends, own: Sequence[Sequence[tuple[tuple[int, bool], Number]]], inputs: int, upper: bool) -> Rationals:
    """Lower or upper ends of all boxes, (boxes, inputs); infinite where none was given."""
    missing = inf if upper else -inf
    base = Rationals.of([common.get((i, upper), missing) for i in range(inputs)])
    nearest, side = np.repeat(base.nearest[None], len(own), axis=0), np.repeat(base.side[None], len(own), axis=0)
    source = np.repeat(base.numbers[None], len(own), axis=0)
    changes = [(box, index, number) for box, ends in enumerate(own) for (index, end), number in ends if end == upper]
    if changes:
        box, index, numbers = zip(*changes, strict=True)
        values = Rationals.of(numbers)
        nearest[box, index], side[box, index], source[box, index] = values.nearest, values.side, values.numbers
    return Rationals(nearest, side, source)


def _require_finite(boxes: Boxes, cursor: Cursor, name_of: Callable[[int], str]) -> None:
    for word, ends in (("lower", boxes.lower), ("upper", boxes.upper)):
        unbounded: NDArray[np.intp] = np.argwhere(np.isinf(ends.nearest))
        if len(unbounded):
            raise ValueError(f"{cursor.name}: {name_of(int(unbounded[0][1]))} has no finite {word} bound; every input needs both")
