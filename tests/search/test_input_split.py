"""Input splitting: what is excluded holds at every sampled point, planted points survive, and batches and orders do not matter."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import inf, prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.graph import Graph, GraphBuilder
from certify.io.witness import replay
from certify.model import Model
from certify.search import input_split
from certify.search.boxes import Pieces, Worklist, divisible, few_inputs, halve
from certify.search.evidence import Keep
from certify.search.input_split import split_inputs
from certify.search.problem import tabulate
from certify.search.rates import Rates
from certify.search.stage import Problem, Progress
from certify.specification import Boxes, Clause, Rationals, Specification, atom, flat_declaration, robust
from tests.networks import mlp, random_graph

VARYING = 3
SMOOTH = ("relu", "sigmoid", "tanh", "square", "sin", "leaky_relu")


def question(graph: Graph, boxes: Sequence[tuple[np.ndarray, np.ndarray]], clauses: Sequence[Clause]) -> Specification:
    """A property of a graph over boxes given by their ends."""
    lower, upper = (Rationals.of_floats(np.stack(ends)) for ends in zip(*boxes, strict=True))
    sizes = prod(graph.input_shape), prod(graph.output_shape)
    return Specification(Boxes(lower, upper), tuple(clauses), sizes[1], flat_declaration(*sizes))


def below(weights: Sequence[float], rhs: float, region: int = 0) -> Clause:
    """weights @ y <= rhs."""
    return Clause(region, (atom({i: Fraction(w) for i, w in enumerate(weights)}, {}, Fraction(rhs)),))


def run(model: Model, spec: Specification, seconds: float = 20.0, **options: object) -> Progress:
    """The stage on a fresh question."""
    problem = Problem(model, spec, tabulate(spec), time.monotonic() + seconds, **options)  # type: ignore[arg-type]
    open_ = spec.nonempty()
    return split_inputs(problem, Progress(open_, np.where(open_, -inf, inf)))


def verdict(progress: Progress) -> str:
    return "sat" if progress.witness is not None else "unknown" if progress.open.any() else "unsat"


def random_question(seed: int, near: float) -> tuple[Model, Specification, np.ndarray]:
    """A random network with few varying inputs, two clauses whose thresholds lie near the least sampled value, and the samples."""
    graph = random_graph(seed, SMOOTH)
    rng = np.random.default_rng(seed)
    size = prod(graph.input_shape)
    center, radius = rng.normal(0, 0.5, size).astype(np.float32).astype(np.float64), np.zeros(size)
    radius[rng.choice(size, VARYING, replace=False)] = 0.4
    box = center - radius, center + radius
    x = np.clip(center + radius * rng.uniform(-1, 1, (2000, size)), *box)
    y = values(Model(graph), x)
    weights = rng.normal(size=(2, y.shape[1])).round(2)
    least, spread = (y @ weights.T).min(axis=0), np.ptp(y @ weights.T, axis=0)
    clauses = [below(w, m + near * (s + 1e-3)) for w, m, s in zip(weights, least, spread, strict=True)]
    return Model(graph), question(graph, [box], clauses), x


def values(model: Model, x: np.ndarray) -> np.ndarray:
    y: np.ndarray = model(torch.from_numpy(x).reshape(-1, *model.graph.input_shape)).flatten(1).numpy()
    return y


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 400), st.sampled_from([-0.3, -0.05, 0.01, 0.1]))
def test_excluded_clauses_hold_at_no_sample_and_witnesses_replay(seed: int, near: float) -> None:
    model, spec, x = random_question(seed, near)
    progress = run(model, spec, 1.0)
    y = values(model, x)
    for k in np.flatnonzero(~progress.open):
        assert not any(spec.holds(spec.clauses[k], a, b) for a, b in zip(x, y, strict=True))
    if progress.witness is not None:
        assert replay(model, spec, progress.witness.x).ok


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 400), st.integers(0, 1999))
def test_a_planted_point_is_never_lost(seed: int, index: int) -> None:
    model, spec, x = random_question(seed, -0.3)
    weights = np.zeros(spec.outputs)
    weights[0] = 1.0
    planted = float(values(model, x[index : index + 1])[0, 0])
    progress = run(model, replace(spec, clauses=(spec.clauses[0], below(weights.tolist(), planted + 1e-9))), 0.5)
    assert progress.open[1]


def test_easy_questions_about_every_kind_of_network_are_decided() -> None:
    outcomes = []
    for seed in range(12):
        model, spec, _ = random_question(seed, -1.0)
        outcomes.append(not run(model, spec, 5.0).open.any())
        model, spec, _ = random_question(seed, 0.5)
        outcomes.append(run(model, spec, 5.0).witness is not None)
    assert all(outcomes)


@pytest.mark.parametrize("seed", range(4))
def test_the_verdict_depends_neither_on_the_size_of_batches_nor_on_the_order_of_clauses(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = mlp(seed, (2, 12, 12, 3), ("relu", "sigmoid")[seed % 2])
    model, rng = Model(graph), np.random.default_rng(seed)
    boxes = [(c - 0.3, c + 0.3) for c in rng.normal(size=(3, 2))]
    y = [values(model, lower + rng.random((500, 2)) * (upper - lower)) @ [1.0, -1.0, 0.5] for lower, upper in boxes]
    clauses = [below([1.0, -1.0, 0.5], v.min() - 0.02 * (k + 1), k) for k, v in enumerate(y)]
    orders = [clauses, clauses[::-1]]
    verdicts = set()
    for most in (1, 7, 4096):
        monkeypatch.setattr(input_split, "_MOST_BOXES", most)
        verdicts |= {verdict(run(model, question(graph, boxes, order))) for order in orders}
    assert verdicts == {"sat" if seed == 0 else "unsat"}


def test_every_point_of_the_set_lies_where_some_record_excludes_it() -> None:
    graph = mlp(5, (2, 10, 10, 2), "tanh")
    model, box = Model(graph), (np.array([-1.0, -0.5]), np.array([1.0, 1.5]))
    x = box[0] + np.random.default_rng(0).random((300, 2)) * (box[1] - box[0])
    y = values(model, x)
    spec = question(graph, [box], [below([1.0, 0.0], y[:, 0].min() - 0.05), below([0.5, -1.0], (y @ [0.5, -1.0]).min() - 0.05)])
    evidence = Keep()
    assert not run(model, spec, evidence=evidence).open.any()
    table = tabulate(spec)
    excluded = np.zeros((len(x), 2), dtype=bool)
    for record in evidence.closed:
        data = record.data
        for p, k in enumerate(record.clause):
            row = data["first"][p]
            inside = ((data["lower"][p] <= x) & (x <= data["upper"][p])).all(axis=1)
            left = ((data["left_lower"][p] <= x) & (x <= data["left_upper"][p])).all(axis=1)
            form = x @ data["slope"][row] + data["offset"][row]
            actual = y @ table.directions.outputs[table.direction[k]] - table.rhs[k]
            assert (form[inside] <= actual[inside] + 1e-12).all()
            assert (form[inside & ~left] > 0).all()
            excluded[inside & ~left, k] = True
    assert excluded.all()


def identity() -> Graph:
    builder = GraphBuilder()
    weight = builder.constant("w", np.eye(1))
    return builder.build(builder.add("relu", [builder.add("linear", [builder.input("x", (1, 1))], {"weight": weight})]))


def test_a_property_that_holds_with_equality_ends_with_boxes_as_narrow_as_numbers_are() -> None:
    graph = identity()
    clause = Clause(0, (atom({0: Fraction(1)}, {}, Fraction(1), strict=True),))
    progress = run(Model(graph), question(graph, [(np.ones(1), np.full(1, 2.0))], [clause]))
    assert progress.open.all()
    assert progress.witness is None
    assert "as narrow as float64 can say" in progress.log[-1]


def test_time_out_leaves_clauses_open_and_says_how_many_boxes_are_left() -> None:
    model, spec, _ = random_question(3, -0.05)
    progress = run(model, spec, 0.0)
    assert progress.open.all()
    assert progress.witness is None
    assert "0 boxes in" in progress.log[-1]
    assert "1 box" in progress.log[-1]


def test_atoms_over_inputs_alone_are_decided_by_cutting() -> None:
    graph = mlp(0, (3, 8, 2))
    sum_of_inputs = {i: Fraction(1) for i in range(3)}
    impossible = Clause(0, (atom({}, sum_of_inputs, Fraction(-1)),))
    possible = Clause(0, (atom({}, sum_of_inputs, Fraction(1, 10)),))
    box = (np.zeros(3), np.ones(3))
    progress = run(Model(graph), question(graph, [box], [impossible]))
    assert not progress.open.any()
    progress = run(Model(graph), question(graph, [box], [impossible, possible]))
    assert progress.witness is not None
    assert float(progress.witness.x.sum()) <= 0.1


def test_a_clause_without_atoms_stays_open_and_empty_sets_are_left_alone() -> None:
    graph = mlp(0, (2, 4, 2))
    box = (np.zeros(2), np.ones(2))
    progress = run(
        Model(graph), question(graph, [box, box[::-1]], [Clause(0, ()), below([1.0, 0.0], -50.0), below([1.0, 0.0], 50.0, 1)])
    )
    assert progress.open.tolist() == [True, False, False]


def test_few_inputs_counts_the_coordinates_that_vary_and_refuses_balls() -> None:
    graph = mlp(0, (30, 4, 2))
    narrow, wide = np.zeros(30), np.ones(30)
    some = np.where(np.arange(30) < 20, 1.0, 0.0)
    for upper, few in ((some, True), (wide, False)):
        spec = question(graph, [(narrow, upper)], [below([1.0, 0.0], 0.0)])
        assert few_inputs(Problem(Model(graph), spec, tabulate(spec), inf)) is few
    ball = robust(narrow, 0, eps="1/50", p=2).bind(graph.input_shape, graph.output_shape)
    assert not few_inputs(Problem(Model(graph), ball, tabulate(ball), inf))


@st.composite
def pieces(draw: st.DrawFn) -> Pieces:
    """Random boxes, some of them flat in a coordinate."""
    count, size = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    lower = rng.normal(size=(count, size))
    upper = lower + rng.random((count, size)) * (rng.random((count, size)) < 0.8)
    return Pieces(lower, upper, np.arange(count), rng.normal(size=count), np.ones((count, 1), dtype=bool))


@given(pieces(), st.integers(1, 3), st.integers(0, 100))
def test_halves_cover_their_piece_and_do_not_overlap(some: Pieces, times: int, seed: int) -> None:
    some = some[divisible(some)]
    rng = np.random.default_rng(seed)
    halves = halve(some, rng.random(some.lower.shape), times)
    assert len(halves) == len(some) * 2**times
    for i in range(len(some)):
        own = halves[halves.region == some.region[i]]
        x = some.lower[i] + rng.random((20, some.lower.shape[1])) * (some.upper[i] - some.lower[i])
        assert ((own.lower <= x[:, None]) & (x[:, None] <= own.upper)).all(axis=2).any(axis=1).all()
        wide = some.upper[i] > some.lower[i]
        assert np.prod((own.upper - own.lower)[:, wide], axis=1).sum() == pytest.approx(np.prod((some.upper - some.lower)[i, wide]))


@given(pieces(), st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_the_worklist_hands_out_every_piece_once_least_margin_first(some: Pieces, takes: list[int]) -> None:
    work, expected = Worklist(some[:1], 1000), [float(some.margin[0])]
    work.push(some[1:])
    expected += some.margin[1:].tolist()
    for take in takes:
        if not len(work):
            break
        got = work.pop(take).margin
        assert sorted(got.tolist()) == sorted(expected)[: len(got)]
        expected = sorted(expected)[len(got) :]
        work.push(some[:2])
        expected += some.margin[:2].tolist()
    assert sorted(work.waiting().margin.tolist()) == sorted(expected)


def test_a_worklist_that_is_too_long_hands_out_what_is_nearly_closed() -> None:
    some = Pieces(np.zeros((5, 1)), np.ones((5, 1)), np.arange(5), np.arange(5.0), np.ones((5, 1), dtype=bool))
    assert Worklist(some, 4).pop(2).margin.tolist() == [3.0, 4.0]


def test_a_method_is_preferred_for_needing_fewer_boxes_at_its_price_and_dropped_when_it_cannot_win() -> None:
    rates = Rates(("cheap", "tight"))
    assert list(rates.due()) == ["cheap", "tight"]
    rates.note([("cheap", 1.0, 9.0), ("tight", 3.0, 2.0)])
    assert rates.best == "tight"
    assert list(rates.due()) == ["cheap", "tight"]
    rates.note([("cheap", 1.0, 2.0), ("tight", 3.0, 1.0)])
    assert list(rates.due()) == ["cheap"]
    assert list(rates.due()) == ["cheap"]  # a trial, in which the other could not win
