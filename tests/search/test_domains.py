"""Domains: children cover their parent, splits become intervals, the worklist loses nothing."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.search.domains import Domains, Neurons, Worklist, joined
from tests.networks import seeds

NEURONS = Neurons.of({"a": (1, 3), "b": (1, 2, 2)})


def _grown(seed: int, count: int, levels: int) -> Domains:
    """Domains after some random splits."""
    generator = torch.Generator().manual_seed(seed)
    domains = Domains.roots(torch.arange(count), torch.zeros(count, 1), torch.rand(count, 2, generator=generator).half())
    for _ in range(levels):
        neuron = torch.randint(7, (len(domains),), generator=generator)
        domains = domains.halved(neuron, torch.randn(len(domains), generator=generator).double(), torch.ones(len(domains)))
    return domains


@settings(max_examples=30, deadline=None)
@given(seed=seeds(), levels=st.integers(0, 4))
def test_every_point_lies_in_one_of_the_domains_that_a_root_was_cut_into(seed: int, levels: int) -> None:
    domains = _grown(seed, 1, levels)
    points = torch.randn(50, 7, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    inside = torch.zeros(50, dtype=torch.bool)
    for path in domains.paths(NEURONS):
        holds = torch.ones(50, dtype=torch.bool)
        for node, index, point, sign in path:
            holds &= sign * (points[:, NEURONS.place(node)][:, index] - point) >= 0
        inside |= holds
    assert bool(inside.all())
    assert len(domains) == 2**levels
    assert bool((domains.depth == levels).all())


@settings(max_examples=30, deadline=None)
@given(seed=seeds(), levels=st.integers(0, 4))
def test_intervals_of_a_domain_hold_its_points(seed: int, levels: int) -> None:
    domains = _grown(seed, 2, levels)
    count = len(domains)
    lower, upper = domains.intersect(torch.full((count, 7), -9.0).double(), torch.full((count, 7), 9.0).double())
    for i, path in enumerate(domains.paths(NEURONS)):
        for node, index, point, sign in path:
            number = NEURONS.place(node).start + index
            assert float(lower[i, number] if sign > 0 else -upper[i, number]) >= sign * point


def test_neurons_are_numbered_node_by_node() -> None:
    assert [NEURONS.locate(number) for number in (0, 2, 3, 6)] == [("a", 0), ("a", 2), ("b", 0), ("b", 3)]
    flat = torch.arange(14.0).reshape(2, 7)
    assert torch.equal(NEURONS.flat(NEURONS.by_node(flat)), flat)
    assert NEURONS.place("b") == slice(3, 7)


@settings(max_examples=20, deadline=None)
@given(seed=seeds(), rounds=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 7)), max_size=8))
def test_the_worklist_returns_each_domain_once_as_it_was(seed: int, rounds: list[tuple[int, int]]) -> None:
    work, expected, taken = Worklist(_grown(seed, 3, 1)), {0, 1, 2}, []
    taken.append(work.take(6))
    for number, (put, take) in enumerate(rounds):
        marks = 100 * (number + 1) + torch.arange(put)
        domains = _grown(seed + number, put, number % 3) if put else _grown(seed, 1, 0).select(torch.zeros(0, dtype=torch.int64))
        domains = Domains(
            *(
                marks[: len(domains)] if f.name == "goal" and put and not number % 3 else getattr(domains, f.name)
                for f in fields(Domains)
            )
        )
        work.put(domains)
        expected |= set(domains.goal.tolist())
        taken.append(work.take(take))
    taken.append(work.take(10**6))
    assert not len(work)
    everything = joined(taken)
    assert set(everything.goal.tolist()) == expected


def test_the_deepest_domains_are_taken_first_and_of_these_the_worst_bounds() -> None:
    domains = joined([_grown(0, 3, 0), _grown(1, 3, 2).select(torch.arange(3))])
    bounds = torch.tensor([3.0, -1.0, 2.0, -5.0, 0.0, 1.0])
    sign = domains.sign.clone()
    sign[3:] = torch.tensor([[1, 0], [1, -1], [-1, -1]], dtype=sign.dtype)
    work = Worklist(replace(domains, bound=bounds, sign=sign))
    assert work.take(1).bound.tolist() == [0.0]
    assert work.take(1).bound.tolist() == [1.0]
    assert work.take(2).bound.tolist() == [-5.0, -1.0]
    assert sorted(work.take(9).bound.tolist()) == [2.0, 3.0]


def test_storage_that_was_given_back_is_used_again() -> None:
    work = Worklist(_grown(1, 4, 0))
    size = work.bytes
    for _ in range(20):
        work.put(work.take(3))
    assert work.bytes == size
    assert len(work) == 4


@pytest.mark.parametrize("levels", [0, 2])
def test_children_start_from_their_parents_multipliers(levels: int) -> None:
    domains = _grown(2, 2, levels)
    children = domains.halved(torch.tensor([0] * len(domains)), torch.zeros(len(domains)).double(), torch.ones(len(domains)))
    assert torch.equal(children.slopes, torch.cat([domains.slopes, domains.slopes]))
    assert torch.equal(children.multiplier[:, :levels], torch.cat([domains.multiplier, domains.multiplier])[:, :levels])
    assert children.sign[:, levels].tolist() == [1] * len(domains) + [-1] * len(domains)
