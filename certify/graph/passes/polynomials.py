"""Reads a small piece of a graph as a polynomial in one of its nodes, however it is spelled.

Coefficients are known to twice the digits of a double, with a bound of their error: one that cancels to nothing is told from one that
does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from certify.graph.double_double import DoubleDouble, exactly
from certify.graph.passes.rewrite import Draft

DEPTH = 8  # no spelling is longer, and the search doubles at every sum
DEGREE = 3

Polynomial = tuple[DoubleDouble, ...]
"""Coefficients (scalars), that of the constant first; the last is not known to be zero. No coefficients at all are the number 0."""


def as_polynomial(draft: Draft, name: str, base: str, depth: int = DEPTH) -> Polynomial | None:
    """The node as a polynomial of degree at most 3 in the node `base`, the same for all elements; None where it is none."""
    if name == base:
        return polynomial(0.0, 1.0)
    node = draft.node(name)
    if depth == 0 or node.op not in OPERATIONS:
        return None
    constants = [draft.number(constant) for constant in node.params.values()]
    parts = [as_polynomial(draft, name, base, depth - 1) for name in node.inputs]
    if any(part is None for part in (*parts, *constants)):
        return None
    value = OPERATIONS[node.op](node, *parts, *constants)
    return None if value is None or len(value) > DEGREE + 1 else value


def polynomial(*coefficients: DoubleDouble | float) -> Polynomial:
    """The polynomial with these coefficients, that of the constant first."""
    found = [exactly(coefficient) for coefficient in coefficients]
    while found and vanishes(found[-1]):
        found.pop()
    return tuple(found)


def vanishes(number: DoubleDouble) -> bool:
    """Whether the number is known to be zero."""
    return number.exact and not number.high.any()


def plus(p: Polynomial, q: Polynomial) -> Polynomial:
    """The sum of two polynomials."""
    short, long = sorted((p, q), key=len)
    return polynomial(*(a + b for a, b in zip(short, long, strict=False)), *long[len(short) :])


def times(p: Polynomial, q: Polynomial) -> Polynomial:
    """The product of two polynomials."""
    terms = [exactly(0.0)] * max(len(p) + len(q) - 1, 0)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            terms[i + j] = terms[i + j] + a * b
    return polynomial(*terms)


def _power(x: Polynomial, exponent: float) -> Polynomial | None:
    if exponent not in range(1, DEGREE + 1):
        return None
    return x if exponent == 1 else times(x, _power(x, exponent - 1) or ())


OPERATIONS: Mapping[str, Callable[..., Polynomial | None]] = {
    "scale": lambda node, x, factor: times(x, polynomial(factor)),
    "shift": lambda node, x, offset: plus(x, polynomial(offset)),
    "add": lambda node, x, y: plus(x, y),
    "sub": lambda node, x, y: plus(x, times(y, polynomial(-1.0))),
    "mul": lambda node, x, y: times(x, y),
    "square": lambda node, x: times(x, x),
    "pow": lambda node, x: _power(x, node.attrs["exponent"]),
}
