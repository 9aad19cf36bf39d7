"""Rounding goes outward at every scale: underflow, overflow, cancellation, lines chosen by rows, rows that are all decided."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.bounds.alpha import _free_nodes
from certify.bounds.backward import pull_back
from certify.bounds.compute import METHODS, compute_bounds, relax
from certify.bounds.rounding import OUTWARD
from certify.graph import GraphBuilder, GraphError
from certify.model import Model
from certify.operators.program import Program
from certify.operators.rows import DenseRows
from certify.sets import Box
from tests.networks import mlp, program, random_graph, seeds


def chain(*factors: float) -> Program:
    """x times one factor after the other, in float64."""
    builder = GraphBuilder()
    x = builder.input("x", (1, 1))
    for factor in factors:
        x = builder.add("linear", [x], {"weight": builder.constant("w", np.array([[factor]]))})
    return program(builder.build(x))


@pytest.mark.parametrize("method", METHODS)
@given(
    powers=st.lists(st.integers(-320, 300), min_size=1, max_size=4),
    start=st.integers(-323, 300),
    sign=st.sampled_from([-1.0, 1.0]),
)
def test_products_that_underflow_stay_within_the_bounds(method: str, powers: list[int], start: int, sign: float) -> None:
    """Against rational arithmetic: coefficients like 1e-200 * 1e-200 vanish in floating point, but not times an input of 1e300."""
    factors = [1.3 * 10.0**power for power in powers]
    net, x = chain(*factors), 0.7 * 10.0**start * sign
    exact = Fraction(x)
    for factor in factors:
        exact *= Fraction(factor)
    point = torch.full((1, 1, 1), x, dtype=torch.float64)
    try:
        lower, upper = compute_bounds(net, Box(point, point), method, rounding=OUTWARD)
    except ValueError:
        return  # overflow is an error
    low, high = float(lower), float(upper)
    assert low < float("inf")
    assert high > -float("inf")
    assert low == -float("inf") or Fraction(low) <= exact
    assert high == float("inf") or exact <= Fraction(high)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=8)
@given(seed=seeds(), width=st.sampled_from([1e-45, 1e-38, 1e-20, 1e19, 1e30, 3e38]))
def test_float32_bounds_at_the_ends_of_the_range_hold_or_are_an_error(method: str, seed: int, width: float) -> None:
    single = program(random_graph(seed), torch.float32)
    wide = {name: c.double() if c.is_floating_point() else c for name, c in single.constants.items()}
    double = Program(single.graph, wide, torch.float64, single.device)
    generator = torch.Generator().manual_seed(seed)
    radius = torch.rand(1, *single.graph.input_shape, generator=generator) * width
    box = Box(-radius, radius)
    try:
        lower, upper = compute_bounds(single, box, method, rounding=OUTWARD)
    except ValueError:
        return
    for _ in range(5):
        share = torch.rand(radius.shape, generator=generator, dtype=torch.float64).round()
        values = double.values((2 * share - 1) * radius.double())
        y, largest = values[double.graph.output], max(float(v.abs().max()) for v in values.values())
        slack = 1e-13 * largest * len(values)
        assert bool(((lower <= y + slack) & (y - slack <= upper)).all())


def test_optimised_lines_are_allowed_for_by_their_own_size() -> None:
    """The line of slope t that a row chose may be far steeper than the default lines of its neuron."""
    builder = GraphBuilder()
    x = builder.add("relu", [builder.input("x", (1, 1))])
    box = Box(torch.full((1, 1, 1), -1.0, dtype=torch.float64), torch.full((1, 1, 1), 1e-9, dtype=torch.float64))
    relaxed = relax(program(builder.build(x)), box, "crown", rounding=OUTWARD)
    (free,) = _free_nodes(relaxed, torch.zeros(2, dtype=torch.int64)).values()
    assert free.lower is not None
    free.lower.t[:] = torch.tensor([0.0, 1.0], dtype=torch.float64)
    free.lower.refresh()
    flat, steep = free.relaxed().allowance.scale.flatten()  # type: ignore[union-attr]
    assert float(flat) < 1e-8
    assert float(steep) >= 1.0


@given(seed=seeds())
def test_bounds_halfway_allow_for_the_rounding_of_the_constant_so_far(seed: int) -> None:
    """What `settle` is told behind a ReLU is what a pass that ends there returns."""
    net = program(mlp(seed, [3, 6, 6, 6, 2]))
    x = torch.zeros(1, 1, 3, dtype=torch.float64)
    relaxed = relax(net, Box(x - 0.5, x + 0.5), "crown", rounding=OUTWARD)
    start, owner = {net.graph.output: DenseRows(torch.ones(1, 1, 2, dtype=torch.float64))}, torch.zeros(1, dtype=torch.int64)
    told: list[float] = []
    pull_back(relaxed, start, owner, relaxed.steps, settle=lambda pending, constant, owner: told.append(float(constant)))
    names = [node.name for node in net.graph.nodes]
    ends = [i for i, node in enumerate(net.graph.nodes) if node.op == "relu"][::-1]
    for value, end in zip(told, ends, strict=True):
        behind = set(names[end:])
        _, constant, _ = pull_back(relaxed, start, owner, relaxed.steps, through=lambda node, behind=behind: node.name in behind)
        assert value == float(constant)


def test_a_residual_network_whose_neurons_are_all_decided_halfway_is_bounded() -> None:
    """No rows are left when the two branches' windows are added."""
    builder, random = GraphBuilder(), np.random.default_rng(0)
    attrs = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}

    def conv(x: str, bias: float) -> str:
        weight = builder.constant("w", 0.01 * random.normal(size=(2, builder.shape(x)[1], 3, 3)))
        return builder.add("conv", [x], {"weight": weight, "bias": builder.constant("b", np.full(2, bias))}, attrs)

    stem = conv(builder.input("x", (1, 2, 12, 12)), 0.0)
    first = builder.add("relu", [stem])
    total = builder.add("add", [builder.add("relu", [conv(first, 0.0)]), first])
    head = builder.add("relu", [conv(builder.add("relu", [conv(total, 0.02)]), 0.5)])
    net = program(builder.build(head))
    x = torch.zeros(1, *net.graph.input_shape, dtype=torch.float64)
    lower, upper = compute_bounds(net, Box(x - 0.5, x + 0.5), "crown", rounding=OUTWARD)
    y = net.evaluate(x)
    assert bool(((lower <= y) & (y <= upper)).all())


@pytest.mark.parametrize("method", METHODS)
def test_many_readers_of_one_neuron_cost_no_soundness(method: str) -> None:
    """Coefficients that arrive over many paths and cancel: 2^53 - 2^53 + 1 must not lose the 1."""
    builder = GraphBuilder()
    x = builder.input("x", (1, 1))
    total = builder.add("scale", [x], {"factor": builder.constant("f", np.array([1.0]))})
    for i in range(60):
        factor = builder.constant("f", np.array([2.0**53 * (1 if i % 2 == 0 else -1)]))
        total = builder.add("add", [total, builder.add("scale", [x], {"factor": factor})])
    net = program(builder.build(total))
    point = torch.ones(1, 1, 1, dtype=torch.float64)
    lower, upper = compute_bounds(net, Box(point, point), method, rounding=OUTWARD)
    assert float(lower) <= 1.0 <= float(upper)


def test_a_model_with_another_graph_keeps_no_programs_of_the_old_one() -> None:
    from dataclasses import replace

    model = Model(mlp(0, [2, 3, 2]))
    model.program()
    other = replace(model, graph=mlp(1, [2, 4, 2]))
    assert other.program().graph is other.graph


@pytest.mark.parametrize("method", METHODS)
def test_a_node_without_axes_is_refused_with_the_way_on(method: str) -> None:
    builder = GraphBuilder()
    total = builder.add("reduce_sum", [builder.input("x", (1, 3))], attrs={"axes": (0, 1), "keepdims": False})
    net, x = program(builder.build(total)), torch.zeros(1, 1, 3, dtype=torch.float64)
    with pytest.raises(GraphError, match="keep one"):
        compute_bounds(net, Box(x, x), method)


@pytest.mark.parametrize("method", METHODS)
def test_paddings_wider_than_the_kernel_are_bounded(method: str) -> None:
    """Windows of the outermost outputs lie outside the image altogether."""
    builder, random = GraphBuilder(), np.random.default_rng(0)
    x = builder.input("x", (1, 1, 3, 3))
    for kernel, padding in ((1, 2), (2, 2)):
        weight = builder.constant("w", random.normal(size=(2, builder.shape(x)[1], kernel, kernel)))
        attrs = {"stride": (1, 1), "padding": (padding, padding), "dilation": (1, 1), "groups": 1}
        x = builder.add("relu", [builder.add("conv", [x], {"weight": weight}, attrs)])
    net = program(builder.build(x))
    center = torch.from_numpy(random.normal(size=(1, 1, 1, 3, 3)))
    lower, upper = compute_bounds(net, Box(center - 0.1, center + 0.1), method, rounding=OUTWARD)
    y = net.evaluate(center)
    assert bool(((lower <= y) & (y <= upper)).all())
