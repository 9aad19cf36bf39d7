"""Buckets depend on what a sample is, and on nothing else."""

from __future__ import annotations

import gzip
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.poisoning.partition import by_group, content, feature_digests, partitioner, pixel_sum, rank

SAMPLES = np.random.default_rng(0).integers(0, 5, size=(80, 3)).astype(float)
LABELS = np.random.default_rng(1).integers(0, 3, size=80)
FUNCTIONS = {"content": content, "rank": rank, "pixel_sum": pixel_sum}


def samples_of(bucket: np.ndarray, X: np.ndarray, y: np.ndarray) -> list[tuple[float, ...]]:
    return [(*X[i], y[i]) for i in bucket]


@pytest.mark.parametrize("name", FUNCTIONS)
@given(k=st.integers(1, 200), seed=st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_every_sample_is_in_one_bucket_and_shuffling_changes_nothing(name: str, k: int, seed: int) -> None:
    buckets = FUNCTIONS[name](SAMPLES, LABELS, k)
    assert len(buckets) == k
    assert sorted(np.concatenate(buckets)) == list(range(80))
    order = np.random.default_rng(seed).permutation(80)
    shuffled = FUNCTIONS[name](SAMPLES[order], LABELS[order], k)
    for one, two in zip(buckets, shuffled, strict=True):
        assert samples_of(one, SAMPLES, LABELS) == samples_of(two, SAMPLES[order], LABELS[order])


@pytest.mark.parametrize("name", ["content", "pixel_sum"])
@given(k=st.integers(2, 50), gone=st.integers(0, 79))
@settings(max_examples=30, deadline=None)
def test_deleting_a_sample_changes_its_own_bucket_only(name: str, k: int, gone: int) -> None:
    before = FUNCTIONS[name](SAMPLES, LABELS, k)
    kept = np.delete(np.arange(80), gone)
    after = FUNCTIONS[name](SAMPLES[kept], LABELS[kept], k)
    changed = [u for u in range(k) if samples_of(before[u], SAMPLES, LABELS) != samples_of(after[u], SAMPLES[kept], LABELS[kept])]
    assert changed == [u for u in range(k) if gone in before[u]]


@pytest.mark.parametrize("name", FUNCTIONS)
@given(k=st.integers(2, 50), flipped=st.integers(0, 79))
@settings(max_examples=30, deadline=None)
def test_a_flipped_label_changes_its_own_bucket_only(name: str, k: int, flipped: int) -> None:
    before = FUNCTIONS[name](SAMPLES, LABELS, k)
    labels = LABELS.copy()
    labels[flipped] = 7
    after = FUNCTIONS[name](SAMPLES, labels, k)
    changed = [u for u in range(k) if samples_of(before[u], SAMPLES, LABELS) != samples_of(after[u], SAMPLES, labels)]
    assert changed == [u for u in range(k) if flipped in before[u]]


def test_ranks_of_different_samples_fill_buckets_evenly() -> None:
    X = np.random.default_rng(0).normal(size=(103, 2))
    assert {len(b) for b in rank(X, np.zeros(103), 10)} == {10, 11}


@given(groups=st.lists(st.sampled_from(["ann", "bob", "eve"]), min_size=80, max_size=80), k=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_a_group_stays_together(groups: list[str], k: int) -> None:
    buckets = by_group(SAMPLES, LABELS, k, groups)
    for name in set(groups):
        assert sum(any(groups[i] == name for i in bucket) for bucket in buckets) == 1


def test_equal_values_have_equal_digests_whatever_their_type() -> None:
    whole = np.array([[0, 3], [1, 0]])
    assert feature_digests(whole) == feature_digests(whole.astype(np.float32)) == feature_digests(whole * -1.0 * -1.0)
    assert feature_digests(np.array([[0.0]])) == feature_digests(np.array([[-0.0]]))
    assert feature_digests(np.array(["caf\u00e9"])) == feature_digests(np.array(["cafe\u0301"]))
    assert feature_digests(np.zeros((1, 4))) != feature_digests(np.zeros((1, 2, 2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pixel_sum(np.array([[0.5]]), np.array([0]), 3), "whole numbers"),
        (lambda: content(SAMPLES, LABELS[:-1], 3), "80 samples with 79 labels"),
        (lambda: content(SAMPLES, LABELS, 0), "at least 1"),
        (lambda: partitioner("sums"), "no partition is called 'sums'"),
        (lambda: content(np.array([[1j]]), np.array([0]), 2), "numbers or text"),
        (lambda: by_group(SAMPLES, LABELS, 2, ["a"]), "1 groups for 80 samples"),
    ],
)
def test_what_cannot_be_partitioned_is_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


def test_pixel_sums_of_mnist_are_the_published_partition(data_dir: Path) -> None:
    def read(name: str, offset: int) -> np.ndarray:
        return np.frombuffer(gzip.decompress((data_dir / "mnist" / name).read_bytes()), np.uint8, offset=offset)

    images, labels = read("train-images-idx3-ubyte.gz", 16).reshape(60000, -1), read("train-labels-idx1-ubyte.gz", 8)
    lists = b"".join(bucket.astype("<i8").tobytes() for bucket in pixel_sum(images, labels, 1200))
    assert sha256(lists).hexdigest() == "9632e2ce9c775cfccc40a01971fe79b04c3ee1d505b8b27e949970dfc4133b3f"
