"""Exact votes on a data set, row by row into a log."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

from torch import Tensor

from certify.smoothing.answers import BaseClassifier
from certify.smoothing.deterministic import SCHEMES, Scheme, Vote, concluded, scheme_of, vote
from certify.smoothing.run import Advance, Journal, Record
from certify.smoothing.smoothed import input_bytes


def run_exact(
    classify: Callable[[Tensor], Tensor],
    classes: int,
    scheme: Scheme,
    batch: int,
    x: Tensor,
    labels: Sequence[int],
    rows: Sequence[int],
    journal: Journal,
    advance: Advance,
) -> None:
    """Certifies the rows that the journal does not hold yet, in order."""
    base = BaseClassifier(classify, classes)
    done = journal.done(x)
    advance(len(done))
    with journal.writing() as add:
        for row in (row for row in rows if row not in done):
            began = time.perf_counter()
            found = vote(base, scheme.encode(x[row : row + 1])[0], scheme, batch)
            add(_record(found, scheme, row, labels[row], x[row], time.perf_counter() - began))
            advance(1)


def _record(found: Vote, scheme: Scheme, row: int, label: int, x: Tensor, seconds: float) -> Record:
    place = {"idx": row, "label": label, "predict": found.label, "radius": found.radius, "seconds": seconds}
    name = next(name for name, kind in SCHEMES.items() if kind is type(scheme))
    evidence = {"votes": found.counts, "scheme": name, "parameters": asdict(scheme), "unit": scheme.unit}  # type: ignore[call-overload]
    return place | {"input_sha256": hashlib.sha256(input_bytes(x)).hexdigest()} | evidence


def vote_of(record: Record) -> Vote:
    """Label and radius that follow from a record's votes, calculated again."""
    return concluded(record["votes"], scheme_of(record["scheme"], record["parameters"]))
