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
    chosen = list(range(ensemble.spread.classifiers)) if classifiers is None else list(classifiers)
    y = ensemble.data.y.copy()
    touched = ensemble.data.buckets[bucket]
    y[touched] = (y[touched] + 1) % ensemble.data.classes
    first = replace(ensemble, store=MemoryStore())
    second = replace(ensemble, store=MemoryStore(), data=replace(ensemble.data, y=y))
    first.train(chosen)
    for b in chosen:
        second.train([b])
    one, two = (e.scores(ensemble.data.X, chosen) for e in (first, second))
    same = (one.view(np.uint64) == two.view(np.uint64)).all(axis=(1, 2))
    return Isolation(bucket, np.array(chosen)[~same], ensemble.spread.seeing(bucket))
