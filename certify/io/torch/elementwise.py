"""Functions of one element, and arithmetic with numbers, constants and other tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf

import numpy as np

from certify.graph.double_double import exactly
from certify.io import lowering
from certify.io.powers import logarithm
from certify.io.torch.call import Call, Constant, Handler, Operand

NAMESAKES = "relu abs sigmoid tanh erf silu mish exp log sqrt reciprocal square sin cos tan atan sign floor ceil log_sigmoid selu"
ALIASES = {
    "arctan": "atan",
    "sgn": "sign",
    "hardswish": "hard_swish",
    "absolute": "abs",
    "special_erf": "erf",
    "special_expit": "sigmoid",
}


def _function(op: str, **attrs: float) -> Handler:
    return lambda call, x, **_: call.emit(op, [call.variable(x)], **attrs)


def _leaky_relu(call: Call, x: Operand, negative_slope: float) -> str:
    return call.emit("leaky_relu", [call.variable(x)], slope=float(negative_slope))


def _rrelu(call: Call, x: Operand, lower: float, upper: float, training: bool, **_: object) -> str:
    if training:
        raise ValueError("it is random in training mode; call .eval() on the module first")
    return lowering.prelu(call.builder, call.variable(x), (exactly(float(lower)) + float(upper)) * 0.5, call.source)


def _prelu(call: Call, x: Operand, weight: Operand) -> str:
    node = call.variable(x)
    shape = call.shape_of(weight)
    channels = int(np.prod(shape))
    spread = (channels, *(1,) * (len(call.shape_of(node)) - 2)) if channels > 1 else ()
    if isinstance(weight, Constant) and weight.exact is not None:
        return lowering.prelu(call.builder, node, weight.exact.reshape(spread), call.source)
    slope = call.changed(weight, "slope", lambda value: value.reshape(spread), spread)
    return call.emit("prelu", [node], {"slope": slope})


def _hard_sigmoid(call: Call, x: Operand) -> str:
    """min(max(x + 3, 0), 6) / 6"""
    shifted = lowering.shift(call.builder, call.variable(x), 3.0, call.step("shift"))
    clipped = call.emit("clip", [shifted], step="clip", min=0.0, max=6.0)
    return lowering.scale(call.builder, clipped, exactly(6.0).reciprocal(), call.source)


def _clamp(call: Call, x: Operand, min: float | None = None, max: float | None = None) -> str:
    low, high = -inf if min is None else float(min), inf if max is None else float(max)
    if low == 0.0 and high == inf:
        return call.emit("relu", [call.variable(x)])
    low = low if low <= high else high  # torch lets the upper limit win where the two are reversed
    return call.emit("clip", [call.variable(x)], min=low, max=high)


def _clamp_tensor(call: Call, x: Operand, min: Operand = None, max: Operand = None) -> str:
    if min is None:
        return _lesser(call, x, max)
    lifted = _greater(call, x, min, step="" if max is None else "lower")
    return lifted if max is None else _lesser(call, lifted, max)


def _hardtanh(call: Call, x: Operand, min_val: float, max_val: float) -> str:
    return _clamp(call, x, min_val, max_val)


def _threshold(call: Call, x: Operand, threshold: float, value: float) -> str:
    if threshold != value:
        raise ValueError(f"it jumps from {value:g} to {threshold:g}; only a threshold equal to the value is supported")
    return _clamp(call, x, min=threshold)


def _softplus(call: Call, x: Operand, beta: float, threshold: float) -> str:
    return call.emit("softplus", [call.variable(x)], beta=float(beta), threshold=float(threshold))


def _elu(call: Call, x: Operand, alpha: float, scale: float, input_scale: float) -> str:
    if input_scale != 1:
        raise ValueError("only ELU with input scale 1 is supported")
    if scale == 1:
        return call.emit("elu", [call.variable(x)], alpha=float(alpha))
    return lowering.scale(
        call.builder, call.emit("elu", [call.variable(x)], step="elu", alpha=float(alpha)), float(scale), call.source
    )


def _celu(call: Call, x: Operand, alpha: float) -> str:
    return call.emit("celu", [call.variable(x)], alpha=float(alpha))


def _gelu(call: Call, x: Operand, approximate: str) -> str:
    return call.emit({"none": "gelu", "tanh": "gelu_tanh"}[approximate], [call.variable(x)])


def _round(call: Call, x: Operand, decimals: int = 0) -> str:
    node = call.variable(x)
    if decimals == 0:
        return call.emit("round", [node])
    ten = exactly(10.0) ** abs(decimals)
    factor, back = (ten, ten.reciprocal()) if decimals > 0 else (ten.reciprocal(), ten)
    enlarged = lowering.scale(call.builder, node, factor, call.step("enlarged"))
    return lowering.scale(call.builder, call.emit("round", [enlarged], step="round"), back, call.source)


def _trunc(call: Call, x: Operand) -> str:
    """Towards zero: floor(max(x, 0)) + ceil(min(x, 0))"""
    return _towards_zero(call, call.variable(x), call.source)


def _towards_zero(call: Call, x: str, source: str) -> str:
    down = call.builder.add("floor", [call.builder.add("relu", [x], source=f"{source}.above")], source=f"{source}.floor")
    below = lowering.at_most(call.builder, x, 0.0, f"{source}.below")
    up = call.builder.add("ceil", [below], source=f"{source}.ceil")
    return lowering.combine(call.builder, "add", down, up, source)


def _frac(call: Call, x: Operand) -> str:
    """x less x rounded towards zero"""
    node = call.variable(x)
    return lowering.combine(call.builder, "sub", node, _towards_zero(call, node, call.step("trunc")), call.source)


def _whole(call: Call, x: Operand, other: Operand, mode: str, source: str) -> str:
    """x / other, rounded: exactly, so that no quotient that should be whole falls short of it."""
    divisor = other.value if isinstance(other, Constant) and not other.live else other
    exponents = np.frexp(np.asarray(divisor, np.float64))[0] if not isinstance(divisor, (str, Constant)) else np.zeros(1)
    if not (np.abs(exponents) == 0.5).all():
        raise ValueError("it rounds a quotient; only fixed powers of two are supported as divisors, which divide without rounding")
    quotient = divide(replace(call, source=f"{source}.quotient"), call.variable(x, "dividend"), other)
    return ROUNDED[mode](call, quotient, source)


ROUNDED: Mapping[str, Callable[[Call, str, str], str]] = {
    "floor": lambda call, x, source: call.builder.add("floor", [x], source=source),
    "trunc": _towards_zero,
}


def _divide_rounded(call: Call, x: Operand, other: Operand, rounding_mode: str | None = None) -> str:
    return divide(call, x, other) if rounding_mode is None else _whole(call, x, other, rounding_mode, call.source)


def _rest(mode: str) -> Handler:
    """x - other * (x / other, rounded)"""

    def handler(call: Call, x: Operand, other: Operand) -> str:
        whole = _whole(call, x, other, mode, call.step("whole"))
        taken = multiply(replace(call, source=call.step("taken")), whole, other)
        return lowering.combine(call.builder, "sub", call.variable(x), taken, call.source)

    return handler


def _glu(call: Call, x: Operand, dim: int) -> str:
    node = call.variable(x)
    shape = call.shape_of(node)
    halves = np.split(lowering.take_index(shape, np.asarray), 2, dim)
    value, gate = (lowering.take(call.builder, node, half, call.step(f"half{i}")) for i, half in enumerate(halves))
    return lowering.combine(call.builder, "mul", value, call.emit("sigmoid", [gate], step="sigmoid"), call.source)


def _softshrink(call: Call, x: Operand, lambd: float) -> str:
    """x - clip(x, -lambda, lambda)"""
    node = call.variable(x)
    middle = call.emit("clip", [node], step="clip", min=-float(lambd), max=float(lambd))
    return call.emit("sub", [node, middle])


# --- through other functions -----------------------------------------------------------------------------------------------


def _then(first: Callable[[Call, str], str], op: str) -> Handler:
    """The function `op` after a first step."""

    def handler(call: Call, x: Operand) -> str:
        return call.emit(op, [first(call, call.variable(x))])

    return handler


def _logarithm(base: float) -> Handler:
    """log(x) / log(base)"""
    factor = logarithm(np.asarray(base)).reciprocal()
    return lambda call, x: lowering.scale(call.builder, call.emit("log", [call.variable(x)], step="log"), factor, call.source)


def _pow(call: Call, x: Operand, exponent: float) -> str:
    node = call.variable(x)
    names = {2: "square", 0.5: "sqrt", -1: "reciprocal"}
    if exponent == 1:
        return node
    if exponent in names:
        return call.emit(names[exponent], [node])
    if exponent == -0.5:
        return call.emit("reciprocal", [call.emit("sqrt", [node], step="sqrt")])
    return call.emit("pow", [node], exponent=float(exponent))


def _pow_tensor(call: Call, x: Operand, exponent: Operand) -> str:
    if isinstance(exponent, Constant) and exponent.value.numel() == 1 and not exponent.live and exponent.exact is None:
        return _pow(call, x, float(exponent.value))
    raise ValueError("only an exponent that is one fixed number is supported")


def _power_of(call: Call, x: float, exponent: Operand) -> str:
    """base^t = exp(t log base)"""
    if not x > 0:
        raise ValueError(f"the base must be positive, got {x:g}")
    return call.emit("exp", [lowering.scale(call.builder, call.variable(exponent), logarithm(np.asarray(x)), call.step("scale"))])


# --- two operands ----------------------------------------------------------------------------------------------------------


def add(call: Call, x: Operand, other: Operand, alpha: float = 1) -> str:
    """x + alpha * other"""
    if isinstance(x, str) and isinstance(other, str):
        weighted = other if alpha in (1, -1) else lowering.scale(call.builder, other, float(alpha), call.step("weighted"))
        return lowering.combine(call.builder, "sub" if alpha == -1 else "add", x, weighted, call.source)
    if isinstance(x, str):
        return lowering.shift(call.builder, x, _times(call, other, "offset", alpha), call.source)
    weighted = call.variable(other)
    if alpha != 1:
        weighted = lowering.scale(call.builder, weighted, float(alpha), call.step("weighted"))
    return lowering.shift(call.builder, weighted, call.constant(x, "offset"), call.source)


def _sub(call: Call, x: Operand, other: Operand, alpha: float = 1) -> str:
    return add(call, x, other, -alpha)


def _rsub(call: Call, x: Operand, other: Operand, alpha: float = 1) -> str:
    return add(call, other, x, -alpha)


def multiply(call: Call, x: Operand, other: Operand) -> str:
    """x * other"""
    if isinstance(x, str) and isinstance(other, str):
        return lowering.combine(call.builder, "mul", x, other, call.source)
    node, factor = (x, other) if isinstance(x, str) else (other, x)
    return lowering.scale(call.builder, call.variable(node), call.constant(factor, "factor"), call.source)


def divide(call: Call, x: Operand, other: Operand) -> str:
    """x / other"""
    if isinstance(x, str) and isinstance(other, str):
        return lowering.divide(call.builder, x, other, call.source)
    if isinstance(x, str):
        shape = call.shape_of(other)
        return lowering.scale(call.builder, x, call.changed(other, "factor", lambda value: 1.0 / value, shape), call.source)
    inverse = call.emit("reciprocal", [call.variable(other)], step="reciprocal")
    return lowering.scale(call.builder, inverse, call.constant(x, "factor"), call.source)


def _times(call: Call, operand: Operand, role: str, factor: float) -> str:
    """The constant factor * operand."""
    if factor == 1:
        return call.constant(operand, role)
    return call.changed(operand, role, lambda value: factor * value, call.shape_of(operand))


def _extreme(two: Callable[..., str], one: Callable[..., str]) -> Callable[..., str]:
    """The larger or smaller of two operands, by lowering functions for two nodes and for a node and a constant."""

    def handler(call: Call, x: Operand, other: Operand, step: str = "") -> str:
        if isinstance(x, str) and isinstance(other, str):
            return two(call.builder, x, other, call.step(step))
        node, limit = (x, other) if isinstance(x, str) else (other, x)
        return one(call.builder, call.variable(node), call.constant(limit, "limit"), call.step(step))

    return handler


_greater = _extreme(lowering.maximum, lowering.at_least)
_lesser = _extreme(lowering.minimum, lowering.at_most)


def _both(name: str, handler: Handler) -> dict[str, Handler]:
    """The overloads with a tensor and with a number."""
    return {f"{name}.Tensor": handler, f"{name}.Scalar": handler}


HANDLERS: Mapping[str, Handler] = {
    **{f"{name}.default": _function(name) for name in NAMESAKES.split()},
    **{f"{name}.default": _function(op) for name, op in ALIASES.items()},
    "relu6.default": _function("clip", min=0.0, max=6.0),
    "hardsigmoid.default": _hard_sigmoid,
    "leaky_relu.default": _leaky_relu,
    "rrelu.default": _rrelu,
    "prelu.default": _prelu,
    "_prelu_kernel.default": _prelu,
    "clamp.default": _clamp,
    "clip.default": _clamp,
    "clamp_min.default": _clamp,
    "clamp_max.default": _clamp,
    "clamp.Tensor": _clamp_tensor,
    "clip.Tensor": _clamp_tensor,
    "clamp_min.Tensor": _clamp_tensor,
    "clamp_max.Tensor": _clamp_tensor,
    "hardtanh.default": _hardtanh,
    "threshold.default": _threshold,
    "softplus.default": _softplus,
    "elu.default": _elu,
    "celu.default": _celu,
    "gelu.default": _gelu,
    "round.default": _round,
    "round.decimals": _round,
    "glu.default": _glu,
    "softshrink.default": _softshrink,
    "rsqrt.default": _then(lambda call, x: call.emit("sqrt", [x], step="sqrt"), "reciprocal"),
    "log1p.default": _then(lambda call, x: lowering.shift(call.builder, x, 1.0, call.step("shift")), "log"),
    "exp2.default": lambda call, x: _power_of(call, 2.0, x),
    "expm1.default": lambda call, x: lowering.shift(
        call.builder, call.emit("exp", [call.variable(x)], step="exp"), -1.0, call.source
    ),
    "log2.default": _logarithm(2.0),
    "log10.default": _logarithm(10.0),
    "pow.Tensor_Scalar": _pow,
    "pow.Tensor_Tensor": _pow_tensor,
    "pow.Scalar": _power_of,
    "neg.default": lambda call, x: lowering.negate(call.builder, call.variable(x), call.source),
    "negative.default": lambda call, x: lowering.negate(call.builder, call.variable(x), call.source),
    **_both("add", add),
    **_both("sub", _sub),
    **_both("subtract", _sub),
    **_both("rsub", _rsub),
    **_both("mul", multiply),
    **_both("multiply", multiply),
    **_both("div", divide),
    **_both("divide", divide),
    **_both("true_divide", divide),
    **{f"{name}.{kind}_mode": _divide_rounded for name in ("div", "divide") for kind in ("Tensor", "Scalar")},
    "floor_divide.default": lambda call, x, other: _whole(call, x, other, "floor", call.source),
    "floor_divide.Scalar": lambda call, x, other: _whole(call, x, other, "floor", call.source),
    **_both("remainder", _rest("floor")),
    **_both("fmod", _rest("trunc")),
    "trunc.default": _trunc,
    "fix.default": _trunc,
    "frac.default": _frac,
    "maximum.default": _greater,
    "max.other": _greater,
    "minimum.default": _lesser,
    "min.other": _lesser,
}
