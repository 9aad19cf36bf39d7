"""Selections by a comparison, where(a > b, p, q), of which the result is a continuous function: relu, leaky relu, max, min, clip, abs.

Rules (ours). Let d = a - b. Where p - q = k d for a constant k, element by element, the selection is q + k max(d, 0): where d > 0 that is
p, elsewhere q; at d = 0 both sides are the same, so it makes no difference how ties are decided. Where p = f(a) and q = g(a), for a
constant b with f(b) = g(b), it is f(max(a, b)) + g(min(a, b)) - g(b), of which two terms are the same whatever a is. All this is decided
in rational arithmetic on the constants as they are stored; what cannot be proved is no such selection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias, Union

import numpy as np

from certify.graph import GraphBuilder, Node, Shape
from certify.graph.double_double import DoubleDouble, exactly
from certify.graph.shapes import broadcast as broadcast_shapes
from certify.io import lowering

Operand: TypeAlias = Union[str, np.ndarray, DoubleDouble]  # noqa: UP007 -- evaluated at run time
"""The name of a node, or a constant."""

Numbers = np.ndarray
"""Fractions, as an array of objects."""

MANY = 2**14
"""Constants of more elements are not looked into, unless they are all the same."""


@dataclass(frozen=True)
class Form:
    """A sum of nodes times constants, and a constant; `terms` that vanish are left out."""

    terms: Mapping[str, Numbers]
    offset: Numbers

    def __sub__(self, other: Form) -> Form:
        return _combined(self, other, Fraction(-1))

    def __add__(self, other: Form) -> Form:
        return _combined(self, other, Fraction(1))

    def times(self, factor: Numbers) -> Form:
        """Every coefficient times a constant."""
        offset = np.asarray(self.offset * factor, dtype=object)
        return Form(_nonzero({name: value * factor for name, value in self.terms.items()}), offset)


def select(builder: GraphBuilder, above: Operand, below: Operand, p: Operand, q: Operand, source: str) -> str | None:
    """The node of where(above > below, p, q), with numpy broadcasting; None where it is not known to be continuous.

    It is also that of where(above >= below, p, q).
    """
    forms = [_form(builder, x) for x in (above, below, p, q)]
    if any(form is None for form in forms):
        return None
    a, b, chosen, other = (form for form in forms if form is not None)
    shape = broadcast_shapes(*(broadcast_shapes(*(_shape(builder, x) for x in pair)) for pair in ((above, below), (p, q))))
    factor = _ratio(chosen - other, a - b)
    if factor is None:
        found = (_clamped(builder, *at, (p, chosen), (q, other), source) for at in _limits(builder, (above, a), (below, b), shape))
        return next((node for node in found if node is not None), None)
    x, y, z = (_spread(builder, operand, shape, source) for operand in (above, below, q))
    if np.all(factor == 1) and _equal(other, b):
        return _extreme(builder, x, y, MAXIMA, source)
    if np.all(factor == -1) and _equal(other, a):
        return _extreme(builder, x, y, MINIMA, source)
    for first, second, sides, of in ((x, y, (chosen, other), a - b), (y, x, (other, chosen), b - a)):
        slope = _ratio(sides[1], of)
        if slope is not None and _equal(sides[0], of) and np.all(_in_doubles(slope) == slope):
            return _two_slopes(builder, _difference(builder, first, second, f"{source}.difference"), slope, source)
    return _kinked(builder, _difference(builder, x, y, f"{source}.difference"), z, factor, source)


# --- q + k max(d, 0) ------------------------------------------------------------------------------------------------------------


def _kinked(builder: GraphBuilder, d: str, other: Operand, factor: Numbers, source: str) -> str:
    part = lowering.scale(builder, builder.add("relu", [d], source=f"{source}.relu"), _constant(factor), f"{source}.part")
    if isinstance(other, str):
        return lowering.combine(builder, "add", other, part, source)
    return lowering.shift(builder, part, other, source)


Combine: TypeAlias = Callable[[GraphBuilder, str, Any, str], str]
MAXIMA: tuple[Combine, Combine] = (lowering.maximum, lowering.at_least)
MINIMA: tuple[Combine, Combine] = (lowering.minimum, lowering.at_most)


def _extreme(builder: GraphBuilder, x: Operand, y: Operand, combine: tuple[Combine, Combine], source: str) -> str:
    """The maximum or minimum of two nodes, or of a node and a constant."""
    if isinstance(x, str):
        return combine[0 if isinstance(y, str) else 1](builder, x, y, source)
    return combine[1](builder, str(y), x, source)


def _two_slopes(builder: GraphBuilder, d: str, slope: Numbers, source: str) -> str:
    """d above zero, slope * d below."""
    if slope.ndim:
        name = builder.constant(f"{source}.slope", slope.astype(np.float64))
        return builder.add("prelu", [d], {"slope": name}, source=source)
    named = {Fraction(0): "relu", Fraction(-1): "abs"}
    if slope.item() in named:
        return builder.add(named[slope.item()], [d], source=source)
    return builder.add("leaky_relu", [d], attrs={"slope": float(slope.item())}, source=source)


def _difference(builder: GraphBuilder, above: Operand, below: Operand, source: str) -> str:
    if isinstance(above, str) and isinstance(below, str):
        return lowering.combine(builder, "sub", above, below, source)
    if isinstance(above, str):
        return above if _is_zero(below) else lowering.shift(builder, above, -exactly(below), source)  # type: ignore[arg-type]
    negated = lowering.negate(builder, str(below), f"{source}.negated")
    return negated if _is_zero(above) else lowering.shift(builder, negated, above, source)


def _ratio(form: Form, unit: Form) -> Numbers | None:
    """The constant that the second has to be multiplied with to give the first, None where there is none."""
    name = next((name for name, value in unit.terms.items() if np.all(value != 0)), None)
    if name is None:
        return None
    factor = np.asarray(form.terms.get(name, ZERO) / unit.terms[name], dtype=object)
    return _smallest(factor) if _equal(form, unit.times(factor)) else None


# --- f(max(a, b)) + g(min(a, b)) - g(b) -----------------------------------------------------------------------------------------


def _limits(
    builder: GraphBuilder, above: tuple[Operand, Form], below: tuple[Operand, Form], shape: Shape
) -> Iterator[tuple[str, Numbers, bool]]:
    """Nodes z and constants c such that above > below where z > c, or where z < c, which the last one says: what is compared with a
    constant, and the one node that both are linear functions of."""
    for (x, form), (_, constant), positive in ((above, below, True), (below, above, False)):
        if isinstance(x, str) and form.terms and not constant.terms and builder.shape(x) == shape:
            yield x, constant.offset, positive
    difference = above[1] - below[1]
    for z, slope in difference.terms.items() if len(difference.terms) == 1 else ():
        if not slope.ndim and builder.shape(z) == shape:
            yield z, np.asarray(-difference.offset / slope, dtype=object), slope.item() > 0


def _clamped(
    builder: GraphBuilder,
    z: str,
    limit: Numbers,
    positive: bool,
    chosen: tuple[Operand, Form],
    other: tuple[Operand, Form],
    source: str,
) -> str | None:
    """The sum of both sides, each of a node z kept on its own side of a constant, for functions that nodes compute of z alone."""
    if not np.all(_in_doubles(limit) == limit):
        return None
    sides = (chosen, other) if positive else (other, chosen)
    values = [_value(builder, str(x), z, limit) if form.terms else form.offset for x, form in sides]
    if values[0] is None or values[1] is None or not np.all(values[0] == values[1]):
        return None
    c = _in_doubles(limit).astype(np.float64)
    parts = []
    for (x, form), clamp, side in zip(sides, (lowering.at_least, lowering.at_most), ("above", "below"), strict=True):
        if form.terms:
            parts.append(_rebuilt(builder, str(x), {z: clamp(builder, z, c, f"{source}.{side}")}, source))
    if len(parts) < 2:
        return parts[0] if parts else None
    both = lowering.combine(builder, "add", parts[0], parts[1], f"{source}.both")
    return lowering.shift(builder, both, _constant(_smallest(-values[1])), source) if np.any(values[1] != 0) else both


def _value(builder: GraphBuilder, name: str, z: str, at: Numbers) -> Numbers | None:
    """What a node is where z is a constant, None where it depends on others or is no rational function that is known here."""
    known: dict[str, Numbers | None] = {z: at}

    def value(name: str) -> Numbers | None:
        if name not in known:
            known[name] = computed(builder.node(name))
        return known[name]

    def computed(node: Node) -> Numbers | None:
        if node.op not in RATIONAL:
            return None
        params = {role: _fractions(builder.fixed(constant)) for role, constant in node.params.items()}
        inputs = [value(entry) for entry in node.inputs]
        if any(entry is None for entry in (*inputs, *params.values())):
            return None
        try:
            return np.asarray(RATIONAL[node.op](*inputs, **params, **node.attrs), dtype=object)
        except KeyError:  # the function is not known to be rational here
            return None

    return value(name)


def _rebuilt(builder: GraphBuilder, name: str, renamed: dict[str, str], source: str) -> str:
    """The same function of other nodes."""
    if name not in renamed:
        node = builder.node(name)
        inputs = [_rebuilt(builder, entry, renamed, source) for entry in node.inputs]
        renamed[name] = builder.add(node.op, inputs, node.params, node.attrs, source=source)
    return renamed[name]


_relu = np.frompyfunc(lambda x: max(x, Fraction(0)), 1, 1)
_larger = np.frompyfunc(max, 2, 1)
_smaller = np.frompyfunc(min, 2, 1)


def _leaky(x: Numbers, slope: Any) -> Numbers:
    return np.where(x >= 0, x, x * np.asarray(_fractions(np.asarray(slope))))


def _clip(x: Numbers, min: float = -np.inf, max: float = np.inf) -> Numbers:
    return _smaller(_larger(x, min), max)


def _at(**values: Mapping[int, Fraction]) -> dict[str, Callable[..., Any]]:
    """Functions that are known to be rational at a few points, and raise KeyError at others."""
    return {name: np.frompyfunc(lambda x, known=known: known[x], 1, 1) for name, known in values.items()}


NOTHING = {0: Fraction(0)}

# Functions of rational numbers that are rational, in rational arithmetic.
RATIONAL: Mapping[str, Callable[..., Any]] = {
    "relu": _relu,
    "abs": np.frompyfunc(abs, 1, 1),
    "leaky_relu": _leaky,
    "clip": _clip,
    "scale": lambda x, factor: x * factor,
    "shift": lambda x, offset: x + offset,
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "square": lambda x: x * x,
    **_at(tanh=NOTHING, sin=NOTHING, atan=NOTHING, erf=NOTHING, exp={0: Fraction(1)}, log={1: Fraction(0)}),
    **_at(sigmoid={0: Fraction(1, 2)}, cos={0: Fraction(1)}, sqrt={0: Fraction(0), 1: Fraction(1)}),
}


# --- forms ----------------------------------------------------------------------------------------------------------------------

ZERO = np.asarray(Fraction(0), dtype=object)
ONE = np.asarray(Fraction(1), dtype=object)
DEEPEST = 64
"""How far forms look back through scales, shifts and sums."""


def _form(builder: GraphBuilder, x: Operand, depth: int = 0) -> Form | None:
    """What is selected or compared as a form; None for a constant that cannot be looked into."""
    if not isinstance(x, str):
        numbers = _fractions(x)
        return None if numbers is None else Form({}, numbers)
    node = builder.node(x)
    alone = Form({x: ONE}, ZERO)
    if node.op not in LINEAR or depth > DEEPEST:
        return alone
    inputs = [_form(builder, name, depth + 1) for name in node.inputs]
    params = [_fractions(builder.fixed(name)) for name in node.params.values()]
    known = all(entry is not None for entry in (*inputs, *params))
    return LINEAR[node.op](*inputs, *params) if known else alone


LINEAR: Mapping[str, Callable[..., Form]] = {
    "scale": lambda x, factor: x.times(factor),
    "shift": lambda x, offset: x + Form({}, offset),
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
}


def _combined(x: Form, y: Form, sign: Fraction) -> Form:
    names = [*x.terms, *(name for name in y.terms if name not in x.terms)]
    terms = {name: x.terms.get(name, ZERO) + sign * y.terms.get(name, ZERO) for name in names}
    return Form(_nonzero(terms), np.asarray(x.offset + sign * y.offset, dtype=object))


def _nonzero(terms: Mapping[str, Any]) -> dict[str, Numbers]:
    arrays = {name: np.asarray(value, dtype=object) for name, value in terms.items()}
    return {name: _smallest(value) for name, value in arrays.items() if np.any(value != 0)}


def _equal(x: Form, y: Form) -> bool:
    rest = x - y
    return not rest.terms and not np.any(rest.offset != 0)


def _smallest(numbers: Numbers) -> Numbers:
    """One number where all are the same."""
    numbers = np.asarray(numbers, dtype=object)  # arithmetic on one number gives the number
    first = numbers.flat[0]
    return np.asarray(first, dtype=object) if numbers.ndim and np.all(numbers == first) else numbers


def _fractions(value: Any) -> Numbers | None:
    """The real numbers of a constant, one where all are the same; None where they are not known exactly, live, or too many."""
    if not isinstance(value, (np.ndarray, DoubleDouble)):
        return None
    pair = exactly(value)
    if pair.error.any() or not np.isfinite(pair.high).all() or not pair.high.size:
        return None
    first = pair.high.flat[0]
    if (pair.high == first).all() and not pair.low.any():
        return np.asarray(Fraction(float(first)), dtype=object)
    if pair.high.size > MANY:
        return None
    numbers = [Fraction(float(h)) + Fraction(float(l)) for h, l in zip(pair.high.flat, pair.low.flat, strict=True)]
    found = np.empty(len(numbers), dtype=object)
    found[:] = numbers
    return found.reshape(pair.shape)


def _in_doubles(numbers: Numbers) -> Numbers:
    """The nearest doubles, as an array of objects."""
    return np.asarray(np.frompyfunc(float, 1, 1)(numbers), dtype=object)


def _constant(numbers: Numbers) -> np.ndarray | DoubleDouble:
    """A constant of these numbers: doubles where they are, else known to twice the digits."""
    high = _in_doubles(numbers)
    rest = np.asarray(numbers - np.frompyfunc(Fraction, 1, 1)(high), dtype=object)
    low = _in_doubles(rest)
    error = np.asarray(np.frompyfunc(lambda r, l: 0.0 if r == Fraction(l) else abs(l) * 2.0**-52, 2, 1)(rest, low), dtype=object)
    return DoubleDouble(*(np.asarray(part, dtype=np.float64) for part in (high, low, error))).simplest


def _is_zero(value: Any) -> bool:
    return not np.asarray(exactly(value).high).any()


def _shape(builder: GraphBuilder, x: Operand) -> Shape:
    return builder.shape(x) if isinstance(x, str) else tuple(x.shape)


def _spread(builder: GraphBuilder, x: Operand, shape: Shape, source: str) -> Operand:
    return lowering.broadcast(builder, x, shape, f"{source}.broadcast") if isinstance(x, str) else x
