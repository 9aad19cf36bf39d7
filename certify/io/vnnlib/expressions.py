"""Assertions of VNN-LIB, both versions: linear arithmetic, comparisons, `and` and `or`, read into disjunctive normal form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise, product
from math import prod
from typing import NamedTuple

from certify.io.vnnlib.source import Cursor, pattern
from certify.specification.atoms import Atom, atom
from certify.specification.exact import Number

INPUT, OUTPUT = 0, 1
Variable = tuple[int, int]
"""(INPUT or OUTPUT, flat index)."""

MAX_CLAUSES = 1_000_000
MAX_DEPTH = 200


class Bound(NamedTuple):
    """x[input] <= number where `upper`, else x[input] >= number."""

    input: int
    upper: bool
    number: Number


class Conjunction(NamedTuple):
    """Bounds of single inputs, and every other atom, all of which must hold."""

    bounds: tuple[Bound, ...] = ()
    atoms: tuple[Atom, ...] = ()


Disjunction = list[Conjunction]
"""Disjunctive normal form: false is [], true is [Conjunction()]."""


class Linear(NamedTuple):
    """sum terms[v] * v + constant."""

    terms: Mapping[Variable, Fraction]
    constant: Fraction


COMPARISONS: Mapping[str, tuple[tuple[tuple[int, bool], ...], ...]] = {
    # left OP right as a disjunction of conjunctions of (sign, strict): sign * (left - right) <= 0, or < 0.
    "<=": (((1, False),),),
    ">=": (((-1, False),),),
    "<": (((1, True),),),
    ">": (((-1, True),),),
    "=": (((1, False), (-1, False)),),
    "==": (((1, False), (-1, False)),),
    "!=": (((1, True),), ((-1, True),)),
}


@dataclass(frozen=True)
class Dialect:
    """What differs between the versions: how numbers and variables are spelt, and which comparisons exist.

    `resolve` gives the variable of a spelling, or raises a ValueError that says why there is none. `chained` allows more than two
    operands of a comparison, as SMT-LIB does. `number_hint` says how numbers are written.
    """

    number: str
    variable: str
    comparisons: tuple[str, ...]
    chained: bool
    resolve: Callable[[str], Variable]
    number_hint: str
    simple: re.Pattern[str] = field(init=False)
    """A comparison of a variable with a number or a variable: nearly everything in real files."""
    asserted: re.Pattern[str] = field(init=False)
    """The same as a whole assertion."""
    compare: re.Pattern[str] = field(init=False)
    literal: re.Pattern[str] = field(init=False)
    name: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        stop = r"(?![^\s();])"
        simple = rf"\( (<=|>=) ({self.variable}){stop} (?:({self.number}){stop}|({self.variable}){stop}) \)"
        operators = "|".join(re.escape(op) for op in sorted(self.comparisons, key=len, reverse=True))
        for attribute, expression in {
            "simple": simple,
            "asserted": rf"\( assert {simple} \)",
            "compare": rf"\( ({operators})(?![<>=])",
            "literal": rf"({self.number}){stop}",
            "name": rf"({self.variable}){stop}",
        }.items():
            object.__setattr__(self, attribute, pattern(expression))


def read_assertions(cursor: Cursor, dialect: Dialect) -> list[Disjunction]:
    """Reads all the `(assert ...)` that stand here."""
    assertions: list[Disjunction] = []
    while True:
        while found := cursor.match(dialect.asserted):
            assertions.append([_simple(found, cursor, dialect)])
        if not cursor.match(_ASSERT):
            return assertions
        assertions.append(_boolean(cursor, dialect, 0))
        cursor.expect(_CLOSE, "')' at the end of the assertion")


_ASSERT = pattern(r"\( assert(?![^\s();])")
_CONNECTIVE = pattern(r"\( (and|or)(?![^\s();])")
_ARITHMETIC = pattern(r"\( (\+|\*|-(?!\d))")
_CLOSE = pattern(r"\)")


def _boolean(cursor: Cursor, dialect: Dialect, depth: int) -> Disjunction:
    if found := cursor.match(dialect.simple):
        return [_simple(found, cursor, dialect)]
    if found := cursor.match(_CONNECTIVE):
        if depth > MAX_DEPTH:
            cursor.fail(f"`and` and `or` are nested more than {MAX_DEPTH} deep; flatten them", found.start(1))
        operands = [_boolean(cursor, dialect, depth + 1)]
        while not cursor.match(_CLOSE):
            operands.append(_boolean(cursor, dialect, depth + 1))
        return _CONNECTIVES[found.group(1)](operands, cursor)
    return _comparison(cursor, dialect)


def disjoin(operands: Iterable[Disjunction], cursor: Cursor) -> Disjunction:
    """The disjunction of disjunctions."""
    return [conjunction for operand in operands for conjunction in operand]


def conjoin(operands: Iterable[Disjunction], cursor: Cursor) -> Disjunction:
    """The conjunction of disjunctions, multiplied out."""
    operands = list(operands)
    count = prod(len(operand) for operand in operands)
    if count > MAX_CLAUSES:
        cursor.fail(f"multiplied out, the property has {count:.3g} clauses, more than {MAX_CLAUSES}; split it into several files")
    return [_join(parts) for parts in product(*operands)]


def _join(parts: Sequence[Conjunction]) -> Conjunction:
    return Conjunction(tuple(b for part in parts for b in part.bounds), tuple(a for part in parts for a in part.atoms))


_CONNECTIVES = {"and": conjoin, "or": disjoin}


def _simple(found: re.Match[str], cursor: Cursor, dialect: Dialect) -> Conjunction:
    """`(<= variable number)` and the like, without building linear forms."""
    operator, left, number, right = found.groups()
    kind, index = _resolve(dialect, left, cursor, found.start(2))
    if number is None:
        difference = {(kind, index): Fraction(1)}
        other = _resolve(dialect, right, cursor, found.start(4))
        difference[other] = difference.get(other, Fraction(0)) - 1
        return constrain(Linear(difference, Fraction(0)), operator)[0]
    literal = _checked(number, cursor, found.start(3))
    if kind == INPUT:
        return Conjunction((Bound(index, operator == "<=", literal),))
    sign = 1 if operator == "<=" else -1
    return Conjunction((), (Atom(((index, Fraction(sign)),), (), sign * Fraction(literal)),))


def _comparison(cursor: Cursor, dialect: Dialect) -> Disjunction:
    found = cursor.match(dialect.compare)
    if not found:
        cursor.expect(_OPEN, "a comparison, `and` or `or`")
        cursor.fail(f"{cursor.next_word()} is none of and, or, {', '.join(dialect.comparisons)}")
    operator = found.group(1)
    operands = [_linear(cursor, dialect, 0), _linear(cursor, dialect, 0)]
    while not cursor.match(_CLOSE):
        if not dialect.chained:
            cursor.fail(f"{operator!r} takes two operands, a third is here; write two comparisons and `and` them")
        operands.append(_linear(cursor, dialect, 0))
    if operator == "!=" and len(operands) > 2:
        cursor.fail("'!=' takes two operands", found.start(1))
    return conjoin((constrain(_add(a, b, -1), operator) for a, b in pairwise(operands)), cursor)


_OPEN = pattern(r"\(")


def constrain(difference: Linear, operator: str) -> Disjunction:
    """`difference OP 0` in disjunctive normal form; constants are decided."""
    cases = []
    for case in COMPARISONS[operator]:
        parts = [_at_most_zero(_scale(difference, Fraction(sign)), strict) for sign, strict in case]
        possible = [part for part in parts if part is not None]
        if len(possible) == len(parts):
            cases.append(_join(possible))
    return cases


def _at_most_zero(linear: Linear, strict: bool) -> Conjunction | None:
    """linear <= 0, or < 0; None where it is a constant that is not."""
    inputs = {index: c for (kind, index), c in linear.terms.items() if kind == INPUT and c}
    outputs = {index: c for (kind, index), c in linear.terms.items() if kind == OUTPUT and c}
    rhs = -linear.constant
    if not inputs and not outputs:
        return Conjunction() if (rhs > 0 if strict else rhs >= 0) else None
    if len(inputs) != 1 or outputs:
        return Conjunction((), (atom(outputs, inputs, rhs, strict),))
    ((index, coefficient),) = inputs.items()
    # The closed box covers a strict bound; the atom keeps it strict for witnesses.
    open_end = (atom({}, inputs, rhs, True),) if strict else ()
    return Conjunction((Bound(index, coefficient > 0, rhs / coefficient),), open_end)


def _linear(cursor: Cursor, dialect: Dialect, depth: int) -> Linear:
    """A linear expression here; products of variables are refused."""
    if found := cursor.match(dialect.literal):
        return Linear({}, Fraction(_checked(found.group(1), cursor, found.start(1))))
    if found := cursor.match(dialect.name):
        return Linear({_resolve(dialect, found.group(1), cursor, found.start(1)): Fraction(1)}, Fraction(0))
    start = cursor.at
    found = cursor.match(_ARITHMETIC)
    if not found:
        cursor.fail(f"expected a variable, a number ({dialect.number_hint}) or (+ - *), found {cursor.next_word()}")
    if depth > MAX_DEPTH:
        cursor.fail(f"arithmetic is nested more than {MAX_DEPTH} deep; flatten it", start)
    operands = [_linear(cursor, dialect, depth + 1)]
    while not cursor.match(_CLOSE):
        operands.append(_linear(cursor, dialect, depth + 1))
    return _OPERATORS[found.group(1)](operands, cursor, found.start(1))


def _sum(operands: list[Linear], cursor: Cursor, at: int) -> Linear:
    return _accumulate(operands, [1] * len(operands))


def _difference(operands: list[Linear], cursor: Cursor, at: int) -> Linear:
    return _accumulate(operands, [1] + [-1] * (len(operands) - 1) if len(operands) > 1 else [-1])


def _product(operands: list[Linear], cursor: Cursor, at: int) -> Linear:
    varying = [operand for operand in operands if any(operand.terms.values())]
    if len(varying) > 1:
        cursor.fail("a product of variables: only linear properties are supported", at)
    constant = Fraction(prod((operand.constant for operand in operands if not any(operand.terms.values())), start=Fraction(1)))
    return _scale(varying[0], constant) if varying else Linear({}, constant)


_OPERATORS = {"+": _sum, "-": _difference, "*": _product}


def _accumulate(operands: list[Linear], signs: list[int]) -> Linear:
    terms: dict[Variable, Fraction] = {}
    for operand, sign in zip(operands, signs, strict=True):
        for variable, coefficient in operand.terms.items():
            terms[variable] = terms.get(variable, Fraction(0)) + sign * coefficient
    return Linear(terms, sum((sign * o.constant for o, sign in zip(operands, signs, strict=True)), Fraction(0)))


def _add(left: Linear, right: Linear, sign: int) -> Linear:
    return _accumulate([left, right], [1, sign])


def _scale(linear: Linear, factor: Fraction) -> Linear:
    return Linear({variable: c * factor for variable, c in linear.terms.items()}, linear.constant * factor)


def _resolve(dialect: Dialect, spelling: str, cursor: Cursor, at: int) -> Variable:
    try:
        return dialect.resolve(spelling)
    except ValueError as error:
        cursor.fail(str(error), at)


_EXPONENT = re.compile(r"[eE][+-]?0*(\d+)")


def _checked(number: str, cursor: Cursor, at: int) -> str:
    """The literal, unless its exact value would have thousands of digits."""
    exponent = _EXPONENT.search(number)
    if len(number) > 2000 or (exponent and len(exponent.group(1)) > 3):
        cursor.fail(f"the number {number[:20]}... is out of range", at)
    return number
