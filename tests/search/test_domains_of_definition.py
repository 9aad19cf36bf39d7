"""Sets that reach beyond where a network is defined get no verdict, and the error says what is not defined, and where."""

from __future__ import annotations

import numpy as np
import pytest

from certify.api import bounds
from certify.graph import Graph, GraphBuilder, GraphError
from certify.graph.evaluate import evaluate
from certify.io.vnnlib import read_vnnlib
from certify.model import Model
from certify.search.verify import verify
from certify.sets import Box
from certify.specification import Specification

PARTIAL = {
    "log": ({}, -1, 1),
    "sqrt": ({}, -1, 1),
    "pow": ({"exponent": -1.5}, -1, 1),
}


def beyond(op: str, attrs: dict[str, object]) -> Graph:
    builder = GraphBuilder()
    x = builder.add("scale", [builder.input("x", (1, 1))], {"factor": builder.constant("f", np.array(2.0))})
    return builder.build(builder.add(op, [x], attrs=attrs, source="part"))


def question(low: float, high: float) -> Specification:
    return read_vnnlib(
        f"(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 {low}))(assert (<= X_0 {high}))(assert (>= Y_0 1000))"
    )


@pytest.mark.parametrize("op", PARTIAL)
def test_a_set_beyond_the_domain_gets_neither_bounds_nor_a_verdict(op: str) -> None:
    attrs, low, high = PARTIAL[op]
    graph = beyond(op, dict(attrs))
    model = Model(graph, reference=lambda x: evaluate(graph, x))
    for method in ("ibp", "crown"):
        with pytest.raises(GraphError, match=rf"part.*\[-2, 2\].*{op} is not defined everywhere"):
            bounds(model, Box(np.full((1, 1), low, np.float32), np.full((1, 1), high, np.float32)), method)
    with pytest.raises(ValueError, match=rf"the output is NaN at the input \[-.*\] of the set, where node part \({op}"):
        verify(model, question(low, high), timeout=5)


@pytest.mark.parametrize("op", PARTIAL)
def test_a_set_inside_the_domain_is_decided(op: str) -> None:
    graph = beyond(op, dict(PARTIAL[op][0]))
    assert verify(Model(graph, reference=lambda x: evaluate(graph, x)), question(0.25, 2), timeout=5).verdict == "unsat"
