"""Neuron splitting: it decides small networks, what it closes holds, and it stops when it should."""

from __future__ import annotations

import time
from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.bounds.alpha import Schedule
from certify.bounds.budget import Budget
from certify.graph import GraphBuilder
from certify.io.witness import replay
from certify.model import Model
from certify.search import neuron_split, pace
from certify.search.domain_bounds import Base, Network
from certify.search.domains import Domains, Neurons
from certify.search.evidence import Keep
from certify.search.lp_split import split_by_lp
from certify.search.neuron_root import relax_root
from certify.search.neuron_split import split_neurons, splittable
from certify.search.neuron_step import Step
from certify.search.problem import tabulate
from certify.search.stage import Problem, Progress
from certify.search.tighten import Sets, tighten
from certify.specification import Specification
from tests.networks import seeds
from tests.search.oracle import Array, boxed, small_network, violation

SIZES = (3, 6, 4, 3)


def _problem(model: Model, spec: Specification, seconds: float = 20.0, **rest: object) -> Problem:
    bound = spec.bind(model.graph.input_shape, model.graph.output_shape)
    return Problem(model, bound, tabulate(bound), time.monotonic() + seconds, **rest)  # type: ignore[arg-type]


def _search(problem: Problem) -> Progress:
    clauses = len(problem.spec.clauses)
    return split_neurons(problem, Progress(np.ones(clauses, dtype=bool), np.full(clauses, -inf)))


def _box(seed: int, size: int, radius: float = 0.6) -> tuple[Array, Array]:
    center = np.random.default_rng(seed).normal(size=(1, size))
    return center - radius, center + radius


@settings(max_examples=12, deadline=None)
@given(seed=seeds(), activation=st.sampled_from(["relu", "leaky_relu", "abs", "clip"]), gap=st.sampled_from([-0.02, 0.02]))
def test_small_piecewise_linear_networks_are_decided(seed: int, activation: str, gap: float) -> None:
    model = small_network(seed, SIZES, activation)
    lower, upper = _box(seed, 3)
    rows = np.random.default_rng(seed).integers(-2, 3, size=(2, 3)).astype(float)
    least = [violation(model.graph, lower[0], upper[0], row[None], np.zeros(1)) for row in rows]
    spec = boxed(lower, upper, [[(row, value - gap)] for row, value in zip(rows, least, strict=True)])
    problem = _problem(model, spec)
    found = _search(problem)
    if gap > 0:
        # As the plan does: a domain whose neurons promise no gain is left to linear programs.
        found = split_by_lp(problem, found) if found.open.any() else found
        assert not found.open.any(), found.log
    else:
        assert found.open.any()
        assert found.witness is not None, found.log
        assert replay(model, problem.spec, found.witness.x).ok


@settings(max_examples=10, deadline=None)
@given(seed=seeds())
def test_conjunctions_are_excluded_though_each_atom_alone_can_hold(seed: int) -> None:
    model = small_network(seed, SIZES)
    lower, upper = _box(seed, 3)
    rows = np.random.default_rng(seed).integers(-2, 3, size=(2, 3)).astype(float)
    together = violation(model.graph, lower[0], upper[0], rows, np.zeros(2))
    for gap in (-0.02, 0.02):
        found = _search(_problem(model, boxed(lower, upper, [[(row, together - gap) for row in rows]])))
        assert bool(found.open.any()) == (gap < 0), found.log


@settings(max_examples=8, deadline=None)
@given(seed=seeds())
def test_closed_domains_cover_the_set_and_their_bounds_hold(seed: int) -> None:
    model = small_network(seed, SIZES)
    lower, upper = _box(seed, 3)
    row = np.array([1.0, -1.0, 0.0])
    least = violation(model.graph, lower[0], upper[0], row[None], np.zeros(1))
    keep = Keep()
    problem = _problem(model, boxed(lower, upper, [[(row, least - 0.01)]]), evidence=keep)
    assert not _search(problem).open.any()
    x = torch.from_numpy(np.random.default_rng(seed).uniform(lower, upper, size=(200, 1, 3)))
    values = model.program(torch.float64).values(x)
    y = values[model.graph.output].flatten(1) @ torch.from_numpy(row)
    covered = torch.zeros(200, dtype=torch.bool)
    for closed in keep.closed:
        for number, path in enumerate(closed.splits):
            inside = torch.ones(200, dtype=torch.bool)
            for node, index, point, sign in path:
                inside &= sign * (values[node].flatten(1)[:, index] - point) >= 0
            covered |= inside
            if closed.reason == "bound":
                assert bool((y[inside] >= float(closed.data["bound"][number]) - 1e-12).all())
    assert bool(covered.all())


@settings(max_examples=15, deadline=None)
@given(seed=seeds(), radius=st.sampled_from([0.2, 0.8]))
def test_narrowed_intervals_hold_wherever_the_clause_does(seed: int, radius: float) -> None:
    model = small_network(seed, SIZES)
    lower, upper = _box(seed, 3, radius)
    x = torch.from_numpy(np.random.default_rng(seed).uniform(lower, upper, size=(400, 1, 3)))
    values = model.program(torch.float64).values(x)
    row = np.random.default_rng(seed + 1).integers(-2, 3, size=3).astype(float)
    y = values[model.graph.output].flatten(1) @ torch.from_numpy(row)
    limit = float(y.sort().values[40])  # a tenth of the samples satisfies the clause
    problem = _problem(model, boxed(lower, upper, [[(row, limit)]]))
    root = relax_root(problem, np.array([0]))
    assert root is not None
    unsplit = Domains.roots(torch.arange(1), torch.zeros(1, 1), torch.zeros(1, 0))
    sets = Sets(root.base, unsplit, root.conditions, root.assumed)
    base, empty, _ = tighten(root.network, sets, model.graph.output, Schedule(8, 0.3, 0.9), 2)
    assert not bool(empty.any())
    z = root.network.neurons.flat(values)[y <= limit]
    assert bool(((base.lower <= z) & (z <= base.upper)).all())
    assert bool(((root.base.lower <= base.lower) & (base.upper <= root.base.upper)).all())


@pytest.mark.parametrize("first", [1, 7, 64])
def test_verdicts_do_not_depend_on_the_number_of_domains_bounded_at_once(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neuron_split, "_FIRST_SIZE", first)
    for seed in range(4):
        model = small_network(seed, SIZES)
        lower, upper = _box(seed, 3)
        row = np.array([1.0, -1.0, 0.0])
        least = violation(model.graph, lower[0], upper[0], row[None], np.zeros(1))
        assert not _search(_problem(model, boxed(lower, upper, [[(row, least - 0.01)]]))).open.any()
        assert _search(_problem(model, boxed(lower, upper, [[(row, least + 0.01)]]))).open.any()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_verdicts_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for seed in range(4):
            model = small_network(seed, SIZES)
            lower, upper = _box(seed, 3)
            row = np.array([1.0, -1.0, 0.0])
            least = violation(model.graph, lower[0], upper[0], row[None], np.zeros(1))
            assert not _search(_problem(model, boxed(lower, upper, [[(row, least - 0.01)]]))).open.any()
            assert _search(_problem(model, boxed(lower, upper, [[(row, least + 0.01)]]))).open.any()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_an_error_in_one_thread_ends_the_search_and_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(step: Step, domains: Domains) -> Domains:
        raise FloatingPointError("no such luck")

    monkeypatch.setattr(Step, "run", fails)
    model, before = small_network(1, (40, 60, 60, 4)), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(FloatingPointError, match="no such luck"):
            _search(_problem(model, boxed(*_box(1, 40, 0.5), [[(np.array([1.0, -1.0, 0.0, 0.0]), 0.0)]])))
    finally:
        torch.set_num_threads(before)


def _needle(width: float) -> tuple[Model, Specification]:
    """y = 1 - 2 max(0, 1 - |x - h|_1 / width): below 0 only close to h."""
    builder = GraphBuilder()
    hidden = np.array([[0.3711, -0.6113]], dtype=np.float32)
    x = builder.add("shift", [builder.input("x", (1, 2))], {"offset": builder.constant("h", -hidden)})
    x = builder.add("abs", [x])
    weight = builder.constant("w", np.full((1, 2), -1 / width, dtype=np.float32))
    x = builder.add("relu", [builder.add("linear", [x], {"weight": weight, "bias": builder.constant("b", np.ones(1, np.float32))})])
    last = {"weight": builder.constant("v", np.array([[-2.0]], np.float32)), "bias": builder.constant("c", np.ones(1, np.float32))}
    model = Model(builder.build(builder.add("linear", [x], last)))
    return model, boxed(np.full((1, 2), -1.0), np.full((1, 2), 1.0), [[(np.ones(1), 0.0)]])


@pytest.mark.parametrize("width", [0.1, 1e-3])
def test_a_hidden_counterexample_is_not_proved_away(width: float) -> None:
    found = _search(_problem(*_needle(width), seconds=3.0))
    assert found.open.all()


def test_intervals_that_nobody_uses_are_forgotten_without_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neuron_split, "_FEW_BASES", 1)
    monkeypatch.setattr(pace, "CURIOSITY", 1.0)
    for seed in range(4):
        model = small_network(seed, SIZES)
        lower, upper = _box(seed, 3)
        row = np.array([1.0, -1.0, 0.0])
        least = violation(model.graph, lower[0], upper[0], row[None], np.zeros(1))
        assert not _search(_problem(model, boxed(lower, upper, [[(row, least - 0.01)]]))).open.any()
        assert _search(_problem(model, boxed(lower, upper, [[(row, least + 0.01)]]))).open.any()


def test_a_search_ends_when_its_memory_is_used_up() -> None:
    model = small_network(1, (40, 60, 60, 4))
    lower, upper = _box(1, 40, 0.5)
    clauses = [[(np.array([1.0, -1.0, 0, 0]), -5.0)]]
    found = _search(_problem(model, boxed(lower, upper, clauses), seconds=10.0, memory=1))
    assert found.open.all()


def test_s_shaped_functions_are_split_too() -> None:
    model = small_network(5, (2, 6, 6, 2), "sigmoid")
    lower, upper = _box(5, 2, 2.0)
    x = np.random.default_rng(0).uniform(lower, upper, size=(20000, 1, 2))
    row = np.array([1.0, -1.0])
    y = model.program(torch.float64).evaluate(torch.from_numpy(x)).flatten(1).numpy() @ row
    found = _search(_problem(model, boxed(lower, upper, [[(row, float(y.min()) - 0.02)]])))
    assert not found.open.any(), found.log


def test_the_deadline_is_kept() -> None:
    model = small_network(1, (40, 200, 200, 200, 4))
    lower, upper = _box(1, 40, 0.5)
    started = time.monotonic()
    found = _search(_problem(model, boxed(lower, upper, [[(np.array([1.0, -1.0, 0, 0]), -5.0)]]), seconds=2.0))
    assert time.monotonic() - started < 4.0
    assert "neuron splitting" in found.log[-1]


def test_networks_without_functions_to_split_are_told_apart() -> None:
    assert splittable(small_network(0, (2, 3, 2)).graph)
    assert not splittable(small_network(0, (2, 2)).graph)


def test_bases_are_joined_without_copies_of_the_region() -> None:
    model = small_network(0, (2, 3, 2))
    lower, upper = _box(0, 2)
    problem = _problem(model, boxed(lower, upper, [[(np.ones(2), 0.0)]]))
    root = relax_root(problem, np.array([0]))
    assert root is not None
    assert isinstance(root.base, Base)
    assert isinstance(root.network, Network)
    assert isinstance(root.network.neurons, Neurons)
    assert root.network.budget != Budget()
    twice = root.base.plus(root.base)
    assert len(twice) == 2
    assert twice.region is root.base.region
