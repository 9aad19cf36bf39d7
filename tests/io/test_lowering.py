"""What both front ends share: moves, arithmetic with constants, pooling, resampling."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional

from certify.graph import Graph, GraphBuilder
from certify.graph.evaluate import evaluate
from certify.io import lowering, pooling


def started(*shape: int) -> tuple[GraphBuilder, str]:
    builder = GraphBuilder()
    return builder, builder.input("x", shape)


def arange(*shape: int) -> np.ndarray:
    return np.arange(1.0, prod(shape) + 1).reshape(shape)


def operators(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes[1:]]


def test_an_index_that_keeps_all_elements_in_order_is_a_reshape() -> None:
    builder, x = started(2, 3)
    assert lowering.take(builder, x, np.arange(6).reshape(2, 3), "same") == x
    assert operators(builder.build(lowering.take(builder, x, np.arange(6).reshape(3, 2), "view"))) == ["reshape"]
    assert operators(builder.build(lowering.take(builder, x, np.arange(3), "part"))) == ["take"]


def test_the_last_node_of_a_lowering_has_the_operations_name() -> None:
    builder, x = started(1, 1, 4)
    windows = pooling.Pooling((2,), (2,), (1,), (1,), (1,))
    assert pooling.average_pool(builder, x, windows, "pool", count_padding=False) == "pool"
    assert lowering.at_most(builder, x, 1.0, "limit") == "limit"
    assert builder.build("pool").node("pool").shape == (1, 1, 3)


@pytest.mark.parametrize("shape", [(3,), (2, 1), (4, 1, 1), ()])
def test_constants_broadcast_against_nodes_both_ways(shape: tuple[int, ...]) -> None:
    builder, x = started(2, 3)
    value = arange(*shape)
    for emit, expected in (
        (lowering.scale, lambda x: x * value),
        (lowering.shift, lambda x: x + value),
        (lowering.at_least, lambda x: np.maximum(x, value)),
        (lowering.at_most, lambda x: np.minimum(x, value)),
    ):
        graph = builder.build(emit(builder, x, value, "y"))
        np.testing.assert_allclose(evaluate(graph, arange(2, 3)), expected(arange(2, 3)))


def test_the_square_of_a_node_is_no_product() -> None:
    builder, x = started(2)
    assert operators(builder.build(lowering.combine(builder, "mul", x, x, "y"))) == ["square"]


def test_a_constant_node_has_its_value_everywhere() -> None:
    builder, x = started(2, 3)
    graph = builder.build(lowering.constant_node(builder, x, arange(4), "c"))
    np.testing.assert_array_equal(evaluate(graph, np.full((2, 3), 1e30)), arange(4))


def test_padding_by_negative_amounts_crops() -> None:
    builder, x = started(3, 4)
    graph = builder.build(lowering.pad(builder, x, (-1, 2), (1, -2), 7.0, "p"))
    expected = np.pad(arange(3, 4)[1:, :2], [(0, 1), (2, 0)], constant_values=7.0)
    np.testing.assert_array_equal(evaluate(graph, arange(3, 4)), expected)


def test_axes_may_be_negative_and_must_exist() -> None:
    assert lowering.normalise_axes((-1, 0), 3) == (0, 2)
    with pytest.raises(ValueError, match="axis 3 of a tensor with 3 axes"):
        lowering.normalise_axes((3,), 3)


def test_a_reduction_over_single_elements_is_a_reshape() -> None:
    builder, x = started(1, 3)
    assert operators(builder.build(lowering.reduce(builder, "reduce_max", x, (0,), False, "m"))) == ["reshape"]


# --- pooling ----------------------------------------------------------------------------------------------------------------


@st.composite
def pools(draw: st.DrawFn) -> dict[str, Any]:
    """The shape of a plane and the arguments of a pooling layer, which torch may refuse."""
    pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
    kernel = draw(pairs)
    return {
        "shape": (draw(st.integers(1, 7)), draw(st.integers(1, 7))),
        "kernel_size": kernel,
        "stride": draw(pairs),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        "ceil_mode": draw(st.booleans()),
    }


def pooled_by_torch(function: Any, shape: tuple[int, ...], **arguments: Any) -> np.ndarray:
    try:
        return function(torch.from_numpy(arange(1, 2, *shape)).sin(), **arguments).numpy()
    except RuntimeError:
        assume(False)
        raise


def windows(kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, dilation: Any = (1, 1)) -> pooling.Pooling:
    return pooling.Pooling(kernel_size, stride, padding, padding, dilation, ceil_mode)


@given(pools(), st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_max_pooling_is_torchs_with_any_padding_dilation_and_rounding(pool: dict[str, Any], dilation: tuple[int, int]) -> None:
    expected = pooled_by_torch(functional.max_pool2d, **pool, dilation=dilation)
    assume(np.isfinite(expected).all())
    shape = pool.pop("shape")
    builder, x = started(1, 2, *shape)
    graph = builder.build(pooling.max_pool(builder, x, windows(**pool, dilation=dilation), "pool"))
    np.testing.assert_array_equal(evaluate(graph, np.sin(arange(1, 2, *shape))), expected)


@given(pools(), st.booleans(), st.none() | st.integers(1, 9))
def test_average_pooling_is_torchs_with_any_padding_divisor_and_rounding(
    pool: dict[str, Any], count_padding: bool, divisor: int | None
) -> None:
    expected = pooled_by_torch(functional.avg_pool2d, **pool, count_include_pad=count_padding, divisor_override=divisor)
    shape = pool.pop("shape")
    builder, x = started(1, 2, *shape)
    output = pooling.average_pool(builder, x, windows(**pool), "pool", count_padding=count_padding, divisor=divisor)
    np.testing.assert_allclose(evaluate(builder.build(output), np.sin(arange(1, 2, *shape))), expected, atol=1e-12)


def test_a_window_of_padding_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="entirely in the padding"):
        pooling.Pooling((1,), (1,), (1,), (0,), (1,)).axis(0, 3).real_cells()


def test_a_window_larger_than_its_axis_is_refused() -> None:
    with pytest.raises(ValueError, match="window of 4 does not fit an axis of size 2"):
        pooling.Pooling((4,), (1,), (0,), (1,), (1,)).axis(0, 2)


@given(st.integers(1, 9), st.integers(1, 9))
def test_adaptive_pooling_is_torchs_for_all_sizes(size: int, count: int) -> None:
    x = np.sin(arange(1, 1, size))
    builder, node = started(1, 1, size)
    largest = builder.build(pooling.max_over_cells(builder, node, [pooling.adaptive_cells(size, count)], "max"))
    tensor = torch.from_numpy(x)
    np.testing.assert_array_equal(evaluate(largest, x), functional.adaptive_max_pool1d(tensor, count).numpy())
    mean = x @ pooling.adaptive_matrix(size, count).high.T
    np.testing.assert_allclose(mean, functional.adaptive_avg_pool1d(tensor, count).numpy(), atol=1e-12)


@given(st.integers(1, 9), st.lists(st.fractions(-3, 12), min_size=1, max_size=6))
def test_rows_of_interpolation_are_weights_that_reproduce_straight_lines(size: int, positions: list[Fraction]) -> None:
    matrix = pooling.interpolation_matrix(positions, size).fractions
    assert matrix is not None
    for row, position in zip(matrix, positions, strict=True):
        assert min(row) >= 0
        assert sum(row) == 1
        assert sum(cell * weight for cell, weight in enumerate(row)) == min(max(position, 0), size - 1)
