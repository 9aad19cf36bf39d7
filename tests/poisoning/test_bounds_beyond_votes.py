"""Linear programming, attacks and collective certificates against the truth by trying all attacks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.kernels import votes_reference as reference
from certify.kernels.votes_reference import ABSTAIN, UNPROVED
from certify.poisoning.attack import breaking_buckets, smallest_attack
from certify.poisoning.collective import changed_by_one, most_changed
from certify.poisoning.spread import Spread, disjoint, finite
from certify.poisoning.tighten import coverage_rows, survives, tightened_radius
from tests.poisoning import strategies as elections

generated = settings(max_examples=60, deadline=None)


def changes(ballots: np.ndarray, reached: np.ndarray, classes: int) -> bool:
    """Whether poisoning the reached classifiers can change the winner: by voting for one rival, which is the strongest attack."""
    winner = elections.plurality_winner(ballots, classes)
    for rival in range(classes):
        changed = ballots.copy()
        changed[elections.controlled(ballots, reached)] = rival
        if elections.plurality_winner(changed, classes) != winner:
            return True
    return False


def true_radius(ballots: np.ndarray, spread: Spread, classes: int) -> int:
    return elections.smallest(spread, lambda reached: changes(ballots, reached, classes)) - 1


@generated
@given(st.data())
def test_tightened_radius_lies_between_the_greedy_one_and_the_truth(data: st.DataObject) -> None:
    spread = data.draw(elections.spreads())
    ballots = data.draw(elections.ballots(spread, 3, (ABSTAIN, UNPROVED)))
    greedy = reference.plurality(ballots, spread.runs, spread.units, 3)[1]
    tight = tightened_radius(ballots, spread, 3, greedy, coverage_rows(spread))
    assert greedy <= tight <= max(greedy, true_radius(ballots, spread, 3))


def test_linear_programming_improves_a_radius_where_buckets_share_classifiers() -> None:
    spread = finite(50, 16)
    ballots = (np.random.default_rng(13).normal(size=800) < -0.3).astype(np.uint8)
    _, greedy = reference.plurality(ballots, spread.runs, spread.units, 2)
    assert survives(ballots, spread, 2, greedy + 1, coverage_rows(spread))
    assert len(smallest_attack(ballots, spread, 2).buckets) > greedy + 1


@generated
@given(st.data())
def test_an_attack_found_is_a_real_one_and_smallest_for_disjoint_buckets(data: st.DataObject) -> None:
    spread = data.draw(elections.spreads())
    ballots = data.draw(elections.ballots(spread, 3, (ABSTAIN, UNPROVED)))
    truth = true_radius(ballots, spread, 3) + 1
    if truth > spread.units:
        with pytest.raises(ValueError, match="no set of buckets"):
            smallest_attack(ballots, spread, 3)
        return
    attack = smallest_attack(ballots, spread, 3)
    reached = np.unique([b for u in attack.buckets for b in spread.seeing(u)]).astype(int)
    assert np.array_equal(reached, attack.classifiers)
    assert changes(ballots, reached, 3)
    assert len(attack.buckets) == truth if spread.disjoint else len(attack.buckets) >= truth


@generated
@given(st.data())
def test_breaking_buckets_are_those_that_change_the_answer_alone(data: st.DataObject) -> None:
    spread = data.draw(elections.spreads())
    ballots = data.draw(elections.ballots(spread, 3, (ABSTAIN, UNPROVED)))
    truth = [changes(ballots, spread.seeing(u), 3) for u in range(spread.units)]
    assert breaking_buckets(ballots, spread, 3).tolist() == truth


@generated
@given(st.data())
def test_collective_bound_is_exact_for_one_bucket_and_never_too_small_for_more(data: st.DataObject) -> None:
    spread = data.draw(elections.spreads())
    columns = [data.draw(elections.ballots(spread, 3)) for _ in range(4)]
    size = data.draw(st.integers(1, 3))
    truth = max(
        (sum(changes(c, reached, 3) for c in columns) for used, reached in elections.attacks(spread) if used <= size), default=0
    )
    bound = most_changed(np.stack(columns, axis=1), spread, 3, size)
    assert truth <= bound <= 4
    if size == 1:
        assert bound == truth


def test_the_case_that_published_collective_code_gets_wrong_is_right() -> None:
    ballots = np.array([[1, 1, 2, 0, 1, 1, 1], [0, 0, 0, 1, 1, 2, 0], [0, 0, 0, 1, 0, 0, 1]], dtype=np.uint8).T
    assert most_changed(ballots, disjoint(7), 3, 2) == 3
    assert changed_by_one(ballots, disjoint(7), 3).max() <= 3
