"""Graphs of elementwise operators in 400 digits: what a graph means, evaluated independently of the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import mpmath
import numpy as np
from mpmath import mpf

from certify.graph import INPUT, Graph, Node

DIGITS = 400


def _sigmoid(x: mpf) -> mpf:
    return 1 / (1 + mpmath.exp(-x))


def _softplus(x: mpf, beta: float = 1.0, threshold: float = mpmath.inf) -> mpf:
    z = mpf(beta) * x
    return x if z > threshold else mpmath.log1p(mpmath.exp(z)) / mpf(beta)


def _clip(x: mpf, min: float = -mpmath.inf, max: float = mpmath.inf) -> mpf:
    low, high = mpf(min), mpf(max)
    return low if x < low else high if x > high else x


def _gelu_tanh(x: mpf, cubic: float = 0.044715) -> mpf:
    return x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpf(cubic) * x**3)))


FUNCTIONS: Mapping[str, Callable[..., mpf]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "scale": lambda x, factor: x * factor,
    "shift": lambda x, offset: x + offset,
    "square": lambda x: x * x,
    "pow": lambda x, exponent: x ** int(exponent) if float(exponent).is_integer() else x ** mpf(exponent),
    "relu": lambda x: max(x, mpf(0)),
    "exp": mpmath.exp,
    "log": mpmath.log,
    "tanh": mpmath.tanh,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "erf": mpmath.erf,
    "clip": _clip,
    "hard_sigmoid": lambda x, alpha=0.2, beta=0.5: _clip(mpf(alpha) * x + mpf(beta), 0.0, 1.0),
    "hard_swish": lambda x: x * _clip(x + 3, 0.0, 6.0) / 6,
    "silu": lambda x: x * _sigmoid(x),
    "mish": lambda x: x * mpmath.tanh(_softplus(x)),
    "gelu": lambda x: x / 2 * mpmath.erfc(-x / mpmath.sqrt(2)),
    "gelu_tanh": _gelu_tanh,
}


def real_value(graph: Graph, x: float) -> mpf:
    """The output of a graph whose tensors all have one element, at x, in real arithmetic on its constants to 400 digits."""
    with mpmath.workdps(DIGITS):
        values = {graph.input: mpf(x)}
        for node in graph.nodes:
            if node.op != INPUT:
                values[node.name] = _value(graph, node, values)
        return values[graph.output]


def _value(graph: Graph, node: Node, values: Mapping[str, mpf]) -> mpf:
    constants = {role: mpf(float(np.asarray(graph.constants[name]).item())) for role, name in node.params.items()}
    return FUNCTIONS[node.op](*(values[name] for name in node.inputs), **constants, **node.attrs)
