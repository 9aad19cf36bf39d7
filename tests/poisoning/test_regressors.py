"""Medians of regressors as an estimator: poisoned training data do not leave the intervals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from certify.poisoning import MedianAggregation, check_isolation
from certify.poisoning.medians import median

X, Y = load_diabetes(return_X_y=True)
TRAIN_X, TRAIN_Y, TEST_X, TEST_Y = X[:360], Y[:360], X[360:], Y[360:]
RIDGE = make_pipeline(StandardScaler(), Ridge(10.0))
ENSEMBLES = [
    MedianAggregation(RIDGE, 21, fallback=150.0),
    MedianAggregation(RIDGE, 9, 3, fallback=150.0),
    MedianAggregation(DecisionTreeRegressor(max_depth=2, max_features=3), 15, fallback=150.0),
]
NAMES = ["disjoint", "finite", "trees"]
every_ensemble = pytest.mark.parametrize("ensemble", ENSEMBLES, ids=NAMES)


def poisoned(buckets: list[np.ndarray], edits: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """As many buckets poisoned: the targets of one blown up, the next emptied, and so on."""
    y, keep = TRAIN_Y.copy(), np.ones(len(TRAIN_Y), dtype=bool)
    for turn, u in enumerate(random.choice(len(buckets), edits, replace=False)):
        y[buckets[u]] = random.choice([-1e6, 1e6])
        keep[buckets[u]] = turn % 2 == 0
    return TRAIN_X[keep], y[keep]


@every_ensemble
def test_training_on_poisoned_data_never_leaves_the_intervals(ensemble: MedianAggregation) -> None:
    certificate = clone(ensemble).fit(TRAIN_X, TRAIN_Y).certify(TEST_X)
    buckets = clone(ensemble).fit(TRAIN_X, TRAIN_Y).ensemble_.data.buckets
    random = np.random.default_rng(0)
    moved = 0
    for edits in (1, 2, 4):
        low, high = certificate.intervals(edits)
        answers = clone(ensemble).fit(*poisoned(buckets, edits, random)).predict(TEST_X)
        assert ((low <= answers) & (answers <= high)).all()
        assert np.isfinite(low).all()
        moved += int((answers != certificate.answers).sum())
    assert moved > 0


@every_ensemble
def test_radii_and_accuracies_follow_from_the_intervals(ensemble: MedianAggregation) -> None:
    certificate = clone(ensemble).fit(TRAIN_X, TRAIN_Y).certify(TEST_X)
    radii = certificate.radii(TEST_Y - 80, TEST_Y + 80)
    for edits in (0, 1, 3):
        low, high = certificate.intervals(edits)
        inside = (low >= TEST_Y - 80) & (high <= TEST_Y + 80)
        assert (radii[inside] >= edits).all() if ensemble.d == 1 else True
        assert certificate.certified_accuracy(TEST_Y, 80, [edits])[0] == (radii >= edits).mean()
    assert (radii >= 1).mean() > 0.3
    assert ((radii < 0) == (np.abs(certificate.answers - TEST_Y) > 80)).all()


def test_replacing_a_sample_costs_two_buckets() -> None:
    fitted = clone(ENSEMBLES[0]).fit(TRAIN_X, TRAIN_Y)
    insert, replace = (fitted.certify(TEST_X, name) for name in ("insert_delete", "replace"))
    assert np.array_equal(insert.intervals(4), replace.intervals(2))
    with pytest.raises(ValueError, match="gives no certificate against source"):
        fitted.certify(TEST_X, "source")


def test_an_update_trains_only_what_sees_the_change() -> None:
    fitted = clone(ENSEMBLES[1]).fit(TRAIN_X, TRAIN_Y)
    assert fitted.update(remove=[5]).retrained_ == 3
    anew = clone(ENSEMBLES[1]).fit(np.delete(TRAIN_X, 5, 0), np.delete(TRAIN_Y, 5))
    assert np.array_equal(fitted.values(TEST_X), anew.values(TEST_X))


def test_regressors_do_not_feel_each_other() -> None:
    fitted = clone(ENSEMBLES[1]).fit(TRAIN_X, TRAIN_Y)
    found = check_isolation(fitted.ensemble_, bucket=4)
    assert found.leaks.size == 0
    assert found.changed.tolist() == fitted.ensemble_.spread.seeing(4).tolist()


def test_regressors_without_data_answer_the_fallback_and_those_with_one_target_answer_it() -> None:
    few = MedianAggregation(RIDGE, 40, fallback=7.5).fit(TRAIN_X[:20], TRAIN_Y[:20])
    sizes, values = np.array([len(b) for b in few.ensemble_.data.buckets]), few.values(TEST_X)
    assert (sizes == 0).any()
    assert (values[sizes == 0] == 7.5).all()
    single = int(np.flatnonzero(sizes == 1)[0])
    assert (values[single] == few.ensemble_.data.y[few.ensemble_.data.buckets[single][0]]).all()


class Overflowing(Ridge):
    """Answers no number where it has seen a large target, as training that diverges does."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        return super().predict(X) * (np.nan if abs(self.intercept_) > 1000 else 1)


def test_a_regressor_that_answers_no_number_counts_as_one_that_is_poisoned() -> None:
    ensemble = MedianAggregation(Overflowing(), 15, fallback=0.0)
    certificate = ensemble.fit(TRAIN_X, TRAIN_Y).certify(TEST_X)
    y = TRAIN_Y.copy()
    y[ensemble.ensemble_.data.buckets[2]] = 1e5
    low, high = certificate.intervals(1)
    answers = clone(ensemble).fit(TRAIN_X, y).predict(TEST_X)
    assert ((low <= answers) & (answers <= high)).all()


def test_the_estimator_obeys_the_conventions_of_scikit_learn() -> None:
    ensemble = clone(ENSEMBLES[0]).set_params(k=11, estimator__ridge__alpha=1.0)
    assert cross_val_score(ensemble, TRAIN_X, TRAIN_Y, cv=2).min() > 0.2
    fitted = ensemble.fit(TRAIN_X, TRAIN_Y)
    assert np.array_equal(fitted.predict(TEST_X), median(fitted.values(TEST_X)))


@pytest.mark.parametrize(
    ("settings", "y", "message"),
    [
        ({"fallback": np.nan}, TRAIN_Y, "fallback must be a finite number"),
        ({"estimator": None}, TRAIN_Y, "estimator=... must be given"),
        ({}, np.append(TRAIN_Y[:-1], np.inf), "training targets must be a row of finite numbers"),
    ],
)
def test_what_makes_no_certificate_is_refused(settings: dict, y: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clone(ENSEMBLES[0]).set_params(**settings).fit(TRAIN_X, y)
