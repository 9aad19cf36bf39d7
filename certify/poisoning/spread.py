"""Which classifiers see which bucket of training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np


@dataclass(frozen=True)
class Spread:
    """`units` buckets, seen by `classifiers` base classifiers; every certificate counts buckets and reads who sees them from here.

    `runs` are rows (u, b, n), sorted: buckets u ... u+n-1 are seen by classifiers b ... b+n-1 one to one, no pair twice. `shifts`
    are those of Finite Aggregation, for the record. Made by `disjoint`, `finite` and `overlapping`.
    """

    units: int
    classifiers: int
    runs: np.ndarray
    shifts: tuple[int, ...] = ()

    @cached_property
    def pairs(self) -> np.ndarray:
        """All (bucket, classifier) pairs, (pairs, 2), sorted."""
        steps = [np.array([[u, b]]) + np.arange(n)[:, None] for u, b, n in self.runs]
        pairs = np.concatenate(steps) if steps else np.zeros((0, 2), dtype=np.int64)
        return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]

    @cached_property
    def classifiers_of(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each bucket's classifiers begin, (units + 1,), and the classifiers of all buckets in a row, sorted for each."""
        return np.searchsorted(self.pairs[:, 0], np.arange(self.units + 1)), np.ascontiguousarray(self.pairs[:, 1])

    @cached_property
    def units_of(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each classifier's buckets begin, (classifiers + 1,), and the buckets of all classifiers in a row, sorted for each."""
        units, classifiers = self.pairs[np.lexsort((self.pairs[:, 0], self.pairs[:, 1]))].T
        return np.searchsorted(classifiers, np.arange(self.classifiers + 1)), np.ascontiguousarray(units)

    @cached_property
    def degree(self) -> int:
        """The largest number of classifiers that see one bucket."""
        return int(np.diff(self.classifiers_of[0]).max(initial=0))

    @cached_property
    def disjoint(self) -> bool:
        """True where no classifier sees two buckets, so that votes need no identity and radii are exact."""
        return len(np.unique(self.pairs[:, 1])) == len(self.pairs)

    @cached_property
    def seen(self) -> list[np.ndarray]:
        """For every classifier the sorted buckets it is trained on."""
        starts, units = self.units_of
        return np.split(units, starts[1:-1])

    def seeing(self, units: Sequence[int] | np.ndarray | int) -> np.ndarray:
        """The sorted classifiers that see a bucket, or any of several."""
        starts, classifiers = self.classifiers_of
        parts = [classifiers[starts[u] : starts[u + 1]] for u in np.atleast_1d(np.asarray(units, dtype=np.int64))]
        return np.unique(np.concatenate([*parts, np.zeros(0, dtype=np.int64)]))


def disjoint(k: int) -> Spread:
    """Deep Partition Aggregation: classifier b sees bucket b alone, k of each."""
    if k < 1:
        raise ValueError(f"k is the number of partitions and must be at least 1, not {k}")
    return Spread(k, k, np.array([[0, 0, k]], dtype=np.int64), (0,))


def finite(k: int, d: int, shifts: Sequence[int] | None = None) -> Spread:
    """Finite Aggregation: of kd buckets and kd classifiers, bucket u is seen by the classifiers (u + s) mod kd for s in `shifts`.

    Source: arXiv 2202.02628. Without `shifts` d of them are chosen by a hash of (k, d), the first 0, so that d = 1 is Deep
    Partition Aggregation.
    """
    if k < 1 or d < 1:
        raise ValueError(f"k and d must be at least 1, got k={k} and d={d}")
    units = k * d
    chosen = tuple(int(s) for s in (shifts if shifts is not None else _shifts(k, d)))
    if len(set(chosen)) != d or not all(0 <= s < units for s in chosen):
        raise ValueError(f"shifts must be {d} different integers from 0 to {units - 1}, got {list(chosen)}")
    rows = [row for s in chosen for row in ((0, s, units - s), (units - s, 0, s)) if row[2]]
    return Spread(units, units, np.array(sorted(rows), dtype=np.int64), chosen)


def overlapping(seen: Sequence[Sequence[int]], units: int) -> Spread:
    """Any incidence: classifier b is trained on the buckets `seen[b]`, of `units`; each bucket is named once per classifier."""
    rows = []
    for b, buckets in enumerate(seen):
        if len(set(buckets)) != len(buckets) or not all(0 <= u < units for u in buckets):
            raise ValueError(f"classifier {b} must name different buckets from 0 to {units - 1}, got {list(buckets)}")
        rows += [(int(u), b, 1) for u in buckets]
    return Spread(units, len(seen), np.array(sorted(rows), dtype=np.int64).reshape(-1, 3))


def _shifts(k: int, d: int) -> list[int]:
    def key(shift: int) -> bytes:
        return blake2b(f"{k},{d},{shift}".encode(), digest_size=8).digest()

    return [0, *sorted(range(1, k * d), key=key)[: d - 1]]
