"""Sums, differences, products and quotients, of variables and constants in any mixture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce as fold
from typing import Any

import numpy as np

from certify.graph import GraphBuilder
from certify.graph.double_double import DoubleDouble, exactly
from certify.io import lowering
from certify.io.onnx.call import Call, Handler, Numbers

Emit = Callable[..., str]


def _binary(both: Emit, constant_right: Emit, constant_left: Emit) -> Handler:
    """An operator of two inputs, each of the three cases emitted by a function `(builder, x, y, source)`, the variable first."""

    def handle(call: Call) -> str:
        left, right = call.value(0), call.value(1)
        if isinstance(left, str) and isinstance(right, str):
            return both(call.builder, left, right, call.name)
        if isinstance(left, str):
            return constant_right(call.builder, left, _finite(call, call.required_numbers(1)), call.name)
        return constant_left(call.builder, call.variable(1), _finite(call, call.required_numbers(0)), call.name)

    return handle


def _finite(call: Call, numbers: Numbers) -> Numbers:
    if not np.isfinite(exactly(numbers).high).all():
        raise call.error("its constant holds NaN or infinite entries")
    return numbers


def _combine(op: str) -> Emit:
    return lambda builder, x, y, source: lowering.combine(builder, op, x, y, source)


def _subtract_constant(builder: GraphBuilder, x: str, offset: Numbers, source: str) -> str:
    return lowering.shift(builder, x, -offset, source)


def _subtract_from_constant(builder: GraphBuilder, x: str, offset: Numbers, source: str) -> str:
    return lowering.shift(builder, lowering.negate(builder, x, f"{source}.negated"), offset, source)


def _divide_by_constant(builder: GraphBuilder, x: str, divisor: Numbers, source: str) -> str:
    if not exactly(divisor).high.all():
        raise ValueError("divides by a constant that holds zeros")
    return lowering.scale(builder, x, exactly(divisor).reciprocal(), source)


def _divide_constant(builder: GraphBuilder, x: str, dividend: Numbers, source: str) -> str:
    inverse = builder.add("reciprocal", [x], source=f"{source}.reciprocal")
    return lowering.scale(builder, inverse, dividend, source)


_add = _binary(_combine("add"), lowering.shift, lowering.shift)
_mul = _binary(_combine("mul"), lowering.scale, lowering.scale)
_sub = _binary(_combine("sub"), _subtract_constant, _subtract_from_constant)
_div = _binary(lowering.divide, _divide_by_constant, _divide_constant)


def _variadic(both: Emit, with_constant: Emit, merge: Callable[[Any, Any], Any]) -> Callable[[Call], str]:
    """A commutative operator of any number of inputs: the variables are combined, then the one constant that the others make."""

    def handle(call: Call) -> str:
        variables = [value for value in call.inputs if isinstance(value, str)]
        constants = [_finite(call, value) for value in call.inputs if isinstance(value, (np.ndarray, DoubleDouble))]
        x = fold(lambda left, right: both(call.builder, left, right, call.name), variables)
        return with_constant(call.builder, x, fold(merge, constants), call.name) if constants else x

    return handle


_sum = _variadic(_combine("add"), lowering.shift, lambda left, right: exactly(left) + right)


def _mean(call: Call) -> str:
    return lowering.scale(call.builder, _sum(call), exactly(len(call.inputs)).reciprocal(), call.name)


def _neg(call: Call) -> str:
    return lowering.negate(call.builder, call.variable(), call.name)


HANDLERS: Mapping[str, Handler] = {
    "Add": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    "Neg": _neg,
    "Sum": _sum,
    "Mean": _mean,
}
