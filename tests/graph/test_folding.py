"""Folded constants keep their digits: they are those of real arithmetic on the constants as stored, whatever cancels."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.bounds.compute import compute_bounds
from certify.bounds.rounding import OUTWARD
from certify.graph import INPUT, Graph, GraphBuilder
from certify.graph.double_double import exactly
from certify.graph.passes import normalise
from certify.io import lowering
from certify.operators.program import bind
from certify.sets import LpBall

UNIT = Fraction(1, 2**53)
HOSTILE = [0.0, 1.0, -1.0, 0.1, -0.1, 1 + 2.0**-30, 1 - 2.0**-30, -1 - 2.0**-30, 1e8, -1e8, 1e-7, 1 / 3, 3.0, -7.5]
NUMBERS = st.one_of(st.sampled_from(HOSTILE), st.floats(-2, 2, width=32))
Matrix = list[list[Fraction]]
Affine = tuple[Matrix, list[Fraction]]


def fractions(values: np.ndarray) -> list[Fraction]:
    return [Fraction(float(v)) for v in values.ravel()]


def inverse_root(value: Fraction) -> Fraction:
    """1 / sqrt of a fraction, to 90 digits."""
    with localcontext() as context:
        context.prec = 90
        return Fraction((Decimal(value.denominator) / Decimal(value.numerator)).sqrt())


class Reals:
    """A chain of affine maps under construction, as a graph and in exact arithmetic."""

    def __init__(self, size: int) -> None:
        self.builder = GraphBuilder()
        self.node = self.builder.input("x", (1, size))
        self.matrix: Matrix = [[Fraction(i == j) for j in range(size)] for i in range(size)]
        self.bias: list[Fraction] = [Fraction(0)] * size

    @property
    def size(self) -> int:
        return len(self.bias)

    def _add(self, op: str, **params: np.ndarray) -> None:
        names = {role: self.builder.constant(role, value) for role, value in params.items()}
        self.node = self.builder.add(op, [self.node], names)

    def linear(self, weight: np.ndarray, bias: np.ndarray) -> None:
        self._add("linear", weight=weight, bias=bias)
        rows = [fractions(row) for row in weight]
        self.matrix = [
            [sum((w * line[j] for w, line in zip(row, self.matrix, strict=True)), Fraction(0)) for j in range(len(self.matrix[0]))]
            for row in rows
        ]
        self.bias = [
            sum((w * b for w, b in zip(row, self.bias, strict=True)), Fraction(0)) + own
            for row, own in zip(rows, fractions(bias), strict=True)
        ]

    def scale(self, factor: np.ndarray) -> None:
        self._add("scale", factor=factor)
        self._times(fractions(factor))

    def shift(self, offset: np.ndarray) -> None:
        self._add("shift", offset=offset)
        self._plus(fractions(offset))

    def batch_norm(self, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> None:
        names = [self.builder.constant("stored", value) for value in (gamma, beta, mean, variance)]
        self.node = lowering.batch_norm(self.builder, self.node, *names, 1e-5, "norm")
        self._plus([-m for m in fractions(mean)])
        self._times([g * inverse_root(v + Fraction(1e-5)) for g, v in zip(fractions(gamma), fractions(variance), strict=True)])
        self._plus(fractions(beta))

    def at(self, x: np.ndarray) -> list[Fraction]:
        point = fractions(x)
        return [sum((a * v for a, v in zip(row, point, strict=True)), b) for row, b in zip(self.matrix, self.bias, strict=True)]

    def graph(self) -> Graph:
        return normalise(self.builder.build(self.node))

    def _times(self, factor: list[Fraction]) -> None:
        self.matrix = [[f * a for a in row] for f, row in zip(factor, self.matrix, strict=True)]
        self.bias = [f * b for f, b in zip(factor, self.bias, strict=True)]

    def _plus(self, offset: list[Fraction]) -> None:
        self.bias = [b + o for b, o in zip(self.bias, offset, strict=True)]


@st.composite
def chains(draw: st.DrawFn) -> Reals:
    """A linear layer and some maps behind it, of constants in single or double precision that cancel often."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    chain = Reals(draw(st.integers(1, 3)))

    def array(*shape: int) -> np.ndarray:
        count = int(np.prod(shape))
        return np.array(draw(st.lists(NUMBERS, min_size=count, max_size=count)), dtype).reshape(shape)

    def step(kind: str) -> None:
        n = chain.size
        if kind == "linear":
            rows = draw(st.integers(1, 3))
            chain.linear(array(rows, n), array(rows))
        elif kind == "batch_norm":
            chain.batch_norm(array(n), array(n), array(n), np.abs(array(n)))
        elif kind == "undo":  # what the bias was, to double precision: all but its last digits go
            chain.shift(np.array([-float(b) for b in chain.bias]))
        else:
            getattr(chain, kind)(array(n))

    step(draw(st.sampled_from(["linear", "scale"])))
    for kind in draw(st.lists(st.sampled_from(["linear", "scale", "shift", "batch_norm", "undo"]), min_size=1, max_size=5)):
        step(kind)
    return chain


def near(stored: Fraction, real: Fraction) -> bool:
    return abs(stored - real) <= 4 * UNIT * abs(real)


def single_layer(graph: Graph) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Weight and bias of a graph that is one linear layer."""
    nodes = [node for node in graph.nodes if node.op != INPUT]
    if [node.op for node in nodes] == ["linear"]:
        (node,) = nodes
        weight = graph.constants[node.params["weight"]]
        yield weight, graph.constants[node.params["bias"]] if "bias" in node.params else np.zeros(len(weight))


@settings(max_examples=60, deadline=None)
@given(chains())
def test_what_becomes_one_layer_has_the_constants_of_real_arithmetic(chain: Reals) -> None:
    for weight, bias in single_layer(chain.graph()):
        assert all(near(s, r) for s, r in zip(fractions(weight), [a for row in chain.matrix for a in row], strict=True))
        assert all(near(s, r) for s, r in zip(fractions(bias), chain.bias, strict=True))


@settings(max_examples=60, deadline=None)
@given(chains(), st.sampled_from([0.0, 1.0, -0.5, 1e-9]))
def test_bounds_over_a_point_hold_its_real_output(chain: Reals, value: float) -> None:
    program = bind(chain.graph(), torch.float64)
    x = torch.full((1, *program.graph.input_shape), value, dtype=torch.float64)
    for method in ("ibp", "crown"):
        lower, upper = compute_bounds(program, LpBall(x, eps=0.0), method, rounding=OUTWARD)
        for low, real, high in zip(lower.ravel().tolist(), chain.at(x.numpy()), upper.ravel().tolist(), strict=True):
            assert Fraction(low) <= real <= Fraction(high)


def test_layers_merge_although_their_products_cancel() -> None:
    chain = Reals(2)
    tiny = 1 + 2.0**-30
    chain.linear(np.array([[tiny, 0.1], [1.0, 0.1], [0.3, 1e8]]), np.array([1e8, 1e8, 0.1]))
    chain.linear(np.array([[tiny, -tiny, 0.0], [1e8, -1e8, 1e-9]]), np.array([0.0, -1e-10]))
    ((weight, bias),) = single_layer(chain.graph())
    assert weight[0, 0] == float(chain.matrix[0][0])
    assert bias.tolist() == [float(b) for b in chain.bias]


def test_batch_norm_that_takes_the_bias_of_its_layer_away_is_folded() -> None:
    chain = Reals(1)
    chain.linear(np.array([[0.3]], np.float32), np.array([0.1], np.float32))
    taken = (Fraction(float(np.float32(0.1))) - 1) * inverse_root(Fraction(0.7) + Fraction(1e-5))
    chain.batch_norm(np.ones(1), -np.array([float(taken)], np.float32), np.ones(1), np.array([0.7]))
    ((_, bias),) = single_layer(chain.graph())
    assert abs(bias[0]) < 1e-7
    assert near(Fraction(bias[0]), chain.bias[0])


def test_what_cannot_be_known_stays_apart() -> None:
    builder = GraphBuilder()
    root = exactly(2.0).sqrt()
    scaled = lowering.scale(builder, lowering.shift(builder, builder.input("x", (1, 1)), root, "a"), root, "scaled")
    graph = normalise(builder.build(lowering.shift(builder, scaled, -2.0, "b")))  # sqrt(2)^2 - 2, of which 32 digits are zero
    assert [node.op for node in graph.nodes if node.op != INPUT] == ["shift", "scale", "shift"]


@pytest.mark.parametrize("op", ["scale", "shift"])
def test_what_is_one_or_zero_to_a_double_only_is_kept(op: str) -> None:
    chain = Reals(1)
    tiny = 2.0**-30
    chain.linear(np.ones((1, 1)), np.ones(1))
    if op == "scale":
        chain.scale(np.array([1 + tiny]))
        chain.scale(np.array([1 - tiny]))  # together 1 - 2^-60
    else:
        chain.shift(np.array([tiny**2]))  # with the bias 1 + 2^-60
    chain.shift(-np.ones(1))
    program = bind(chain.graph(), torch.float64)
    lower, upper = compute_bounds(program, LpBall(torch.zeros(1, 1, 1, dtype=torch.float64), eps=0.0), rounding=OUTWARD)
    assert Fraction(lower.item()) <= chain.bias[0] <= Fraction(upper.item())
    assert (lower < 0 if op == "scale" else upper > 0).all()
