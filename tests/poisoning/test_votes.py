"""Every rule against the truth by trying all attacks, and the numba twins against the numpy definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.kernels import votes_reference as reference
from certify.kernels.votes_reference import ABSTAIN, MISSING, UNPROVED
from certify.poisoning.spread import disjoint, finite, overlapping
from certify.poisoning.votes import Votes, plurality, runoff, targeted, votes_from_scores
from tests.poisoning import strategies as elections

generated = settings(max_examples=80, deadline=None)


def one_input(ballots: np.ndarray, classes: int) -> Votes:
    return Votes(ballots[:, None], classes, np.arange(len(ballots)))


def ranked(places: np.ndarray) -> Votes:
    first = np.where((places == ABSTAIN).all(axis=1), ABSTAIN, np.argmin(places, axis=1)).astype(np.uint8)
    return Votes(first[:, None], places.shape[1], np.arange(len(places)), places[:, None])


@generated
@given(st.data())
def test_plurality_radius_is_exact_for_disjoint_buckets_and_never_too_large_for_others(data: st.DataObject) -> None:
    spread = data.draw(elections.spreads(most=6))
    classes = data.draw(st.integers(1, 3))
    ballots = data.draw(elections.ballots(spread, classes, (ABSTAIN, UNPROVED)))
    found = plurality(one_input(ballots, classes), spread)
    winner = found.winners[0]

    def wins(reached: np.ndarray) -> bool:
        free = elections.controlled(ballots, reached)
        return any(
            elections.plurality_winner(v, classes) != winner for v in elections.revotes(ballots, free, [*range(classes), ABSTAIN])
        )

    truth = elections.smallest(spread, wins) - 1
    assert found.radii[0] <= truth
    if spread.disjoint:
        assert found.radii[0] == truth


@generated
@given(st.data())
def test_targeted_radius_is_exact_for_disjoint_buckets_and_never_too_large_for_others(data: st.DataObject) -> None:
    spread = data.draw(elections.spreads(most=6))
    classes = data.draw(st.integers(2, 4))
    ballots = data.draw(elections.ballots(spread, classes, (ABSTAIN, UNPROVED)))
    target = data.draw(st.integers(0, classes - 1))

    def wins(reached: np.ndarray) -> bool:
        changed = ballots.copy()
        changed[elections.controlled(ballots, reached)] = target
        return elections.plurality_winner(changed, classes) == target

    truth = elections.smallest(spread, wins) - 1
    radius = targeted(one_input(ballots, classes), spread, target)[0]
    assert radius <= truth
    if spread.disjoint:
        assert radius == truth


@generated
@given(st.data())
def test_runoff_radius_is_never_too_large(data: st.DataObject) -> None:
    spread = data.draw(elections.spreads(most=5))
    classes = data.draw(st.integers(2, 3))
    places = data.draw(elections.rankings(spread, classes))
    found = runoff(ranked(places), spread)
    assert found.winners[0] == elections.runoff_winner(places)
    options = [*elections.rankings_of(classes), (ABSTAIN,) * classes]

    def wins(reached: np.ndarray) -> bool:
        return any(elections.runoff_winner(v) != found.winners[0] for v in elections.revotes(places, reached, options))

    assert 0 <= found.radii[0] <= elections.smallest(spread, wins) - 1


@generated
@given(st.data())
def test_runoff_radius_is_never_too_large_with_four_classes(data: st.DataObject) -> None:
    spread = data.draw(elections.spreads(most=3))
    places = data.draw(elections.rankings(spread, 4))
    found = runoff(ranked(places), spread)
    options = elections.rankings_of(4)

    def wins(reached: np.ndarray) -> bool:
        return any(elections.runoff_winner(v) != found.winners[0] for v in elections.revotes(places, reached, options))

    assert found.radii[0] <= elections.smallest(spread, wins) - 1


@generated
@given(st.data())
def test_numba_twins_equal_the_definitions(data: st.DataObject) -> None:
    spread = data.draw(elections.spreads(most=30))
    classes = data.draw(st.integers(2, 12))
    places = np.stack([data.draw(elections.rankings(spread, classes)) for _ in range(3)], axis=1)
    special = np.where(data.draw(st.booleans()), UNPROVED, ABSTAIN)
    cast = np.where((places == ABSTAIN).all(axis=2), special, np.argmin(places, axis=2)).astype(np.uint8)
    votes = Votes(cast, classes, np.arange(spread.classifiers))
    target = data.draw(st.integers(0, classes - 1))
    shape = (spread.runs, spread.units)
    found, wanted = plurality(votes, spread), [reference.plurality(v, *shape, classes) for v in cast.T]
    assert list(zip(found.winners, found.radii, strict=True)) == wanted
    assert list(targeted(votes, spread, target)) == [reference.targeted(v, *shape, classes, target) for v in cast.T]
    found = runoff(Votes(np.argmin(places, axis=2).astype(np.uint8), classes, votes.ids, places), spread)
    assert list(zip(found.winners, found.radii, strict=True)) == [reference.runoff(p, *shape) for p in places.transpose(1, 0, 2)]


@generated
@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_finite_aggregation_of_one_bucket_each_is_deep_partition_aggregation(k: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    votes = votes_from_scores(random.normal(size=(k, 5, classes)).round(1), np.arange(k))
    shift = int(random.integers(k))
    for rule in (plurality, runoff):
        first, second = rule(votes, disjoint(k)), rule(votes, finite(k, 1, [shift]))
        assert np.array_equal(first.winners, second.winners)
        assert np.array_equal(first.radii, second.radii)


@generated
@given(st.integers(2, 8), st.integers(1, 5), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_finite_aggregation_is_at_least_the_naive_bound(k: int, d: int, classes: int, seed: int) -> None:
    ballots = np.random.default_rng(seed).integers(0, classes, size=(k * d, 6)).astype(np.uint8)
    found = plurality(Votes(ballots, classes, np.arange(k * d)), finite(k, d))
    for ballot, winner, radius in zip(ballots.T, found.winners, found.radii, strict=True):
        counts = reference.tally(ballot, classes)
        naive = min((counts[winner] - counts[c] - (c < winner)) // (2 * d) for c in range(classes) if c != winner)
        assert radius >= naive


@generated
@given(st.data())
def test_a_classifier_that_never_sees_data_changes_no_radius(data: st.DataObject) -> None:
    spread = data.draw(elections.spreads())
    ballots = data.draw(elections.ballots(spread, 3))
    more = overlapping([*[list(b) for b in spread.seen], []], spread.units)
    extended = np.append(ballots, np.uint8(ABSTAIN))
    assert plurality(one_input(ballots, 3), spread).radii == plurality(one_input(extended, 3), more).radii


def test_rows_of_votes_are_put_in_order_by_their_identity() -> None:
    random = np.random.default_rng(0)
    spread = finite(5, 4)
    ballots = random.integers(0, 3, size=(20, 50)).astype(np.uint8)
    order = random.permutation(20)
    straight = plurality(Votes(ballots, 3, np.arange(20)), spread)
    shuffled = plurality(Votes(ballots[order], 3, order), spread)
    assert np.array_equal(straight.radii, shuffled.radii)


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        (Votes(np.zeros((20, 2), np.uint8), 3), "say which by `ids`"),
        (Votes(np.zeros((19, 2), np.uint8), 3, np.arange(19)), "19 rows of ballots for 20 classifiers"),
        (Votes(np.zeros((20, 2), np.uint8), 3, np.arange(1, 21)), "not those of the ensemble"),
        (Votes(np.full((20, 2), MISSING, np.uint8), 3, np.arange(20)), "has not voted yet"),
        (Votes(np.full((20, 2), 3, np.uint8), 3, np.arange(20)), "votes 3 of 3 classes"),
    ],
)
def test_votes_that_do_not_belong_to_the_ensemble_are_refused(votes: Votes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plurality(votes, finite(5, 4))


def test_places_that_are_no_ranking_are_refused() -> None:
    places = np.zeros((3, 1, 2), np.uint8)
    with pytest.raises(ValueError, match="no ranking"):
        runoff(Votes(np.zeros((3, 1), np.uint8), 2, np.arange(3), places), disjoint(3))


def test_scores_with_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        votes_from_scores(np.array([[[0.0, np.nan]]]))


@pytest.mark.parametrize("shifts", [[0, 0], [0, 20], [0]])
def test_shifts_that_are_not_d_different_classifiers_are_refused(shifts: list[int]) -> None:
    with pytest.raises(ValueError, match="different integers"):
        finite(10, 2, shifts)


@generated
@given(st.integers(1, 12), st.integers(1, 6))
def test_finite_spread_gives_every_bucket_and_every_classifier_d_partners(k: int, d: int) -> None:
    spread = finite(k, d)
    assert all(len(spread.seeing(u)) == d for u in range(k * d))
    assert all(len(buckets) == d for buckets in spread.seen)
    assert all(
        (u - s) % (k * d) in range(k * d) and u in spread.seen[(u + s) % (k * d)] for u in range(k * d) for s in spread.shifts
    )
