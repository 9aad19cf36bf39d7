"""Bounds of random networks hold for sampled points and for the points that an attack finds, with rounding outward and no tolerance."""

from __future__ import annotations

import re
from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from certify.bounds.compute import METHODS, Objective, bound_rows, compute_bounds, relax
from certify.bounds.rounding import NEAREST, OUTWARD
from certify.operators.program import Program
from certify.operators.rows import DenseRows
from certify.sets import Box, LpBall
from tests.networks import mlp, program, random_graph, seeds

BATCH = 2
WIDTHS = st.sampled_from([0.0, 1e-9, 1e-3, 0.1, 1.0, 10.0, 1e3])


def random_set(program: Program, kind: str, width: float, seed: int) -> Box | LpBall:
    """A box (with some coordinates of width zero) or a ball, with or without a domain."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(BATCH, *program.graph.input_shape, generator=generator, dtype=torch.float64)
    if kind == "box":
        free = torch.rand(x.shape, generator=generator) < 0.8
        radius = width * torch.rand(x.shape, generator=generator, dtype=torch.float64) * free
        return Box(x - radius, x + radius)
    p = {"1": 1.0, "2": 2.0, "inf": inf}[kind.split("-")[0]]
    return LpBall(x, width, p, (0.0, 1.0) if kind.endswith("domain") else None)


def points(region: Box | LpBall, count: int, seed: int) -> Tensor:
    """Points of the set: its corners and its inside for a box; axes, corners and directions for a ball: (count, batch, *input)."""
    generator = torch.Generator().manual_seed(seed)
    box = region.box
    shape = (count, *box.lower.shape)
    corner = torch.rand(shape, generator=generator) < 0.5
    inside = torch.rand(shape, generator=generator, dtype=torch.float64)
    share = torch.rand(count, *(1,) * box.lower.ndim, generator=generator)
    inside = torch.where(share < 0.5, corner.to(inside.dtype), inside)
    if isinstance(region, Box):
        return torch.clamp(box.lower + inside * (box.upper - box.lower), box.lower, box.upper)
    sparse = torch.rand(shape, generator=generator) < share
    step = (2 * inside - 1) * sparse
    norm = step.flatten(2).norm(p=region.p, dim=2).clamp(min=1e-12).reshape(count, -1, *(1,) * (step.ndim - 2))
    low, high = region.domain
    return torch.clamp(region.center + step / norm * region.radius * (1 - 1e-12), low, high)


def ascend(program: Program, region: Box, start: Tensor, sign: float) -> Tensor:
    """A few sign-gradient steps of the outputs inside a box, from one of the sampled points."""
    x = start.clone()
    for step in (0.5, 0.25, 0.1):
        x.requires_grad_(True)
        (gradient,) = torch.autograd.grad(sign * program.evaluate(x).sum(), x)
        x = torch.clamp(x.detach() + step * (region.upper - region.lower) * gradient.sign(), region.lower, region.upper)
    return x


def evaluation_error(program: Program, x: Tensor) -> Tensor:
    """What evaluating the network in float64 itself may be off: far above its rounding, far below any bound's width of interest."""
    values = program.values(x)
    largest = torch.stack([v.flatten(1).abs().amax(dim=1) for v in values.values()]).amax(dim=0)
    return 1e-13 * (1 + largest) * len(values)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=30)
@given(seed=seeds(), width=WIDTHS, kind=st.sampled_from(["box", "inf-domain", "1-domain", "2-domain", "1", "2"]))
def test_no_point_of_the_set_leaves_the_bounds(method: str, seed: int, width: float, kind: str) -> None:
    net = program(random_graph(seed))
    region = random_set(net, kind, width, seed)
    lower, upper = compute_bounds(net, region, method, rounding=OUTWARD)
    assert torch.isfinite(lower).all()
    assert (lower <= upper).all()
    samples = list(points(region, 40, seed))
    if isinstance(region, Box):
        samples += [ascend(net, region, samples[0], sign) for sign in (1.0, -1.0)]
    for x in samples:
        y, slack = net.evaluate(x), evaluation_error(net, x).reshape(-1, 1, 1)
        assert (lower <= y + slack).all()
        assert (y - slack <= upper).all()


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(seed=seeds(), width=st.sampled_from([0.0, 0.01, 0.5]))
def test_float32_bounds_with_outward_rounding_hold_for_the_float64_network(method: str, seed: int, width: float) -> None:
    single = program(random_graph(seed), torch.float32)
    # The same weights, those of float32, in float64.
    double = Program(
        single.graph,
        {k: c.double() if c.is_floating_point() else c for k, c in single.constants.items()},
        torch.float64,
        single.device,
    )
    region = random_set(double, "box", width, seed)
    region = region.map(lambda t: t.float())
    lower, upper = compute_bounds(single, region, method, rounding=OUTWARD)
    wide = region.map(lambda t: t.double())
    for x in points(wide, 20, seed):
        y, slack = double.evaluate(x), evaluation_error(double, x).reshape(-1, 1, 1)
        assert (lower.double() <= y + slack).all()
        assert (y - slack <= upper.double()).all()


@settings(max_examples=20)
@given(seed=seeds(), width=st.sampled_from([1e-3, 0.1, 1.0]))
def test_objective_rows_are_bounded_like_the_outputs_they_combine(seed: int, width: float) -> None:
    net = program(random_graph(seed))
    region = random_set(net, "box", width, seed)
    objective = torch.randn(BATCH, 4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    lower, upper = compute_bounds(net, region, "crown", objective, rounding=OUTWARD)
    assert lower.shape == upper.shape == (BATCH, 4)
    for x in points(region, 20, seed):
        y = torch.einsum("bso,bo->bs", objective, net.evaluate(x).flatten(1))
        slack = evaluation_error(net, x)[:, None] * (1 + objective.abs().sum(dim=2))
        assert (lower <= y + slack).all()
        assert (y - slack <= upper).all()


@settings(max_examples=20)
@given(seed=seeds(), width=st.sampled_from([1e-3, 0.1, 1.0]))
def test_every_node_of_the_network_can_be_bounded(seed: int, width: float) -> None:
    net = program(random_graph(seed))
    region = random_set(net, "box", width, seed)
    values = [net.values(x) for x in points(region, 10, seed)]
    slack = max(float(evaluation_error(net, x).max()) for x in points(region, 10, seed))
    for node in net.graph.nodes[1:]:
        lower, upper = compute_bounds(net, region, "crown", node=node.name, rounding=OUTWARD)
        assert all((lower <= v[node.name] + slack).all() and (v[node.name] - slack <= upper).all() for v in values), node.name


@settings(max_examples=20)
@given(seed=seeds(), width=st.sampled_from([1e-3, 0.1, 1.0]))
def test_the_methods_are_ordered_by_tightness(seed: int, width: float) -> None:
    net = program(random_graph(seed, activations=("relu", "leaky_relu")))
    region = random_set(net, "box", width, seed)
    ibp, crown, alpha = (compute_bounds(net, region, method)[0] for method in ("ibp", "crown", "alpha-crown"))
    slack = 1e-9 * (1 + ibp.abs())
    assert (crown >= ibp - slack).all()
    assert (alpha >= ibp - slack).all()
    # On the same intermediate bounds; tighter ones may flip a default slope, so that alpha-crown is not above crown in every case.
    relaxed = relax(net, region, "alpha-crown")
    objective = Objective(torch.arange(BATCH), DenseRows(torch.ones(BATCH, 1, 3, dtype=torch.float64)))
    plain, optimised = (bound_rows(relaxed, objective, method) for method in ("crown", "alpha-crown"))
    assert (optimised >= plain - 1e-9 * (1 + plain.abs())).all()


@settings(max_examples=12)
@given(seed=seeds(), batch=st.integers(1, 4))
def test_bounds_of_a_batch_are_those_of_its_elements(seed: int, batch: int) -> None:
    net = program(random_graph(seed))
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(batch, *net.graph.input_shape, generator=generator, dtype=torch.float64)
    eps = torch.rand(batch, *(1,) * (x.ndim - 1), generator=generator, dtype=torch.float64)
    region = Box(x - eps, x + eps)
    for method in METHODS:
        together = compute_bounds(net, region, method)
        for i in range(batch):
            alone = compute_bounds(net, region.map(lambda t, i=i: t[i : i + 1]), method)
            for a, b in zip(together, alone, strict=True):
                torch.testing.assert_close(a[i : i + 1], b, rtol=1e-9, atol=1e-9)


@given(seed=seeds(), memory=st.sampled_from([1, 1 << 10, 1 << 14]))
def test_the_memory_budget_changes_nothing_but_the_chunks(seed: int, memory: int) -> None:
    net = program(random_graph(seed))
    region = random_set(net, "box", 0.1, seed)
    whole, chunked = (compute_bounds(net, region, "crown", memory=m) for m in (1 << 28, memory))
    for a, b in zip(whole, chunked, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@given(seed=seeds(), width=st.sampled_from([0.0, 0.1, 1.0]))
def test_outward_rounding_widens_interval_bounds_and_only_by_rounding(seed: int, width: float) -> None:
    net = program(random_graph(seed))
    region = random_set(net, "box", width, seed)
    (inner_l, inner_u), (outer_l, outer_u) = (compute_bounds(net, region, "ibp", rounding=r) for r in (NEAREST, OUTWARD))
    assert (outer_l <= inner_l).all()
    assert (inner_u <= outer_u).all()
    assert (outer_u - outer_l <= (inner_u - inner_l) * (1 + 1e-9) + 1e-9 * (1 + inner_l.abs())).all()


@pytest.mark.parametrize("method", METHODS)
def test_overflow_is_an_error_or_an_infinite_bound_and_never_a_finite_one(method: str) -> None:
    net = program(mlp(0, [2, 4, 4, 2]), torch.float32)
    x = torch.zeros(1, *net.graph.input_shape)
    try:
        lower, upper = compute_bounds(net, Box(x - 3e38, x + 3e38), method, rounding=OUTWARD)
    except ValueError as error:
        message = str(error)
    else:
        message = "infinite" if (lower == -inf).all() and (upper == inf).all() else "finite"
    assert re.search("NaN|infinite", message)


def test_an_unknown_method_is_refused_with_the_list_of_methods() -> None:
    net = program(random_graph(2))
    x = torch.zeros(1, *net.graph.input_shape, dtype=torch.float64)
    with pytest.raises(ValueError, match="alpha-crown"):
        compute_bounds(net, Box(x, x), "magic")
