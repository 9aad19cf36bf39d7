"""Ridge regression on fixed features, in the form for few features and in the form for few samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from certify.poisoning.learner import Job, describe


def flat(X: Any) -> np.ndarray:
    """The features as they are, one row per sample."""
    return np.asarray(X, dtype=np.float64).reshape(len(X), -1)


def rows_of(X: Any) -> np.ndarray:
    """The features as they are, in their own type, one row per sample."""
    rows = np.asarray(X).reshape(len(X), -1)
    return rows if rows.dtype.kind == "f" else rows.astype(np.float64)


@dataclass(frozen=True)
class RidgeLearner:
    """Linear least squares on one-hot labels over fixed `features`, with an intercept and a penalty: the classifier is the best
    score.

    A bucket is summarised once, by the second moments of its features and their sums per class; a classifier adds up those of
    its buckets in their order and solves one linear system. `features` maps samples to rows and must not depend on the training
    data. The statistics of all buckets at hand are kept, (features + 1)^2 numbers each: meant for up to a few hundred features.
    """

    penalty: float = 1.0
    features: Callable[[Any], np.ndarray] = flat
    block: int = 1 << 20

    def spec(self) -> dict[str, Any]:
        """The penalty, the name of the features and the version of what computes."""
        return {"learner": "ridge", "penalty": self.penalty, "features": describe(self.features), "versions": [np.__version__]}

    def fit(self, X: Any, y: np.ndarray, classes: int, jobs: Sequence[Job]) -> list[np.ndarray]:
        """Coefficients with the intercept in the last row, (features + 1, classes), per job."""
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            buckets = {u: index for job in jobs for u, index in job.buckets}
            statistics = {u: self._summary(X[index], y[index], classes) for u, index in buckets.items() if len(index)}
            return [self._solve([statistics[u] for u, index in job.buckets if len(index)]) for job in jobs]

    def scores(self, models: Sequence[np.ndarray], X: Any) -> np.ndarray:
        """Linear scores, (models, inputs, classes)."""
        rows = _with_one(self.features(X))
        return np.stack([rows @ model for model in models])

    def dump(self, model: np.ndarray) -> bytes:
        """The shape and the numbers."""
        return np.array(model.shape, dtype="<i8").tobytes() + model.astype("<f8").tobytes()

    def load(self, content: bytes) -> np.ndarray:
        """Reads what `dump` wrote."""
        return np.frombuffer(content, dtype="<f8", offset=16).reshape(np.frombuffer(content, dtype="<i8", count=2))

    def _summary(self, X: Any, y: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
        rows = _with_one(self.features(X))
        return rows.T @ rows, rows.T @ np.eye(classes)[y]

    def _solve(self, statistics: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        moments, sums = statistics[0][0].copy(), statistics[0][1].copy()
        for more_moments, more_sums in statistics[1:]:
            moments += more_moments
            sums += more_sums
        moments[np.diag_indices(len(moments) - 1)] += self.penalty
        seen = moments[-1, -1]
        return np.linalg.solve(moments + 1e-9 * seen * np.eye(len(moments)), sums)


@dataclass(frozen=True)
class DualRidgeLearner:
    """Linear least squares on one-hot labels over many fixed features and few samples: the system solved has a row per sample.

    Features and labels are centred on the classifier's own samples; `penalty` is relative to the mean squared length of a
    sample. Computes in the dtype of the features. `features` may give several variants of a sample, (samples, variants, features):
    all are learned from, and an input is scored by their mean.
    """

    penalty: float = 0.3
    features: Callable[[Any], np.ndarray] = rows_of
    block: int = 64

    def spec(self) -> dict[str, Any]:
        """The penalty, the features and the version of what computes."""
        return {"learner": "dual ridge", "penalty": self.penalty, "features": describe(self.features), "versions": [np.__version__]}

    def fit(self, X: Any, y: np.ndarray, classes: int, jobs: Sequence[Job]) -> list[np.ndarray]:
        """Coefficients with the intercept in the last row, (features + 1, classes), per job."""
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            return [self._solve(_variants(self.features(X[job.samples])), np.eye(classes)[y[job.samples]]) for job in jobs]

    def scores(self, models: Sequence[np.ndarray], X: Any) -> np.ndarray:
        """Linear scores, (models, inputs, classes)."""
        rows = _variants(self.features(X)).mean(axis=1)
        return np.stack([rows @ model[:-1] + model[-1] for model in models])

    def dump(self, model: np.ndarray) -> bytes:
        """The shape, the type and the numbers."""
        return np.array([*model.shape, model.itemsize], dtype="<i8").tobytes() + model.tobytes()

    def load(self, content: bytes) -> np.ndarray:
        """Reads what `dump` wrote."""
        rows, columns, size = np.frombuffer(content, dtype="<i8", count=3)
        return np.frombuffer(content, dtype=f"f{size}", offset=24).reshape(rows, columns)

    def _solve(self, variants: np.ndarray, answers: np.ndarray) -> np.ndarray:
        rows, targets = variants.reshape(-1, variants.shape[-1]), np.repeat(answers, variants.shape[1], axis=0)
        mean, share = rows.mean(axis=0), targets.mean(axis=0).astype(rows.dtype)
        centred = rows - mean
        gram = centred @ centred.T
        gram[np.diag_indices(len(gram))] += self.penalty * np.trace(gram) / len(gram) + np.finfo(gram.dtype).tiny
        weights = centred.T @ np.linalg.solve(gram, targets.astype(rows.dtype) - share)
        return np.concatenate([weights, (share - mean @ weights)[None]])


def _variants(features: np.ndarray) -> np.ndarray:
    """Features as (samples, variants, features)."""
    return features if features.ndim == 3 else features[:, None]


def _with_one(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
