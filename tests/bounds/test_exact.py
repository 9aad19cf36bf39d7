"""Small networks against exact answers: CROWN <= triangle LP <= exact minimum (MILP), alpha-CROWN never beyond the LP on one layer."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from certify.bounds.alpha import Schedule, optimised_lower_bound
from certify.bounds.compute import METHODS, Objective, compute_bounds, relax
from certify.graph import GraphBuilder
from certify.operators.program import Program
from certify.operators.rows import DenseRows
from certify.sets import Box
from tests.networks import mlp, program, seeds


def layers(net: Program) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases of the network's linear nodes."""
    nodes = [node for node in net.graph.nodes if node.op == "linear"]
    return [tuple(net.params(node)[role].numpy() for role in ("weight", "bias")) for node in nodes]  # type: ignore[misc]


def preactivation_bounds(net: Program, box: Box, method: str = "crown") -> list[tuple[np.ndarray, np.ndarray]]:
    """The method's bounds of every linear node but the last."""
    relaxed = relax(net, box, method)
    names = [node.name for node in net.graph.nodes if node.op == "linear"][:-1]
    return [tuple(side[0, 0].numpy() for side in relaxed.intervals[name]) for name in names]  # type: ignore[misc]


def exact_minimum(net: Program, box: Box, row: np.ndarray) -> float:
    """min of row @ output over the box by a big-M MILP (Tjeng et al., arXiv 1711.07356), HiGHS."""
    weights, bounds = layers(net), preactivation_bounds(net, box)
    low, high = (side[0, 0].numpy() for side in (box.lower, box.upper))
    # Variables: x, then for every hidden layer the activations and the indicators.
    sizes = [len(low)] + [size for w, _ in weights[:-1] for size in (len(w), len(w))]
    start = np.concatenate([[0], np.cumsum(sizes)])
    lower, upper, integer = np.full(start[-1], -np.inf), np.full(start[-1], np.inf), np.zeros(start[-1])
    lower[: len(low)], upper[: len(low)] = low, high
    constraints, previous = [], slice(0, len(low))
    for i, ((w, b), (l, u)) in enumerate(zip(weights[:-1], bounds, strict=True)):
        y, d = slice(start[1 + 2 * i], start[2 + 2 * i]), slice(start[2 + 2 * i], start[3 + 2 * i])
        lower[y], lower[d], upper[d], integer[d] = 0, 0, 1, 1
        top, bottom = np.maximum(u, 0), np.minimum(l, 0)
        eye, zero = np.eye(len(w)), np.zeros((len(w), start[-1]))
        above, below, capped = zero.copy(), zero.copy(), zero.copy()
        above[:, y], above[:, previous] = eye, -w  # y >= z
        below[:, y], below[:, previous], below[:, d] = eye, -w, -np.diag(bottom)  # y <= z - l (1 - d)
        capped[:, y], capped[:, d] = eye, -np.diag(top)  # y <= u d
        constraints += [
            LinearConstraint(above, b, np.inf),
            LinearConstraint(below, -np.inf, b - bottom),
            LinearConstraint(capped, -np.inf, 0),
        ]
        previous = y
    w, b = weights[-1]
    cost = np.zeros(start[-1])
    cost[previous] = row @ w
    solved = milp(cost, constraints=constraints, integrality=integer, bounds=Bounds(lower, upper), options={"mip_rel_gap": 1e-9})
    assert solved.success, solved.message
    return float(solved.fun + row @ b)


def triangle_minimum(net: Program, box: Box, row: np.ndarray, method: str = "crown") -> float:
    """min of row @ output over the triangle relaxation (Ehlers, arXiv 1705.01320) on the method's intermediate bounds."""
    x = cp.Variable(box.lower.shape[-1])
    constraints = [x >= box.lower[0, 0].numpy(), x <= box.upper[0, 0].numpy()]
    y = x
    weights = layers(net)
    for (w, b), (l, u) in zip(weights[:-1], preactivation_bounds(net, box, method), strict=True):
        z, y = w @ y + b, cp.Variable(len(w))
        crossing = (l < 0) & (u > 0)
        slope = np.where(crossing, u / np.where(crossing, u - l, 1), (l >= 0).astype(float))
        shift = np.where(crossing, -slope * l, 0)
        constraints += [y >= 0, y >= z, y <= cp.multiply(slope, z) + shift]
    w, b = weights[-1]
    problem = cp.Problem(cp.Minimize(row @ (w @ y + b)), constraints)
    return float(problem.solve(solver=cp.HIGHS))


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=8)
@given(seed=seeds(), eps=st.sampled_from([0.05, 0.3, 1.0]))
def test_lower_bounds_never_exceed_the_exact_minimum(method: str, seed: int, eps: float) -> None:
    net, box, row = case(seed, [3, 8, 8, 2], eps)
    lower, _ = compute_bounds(net, box, method, torch.from_numpy(row)[None])
    assert float(lower) <= exact_minimum(net, box, row) + 1e-6


@settings(max_examples=8)
@given(seed=seeds(), eps=st.sampled_from([0.05, 0.3, 1.0]))
def test_crown_is_below_the_triangle_lp_and_the_lp_below_the_exact_minimum(seed: int, eps: float) -> None:
    net, box, row = case(seed, [3, 8, 8, 2], eps)
    exact = exact_minimum(net, box, row)
    for method in ("crown", "alpha-crown"):
        lower, _ = compute_bounds(net, box, method, torch.from_numpy(row)[None])
        triangle = triangle_minimum(net, box, row, method)
        assert float(lower) <= triangle + 1e-6
        assert triangle <= exact + 1e-6


@settings(max_examples=8)
@given(seed=seeds(), eps=st.sampled_from([0.1, 1.0]))
def test_alpha_crown_approaches_the_triangle_lp_of_one_hidden_layer(seed: int, eps: float) -> None:
    net, box, row = case(seed, [3, 10, 2], eps)
    relaxed = relax(net, box, "crown")
    rows = DenseRows(torch.from_numpy(row).reshape(1, 1, -1))
    objective = Objective(torch.zeros(1, dtype=torch.int64), rows)
    start = {net.graph.output: objective.outputs}
    found = float(optimised_lower_bound(relaxed, start, objective.owner, Schedule(iterations=300, step=0.1, decay=0.985)))
    crown, _ = compute_bounds(net, box, "crown", torch.from_numpy(row)[None])
    triangle = triangle_minimum(net, box, row)
    assert found <= triangle + 1e-6
    assert found >= float(crown) - 1e-9
    assert triangle - found <= 0.02 * (triangle - float(crown)) + 1e-3 * (1 + abs(triangle))


def case(seed: int, sizes: list[int], eps: float) -> tuple[Program, Box, np.ndarray]:
    """A network, a box around a random point and a row of the objective."""
    net = program(mlp(seed, sizes))
    random = np.random.default_rng(seed)
    x = torch.from_numpy(random.uniform(-1, 1, (1, 1, sizes[0])))
    return net, Box(x - eps, x + eps), random.normal(size=sizes[-1])


@pytest.mark.parametrize("op", ["relu", "sigmoid", "tanh"])
def test_rows_of_elementwise_outputs_are_optimised_as_if_each_were_a_network_of_its_own(op: str) -> None:
    """They read one neuron each, and no other line is free: the same optimum, batch by batch, as of all rows written out."""
    builder = GraphBuilder()
    x = builder.input("x", (1, 5))
    net = program(builder.build(builder.add(op, [builder.add(op, [x])])))
    center = torch.linspace(-1.0, 1.0, 5, dtype=torch.float64).reshape(1, 1, 5)
    box = Box(center - 0.7, center + 0.7)
    found = compute_bounds(net, box, "alpha-crown")
    dense = compute_bounds(net, box, "alpha-crown", torch.eye(5, dtype=torch.float64))
    for one, other in zip(found, dense, strict=True):
        torch.testing.assert_close(one.flatten(), other.flatten(), rtol=1e-9, atol=1e-9)
