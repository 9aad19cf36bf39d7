"""Proves on the machine at hand that base classifiers do not feel each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from certify.poisoning.store import MemoryStore
from certify.poisoning.training import Ensemble


@dataclass(frozen=True)
class Isolation:
    """What `check_isolation` compared: the bucket it changed, the classifiers that answered differently, and those that may."""

    bucket: int
    changed: np.ndarray
    allowed: np.ndarray

    @property
    def leaks(self) -> np.ndarray:
        """Classifiers that changed although they never see the bucket: certificates are void if there are any."""
        return np.setdiff1d(self.changed, self.allowed)


def check_isolation(ensemble: Ensemble, bucket: int = 0, classifiers: Sequence[int] | None = None) -> Isolation:
    """Trains twice, with the samples of one bucket relabelled in between, and compares scores on all training samples bit by bit.

    All classifiers are trained side by side, as in an ordinary run. The second training is also split in another way, one
    classifier per call where it need not be more, so that a dependence on company shows.
    """
    if not 0 <= bucket < len(ensemble.data.buckets):
        raise ValueError(f"there is no bucket {bucket}; buckets go from 0 to {len(ensemble.data.buckets) - 1}")
    chosen = list(range(ensemble.spread.classifiers)) if classifiers is None else list(classifiers)
    y = ensemble.data.y.copy()
    touched = ensemble.data.buckets[bucket]
    y[touched] = ensemble.data.targets.moved(y[touched])
    first = replace(ensemble, store=MemoryStore())
    second = replace(ensemble, store=MemoryStore(), data=replace(ensemble.data, y=y))
    first.train(chosen)
    for b in chosen:
        second.train([b])
    return Isolation(bucket, _differing(first, second, chosen), ensemble.spread.seeing(bucket))


def check_repetition(ensemble: Ensemble, classifiers: Sequence[int]) -> np.ndarray:
    """Those of the trained classifiers that answer differently, in any bit, when trained again, one per call."""
    again = replace(ensemble, store=MemoryStore())
    for b in classifiers:
        again.train([b])
    return _differing(ensemble, again, classifiers)


def _differing(first: Ensemble, second: Ensemble, classifiers: Sequence[int]) -> np.ndarray:
    one, two = (ensemble.scores(first.data.X, classifiers) for ensemble in (first, second))
    same = (one.view(np.uint64) == two.view(np.uint64)).all(axis=(1, 2))
    return np.array(classifiers)[~same]
