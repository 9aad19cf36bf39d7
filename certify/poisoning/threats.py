"""What an edit of the training data can touch: the step from buckets, which certificates count, to edits, which users count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Threat:
    """A kind of edit: what one edit is, how many buckets it touches at most, and the partitions for which that is true."""

    edit: str
    buckets: int
    partitions: tuple[str, ...]


_BY_SAMPLE = ("content", "pixel_sum", "groups", "function")
"""Partitions that put a sample into a bucket by the sample alone. Of a user's own function this is assumed, and said."""

THREATS: Mapping[str, Threat] = {
    "insert_delete": Threat("one sample inserted or deleted", 1, _BY_SAMPLE),
    "label_flip": Threat("one label changed", 1, (*_BY_SAMPLE, "rank")),
    "replace": Threat("the features of one sample changed, and its label at will", 2, _BY_SAMPLE),
    "source": Threat("anything done by one source: its samples inserted, deleted, changed", 1, ("groups",)),
}

ALWAYS_ASSUMED = (
    "the classes, the learner, its settings, the seeds and the partition were fixed before the training data were seen",
    "nothing that was computed from the whole training set (scaling, feature selection, tuned settings) enters a base classifier",
    "training a base classifier again from the same buckets gives the same answers, and training ends whatever the samples",
)


def threat(name: str, partition: str) -> Threat:
    """The threat of that name; a ValueError where the partition gives no certificate against it."""
    if name not in THREATS:
        raise ValueError(f"no threat is called {name!r}; there are {', '.join(THREATS)}")
    found = THREATS[name]
    if partition not in found.partitions:
        raise ValueError(
            f"partition {partition!r} gives no certificate against {name} ({found.edit}): one such edit may move every sample; "
            f"use {' or '.join(found.partitions)}"
        )
    return found


def assumptions(partition: str) -> tuple[str, ...]:
    """What a certificate on such buckets takes for granted."""
    own = ("the user's partition function puts a sample into a bucket by that sample alone",) if partition == "function" else ()
    groups = ("the group of a sample cannot be forged by another source",) if partition == "groups" else ()
    return (*ALWAYS_ASSUMED, *own, *groups)
