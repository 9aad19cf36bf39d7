"""What all aggregations share as estimators: buckets, training, changes of the training set."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted, column_or_1d

from certify.poisoning.learner import Learner
from certify.poisoning.partition import as_features, partitioner
from certify.poisoning.preprocessing import applied, check_global, named
from certify.poisoning.spread import Spread, disjoint, finite
from certify.poisoning.store import MemoryStore
from certify.poisoning.targets import Targets
from certify.poisoning.training import Ensemble, TrainingSet


class Aggregation(BaseEstimator):
    """Base models on buckets of the training data. Subclasses say what is learned, and what their arguments are:

    estimator      any scikit-learn estimator or pipeline, or a `Learner`
    k, d           each base model sees about 1/k of the data, each sample reaches d base models
    partition      "content", "rank" (label flips only), "pixel_sum", or a function (X, y, k) -> k index arrays; `fit(groups=...)`
                   makes buckets of sources
    random_state   an integer; every base model derives its own seed from it
    store          where models are kept; a `FolderStore` survives the process. By default they end with the estimator
    n_jobs         processes for scikit-learn estimators
    transformer    a transformer applied to all data before anything else. One that was fitted is refused, since nobody knows on
                   what, unless `trust_transformer` declares that it saw no training data; the certificate then says so
    """

    estimator: Any
    k: int
    d: int
    partition: Any
    random_state: int
    store: Any
    n_jobs: int | None
    transformer: Any
    trust_transformer: bool

    def fit(self, X: Any, y: Any, groups: Sequence[Any] | None = None) -> Aggregation:
        """Trains what the store lacks. `groups` names the source of each sample: buckets are then made of whole sources."""
        self._check_settings()
        X, y = _samples(X, y)
        if X.ndim == 2:
            self.n_features_in_ = X.shape[1]
        self._targets = self._make_targets()
        self._kept = MemoryStore() if self.store is None else self.store
        self._samples = X, y, None if groups is None else np.asarray(groups)
        self.retrained_ = self._train()
        return self

    def update(self, add: tuple[Any, ...] | None = None, remove: Sequence[int] | None = None) -> Aggregation:
        """The estimator of the changed training set, exactly as if fitted on it anew; only base models that see a change are
        trained.

        `add` is (X, y) or (X, y, groups), `remove` holds indices into the present training set (in the order given to `fit`,
        additions behind it). `retrained_` says how many base models it took.
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
            parts.append((*_samples(new_X, new_y), new_groups))
        columns = list(zip(*parts, strict=True))
        joined = None if groups is None else np.concatenate([np.asarray(g) for g in columns[2]])
        self._samples = np.concatenate(columns[0]), np.concatenate(columns[1]), joined
        self.retrained_ = self._train()
        return self

    @abstractmethod
    def _make_targets(self) -> Targets:
        """What the base models learn."""

    @abstractmethod
    def _numbers(self, y: Any, which: str) -> np.ndarray:
        """Targets as the base models see them; a ValueError names the set, "training" or "test", where they are no targets."""

    @abstractmethod
    def _learner(self) -> Learner:
        """The estimator as a learner."""

    def _spread(self) -> Spread:
        return disjoint(self.k) if self.d == 1 else finite(self.k, self.d)

    def _train(self) -> int:
        X, y, groups = self._samples
        numbers = self._numbers(y, "training")
        spread = self._spread()
        check_global(self.transformer, self.trust_transformer)
        prepared = applied(self.transformer, X)
        buckets = partitioner(self.partition, groups)(prepared, numbers, spread.units)
        data = TrainingSet(prepared, numbers, self._targets, buckets)
        self.ensemble_ = Ensemble(self._learner(), data, spread, self.random_state, self._kept)
        return self.ensemble_.train()

    def _answers(self, ask: Callable[[Ensemble, Any], Any], X: Any) -> Any:
        """What the base models say about X, behind the transformer."""
        check_is_fitted(self, "ensemble_")
        return ask(self.ensemble_, applied(self.transformer, as_features(X)))

    def _partition_kind(self) -> str:
        if self._samples[2] is not None:
            return "groups"
        return self.partition if isinstance(self.partition, str) else "function"

    def _assumed(self) -> tuple[str, ...]:
        return named(self.transformer, self.trust_transformer)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if hasattr(self.estimator, "__sklearn_tags__"):
            tags.input_tags.allow_nan = get_tags(self.estimator).input_tags.allow_nan
        return tags

    def _check_settings(self) -> None:
        if self.estimator is None:
            raise ValueError("estimator=... must be given: a scikit-learn estimator or a learner such as TorchLearner")
        if not isinstance(self.random_state, (int, np.integer)):
            raise ValueError(f"random_state must be an integer, so that training can be repeated, not {self.random_state!r}")


def _samples(X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Samples and as many targets as arrays; a ValueError where they are none."""
    if y is None:
        raise ValueError("fit requires y to be passed, but the target y is None")
    samples, targets = as_features(X), column_or_1d(y, warn=True)
    if not samples.size:
        raise ValueError(f"0 sample(s) or 0 feature(s) (shape={samples.shape}) while a minimum of 1 is required.")
    if len(samples) != len(targets):
        raise ValueError(f"{len(samples)} samples with {len(targets)} labels")
    return samples, targets
