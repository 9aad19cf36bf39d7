"""What rounding can do, element by element: runtimes stay within it, and it stays small."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.graph import Graph, GraphBuilder
from certify.graph.evaluate import evaluate
from certify.graph.formats import FORMATS
from certify.graph.noise import Noisy, evaluate_noisy, work
from tests.networks import ACTIVATIONS, mlp, random_graph, seeds

PLAIN = ("erf", "mish", "log_sigmoid", "softsign", "atan", "hard_sigmoid", "hard_swish", "gelu_tanh", "selu", "celu", "cos")
HOSTILE = ("sign", "floor", "ceil", "round", "exp", "log", "sqrt", "reciprocal", "tan")
TYPES = {"float16": np.float16, "float32": np.float32}


def applied(op: str, **attrs: object) -> Graph:
    builder = GraphBuilder()
    return builder.build(builder.add(op, [builder.input("x", (1, 3))], attrs=dict(attrs)))


def noise_of(graph: Graph, x: list[float], format: str = "float32") -> list[float]:
    return evaluate_noisy(graph, [np.array([x], np.float32)], FORMATS[format]).noise.ravel().tolist()


def outside(noisy: Noisy, run: np.ndarray) -> np.ndarray:
    """Where a runtime's values are further away than they may be."""
    with np.errstate(invalid="ignore"):
        near = np.abs(run - noisy.value) <= noisy.noise
    return ~(near | (run == noisy.value) | (np.isnan(run) & np.isnan(noisy.value)) | (noisy.noise == inf))


@given(seeds(), st.sampled_from(["float16", "float32"]), st.sampled_from([1e-3, 1.0, 30.0, 1e3, 1e5]))
def test_what_is_evaluated_in_a_format_stays_within_its_noise(seed: int, format: str, scale: float) -> None:
    graph = random_graph(seed, (*ACTIVATIONS, *PLAIN, *HOSTILE))
    x = FORMATS[format].round(np.clip(scale * np.random.default_rng(seed).normal(size=graph.input_shape), -6e4, 6e4))
    run = evaluate(graph, x.astype(TYPES[format])).astype(np.float64)
    assert not outside(evaluate_noisy(graph, [x], FORMATS[format]), run[None]).any()


@given(seeds())
def test_noise_is_a_small_part_of_the_values_of_a_smooth_network(seed: int) -> None:
    graph = mlp(seed, [5, 30, 30, 3], "tanh")
    x = np.random.default_rng(seed).normal(size=(1, 5)).astype(np.float32)
    assert (evaluate_noisy(graph, [x], FORMATS["float32"]).noise < 1e-4).all()


def test_points_are_evaluated_as_each_alone() -> None:
    graph = random_graph(3)
    points = [np.random.default_rng(k).normal(size=graph.input_shape) for k in range(4)]
    together = evaluate_noisy(graph, points, FORMATS["float32"])
    for k, x in enumerate(points):
        alone = evaluate_noisy(graph, [x], FORMATS["float32"])
        np.testing.assert_allclose(together.value[k], evaluate(graph, x), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(together.noise[k], alone.noise[0], rtol=1e-9)


def test_an_output_has_the_noise_of_its_own_terms_and_not_of_other_outputs() -> None:
    builder = GraphBuilder()
    weight = builder.constant("w", np.array([[1e9, 0.0], [0.0, 1.0]]))
    graph = builder.build(builder.add("linear", [builder.input("x", (1, 2))], {"weight": weight}))
    large, small = evaluate_noisy(graph, [np.ones((1, 2))], FORMATS["float32"]).noise.ravel()
    assert 1e2 < large < 1e5
    assert small < 1e-5


def test_cancellation_leaves_the_noise_of_what_cancelled() -> None:
    builder = GraphBuilder()
    weight = builder.constant("w", np.array([[1e6 + 0.1, -1e6 - 0.1]]))
    graph = builder.build(builder.add("linear", [builder.input("x", (1, 2))], {"weight": weight}))
    [noise] = evaluate_noisy(graph, [np.ones((1, 2))], FORMATS["float32"]).noise.ravel()
    assert 0.1 < noise < 1e3


@pytest.mark.parametrize("op", ["sign", "floor", "round"])
def test_a_jump_at_an_exact_input_is_known_and_behind_rounding_is_not(op: str) -> None:
    assert max(noise_of(applied(op), [0.0, 0.5, 1.0])) == 0
    builder = GraphBuilder()
    offset = builder.constant("o", np.array([-0.1, 0.4, 0.25]))
    x = builder.add("shift", [builder.input("x", (1, 3))], {"offset": offset})
    first, second, third = noise_of(builder.build(builder.add(op, [x])), [0.1, 0.1, 0.1])
    assert inf in (first, second)
    assert third == 0


@given(st.integers(0, 10**6), st.sampled_from(["floor", "sign", "round"]))
def test_whole_numbers_reach_a_jump_unrounded(seed: int, op: str) -> None:
    random, builder = np.random.default_rng(seed), GraphBuilder()
    weight, bias = random.integers(-8, 9, (4, 6)) / 4, random.integers(-8, 9, 4) / 4
    x = builder.add("relu", [builder.input("x", (1, 6))])
    x = builder.add("linear", [x], {"weight": builder.constant("w", weight), "bias": builder.constant("b", bias)})
    x = builder.add("shift", [builder.add("abs", [x])], {"offset": builder.constant("o", np.array(-0.25))})
    graph = builder.build(builder.add(op, [x]))
    points = [random.integers(-6, 7, (1, 6)) / 2 for _ in range(3)]
    assert (evaluate_noisy(graph, points, FORMATS["float32"]).noise == 0).all()


@pytest.mark.parametrize(("weight", "x"), [([1.0, 2.0**-24], [1.0, 1.0]), ([1.0, 1.0], [2.0**24, 1.0]), ([1.0, 0.1], [1.0, 1.0])])
def test_sums_that_a_format_cannot_hold_are_rounded(weight: list[float], x: list[float]) -> None:
    builder = GraphBuilder()
    w = builder.constant("w", np.array([weight]))
    graph = builder.build(builder.add("linear", [builder.input("x", (1, 2))], {"weight": w}))
    assert evaluate_noisy(graph, [np.array([x])], FORMATS["float32"]).noise.item() > 0


def test_nothing_is_known_beyond_the_range_of_the_format() -> None:
    assert noise_of(applied("exp"), [80.0, 100.0, 200.0]) == [pytest.approx(9e30, rel=1), inf, inf]
    assert noise_of(applied("square"), [300.0, 100.0, 0.0], "float16")[0] == inf
    assert noise_of(applied("reciprocal"), [0.0, 1.0, 2.0])[0] == inf


def test_a_result_below_the_range_may_be_flushed_to_zero() -> None:
    assert noise_of(applied("exp"), [-740.0, -100.0, 0.0])[0] >= np.finfo(np.float32).tiny
    assert noise_of(applied("relu"), [-1.0, 0.0, 1e-38]) == [0.0, 0.0, 0.0]


def test_a_maximum_knows_nothing_where_one_of_its_inputs_is_unknown() -> None:
    builder = GraphBuilder()
    x = builder.add("exp", [builder.input("x", (1, 2))])
    x = builder.add("sub", [x, builder.add("take", [x], {"index": builder.constant("i", np.array([[1, 0]]))})])
    graph = builder.build(builder.add("reduce_max", [x], attrs={"axes": (1,), "keepdims": True}))
    assert evaluate_noisy(graph, [np.array([[800.0, 900.0]])], FORMATS["float32"]).noise.item() == inf


def test_no_number_is_certain_where_the_argument_is() -> None:
    assert np.isfinite(noise_of(applied("log"), [-1.0, 1.0, 2.0])).all()


def test_work_counts_products() -> None:
    assert work(mlp(0, [5, 7, 2])) == pytest.approx(5 * 7 + 7 * 2, abs=30)
