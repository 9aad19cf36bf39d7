"""VNN-LIB 1.0: flat variables X_i and Y_j, declared one by one, and assertions in any order."""

from __future__ import annotations

from typing import NoReturn

from certify.io.vnnlib.build import build
from certify.io.vnnlib.expressions import INPUT, OUTPUT, Dialect, Disjunction, Variable, read_assertions
from certify.io.vnnlib.source import END, Cursor, pattern
from certify.specification import Specification, flat_declaration

_DECLARE = pattern(r"\( declare-(?:const|fun) ([XY])_(0|[1-9][0-9]*) (?:\( \) )?Real \)")
_OTHER_DECLARE = pattern(r"\( declare-(?:const|fun)")
_KINDS = {"X": INPUT, "Y": OUTPUT}


def read_version1(cursor: Cursor) -> Specification:
    """The specification of a VNN-LIB 1.0 text; a ValueError with line and column where it is malformed."""
    declared: dict[str, Variable] = {}

    def resolve(name: str) -> Variable:
        try:
            return declared[name]
        except KeyError:
            raise ValueError(f"{name} is not declared; add (declare-const {name} Real) above") from None

    dialect = Dialect(
        number=r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?",
        variable=r"[A-Za-z_][A-Za-z0-9_]*",
        comparisons=("<=", ">=", "<", ">", "="),
        chained=True,
        resolve=resolve,
        number_hint="0.5, -2, 1e-3",
    )
    assertions: list[Disjunction] = []
    while not cursor.match(END):
        start = cursor.at
        while found := cursor.match(_DECLARE):
            name = f"{found.group(1)}_{found.group(2)}"
            if name in declared:
                cursor.fail(f"{name} is declared twice", found.start(1))
            declared[name] = (_KINDS[found.group(1)], int(found.group(2)))
        assertions += read_assertions(cursor, dialect)
        if cursor.at == start:
            _unknown(cursor)
    inputs, outputs = (_count(declared, kind, cursor) for kind in "XY")
    return build(assertions, inputs, outputs, flat_declaration(inputs, outputs), cursor, lambda index: f"X_{index}")


def _unknown(cursor: Cursor) -> NoReturn:
    if cursor.match(_OTHER_DECLARE):
        cursor.fail(f"expected a variable X_i or Y_i and the type Real, found {cursor.next_word()}")
    cursor.fail(f"expected (declare-const ...) or (assert ...), found {cursor.text[cursor.at :].strip()[:40]!r}")


def _count(declared: dict[str, Variable], kind: str, cursor: Cursor) -> int:
    """How many variables of a kind there are; a ValueError where their numbers are not 0, 1, ..."""
    count = sum(name[0] == kind for name in declared)
    if count == 0:
        raise ValueError(f"{cursor.name}: no {kind}_0 is declared; a property needs inputs X_i and outputs Y_i")
    missing = next((i for i in range(count) if f"{kind}_{i}" not in declared), None)
    if missing is not None:
        raise ValueError(f"{cursor.name}: {kind}_{missing} is not declared, but {kind} variables with higher numbers are")
    return count
