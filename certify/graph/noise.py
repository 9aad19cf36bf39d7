"""How far rounding may move each output of a graph at a point: what a graph and its original may differ by.

Every node gets its value in float64 and a *noise*, what its runtime's value may be away from that. It starts at zero at the input; a
node adds what its own arithmetic rounds and passes on what its inputs have: an affine map in quadrature, as rounding errors of
different elements are independent; any other by what moving its inputs by their noise does, so that behind a kink the noise is as wide
as the function is there, and behind a jump endless. This is no proof: worst cases of deep networks are so wide that nothing would be
compared.

With e = `UNITS` times the machine epsilon, an affine y = Wx + b of n terms rounds by e * sqrt(1 + n / 32) * sqrt(W^2 x^2 + b^2 + y^2)
(ours): partial sums of terms of either sign walk at random, those of one sign grow to y, and a runtime adds up at least some eight
lanes of them side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from certify.graph.evaluate import AFFINE, ELEMENTWISE, apply, in_dtype
from certify.graph.formats import Format
from certify.graph.graph import INPUT, Graph, Node

Array = np.ndarray
Params = Mapping[str, Array]

UNITS = 16.0
LANES = 32.0


@dataclass(frozen=True)
class Noisy:
    """Values at several points in float64, (points, *shape), and how far a runtime's may be away: inf where nothing is known of them."""

    value: Array
    noise: Array


def evaluate_noisy(graph: Graph, points: Sequence[Array], precision: Format) -> Noisy:
    """The output at points of `graph.input_shape`, and how far a runtime of that precision may be from it.

    Constants are converted, and values kept, only as long as they are needed.
    """
    last = {name: node.name for node in graph.nodes for name in (node.name, *node.inputs)}
    x = np.stack(points).astype(np.float64)
    live = {graph.input: Noisy(x, np.zeros(x.shape))}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            if node.op != INPUT:
                params = {role: _constant(graph, name) for role, name in node.params.items()}
                made = _RULES.get(node.op, _other)(node, params, [live[name] for name in node.inputs], precision)
                live[node.name] = _in_range(made, precision)
            for name in node.inputs:
                if last[name] == node.name and name != graph.output:
                    live.pop(name, None)
    return live[graph.output]


def work(graph: Graph) -> int:
    """About how many products one evaluation takes."""
    sizes = {name: np.shape(value) for name, value in graph.constants.items()}
    return sum(_terms(node, sizes) * int(np.prod(node.shape)) for node in graph.nodes)


def _constant(graph: Graph, name: str) -> Array:
    if name in graph.constants:
        return in_dtype(np.asarray(graph.constants[name]), np.dtype(np.float64))
    entry = next(entry for entry in graph.derived if entry.name == name)
    return np.asarray(entry.function(*(_constant(graph, own) for own in entry.inputs)))


def _in_range(noisy: Noisy, precision: Format) -> Noisy:
    """With endless noise where a runtime may overflow, or where rounding decides whether there is a number."""
    beyond = np.abs(noisy.value) + noisy.noise > precision.largest
    return Noisy(noisy.value, np.where(np.isnan(noisy.noise) | beyond, inf, noisy.noise))


_AT_ONCE = frozenset(("linear", "matmul", "scale", "shift", "add", "sub", "mul", *ELEMENTWISE))
"""Operators whose definitions take further axes in front."""


def _apply(node: Node, inputs: Sequence[Array], params: Params) -> Array:
    """The node at every point."""
    if node.op in _AT_ONCE:
        return apply(node, list(inputs), params)
    return np.stack([apply(node, [x[k] for x in inputs], params) for k in range(len(inputs[0]))])


# --- affine maps ---------------------------------------------------------------------------------------------------------------

_WEIGHTS = ("weight", "factor")
_SHIFTS = ("bias", "offset")


def _affine(node: Node, params: Params, inputs: Sequence[Noisy], precision: Format) -> Noisy:
    """In quadrature: the squares of noises and terms go through the map with squared weights."""
    value = _apply(node, [x.value for x in inputs], params)
    terms = _terms(node, {name: np.shape(params[role]) for role, name in node.params.items()})
    unit = np.square(UNITS * precision.epsilon) * (1 + terms / LANES)
    squared = {role: _SQUARES.get(role, _as_it_is)(array, unit) for role, array in params.items()}
    moved = _apply(replace(node, op="add") if node.op == "sub" else node, [_square(x, unit) for x in inputs], squared)
    noise = _rounded(value, moved, unit, terms * precision.least)
    noise[_sums_exactly(params, inputs, terms, precision)] = 0.0
    return Noisy(value, noise)


def _rounded(value: Array, moved: Array, unit: float, least: float) -> Array:
    """The noise of sums of which the squares of noise and rounded terms are known; of zeros alone there is none."""
    noise = np.sqrt(moved + unit * _finite_square(value))
    return noise + least * ((noise > 0) | (value != 0))


_SQUARES: Mapping[str, Callable[[Array, float], Array]] = {
    **dict.fromkeys(_WEIGHTS, lambda array, unit: np.square(array)),
    **dict.fromkeys(_SHIFTS, lambda array, unit: unit * np.square(array)),  # rounded as a term is
}


def _as_it_is(array: Array, unit: float) -> Array:
    return array


def _square(x: Noisy, unit: float) -> Array:
    """The squares of noise and rounded terms."""
    return np.square(x.noise) + unit * _finite_square(x.value)


def _finite_square(value: Array) -> Array:
    """Zero of what is infinite, where the noise is endless already, and of what is no number, of which there is no more to know."""
    return np.where(np.isfinite(value), np.square(value), 0.0)


_TERMS: Mapping[str, Callable[[tuple[int, ...]], int]] = {
    "linear": lambda weight: weight[1],
    "matmul": lambda weight: weight[-2],
    "conv": lambda weight: int(np.prod(weight[1:])),
    "conv_transpose": lambda weight: int(np.prod(weight)) // weight[1],
}


def _terms(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many terms an element of the node sums."""
    weight = shapes.get(node.params.get("weight", ""))
    return max(1, _TERMS[node.op](weight)) if node.op in _TERMS and weight else 1


def _sum(node: Node, params: Params, inputs: Sequence[Noisy], precision: Format) -> Noisy:
    """A sum over axes: an affine map of as many terms as it has."""
    [x] = inputs
    value = _apply(node, [x.value], params)
    terms = x.value.size // max(value.size, 1)
    unit = np.square(UNITS * precision.epsilon) * (1 + terms / LANES)
    moved = _apply(node, [_square(x, unit)], params)
    noise = _rounded(value, moved, unit, terms * precision.least)
    noise[_sums_exactly(params, inputs, terms, precision)] = 0.0
    return Noisy(value, noise)


def _sums_exactly(params: Params, inputs: Sequence[Noisy], terms: int, precision: Format) -> Array:
    """At which points, (points,), no runtime can round: all terms are multiples of a number q, and their sum is below 2 q / epsilon.

    Then every partial sum, in whatever order, is a multiple of q that the format holds. So whole numbers reach jumps unrounded.
    """
    weights = [array for role, array in params.items() if role in _WEIGHTS]
    shifts = [array for role, array in params.items() if role in _SHIFTS]
    constants = (*weights, *shifts)
    if sum(array.size for array in constants) > _MOST or not all(_coarse(array.ravel()[:_GLANCE]) for array in constants):
        return np.zeros(len(inputs[0].value), dtype=bool)
    steps, size = np.full(len(inputs[0].value), inf), np.zeros(len(inputs[0].value))
    for x in inputs:
        flat = x.value.reshape(len(x.value), -1)
        steps = np.where(x.noise.reshape(len(flat), -1).any(axis=1), 0.0, np.minimum(steps, _step(flat)))
        size += terms * np.abs(flat).max(axis=1, initial=0.0)
    for array in weights:
        steps, size = steps * _step(array.reshape(1, -1)), size * np.abs(array).max(initial=0.0)
    for array in shifts:
        steps, size = np.minimum(steps, _step(array.reshape(1, -1))), size + np.abs(array).max(initial=0.0)
    return np.asarray(size < 2 * steps / precision.epsilon)


_GLANCE = 16
_MOST = 1 << 20
"""Constants that are looked at one by one."""


def _coarse(array: Array) -> bool:
    """Whether all are multiples of 2^-12, as trained weights are not."""
    return bool((np.round(array * 4096) == array * 4096).all())


def _step(rows: Array) -> Array:
    """The largest power of two that all numbers of a row are multiples of: (rows,); infinite of zeros, zero where one is not finite."""
    finite = np.isfinite(rows)
    mantissa, exponent = np.frexp(np.where(finite, rows, 1.0))
    whole = np.abs(mantissa * 2.0**53).astype(np.int64)
    lowest = np.ldexp((whole & -whole).astype(np.float64), exponent - 53)
    return np.where(finite, np.where(rows == 0, inf, lowest), 0.0).min(axis=1, initial=inf)


def _move(node: Node, params: Params, inputs: Sequence[Noisy], precision: Format) -> Noisy:
    """What moves elements moves their noise; what it adds has none."""
    plain = replace(node, attrs={**node.attrs, "value": 0.0}) if node.op == "pad" else node
    return Noisy(_apply(node, [x.value for x in inputs], params), _apply(plain, [x.noise for x in inputs], params))


# --- functions -----------------------------------------------------------------------------------------------------------------

_JUMPS = ("sign", "floor", "ceil", "round")


def _exact(x: Array, y: Array) -> Array | float:
    return 0.0


def _relative(x: Array, y: Array) -> Array | float:
    return np.abs(y)


def _absolute(x: Array, y: Array) -> Array | float:
    return 1 + np.abs(y)


def _gate(x: Array, y: Array) -> Array | float:
    return np.abs(x)


def _power(x: Array, y: Array) -> Array | float:
    """A power may be taken as exp(exponent * log x): the exponential multiplies the error of its argument."""
    return np.abs(y) * (1 + np.abs(np.nan_to_num(np.log(np.abs(y)), posinf=0.0, neginf=0.0)))


_ROUNDS: Mapping[str, Callable[[Array, Array], Array | float]] = {
    **dict.fromkeys((*_JUMPS, "relu", "abs"), _exact),
    **dict.fromkeys(("sigmoid", "erf", "softplus", "log_sigmoid", "elu", "selu", "celu", "hard_sigmoid", "sin", "cos"), _absolute),
    **dict.fromkeys(("gelu", "gelu_tanh", "silu", "mish", "hard_swish"), _gate),
    **dict.fromkeys(("exp", "pow"), _power),
}
"""The size of what is rounded, where it is not the result: runtimes compute S shapes and gates with errors of the size of their
limits, and compose them of functions that have such."""
_LEAST: Mapping[Callable[[Array, Array], Array | float], float] = {_exact: 0.0}
"""What may be lost of tiny results, where it is not the least number of the format."""


def _jumps(low: Array, high: Array, moved: Array) -> Array:
    return moved > 0


def _holds_zero(low: Array, high: Array, moved: Array) -> Array:
    return (low <= 0) & (high >= 0)


def _wide(low: Array, high: Array, moved: Array) -> Array:
    """Over a good part of a period anything may come out."""
    return high - low > 1


def _holds_pole(low: Array, high: Array, moved: Array) -> Array:
    return np.floor(low / np.pi + 0.5) != np.floor(high / np.pi + 0.5)


_BREAKS: Mapping[str, Callable[[Array, Array, Array], Array]] = {
    **dict.fromkeys(_JUMPS, _jumps),
    **dict.fromkeys(("reciprocal", "pow", "log", "sqrt"), _holds_zero),
    **dict.fromkeys(("sin", "cos"), _wide),
    "tan": _holds_pole,
}
"""Where, for an argument between low and high, nothing is known of the result, which moved that far: jumps, poles, ends of domains."""


def _elementwise(node: Node, params: Params, inputs: Sequence[Noisy], precision: Format) -> Noisy:
    [x] = inputs
    low, high = x.value - x.noise, x.value + x.noise
    value, *ends = (apply(node, [point], params) for point in (x.value, low, high))
    moved = _largest(ends, value)
    unknown = np.isinf(x.noise)
    if node.op in _BREAKS:
        unknown |= (x.noise > 0) & _BREAKS[node.op](low, high, moved)
    rounds = _ROUNDS.get(node.op, _relative)
    rounded = np.nan_to_num(UNITS * precision.epsilon * rounds(x.value, value))
    least = _LEAST.get(rounds, precision.least) * (value != 0)
    return Noisy(value, np.where(unknown, inf, moved + rounded + least))


def _largest(samples: Iterable[Array], value: Array) -> Array:
    """How far the samples are from the value: endless where only some of them are defined."""
    moved = np.zeros(value.shape)
    for sample in samples:
        distance = np.abs(sample - value)
        if np.isnan(distance).any():
            distance[(np.isnan(sample) & np.isnan(value)) | (sample == value)] = 0.0
            distance[np.isnan(distance)] = inf
        moved = np.maximum(moved, distance)
    return moved


_DRAWS = 4


def _other(node: Node, params: Params, inputs: Sequence[Noisy], precision: Format) -> Noisy:
    """Any operator: what happens when all inputs move by their noise and by rounding, up, down and at random."""
    random = np.random.default_rng(0)
    unit = UNITS * precision.epsilon
    value = _apply(node, [x.value for x in inputs], params)
    noise = [x.noise + unit * np.abs(x.value) for x in inputs]
    signs: list[list[Array | float]] = [[-1.0] * len(inputs), [1.0] * len(inputs)]
    signs += [[random.choice((-1.0, 1.0), x.value.shape) for x in inputs] for _ in range(_DRAWS)]
    samples = (_apply(node, [x.value + s * n for x, s, n in zip(inputs, sign, noise, strict=True)], params) for sign in signs)
    moved = _largest(samples, value)
    moved[np.isnan(value) & any(np.isinf(x.noise).any() for x in inputs)] = inf
    return Noisy(value, moved + np.nan_to_num(unit * np.abs(value)) + precision.least)


def _selection(node: Node, params: Params, inputs: Sequence[Noisy], precision: Format) -> Noisy:
    """A monotone choice among elements, which rounds nothing: between what it gives for the ends of its inputs."""
    value = _apply(node, [x.value for x in inputs], params)
    ends = (_apply(node, [x.value + sign * x.noise for x in inputs], params) for sign in (-1.0, 1.0))
    return Noisy(value, np.where(np.isinf(_apply(node, [x.noise for x in inputs], params)), inf, _largest(ends, value)))


_RULES: Mapping[str, Callable[..., Noisy]] = {
    **dict.fromkeys(AFFINE, _affine),
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(("reshape", "transpose", "take", "concat", "pad"), _move),
    "reduce_sum": _sum,
    "reduce_max": _selection,
}
