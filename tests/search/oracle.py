"""The truth about small piecewise-linear networks, found without the engine: every affine piece is visited, one linear program each.

Also random networks and random properties for which that is quick.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from certify.graph import INPUT, Graph, GraphBuilder, Node
from certify.graph.evaluate import AFFINE, apply, bound_constants
from certify.model import Model
from certify.specification import Boxes, Clause, Rationals, Specification, atom
from certify.specification.specification import flat_declaration

Array = NDArray[np.float64]

PIECES = {
    "relu": lambda node: [(0.0, 0.0, -inf, 0.0), (1.0, 0.0, 0.0, inf)],
    "leaky_relu": lambda node: [(node.attrs["slope"], 0.0, -inf, 0.0), (1.0, 0.0, 0.0, inf)],
    "abs": lambda node: [(-1.0, 0.0, -inf, 0.0), (1.0, 0.0, 0.0, inf)],
    "clip": lambda node: [
        (0.0, node.attrs["min"], -inf, node.attrs["min"]),
        (1.0, 0.0, node.attrs["min"], node.attrs["max"]),
        (0.0, node.attrs["max"], node.attrs["max"], inf),
    ],
}
"""slope, intercept, from, to of every piece of a function of one variable."""


@dataclass(frozen=True)
class Piece:
    """A part of a box on which the network is affine: rows @ x + shift <= 0 there, and the forms (inputs + 1, outputs), constant last."""

    rows: Array
    shift: Array
    outputs: Array


def pieces(graph: Graph, lower: Array, upper: Array) -> Iterator[Piece]:
    """The affine pieces of the network that cover the box (flat ends); some may be of no volume."""
    size = len(lower)
    forms = np.vstack([np.eye(size), np.zeros(size)]).reshape(size + 1, *graph.input_shape)
    yield from _visit(graph, 0, {graph.input: forms}, np.zeros((0, size + 1)), lower, upper)


def _visit(graph: Graph, number: int, forms: dict[str, Array], limits: Array, lower: Array, upper: Array) -> Iterator[Piece]:
    """Depth first through the nodes in order; `limits` are forms that are <= 0 on the part considered."""
    if number == len(graph.nodes):
        yield Piece(limits[:, :-1], limits[:, -1], forms[graph.output].reshape(len(lower) + 1, -1))
        return
    node = graph.nodes[number]
    if node.op == INPUT:
        yield from _visit(graph, number + 1, forms, limits, lower, upper)
        return
    choices = _affine(graph, node, forms) if node.op in AFFINE else _choices(node, forms[node.inputs[0]], limits, lower, upper)
    for value, more in choices:
        yield from _visit(graph, number + 1, {**forms, node.name: value}, more if more is not None else limits, lower, upper)


def _affine(graph: Graph, node: Node, forms: dict[str, Array]) -> Iterator[tuple[Array, Array | None]]:
    constants = bound_constants(graph, np.dtype(np.float64))
    params = {role: constants[name] for role, name in node.params.items()}
    inputs = [forms[name] for name in node.inputs]
    zero = apply(node, [np.zeros_like(value[0]) for value in inputs], params)
    linear = [apply(node, [value[k] for value in inputs], params) - zero for k in range(len(inputs[0]) - 1)]
    yield np.stack([*linear, apply(node, [value[-1] for value in inputs], params)]), None


def _choices(node: Node, x: Array, limits: Array, lower: Array, upper: Array) -> Iterator[tuple[Array, Array]]:
    """The ways to choose a piece for every element of a nonlinear node, those that some point of the box has."""
    flat = x.reshape(len(x), -1).T
    options = _member_options(node, x) if node.op == "reduce_max" else [_unary_options(node, form) for form in flat]
    for chosen, more in _combine(options, limits, lower, upper):
        yield np.array(chosen).T.reshape(len(x), *node.shape), more


Option = tuple[Array, Array]
"""The value's form, and forms that are <= 0 where it is the value."""


def _unary_options(node: Node, form: Array) -> list[Option]:
    constant = np.zeros(len(form))
    constant[-1] = 1
    options = []
    for slope, intercept, start, end in PIECES[node.op](node):
        limits = [sign * (form - end_ * constant) for sign, end_ in ((-1, start), (1, end)) if np.isfinite(end_)]
        options.append((slope * form + intercept * constant, np.array(limits)))
    return options


def _member_options(node: Node, x: Array) -> list[list[Option]]:
    axes = [axis + 1 for axis in node.attrs["axes"]]
    kept = [axis for axis in range(1, x.ndim) if axis not in axes]
    groups = x.transpose(0, *kept, *axes).reshape(len(x), int(np.prod(node.shape)), -1)
    return [[(g[:, j], (g - g[:, j : j + 1]).T) for j in range(g.shape[1])] for g in groups.transpose(1, 0, 2)]


def _combine(options: Sequence[list[Option]], limits: Array, lower: Array, upper: Array) -> Iterator[tuple[list[Array], Array]]:
    if not options:
        yield [], limits
        return
    for value, more in options[0]:
        if len(more) and (_least(more, lower, upper) > 0).any():
            continue
        cutting = more[-_least(-more, lower, upper) > 0] if len(more) else more
        joined = np.concatenate([limits, cutting])
        if len(cutting) and not _feasible(joined, lower, upper):
            continue
        for rest, final in _combine(options[1:], joined, lower, upper):
            yield [value, *rest], final


def _least(forms: Array, lower: Array, upper: Array) -> Array:
    rows = forms[:, :-1]
    return np.where(rows > 0, rows * lower, rows * upper).sum(axis=1) + forms[:, -1]


def _feasible(limits: Array, lower: Array, upper: Array) -> bool:
    solved = linprog(np.zeros(len(lower)), limits[:, :-1], -limits[:, -1] + 1e-9, bounds=np.column_stack([lower, upper]))
    return bool(solved.status == 0)


def violation(graph: Graph, lower: Array, upper: Array, rows: Array, rhs: Array) -> float:
    """The least over the box of max_j (rows_j @ y - rhs_j), to about 1e-8: a clause is satisfied somewhere where it is <= 0."""
    best = inf
    for piece in pieces(graph, lower, upper):
        atoms = rows @ piece.outputs.T
        matrix = np.vstack(
            [np.column_stack([atoms[:, :-1], -np.ones(len(rows))]), np.column_stack([piece.rows, np.zeros(len(piece.rows))])]
        )
        limit = np.concatenate([rhs - atoms[:, -1], -piece.shift])
        bounds = [*zip(lower, upper, strict=True), (None, None)]
        solved = linprog(np.append(np.zeros(len(lower)), 1.0), matrix, limit, bounds=bounds)
        best = min(best, float(solved.fun)) if solved.status == 0 else best
    return best


def small_network(seed: int, sizes: Sequence[int], activation: str = "relu") -> Model:
    """A random fully connected network with float32 weights; "max" takes the larger of neighbouring neurons."""
    rng, builder = np.random.default_rng(seed), GraphBuilder()
    node = builder.input("x", (1, sizes[0]))
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        last = layer == len(sizes) - 2
        width = fan_out if last or activation != "max" else 2 * fan_out
        weight = builder.constant("w", (rng.normal(size=(width, fan_in)) * (2 / fan_in) ** 0.5).astype(np.float32))
        node = builder.add(
            "linear", [node], {"weight": weight, "bias": builder.constant("b", rng.normal(0, 0.3, width).astype(np.float32))}
        )
        node = node if last else _activated(builder, node, activation, fan_out)
    return Model(builder.build(node))


def _activated(builder: GraphBuilder, node: str, activation: str, width: int) -> str:
    if activation == "max":
        pairs = builder.add("reshape", [node], attrs={"shape": (1, width, 2)})
        return builder.add("reduce_max", [pairs], attrs={"axes": (2,), "keepdims": False})
    return builder.add(
        activation, [node], attrs={"leaky_relu": {"slope": 0.25}, "clip": {"min": -0.5, "max": 0.75}}.get(activation, {})
    )


def boxed(lower: Array, upper: Array, clauses: Sequence[Sequence[tuple[Array, float]]], strict: bool = False) -> Specification:
    """The disjunction over clauses of the conjunction of row @ y <= rhs, over boxes (count, inputs); clause k is about box k % count."""
    made = [
        Clause(
            k % len(lower),
            tuple(
                atom({i: Fraction(float(c)) for i, c in enumerate(row)}, {}, Fraction(float(rhs)), strict) for row, rhs in clause
            ),
        )
        for k, clause in enumerate(clauses)
    ]
    outputs = len(clauses[0][0][0])
    inputs = Boxes(Rationals.of_floats(lower), Rationals.of_floats(upper))
    return Specification(inputs, tuple(made), outputs, flat_declaration(lower.shape[1], outputs))
