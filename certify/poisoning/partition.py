"""Splits a training set into buckets, each sample by what it is and nothing else.

A certificate counts buckets, so it holds only if an edit of one sample moves no other: a bucket must be a function of the sample
alone (`content`, `pixel_sum`, `by_group`), or of all features but no label where only labels can be changed (`rank`). Every
function returns k arrays of indices into the data set, in an order that depends on the samples and not on where they stand:
shuffling the data set changes nothing that is trained on it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np

Buckets = list[np.ndarray]
Partitioner = Callable[[Any, np.ndarray, int], Buckets]


def content(X: Any, y: np.ndarray, k: int, salt: bytes = b"") -> Buckets:
    """Buckets by a hash of the features, the label left out: one insertion, deletion or label flip touches one bucket.

    `salt` makes the buckets unpredictable for the adversary; the certificate does not need that.
    """
    _check(X, y, k)
    digests = feature_digests(X)
    buckets = [
        int.from_bytes(blake2b(d, digest_size=8, key=salt, person=b"certify-bucket").digest(), "little") % k for d in digests
    ]
    return _collect(np.array(buckets, dtype=np.int64), _canonical_order(digests, y), k)


def rank(X: Any, y: np.ndarray, k: int) -> Buckets:
    """Buckets of equal size by rank among the features: one label flip touches one bucket, an insertion or deletion touches all.

    Samples with the same features share a rank. Source: the label-flip threat of arXiv 2006.14768 (SS-DPA).
    """
    _check(X, y, k)
    digests = feature_digests(X)
    place = {digest: position for position, digest in enumerate(sorted(set(digests)))}
    return _collect(np.array([place[d] % k for d in digests], dtype=np.int64), _canonical_order(digests, y), k)


def pixel_sum(X: Any, y: np.ndarray, k: int) -> Buckets:
    """The papers' buckets: the sum of all pixels mod k, each bucket sorted by the last pixel, then the one before, at last by
    label.

    Pixels must be whole numbers, as in the original image files.
    """
    _check(X, y, k)
    pixels = np.asarray(X).reshape(len(X), -1)
    if not np.issubdtype(pixels.dtype, np.integer):
        whole = np.round(pixels)
        if not np.array_equal(whole, pixels):
            raise ValueError("pixel sums need whole numbers; give the images as they were stored, before scaling")
        pixels = whole.astype(np.int64)
    sums = pixels.sum(axis=1, dtype=np.int64) % k
    members = [np.flatnonzero(sums == u) for u in range(k)]
    return [index[np.lexsort([np.asarray(y)[index], *pixels[index].T])] for index in members]


def by_group(X: Any, y: np.ndarray, k: int, groups: Sequence[Any] | np.ndarray) -> Buckets:
    """Buckets by a hash of each sample's group (source, client, domain): whatever one group does touches one bucket."""
    _check(X, y, k)
    if len(groups) != len(y):
        raise ValueError(f"{len(groups)} groups for {len(y)} samples")
    of_group = {name: _group_bucket(name, k) for name in {str(g) for g in groups}}
    return _collect(np.array([of_group[str(g)] for g in groups], dtype=np.int64), _canonical_order(feature_digests(X), y), k)


PARTITIONS: dict[str, Partitioner] = {"content": content, "rank": rank, "pixel_sum": pixel_sum}


def partitioner(name: str | Partitioner, groups: Sequence[Any] | np.ndarray | None = None) -> Partitioner:
    """The partitioner of a name, a function of the user's own, or the one by groups wherever `groups` are given."""
    if groups is not None:
        return partial(by_group, groups=groups)
    if callable(name):
        return name
    if name not in PARTITIONS:
        raise ValueError(f"no partition is called {name!r}; there are {', '.join(PARTITIONS)}, groups=..., or a function (X, y, k)")
    return PARTITIONS[name]


def as_features(X: Any) -> np.ndarray:
    """Samples as an array whose type says nothing about them: float64 for numbers, objects for text.

    The type of an array is common to all samples: one poisoned sample could change it, and with it the rounding of all training. A
    ValueError or TypeError for anything else, sparse matrices and text among numbers included.
    """
    if hasattr(X, "toarray"):
        raise ValueError(f"sparse input is not supported, got {type(X).__name__}; features must be a dense array: X.toarray()")
    samples = np.asarray(X)
    if samples.ndim and samples.dtype.kind in "biuf":
        return samples.astype(np.float64)
    if samples.ndim and (samples.dtype.kind in "US" or all(isinstance(entry, str) for entry in samples.flat)):
        return samples.astype(object)
    try:
        return _numbers(samples)
    except (TypeError, ValueError) as error:
        raise type(error)(f"features must be a dense array of numbers or text, got {type(X).__name__}: {error}") from error


def _numbers(samples: np.ndarray) -> np.ndarray:
    """Objects as float64, each by its own value; a TypeError or ValueError for what is no number."""
    if samples.ndim == 0:
        raise ValueError("a single value is no row of samples")
    if samples.dtype.kind == "c":
        raise ValueError("Complex data not supported")
    if any(isinstance(entry, str) for entry in samples.flat):
        raise ValueError("text stands among numbers")  # read as numbers, all samples would depend on the one that is none
    return samples.astype(np.float64)


def feature_digests(X: Any) -> list[bytes]:
    """A digest of each sample's features, 16 bytes: numbers by value (-0.0 is 0.0, all NaN are one), text in Unicode form NFC."""
    samples = np.asarray(X)
    if samples.dtype.kind in "US" or (samples.dtype == object and all(isinstance(entry, str) for entry in samples.flat)):
        rows = samples.reshape(len(samples), -1)
        return [_digest("\0".join(unicodedata.normalize("NFC", str(entry)) for entry in row).encode()) for row in rows]
    if samples.dtype.kind not in "biuf":
        raise ValueError(f"features must be numbers or text, got {samples.dtype}; convert them before partitioning")
    shape = str(samples.shape[1:]).encode()
    return [_digest(shape + _canonical(sample).tobytes()) for sample in samples]


def sample_digests(X: Any, y: np.ndarray) -> list[bytes]:
    """A digest of each sample with its label: what a trained classifier is a function of."""
    return [_digest(digest + _label(value)) for digest, value in zip(feature_digests(X), np.asarray(y), strict=True)]


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _canonical(sample: np.ndarray) -> np.ndarray:
    values = np.ascontiguousarray(sample, dtype="<f8") + 0.0
    return np.where(np.isnan(values), np.nan, values)


def _label(value: Any) -> bytes:
    return str(value).encode()


def _group_bucket(name: str, k: int) -> int:
    digest = blake2b(unicodedata.normalize("NFC", name).encode(), digest_size=8, person=b"certify-group").digest()
    return int.from_bytes(digest, "little") % k


def _canonical_order(digests: Sequence[bytes], y: np.ndarray) -> np.ndarray:
    keys = [digest + _label(value) for digest, value in zip(digests, np.asarray(y), strict=True)]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def _collect(bucket: np.ndarray, order: np.ndarray, k: int) -> Buckets:
    sorted_buckets = bucket[order]
    by_bucket = np.argsort(sorted_buckets, kind="stable")
    ends = np.searchsorted(sorted_buckets[by_bucket], np.arange(1, k))
    return np.split(order[by_bucket], ends)


def _check(X: Any, y: np.ndarray, k: int) -> None:
    if len(X) != len(y):
        raise ValueError(f"{len(X)} samples with {len(y)} labels")
    if k < 1:
        raise ValueError(f"k is the number of buckets and must be at least 1, not {k}")
