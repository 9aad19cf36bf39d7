"""Certifies a data set row by row into a log, and goes on where an earlier run was cut off."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch import Tensor

from certify.smoothing.certificate import ABSTAIN, Certificate
from certify.smoothing.decision import Decision
from certify.smoothing.ledger import Ledger
from certify.smoothing.logs import kept_lines, only_writer, parsed, tsv_header, tsv_row, write_whole
from certify.smoothing.smoothed import Smoothed, input_bytes

Advance = Callable[[int], None]
Record = Mapping[str, Any]


def certify_rows(
    smoothed: Smoothed, x: Tensor, labels: Sequence[int], rows: Sequence[int], n0: int, n: int, ledger: Ledger
) -> Iterator[Record]:
    """A record for each of `rows`; their numbers address the random streams, and each spends its alpha in the ledger once."""
    group = max(1, smoothed.parts[0].batch // n0)
    for start in range(0, len(rows), group):
        chosen = list(rows[start : start + group])
        alphas = [ledger.claim(row) for row in chosen]
        began = time.perf_counter()
        for row, certificate in zip(chosen, smoothed.certify(x[chosen], n0, n, alphas[0], chosen), strict=True):
            now = time.perf_counter()
            yield record(certificate, row, int(labels[row]), x[row], now - began)
            began = now


def record(certificate: Certificate, row: int, label: int, x: Tensor, seconds: float) -> Record:
    """What the log holds of one input."""
    place = {"idx": row, "label": label, "predict": certificate.label, "radius": certificate.radius, "seconds": seconds}
    evidence = {name: value for name, value in certificate.to_dict().items() if name not in ("label", "radius", "index")}
    return place | {"input_sha256": _digest(x)} | evidence


def _digest(x: Tensor) -> str:
    return hashlib.sha256(input_bytes(x)).hexdigest()


def certificate_of(record: Record) -> Certificate:
    """The certificate in a record."""
    return Certificate.from_dict({**record, "label": record["predict"], "index": record["idx"]})


class Journal:
    """The two files of a run, `OUT.jsonl` and `OUT.tsv`: lines are added and flushed one by one.

    A run that finds its own earlier lines goes on after them; lines of a run with other settings are a ValueError. At no moment do the
    files hold less than before: a process may be killed at any.
    """

    def __init__(self, out: Path, header: Mapping[str, Any]) -> None:
        if not out.name or not out.parent.is_dir():
            raise ValueError(f"cannot write a log to {str(out)!r}: it has to be a file in a folder that exists")
        stem = out.with_suffix("") if out.suffix in (".tsv", ".jsonl") else out
        self.tsv, self.jsonl = (stem.with_name(stem.name + ending) for ending in (".tsv", ".jsonl"))
        self.header = json.dumps(header, sort_keys=True)
        lines = [parsed(self.jsonl, number, line) for number, line in enumerate(kept_lines(self.jsonl), start=1)]
        self.records: tuple[Record, ...] = tuple(lines[1:])
        self._lines = len(lines)
        if lines and not _same_run(lines[0], header):
            raise ValueError(f"{self.jsonl} holds a run with other settings; remove it or write to another --out")
        if not lines and self.tsv.exists():
            raise ValueError(f"{self.tsv} exists, but not the {self.jsonl.name} to continue it from; write to another --out")

    def done(self, x: Tensor) -> set[int]:
        """The inputs that were certified before; a ValueError where one of them is not the row of `x` that it was then."""
        for entry in self.records:
            row = entry.get("idx")
            if not isinstance(row, int) or not 0 <= row < len(x) or entry.get("input_sha256") != _digest(x[row]):
                raise ValueError(
                    f"{self.jsonl}: idx {row} was another input when this run began; the data have changed: write to another --out"
                )
        return {entry["idx"] for entry in self.records}

    @contextmanager
    def writing(self) -> Iterator[Callable[[Record], None]]:
        """Gives a function that adds a record to both files; what was there, complete lines only, stays."""
        with open(self.jsonl, "a+", encoding="utf-8") as jsonl, only_writer(jsonl):
            lines = kept_lines(self.jsonl)
            if len(lines) != self._lines:
                raise ValueError(f"{self.jsonl}: another process has written to it meanwhile; start again")
            jsonl.truncate(self.jsonl.read_bytes().rfind(b"\n") + 1)  # of a line cut off nothing stays
            if not lines:
                print(self.header, file=jsonl, flush=True)
            write_whole(self.tsv, [tsv_header(), *map(tsv_row, self.records)])
            with open(self.tsv, "a", encoding="utf-8") as tsv:

                def add(entry: Record) -> None:
                    print(json.dumps(entry), file=jsonl, flush=True)
                    print(tsv_row(entry), file=tsv, flush=True)

                yield add


def run(
    smoothed: Smoothed,
    x: Tensor,
    labels: Sequence[int],
    rows: Sequence[int],
    n0: int,
    n: int,
    alpha: Fraction,
    journal: Journal,
    advance: Advance,
) -> Ledger:
    """Certifies the rows that the journal does not hold yet, in order, and returns the ledger of the whole run."""
    ledger = Ledger(alpha)
    done = journal.done(x)
    ledger.enter(done)
    advance(len(done))
    missing = [row for row in rows if row not in done]
    with journal.writing() as add:
        for entry in certify_rows(smoothed, x, labels, missing, n0, n, ledger):
            add(entry)
            advance(1)
    return ledger


def _same_run(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two headers ask for the same: versions and times may differ, settings and files may not."""
    return _asked(old) == _asked(json.loads(json.dumps(new)))


def _asked(header: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a header asks for; a setting that was not made is as good as one that did not exist."""
    made = {name: value for name, value in header.get("settings", {}).items() if value != "None"}
    return header.get("schema"), made, header.get("files")


@dataclass(frozen=True)
class Inquiry:
    """The question of a sequential run, certified at `radius`?, by a stopping rule: n0 samples choose, at most `max_n` test."""

    radius: float
    rule: str
    n0: int
    max_n: int


def run_sequential(
    smoothed: Smoothed,
    x: Tensor,
    labels: Sequence[int],
    rows: Sequence[int],
    inquiry: Inquiry,
    alpha: Fraction,
    journal: Journal,
    advance: Advance,
) -> Ledger:
    """Decides the rows that the journal does not hold yet, as their answers come, and returns the ledger of the whole run."""
    ledger = Ledger(alpha)
    done = journal.done(x)
    ledger.enter(done)
    advance(len(done))
    missing = [row for row in rows if row not in done]
    ledger.enter(missing)
    if not missing:
        return ledger
    answers = smoothed.certify_at(
        x[missing], inquiry.radius, alpha, n0=inquiry.n0, max_n=inquiry.max_n, rule=inquiry.rule, index=missing
    )
    began = time.perf_counter()
    with journal.writing() as add:
        for position, decision in answers:
            row, now = missing[position], time.perf_counter()
            add(decision_record(decision, row, int(labels[row]), x[row], now - began))
            advance(1)
            began = now
    return ledger


def decision_record(decision: Decision, row: int, label: int, x: Tensor, seconds: float) -> Record:
    """As for certificates; only a yes counts as an answer, with the radius that was asked for."""
    predict, radius = (decision.label, decision.radius) if decision.verdict == "yes" else (ABSTAIN, 0.0)
    place = {"idx": row, "label": label, "predict": predict, "radius": radius, "seconds": seconds}
    evidence = {name: value for name, value in decision.to_dict().items() if name not in ("label", "radius", "index")}
    asked = {"radius_asked": decision.radius, "candidate": decision.label}
    return place | asked | {"input_sha256": _digest(x)} | evidence


def decision_of(record: Record) -> Decision:
    """The decision in a record."""
    return Decision.from_dict({**record, "label": record["candidate"], "radius": record["radius_asked"], "index": record["idx"]})
