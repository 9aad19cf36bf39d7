"""Linear programming, attacks and collective certificates against the truth by trying all attacks, for every rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.kernels import votes_cpu
from certify.kernels import votes_reference as reference
from certify.kernels.votes_reference import ABSTAIN, UNPROVED
from certify.poisoning import tighten
from certify.poisoning.attack import breaking_buckets, find_attack
from certify.poisoning.audit import audit
from certify.poisoning.certificate import certify_votes
from certify.poisoning.collective import changed_by_one, most_changed
from certify.poisoning.routes import ROUTES, routes
from certify.poisoning.spread import Spread, disjoint, finite, overlapping
from certify.poisoning.tighten import coverage_rows, survives, tightened_radii
from certify.poisoning.votes import RULES, Votes
from tests.poisoning import strategies as elections

generated = settings(max_examples=40, deadline=None)
every_rule = pytest.mark.parametrize("rule", RULES)


@st.composite
def polls(draw: st.DrawFn, rule: str, inputs: int = 1) -> tuple[Votes, Spread]:
    """Votes on some inputs that the rule understands, few enough to try all attacks."""
    spread = draw(elections.spreads(most={"plurality": 7, "runoff": 5}[rule]))
    ids = np.arange(spread.classifiers)
    if rule == "plurality":
        columns = [draw(elections.ballots(spread, 3, (ABSTAIN, UNPROVED))) for _ in range(inputs)]
        return Votes(np.stack(columns, axis=1), 3, ids), spread
    places = np.stack([draw(elections.rankings(spread, 3)) for _ in range(inputs)], axis=1)
    first = np.where((places == ABSTAIN).all(axis=2), ABSTAIN, np.argmin(places, axis=2)).astype(np.uint8)
    return Votes(first, 3, ids, places), spread


def plurality_changes(votes: Votes, i: int, reached: np.ndarray) -> bool:
    """By voting for one rival, which is the strongest attack."""
    ballots = votes.ballots[:, i]
    winner = elections.plurality_winner(ballots, votes.classes)
    free = elections.controlled(ballots, reached)
    return any(
        elections.plurality_winner(np.where(np.isin(np.arange(len(ballots)), free), c, ballots), votes.classes) != winner
        for c in range(votes.classes)
    )


def runoff_changes(votes: Votes, i: int, reached: np.ndarray) -> bool:
    assert votes.places is not None
    places = votes.places[:, i]
    winner = elections.runoff_winner(places)
    options = [*elections.rankings_of(votes.classes), (ABSTAIN,) * votes.classes]
    return any(elections.runoff_winner(v) != winner for v in elections.revotes(places, reached, options))


CHANGES = {"plurality": plurality_changes, "runoff": runoff_changes}


def true_radius(votes: Votes, spread: Spread, rule: str) -> int:
    return elections.smallest(spread, lambda reached: CHANGES[rule](votes, 0, reached)) - 1


def test_every_rule_has_routes() -> None:
    assert ROUTES.keys() == RULES.keys()


@every_rule
@generated
@given(data=st.data())
def test_classifiers_change_an_answer_exactly_where_they_use_up_all_leads_of_a_route(rule: str, data: st.DataObject) -> None:
    votes, spread = data.draw(polls(rule))
    reached = np.array(sorted(data.draw(st.sets(st.sampled_from(range(spread.classifiers))))), dtype=np.int64)
    ways = routes(votes, rule, 0)[1]
    used = any(all(lead.weights[reached].sum() >= lead.gap for lead in route.leads) for route in ways)
    assert used == CHANGES[rule](votes, 0, reached)


@every_rule
@generated
@given(data=st.data())
def test_tightened_radius_lies_between_the_greedy_one_and_the_truth(rule: str, data: st.DataObject) -> None:
    votes, spread = data.draw(polls(rule))
    greedy = RULES[rule](votes, spread).radii
    tight = tightened_radii(votes, spread, rule, greedy, [0])[0]
    assert greedy[0] <= tight <= max(greedy[0], true_radius(votes, spread, rule))


@every_rule
@generated
@given(data=st.data())
def test_tightening_decides_about_the_sizes_asked_for_as_about_all(rule: str, data: st.DataObject) -> None:
    votes, spread = data.draw(polls(rule))
    greedy = RULES[rule](votes, spread).radii
    everything, some = (tightened_radii(votes, spread, rule, greedy, [0], sizes)[0] for sizes in (None, [1, 2]))
    assert some <= everything
    assert all((some >= size) == (everything >= size) for size in (1, 2))


def test_linear_programming_improves_a_radius_where_buckets_share_classifiers() -> None:
    spread = finite(50, 16)
    ballots = (np.random.default_rng(13).normal(size=(800, 1)) < -0.3).astype(np.uint8)
    certificate = certify_votes(Votes(ballots, 2, np.arange(800)), spread)
    tight = certificate.tightened()
    assert tight.radii[0] > certificate.radii[0]
    assert len(tight.attack(0).buckets) > tight.radii[0]
    assert survives(tight.votes, spread, "plurality", 0, int(tight.radii[0]), coverage_rows(spread))


def test_no_program_is_solved_where_an_attack_leaves_nothing_to_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tighten, "upper_bound", lambda *program: pytest.fail("a program was solved"))
    ballots = np.random.default_rng(0).integers(0, 3, (30, 20)).astype(np.uint8)
    certificate = certify_votes(Votes(ballots, 3, np.arange(30)), disjoint(30))
    assert np.array_equal(certificate.tightened().radii, certificate.radii)


@every_rule
@generated
@given(data=st.data())
def test_an_attack_found_is_a_real_one_and_smallest_for_plurality_of_disjoint_buckets(rule: str, data: st.DataObject) -> None:
    votes, spread = data.draw(polls(rule))
    truth = true_radius(votes, spread, rule) + 1
    attack = find_attack(votes, spread, rule, 0)
    if attack is None:
        assert truth > spread.units
        return
    reached = np.unique([b for u in attack.buckets for b in spread.seeing(u)]).astype(int)
    assert np.array_equal(reached, attack.classifiers)
    assert CHANGES[rule](votes, 0, reached)
    assert len(attack.buckets) == truth if spread.disjoint and rule == "plurality" else len(attack.buckets) >= truth


@every_rule
@generated
@given(data=st.data())
def test_breaking_buckets_are_those_that_change_the_answer_alone(rule: str, data: st.DataObject) -> None:
    votes, spread = data.draw(polls(rule))
    truth = [CHANGES[rule](votes, 0, spread.seeing(u)) for u in range(spread.units)]
    assert breaking_buckets(votes, spread, rule, 0).tolist() == truth


@every_rule
@generated
@given(data=st.data())
def test_collective_bound_is_exact_for_one_bucket_and_never_too_small_for_more(rule: str, data: st.DataObject) -> None:
    votes, spread = data.draw(polls(rule, inputs=3))
    size = data.draw(st.integers(1, 3))
    changed = [
        sum(CHANGES[rule](votes, i, reached) for i in range(3)) for used, reached in elections.attacks(spread) if used <= size
    ]
    bound = most_changed(votes, spread, rule, range(3), size)
    assert max(changed) <= bound <= 3
    if size == 1 and spread.units:
        assert bound == max(sum(CHANGES[rule](votes, i, spread.seeing(u)) for i in range(3)) for u in range(spread.units))


def test_the_case_that_published_collective_code_gets_wrong_is_right() -> None:
    ballots = np.array([[1, 1, 2, 0, 1, 1, 1], [0, 0, 0, 1, 1, 2, 0], [0, 0, 0, 1, 0, 0, 1]], dtype=np.uint8).T
    votes = Votes(ballots, 3)
    assert most_changed(votes, disjoint(7), "plurality", range(3), 2) == 3
    assert changed_by_one(votes, disjoint(7), "plurality", range(3)).max() <= 3


@every_rule
@generated
@given(data=st.data())
def test_an_audit_counts_what_each_bucket_changes_alone_and_skips_answers_that_nothing_changes(
    rule: str, data: st.DataObject
) -> None:
    votes, spread = data.draw(polls(rule, inputs=3))
    found = audit(votes, spread, spread.units, rule)
    alone = [sum(CHANGES[rule](votes, i, spread.seeing(u)) for i in range(3)) for u in found.buckets]
    assert found.changes_alone.tolist() == alone
    assert sorted(found.buckets) == list(range(spread.units))
    assert (found.in_attacks <= 3).all()


@generated
@given(st.data())
def test_the_numba_twin_of_greedy_covers_equals_the_definition(data: st.DataObject) -> None:
    spread = data.draw(elections.spreads(most=30))
    leads = data.draw(st.integers(1, 3))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    weights = random.integers(0, 4, (leads, spread.classifiers))
    gaps = random.integers(-2, 2 * spread.classifiers + 2, leads)
    wanted = reference.cover(weights, gaps, spread.runs, spread.units)
    taken, covered = votes_cpu.cover(weights.copy(), gaps, spread.units_of, spread.classifiers_of)
    assert (taken.tolist() if covered else None) == wanted


def test_an_attack_on_an_answer_that_nothing_changes_is_refused() -> None:
    certificate = certify_votes(Votes(np.zeros((2, 1), np.uint8), 2, np.arange(2)), overlapping([[0], []], 1))
    with pytest.raises(ValueError, match="no set of buckets changes the answer at input 0"):
        certificate.attack(0)


@pytest.mark.parametrize("index", [-1, 3])
def test_an_attack_on_an_input_that_does_not_exist_is_refused(index: int) -> None:
    certificate = certify_votes(Votes(np.zeros((4, 3), np.uint8), 2, np.arange(4)), disjoint(4))
    with pytest.raises(ValueError, match="inputs go from 0 to 2"):
        certificate.attack(index)
