"""Branch and bound by linear programs agrees with the visit of all affine pieces, and says what it left open."""

from __future__ import annotations

import time
from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.graph import GraphBuilder
from certify.io.vnnlib import read_vnnlib
from certify.io.witness import replay
from certify.model import Model
from certify.search import lp_split
from certify.search.evidence import Discard, Evidence, Keep
from certify.search.lp_split import relaxed_root, settle, small, split_by_lp
from certify.search.problem import tabulate
from certify.search.stage import Problem, Progress
from certify.specification import Specification, robust
from tests.search.oracle import boxed, small_network, violation

ACTIVATIONS = ("relu", "leaky_relu", "abs", "clip", "max")


def decide(model: Model, spec: Specification, timeout: float = 30.0, evidence: Evidence | None = None) -> Progress:
    deadline = time.monotonic() + timeout
    problem = Problem(model, spec, tabulate(spec), deadline, evidence=evidence or Discard())
    return split_by_lp(problem, Progress(spec.nonempty(), np.full(len(spec.clauses), -inf)))


def conjunction(seed: int, activation: str, gap: float) -> tuple[Model, Specification]:
    """A clause of two atoms over a random network that misses being satisfiable by `gap`, or is so by -gap."""
    rng = np.random.default_rng(seed)
    inputs = int(rng.integers(1, 4))
    model = small_network(seed, (inputs, 4, 3, 3), activation)
    lower = rng.normal(size=inputs).astype(np.float32).astype(np.float64)
    upper = lower + rng.random(inputs).astype(np.float32)
    rows = rng.integers(-2, 3, (2, 3)).astype(np.float64)
    least = violation(model.graph, lower, upper, rows, np.zeros(2))
    return model, boxed(lower[None], upper[None], [[(row, least - gap) for row in rows]])


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from(ACTIVATIONS), st.sampled_from([1e-5, 1e-3, 0.1]))
def test_what_no_piece_satisfies_is_excluded(seed: int, activation: str, gap: float) -> None:
    progress = decide(*conjunction(seed, activation, gap))
    assert progress.witness is None
    assert not progress.open.any()


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from(ACTIVATIONS), st.sampled_from([1e-3, 0.1]))
def test_what_some_piece_satisfies_is_found(seed: int, activation: str, gap: float) -> None:
    model, spec = conjunction(seed, activation, -gap)
    progress = decide(model, spec)
    assert progress.witness is not None
    assert replay(model, spec, progress.witness.x).ok


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_balls_are_decided(p: float) -> None:
    model = small_network(2, (3, 5, 5, 3))
    x = np.array([[0.1, -0.2, 0.3]], np.float32)
    label = int(model(torch.from_numpy(x)).argmax())
    for eps, proved in (("1/1000", True), ("5", False)):
        spec = robust(x, label, eps=eps, p=p).bind(model.graph.input_shape, model.graph.output_shape)
        progress = decide(model, spec)
        assert (not progress.open.any()) == proved
        assert (progress.witness is not None) != proved


def test_each_clause_is_decided_for_itself() -> None:
    model = small_network(1, (2, 4, 4, 3))
    lower, upper = np.array([[-1.0, -1.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 1.0]])
    row = np.array([1.0, 0.0, 0.0])
    least = [violation(model.graph, lower[k], upper[k], row[None], np.zeros(1)) for k in (0, 1)]
    progress = decide(model, boxed(lower, upper, [[(row, least[0] - 0.01)], [(row, least[1] - 0.02)]]))
    assert not progress.open.any()
    assert progress.margin.min() >= 0


def test_a_margin_below_rounding_is_left_open_and_said_so() -> None:
    """relu(x) < 0 is satisfied nowhere, by no margin at all."""
    builder = GraphBuilder()
    model = Model(builder.build(builder.add("relu", [builder.input("x", (1, 1))])))
    progress = decide(model, boxed(-np.ones((1, 1)), np.ones((1, 1)), [[(np.ones(1), 0.0)]], strict=True))
    assert progress.witness is None
    assert progress.open.all()
    assert "2 domains left open by rounding" in progress.log[-1]


def test_too_many_unstable_neurons_are_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lp_split, "MOST_UNSTABLE", 0)
    model, spec = conjunction(0, "relu", 1e-5)
    progress = decide(model, spec)
    assert progress.open.all()
    assert "with more than 0 unstable neurons" in progress.log[-1]


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from([-1e-3, 1e-3]))
def test_the_two_halves_of_a_split_settle_the_whole(seed: int, gap: float) -> None:
    model, spec = conjunction(seed, "relu", gap)
    problem = Problem(model, spec, tabulate(spec), time.monotonic() + 30)
    root = relaxed_root(problem, model.program(torch.float64), 0, inf)
    halves = [settle(problem, root, 0, [("linear", 0, 0.0, sign)], problem.deadline) for sign in (1, -1)]
    assert all(half.closed != (half.witness is not None) for half in halves)
    assert any(half.witness is not None for half in halves) == (gap < 0)


def test_no_time_leaves_the_clause_open() -> None:
    model, spec = conjunction(3, "relu", 0.01)
    assert decide(model, spec, timeout=0.0).open.all()


def test_domains_are_handed_over_as_evidence() -> None:
    model, spec = conjunction(5, "relu", 1e-5)
    keep = Keep()
    decide(model, spec, evidence=keep)
    assert keep.closed
    assert all(domains.data["bound"] > 0 for domains in keep.closed)


def test_curves_are_refused_by_the_predicate() -> None:
    for activation, fits in (("relu", True), ("max", True), ("sigmoid", False), ("tanh", False)):
        model = small_network(0, (2, 4, 3), activation)
        spec = boxed(np.zeros((1, 2)), np.ones((1, 2)), [[(np.ones(3), 0.0)]])
        assert small(Problem(model, spec, tabulate(spec), inf)) == fits


@pytest.mark.parametrize(("condition", "holds"), [("(>= Y_0 1)", True), ("(>= Y_0 X_0)", True), ("(>= Y_0 2.5)", False)])
def test_conditions_on_a_network_that_returns_its_input_are_about_its_input(condition: str, holds: bool) -> None:
    builder = GraphBuilder()
    model = Model(builder.build(builder.input("x", (1, 1))))
    declared = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 1))(assert (<= X_0 2))"
    progress = decide(model, read_vnnlib(f"{declared}(assert {condition})").bind((1, 1), (1, 1)))
    assert bool(progress.open.any()) == holds
