"""Aggregations as scikit-learn estimators: `fit`, `predict`, and certificates against poisoned training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from certify.poisoning.audit import Audit, audit
from certify.poisoning.boosting import BoostedLearner
from certify.poisoning.certificate import Certificate, certify_votes
from certify.poisoning.learner import Learner, SklearnLearner
from certify.poisoning.partition import Partitioner, as_features, partitioner
from certify.poisoning.preprocessing import applied, check_global, named
from certify.poisoning.spread import Spread, disjoint, finite
from certify.poisoning.store import MemoryStore, Store
from certify.poisoning.training import Ensemble, TrainingSet
from certify.poisoning.votes import RULES, Votes


class FiniteAggregation(ClassifierMixin, BaseEstimator):
    """Votes of kd classifiers on kd buckets, each bucket read by d of them: answers with a certified number of harmless edits.

    estimator      any scikit-learn classifier or pipeline, or a `Learner` (`TorchLearner`, `RidgeLearner`)
    k, d           each classifier sees about 1/k of the data, each sample reaches d classifiers
    classes        all class labels, required: a list learned from the data would depend on poisoned samples
    rule           "plurality" or "runoff"
    partition      "content", "rank" (label flips only), "pixel_sum", or a function (X, y, k) -> k index arrays; `fit(groups=...)`
                   makes buckets of sources
    n_boost        models per classifier, averaged into its vote
    random_state   an integer; every classifier derives its own seed from it
    store          where models are kept; a `FolderStore` survives the process. By default they end with the estimator
    n_jobs         processes for scikit-learn estimators
    transform      a transformer applied to all data before anything else. One that was fitted is refused, since nobody knows on
    what,
                   unless `trust_transform` declares that it saw no training data; the certificate then says so

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
        transform: Any = None,
        trust_transform: bool = False,
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
        self.transform = transform
        self.trust_transform = trust_transform

    def fit(self, X: Any, y: Any, groups: Sequence[Any] | None = None) -> FiniteAggregation:
        """Trains what the store lacks. `groups` names the source of each sample: buckets are then made of whole sources."""
        self._check_settings()
        X, y = as_features(X), np.asarray(y)
        if len(X) != len(y):
            raise ValueError(f"{len(X)} samples with {len(y)} labels")
        if X.ndim == 2:
            self.n_features_in_ = X.shape[1]
        self.classes_ = np.unique(np.asarray(self.classes))
        self._kept = MemoryStore() if self.store is None else self.store
        self._samples = X, y, None if groups is None else np.asarray(groups)
        self.retrained_ = self._train()
        return self

    def update(self, add: tuple[Any, ...] | None = None, remove: Sequence[int] | None = None) -> FiniteAggregation:
        """The estimator of the changed training set, exactly as if fitted on it anew; only classifiers that see a change are
        trained.

        `add` is (X, y) or (X, y, groups), `remove` holds indices into the present training set (in the order given to `fit`,
        additions behind it). `retrained_` says how many classifiers it took.
        """
        check_is_fitted(self, "ensemble_")
        X, y, groups = self._samples
        keep = np.ones(len(y), dtype=bool)
        keep[np.asarray([] if remove is None else remove, dtype=np.int64)] = False
        parts = [(X[keep], y[keep], None if groups is None else groups[keep])]
        if add is not None:
            new_X, new_y, new_groups = (*add, None)[:3]
            if (groups is None) != (new_groups is None):
                raise ValueError("samples are added with groups exactly where the others have groups: add=(X, y, groups)")
            parts.append((as_features(new_X), np.asarray(new_y), new_groups))
        columns = list(zip(*parts, strict=True))
        joined = None if groups is None else np.concatenate([np.asarray(g) for g in columns[2]])
        self._samples = np.concatenate(columns[0]), np.concatenate(columns[1]), joined
        self.retrained_ = self._train()
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The class that the rule elects, (inputs,)."""
        return self.classes_[RULES[self.rule](self.votes(X), self.ensemble_.spread).winners]

    def votes(self, X: Any) -> Votes:
        """Every classifier's vote on every input, with its ranking of the classes where the rule needs it."""
        check_is_fitted(self, "ensemble_")
        ask = {"plurality": self.ensemble_.votes, "runoff": self.ensemble_.rankings}[self.rule]
        return ask(applied(self.transform, as_features(X)))

    def certify(self, X: Any, y: Any = None, threat_name: str = "insert_delete") -> Certificate:
        """For every input, how many edits of the training data cannot change its answer; true labels `y` make accuracies of it."""
        return self.certify_votes(self.votes(X), y, threat_name)

    def certify_votes(self, votes: Votes, y: Any = None, threat_name: str = "insert_delete") -> Certificate:
        """The same from votes of this ensemble that are at hand, such as those proved robust by `proved_votes`."""
        check_is_fitted(self, "ensemble_")
        labels = None if y is None else self._class_numbers(y, "test")
        assumed, kind = named(self.transform, self.trust_transform), self._partition_kind()
        return certify_votes(
            votes, self.ensemble_.spread, threat_name, partition=kind, rule=self.rule, labels=labels, assumed=assumed
        )

    def audit(self, X: Any, top: int = 20) -> Audit:
        """The buckets that most answers on X hang on."""
        return audit(self.votes(X), self.ensemble_.spread, top, self.rule)

    def _spread(self) -> Spread:
        return finite(self.k, self.d)

    def _train(self) -> int:
        X, y, groups = self._samples
        numbers = self._class_numbers(y, "training")
        spread = self._spread()
        check_global(self.transform, self.trust_transform)
        prepared = applied(self.transform, X)
        buckets = partitioner(self.partition, groups)(prepared, numbers, spread.units)
        data = TrainingSet(prepared, numbers, len(self.classes_), buckets)
        self.ensemble_ = Ensemble(self._learner(), data, spread, self.random_state, self._kept)
        return self.ensemble_.train()

    def _learner(self) -> Learner:
        learner = self.estimator if hasattr(self.estimator, "spec") else SklearnLearner(self.estimator, self.n_jobs)
        return learner if self.n_boost == 1 else BoostedLearner(learner, self.n_boost)

    def _partition_kind(self) -> str:
        if self._samples[2] is not None:
            return "groups"
        return self.partition if isinstance(self.partition, str) else "function"

    def _class_numbers(self, y: Any, which: str) -> np.ndarray:
        labels = np.asarray(y)
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise ValueError(f"{which} labels {unknown.tolist()[:5]} are not among the classes {self.classes_.tolist()[:20]}")
        return np.searchsorted(self.classes_, labels).astype(np.int64)

    def _check_settings(self) -> None:
        if self.classes is None:
            raise ValueError("classes=[...] must be given: classes found in the training data would depend on poisoned samples")
        if self.estimator is None:
            raise ValueError("estimator=... must be given: a scikit-learn classifier, a TorchLearner or a RidgeLearner")
        if self.rule not in RULES:
            raise ValueError(f"no rule is called {self.rule!r}; there are {', '.join(RULES)}")
        if not isinstance(self.random_state, (int, np.integer)):
            raise ValueError(f"random_state must be an integer, so that training can be repeated, not {self.random_state!r}")
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
        transform: Any = None,
        trust_transform: bool = False,
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
            transform=transform,
            trust_transform=trust_transform,
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
