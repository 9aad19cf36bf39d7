"""A rewritten graph is held against the one it came from, in double precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from certify.graph import Graph, GraphBuilder, GraphError
from certify.graph.passes import as_read, normalise
from certify.graph.passes.equality import require_equal
from tests.networks import ACTIVATIONS, random_graph, seeds


def gate(second: float) -> Graph:
    """x * (1 + tanh(second * x)) / 2."""
    builder = GraphBuilder()
    x = builder.input("x", (1, 4))
    t = builder.add("tanh", [builder.add("scale", [x], {"factor": builder.constant("f", np.array(second))})])
    t = builder.add("shift", [t], {"offset": builder.constant("o", np.array(1.0))})
    product = builder.add("mul", [x, t])
    return builder.build(builder.add("scale", [product], {"factor": builder.constant("h", np.array(0.5))}))


@given(seeds())
def test_what_normalisation_makes_of_a_graph_is_equal(seed: int) -> None:
    graph = random_graph(seed, (*ACTIVATIONS, "exp", "log", "floor", "reciprocal"))
    require_equal(graph, normalise(graph))


def test_a_constant_that_is_not_quite_the_one_of_a_known_function_is_another_function() -> None:
    builder = GraphBuilder()
    silu = builder.build(builder.add("silu", [builder.input("x", (1, 4))]))
    require_equal(gate(0.5), silu)
    with pytest.raises(GraphError, match=r"rewriting the graph changed an output from .* please report"):
        require_equal(gate(float(np.nextafter(np.float32(0.5), np.float32(1)))), silu)


def test_a_pass_that_changes_a_graph_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(graph: Graph) -> Graph:
        changed = tuple(replace(node, attrs={"slope": 0.1 + 1e-9}) if node.op == "leaky_relu" else node for node in graph.nodes)
        return graph if changed == graph.nodes else replace(graph, nodes=changed)

    monkeypatch.setattr("certify.graph.passes.MERGERS", (mistaken,))
    builder = GraphBuilder()
    graph = builder.build(builder.add("leaky_relu", [builder.input("x", (1, 4))], attrs={"slope": 0.1}))
    with pytest.raises(GraphError, match="rewriting the graph changed an output"):
        normalise(graph)


def test_a_graph_as_it_was_read_keeps_its_nodes() -> None:
    assert as_read(gate(0.5)).nodes == gate(0.5).nodes
