"""Rewritings that a search asks for: the same function, in the form that is bounded tighter or cheaper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.bounds.compute import compute_bounds
from certify.graph import Graph, GraphBuilder
from certify.graph.passes import normalise
from certify.graph.passes.opposite_relus import opposite_relus
from certify.graph.passes.sparse_layers import sparse_layers
from certify.sets import Box
from tests.networks import mlp, program, random_graph


def two_layers(weight: np.ndarray, bias: np.ndarray, outer: np.ndarray) -> Graph:
    """linear, relu, linear without a bias."""
    builder = GraphBuilder()
    x = builder.input("x", (1, weight.shape[1]))
    x = builder.add("linear", [x], {"weight": builder.constant("w", weight), "bias": builder.constant("b", bias)})
    return builder.build(builder.add("linear", [builder.add("relu", [x])], {"weight": builder.constant("v", outer)}))


def minimum() -> Graph:
    """min(a, b) = (relu(a + b) - relu(-a - b) - relu(a - b) - relu(b - a)) / 2, as two-level lattices have it."""
    weight = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    return two_layers(weight, np.zeros(4), np.array([[0.5, -0.5, -0.5, -0.5]]))


def values(graph: Graph, x: torch.Tensor) -> torch.Tensor:
    return program(graph).evaluate(x)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(0, 5))
def test_opposite_neurons_are_merged_and_the_function_stays(seed: int, pairs: int, single: int) -> None:
    rng = np.random.default_rng(seed)
    half, rest = rng.integers(-2, 3, (pairs, 4)) + 0.5, rng.normal(size=(single, 4))
    order = rng.permutation(2 * pairs + single)
    weight, bias = np.concatenate([half, -half, rest]), rng.normal(size=pairs)
    bias = np.concatenate([bias, -bias, rng.normal(size=single)])
    graph = two_layers(weight[order], bias[order], rng.normal(size=(3, 2 * pairs + single)))
    merged = opposite_relus(graph)
    x = torch.from_numpy(rng.normal(size=(50, 1, 4)))
    torch.testing.assert_close(values(merged, x), values(graph, x), rtol=1e-12, atol=1e-12)
    assert [node.shape for node in merged.nodes if node.op == "relu"] == [(1, pairs + single)]


def test_a_minimum_of_four_neurons_has_one_afterwards_and_better_bounds() -> None:
    graph, merged = minimum(), opposite_relus(minimum())
    assert [node.shape for node in merged.nodes if node.op == "relu"] == [(1, 1)]
    box = Box(torch.zeros(1, 1, 2, dtype=torch.float64) - 1, torch.ones(1, 1, 2, dtype=torch.float64))
    lower, upper = (compute_bounds(program(g), box, "forward") for g in (graph, merged))
    assert float(upper[1] - upper[0]) < float(lower[1] - lower[0])


@pytest.mark.parametrize("seed", range(5))
def test_networks_without_such_layers_are_left_as_they_are(seed: int) -> None:
    for graph in (random_graph(seed), mlp(seed, (4, 8, 2))):
        assert opposite_relus(graph) is graph
        assert sparse_layers(graph) is graph


def test_rows_that_are_opposite_only_after_rounding_are_not_merged() -> None:
    graph = two_layers(np.array([[0.1], [-0.1]]), np.zeros(2), np.ones((1, 2)))
    assert opposite_relus(graph) is not graph
    builder = GraphBuilder()
    x = builder.input("x", (1, 1))
    for factor in (0.3, 0.7):
        x = builder.add("scale", [x], {"factor": builder.constant("factor", np.array(factor))})
    weight, last = builder.constant("w", np.array([[0.1], [-0.1 * (1 + 2.0**-52)]])), builder.constant("v", np.ones((1, 2)))
    relu = builder.add("relu", [builder.add("linear", [x], {"weight": weight})])
    folded = normalise(builder.build(builder.add("linear", [relu], {"weight": last})))
    assert [node.op for node in folded.nodes] == ["input", "linear", "relu", "linear"]
    assert len(folded.rounded) == 1
    same = folded.constants[next(iter(folded.rounded))]
    same[1] = -same[0]  # as rounding might have left them
    assert opposite_relus(folded) is folded


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 3))
def test_sparse_layers_become_sums_of_what_they_read_and_the_function_stays(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    outer = np.zeros((5, 64))
    for row in outer:
        row[rng.choice(64, rng.integers(0, most + 1), replace=False)] = rng.normal()
    graph = two_layers(rng.normal(size=(64, 3)), rng.normal(size=64), outer)
    sparse = sparse_layers(graph)
    x = torch.from_numpy(rng.normal(size=(20, 1, 3)))
    torch.testing.assert_close(values(sparse, x), values(graph, x), rtol=1e-12, atol=1e-12)
    assert [node.op for node in sparse.nodes][-4:] == ["take", "scale", "reduce_sum", "shift"]


def test_dense_layers_and_live_ones_stay_linear() -> None:
    graph = two_layers(np.ones((64, 3)), np.ones(64), np.eye(5, 64) + 1e-3)
    assert sparse_layers(graph) is graph
    live = replace(graph, constants={**graph.constants, "v": torch.eye(5, 64)})
    assert sparse_layers(live) is live
    assert opposite_relus(live) is live
