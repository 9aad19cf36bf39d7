"""Mixed-integer programs find the optimum that the visit of all affine pieces finds; solutions count once they are replayed."""

from __future__ import annotations

import time
from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.graph.passes.maxima_to_relu import maxima_to_relu
from certify.io.witness import replay
from certify.model import Model
from certify.operators.program import bind
from certify.search.constraints import Domain
from certify.search.lp_split import relaxed_root
from certify.search.milp import as_milp, search_milp, solve
from certify.search.problem import tabulate
from certify.search.stage import Problem, Progress
from certify.search.triangle import encode
from certify.specification import Specification
from tests.search.oracle import Array, boxed, small_network, violation


def problem_of(model: Model, spec: Specification, timeout: float = 30.0) -> Problem:
    return Problem(model, spec, tabulate(spec), time.monotonic() + timeout)


def question(seed: int, activation: str) -> tuple[Model, Array, Array, Array]:
    """A random network, a box, and two rows of a conjunction."""
    rng = np.random.default_rng(seed)
    inputs = int(rng.integers(1, 4))
    lower = rng.normal(size=inputs).astype(np.float32).astype(np.float64)
    upper = lower + rng.random(inputs).astype(np.float32)
    return small_network(seed, (inputs, 4, 3, 3), activation), lower, upper, rng.integers(-2, 3, (2, 3)).astype(np.float64)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from(["relu", "leaky_relu", "abs", "clip", "max"]))
def test_the_optimum_is_that_of_all_affine_pieces(seed: int, activation: str) -> None:
    model, lower, upper, rows = question(seed, activation)
    spec = boxed(lower[None], upper[None], [[(row, 0.0) for row in rows]])
    problem = problem_of(model, spec)
    rows = problem.table.directions.outputs[problem.table.direction]  # atoms are scaled to coprime coefficients
    program = bind(maxima_to_relu(model.graph), torch.float64)
    (triangle,) = encode(relaxed_root(problem, program, 0, inf), problem.table, [Domain(0, np.arange(2))])
    answer = solve(as_milp(program, triangle, 2), 10.0)
    truth = violation(model.graph, lower, upper, rows, np.zeros(2))
    assert answer.found == pytest.approx(truth, abs=1e-4)
    assert answer.bound <= truth + 1e-4
    assert answer.point is not None
    y = model.program(torch.float64).evaluate(torch.from_numpy(answer.point).reshape(1, 1, -1)).numpy().ravel()
    assert (rows @ y).max() <= truth + 1e-3


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from(["relu", "leaky_relu", "abs", "clip", "max"]), st.booleans())
def test_a_witness_is_found_where_there_is_one_and_nothing_is_ever_excluded(seed: int, activation: str, exists: bool) -> None:
    model, lower, upper, rows = question(seed, activation)
    least = violation(model.graph, lower, upper, rows, np.zeros(2))
    spec = boxed(lower[None], upper[None], [[(row, least + (0.01 if exists else -0.01)) for row in rows]])
    progress = search_milp(problem_of(model, spec), Progress(np.ones(1, bool), np.full(1, -inf)))
    assert progress.open.all()
    assert (progress.witness is not None) == exists
    assert progress.witness is None or replay(model, spec, progress.witness.x).ok
    if not exists:
        assert "they see none in 1 clause" in progress.log[-1]


def test_no_time_is_no_error() -> None:
    model, lower, upper, rows = question(1, "relu")
    spec = boxed(lower[None], upper[None], [[(row, -100.0) for row in rows]])
    assert search_milp(problem_of(model, spec, 0.0), Progress(np.ones(1, bool), np.full(1, -inf))).open.all()
