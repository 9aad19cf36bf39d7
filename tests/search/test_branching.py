"""Branching: proposals can be cut, the better children win, losses are those of the lines."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from certify.bounds.alpha import Schedule, minimum, optimise
from certify.bounds.compute import relax
from certify.bounds.relaxed import Relaxed, relax_network
from certify.bounds.rounding import NEAREST
from certify.operators.rows import DenseRows
from certify.search.branching import Candidates, choose, cuts, propose, splittable_nodes
from certify.search.domains import Neurons
from certify.search.influence import Account, Influence, Losses, carried_back, losses
from certify.sets import Box
from tests.networks import mlp, program, seeds


def _relaxed(seed: int, activation: str) -> tuple[Relaxed, Neurons]:
    generator = torch.Generator().manual_seed(seed)
    net = program(mlp(seed, [3, 8, 8, 2], activation))
    x = torch.randn(2, 1, 3, generator=generator, dtype=torch.float64)
    relaxed = relax(net, Box(x - 0.5, x + 0.5), "crown")
    return relaxed, Neurons.of(splittable_nodes(relaxed))


def _bound(relaxed: Relaxed) -> tuple[torch.Tensor, Losses, Neurons]:
    rows = torch.tensor([[1.0, -1.0]], dtype=torch.float64).repeat(relaxed.batch, 1)[:, None]
    owner = torch.arange(relaxed.batch)
    value, tape = minimum(relaxed, {relaxed.program.graph.output: DenseRows(rows)}, owner)
    assert tape is not None
    neurons = Neurons.of(splittable_nodes(relaxed))
    return value, losses(relaxed, owner, tape, neurons), neurons


@settings(max_examples=30, deadline=None)
@given(seed=seeds())
def test_a_cut_lies_inside_the_interval_of_a_neuron_that_is_not_settled(seed: int) -> None:
    relaxed, neurons = _relaxed(seed, ("relu", "clip", "tanh", "leaky_relu")[seed % 4])
    found = cuts(relaxed, torch.arange(relaxed.batch), neurons)
    lower, upper = (neurons.flat({n: relaxed.intervals[n][end] for n in neurons.nodes}) for end in (0, 1))
    inside = (lower < found.point) & (found.point < upper)
    assert bool(inside[found.useful].all())
    if seed % 4 == 0:
        assert torch.equal(found.useful, (lower < 0) & (upper > 0))


@settings(max_examples=30, deadline=None)
@given(seed=seeds())
def test_proposals_are_distinct_and_can_be_cut(seed: int) -> None:
    relaxed, _ = _relaxed(seed, "relu")
    _, found, neurons = _bound(relaxed)
    where = cuts(relaxed, torch.arange(relaxed.batch), neurons)
    options = propose(where, found, 6)
    for set_ in range(relaxed.batch):
        chosen = options.neuron[set_][options.valid[set_]].tolist()
        assert len(set(chosen)) == len(chosen)
        assert all(bool(where.useful[set_, neuron]) for neuron in chosen)
        assert bool(chosen) == bool(where.useful[set_].any())


@settings(max_examples=30, deadline=None)
@given(seed=seeds())
def test_the_losses_at_the_minimiser_are_the_whole_gap_to_the_network(seed: int) -> None:
    """The bound is the value of the lines at the minimiser; the network's value along the same point exceeds it by the first layer's
    losses when only that layer is relaxed."""
    relaxed, _ = _relaxed(seed, "relu")
    _, found, _ = _bound(relaxed)
    settled = ~cuts(relaxed, torch.arange(relaxed.batch), Neurons.of(splittable_nodes(relaxed))).useful
    for loss in (found.at_minimiser, found.at_split, found.by_lower, found.by_upper):
        assert bool((loss >= 0).all())
        assert bool((loss[settled] == 0).all())


@settings(max_examples=40, deadline=None)
@given(seed=seeds())
def test_the_bounds_of_children_start_no_lower_than_their_parents(seed: int) -> None:
    """As long as lower lines stay what they were where the split settles a neuron: the exact function is lower on the wrong side."""
    relaxed, neurons = _relaxed(seed, "relu")
    owner, target = torch.arange(relaxed.batch), relaxed.program.graph.output
    goal = {target: DenseRows(torch.tensor([[1.0, -1.0]], dtype=torch.float64).repeat(relaxed.batch, 1)[:, None])}
    lines = optimise(relaxed, goal, owner, Schedule(3)).parameters
    value, tape = minimum(relaxed, goal, owner, initial=lines)
    assert tape is not None
    found = cuts(relaxed, owner, neurons)
    for neuron in found.useful.any(dim=0).nonzero().squeeze(1).tolist():
        name, element = neurons.locate(neuron)
        reader = next(node for node in relaxed.order if name in node.inputs)
        own = found.useful[:, neuron] & (tape.arrived[reader.name].flatten(1)[:, element] > 0)
        for side in (0, 1):
            ends = {n: tuple(end.clone() for end in relaxed.intervals[n]) for n in neurons.nodes}
            ends[name][side].flatten(1)[own, element] = found.point[own, neuron]
            child = relax_network(relaxed.program, relaxed.region, target, None, NEAREST, relaxed.budget, ends)
            if not all(torch.equal(child.intervals[n][k], ends[n][k]) for n in neurons.nodes for k in (0, 1)):
                continue  # other neurons have become settled as well, for which the parent may have used the upper line
            free = {reader.name: found.useful[:, neurons.place(name)].any(dim=0)}
            settled = (child.intervals[name][0] >= 0).flatten(1) & ~found.useful[:, neurons.place(name)]
            start = {k: torch.where(settled, 1.0, t) if k[0] == reader.name else t for k, t in lines.items()}
            got, _ = minimum(child, goal, owner, initial=start, free=free)
            assert bool((got >= value - 1e-9)[own].all())


@settings(max_examples=20, deadline=None)
@given(seed=seeds())
def test_what_an_interval_is_worth_is_a_finite_difference(seed: int) -> None:
    relaxed, _ = _relaxed(seed, "relu")
    value, found, neurons = _bound(relaxed)
    place = neurons.place(neurons.nodes[-1])
    upper = relaxed.intervals[neurons.nodes[-1]][1]
    best = int(found.by_upper[0, place].argmax())
    if float(found.by_upper[0, place][best]) < 1e-3:
        return
    known = {n: tuple(end.clone() for end in relaxed.intervals[n]) for n in neurons.nodes}
    step = 1e-6
    known[neurons.nodes[-1]][1].flatten(1)[0, best] -= step
    moved = relax_network(relaxed.program, relaxed.region, relaxed.program.graph.output, None, NEAREST, relaxed.budget, known)
    gained = float((_bound(moved)[0] - value)[0]) / step
    if abs(float(upper.flatten(1)[0, best] + relaxed.intervals[neurons.nodes[-1]][0].flatten(1)[0, best])) < 1e-3:
        return  # the default lower line is about to change
    assert gained == pytest.approx(float(found.by_upper[0, place][best]), rel=1e-2, abs=1e-4)


def test_losses_are_carried_back_through_the_bounds_of_other_neurons() -> None:
    zero = torch.zeros(1, 3)

    def losing(at: list[float], by_lower: list[float], by_upper: list[float]) -> Losses:
        return Losses(torch.tensor([at]), zero, torch.tensor([by_lower]), torch.tensor([by_upper]), zero)

    own = losing([0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [0.0, 0.0, 3.0])
    first = Account(torch.tensor([0]), torch.tensor([1]), torch.tensor([True]), losing([5.0, 0.0, 0.0], [0.5, 0, 0], [0, 0, 0]))
    second = Account(torch.tensor([0]), torch.tensor([2]), torch.tensor([False]), losing([0.0, 7.0, 0.0], [0, 0.1, 0], [0, 0, 0]))
    found = carried_back(own, [first, second], torch.ones(1, 3))
    assert found.split.tolist()[0] == pytest.approx([0.3 * 5.0, 3.0 * 7.0, 1.0])
    assert found.ends.tolist()[0] == pytest.approx([0.3 * 0.5, 0.3, 2.0, 0.0, 0.0, 3.0])
    assert found.essential(0.9).tolist() == [[False, False, True, False, False, True]]
    assert found.essential(1.0).tolist() == [[True, True, True, False, False, True]]


def test_every_end_is_essential_where_the_bound_is_a_constant() -> None:
    assert Influence(torch.zeros(2, 1), torch.tensor([[0.0, 0.0], [0.0, 1.0]])).essential(0.9).tolist() == [
        [True, True],
        [False, True],
    ]


def test_the_pair_of_children_that_improves_most_is_chosen() -> None:
    options = Candidates(torch.tensor([[4, 5, 6]]), torch.zeros(1, 3), torch.ones(1, 3), torch.tensor([[True, True, False]]))
    above, below = torch.tensor([[-0.9, -0.5, 1.0]]), torch.tensor([[-0.1, -0.5, 1.0]])
    best, some = choose(options, above, below, torch.tensor([-1.0]))
    assert best.tolist() == [[1]]
    assert some.tolist() == [True]
