"""Aggregations as scikit-learn classifiers: `fit`, `predict`, and certificates against poisoned training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from certify.poisoning.aggregation import Aggregation
from certify.poisoning.audit import Audit, audit
from certify.poisoning.boosting import BoostedLearner
from certify.poisoning.certificate import Certificate, certify_votes
from certify.poisoning.learner import Learner, classifier_learner
from certify.poisoning.partition import Partitioner
from certify.poisoning.preprocessing import check_global, named
from certify.poisoning.spread import Spread, disjoint, finite
from certify.poisoning.store import Store
from certify.poisoning.targets import Classes
from certify.poisoning.training import Ensemble
from certify.poisoning.votes import RULES, Votes

ASK = {"plurality": Ensemble.votes, "runoff": Ensemble.rankings}
"""What a rule needs to know of the classifiers."""


class FiniteAggregation(ClassifierMixin, Aggregation):
    """Votes of kd classifiers on kd buckets, each bucket read by d of them: answers with a certified number of harmless edits.

    Beside the arguments of every `Aggregation`:

    classes        all class labels, required: a list learned from the data would depend on poisoned samples
    rule           "plurality" or "runoff"
    n_boost        models per classifier, averaged into its vote

    After `fit`: `classes_`, `ensemble_`, `n_features_in_`. Source: arXiv 2202.02628.
    """

    def __init__(
        self,
        estimator: Any = None,
        k: int = 50,
        d: int = 4,
        *,
        classes: Sequence[Any] | None = None,
        rule: str = "plurality",
        partition: str | Partitioner = "content",
        n_boost: int = 1,
        random_state: int = 0,
        store: Store | None = None,
        n_jobs: int | None = None,
        transformer: Any = None,
        trust_transformer: bool = False,
    ) -> None:
        self.estimator = estimator
        self.k = k
        self.d = d
        self.classes = classes
        self.rule = rule
        self.partition = partition
        self.n_boost = n_boost
        self.random_state = random_state
        self.store = store
        self.n_jobs = n_jobs
        self.transformer = transformer
        self.trust_transformer = trust_transformer

    def predict(self, X: Any) -> np.ndarray:
        """The class that the rule elects, (inputs,)."""
        votes = self.votes(X)
        return self.classes_[RULES[self.rule](votes, self.ensemble_.spread).winners]

    def votes(self, X: Any) -> Votes:
        """Every classifier's vote on every input, with its ranking of the classes where the rule needs it."""
        return self._answers(ASK[self.rule], X)

    def certify(self, X: Any, y: Any = None, threat_name: str = "insert_delete") -> Certificate:
        """For every input, how many edits of the training data cannot change its answer; true labels `y` make accuracies of it."""
        return self.certify_votes(self.votes(X), y, threat_name)

    def certify_votes(self, votes: Votes, y: Any = None, threat_name: str = "insert_delete") -> Certificate:
        """The same from votes of this ensemble that are at hand, such as those proved robust by `proved_votes`."""
        check_is_fitted(self, "ensemble_")
        labels = None if y is None else self._numbers(y, "test")
        kind = self._partition_kind()
        return certify_votes(
            votes, self.ensemble_.spread, threat_name, partition=kind, rule=self.rule, labels=labels, assumed=self._assumed()
        )

    def audit(self, X: Any, top: int = 20) -> Audit:
        """The buckets that most answers on X hang on."""
        votes = self.votes(X)
        return audit(votes, self.ensemble_.spread, top, self.rule)

    def _spread(self) -> Spread:
        return finite(self.k, self.d)

    def _make_targets(self) -> Classes:
        self.classes_ = np.unique(np.asarray(self.classes))
        return Classes(len(self.classes_))

    def _learner(self) -> Learner:
        learner = classifier_learner(self.estimator, self.n_jobs)
        return learner if self.n_boost == 1 else BoostedLearner(learner, self.n_boost)

    def _numbers(self, y: Any, which: str) -> np.ndarray:
        labels = np.asarray(y)
        check_classification_targets(labels)
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise ValueError(f"{which} labels {unknown.tolist()[:5]} are not among the classes {self.classes_.tolist()[:20]}")
        return np.searchsorted(self.classes_, labels).astype(np.int64)

    def _check_settings(self) -> None:
        super()._check_settings()
        if self.classes is None:
            raise ValueError("classes=[...] must be given: classes found in the training data would depend on poisoned samples")
        if len(np.unique(np.asarray(self.classes))) < 2:
            raise ValueError("classes=[...] must name at least two classes: with one there is nothing to vote on")
        if self.rule not in RULES:
            raise ValueError(f"no rule is called {self.rule!r}; there are {', '.join(RULES)}")
        if self.n_boost < 1:
            raise ValueError(f"n_boost must be at least 1, not {self.n_boost}")


class DeepPartitionAggregation(FiniteAggregation):
    """Votes of k classifiers on k disjoint buckets: answers with a certified number of harmless edits, exact for any learner.

    The arguments are those of `FiniteAggregation` without d. Source: arXiv 2006.14768.
    """

    def __init__(
        self,
        estimator: Any = None,
        k: int = 50,
        *,
        classes: Sequence[Any] | None = None,
        rule: str = "plurality",
        partition: str | Partitioner = "content",
        n_boost: int = 1,
        random_state: int = 0,
        store: Store | None = None,
        n_jobs: int | None = None,
        transformer: Any = None,
        trust_transformer: bool = False,
    ) -> None:
        super().__init__(
            estimator,
            k,
            1,
            classes=classes,
            rule=rule,
            partition=partition,
            n_boost=n_boost,
            random_state=random_state,
            store=store,
            n_jobs=n_jobs,
            transformer=transformer,
            trust_transformer=trust_transformer,
        )

    def _spread(self) -> Spread:
        return disjoint(self.k)


def certify_pipeline(
    pipeline: Any, X: Any, y: Any = None, threat_name: str = "insert_delete", *, trusted: bool = False
) -> Certificate:
    """The certificate of an aggregation at the end of a scikit-learn pipeline; fitted steps before it are refused unless `trusted`.

    `pipeline.fit` fits those steps on the whole training set, where one poisoned sample moves every feature. Put them into the base
    estimator's own pipeline, or declare by `trusted` that no poisoned sample could reach them.
    """
    *steps, (_, final) = pipeline.steps
    assumed: tuple[str, ...] = ()
    for _, step in steps:
        if step not in (None, "passthrough"):
            check_global(step, trusted)
            X, assumed = step.transform(X), assumed + named(step, trusted)
    found = final.certify(X, y, threat_name)
    return replace(found, assumptions=found.assumptions + assumed)
