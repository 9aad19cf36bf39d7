"""Before a proof counts, the graph is held against the original on the sets that were asked about."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certify.graph import Graph, GraphBuilder, GraphError
from certify.graph.evaluate import evaluate
from certify.io.vnnlib import read_vnnlib
from certify.model import Model
from certify.search.accuracy import Threat
from certify.search.accuracy import evaluate as evaluate_accuracy
from certify.search.comparison import compare_on_sets, set_points
from certify.search.evidence import Discard
from certify.search.nearest import MOST, Nearest
from certify.search.plan import METHODS
from certify.search.problem import tabulate
from certify.search.stage import Problem
from certify.search.verify import verify
from certify.specification import Specification, robust

HALVES = st.sampled_from(["abs", "relu", "square"])


def graph_of(op: str, size: int = 1, **attrs: object) -> Graph:
    builder = GraphBuilder()
    return builder.build(builder.add(op, [builder.input("x", (1, size))], attrs=dict(attrs)))


def exactly(graph: Graph, dtype: type[np.floating] = np.float32) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: evaluate(graph, x.astype(dtype))


def question(lower: object, upper: object, condition: str, size: int = 1) -> Specification:
    text = "".join(f"(declare-const {v}_{i} Real)" for v in "XY" for i in range(size))
    text += "".join(f"(assert (>= X_{i} {lower}))(assert (<= X_{i} {upper}))" for i in range(size))
    return read_vnnlib(f"{text}(assert {condition})")


def problem(model: Model, spec: Specification) -> Problem:
    return Problem(model, spec.bind(model.graph.input_shape, model.graph.output_shape), tabulate(spec), np.inf, evidence=Discard())


def misread(limit: float) -> Model:
    """clip(x, 0, 100), whose original goes on to `limit`."""
    return Model(graph_of("clip", min=0.0, max=100.0), reference=exactly(graph_of("clip", min=0.0, max=limit)))


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_no_verdict_is_given_where_the_original_differs_on_the_set(method: str) -> None:
    spec = question(50, 150, "(>= Y_0 110)")
    assert verify(misread(100.0), spec, method=method).verdict == "unsat"
    with pytest.raises(GraphError, match=r"output 0 is .* in the original model and 100 in the graph .*; no verdict is given"):
        verify(misread(101.0), spec, method=method)


def test_a_chain_is_compared_too() -> None:
    builder = GraphBuilder()
    weight = builder.constant("w", np.eye(2))
    hidden = builder.add("relu", [builder.add("linear", [builder.input("x", (1, 2))], {"weight": weight})])
    graph = builder.build(builder.add("linear", [hidden], {"weight": weight}))
    spec = question(-1, 1, "(<= Y_0 -0.5)", size=2)
    assert verify(Model(graph, reference=exactly(graph)), spec).verdict == "unsat"
    with pytest.raises(GraphError, match="no verdict"):
        verify(Model(graph, reference=lambda x: np.where(x > 0, x, 0.3 * x)), spec)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_balls_are_compared_too(p: float) -> None:
    spec = robust(np.full((1, 2), 100.5, np.float32), 0, eps=0.25, p=p)
    identity = graph_of("clip", 2, min=0.0, max=1e6)

    def model(second: float) -> Model:
        builder = GraphBuilder()
        x = builder.add("clip", [builder.input("x", (1, 2))], attrs={"min": 0.0, "max": 1e6})
        offset = builder.constant("o", np.array([1.0, 0.0]))
        graph = builder.build(builder.add("shift", [x], {"offset": offset}))
        return Model(graph, reference=lambda x: evaluate(identity, x) + np.array([[1.0, second]], np.float32))

    assert verify(model(0.0), spec).verdict == "unsat"
    with pytest.raises(GraphError, match="output 1 is"):
        verify(model(0.01), spec)


def test_the_plan_says_how_many_points_agree_or_that_there_is_no_original() -> None:
    graph, spec = graph_of("relu"), question(0, 1, "(>= Y_0 2)")
    assert "agrees with the original model at" in verify(Model(graph, reference=exactly(graph)), spec).plan
    assert "no original to compare" in verify(Model(graph), spec).plan


def test_certified_accuracy_is_about_the_original_too() -> None:
    builder = GraphBuilder()
    x = builder.add("clip", [builder.input("x", (1, 2))], attrs={"min": -1e6, "max": 1e6})
    graph = builder.build(builder.add("scale", [x], {"factor": builder.constant("f", np.array([1.0, 0.5]))}))
    data, labels = torch.tensor([[100.0, 20.0]], dtype=torch.float64), torch.tensor([0])

    def certified(original: Callable[[np.ndarray], np.ndarray]) -> bool:
        model = Model(graph, reference=original)
        [outcome] = evaluate_accuracy(model, data, labels, Threat(0.5, domain=None), ["crown"])
        return bool(outcome.certified["crown"].all())

    assert certified(exactly(graph))
    with pytest.raises(GraphError, match=r"output 1 is 10\.1 in the original model and 10 in the graph"):
        certified(lambda x: x * np.array([[1.0, 0.505]]))


def test_empty_sets_hold_no_point_to_compare_at() -> None:
    graph = graph_of("relu")
    result = verify(Model(graph, reference=exactly(graph)), question(1, 0, "(>= Y_0 2)"))
    assert result.verdict == "unsat"
    assert "no point at which to compare" in result.plan


def test_what_is_not_defined_on_the_set_is_said() -> None:
    graph = graph_of("exp")
    model = Model(graph, reference=exactly(graph))
    assert "1 of 1 outputs are not defined or overflow there" in compare_on_sets(problem(model, question(100, 101, "(<= Y_0 1)")))


@given(st.tuples(st.integers(-300, 300), st.integers(0, 200)), st.sampled_from(["float16", "float32", "float64"]))
def test_points_lie_in_the_exact_set_and_in_the_format(ends: tuple[int, int], precision: str) -> None:
    low, high = Fraction(ends[0], 7), Fraction(ends[0] + ends[1], 7)
    model = Model(graph_of("relu", 3), precision=precision)
    spec = question(f"{float(low):.17f}", f"{float(high):.17f}", "(>= Y_0 999)", size=3)
    asked = problem(model, Specification(spec.inputs.on_grid("f2" if precision == "float16" else "f4"), *_rest(spec)))
    some = spec.inputs.on_grid("f2" if precision == "float16" else "f4").attackable()[0]
    for x in set_points(asked, 24):
        assert np.array_equal(x.astype(precision).astype(np.float64), x.astype(np.float64))
        assert not some or spec.inputs.contains(0, x)


def _rest(spec: Specification) -> tuple:  # type: ignore[type-arg]
    return spec.clauses, spec.outputs, spec.declaration, spec.notes


def test_points_that_came_near_a_witness_are_among_those_compared() -> None:
    asked = problem(Model(graph_of("relu")), question(0, 1, "(>= Y_0 2)"))
    asked.nearest.offer(np.array([[0.625], [0.25]]), np.array([0.1, np.inf]))
    assert 0.625 in [float(x[0]) for x in set_points(asked, 8)]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20))
def test_the_least_values_are_kept(values: list[float]) -> None:
    nearest = Nearest()
    for start in range(0, len(values), 3):
        part = np.array(values[start : start + 3])
        nearest.offer(part[:, None], part)
    assert [float(x[0]) for x in nearest.points] == sorted(values)[:MOST]


# --- float16 -------------------------------------------------------------------------------------------------------------------


@given(HALVES, st.integers(1000, 1100), st.integers(1, 60), st.sampled_from(["<=", ">="]), st.integers(-40, 40))
def test_a_witness_of_a_float16_model_is_a_float16_point_of_the_set(op: str, low: int, width: int, side: str, off: int) -> None:
    graph = graph_of(op)
    ran: list[np.ndarray] = []

    def original(x: np.ndarray) -> np.ndarray:
        ran.append(x)
        return evaluate(graph, x.astype(np.float16)).astype(np.float32)

    spec = question(f"{low / 1000:.6f}", f"{low / 1000 + width / 50000:.6f}", f"({side} Y_0 {low / 1000 + off / 10000:.6f})")
    result = verify(Model(graph, reference=original, precision="float16"), spec, method="crown", timeout=5)
    if result.witness is not None:
        x = result.witness.x
        assert np.array_equal(x, np.float16(x))
        assert spec.inputs.contains(0, x.ravel())
        assert any(np.array_equal(x, point) for point in ran)
    if result.verdict == "unsat":
        held = np.arange(0.9, 1.3, 2.0**-11)
        inside = [v for v in held if spec.inputs.contains(0, np.array([v]))]
        assert not any(spec.holds(spec.clauses[0], np.array([v]), evaluate(graph, np.array([[v]]))) for v in inside)


def test_a_set_between_two_float16_numbers_has_no_witness() -> None:
    graph = graph_of("abs")
    model = Model(graph, reference=exactly(graph, np.float16), precision="float16")
    result = verify(model, question("1.0003", "1.0004", "(>= Y_0 1.00035)"), timeout=1)
    assert result.verdict in ("unknown", "timed-out")
    assert any("hold no float16 point: no witness can be run there" in note for note in result.notes)
