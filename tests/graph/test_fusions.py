"""What is fused is exactly the same function, in real arithmetic: constants that are nearly right are not right."""

from __future__ import annotations

from dataclasses import replace
from math import pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf

from certify.graph import Graph, GraphBuilder
from certify.graph.passes import normalise
from tests.graph.reals import real_value

TINY = 2.0**-60
NEARLY = st.sampled_from([0.0, 0.0, 2.0**-52, 2.0**-23, -(2.0**-24), 1e-6, 1e-3])
"""Relative changes of a constant; mostly none."""
OFFSETS = st.sampled_from([0.0, 0.0, 0.0, TINY, -TINY, 2.0**-30, 1e-9, 1.0])
SIZES = st.sampled_from([1.0, 1.0, 0.5, 3.0, TINY, 1 / TINY, 1.702])
POINTS = (-60.0, -20.5, -3.1, -1.0, -0.3, 1e-3, 0.7, 1.05, 2.9, 3.3, 20.7, 55.0)


class Spelling:
    """A graph of one element under construction."""

    def __init__(self) -> None:
        self.builder = GraphBuilder()
        self.x = self.builder.input("x", (1, 1))

    def __call__(self, op: str, *inputs: str, **attrs: float) -> str:
        return self.builder.add(op, inputs, attrs=attrs)

    def scale(self, x: str, factor: float) -> str:
        return self.builder.add("scale", [x], {"factor": self.builder.constant("factor", np.array([factor]))})

    def shift(self, x: str, offset: float) -> str:
        return self.builder.add("shift", [x], {"offset": self.builder.constant("offset", np.array([offset]))})

    def hidden(self, x: str, offset: float) -> str:
        """x + offset, as (0 * x + offset + 1) - 1 + x: what a sum in double precision loses."""
        nothing = self.scale(self.x, 0.0)
        return self("add", self("add", self.shift(self.shift(nothing, offset), 1.0), self.shift(nothing, -1.0)), x)

    def graph(self, output: str) -> Graph:
        return self.builder.build(output)


def cubic(g: Spelling, x: str, first: float, third: float) -> str:
    """first * (x + third * x^3)"""
    return g.scale(g("add", x, g.scale(g("mul", g("mul", x, x), x), third)), first)


@st.composite
def gates(draw: st.DrawFn) -> Graph:
    """x times something that is a gate of x, or nearly one."""
    g = Spelling()
    x = g.scale(g.x, draw(SIZES))
    argument = g.hidden(g.scale(x, draw(SIZES) / draw(SIZES)), draw(OFFSETS))
    one = draw(st.sampled_from([1.0, 1.0, 1.0 + 2.0**-50, 1 - 2.0**-24]))
    kind = draw(st.sampled_from(["silu", "mish", "gelu", "gelu_tanh", "hard_swish", "hard_sigmoid", "softplus"]))
    if kind == "silu":
        gate = g("sigmoid", argument)
    elif kind == "mish":
        attrs = draw(st.sampled_from([{}, {"beta": 1.0, "threshold": 20.0}, {"beta": 1.0, "threshold": 1.0}, {"beta": 1.5}]))
        gate = g("tanh", g("softplus", argument, **attrs))
    elif kind == "softplus":
        gate = g("tanh", g("log", g.hidden(g.shift(g("exp", argument), one), draw(OFFSETS))))
    elif kind == "gelu":
        gate = g.shift(g("erf", g.scale(argument, 1 / sqrt(2) * (1 + draw(NEARLY)))), one)
    elif kind == "gelu_tanh":
        factors = sqrt(2 / pi) * (1 + draw(NEARLY)), 0.044715 * (1 + draw(NEARLY))
        gate = g.shift(g("tanh", cubic(g, argument, *factors)), one)
    elif kind == "hard_swish":
        gate = g("clip", g.hidden(g.shift(argument, 3.0), draw(OFFSETS)), min=0.0, max=6.0 * (1 + draw(NEARLY)))
    else:
        gate = g("hard_sigmoid", argument, alpha=1 / 6 * (1 + draw(NEARLY)), beta=0.5 * (1 + draw(NEARLY)))
    product = [x, g.scale(gate, draw(SIZES))]
    return g.graph(g.scale(g("mul", *draw(st.permutations(product))), draw(SIZES)))


def felt(graph: Graph, x: float, value: mpf) -> mpf:
    """How much the output changes at x when each constant changes by 2^-50 of itself, more than rounding it once does."""
    changes = mpf(0)
    for name, constant in graph.constants.items():
        for nearly in (1 + 2.0**-50, 1 - 2.0**-50):
            changes += abs(real_value(replace(graph, constants={**graph.constants, name: constant * nearly}), x) - value)
    return changes


@given(gates(), st.sampled_from(POINTS), st.sampled_from([TINY, 1.0, 1.0, 1 / TINY]))
def test_a_gate_that_is_fused_is_the_same_function(graph: Graph, x: float, scale: float) -> None:
    wanted, found = (real_value(g, x * scale) for g in (graph, normalise(graph)))
    # 1 + erf(x) is known to so many digits only; mish leaves out what torch's softplus does beyond its threshold.
    allowed = 4 * felt(graph, x * scale, wanted) + mpf(2) ** -83 * abs(wanted) + mpf(10) ** -300
    assert abs(found - wanted) <= allowed


def test_an_offset_that_only_real_arithmetic_sees_is_kept() -> None:
    g = Spelling()
    inside = g.shift(g.shift(g("exp", g.x), TINY), 1.0)
    graph = g.graph(g.scale(g("log", inside), 1 / TINY))
    assert "log" in [node.op for node in normalise(graph).nodes]
    assert real_value(graph, -60.0) > 0.9


def test_the_two_numbers_of_gelu_with_tanh_stay_those_of_the_file() -> None:
    factor, third = (np.float32(c) for c in (sqrt(2 / pi), 0.044715))
    for _ in range(6):
        factor = np.nextafter(factor, np.float32(0))
    g = Spelling()
    gate = g.shift(g("tanh", cubic(g, g.x, float(factor), float(third))), 1.0)
    graph = g.graph(g.scale(g("mul", g.x, gate), 0.5))
    result = normalise(graph)
    assert [node.op for node in result.nodes] == ["input", "scale", "gelu_tanh", "scale"]
    for x in POINTS:
        assert abs(real_value(result, x) - real_value(graph, x)) <= 1e-13 * abs(real_value(graph, x))


@pytest.mark.parametrize("exponent", [float("inf"), float("nan"), 2.0**53, 0.5, -2.0, 0.0])
def test_powers_that_are_no_small_whole_numbers_are_not_merged(exponent: float) -> None:
    g = Spelling()
    graph = g.graph(g("mul", g("pow", g.x, exponent=exponent), g.x))
    assert [node.op for node in normalise(graph).nodes][:2] == ["input", "pow"]
