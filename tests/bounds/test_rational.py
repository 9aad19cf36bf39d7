"""Interval bounds in rational arithmetic: what they say of a point is the network's value, and boxes hold their points."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.bounds.rational import Rational, propagate, rational, work
from certify.graph import Graph, GraphBuilder, GraphError
from certify.graph.evaluate import evaluate
from tests.networks import random_graph

PIECEWISE = ("relu", "leaky_relu", "abs", "clip", "square")


def at(graph: Graph, x: np.ndarray) -> Rational:
    point = [Fraction(float(v)) for v in x.ravel()]
    return propagate(graph, rational(point, point, graph.input_shape))


def ends(found: Rational) -> list[tuple[Fraction, Fraction]]:
    return [found.ends(i) for i in np.ndindex(found.lower.shape)]


@settings(max_examples=40)
@given(st.integers(0, 400), st.booleans())
def test_a_point_has_its_value_and_a_box_holds_its_points(seed: int, curved: bool) -> None:
    graph = random_graph(seed) if curved else random_graph(seed, PIECEWISE)
    random = np.random.default_rng(seed)
    x, radius = random.normal(size=(2, *graph.input_shape))
    low, high = ([Fraction(float(v)) for v in (x + s * abs(radius) / 8).ravel()] for s in (-1, 1))
    value, box, computed = ends(at(graph, x)), ends(propagate(graph, rational(low, high, graph.input_shape))), evaluate(graph, x)
    for (least, most), (lower, upper), y in zip(value, box, computed.ravel().tolist(), strict=True):
        assert lower <= least <= most <= upper
        assert float(least) - 1e-7 * (1 + abs(y)) <= y <= float(most) + 1e-7 * (1 + abs(y))
        assert float(most - least) <= 1e-6 * (1 + abs(y))


@settings(max_examples=40)
@given(st.lists(st.lists(st.floats(-8, 8, width=16), min_size=4, max_size=4), min_size=2, max_size=3), st.floats(-2, 2, width=16))
def test_small_numbers_are_exact(rows: list[list[float]], x: float) -> None:
    """A chain of 2 x 2 maps and ReLUs, against fractions written out; constants of few digits are taken as they are."""
    builder = GraphBuilder()
    node, value = builder.input("x", (1, 2)), [Fraction(x), Fraction("0.1")]
    for row in rows:
        weight = np.array(row, np.float64).reshape(2, 2)
        node = builder.add("relu", [builder.add("linear", [node], {"weight": builder.constant("w", weight)})])
        value = [max(Fraction(0), sum(Fraction(float(w)) * v for w, v in zip(r, value, strict=True))) for r in weight]
    graph = builder.build(node)
    start = [Fraction(x), Fraction("0.1")]
    assert ends(propagate(graph, rational(start, start, (1, 2)))) == [(v, v) for v in value]


def test_what_was_rounded_is_allowed_for() -> None:
    builder = GraphBuilder()
    third = builder.constant("c", np.array([[1 / 3]]))
    graph = builder.build(builder.add("linear", [builder.input("x", (1, 1))], {"weight": third}))
    ((least, most),) = ends(at(graph, np.array([[3.0]])))
    assert least < 1 < most
    assert most - least < Fraction(1, 10**14)


@pytest.mark.parametrize(
    ("op", "attrs", "low", "high", "expected"),
    [
        ("relu", {}, -1, 2, (0, 2)),
        ("square", {}, -1, 2, (0, 4)),
        ("square", {}, 1, 2, (1, 4)),
        ("abs", {}, -3, 2, (0, 3)),
        ("leaky_relu", {"slope": -0.5}, -2, 1, (0, 1)),
        ("clip", {"min": -0.5, "max": 0.75}, -3, 2, (Fraction(-1, 2), Fraction(3, 4))),
        ("tanh", {}, 0, 1000, (0, 1)),
        ("sigmoid", {}, 0, 1000, (Fraction(1, 2), 1)),
        ("elu", {"alpha": 1.0}, -1000, 0, (-1, 0)),
    ],
)
def test_ranges_end_where_they_do(op: str, attrs: dict, low: int, high: int, expected: tuple) -> None:
    builder = GraphBuilder()
    graph = builder.build(builder.add(op, [builder.input("x", (1, 1))], attrs=attrs))
    assert ends(propagate(graph, rational([Fraction(low)], [Fraction(high)], (1, 1)))) == [expected]


def test_what_is_not_defined_is_refused() -> None:
    builder = GraphBuilder()
    graph = builder.build(builder.add("log", [builder.input("x", (1, 1))]))
    with pytest.raises(GraphError, match="log is not defined everywhere"):
        propagate(graph, rational([Fraction(0)], [Fraction(1)], (1, 1)))


def test_work_counts_products() -> None:
    builder, sizes = GraphBuilder(), (3, 5, 2)
    node = builder.input("x", (1, 3))
    for n, m in pairwise(sizes):
        node = builder.add("linear", [node], {"weight": builder.constant("w", np.ones((m, n)))})
    assert work(builder.build(node)) == 3 + 5 * 3 + 2 * 5
