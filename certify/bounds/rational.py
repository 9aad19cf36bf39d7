"""Interval bounds in rational arithmetic: what rounding would hide, such as that a sum of ReLUs is not negative. Imports no torch.

Affine maps, products and piecewise linear functions are exact on intervals of rational numbers, so that over one point they give the
network's value itself. A curve is bounded by its operator's own rule, in float64, outward. Numbers are whole multiples of one unit a
tensor: the definitions of affine operators (`graph.evaluate`) then serve as they are, on arrays of Python's integers.

A constant that was rounded when the graph was made stands for a number within 2 * 2^-53 of relative error (`Graph.rounded`); so may one of
more digits than float32 has, such as the 1/9 of a mean. What that may change is added outward. All others are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from math import inf, isfinite, lcm, nextafter, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.graph import INPUT, Graph, GraphError, Node
from certify.graph.evaluate import AFFINE, apply

Integers = NDArray[np.object_]
_WEIGHTS = ("weight", "factor")
"""Roles of the parameters that multiply; every other one is added."""
_FOLDED = 51
"""Constants that were rounded are off by at most 2^-51 of themselves, with room."""


@dataclass(frozen=True)
class Rational:
    """lower / unit <= value <= upper / unit, elementwise; `unit` is a positive integer."""

    lower: Integers
    upper: Integers
    unit: int

    def in_unit(self, unit: int) -> Rational:
        """The same in a smaller unit, of which the own is a multiple."""
        factor = unit // self.unit
        return self if factor == 1 else Rational(self.lower * factor, self.upper * factor, unit)

    def ends(self, index: Any) -> tuple[Fraction, Fraction]:
        """Both ends of one element."""
        return Fraction(self.lower[index], self.unit), Fraction(self.upper[index], self.unit)


def rational(lower: Sequence[Fraction], upper: Sequence[Fraction], shape: Sequence[int]) -> Rational:
    """Intervals with these ends, flat in C order."""
    unit = reduce(lcm, {number.denominator for number in (*lower, *upper)}, 1)
    low, high = (_array([number.numerator * (unit // number.denominator) for number in ends], shape) for ends in (lower, upper))
    return Rational(low, high, unit)


def _array(numbers: Sequence[int], shape: Sequence[int]) -> Integers:
    result = np.empty(len(numbers), dtype=object)
    result[:] = numbers
    return result.reshape(tuple(shape))


def work(graph: Graph) -> int:
    """About how many products of integers `propagate` takes; more than anybody has where constants are derived from live parameters."""
    if graph.derived:
        return 1 << 62
    total = 0
    for node in graph.nodes:
        sizes = [np.shape(graph.constants[name]) for role, name in node.params.items() if role in _WEIGHTS]
        total += prod(node.shape) * max((_terms(node.op, size) for size in sizes), default=1)
    return total


def _terms(op: str, weight: tuple[int, ...]) -> int:
    """How many products make an element of a node."""
    return {"linear": prod(weight[1:]), "matmul": prod(weight[-2:-1]), "conv": prod(weight[1:]), "scale": 1}.get(op, prod(weight))


def propagate(graph: Graph, box: Rational) -> Rational:
    """Bounds of the output over a box of `graph.input_shape`, which hold for the real numbers that the constants stand for.

    A `GraphError` where an operator is not defined on what may reach it, or has no rule.
    """
    if graph.derived:
        raise GraphError("constants that are derived from live parameters have no exact values; save the model to a file")
    known = {graph.input: box}
    for node in graph.nodes:
        if node.op != INPUT:
            params = {role: stored(graph.constants[name]) for role, name in node.params.items()}
            exact = not any(name in graph.rounded or _many_digits(params[role]) for role, name in node.params.items())
            known[node.name] = _node(node, [known[name] for name in node.inputs], params, exact)
    return known[graph.output]


def _many_digits(values: NDArray[Any]) -> bool:
    """Whether some value is no float32 number."""
    if values.dtype != np.float64:
        return False
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float32) != values).any())


def stored(value: Any) -> NDArray[Any]:
    """A constant as the array that it is."""
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _node(node: Node, inputs: Sequence[Rational], params: Mapping[str, NDArray[Any]], exact: bool) -> Rational:
    if node.op in AFFINE:
        return _affine(node, inputs, params, exact)
    if node.op == "reduce_max":
        (x,) = inputs
        return Rational(apply(node, [x.lower], {}), apply(node, [x.upper], {}), x.unit)
    if node.op == "mul":
        return _product(*inputs)
    if node.op in _PIECEWISE and not params:
        return _piecewise(node, inputs[0])
    return _by_rule(node, inputs, params)


# --- affine maps --------------------------------------------------------------------------------------------------------------


def _affine(node: Node, inputs: Sequence[Rational], params: Mapping[str, NDArray[Any]], exact: bool) -> Rational:
    """L+ l + L- u + c and L+ u + L- l + c, where L+ and L- hold the positive and the negative entries of L; `exact`: as they are stored.

    Where they are not, each entry and each element of c is off by 2^-51 of itself at most: the result by as much of |L| max |x| + |c|.
    """
    unit = reduce(lcm, (x.unit for x in inputs), 1)
    lows, highs = ([getattr(x.in_unit(unit), side) for x in inputs] for side in ("lower", "upper"))
    if node.op == "sub":
        return Rational(lows[0] - highs[1], highs[0] - lows[1], unit)
    floats = {role: value for role, value in params.items() if value.dtype.kind == "f"}
    indices = {role: value for role, value in params.items() if role not in floats}
    if node.op == "pad":
        value, node = float(node.attrs["value"]), replace(node, attrs={**node.attrs, "value": 0})
        margin = apply(replace(node, attrs={**node.attrs, "value": 1}), [np.zeros(inputs[0].lower.shape)], {})
        floats["margin"] = margin * value if value else margin * 0
    shift = max((_places(value) for value in floats.values()), default=0)
    scaled = {role: _times_power(value, shift) for role, value in floats.items()}
    factors = {role: value for role, value in scaled.items() if role in _WEIGHTS}
    added = {role: value * unit for role, value in scaled.items() if role not in _WEIGHTS}
    if not factors:
        lows, highs = ([x * (1 << shift) for x in side] for side in (lows, highs))

    def image(sides: Sequence[Integers], factors: Mapping[str, Integers], added: Mapping[str, Integers]) -> Integers:
        result = np.asarray(AFFINE[node.op](*sides, params={**indices, **factors, **added}, attrs=node.attrs), dtype=object)
        return result + added["margin"] if "margin" in added else result

    zero = {role: value * 0 for role, value in added.items()}
    if not factors:
        low, high = image(lows, {}, added), image(highs, {}, added)
    else:
        above = {role: np.maximum(value, 0) for role, value in factors.items()}
        below = {role: np.minimum(value, 0) for role, value in factors.items()}
        low = image(lows, above, added) + image(highs, below, zero)
        high = image(highs, above, added) + image(lows, below, zero)
    if not exact:
        sizes = [np.maximum(abs(a), abs(b)) for a, b in zip(lows, highs, strict=True)]
        terms = image(
            sizes, {role: abs(value) for role, value in factors.items()}, {role: abs(value) for role, value in added.items()}
        )
        off = terms // (1 << _FOLDED) + (terms > 0).astype(object)
        low, high = low - off, high + off
    return Rational(low, high, unit << shift)


def _places(values: NDArray[Any]) -> int:
    """The least k >= 0 for which all values are whole multiples of 2^-k; a `GraphError` where one is not finite."""
    flat = values.astype(np.float64).ravel()
    if not np.isfinite(flat).all():
        raise GraphError("a constant is NaN or infinite")
    return max((float(v).as_integer_ratio()[1].bit_length() - 1 for v in flat), default=0)


def _times_power(values: NDArray[Any], shift: int) -> Integers:
    """values * 2^shift, which are whole numbers."""
    ratios = (float(v).as_integer_ratio() for v in values.astype(np.float64).ravel())
    return _array([n * ((1 << shift) // d) for n, d in ratios], values.shape)


def _product(x: Rational, y: Rational) -> Rational:
    corners = [a * b for a in (x.lower, x.upper) for b in (y.lower, y.upper)]
    return Rational(reduce(np.minimum, corners), reduce(np.maximum, corners), x.unit * y.unit)


# --- functions of one element --------------------------------------------------------------------------------------------------

Function = Callable[[Fraction], Fraction]
Attrs = Mapping[str, Any]


def _two_slopes(left: Fraction) -> Function:
    return lambda x: x if x >= 0 else left * x


def _clip(attrs: Attrs) -> tuple[Function, tuple[Fraction, ...]]:
    low, high = float(attrs.get("min", -inf)), float(attrs.get("max", inf))
    ends = tuple(Fraction(end) for end in (low, high) if isfinite(end))

    def clip(x: Fraction) -> Fraction:
        x = max(x, Fraction(low)) if isfinite(low) else x
        return min(x, Fraction(high)) if isfinite(high) else x

    return clip, ends


_ORIGIN = (Fraction(0),)
_PIECEWISE: Mapping[str, Callable[[Attrs], tuple[Function, tuple[Fraction, ...]]]] = {
    "relu": lambda attrs: (_two_slopes(Fraction(0)), _ORIGIN),
    "leaky_relu": lambda attrs: (_two_slopes(Fraction(float(attrs.get("slope", 0.01)))), _ORIGIN),
    "abs": lambda attrs: (abs, _ORIGIN),
    "clip": _clip,
    "square": lambda attrs: (lambda x: x * x, _ORIGIN),
}
"""Functions that are exact on rational numbers, and the points between which each is monotone."""


def _piecewise(node: Node, x: Rational) -> Rational:
    function, turns = _PIECEWISE[node.op](node.attrs)
    low, high = [], []
    for a, b in zip(x.lower.ravel(), x.upper.ravel(), strict=True):
        ends = Fraction(a, x.unit), Fraction(b, x.unit)
        values = [function(end) for end in (*ends, *(t for t in turns if ends[0] < t < ends[1]))]
        low.append(min(values))
        high.append(max(values))
    return rational(low, high, node.shape)


def _by_rule(node: Node, inputs: Sequence[Rational], params: Mapping[str, NDArray[Any]]) -> Rational:
    """By the operator's interval rule, in float64 and outward."""
    import torch

    from certify.bounds.relaxed import refuse_outside_domain
    from certify.operators.base import Affine
    from certify.operators.table import OPS

    rule = OPS.get(node.op)
    if rule is None or len(inputs) != 1 or isinstance(rule, Affine):
        raise GraphError(f"{node}: no bound rule for this operator")
    low, high = (torch.from_numpy(end)[None] for end in _outward(inputs[0]))
    constants = {role: torch.from_numpy(np.array(value)) for role, value in params.items()}
    constants = {role: value.double() if value.is_floating_point() else value for role, value in constants.items()}
    refuse_outside_domain(rule, node, constants, low, high)
    ends = [end[0].numpy() for end in rule.interval(low, high, node, constants)]
    if not all(np.isfinite(end).all() for end in ends):
        raise GraphError(f"{node}: values overflow on this input set")
    lower, upper = ([Fraction(float(v)) for v in end.ravel()] for end in ends)
    return rational(lower, upper, node.shape)


def _outward(x: Rational) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ends in float64; a `GraphError` where they are beyond its range."""
    try:
        low, high = ([_rounded(n, x.unit, way) for n in end.ravel()] for end, way in ((x.lower, -inf), (x.upper, inf)))
    except OverflowError:
        raise GraphError("values are beyond the range of float64") from None
    return np.array(low).reshape(x.lower.shape), np.array(high).reshape(x.upper.shape)


def _rounded(numerator: int, unit: int, direction: float) -> float:
    """numerator / unit rounded towards an infinity: the quotient of integers is the nearest float64."""
    nearest = numerator / unit
    up, down = nearest.as_integer_ratio()
    off = up * unit - numerator * down
    return nearest if off == 0 or (off > 0) == (direction > 0) else nextafter(nearest, direction)
