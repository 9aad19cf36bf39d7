"""Conditions at the very end of what a network can give are decided at once, strict or not, on small networks and larger ones."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from certify.graph import GraphBuilder
from certify.model import Model
from certify.search.verify import verify
from certify.specification import Atom, Boxes, Clause, Rationals, Specification, flat_declaration

Tail = Callable[[GraphBuilder, str], str]


def _op(name: str, **attrs: object) -> Tail:
    return lambda builder, node: builder.add(name, [node], attrs=attrs)


def _then(*tails: Tail) -> Tail:
    def chained(builder: GraphBuilder, node: str) -> str:
        for tail in tails:
            node = tail(builder, node)
        return node

    return chained


def _weighted(sign: float) -> Tail:
    def tail(builder: GraphBuilder, node: str) -> str:
        weight = sign * np.abs(np.random.default_rng(1).normal(size=(2, builder.shape(node)[-1]))).astype(np.float32)
        return builder.add("linear", [node], {"weight": builder.constant("v", weight)})

    return tail


_SUM = _op("reduce_sum", axes=(1,), keepdims=True)
_SIGN = {"<": 1, ">": -1}
CASES: dict[str, tuple[Tail, str, Fraction | int]] = {
    "relu": (_op("relu"), "<", 0),
    "abs": (_op("abs"), "<", 0),
    "square": (_op("square"), "<", 0),
    "clip": (_op("clip", min=0.0, max=1.0), ">", 1),
    "tanh": (_op("tanh"), ">", 1),
    "sigmoid": (_op("sigmoid"), "<", 0),
    "exp": (_op("exp"), "<", 0),
    "softplus": (_op("softplus"), "<", 0),
    "elu": (_op("elu", alpha=1.0), "<", -1),
    "sine": (_op("sin"), ">", 1),
    "sum of relus": (_then(_op("relu"), _SUM), "<", 0),
    "sum of squares": (_then(_op("square"), _SUM), "<", 0),
    "norm": (_then(_op("square"), _SUM, _op("sqrt")), "<", 0),
    "positive weights": (_then(_op("relu"), _weighted(1.0)), "<", 0),
    "negative weights": (_then(_op("relu"), _weighted(-1.0)), ">", 0),
    "tanh of a relu": (_then(_op("relu"), _op("tanh")), "<", 0),
    "sigmoid of a relu": (_then(_op("relu"), _op("sigmoid")), "<", Fraction(1, 2)),
    "moved": (_then(_op("relu"), _op("reshape", shape=(2, 2)), _op("transpose", perm=(1, 0))), "<", 0),
}


def network(tail: Tail, inputs: int) -> Model:
    builder = GraphBuilder()
    weight = builder.constant("w", (3 * np.random.default_rng(2).normal(size=(4, inputs))).astype(np.float32))
    return Model(builder.build(tail(builder, builder.add("linear", [builder.input("x", (1, inputs))], {"weight": weight}))))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("inputs", [2, 30])
def test_nothing_lies_beyond_the_end(name: str, inputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tail, relation, end = CASES[name]
    model = network(tail, inputs)
    outputs = int(np.prod(model.graph.output_shape))
    ends = (np.full((1, inputs), -2.0), np.full((1, inputs), 2.0))
    sign = _SIGN[relation]
    beyond = Clause(0, (Atom(((0, Fraction(sign)),), (), Fraction(sign * end), strict=True),))
    spec = Specification(Boxes(*map(Rationals.of_floats, ends)), (beyond,), outputs, flat_declaration(inputs, outputs))
    assert verify(model, spec, timeout=10, method="ibp").verdict == "unsat"
    # Larger networks have to do without rational numbers.
    monkeypatch.setattr("certify.search.exact_intervals._MOST_WORK", 0)
    assert verify(model, spec, timeout=10, method="ibp").verdict == "unsat"


@pytest.mark.parametrize("name", ["relu", "abs", "clip", "sum of relus", "norm", "tanh of a relu"])
def test_the_end_itself_is_reached(name: str) -> None:
    tail, relation, end = CASES[name]
    model = network(tail, 2)
    outputs, sign = int(np.prod(model.graph.output_shape)), _SIGN[relation]
    at_end = Clause(0, (Atom(((0, Fraction(sign)),), (), Fraction(sign * end)),))
    box = Boxes(*(Rationals.of_floats(np.full((1, 2), v)) for v in (-2.0, 2.0)))
    spec = Specification(box, (at_end,), outputs, flat_declaration(2, outputs))
    assert verify(model, spec, timeout=10).verdict != "unsat"
