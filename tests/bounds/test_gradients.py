"""Bounds are differentiable in weights and input sets; alpha-CROWN's closed-form gradient is the one autograd finds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from torch import Tensor

from certify.bounds.alpha import Schedule, _free_nodes, _push
from certify.bounds.backward import at_input, pull_to_input
from certify.bounds.compute import compute_bounds, relax
from certify.bounds.concretize import minimiser
from certify.operators.program import Program
from certify.operators.rows import DenseRows
from certify.operators.table import OPS
from certify.sets import Box, LpBall
from tests.networks import mlp, program, random_graph, seeds

SMOOTH = ("relu", "tanh", "sigmoid", "leaky_relu")
METHODS = ("ibp", "crown-ibp", "crown", "forward")
STEP = 1e-6


def slope_along(function: object, inputs: list[Tensor], direction: list[Tensor]) -> tuple[Tensor, Tensor]:
    """One-sided difference quotients of a function of tensors: they differ where it has a kink."""

    def at(t: float) -> Tensor:
        with torch.no_grad():
            return function([x + t * d for x, d in zip(inputs, direction, strict=True)])  # type: ignore[operator]

    middle = at(0.0)
    return (middle - at(-STEP)) / STEP, (at(STEP) - middle) / STEP


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["box", "l1", "l2"])
@settings(max_examples=12)
@given(seed=seeds())
def test_gradients_are_finite_differences_away_from_kinks(method: str, kind: str, seed: int) -> None:
    net = program(random_graph(seed, SMOOTH))
    generator = torch.Generator().manual_seed(seed)
    names = [name for name, c in net.constants.items() if c.is_floating_point()]
    center = torch.randn(2, *net.graph.input_shape, generator=generator, dtype=torch.float64)
    inputs = [center, torch.tensor([0.05, 0.1], dtype=torch.float64), *(net.constants[name] for name in names)]
    direction = [torch.randn(x.shape, generator=generator, dtype=torch.float64) for x in inputs]
    direction[1] = direction[1] * 0.1

    def total(tensors: list[Tensor]) -> Tensor:
        center, eps, *weights = tensors
        bound = Program(net.graph, {**net.constants, **dict(zip(names, weights, strict=True))}, net.dtype, net.device)
        radius = eps.reshape(-1, *(1,) * (center.ndim - 1))
        region = Box(center - radius, center + radius) if kind == "box" else LpBall(center, eps, {"l1": 1, "l2": 2}[kind])
        lower, upper = compute_bounds(bound, region, method)
        return (upper - 0.5 * lower).sum()

    live = [x.clone().requires_grad_() for x in inputs]
    gradients = torch.autograd.grad(total(live), live, allow_unused=True)
    found = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True) if g is not None)
    before, after = slope_along(total, inputs, direction)
    if abs(float(before - after)) > 1e-3 * (1 + abs(float(before))):
        return  # a kink
    assert found == pytest.approx(float(before + after) / 2, rel=2e-3, abs=2e-3)


@settings(max_examples=15)
@given(seed=seeds())
def test_the_closed_form_gradient_of_alpha_crown_is_autograds(seed: int) -> None:
    net = program(mlp(seed, [3, 8, 8, 2]))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 1, 3, generator=generator, dtype=torch.float64)
    relaxed = relax(net, Box(x - 0.3, x + 0.3), "crown")
    start = {net.graph.output: DenseRows(torch.randn(2, 1, 2, generator=generator, dtype=torch.float64))}
    owner = torch.zeros(2, dtype=torch.int64)
    free = _free_nodes(relaxed, owner)
    assume(free)
    parameters = {}
    for name, node in free.items():
        assert node.lower is not None
        parameters[name] = torch.rand(node.lower.t.shape, generator=generator, dtype=torch.float64).requires_grad_()
        node.lower.t = parameters[name]
        node.lower.slope, node.lower.shift = node.lower.slope.clone(), node.lower.shift.clone()
        node.lower.refresh()
    trace: dict[str, object] = {}
    steps = {**relaxed.steps, **{name: node.relaxed() for name, node in free.items()}}
    rows, constant = pull_to_input(relaxed, start, owner, steps, trace)  # type: ignore[arg-type]
    value = at_input(relaxed, rows, constant, owner)
    wanted = dict(zip(parameters, torch.autograd.grad(value.sum(), list(parameters.values()), allow_unused=True), strict=True))
    with torch.no_grad():
        arrived = {name: piece.dense() for name, piece in trace.items() if not OPS[net.graph.node(name).op].affine}  # type: ignore[attr-defined]
        assert rows is not None
        points = _push(relaxed, steps, minimiser(rows.dense(), relaxed.region, owner), arrived, owner)
        for name, node in free.items():
            side = node.lower
            assert side is not None
            part = arrived[name].flatten()[side.where].clamp(min=0)
            z = points[node.node.inputs[0]].flatten()[side.where]
            torch.testing.assert_close(part * (side.line.slope_dt * z + side.line.intercept_dt), wanted[name], rtol=1e-9, atol=1e-9)


def test_a_schedule_without_iterations_gives_crowns_bound() -> None:
    from certify.bounds.alpha import optimised_lower_bound

    net = program(mlp(0, [3, 8, 2]))
    x = torch.zeros(1, 1, 3, dtype=torch.float64)
    box = Box(x - 0.3, x + 0.3)
    row = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    relaxed = relax(net, box, "crown")
    start = {net.graph.output: DenseRows(row[:, None])}
    found = optimised_lower_bound(relaxed, start, torch.zeros(1, dtype=torch.int64), Schedule(iterations=0))
    torch.testing.assert_close(found, compute_bounds(net, box, "crown", row)[0][0])
