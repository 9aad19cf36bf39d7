"""A budget of time costs tightness, never soundness; and layouts in memory change nothing."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from certify.bounds.budget import Budget
from certify.bounds.compute import METHODS, Objective, bound_rows, compute_bounds, relax
from certify.graph import GraphBuilder
from certify.operators.rows import DenseRows
from certify.sets import Box
from tests.networks import mlp, program, seeds


def unit_box(*shape: int) -> Box:
    """[0, 1] in every coordinate."""
    return Box(torch.zeros(1, *shape, dtype=torch.float64), torch.ones(1, *shape, dtype=torch.float64))


@pytest.mark.parametrize("method", [name for name in METHODS if name != "ibp"])
@settings(max_examples=10)
@given(seed=seeds())
def test_bounds_of_neurons_stay_those_of_intervals_once_the_deadline_has_passed(method: str, seed: int) -> None:
    net = program(mlp(seed, [3, 8, 8, 2]))
    region = unit_box(*net.graph.input_shape)
    plain = relax(net, region, "ibp").intervals
    late = relax(net, region, method, budget=Budget(deadline=time.monotonic() - 1)).intervals
    for name, ends in plain.items():
        for known, found in zip(ends, late[name], strict=True):
            assert torch.equal(known, found)


@settings(max_examples=10)
@given(seed=seeds())
def test_alpha_crown_out_of_time_bounds_the_objective_as_crown_ibp_does(seed: int) -> None:
    net = program(mlp(seed, [3, 8, 8, 2]))
    region = unit_box(*net.graph.input_shape)
    rows = Objective(
        torch.zeros(2, dtype=torch.int64), DenseRows(torch.eye(2, dtype=torch.float64).reshape(2, *net.graph.output_shape))
    )
    late = relax(net, region, "alpha-crown", budget=Budget(deadline=time.monotonic() - 1))
    found = bound_rows(late, rows, "alpha-crown")
    assert torch.equal(found, bound_rows(relax(net, region, "crown-ibp"), rows, "crown-ibp"))


def test_lines_of_a_transposed_layer_are_optimised() -> None:
    builder, random = GraphBuilder(), np.random.default_rng(0)
    x = builder.input("x", (1, 2, 3))
    x = builder.add("scale", [x], {"factor": builder.constant("f", random.normal(size=(1, 2, 3)))})
    x = builder.add("shift", [x], {"offset": builder.constant("o", -0.4 * np.ones((1, 2, 3)))})
    x = builder.add("transpose", [x], attrs={"perm": (0, 2, 1)})
    x = builder.add("relu", [x])
    x = builder.add("reshape", [x], attrs={"shape": (1, 6)})
    x = builder.add("linear", [x], {"weight": builder.constant("w", random.normal(size=(1, 6)))})
    net = program(builder.build(x))
    region = unit_box(1, 2, 3)
    lower, upper = compute_bounds(net, region, "alpha-crown")
    y = net.evaluate(torch.rand(200, 1, 2, 3, dtype=torch.float64))
    assert (lower <= y).all()
    assert (y <= upper).all()
