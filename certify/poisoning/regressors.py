"""Regression by the median of many regressors, with intervals that poisoned training data cannot leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from certify.poisoning.aggregation import Aggregation
from certify.poisoning.learner import Learner, SklearnLearner, SklearnModel, rows_of_samples
from certify.poisoning.medians import median, median_intervals, median_radii
from certify.poisoning.partition import Partitioner
from certify.poisoning.spread import Spread
from certify.poisoning.store import Store
from certify.poisoning.targets import Numbers
from certify.poisoning.threats import Threat, assumptions, threat


@dataclass(frozen=True)
class SklearnRegressors(SklearnLearner):
    """Any scikit-learn regressor or pipeline, cloned and trained as classifiers are; its score is its prediction."""

    def spec(self) -> dict[str, Any]:
        """The estimator with all its parameters, and the versions of what computes."""
        return super().spec() | {"learner": "scikit-learn regressor"}

    def scores(self, models: Sequence[SklearnModel], X: Any) -> np.ndarray:
        """Predictions, (models, inputs, 1)."""
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            predictions = [np.asarray(model.estimator.predict(rows_of_samples(X)), dtype=np.float64) for model in models]
        return np.stack(predictions).reshape(len(models), len(X), 1)


@dataclass(frozen=True)
class MedianCertificate:
    """What poisoned training data cannot do to the medians of `values`, (regressors, inputs); edits are those of `threat`."""

    threat_name: str
    threat: Threat
    spread: Spread
    values: np.ndarray
    assumptions: tuple[str, ...]

    @property
    def answers(self) -> np.ndarray:
        """The medians, (inputs,)."""
        return median(self.values)

    def intervals(self, edits: int) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends, (inputs,) each, that hold every answer after any so many edits; infinite where nothing is certified.

        Exact where no base model sees two buckets.
        """
        return median_intervals(self.values, self.spread, edits * self.threat.buckets)

    def radii(self, low: Any, high: Any) -> np.ndarray:
        """Numbers of edits that cannot move the answers out of [low, high], numbers or (inputs,); -1 where they lie outside."""
        buckets = median_radii(self.values, self.spread, low, high)
        return np.where(buckets < 0, -1, buckets // self.threat.buckets)

    def certified_accuracy(self, y: Any, tolerance: float, edits: Sequence[int]) -> np.ndarray:
        """The share of inputs whose answer stays within `tolerance` of the truth `y` after so many edits."""
        truth = np.asarray(y, dtype=np.float64)
        radii = self.radii(truth - tolerance, truth + tolerance)
        return np.array([float((radii >= size).mean()) for size in edits])


class MedianAggregation(RegressorMixin, Aggregation):
    """The median of regressors that each see little of the data: answers with intervals that no few edits can leave.

    Beside the arguments of every `Aggregation` (d = 1: disjoint buckets):

    fallback       what a regressor without data answers, and one whose answer is no number; fixed beforehand

    After `fit`: `ensemble_`, `n_features_in_`. Source: arXiv 2208.13904.
    """

    def __init__(
        self,
        estimator: Any = None,
        k: int = 50,
        d: int = 1,
        *,
        fallback: float = 0.0,
        partition: str | Partitioner = "content",
        random_state: int = 0,
        store: Store | None = None,
        n_jobs: int | None = None,
        transformer: Any = None,
        trust_transformer: bool = False,
    ) -> None:
        self.estimator = estimator
        self.k = k
        self.d = d
        self.fallback = fallback
        self.partition = partition
        self.random_state = random_state
        self.store = store
        self.n_jobs = n_jobs
        self.transformer = transformer
        self.trust_transformer = trust_transformer

    def predict(self, X: Any) -> np.ndarray:
        """The lower median of all regressors, (inputs,)."""
        return median(self.values(X))

    def values(self, X: Any) -> np.ndarray:
        """Every regressor's answer, (regressors, inputs)."""
        found = self._answers(lambda ensemble, samples: ensemble.scores(samples, range(ensemble.spread.classifiers)), X)[..., 0]
        return np.where(np.isfinite(found), found, self.fallback)

    def certify(self, X: Any, threat_name: str = "insert_delete") -> MedianCertificate:
        """For every input, what edits of the training data cannot do to its answer."""
        values, kind = self.values(X), self._partition_kind()
        assumed = assumptions(kind) + self._assumed()
        return MedianCertificate(threat_name, threat(threat_name, kind), self.ensemble_.spread, values, assumed)

    def _make_targets(self) -> Numbers:
        return Numbers(self.fallback)

    def _learner(self) -> Learner:
        return self.estimator if hasattr(self.estimator, "spec") else SklearnRegressors(self.estimator, self.n_jobs)

    def _numbers(self, y: Any, which: str) -> np.ndarray:
        numbers = np.asarray(y, dtype=np.float64)
        if numbers.ndim != 1 or not np.isfinite(numbers).all():
            raise ValueError(f"{which} targets must be a row of finite numbers, got {list(numbers.shape)}")
        return numbers

    def _check_settings(self) -> None:
        super()._check_settings()
        if not np.isfinite(self.fallback):
            raise ValueError(f"fallback must be a finite number, not {self.fallback}")
