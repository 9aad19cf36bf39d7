"""What every canonical operator makes of constants: real numbers, with a bound of what is not known of them.

The definitions of `evaluate` once more, on `DoubleDouble`: so constants that a model computes from others mean what real arithmetic makes
of the stored ones, and both front ends evaluate them by the operators that they emit for variables. What has no row here, or cannot be
known, is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from certify.graph import enclosures
from certify.graph.double_double import DoubleDouble, Operand, exactly, from_bounds, joined, where
from certify.graph.enclosures import Interval
from certify.graph.graph import INPUT, Graph, Node
from certify.graph.shapes import broadcast

Params = Mapping[str, Any]
Attrs = Mapping[str, Any]
MANY = 2**17
"""Different numbers that functions are computed of, one by one, at most."""


def evaluate_exactly(graph: Graph, x: DoubleDouble) -> DoubleDouble:
    """The output of a graph without live constants at a point; a ValueError names what has no exact evaluation, or no value."""
    constants = {name: value if _is_index(value) else exactly(value) for name, value in graph.constants.items()}
    values = {graph.input: x}
    for node in graph.nodes:
        if node.op != INPUT:
            values[node.name] = _apply(node, [values[name] for name in node.inputs], constants)
    return values[graph.output]


def _is_index(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "iu"


def _apply(node: Node, inputs: list[DoubleDouble], constants: Mapping[str, Any]) -> DoubleDouble:
    if node.op not in EXACT:
        raise ValueError(f"{node.op} of constants has no exact evaluation; store its result in the model instead")
    params = {role: constants[name] for role, name in node.params.items()}
    value = EXACT[node.op](*inputs, params=params, attrs=node.attrs)
    if value.shape != node.shape:
        raise ValueError(f"{node.op} of constants has shape {list(value.shape)}, expected {list(node.shape)}")
    return value


# --- affine maps ----------------------------------------------------------------------------------------------------------------


def product(a: DoubleDouble, b: DoubleDouble) -> DoubleDouble:
    """a @ b for at least two axes each, the leading ones broadcast."""
    lead = broadcast(a.shape[:-2], b.shape[:-2])
    left, right = (_matrices(x, lead) for x in (a, b))
    parts = [(left[i] @ right[i]).reshape(1, a.shape[-2], b.shape[-1]) for i in range(left.shape[0])]
    return joined(parts).reshape(*lead, a.shape[-2], b.shape[-1])


def _matrices(x: DoubleDouble, lead: Sequence[int]) -> DoubleDouble:
    """The matrices in x, repeated to the leading axes, in a row."""
    size = x.shape[-2:]
    return x.moved(lambda part: np.broadcast_to(part, (*lead, *size)).reshape(-1, *size))


def _linear(x: DoubleDouble, params: Params, attrs: Attrs) -> DoubleDouble:
    weight = params["weight"]
    flat = x.reshape(-1, x.shape[-1]) @ weight.T
    y = flat.reshape(*x.shape[:-1], weight.shape[0])
    return y + params["bias"] if "bias" in params else y


def _pad(x: DoubleDouble, params: Params, attrs: Attrs) -> DoubleDouble:
    amounts = list(zip(attrs["before"], attrs["after"], strict=True))
    inside = np.pad(np.ones(x.shape, dtype=bool), amounts)
    return where(inside, x.moved(lambda part: np.pad(part, amounts)), attrs["value"])


def _reduce_sum(x: DoubleDouble, params: Params, attrs: Attrs) -> DoubleDouble:
    total = x.sum(tuple(attrs["axes"]))
    return total.reshape([1 if i in attrs["axes"] else n for i, n in enumerate(x.shape)]) if attrs["keepdims"] else total


AFFINE: Mapping[str, Callable[..., DoubleDouble]] = {
    "linear": _linear,
    "matmul": lambda x, params, attrs: product(x, params["weight"]),
    "scale": lambda x, params, attrs: x * params["factor"],
    "shift": lambda x, params, attrs: x + params["offset"],
    "add": lambda x, y, params, attrs: x + y,
    "sub": lambda x, y, params, attrs: x - y,
    "mul": lambda x, y, params, attrs: x * y,
    "reshape": lambda x, params, attrs: x.reshape(attrs["shape"]),
    "transpose": lambda x, params, attrs: x.moved(lambda part: part.transpose(attrs["perm"])),
    "take": lambda x, params, attrs: x.reshape(-1)[params["index"]],
    "concat": lambda *xs, params, attrs: joined(xs, attrs["axis"]),
    "pad": _pad,
    "reduce_sum": _reduce_sum,
}


# --- choices between numbers ----------------------------------------------------------------------------------------------------


def maximum(x: Operand, y: Operand) -> DoubleDouble:
    """The larger of two, by the sign of their difference: where that is not known, either is within its error and the other's.

    Of what is no number nothing is known.
    """
    a, b = exactly(x), exactly(y)
    difference = a - b
    finite = np.isfinite(difference.high)
    chosen = where(np.where(finite, difference.high > 0, a.high > b.high), a, b)
    unsure = (np.abs(difference.high) <= 2 * difference.error) & (difference.error > 0) & finite
    error = np.where(unsure, chosen.error + 4 * difference.error, chosen.error)
    nothing = np.isnan(a.high) | np.isnan(b.high)
    error = np.where(nothing, np.inf, error)
    return DoubleDouble(chosen.high, chosen.low, error, None if (unsure | nothing).any() else chosen.rational)


def minimum(x: Operand, y: Operand) -> DoubleDouble:
    """The smaller of two."""
    return -maximum(-exactly(x), -exactly(y))


def _clip(x: DoubleDouble, params: Params, attrs: Attrs) -> DoubleDouble:
    return minimum(maximum(x, attrs.get("min", -np.inf)), attrs.get("max", np.inf))


def _two_slopes(x: DoubleDouble, slope: Operand) -> DoubleDouble:
    return maximum(x, 0.0) + exactly(slope) * minimum(x, 0.0)


def _reduce_max(x: DoubleDouble, params: Params, attrs: Attrs) -> DoubleDouble:
    axes = tuple(attrs["axes"])
    kept = [n for i, n in enumerate(x.shape) if i not in axes]
    members = x.moved(lambda part: np.moveaxis(part, axes, range(len(axes))).reshape(-1, *kept))
    largest = reduce(maximum, (members[i] for i in range(members.shape[0])))
    return largest.reshape([1 if i in axes else n for i, n in enumerate(x.shape)]) if attrs["keepdims"] else largest


def floor(x: DoubleDouble) -> DoubleDouble:
    """The largest whole number up to x; not known where the error reaches over one.

    high is the double nearest to high + low, so that no whole number lies between the two unless it is high itself.
    """
    ends = []
    for end in (x - 2 * x.error, x + 2 * x.error) if x.error.any() else (x,):
        low = np.floor(end.low)
        whole = np.floor(end.high)
        ends.append(exactly(whole) + np.where(whole == end.high, low, 0.0))
    left, right = ends[0], ends[-1]
    same = (left.high == right.high) & (left.low == right.low)
    return DoubleDouble(left.high, left.low, np.where(same, 0.0, np.inf))


def round_half_even(x: DoubleDouble) -> DoubleDouble:
    """The nearest whole number, the even one of two."""
    up = floor(x + 0.5)
    tie = (up - x - 0.5).high == 0
    odd = (up * 0.5 - floor(up * 0.5)).high != 0
    unsure = tie & (x.error > 0)
    found = up - np.where(tie & odd, 1.0, 0.0)
    return found.within(np.where(unsure, np.inf, found.error))


def sign(x: DoubleDouble) -> DoubleDouble:
    """-1, 0 or 1; not known where the error reaches over zero."""
    known = (np.abs(x.high) > 2 * x.error) | (x.error == 0)
    return exactly(np.sign(x.high)).within(np.where(known, 0.0, np.inf))


CHOICES: Mapping[str, Callable[..., DoubleDouble]] = {
    "relu": lambda x, params, attrs: maximum(x, 0.0),
    "leaky_relu": lambda x, params, attrs: _two_slopes(x, attrs.get("slope", 0.01)),
    "prelu": lambda x, params, attrs: _two_slopes(x, params["slope"]),
    "clip": _clip,
    "abs": lambda x, params, attrs: maximum(x, -x),
    "reduce_max": _reduce_max,
    "floor": lambda x, params, attrs: floor(x),
    "ceil": lambda x, params, attrs: -floor(-x),
    "round": lambda x, params, attrs: round_half_even(x),
    "sign": lambda x, params, attrs: sign(x),
}


def softmax(x: DoubleDouble, axis: int) -> DoubleDouble:
    """exp(x) over its sum along an axis."""
    powers = function(enclosures.exp, x)
    kept = [1 if i == axis % max(x.ndim, 1) else n for i, n in enumerate(x.shape)]
    return powers / powers.sum(axis % max(x.ndim, 1)).reshape(kept)


def truncate(x: DoubleDouble) -> DoubleDouble:
    """x rounded towards zero."""
    return floor(maximum(x, 0.0)) - floor(maximum(-x, 0.0))


def rounded(x: DoubleDouble, dtype: np.dtype) -> DoubleDouble:
    """The nearest number of a narrower floating-point type, the even one of two; not known where the error reaches over a middle.

    high is the double nearest to high + low, so both are on one side of every middle between two numbers of the type, which is a
    double, unless high is that middle.
    """
    ends = [_nearest(end, dtype) for end in ((x - 2 * x.error, x + 2 * x.error) if x.error.any() else (x,))]
    return exactly(ends[0]).within(np.where(ends[0] == ends[-1], 0.0, np.inf))


def _nearest(x: DoubleDouble, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        nearest, below, above = (
            end.astype(dtype).astype(np.float64) for end in (x.high, np.nextafter(x.high, -np.inf), np.nextafter(x.high, np.inf))
        )
    middle = (below != above) & (below / 2 + above / 2 == x.high)
    return np.where(middle & (x.low > 0), above, np.where(middle & (x.low < 0), below, nearest))


# --- functions of numbers -----------------------------------------------------------------------------------------------------


def function(of: Callable[..., Interval], *arguments: DoubleDouble) -> DoubleDouble:
    """A function of numbers, by its enclosure, element by element; not known where it has none."""
    shape = reduce(broadcast, (x.shape for x in arguments))
    columns = [np.broadcast_to(part, shape).ravel() for x in arguments for part in (x.high, x.low, x.error)]
    numbers, place = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    if len(numbers) > MANY:
        raise ValueError(f"a function of {len(numbers)} different constants takes too long; store its result in the model instead")
    bounds = [_enclosed(of, row) for row in numbers.tolist()]
    found = from_bounds([low for low, _ in bounds], [high for _, high in bounds], (len(bounds),))
    return found.moved(lambda part: part[place.reshape(shape)])


def _enclosed(of: Callable[..., Interval], row: Sequence[float]) -> tuple[Fraction, Fraction]:
    """Bounds of the function at numbers that are each high, low and error; the first above the second where it has none."""
    if not np.isfinite(row).all():
        return Fraction(1), Fraction(0)
    middles = [Fraction(high) + Fraction(low) for high, low in zip(row[::3], row[1::3], strict=True)]
    try:
        found = of(*(Interval(m - Fraction(e), m + Fraction(e)) for m, e in zip(middles, row[2::3], strict=True)))
    except ValueError:
        return Fraction(1), Fraction(0)
    return found.low, found.high


def power(x: DoubleDouble, exponent: DoubleDouble) -> DoubleDouble:
    """x^exponent: by products and roots where exponents are halves of whole numbers that are not large."""
    halves = exponent.exact and bool((np.abs(2 * exponent.high) % 1 == 0).all())
    if halves and np.abs(exponent.high).max(initial=0.0) <= 64:
        found = exactly(np.full(broadcast(x.shape, exponent.shape), np.nan))
        for each in np.unique(exponent.high).tolist():
            found = where(exponent.high == each, x**each, found)
        return found
    whole = np.where(exponent.high % 2 == 1, -1.0, np.where(exponent.high % 2 == 0, 1.0, np.nan))
    size = function(enclosures.power, maximum(x, -x), exponent)
    return where(x.high < 0, size * np.where(exponent.low == 0, whole, np.nan), size)


def _softplus(x: DoubleDouble, beta: float, threshold: float) -> DoubleDouble:
    """log(1 + exp(beta x)) / beta, and x beyond beta x = threshold, as torch defines it."""
    stretched = x * beta
    beyond = stretched - threshold
    inside = function(enclosures.softplus, where(beyond.high > 0, 0.0, stretched)) / beta
    found = where(beyond.high > 0, x, inside)
    return found.within(np.where(np.abs(beyond.high) <= 2 * beyond.error, np.inf, found.error)) if np.isfinite(threshold) else found


def _exponential_unit(x: DoubleDouble, alpha: float = 1.0, gamma: float = 1.0, width: float = 1.0) -> DoubleDouble:
    below = function(lambda y: enclosures.exp(y) - 1, minimum(x, 0.0) / width)
    return (maximum(x, 0.0) + below * alpha) * gamma


SELU = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}

FUNCTIONS: Mapping[str, Callable[[Interval], Interval]] = {
    "exp": enclosures.exp,
    "log": enclosures.log,
    "sin": enclosures.sin,
    "cos": enclosures.cos,
    "tan": lambda x: enclosures.sin(x) / enclosures.cos(x),
    "atan": enclosures.atan,
    "erf": enclosures.erf,
    "sigmoid": enclosures.sigmoid,
    "tanh": enclosures.tanh,
    "silu": lambda x: x * enclosures.sigmoid(x),
    "mish": enclosures.mish,
    "gelu": enclosures.gelu,
    "log_sigmoid": lambda x: -enclosures.softplus(-x),
}


def _by_enclosure(of: Callable[[Interval], Interval]) -> Callable[..., DoubleDouble]:
    return lambda x, params, attrs: function(of, x)


CURVES: Mapping[str, Callable[..., DoubleDouble]] = {
    **{name: _by_enclosure(of) for name, of in FUNCTIONS.items()},
    "softplus": lambda x, params, attrs: _softplus(x, attrs.get("beta", 1.0), attrs.get("threshold", np.inf)),
    "gelu_tanh": lambda x, params, attrs: function(lambda y: enclosures.gelu_tanh(y, **attrs), x),
    "elu": lambda x, params, attrs: _exponential_unit(x, **attrs),
    "selu": lambda x, params, attrs: _exponential_unit(x, **{**SELU, **attrs}),
    "celu": lambda x, params, attrs: _exponential_unit(x, attrs.get("alpha", 1.0), width=attrs.get("alpha", 1.0)),
    "softsign": lambda x, params, attrs: x / (1.0 + maximum(x, -x)),
    "hard_sigmoid": lambda x, params, attrs: minimum(maximum(x * attrs["alpha"] + attrs["beta"], 0.0), 1.0),
    "hard_swish": lambda x, params, attrs: x * minimum(maximum(x + 3.0, 0.0), 6.0) / 6.0,
    "sqrt": lambda x, params, attrs: x.sqrt(),
    "reciprocal": lambda x, params, attrs: 1.0 / x,
    "square": lambda x, params, attrs: x * x,
    "pow": lambda x, params, attrs: power(x, exactly(attrs["exponent"])),
}

EXACT: Mapping[str, Callable[..., DoubleDouble]] = {**AFFINE, **CHOICES, **CURVES}
