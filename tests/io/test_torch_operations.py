"""Every ATen operation that is imported, in its different forms, against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from certify.graph import GraphError
from certify.graph.evaluate import evaluate
from certify.graph.passes import normalise
from certify.io.torch.call import Choice, Constant, Positions
from certify.io.torch.program import HANDLERS
from tests.io.fuzz_torch import differences, disagreements, hostile
from tests.io.torch_samples import CASES, Case, X, in_torch, positive, rand, read


def assert_same_function(case: Case, points: list[Tensor]) -> None:
    builder, results = read(case, points[0])
    several = isinstance(results, list)
    for position, result in enumerate(results if several else [results]):
        if isinstance(result, Positions):
            continue
        if isinstance(result, Choice):  # selections by it have tests of their own
            assert torch.equal(result.value, in_torch(case, points[0]))
            continue
        if isinstance(result, Constant):
            np.testing.assert_array_equal(result.value.numpy(), in_torch(case, points[0]).numpy())
            continue
        graph = builder.build(result.node)
        normal = normalise(graph)
        for point in points:
            expected = in_torch(case, point)
            expected = expected[position] if several else expected
            for form in (graph, normal):
                np.testing.assert_allclose(evaluate(form, point.numpy()), expected.numpy(), rtol=1e-9, atol=1e-9)


WRONG = [
    (Case("round.default", (2, 3)), Case("floor.default", (2, 3))),
    (Case("leaky_relu.default", (2, 3), (X, 0.1)), Case("leaky_relu.default", (2, 3), (X, 0.1 + 1e-14))),
    (Case("softplus.default", (2, 3), (X, 1.0, 20.0)), Case("softplus.default", (2, 3), (X, 1.0, 3.0))),
    (Case("clamp.default", (2, 3), (X, 1.0, -1.0)), Case("clamp.default", (2, 3), (X, -1.0, 1.0))),
    (
        Case("avg_pool1d.default", (1, 2, 5), (X, [3], [1], [1])),
        Case("avg_pool1d.default", (1, 2, 5), (X, [3], [1], [1], False, False)),
    ),
    (Case("sum.dim_IntList", (2, 2), (X, [0])), Case("sum.dim_IntList", (2, 2), (X, [1]))),
    (Case("gelu.default", (2, 3)), Case("gelu.default", (2, 3), (X,), {"approximate": "tanh"})),
]
"""Calls, and others that they must not be mistaken for."""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operation_means_in_the_graph_what_it_means_in_torch(case: Case) -> None:
    assert_same_function(case, [rand(*case.shape), 3 * positive(*case.shape), torch.zeros(case.shape, dtype=torch.float64)])


def test_every_operation_of_the_table_has_a_case() -> None:
    assert set(HANDLERS) == {case.op for case in CASES}


def test_no_operation_disagrees_with_torch_at_hostile_points() -> None:
    assert list(disagreements(HANDLERS, [0])) == []


@pytest.mark.parametrize(("case", "reads_as"), WRONG, ids=lambda value: value.op)
def test_the_comparison_notices_a_wrong_attribute(case: Case, reads_as: Case) -> None:
    builder, result = read(reads_as, rand(*case.shape))
    graph = builder.build(result.node)
    random = np.random.default_rng(0)
    points = [hostile(random, case).numpy() for _ in range(20)]
    assert any(differences(graph, graph, point, in_torch(case, torch.from_numpy(point)).numpy()) for point in points)


REFUSED = [
    (Case("matmul.default", (3, 3), (X, X)), "products of two perturbed matrices"),
    (Case("linear.default", (3, 3), (rand(3, 3), X)), "depends on the network's input|is constant"),
    (Case("softmax.int", (2, 3), (X, 1)), "aten.softmax.int is not supported"),
    (Case("batch_norm.default", (2, 3), (X, None, None, None, None, True, 0.1, 1e-5, False)), "eval"),
    (Case("dropout.default", (2, 3), (X, 0.5, True)), "eval"),
    (Case("threshold.default", (2, 3), (X, 0.5, 0.0)), "jumps"),
    (Case("to.dtype", (2, 3), (X, torch.int64)), "torch.int64"),
    (Case("pow.Scalar", (2, 3), (-2.0, X)), "base must be positive"),
    (Case("pow.Tensor_Tensor", (2, 3), (X, rand(3))), "one fixed number"),
    (Case("div.Tensor_mode", (2, 3), (X, rand(3)), {"rounding_mode": "trunc"}), "fixed powers of two"),
    (Case("remainder.Scalar", (2, 3), (X, 3)), "fixed powers of two"),
    (Case("einsum.default", (3, 3), ("ij,jk", [X, X])), "two of its factors depend"),
    (Case("linalg_vector_norm.default", (3,), (X, 3)), "order 3 is not supported"),
    (Case("linalg_vector_norm.default", (3,), (X, 0)), "order 0 is not supported"),
    (Case("linalg_matrix_norm.default", (3, 3), (X, 2, [0, 1])), "order 2 is not supported"),
    (Case("diff.default", (3,), (X, 1, -1, rand(1))), "prepend"),
    (Case("hardshrink.default", (3,)), "aten.hardshrink.default is not supported"),
]


@pytest.mark.parametrize(("case", "reason"), REFUSED, ids=lambda value: str(value).split("[")[0])
def test_what_has_no_meaning_is_refused_by_name_and_node(case: Case, reason: str) -> None:
    with pytest.raises(GraphError, match=reason) as caught:
        read(case, rand(*case.shape))
    assert case.op.split(".")[0] in str(caught.value)
    assert "\n" not in str(caught.value)
