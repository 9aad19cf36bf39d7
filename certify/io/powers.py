"""Powers with constant exponents, one for each element if need be, and powers of constants, in the vocabulary of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal

import numpy as np

from certify.graph import GraphBuilder
from certify.graph.double_double import DoubleDouble
from certify.graph.shapes import broadcast as broadcast_shapes
from certify.io.lowering import Array, broadcast, constant_node, scale, take

# Powers with a function of their own; any other exponent is `pow`.
FUNCTIONS: Mapping[float, str] = {2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}

MANY = 64
"""Different exponents, each of which is a node of its own."""


def power(builder: GraphBuilder, x: str, exponents: Array, source: str) -> str:
    """x to constant powers, with numpy broadcasting both ways; x^0 is one everywhere. A ValueError where there are too many of them."""
    if not np.isfinite(exponents).all():
        raise ValueError("its exponent is NaN or infinite")
    shape = broadcast_shapes(builder.shape(x), exponents.shape)
    x = broadcast(builder, x, shape, f"{source}.broadcast")
    different, which = np.unique(np.broadcast_to(exponents, shape), return_inverse=True)
    which = which.reshape(-1)
    if len(different) > MANY:
        raise ValueError(f"has {len(different)} different exponents; up to {MANY} are supported")
    if len(different) == 1:
        return _one(builder, x, float(different[0]), source)
    nodes, order = [], []
    for number, exponent in enumerate(different):
        (chosen,) = np.nonzero(which == number)
        nodes.append(_one(builder, take(builder, x, chosen, f"{source}.taken"), float(exponent), f"{source}.power"))
        order.append(chosen)
    joined = builder.add("concat", nodes, attrs={"axis": 0}, source=f"{source}.parts")
    return take(builder, joined, np.argsort(np.concatenate(order)).reshape(shape), source)


def _one(builder: GraphBuilder, x: str, exponent: float, source: str) -> str:
    if exponent == 0:
        return constant_node(builder, x, np.ones(builder.shape(x)), source)
    if exponent == 1:
        return x
    if exponent in FUNCTIONS:
        return builder.add(FUNCTIONS[exponent], [x], source=source)
    return builder.add("pow", [x], attrs={"exponent": exponent}, source=source)


def exponential(builder: GraphBuilder, base: Array, x: str, source: str) -> str:
    """Constants to the power of x, exp(x * log(base)), with numpy broadcasting both ways. A ValueError where one is not positive."""
    if not ((base > 0) & np.isfinite(base)).all():
        raise ValueError("takes powers of a constant that holds zeros or negative numbers, which are not defined everywhere")
    return builder.add("exp", [scale(builder, x, logarithm(base), f"{source}.exponent")], source=source)


def logarithm(numbers: Array) -> DoubleDouble:
    """The natural logarithms of positive numbers, of which the error is far below the last digit of a double."""
    context = Context(prec=60)
    logs = [context.ln(Decimal(float(number))) for number in np.ravel(numbers)]
    high = [float(log) for log in logs]
    low = [float(context.subtract(log, Decimal(h))) for log, h in zip(logs, high, strict=True)]
    error = [abs(part) * 2.0**-50 for part in low]
    parts = (np.reshape(np.array(values, np.float64), np.shape(numbers)) for values in (high, low, error))
    return DoubleDouble(*parts)
