"""Functions of one variable, element by element."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import numpy as np

from certify.graph.double_double import DoubleDouble
from certify.graph.shapes import broadcast as broadcast_shapes
from certify.io import powers
from certify.io.lowering import at_least, at_most, broadcast, prelu
from certify.io.onnx.call import Call, Handler


def _unary(op: str, *attributes: str) -> Handler:
    """The canonical operator of one input, with the ONNX attributes of these names."""

    def handle(call: Call) -> str:
        attrs: dict[str, Any] = {name: float(call.attrs[name]) for name in attributes}
        return call.emit(op, call.variable(), **attrs)

    return handle


def _leaky_relu(call: Call) -> str:
    return call.emit("leaky_relu", call.variable(), slope=float(call.attrs["alpha"]))


def _prelu(call: Call) -> str:
    slope = call.required_numbers(1)
    x = broadcast(call.builder, call.variable(), broadcast_shapes(call.shape(), slope.shape), f"{call.name}.broadcast")
    return prelu(call.builder, x, slope, call.name)


def _clip(call: Call) -> str:
    """min(max(x, low), high). Before version 11 limits left out are the ends of float32, which are none for real numbers."""
    if any(isinstance(value, DoubleDouble) for value in call.inputs[1:]):
        return _clip_to_numbers(call)
    low, high = (float(np.asarray(call.setting(name, i, d)).item()) for i, (name, d) in enumerate((("min", -inf), ("max", inf)), 1))
    low, high = (-inf if low == -LARGEST else low), (inf if high == LARGEST else high)
    if low != low or high != high:
        raise call.error("clips to NaN")
    return call.emit("clip", call.variable(), min=min(low, high), max=high)


def _clip_to_numbers(call: Call) -> str:
    """Clip to limits that no double holds: by two ReLUs, whose constants may be such numbers."""
    x = call.variable()
    for index, limited in ((1, at_least), (2, at_most)):
        limit = call.numbers(index)
        x = x if limit is None else limited(call.builder, x, limit.reshape(()), call.name)
    return x


def _gelu(call: Call) -> str:
    forms = {"none": "gelu", "tanh": "gelu_tanh"}
    return call.emit(forms[call.attrs["approximate"]], call.variable())


LARGEST = float(np.finfo(np.float32).max)


def _pow(call: Call) -> str:
    if call.is_variable(0) and call.is_variable(1):
        raise call.error("takes a power whose base and exponent both depend on the network's input; only one of them may")
    if call.is_variable(0):
        return powers.power(call.builder, call.variable(), call.required(1), call.name)
    return powers.exponential(call.builder, call.required(0), call.variable(1), call.name)


PLAIN: Mapping[str, str] = {
    "Relu": "relu",
    "Abs": "abs",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Erf": "erf",
    "HardSwish": "hard_swish",
    "Mish": "mish",
    "Softsign": "softsign",
    "Exp": "exp",
    "Log": "log",
    "Sqrt": "sqrt",
    "Reciprocal": "reciprocal",
    "Sin": "sin",
    "Cos": "cos",
    "Tan": "tan",
    "Atan": "atan",
    "Sign": "sign",
    "Floor": "floor",
    "Ceil": "ceil",
    "Round": "round",
}

HANDLERS: Mapping[str, Handler] = {
    **{onnx_name: _unary(name) for onnx_name, name in PLAIN.items()},
    "Elu": _unary("elu", "alpha"),
    "Celu": _unary("celu", "alpha"),
    "Selu": _unary("selu", "alpha", "gamma"),
    "HardSigmoid": _unary("hard_sigmoid", "alpha", "beta"),
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
    "Clip": _clip,
    "Gelu": _gelu,
    "Pow": _pow,
}
