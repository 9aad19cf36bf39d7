"""Leaves: what is closed holds no witness, what a linear program can close is closed, and nothing rests on the solver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog

from certify.bounds.backward import tighten_backward
from certify.bounds.budget import DEFAULT_BUDGET
from certify.bounds.relaxed import Relaxed, relax_network
from certify.bounds.rounding import NEAREST, OUTWARD, Rounding
from certify.model import Model
from certify.operators.table import OPS
from certify.search.constraints import Domain
from certify.search.evidence import Split
from certify.search.leaf import close_leaf, close_leaves, cut_intervals
from certify.search.linear_program import LinearProgram, least_violation, margin
from certify.search.problem import Table, tabulate
from certify.sets import Box, LpBall
from tests.search.oracle import boxed, small_network

Array = NDArray[np.float64]


def relaxed(model: Model, region: Box | LpBall, domains: list[Domain] | None = None, rounding: Rounding = OUTWARD) -> Relaxed:
    """The network relaxed over the region, one batch element for each domain where there are some."""
    program = model.program(torch.float64)
    root = relax_network(program, region, model.graph.output, tighten_backward, rounding, DEFAULT_BUDGET)
    if domains is None:
        return root
    copies = region.map(lambda t: t[[domain.owner for domain in domains]])
    return relax_network(
        program, copies, model.graph.output, tighten_backward, rounding, DEFAULT_BUDGET, cut_intervals(root, domains)
    )


def splits_at(model: Model, root: Relaxed, x: Array) -> list[Split]:
    """The unstable neurons, fixed to the side on which they are at x."""
    values = model.program(torch.float64).values(torch.from_numpy(x).reshape(1, *model.graph.input_shape))
    found = []
    for node in model.graph.nodes:
        rule = OPS.get(node.op)
        if rule is None or rule.affine:
            continue
        l, u = root.intervals[node.inputs[0]]
        for i in ((l < 0) & (u > 0)).flatten().nonzero().flatten().tolist():
            value = float(values[node.inputs[0]].flatten()[i])
            found.append((node.inputs[0], i, 0.0, 1 if value >= 0 else -1))
    return found


@dataclass(frozen=True)
class Case:
    """A leaf around a point x of a box, its clause, and what a linear program made from finite differences says of it."""

    model: Model
    table: Table
    domain: Domain
    network: Relaxed
    truth: float
    """Least over the leaf of the largest row @ y - rhs."""


ROWS = np.array([[1.0, -1.0, 0.0], [1.0, 0.0, -2.0]])


def case(seed: int, activation: str, offset: float, sizes: tuple[int, ...] = (3, 6, 5, 3)) -> Case:
    """The clause ROWS @ y <= ROWS @ y(x) + offset, on the leaf that holds a random x."""
    rng, model = np.random.default_rng(seed), small_network(seed, sizes, activation)
    lower = rng.normal(size=sizes[0]).astype(np.float32).astype(np.float64)
    upper = lower + rng.random(sizes[0]).astype(np.float32)
    x = lower + rng.random(sizes[0]) * (upper - lower)
    box = Box(torch.from_numpy(lower).reshape(1, 1, -1), torch.from_numpy(upper).reshape(1, 1, -1))
    root = relaxed(model, box)
    splits = splits_at(model, root, x)
    at_x = model.program(torch.float64).evaluate(torch.from_numpy(x).reshape(1, 1, -1)).numpy().ravel()
    rhs = ROWS @ at_x + offset
    table = tabulate(boxed(lower[None], upper[None], [list(zip(ROWS, rhs, strict=True))]))
    domain = Domain(0, np.arange(2), splits)
    forms = affine_forms(model, root, splits, x)
    constraints = [-sign * forms[name][:, index] for name, index, _, sign in splits]
    atoms = ROWS @ forms[model.graph.output].T - np.append(np.zeros(len(lower)), 1) * rhs[:, None]
    return Case(model, table, domain, relaxed(model, box, [domain]), least(np.array(constraints), atoms, lower, upper))


def affine_forms(model: Model, root: Relaxed, splits: list[Split], x: Array) -> dict[str, Array]:
    """Every node as an affine function of the input, (inputs + 1, n), the activations being linear on the side that x is on."""
    program = model.program(torch.float64)
    points = torch.from_numpy(np.vstack([np.eye(len(x)), np.zeros(len(x))])).reshape(-1, 1, len(x))
    at_x = program.values(torch.from_numpy(x).reshape(1, 1, -1))
    values = {model.graph.input: points}
    for node in model.graph.nodes[1:]:
        rule, inputs = OPS[node.op], [values[name] for name in node.inputs]
        if rule.affine:
            values[node.name] = rule.value(*inputs, node=node, params=program.params(node))
        else:
            side = torch.where(at_x[node.inputs[0]] >= 0, 1.0, -1.0).to(torch.float64)
            slope = rule.value(side, node=node, params=program.params(node)) * side
            values[node.name] = inputs[0] * slope
    flat = {name: value.flatten(1).numpy() for name, value in values.items()}
    return {name: np.vstack([value[:-1] - value[-1], value[-1:]]) for name, value in flat.items()}


def least(constraints: Array, atoms: Array, lower: Array, upper: Array) -> float:
    """The least of the largest atom where all constraints are <= 0, forms with the constant last."""
    constraints = constraints.reshape(-1, len(lower) + 1)
    matrix = np.vstack(
        [np.column_stack([atoms[:, :-1], -np.ones(len(atoms))]), np.column_stack([constraints[:, :-1], np.zeros(len(constraints))])]
    )
    limits = -np.concatenate([atoms[:, -1], constraints[:, -1]])
    solved = linprog(np.append(np.zeros(len(lower)), 1.0), matrix, limits, bounds=[*zip(lower, upper, strict=True), (None, None)])
    assert solved.status == 0
    return float(solved.fun)


@given(st.integers(0, 10**6), st.sampled_from(["relu", "leaky_relu", "abs"]), st.floats(0, 2))
def test_a_leaf_with_a_point_that_satisfies_the_clause_is_never_closed(seed: int, activation: str, offset: float) -> None:
    c = case(seed, activation, offset)
    leaf = close_leaf(c.network, c.table, c.domain)
    assert not leaf.closed
    assert leaf.candidate is not None


@given(st.integers(0, 10**6), st.sampled_from(["relu", "leaky_relu", "abs"]), st.sampled_from([-1e-9, -1e-7, 1e-9, 1e-7, 1e-2]))
def test_a_leaf_is_closed_exactly_where_its_program_has_no_point(seed: int, activation: str, gap: float) -> None:
    at_x = case(seed, activation, 0.0)
    c = case(seed, activation, at_x.truth - gap)
    leaf = close_leaf(c.network, c.table, c.domain)
    assert leaf.closed == (gap > 0)
    if gap < 0:
        assert leaf.candidate is not None
        y = c.model.program(torch.float64).evaluate(torch.from_numpy(leaf.candidate).reshape(1, 1, -1)).numpy().ravel()
        assert (ROWS @ y <= c.table.rhs + 1e-8).all()


@given(st.integers(0, 10**6))
def test_contradictory_splits_are_closed_as_infeasible(seed: int) -> None:
    c = case(seed, "relu", 1e3)
    if not c.domain.splits:
        return
    name, index, _, _ = c.domain.splits[0]
    beyond = float(c.network.intervals[name][1].flatten()[index]) + 1e-3
    contradictory = Domain(0, c.domain.atoms, [*c.domain.splits, (name, index, beyond, 1)])
    leaf = close_leaf(c.network, c.table, contradictory)
    assert leaf.closed
    assert leaf.reason == "infeasible"


def test_leaves_of_one_batch_are_decided_as_each_alone() -> None:
    model = small_network(3, (2, 6, 6, 3))
    lower, upper = np.array([[-1.0, -1.0], [0.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.5]])
    box = Box(torch.from_numpy(lower).reshape(2, 1, 2), torch.from_numpy(upper).reshape(2, 1, 2))
    root = relaxed(model, box)
    table = tabulate(boxed(lower, upper, [[(row, -0.5)] for row in ROWS]))
    domains = [
        Domain(
            owner, np.flatnonzero(table.region == owner), splits_at(model, relaxed(model, box.map(lambda t, k=owner: t[[k]])), x)
        )
        for owner in (0, 1)
        for x in np.random.default_rng(0).random((5, 2)) * (upper - lower)[owner] + lower[owner]
    ]
    together = close_leaves(relaxed(model, box, domains), table, [Domain(i, d.atoms, d.splits) for i, d in enumerate(domains)])
    assert root.batch == 2
    for domain, leaf in zip(domains, together, strict=True):
        alone = close_leaf(relaxed(model, box, [domain]), table, Domain(0, domain.atoms, domain.splits))
        assert leaf.closed == alone.closed
        assert leaf.margin == pytest.approx(alone.margin, abs=1e-9)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_over_a_ball_the_program_sees_the_ball_and_not_its_box(p: float) -> None:
    """y = x: the largest x_0 + x_1 in the unit ball around 0 is 1 for p = 1, sqrt(2) for p = 2, and 2 in its box."""
    model = small_network(0, (2, 3))
    constants = model.program(torch.float64).constants
    constants["w"].copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    constants["b"].zero_()
    ball = LpBall(torch.zeros(1, 1, 2, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64), p, None)
    most = 2 ** (1 - 1 / p)
    row = np.array([-1.0, -1.0, 0.0])
    for gap in (-1e-3, 1e-3):
        table = tabulate(boxed(-np.ones((1, 2)), np.ones((1, 2)), [[(row, -(most + gap))]]))
        assert close_leaf(relaxed(model, ball), table, Domain(0, np.arange(1))).closed == (gap > 0)


def test_bounds_that_are_not_rigorous_are_refused() -> None:
    c = case(0, "relu", 0.0)
    with pytest.raises(ValueError, match="rounding=OUTWARD"):
        close_leaf(relaxed(c.model, c.network.region, rounding=NEAREST), c.table, Domain(0, c.domain.atoms))


def test_after_the_deadline_leaves_stay_open() -> None:
    c = case(0, "relu", -100.0)
    assert close_leaf(c.network, c.table, c.domain).closed
    assert not close_leaf(c.network, c.table, c.domain, deadline=0.0).closed


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 8))
def test_no_multipliers_refute_a_program_that_has_a_point(seed: int, variables: int, constraints: int) -> None:
    """The point is planted on the rim of every constraint, in exact arithmetic, and the multipliers are whatever they are."""
    rng = np.random.default_rng(seed)
    lower, upper = -np.ones(variables), np.ones(variables)
    point = rng.integers(-8, 9, variables) / 8
    rows = rng.integers(-64, 65, (constraints, variables)) / 64
    program = LinearProgram(rows, -rows @ point, lower, upper)
    assert margin(program, rng.random(constraints) ** 8) <= 0
    solution = least_violation(program)
    assert solution is not None
    assert margin(program, solution.multipliers) <= 0


@given(st.integers(0, 10**6))
def test_a_program_without_points_is_refuted_by_its_multipliers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    row, n = rng.normal(size=4), 4
    program = LinearProgram(np.array([row, -row]), np.array([1e-6, 1e-6]), -np.ones(n), np.ones(n))
    solution = least_violation(program)
    assert solution is not None
    assert solution.violation > 0
    assert margin(program, solution.multipliers) > 0
