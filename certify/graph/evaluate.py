"""What every canonical operator means, in numpy: the definition that the engine's rules are tested against.

Also the evaluation that needs no torch: loaders compare it with onnxruntime, and a proof checker can use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, sqrt
from typing import Any

import numpy as np

from certify.graph.double_double import DoubleDouble
from certify.graph.graph import INPUT, Graph, GraphError, Node, Shape

Array = np.ndarray
Params = Mapping[str, Array]


def evaluate(graph: Graph, x: Array, constants: Params | None = None) -> Array:
    """The network's output, of `graph.output_shape`, at one point `x` of `graph.input_shape`, computed in the dtype of `x`."""
    return values(graph, x, constants)[graph.output]


def values(graph: Graph, x: Array, constants: Params | None = None) -> dict[str, Array]:
    """The value of every node at one point `x` of `graph.input_shape`, computed in the dtype of `x`.

    Floating-point constants are rounded to that dtype; for many points, `bound_constants` does so once. A `GraphError` names an
    operator that has no definition here.
    """
    if x.shape != graph.input_shape:
        raise ValueError(f"the network takes an input of shape {list(graph.input_shape)}, got {list(x.shape)}")
    constants = bound_constants(graph, x.dtype) if constants is None else constants
    out = {graph.input: x}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            if node.op != INPUT:
                params = {role: constants[name] for role, name in node.params.items()}
                out[node.name] = apply(node, [out[name] for name in node.inputs], params).astype(x.dtype, copy=False)
    return out


def apply(node: Node, inputs: list[Array], params: Params) -> Array:
    """The value of one node; a `GraphError` where its operator has no definition here."""
    if node.op not in DEFINITIONS:
        raise GraphError(f"{node}: this operator has no numpy definition")
    return np.asarray(DEFINITIONS[node.op](*inputs, params=params, attrs=node.attrs))


def bound_constants(graph: Graph, dtype: np.dtype) -> dict[str, Array]:
    """The constants as arrays, the floating-point ones in `dtype`, and those derived from them."""
    with np.errstate(over="ignore"):
        constants = {name: in_dtype(_array(value), dtype) for name, value in graph.constants.items()}
    for entry in graph.derived:
        constants[entry.name] = entry.function(*(constants[name] for name in entry.inputs))
    return constants


def _array(value: Any) -> Array:
    """A constant as an array, rounded to doubles where passes would still keep more of it."""
    return value.high if isinstance(value, DoubleDouble) else np.asarray(value)


def in_dtype(value: Array, dtype: np.dtype) -> Array:
    """A floating-point array in `dtype`, without a copy where possible; indices stay as they are."""
    return value.astype(dtype, copy=False) if np.issubdtype(value.dtype, np.floating) else value


# --- affine maps --------------------------------------------------------------------------------------------------------------


def _linear(x: Array, params: Params, attrs: Mapping[str, Any]) -> Array:
    return x @ params["weight"].T + params.get("bias", 0)


def _per_channel(bias: Array | int, axes: int) -> Array | int:
    return np.reshape(bias, (-1, *(1,) * axes)) if np.ndim(bias) else bias


def _surrounded(x: Array, margins: Sequence[tuple[int, int]], value: Any) -> Array:
    """x with margins of one value; numpy's own `pad` would put numbers of its own types among Python's integers."""
    wide = np.full([before + n + after for n, (before, after) in zip(x.shape, margins, strict=True)], value, x.dtype)
    wide[tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, margins, strict=True))] = x
    return wide


def _windows(x: Array, kernel: Shape, stride: Shape, dilation: Shape) -> Array:
    """All windows of the trailing axes of x: (n, c, *positions, *kernel), a view."""
    axes = tuple(range(2, x.ndim))
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axes)
    steps = (slice(None, None, s) for s in (*stride, *dilation))
    return view[(slice(None), slice(None), *steps)]


MANY_TERMS = 2**26
"""Above so many terms of a convolution, they are summed kernel element by kernel element instead of being laid out."""


def _conv(x: Array, params: Params, attrs: Mapping[str, Any]) -> Array:
    weight, groups, axes = params["weight"], attrs["groups"], x.ndim - 2
    x = _surrounded(x, [(0, 0), (0, 0), *((p, p) for p in attrs["padding"])], 0)
    out = []
    for part, filters in zip(np.split(x, groups, 1), np.split(weight, groups, 0), strict=True):
        windows = _windows(part, weight.shape[2:], attrs["stride"], attrs["dilation"])
        if windows.size > MANY_TERMS:
            out.append(sum(_element(windows, filters, at) for at in np.ndindex(*weight.shape[2:])))
            continue
        summed = (1, *range(2 + axes, 2 + 2 * axes))
        out.append(np.moveaxis(np.tensordot(windows, filters, (summed, (1, *range(2, 2 + axes)))), -1, 1))
    return np.concatenate(out, 1) + _per_channel(params.get("bias", 0), axes)


def _element(windows: Array, filters: Array, at: tuple[int, ...]) -> Array:
    """What one element of the kernel adds to a convolution."""
    index: Any = (..., *at)
    return np.moveaxis(np.tensordot(windows[index], filters[index], ((1,), (1,))), -1, 1)


def _conv_transpose(x: Array, params: Params, attrs: Mapping[str, Any]) -> Array:
    """A convolution of x with zeros between its elements: stride becomes spacing, the filter is flipped."""
    weight, groups, axes = params["weight"], attrs["groups"], x.ndim - 2
    stride, dilation, kernel = attrs["stride"], attrs["dilation"], weight.shape[2:]
    spaced = np.zeros((*x.shape[:2], *((n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True))), x.dtype)
    spaced[(slice(None), slice(None), *(slice(None, None, s) for s in stride))] = x
    margins = [
        (d * (k - 1) - p, d * (k - 1) - p + extra)
        for d, k, p, extra in zip(dilation, kernel, attrs["padding"], attrs["output_padding"], strict=True)
    ]
    spaced = _surrounded(spaced, [(0, 0), (0, 0), *((max(b, 0), max(a, 0)) for b, a in margins)], 0)
    crop = (slice(max(-b, 0), spaced.shape[i + 2] - max(-a, 0)) for i, (b, a) in enumerate(margins))
    spaced = spaced[(slice(None), slice(None), *crop)]
    flipped = np.flip(weight, tuple(range(2, weight.ndim)))
    filters = np.concatenate([np.swapaxes(part, 0, 1) for part in np.split(flipped, groups, 0)], 0)
    ones = (1,) * axes
    plain = {"groups": groups, "padding": (0,) * axes, "stride": ones, "dilation": dilation}
    return _conv(spaced, {**params, "weight": filters}, plain)


def _pad(x: Array, params: Params, attrs: Mapping[str, Any]) -> Array:
    return _surrounded(x, list(zip(attrs["before"], attrs["after"], strict=True)), attrs["value"])


AFFINE: Mapping[str, Callable[..., Array]] = {
    "linear": _linear,
    "matmul": lambda x, params, attrs: x @ params["weight"],
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "scale": lambda x, params, attrs: x * params["factor"],
    "shift": lambda x, params, attrs: x + params["offset"],
    "add": lambda x, y, params, attrs: x + y,
    "sub": lambda x, y, params, attrs: x - y,
    "reshape": lambda x, params, attrs: x.reshape(attrs["shape"]),
    "transpose": lambda x, params, attrs: x.transpose(attrs["perm"]),
    "take": lambda x, params, attrs: x.reshape(-1)[params["index"]],
    "concat": lambda *xs, params, attrs: np.concatenate(xs, attrs["axis"]),
    "pad": _pad,
    "reduce_sum": lambda x, params, attrs: x.sum(tuple(attrs["axes"]), keepdims=attrs["keepdims"]),
}

# --- functions of one element --------------------------------------------------------------------------------------------------


def _erf(x: Array) -> Array:
    from scipy.special import erf  # its import takes longer than most evaluations

    return erf(x)


def _sigmoid(x: Array) -> Array:
    """Without cancellation on either side, and without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def _softplus(x: Array, beta: float = 1.0, threshold: float = inf) -> Array:
    return np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta)


def _exponential_unit(x: Array, alpha: float = 1.0, gamma: float = 1.0, width: float = 1.0) -> Array:
    """gamma * (x above zero, alpha * (exp(x / width) - 1) below): ELU, SELU and CELU."""
    return gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / width))


def _gelu_tanh(x: Array, cubic: float = 0.044715) -> Array:
    return 0.5 * x * (1 + np.tanh(sqrt(2 / np.pi) * (x + cubic * x**3)))


def _hard_sigmoid(x: Array, alpha: float = 0.2, beta: float = 0.5) -> Array:
    return np.clip(alpha * x + beta, 0, 1)


SELU = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}

ELEMENTWISE: Mapping[str, Callable[..., Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x, slope=0.01: np.where(x >= 0, x, slope * x),
    "prelu": lambda x, slope: np.where(x >= 0, x, slope * x),
    "clip": lambda x, min=-inf, max=inf: np.minimum(np.maximum(x, min), max),
    "abs": np.abs,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "softplus": _softplus,
    "elu": _exponential_unit,
    "selu": lambda x, alpha=SELU["alpha"], gamma=SELU["gamma"]: _exponential_unit(x, alpha, gamma),
    "celu": lambda x, alpha=1.0: _exponential_unit(x, alpha, width=alpha),
    "erf": _erf,
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / sqrt(2))),
    "gelu_tanh": _gelu_tanh,
    "silu": lambda x: x * _sigmoid(x),
    "hard_swish": lambda x: x * _hard_sigmoid(x, 1 / 6, 0.5),
    "hard_sigmoid": _hard_sigmoid,
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "log_sigmoid": lambda x: -_softplus(-x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "reciprocal": lambda x: 1 / x,
    "square": np.square,
    "pow": lambda x, exponent: np.power(x, exponent),
    "sin": np.sin,
    "cos": np.cos,
    "atan": np.arctan,
    "tan": np.tan,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
}


def _elementwise(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda x, params, attrs: function(x, **params, **attrs)


DEFINITIONS: Mapping[str, Callable[..., Array]] = {
    **AFFINE,
    **{name: _elementwise(function) for name, function in ELEMENTWISE.items()},
    "mul": lambda x, y, params, attrs: x * y,
    "reduce_max": lambda x, params, attrs: x.max(tuple(attrs["axes"]), keepdims=attrs["keepdims"]),
}
