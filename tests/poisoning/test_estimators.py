"""Aggregations as estimators: what they promise about retraining, order, sources and preprocessing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import check_estimator

from certify import poisoning
from certify.poisoning.aggregation import Aggregation
from certify.poisoning.certificate import Certificate, certify_votes
from certify.poisoning.estimators import DeepPartitionAggregation, FiniteAggregation, certify_pipeline
from certify.poisoning.linear_learner import RidgeLearner
from certify.poisoning.preprocessing import GlobalPreprocessingError
from certify.poisoning.regressors import MedianAggregation
from certify.poisoning.spread import finite
from certify.poisoning.votes import Votes

X, Y = load_digits(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(len(Y))
X, Y = X[ORDER], Y[ORDER]
TRAIN_X, TRAIN_Y, TEST_X, TEST_Y = X[:500], Y[:500], X[500:600], Y[500:600]
RIDGE = RidgeLearner(penalty=50.0)
TREE = DecisionTreeClassifier(max_depth=6)
CLASSES = range(10)


def ensembles() -> list[FiniteAggregation]:
    return [
        DeepPartitionAggregation(RIDGE, 15, classes=CLASSES),
        DeepPartitionAggregation(TREE, 15, classes=CLASSES, rule="runoff"),
        FiniteAggregation(RIDGE, 12, 3, classes=CLASSES),
        FiniteAggregation(RIDGE, 12, 3, classes=CLASSES, rule="runoff"),
        DeepPartitionAggregation(TREE, 15, classes=CLASSES, n_boost=3),
    ]


NAMES = ["dpa", "dpa-runoff", "fa", "fa-runoff", "dpa-boosted"]


def same_votes(one: FiniteAggregation, two: FiniteAggregation) -> bool:
    return bool(np.array_equal(one.votes(TEST_X).ballots, two.votes(TEST_X).ballots))


def poisoned(buckets: list[np.ndarray], edits: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A training set with as many poisoned buckets: one relabelled, the next emptied, then a new sample, and so on."""
    X, y, keep = [TRAIN_X], TRAIN_Y.copy(), np.ones(500, dtype=bool)
    added = []
    for turn, u in enumerate(random.choice(len(buckets), edits, replace=False)):
        if turn % 3 == 0:
            y[buckets[u]] = random.integers(10)
        elif turn % 3 == 1:
            keep[buckets[u]] = False
        else:
            added.append(random.integers(10))
            X.append(random.uniform(0, 16, (1, 64)).round())
    kept = np.append(np.flatnonzero(keep), np.arange(500, 500 + len(added)))
    return np.concatenate(X)[kept], np.append(y, added).astype(int)[kept]


@pytest.mark.parametrize("ensemble", ensembles(), ids=NAMES)
def test_training_on_poisoned_data_never_changes_a_certified_answer(ensemble: FiniteAggregation) -> None:
    certificate = ensemble.fit(TRAIN_X, TRAIN_Y).certify(TEST_X, TEST_Y)
    random = np.random.default_rng(0)
    for edits in (1, 2, 4):
        attacked = clone(ensemble).fit(*poisoned(ensemble.ensemble_.data.buckets, edits, random))
        held = certificate.radii >= edits
        assert np.array_equal(attacked.predict(TEST_X)[held], certificate.winners[held])
    assert (certificate.radii >= 2).mean() > 0.1


def test_poisoning_every_sample_of_certified_buckets_changes_no_certified_answer() -> None:
    ensemble = DeepPartitionAggregation(RIDGE, 15, classes=CLASSES).fit(TRAIN_X, TRAIN_Y)
    certificate = ensemble.certify(TEST_X, TEST_Y)
    i = int(np.argmax(certificate.radii))
    attack = certificate.attack(i)
    for used, survives in ((attack.buckets[: certificate.radii[i]], True), (attack.buckets, False)):
        y = TRAIN_Y.copy()
        for u in used:
            y[ensemble.ensemble_.data.buckets[u]] = attack.rivals[0]
        flipped = clone(ensemble).fit(TRAIN_X, y)
        assert (flipped.predict(TEST_X[i : i + 1])[0] == certificate.winners[i]) == survives


@pytest.mark.parametrize("ensemble", ensembles(), ids=NAMES)
def test_the_order_of_the_training_set_changes_nothing(ensemble: FiniteAggregation) -> None:
    shuffled = np.random.default_rng(1).permutation(500)
    assert same_votes(clone(ensemble).fit(TRAIN_X, TRAIN_Y), clone(ensemble).fit(TRAIN_X[shuffled], TRAIN_Y[shuffled]))


@pytest.mark.parametrize(("ensemble", "touched"), [(e, 3 if e.d == 3 else 1) for e in ensembles()], ids=NAMES)
def test_an_update_trains_only_what_sees_the_change_and_equals_training_anew(ensemble: FiniteAggregation, touched: int) -> None:
    ensemble = clone(ensemble).fit(TRAIN_X[:-1], TRAIN_Y[:-1])
    assert ensemble.update(add=(TRAIN_X[-1:], TRAIN_Y[-1:])).retrained_ == touched
    assert same_votes(ensemble, clone(ensemble).fit(TRAIN_X, TRAIN_Y))
    assert ensemble.update(remove=[7]).retrained_ == touched
    rest = np.delete(np.arange(500), 7)
    assert same_votes(ensemble, clone(ensemble).fit(TRAIN_X[rest], TRAIN_Y[rest]))
    assert ensemble.update(add=(TRAIN_X[7:8], TRAIN_Y[7:8])).retrained_ == 0


def test_worker_processes_change_nothing() -> None:
    one, two = (DeepPartitionAggregation(TREE, 6, classes=CLASSES, n_jobs=n).fit(TRAIN_X, TRAIN_Y) for n in (1, 2))
    assert same_votes(one, two)


def test_one_source_may_do_what_it_likes_to_its_samples() -> None:
    sources = np.random.default_rng(0).integers(0, 40, 500)
    ensemble = DeepPartitionAggregation(RIDGE, 15, classes=CLASSES).fit(TRAIN_X, TRAIN_Y, groups=sources)
    certificate = ensemble.certify(TEST_X, threat_name="source")
    y = np.where(sources == 3, 0, TRAIN_Y)
    poisoned = clone(ensemble).fit(TRAIN_X, y, groups=sources).predict(TEST_X)
    held = certificate.radii >= 1
    assert held.any()
    assert np.array_equal(poisoned[held], certificate.winners[held])
    assert any("forged" in assumption for assumption in certificate.assumptions)


def test_replacing_a_sample_costs_two_buckets() -> None:
    ensemble = DeepPartitionAggregation(RIDGE, 15, classes=CLASSES).fit(TRAIN_X, TRAIN_Y)
    insert, replace = (ensemble.certify(TEST_X, threat_name=name) for name in ("insert_delete", "replace"))
    assert np.array_equal(replace.radii, insert.radii // 2)


def test_ranks_certify_label_flips_only() -> None:
    ensemble = DeepPartitionAggregation(RIDGE, 15, classes=CLASSES, partition="rank").fit(TRAIN_X, TRAIN_Y)
    assert ensemble.certify(TEST_X, TEST_Y, "label_flip").certified_accuracy([1])[0] > 0.3
    with pytest.raises(ValueError, match="may move every sample"):
        ensemble.certify(TEST_X, TEST_Y, "insert_delete")


def test_empty_and_one_class_buckets_are_handled() -> None:
    few = DeepPartitionAggregation(LogisticRegression(), 40, classes=CLASSES).fit(TRAIN_X[:30], TRAIN_Y[:30])
    votes = few.votes(TEST_X).ballots
    sizes = np.array([len(bucket) for bucket in few.ensemble_.data.buckets])
    assert (sizes == 0).any()
    assert (votes[sizes == 0] == 255).all()
    single = int(np.flatnonzero(sizes == 1)[0])
    assert (votes[single] == few.ensemble_.data.y[few.ensemble_.data.buckets[single][0]]).all()


def test_estimators_obey_the_conventions_of_scikit_learn() -> None:
    ensemble = FiniteAggregation(make_pipeline(StandardScaler(), GaussianNB()), 5, 2, classes=CLASSES, random_state=3)
    copy = clone(ensemble)
    assert copy.get_params(deep=False).keys() == ensemble.get_params(deep=False).keys()
    assert copy.set_params(k=4, estimator__gaussiannb__var_smoothing=0.1).k == 4
    assert cross_val_score(copy, TRAIN_X, TRAIN_Y, cv=2).min() > 0.5


@pytest.mark.parametrize(
    ("ensemble", "expected"),
    [
        (
            DeepPartitionAggregation(DecisionTreeClassifier(max_depth=3), 3, classes=range(10)),
            {"check_classifiers_classes": "classes are given beforehand, not taken from the data"},
        ),
        (MedianAggregation(Ridge(), 3), {}),
    ],
    ids=["classifier", "regressor"],
)
def test_the_checks_of_scikit_learn_pass(ensemble: Aggregation, expected: dict[str, str]) -> None:
    results = check_estimator(ensemble, expected_failed_checks=expected, on_skip=None)
    assert {result["check_name"] for result in results if result["status"] == "xfail"} == expected.keys()
    assert sum(result["status"] == "passed" for result in results) > 45


def test_a_transformer_fitted_on_all_data_is_refused_unless_trusted() -> None:
    scaler = StandardScaler().fit(X)
    with pytest.raises(GlobalPreprocessingError, match="StandardScaler learns from data"):
        DeepPartitionAggregation(RIDGE, 10, classes=CLASSES, transformer=scaler).fit(TRAIN_X, TRAIN_Y)
    trusting = DeepPartitionAggregation(RIDGE, 10, classes=CLASSES, transformer=scaler, trust_transformer=True).fit(
        TRAIN_X, TRAIN_Y
    )
    assert any("StandardScaler" in assumption for assumption in trusting.certify(TEST_X).assumptions)
    harmless = DeepPartitionAggregation(RIDGE, 10, classes=CLASSES, transformer=Normalizer()).fit(TRAIN_X, TRAIN_Y)
    assert not any("Normalizer" in assumption for assumption in harmless.certify(TEST_X).assumptions)


def test_a_pipeline_that_scales_all_data_is_refused_unless_trusted() -> None:
    pipeline = make_pipeline(StandardScaler(), DeepPartitionAggregation(RIDGE, 10, classes=CLASSES)).fit(TRAIN_X, TRAIN_Y)
    assert pipeline.score(TEST_X, TEST_Y) > 0.7
    with pytest.raises(GlobalPreprocessingError, match="StandardScaler"):
        certify_pipeline(pipeline, TEST_X, TEST_Y)
    certificate = certify_pipeline(pipeline, TEST_X, TEST_Y, trusted=True)
    assert any("StandardScaler" in assumption for assumption in certificate.assumptions)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": None}, "classes=\\[...\\] must be given"),
        ({"classes": range(5)}, "are not among the classes"),
        ({"estimator": None}, "estimator=... must be given"),
        ({"rule": "majority"}, "no rule is called 'majority'"),
        ({"random_state": None}, "random_state must be an integer"),
        ({"k": 0}, "at least 1"),
        ({"n_boost": 0}, "n_boost must be at least 1"),
    ],
)
def test_settings_that_make_no_certificate_are_refused(settings: dict, message: str) -> None:
    ensemble = DeepPartitionAggregation(RIDGE, 10, classes=CLASSES).set_params(**settings)
    with pytest.raises(ValueError, match=message):
        ensemble.fit(TRAIN_X, TRAIN_Y)


def test_certificate_figures_follow_their_definitions() -> None:
    certificate = DeepPartitionAggregation(RIDGE, 15, classes=CLASSES).fit(TRAIN_X, TRAIN_Y).certify(TEST_X, TEST_Y)
    right = certificate.winners == TEST_Y
    assert certificate.clean_accuracy() == right.mean()
    for size in range(8):
        assert certificate.certified_accuracy([size])[0] == (right & (certificate.radii >= size)).mean()
    median = certificate.median_radius()
    assert certificate.certified_accuracy([median])[0] >= 0.5 > certificate.certified_accuracy([median + 1])[0]
    check_collective(certificate)


def check_collective(certificate: Certificate) -> None:
    pointwise = certificate.certified_accuracy([1, 2])
    together = [certificate.collective_accuracy(size) for size in (1, 2)]
    assert together[0] >= pointwise[0]
    assert together[1] >= pointwise[1]
    assert together[0] >= together[1]


def test_finite_aggregation_with_one_bucket_each_gives_the_radii_of_disjoint_partitions() -> None:
    one = DeepPartitionAggregation(RIDGE, 15, classes=CLASSES).fit(TRAIN_X, TRAIN_Y).certify(TEST_X)
    two = FiniteAggregation(RIDGE, 15, 1, classes=CLASSES).fit(TRAIN_X, TRAIN_Y).certify(TEST_X)
    assert np.array_equal(one.radii, two.radii)


def test_votes_from_elsewhere_are_certified_with_what_must_be_assumed_of_them() -> None:
    random = np.random.default_rng(0)
    votes = Votes(random.integers(0, 3, (12, 5)).astype(np.uint8), 3, np.arange(12))
    certificate = certify_votes(votes, finite(4, 3), labels=np.zeros(5, dtype=int))
    assert any("user's partition function" in assumption for assumption in certificate.assumptions)
    with pytest.raises(ValueError, match="4 labels for votes on 5 inputs"):
        certify_votes(votes, finite(4, 3), labels=np.zeros(4, dtype=int))
    with pytest.raises(ValueError, match="no threat is called 'theft'"):
        certify_votes(votes, finite(4, 3), "theft")


@pytest.mark.parametrize("estimator", [RIDGE, TREE])
def test_the_type_of_the_array_is_no_way_into_other_buckets(estimator: object) -> None:
    whole = DeepPartitionAggregation(estimator, 10, classes=CLASSES).fit(TRAIN_X.astype(np.uint8), TRAIN_Y)
    before = whole.votes(TEST_X).ballots
    assert whole.update(add=(np.full((1, 64), 0.5), [3])).retrained_ == 1
    assert (before == whole.votes(TEST_X).ballots).all(axis=1).sum() >= 9
    assert same_votes(whole, clone(whole).fit(np.append(TRAIN_X, np.full((1, 64), 0.5), axis=0), np.append(TRAIN_Y, 3)))


def test_texts_are_samples_too() -> None:
    texts = np.array([f"{'good' if i % 2 else 'bad'} number {i}" for i in range(60)])
    voters = DeepPartitionAggregation(make_pipeline(CountVectorizer(), MultinomialNB()), 5, classes=["no", "yes"])
    certificate = voters.fit(texts, np.where(np.arange(60) % 2, "yes", "no")).certify(["good", "bad"], ["yes", "no"])
    assert certificate.radii.tolist() == [2, 2]


def test_estimators_that_score_pairs_of_classes_vote_by_their_predictions() -> None:
    pairs = SVC(decision_function_shape="ovo")
    voters = DeepPartitionAggregation(pairs, 3, classes=CLASSES).fit(TRAIN_X, TRAIN_Y)
    assert voters.score(TEST_X, TEST_Y) > 0.8


@pytest.mark.parametrize("X", [csr_array(np.eye(4)), np.array(["1", "2", "3", 4], dtype=object), 3.0])
def test_what_is_no_array_of_numbers_or_text_is_refused(X: object) -> None:
    with pytest.raises(ValueError, match="must be a dense array"):
        DeepPartitionAggregation(RIDGE, 2, classes=[0, 1]).fit(X, np.zeros(4))


def test_public_names_are_there() -> None:
    assert all(getattr(poisoning, name).__name__ == name for name in poisoning.__all__)


def test_boosting_improves_voters_at_no_price() -> None:
    plain, boosted = (
        DeepPartitionAggregation(DecisionTreeClassifier(max_features=8), 15, classes=CLASSES, n_boost=n).fit(TRAIN_X, TRAIN_Y)
        for n in (1, 5)
    )
    assert boosted.certify(TEST_X, TEST_Y).radii.mean() > plain.certify(TEST_X, TEST_Y).radii.mean()
