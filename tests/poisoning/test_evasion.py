"""Both threats at once: bounds decide which votes count."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from certify.io.datasets import load_data
from certify.kernels.votes_reference import UNPROVED
from certify.poisoning.estimators import DeepPartitionAggregation, FiniteAggregation
from certify.poisoning.evasion import proved_votes
from certify.poisoning.linear_learner import RidgeLearner
from certify.poisoning.store import MemoryStore
from certify.poisoning.torch_learner import TorchLearner

EPS = 0.01


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))


LEARNER = TorchLearner(network, steps=50, batch=16, chunk=8)
TRAINING, TEST = load_data("digits", 300, "train"), load_data("digits", 20, "test")


@pytest.fixture(scope="module", params=[DeepPartitionAggregation(LEARNER, 8), FiniteAggregation(LEARNER, 5, 2)], ids=["dpa", "fa"])
def ensemble(request: pytest.FixtureRequest) -> FiniteAggregation:
    return request.param.set_params(classes=range(10), store=MemoryStore()).fit(TRAINING.x, TRAINING.y)


def test_no_movement_of_a_sampled_input_changes_a_proved_vote(ensemble: FiniteAggregation) -> None:
    proved = proved_votes(ensemble.ensemble_, TEST.x, EPS, domain=(0, 1))
    kept = proved.ballots != UNPROVED
    assert 0.1 < kept.mean() < 1
    random = np.random.default_rng(0)
    for _ in range(8):
        moved = np.clip(TEST.x + random.choice([-EPS, EPS], TEST.x.shape), 0, 1).astype(np.float32)
        assert np.array_equal(ensemble.votes(moved).ballots[kept], proved.ballots[kept])


def test_poisoning_and_moving_at_once_never_change_a_certified_answer(ensemble: FiniteAggregation) -> None:
    certificate = ensemble.certify_votes(proved_votes(ensemble.ensemble_, TEST.x, EPS, domain=(0, 1)), TEST.y)
    held = certificate.radii >= 1
    assert held.any()
    buckets = ensemble.ensemble_.data.buckets
    random = np.random.default_rng(0)
    for u in (2, 5):
        y = TRAINING.y.copy()
        y[buckets[u]] = random.integers(10)
        poisoned = type(ensemble)(**ensemble.get_params(deep=False)).fit(TRAINING.x, y)
        moved = np.clip(TEST.x + random.choice([-EPS, EPS], TEST.x.shape), 0, 1).astype(np.float32)
        assert np.array_equal(poisoned.predict(moved)[held], certificate.winners[held])


def test_no_movement_gives_the_radii_of_poisoning_alone(ensemble: FiniteAggregation) -> None:
    both = ensemble.certify_votes(proved_votes(ensemble.ensemble_, TEST.x, 0), TEST.y)
    alone = ensemble.certify(TEST.x, TEST.y)
    assert np.array_equal(both.radii, alone.radii)


def test_clean_accuracy_counts_unproved_votes_as_cast(ensemble: FiniteAggregation) -> None:
    both = ensemble.certify_votes(proved_votes(ensemble.ensemble_, TEST.x, 0.3, method="ibp"), TEST.y)
    assert both.clean_accuracy() == ensemble.certify(TEST.x, TEST.y).clean_accuracy()
    assert both.certified_accuracy([0])[0] < 0.1


def test_learners_without_bounds_are_refused() -> None:
    ensemble = DeepPartitionAggregation(RidgeLearner(), 5, classes=range(10)).fit(TRAINING.x, TRAINING.y)
    with pytest.raises(ValueError, match="RidgeLearner has no bounds"):
        proved_votes(ensemble.ensemble_, TEST.x, EPS)


def test_unproved_votes_have_no_runoff(ensemble: FiniteAggregation) -> None:
    runoff = type(ensemble)(**ensemble.get_params(deep=False)).set_params(rule="runoff").fit(TRAINING.x, TRAINING.y)
    votes = proved_votes(runoff.ensemble_, TEST.x, 0.2, method="ibp")
    with pytest.raises(ValueError, match="run-off"):
        runoff.certify_votes(votes)
