"""Several models per classifier, averaged into one vote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np

from certify.poisoning.learner import UNSEEN, Job, Learner

_LENGTH = 8


@dataclass(frozen=True)
class BoostedLearner:
    """`times` models of a learner per classifier, each with a seed of its own; their probabilities are averaged into one vote.

    The certificate is that of the plain rule, since a bucket still decides the votes of the same classifiers: better voters at no
    price in radius (DPA* of arXiv 2302.02300).
    """

    learner: Learner
    times: int

    @property
    def block(self) -> int:
        """So that the learner gets about as many as it likes."""
        return max(1, self.learner.block // self.times)

    def spec(self) -> dict[str, Any]:
        """The learner's, and how often."""
        return {"learner": "boosted", "times": self.times, "base": self.learner.spec()}

    def fit(self, X: Any, y: np.ndarray, classes: int, jobs: Sequence[Job]) -> list[list[Any]]:
        """For every job the models of all its seeds."""
        repeated = [
            replace(job, classifier=job.classifier * self.times + t, seed=_seed(job.seed, t))
            for job in jobs
            for t in range(self.times)
        ]
        models = self.learner.fit(X, y, classes, repeated)
        return [models[start : start + self.times] for start in range(0, len(models), self.times)]

    def scores(self, models: Sequence[list[Any]], X: Any) -> np.ndarray:
        """Mean probabilities, (classifiers, inputs, classes), from the softmax of the scores."""
        return np.stack([softmax(self.learner.scores(group, X)).mean(axis=0) for group in models])

    def dump(self, model: list[Any]) -> bytes:
        """The models one after the other, each behind its length."""
        parts = [self.learner.dump(part) for part in model]
        return b"".join(len(part).to_bytes(_LENGTH, "little") + part for part in parts)

    def load(self, content: bytes) -> list[Any]:
        """Reads what `dump` wrote."""
        models, start = [], 0
        while start < len(content):
            end = start + _LENGTH + int.from_bytes(content[start : start + _LENGTH], "little")
            models.append(self.learner.load(content[start + _LENGTH : end]))
            start = end
        return models


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities from scores on the last axis; a class never seen has probability 0."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True), where=scores > UNSEEN, out=np.zeros_like(scores))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def _seed(seed: int, turn: int) -> int:
    return int.from_bytes(blake2b(f"{seed},{turn}".encode(), digest_size=4, person=b"certify-boost").digest(), "little")
