"""How far rounding may move each output of a graph at a point: what a graph and its original may differ by.

Every node gets its value in float64 and a *noise*, what its runtime's value may be away from that. It starts at zero at the input; a
node adds what its own arithmetic rounds and passes on what its inputs have: an affine map in quadrature, as rounding errors of
different elements are independent; any other by what moving its inputs by their noise does, so that behind a kink or a jump the noise
is as wide as the function is there. This is no proof: worst cases of deep networks are so wide that nothing would be compared.

With e = `UNITS` times the machine epsilon, an affine y = Wx + b of n terms rounds by e * sqrt(1 + n / 32) * sqrt(W^2 x^2 + b^2 + y^2)
(ours): partial sums of terms of either sign walk at random, those of one sign grow to y, and a runtime adds up at least some eight
lanes of them side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    """An array in float64, and what a runtime's values may be away from it: inf where nothing is known of them."""

    value: Array
    noise: Array


def evaluate_noisy(graph: Graph, points: Sequence[Array], precision: Format) -> list[Noisy]:
    """The output at each point of `graph.input_shape`, and how far a runtime of that precision may be from it.

    Constants are converted, and values kept, only as long as they are needed.
    """
    last = {name: node.name for node in graph.nodes for name in (node.name, *node.inputs)}
    live = {graph.input: [Noisy(x.astype(np.float64), np.zeros(x.shape)) for x in points]}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            if node.op != INPUT:
                params = {role: _constant(graph, name) for role, name in node.params.items()}
                inputs = list(zip(*(live[name] for name in node.inputs), strict=True))
                made = _RULES.get(node.op, _other)(node, params, inputs, precision)
                live[node.name] = [_in_range(noisy, precision) for noisy in made]
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


# --- affine maps ---------------------------------------------------------------------------------------------------------------

_WEIGHTS = ("weight", "factor")
_SHIFTS = ("bias", "offset")


def _affine(node: Node, params: Params, inputs: Sequence[tuple[Noisy, ...]], precision: Format) -> Iterator[Noisy]:
    """In quadrature: the squares of noises and terms go through the map with squared weights."""
    squared = Node(node.name, "add" if node.op == "sub" else node.op, node.inputs, node.shape, node.params, _homogeneous(node))
    weights = {role: np.square(value) for role, value in params.items() if role in _WEIGHTS}
    other = {role: value for role, value in params.items() if role not in (*_WEIGHTS, *_SHIFTS)}
    shifts = {role: np.square(value) for role, value in params.items() if role in _SHIFTS}
    terms = _terms(node, {name: np.shape(params[role]) for role, name in node.params.items()})
    unit = np.square(UNITS * precision.epsilon) * (1 + terms / LANES)
    for point in inputs:
        value = apply(node, [x.value for x in point], params)
        if node.op in _MOVES:
            yield Noisy(value, apply(squared, [x.noise for x in point], other))
            continue
        spread = [_square(x, unit) for x in point]
        # What the map makes of squares, its own shift rounded as its terms are.
        moved = apply(squared, spread, {**other, **weights, **{role: unit * value for role, value in shifts.items()}})
        yield Noisy(value, np.sqrt(moved + unit * _finite_square(value)) + terms * precision.least)


def _square(x: Noisy, unit: float) -> Array:
    """The squares of noise and rounded terms."""
    return np.square(x.noise) + unit * _finite_square(x.value)


def _finite_square(value: Array) -> Array:
    """Zero of what is infinite, where the noise is endless already, and of what is no number, of which there is no more to know."""
    return np.where(np.isfinite(value), np.square(value), 0.0)


def _homogeneous(node: Node) -> Mapping[str, object]:
    """The attributes without what the map adds to its input."""
    return {**node.attrs, "value": 0.0} if node.op == "pad" else node.attrs


_MOVES = ("reshape", "transpose", "take", "concat", "pad")

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


def _sum(node: Node, params: Params, inputs: Sequence[tuple[Noisy, ...]], precision: Format) -> Iterator[Noisy]:
    """A sum over axes: an affine map of as many terms as it has."""
    for ((x,),) in zip(inputs, strict=True):
        value = apply(node, [x.value], params)
        terms = x.value.size // max(value.size, 1)
        unit = np.square(UNITS * precision.epsilon) * (1 + terms / LANES)
        moved = apply(node, [_square(x, unit)], params)
        yield Noisy(value, np.sqrt(moved + unit * _finite_square(value)) + terms * precision.least)


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
    **dict.fromkeys(_JUMPS, _exact),
    **dict.fromkeys(("sigmoid", "erf", "softplus", "log_sigmoid", "elu", "selu", "celu", "hard_sigmoid", "sin", "cos"), _absolute),
    **dict.fromkeys(("gelu", "gelu_tanh", "silu", "mish", "hard_swish"), _gate),
    **dict.fromkeys(("exp", "pow"), _power),
}
"""The size of what is rounded, where it is not the result: runtimes compute S shapes and gates with errors of the size of their
limits, and compose them of functions that have such."""


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
_PARTS = (-1.0, -0.5, 0.5, 1.0)


def _elementwise(node: Node, params: Params, inputs: Sequence[tuple[Noisy, ...]], precision: Format) -> Iterator[Noisy]:
    rounds, breaks = _ROUNDS.get(node.op, _relative), _BREAKS.get(node.op)
    for (x,) in inputs:
        value = apply(node, [x.value], params)
        samples = [apply(node, [x.value + part * x.noise], params) for part in _PARTS] if x.noise.any() else [value]
        moved = _largest(samples, value)
        unknown = ~np.isfinite(x.noise)
        if breaks is not None:
            unknown |= (x.noise > 0) & breaks(x.value - x.noise, x.value + x.noise, moved)
        noise = moved + np.nan_to_num(UNITS * precision.epsilon * rounds(x.value, value)) + precision.least
        yield Noisy(value, np.where(unknown, inf, noise))


def _largest(samples: Iterable[Array], value: Array) -> Array:
    """How far the samples are from the value: endless where only some of them are defined."""
    moved = np.zeros(value.shape)
    for sample in samples:
        both = np.isnan(sample) & np.isnan(value)
        distance = np.where(both | (sample == value), 0.0, np.abs(sample - value))
        moved = np.maximum(moved, np.where(np.isnan(distance), inf, distance))
    return moved


_DRAWS = 4


def _other(node: Node, params: Params, inputs: Sequence[tuple[Noisy, ...]], precision: Format) -> Iterator[Noisy]:
    """Any operator: what happens when all inputs move by their noise and by rounding, up, down and at random."""
    random = np.random.default_rng(0)
    unit = UNITS * precision.epsilon
    for point in inputs:
        value = apply(node, [x.value for x in point], params)
        noise = [x.noise + unit * np.abs(x.value) for x in point]
        signs = [[sign * np.ones(x.value.shape) for x in point] for sign in (-1.0, 1.0)]
        signs += [[random.choice((-1.0, 1.0), x.value.shape) for x in point] for _ in range(_DRAWS)]
        samples = (apply(node, [x.value + s * n for x, s, n in zip(point, sign, noise, strict=True)], params) for sign in signs)
        yield Noisy(value, _largest(samples, value) + np.nan_to_num(unit * np.abs(value)) + precision.least)


def _selection(node: Node, params: Params, inputs: Sequence[tuple[Noisy, ...]], precision: Format) -> Iterator[Noisy]:
    """A monotone choice among elements, which rounds nothing: between what it gives for the ends of its inputs."""
    for point in inputs:
        value = apply(node, [x.value for x in point], params)
        ends = ([x.value + sign * x.noise for x in point] for sign in (-1.0, 1.0))
        yield Noisy(value, _largest((apply(node, end, params) for end in ends), value))


_RULES: Mapping[str, Callable[..., Iterator[Noisy]]] = {
    **dict.fromkeys(AFFINE, _affine),
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    "reduce_sum": _sum,
    "reduce_max": _selection,
}
