"""The numpy definitions against torch: the same values as the functions that frameworks call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certify.graph import GraphBuilder, GraphError
from certify.graph.evaluate import AFFINE, DEFINITIONS, ELEMENTWISE, evaluate, values
from certify.operators.program import bind
from certify.operators.table import OPS


def build(op: str, shape: tuple[int, ...], attrs: dict[str, Any] | None = None, copies: int = 1, **params: np.ndarray) -> Any:
    """The graph of one operator on one input, read as often as the operator has inputs."""
    builder = GraphBuilder()
    x = builder.input("x", shape)
    names = {role: builder.constant(role, value) for role, value in params.items()}
    return builder.build(builder.add(op, [x] * copies, names, attrs))


def assert_same_in_torch(graph: Any, x: np.ndarray) -> None:
    program = bind(graph, torch.float64)
    with torch.no_grad():
        computed = program.evaluate(torch.tensor(x)[None])[0]
    np.testing.assert_allclose(evaluate(graph, x), computed.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("op", sorted(OPS.keys() & ELEMENTWISE.keys()))
def test_an_elementwise_operator_is_the_function_that_torch_computes(op: str) -> None:
    for attrs, params in OPS[op].examples:
        for x in (np.linspace(0.1, 3, 50), np.linspace(-3, 3, 61)):
            graph = build(op, x.shape, dict(attrs), **{name: np.asarray(value) for name, value in params.items()})
            if np.isfinite(evaluate(graph, x)).all():
                assert_same_in_torch(graph, x)


def test_every_operator_that_has_bounds_has_a_definition() -> None:
    assert OPS.keys() <= DEFINITIONS.keys()
    assert AFFINE.keys() <= OPS.keys()


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[str, tuple[int, ...], dict[str, Any], dict[str, np.ndarray]]:
    axes, groups = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    small = st.tuples(*[st.integers(1, 3)] * axes)
    kernel, stride, dilation = draw(small), draw(small), draw(small)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(draw(st.integers(0, r - 1)) for r in reach)
    space = tuple(draw(st.integers(r, r + 2)) for r in reach)
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    random = np.random.default_rng(0)
    op = draw(st.sampled_from(["conv", "conv_transpose"]))
    leading = (2 * groups, 3) if op == "conv" else (3 * groups, 2)
    if op == "conv_transpose":
        attrs["output_padding"] = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    params = {"weight": random.normal(size=(*leading, *kernel))}
    if draw(st.booleans()):
        params["bias"] = random.normal(size=2 * groups)
    return op, (2, 3 * groups, *space), attrs, params


@given(convolutions())
def test_convolutions_are_those_of_torch(case: tuple[str, tuple[int, ...], dict[str, Any], dict[str, np.ndarray]]) -> None:
    op, shape, attrs, params = case
    assert_same_in_torch(build(op, shape, attrs, **params), np.random.default_rng(1).normal(size=shape))


RANDOM = np.random.default_rng(0)
OTHERS: list[tuple[str, dict[str, Any], int, dict[str, np.ndarray]]] = [
    ("linear", {}, 1, {"weight": RANDOM.normal(size=(5, 4)), "bias": RANDOM.normal(size=5)}),
    ("matmul", {}, 1, {"weight": RANDOM.normal(size=(2, 4, 5))}),
    ("scale", {}, 1, {"factor": RANDOM.normal(size=(3, 1))}),
    ("shift", {}, 1, {"offset": RANDOM.normal(size=4)}),
    ("add", {}, 2, {}),
    ("sub", {}, 2, {}),
    ("reshape", {"shape": (4, 6)}, 1, {}),
    ("transpose", {"perm": (2, 0, 1)}, 1, {}),
    ("take", {}, 1, {"index": np.array([[3, 3], [0, 23]])}),
    ("concat", {"axis": 1}, 3, {}),
    ("pad", {"before": (0, 1, 2), "after": (1, 0, 0), "value": 0.5}, 1, {}),
    ("reduce_sum", {"axes": (0, 2), "keepdims": True}, 1, {}),
    ("reduce_max", {"axes": (1,), "keepdims": False}, 1, {}),
]


@pytest.mark.parametrize(("op", "attrs", "copies", "params"), OTHERS, ids=[case[0] for case in OTHERS])
def test_an_operator_is_what_torch_computes(op: str, attrs: dict[str, Any], copies: int, params: dict[str, np.ndarray]) -> None:
    assert_same_in_torch(build(op, (2, 3, 4), attrs, copies, **params), np.random.default_rng(1).normal(size=(2, 3, 4)))


def test_values_are_computed_in_the_precision_of_the_point() -> None:
    graph = build("scale", (1,), factor=np.array(0.1))
    assert evaluate(graph, np.ones(1, np.float32)).dtype == np.float32
    assert evaluate(graph, np.ones(1))[0] == 0.1
    assert set(values(graph, np.ones(1))) == {"x", "scale"}


def test_a_point_of_another_shape_and_an_operator_without_definition_are_refused() -> None:
    with pytest.raises(ValueError, match=r"takes an input of shape \[3\], got \[4\]"):
        evaluate(build("relu", (3,)), np.ones(4))
    with pytest.raises(GraphError, match="mystery"):
        evaluate(build("mystery", (3,)), np.ones(3))
