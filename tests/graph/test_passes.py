"""Passes leave the function as it is, and leave the nodes that they promise."""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.graph import INPUT, Graph, GraphBuilder
from certify.graph.evaluate import evaluate
from certify.graph.passes import normalise
from certify.graph.passes.maxima_to_relu import maxima_to_relu
from certify.operators.program import bind

RANDOM = np.random.default_rng(0)


def rand(*shape: int) -> np.ndarray:
    return RANDOM.uniform(-1, 1, shape)


class Chain:
    """Builds a graph as one expression after another; constants are given as arrays."""

    def __init__(self, *shape: int) -> None:
        self.builder = GraphBuilder()
        self.x = self.builder.input("x", shape)

    def __call__(self, op: str, *inputs: str, attrs: dict[str, Any] | None = None, **params: Any) -> str:
        names = {role: self.builder.constant(role, np.asarray(value)) for role, value in params.items()}
        return self.builder.add(op, inputs, names, attrs)

    def conv(self, x: str, weight: np.ndarray, padding: int = 0, groups: int = 1, **params: Any) -> str:
        attrs = {"stride": (1, 1), "padding": (padding, padding), "dilation": (1, 1), "groups": groups}
        return self("conv", x, weight=weight, attrs=attrs, **params)

    def graph(self, output: str) -> Graph:
        return self.builder.build(output)


def operators(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes if node.op != INPUT]


def normalised(graph: Graph) -> Graph:
    """The normalised graph, found to be the same function, of the same names, at a few points."""
    result = normalise(graph)
    assert (result.input, result.output_shape) == (graph.input, graph.output_shape)
    for scale in (0.0, 1.0, 5.0):
        x = scale * np.random.default_rng(1).normal(size=graph.input_shape)
        wanted = evaluate(graph, x)
        np.testing.assert_allclose(evaluate(result, x), wanted, rtol=1e-10, atol=1e-10 * np.abs(wanted).max(initial=1.0))
    return result


# --- affine neighbours ---------------------------------------------------------------------------------------------------------


def test_batch_norm_moves_into_the_convolution_before_it() -> None:
    g = Chain(1, 4, 5, 5)
    y = g.conv(g.x, rand(6, 2, 3, 3), padding=1, groups=2, bias=rand(6))
    y = g("shift", g("scale", y, factor=rand(6, 1, 1)), offset=rand(1, 6, 1, 1))
    assert operators(normalised(g.graph(y))) == ["conv"]


def test_batch_norm_moves_into_the_transposed_convolution_before_it() -> None:
    g = Chain(1, 4, 5, 5)
    attrs = {"stride": (2, 2), "padding": (1, 1), "output_padding": (0, 0), "dilation": (1, 1), "groups": 2}
    y = g("conv_transpose", g.x, weight=rand(4, 3, 3, 3), attrs=attrs)
    y = g("shift", g("scale", y, factor=rand(6, 1, 1)), offset=rand(6, 1, 1))
    assert operators(normalised(g.graph(y))) == ["conv_transpose"]


def test_batch_norm_moves_into_the_layer_behind_it() -> None:
    g = Chain(1, 4, 5, 5)
    y = g("shift", g("scale", g.x, factor=rand(4, 1, 1)), offset=rand(4, 1, 1))
    assert operators(normalised(g.graph(g.conv(y, rand(6, 2, 3, 3), groups=2, bias=rand(6))))) == ["conv"]


def test_an_offset_does_not_pass_the_zeros_of_a_padding() -> None:
    g = Chain(1, 4, 5, 5)
    y = g.conv(g("shift", g.x, offset=rand(4, 1, 1)), rand(6, 4, 3, 3), padding=1)
    assert operators(normalised(g.graph(y))) == ["shift", "conv"]


def test_a_matrix_product_and_its_offset_are_one_layer_with_the_stored_weights() -> None:
    g = Chain(1, 3)
    weight, offset = rand(4, 3).astype(np.float32), rand(4).astype(np.float32)
    graph = normalised(g.graph(g("shift", g("linear", g.x, weight=weight), offset=offset)))
    assert operators(graph) == ["linear"]
    stored = {role: graph.constants[name] for role, name in graph.nodes[1].params.items()}
    np.testing.assert_array_equal(stored["weight"], weight)
    np.testing.assert_array_equal(stored["bias"], offset)


def test_one_factor_for_all_channels_moves_into_a_layer() -> None:
    g = Chain(1, 3)
    y = g("linear", g("scale", g("shift", g.x, offset=0.5), factor=[2.0]), weight=rand(4, 3))
    assert operators(normalised(g.graph(g("shift", g("scale", y, factor=3.0), offset=1.0)))) == ["linear"]


def test_a_factor_that_varies_along_other_axes_stays() -> None:
    g = Chain(1, 2, 5, 5)
    y = g("scale", g.conv(g.x, rand(3, 2, 1, 1)), factor=rand(3, 5, 5))
    assert operators(normalised(g.graph(y))) == ["conv", "scale"]


def test_batch_norm_passes_a_flatten_and_a_transpose_to_reach_a_layer() -> None:
    g = Chain(1, 2, 3, 3)
    y = g("shift", g("scale", g.x, factor=rand(2, 1, 1)), offset=rand(2, 1, 1))
    y = g("reshape", g("transpose", g("scale", y, factor=2.0), attrs={"perm": (0, 2, 3, 1)}), attrs={"shape": (1, 18)})
    assert operators(normalised(g.graph(g("linear", y, weight=rand(4, 18))))) == ["transpose", "reshape", "linear"]


def test_a_layer_that_others_read_too_keeps_its_weights() -> None:
    g = Chain(1, 3)
    y = g("linear", g.x, weight=rand(3, 3))
    assert operators(normalised(g.graph(g("add", y, g("scale", y, factor=rand(3)))))) == ["linear", "scale", "add"]


def test_folded_weights_are_double_precision() -> None:
    g = Chain(1, 3)
    factor = np.float32(0.1)
    graph = normalise(g.graph(g("scale", g("linear", g.x, weight=np.full((1, 3), 0.3, np.float32)), factor=factor)))
    (weight,) = graph.constants.values()
    assert weight.dtype == np.float64
    assert weight[0, 0] == float(np.float32(0.3)) * float(factor)


def test_linear_after_linear_is_one_where_that_is_no_larger() -> None:
    g = Chain(1, 4)
    thin = g("linear", g("linear", g.x, weight=rand(1, 4), bias=rand(1)), weight=rand(4, 1), bias=rand(4))
    assert operators(normalised(g.graph(thin))) == ["linear", "linear"]
    g = Chain(1, 4)
    wide = g("linear", g("linear", g.x, weight=rand(9, 4), bias=rand(9)), weight=rand(3, 9))
    assert operators(normalised(g.graph(wide))) == ["linear"]


def test_even_zero_padding_becomes_part_of_the_convolution() -> None:
    for before, after, value, expected in (
        ((0, 0, 1, 2), (0, 0, 1, 2), 0.0, ["conv"]),
        ((0, 0, 1, 2), (0, 0, 2, 1), 0.0, ["pad", "conv"]),
        ((0, 0, 1, 1), (0, 0, 1, 1), 0.5, ["pad", "conv"]),
        ((0, 1, 1, 1), (0, 1, 1, 1), 0.0, ["pad", "conv"]),
    ):
        g = Chain(1, 2, 4, 4)
        padded = g("pad", g.x, attrs={"before": before, "after": after, "value": value})
        weight = rand(3, g.builder.shape(padded)[1], 2, 2)
        assert operators(normalised(g.graph(g.conv(padded, weight, padding=1)))) == expected


# --- moves and constants -------------------------------------------------------------------------------------------------------


def test_moves_that_cancel_disappear() -> None:
    g = Chain(1, 2, 3)
    y = g("transpose", g("transpose", g.x, attrs={"perm": (2, 0, 1)}), attrs={"perm": (1, 2, 0)})
    y = g("reshape", g("reshape", y, attrs={"shape": (6,)}), attrs={"shape": (1, 2, 3)})
    y = g("take", y, index=np.arange(6).reshape(1, 2, 3))
    assert operators(normalised(g.graph(g("relu", y)))) == ["relu"]


def test_an_output_that_is_the_input_stays_a_node_of_its_own() -> None:
    g = Chain(1, 3)
    graph = normalised(g.graph(g("scale", g.x, factor=np.ones(3))))
    assert operators(graph) == ["reshape"]
    assert graph.output != graph.input
    assert normalise(graph) is graph


def test_moves_in_a_row_are_one() -> None:
    g = Chain(2, 3)
    y = g("take", g("reshape", g.x, attrs={"shape": (6,)}), index=np.array([5, 1, 0, 3]))
    y = g("reshape", g("take", y, index=np.array([[3, 0], [2, 1]])), attrs={"shape": (4, 1)})
    assert operators(normalised(g.graph(y))) == ["take"]


def test_scaling_by_one_and_shifting_by_zero_disappear_and_others_combine() -> None:
    g = Chain(2, 3)
    y = g("shift", g("scale", g.x, factor=np.ones(3)), offset=np.zeros((2, 3)))
    assert operators(normalised(g.graph(g("relu", y)))) == ["relu"]
    g = Chain(2, 3)
    y = g("scale", g("scale", g.x, factor=rand(3)), factor=rand(2, 1))
    assert operators(normalised(g.graph(g("shift", g("shift", y, offset=rand(3)), offset=1.0)))) == ["scale", "shift"]


# --- composites ----------------------------------------------------------------------------------------------------------------


def erf_gate(g: Chain, x: str) -> str:
    return g("shift", g("erf", g("scale", x, factor=np.float32(1 / sqrt(2)))), offset=1.0)


def tanh_gate(g: Chain, cubed: str) -> str:
    inner = g("add", g.x, g("scale", cubed, factor=np.float32(0.044715)))
    return g("shift", g("tanh", g("scale", inner, factor=np.float32(sqrt(2 / pi)))), offset=1.0)


def factored_tanh_gate(g: Chain) -> str:
    """c x (1 + a x^2), as TensorFlow models spell the cubic."""
    grown = g("shift", g("scale", g("mul", g.x, g.x), factor=0.044715), offset=1.0)
    return g("shift", g("tanh", g("mul", g("scale", g.x, factor=sqrt(2 / pi)), grown)), offset=1.0)


def times_half(g: Chain, x: str) -> str:
    return g("scale", x, factor=0.5)


def relu6_of_x_plus_3(g: Chain) -> str:
    return g("clip", g("shift", g.x, offset=3.0), attrs={"min": 0.0, "max": 6.0})


SPELLINGS: list[tuple[str, Callable[[Chain], str]]] = [
    ("square", lambda g: g("mul", g.x, g.x)),
    ("pow", lambda g: g("mul", g("mul", g.x, g.x), g.x)),
    ("pow", lambda g: g("mul", g("square", g.x), g("square", g.x))),
    ("silu", lambda g: g("mul", g.x, g("sigmoid", g.x))),
    ("silu", lambda g: g("mul", g("sigmoid", g.x), g.x)),
    ("silu", lambda g: g("mul", g.x, g("sigmoid", g("scale", g.x, factor=1.702)))),
    ("silu", lambda g: g("mul", times_half(g, g.x), times_half(g, g("sigmoid", times_half(g, g.x))))),
    ("hard_swish", lambda g: g("mul", g.x, g("hard_sigmoid", g.x, attrs={"alpha": 1 / 6, "beta": 0.5}))),
    ("hard_swish", lambda g: g("scale", g("mul", g.x, relu6_of_x_plus_3(g)), factor=np.float32(1 / 6))),
    ("hard_swish", lambda g: g("mul", g.x, g("scale", relu6_of_x_plus_3(g), factor=np.float32(1 / 6)))),
    ("mish", lambda g: g("mul", g.x, g("tanh", g("softplus", g.x)))),
    ("mish", lambda g: g("mul", g.x, g("tanh", g("log", g("shift", g("exp", g.x), offset=1.0))))),
    ("softplus", lambda g: g("log", g("shift", g("exp", g.x), offset=1.0))),
    ("gelu", lambda g: times_half(g, g("mul", g.x, erf_gate(g, g.x)))),
    ("gelu", lambda g: g("mul", times_half(g, g.x), erf_gate(g, g.x))),
    ("gelu", lambda g: g("mul", g.x, times_half(g, erf_gate(g, g.x)))),
    ("gelu", lambda g: g("mul", g("scale", g.x, factor=2.0), erf_gate(g, g("scale", g.x, factor=3.0)))),
    ("gelu_tanh", lambda g: times_half(g, g("mul", g.x, tanh_gate(g, g("pow", g.x, attrs={"exponent": 3.0}))))),
    ("gelu_tanh", lambda g: g("mul", times_half(g, g.x), tanh_gate(g, g("mul", g("mul", g.x, g.x), g.x)))),
    ("gelu_tanh", lambda g: g("mul", g.x, times_half(g, factored_tanh_gate(g)))),
]


@pytest.mark.parametrize(("op", "spell"), SPELLINGS)
def test_a_composite_becomes_one_function(op: str, spell: Callable[[Chain], str]) -> None:
    g = Chain(2, 3)
    graph = g.graph(spell(g))
    result = normalise(graph)
    assert op in operators(result)
    assert set(operators(result)) <= {op, "scale"}
    x = np.random.default_rng(2).normal(0, 3, (2, 3))
    np.testing.assert_allclose(evaluate(result, x), evaluate(graph, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "spell",
    [
        lambda g: g("mul", g.x, g("sigmoid", g("shift", g.x, offset=1.0))),
        lambda g: g("mul", g.x, g("clip", g("shift", g.x, offset=2.0), attrs={"min": 0.0, "max": 6.0})),
        lambda g: g("mul", g.x, g("shift", g("erf", g.x), offset=0.5)),
        lambda g: g("mul", g.x, g("shift", g("tanh", g.x), offset=1.0)),
        lambda g: g("mul", g.x, g("sigmoid", g("scale", g.x, factor=[1.0, 2.0, 3.0]))),
        lambda g: g("mul", g.x, g("sigmoid", g("relu", g.x))),
        lambda g: g("mul", g.x, g("tanh", g("softplus", g.x, attrs={"beta": 2.0, "threshold": 20.0}))),
        lambda g: g("mul", g.x, g("tanh", g("softplus", g.x, attrs={"beta": 1.0, "threshold": 1.0}))),
    ],
)
def test_what_only_looks_like_a_composite_stays(spell: Callable[[Chain], str]) -> None:
    g = Chain(2, 3)
    graph = normalised(g.graph(spell(g)))
    assert not {"silu", "mish", "gelu", "gelu_tanh", "hard_swish"} & set(operators(graph))


# --- any graph -----------------------------------------------------------------------------------------------------------------


def step(draw: st.DrawFn, g: Chain, values: list[str]) -> str:
    """One more node on a few earlier ones, with constants that the shapes call for."""
    x = draw(st.sampled_from(values[-3:]))
    shape = g.builder.shape(x)
    size = int(np.prod(shape))
    alike = [value for value in values if g.builder.shape(value) == shape]
    broadcastable = draw(st.sampled_from([(), shape[-1:], shape, (shape[0], *(1,) * (len(shape) - 1))]))
    choices: dict[str, Callable[[], str]] = {
        "scale": lambda: g("scale", x, factor=rand(*broadcastable)),
        "one": lambda: g("scale", x, factor=np.ones(broadcastable)),
        "shift": lambda: g("shift", x, offset=rand(*broadcastable)),
        "linear": lambda: g("linear", x, weight=rand(3, shape[-1]), bias=rand(3)),
        "flatten": lambda: g("reshape", x, attrs={"shape": (1, size)}),
        "transpose": lambda: g("transpose", x, attrs={"perm": tuple(draw(st.permutations(range(len(shape)))))}),
        "take": lambda: g("take", x, index=np.random.default_rng(size).integers(0, size, (2, 3))),
        "relu": lambda: g("relu", x),
        "sigmoid": lambda: g("sigmoid", x),
        "mul": lambda: g("mul", x, draw(st.sampled_from(alike))),
        "add": lambda: g("add", x, draw(st.sampled_from(alike))),
    }
    return choices[draw(st.sampled_from(sorted(choices)))]()


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random graphs with branches, of shapes that change on the way."""
    g = Chain(*draw(st.sampled_from([(1, 3), (2, 3), (1, 2, 3)])))
    values = [g.x]
    for _ in range(draw(st.integers(1, 12))):
        values.append(step(draw, g, values))
    return g.graph(values[-1])


@given(graphs())
def test_any_graph_stays_the_same_function_and_is_normal_afterwards(graph: Graph) -> None:
    result = normalised(graph)
    assert len(result.nodes) <= len(graph.nodes) + 5 * operators(graph).count("mul")
    assert normalise(result) is result


# --- live parameters -----------------------------------------------------------------------------------------------------------


def test_constants_of_a_live_module_stay_live() -> None:
    torch = pytest.importorskip("torch")
    weight, factor, offset = (torch.nn.Parameter(torch.tensor(rand(*shape))) for shape in ((3, 2), (3,), (2,)))
    builder = GraphBuilder()
    x = builder.input("x", (1, 2))
    y = builder.add("shift", [x], {"offset": builder.constant("offset", offset)})
    y = builder.add("linear", [y], {"weight": builder.constant("weight", weight)})
    y = builder.add("scale", [y], {"factor": builder.constant("factor", factor)})
    graph = normalise(builder.build(y))
    assert operators(graph) == ["linear"]
    point = torch.tensor(rand(1, 1, 2))
    with torch.no_grad():
        weight.mul_(-2)
    value = bind(graph, torch.float64).evaluate(point)
    torch.testing.assert_close(value, ((point + offset) @ weight.T) * factor)
    value.sum().backward()
    assert all(parameter.grad is not None for parameter in (weight, factor, offset))


@pytest.mark.parametrize(("axes", "keepdims"), [((2,), False), ((1, 3), True), ((1, 2, 3), False), ((3,), True)])
def test_maxima_become_relu_without_changing_the_function(axes: tuple[int, ...], keepdims: bool) -> None:
    builder = GraphBuilder()
    graph = builder.build(builder.add("reduce_max", [builder.input("x", (1, 3, 2, 4))], attrs={"axes": axes, "keepdims": keepdims}))
    rewritten = maxima_to_relu(graph)
    assert not any(node.op == "reduce_max" for node in rewritten.nodes)
    assert rewritten.output_shape == graph.output_shape
    for seed in range(3):
        x = np.random.default_rng(seed).integers(-9, 9, (1, 3, 2, 4)).astype(float)
        np.testing.assert_array_equal(evaluate(rewritten, x), evaluate(graph, x))
