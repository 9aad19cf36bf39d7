"""Certificates against poisoned training data side by side: certified accuracy against the number of poisoned samples."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from certify.poisoning.gate import certified_accuracy
from certify.report.curves import Curve, accuracy_curves
from certify.report.document import Block, Cell, Column, Figures, Heading, Items, Paragraph, Row, Table
from certify.report.formats import Report

SCHEMA = "certify.report.poisoning/1"
TITLE = "Certified accuracy under poisoned training data"
COLUMNS = 8
RULES = {"plurality": "", "runoff": ", run-off"}


@dataclass(frozen=True)
class Summary:
    """One certificate. `curve` holds (e, share of inputs that are right and stay right after any e edits), up to the first e at which
    none is left. All shares are counted from answers, labels and radii.

    `uncertified` is the share of inputs without any certificate, not even for the data as they are: abstentions. `median_radius` is
    the largest number of edits at which at least half of the inputs are right and certified, -1 if there is none.
    """

    name: str
    method: str
    threat: str
    edit: str
    buckets_per_edit: int
    buckets: int
    classifiers: int
    inputs: int
    clean: float
    uncertified: float
    median_radius: int
    curve: tuple[tuple[int, float], ...]
    settings: Mapping[str, Any]
    assumptions: tuple[str, ...]
    extra: tuple[str, ...]

    def accuracy(self, edits: int) -> float:
        """The share of inputs that are right and stay right after so many edits."""
        return dict(self.curve).get(edits, 0.0)


def summary(name: str, record: Mapping[str, Any]) -> Summary:
    """The numbers of what `certify poison certify --json` wrote; a ValueError, with the name, where it is nothing of that kind."""
    try:
        certified_accuracy(record, 0)  # refuses what is no certificate
        count, largest = len(record["radii"]), max(record["radii"])
        right = sorted(
            r for r, answer, label in zip(record["radii"], record["answers"], record["labels"], strict=True) if answer == label
        )
        curve = tuple((size, (len(right) - bisect_left(right, size)) / count) for size in range(max(largest, 0) + 2))
        return Summary(
            name=name,
            method=_method(record),
            threat=record["threat"]["name"],
            edit=record["threat"]["edit"],
            buckets_per_edit=record["threat"]["buckets_per_edit"],
            buckets=record["buckets"],
            classifiers=record["classifiers"],
            inputs=count,
            clean=len(right) / count,
            uncertified=sum(radius < 0 for radius in record["radii"]) / count,
            median_radius=max((size for size, share in curve if share >= 0.5), default=-1),
            curve=curve,
            settings={key: value for key, value in record.get("settings", {}).items() if key != "schema"},
            assumptions=tuple(record["assumptions"]),
            extra=tuple(entry["text"] for entry in record.get("extra", {}).values()),
        )
    except KeyError as error:
        raise ValueError(f"{name}: the certificate has no {error}; write it again with `certify poison certify --json`") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def round_sizes(largest: int) -> tuple[int, ...]:
    """0 and multiples of a round number, up to the first that is not below `largest`; at most nine."""
    step = next(s for power in range(9) for s in (10**power, 2 * 10**power, 5 * 10**power) if largest / s < COLUMNS)
    return tuple(range(0, max(largest, 0) + step, step))


def report(summaries: Sequence[Summary], edits: Sequence[int] | None = None) -> Report:
    """The certificates side by side: a table, the curves of all, and what they cover. `edits` are the columns of the table."""
    edits = edits or round_sizes(max(s.curve[-1][0] for s in summaries))
    curves = [Curve(f"{s.name}: {s.method}", tuple((float(size), share) for size, share in s.curve)) for s in summaries]
    table = _table(summaries, edits)
    blocks: tuple[Block, ...] = (
        table,
        Figures((accuracy_curves("Certified accuracy against poisoned samples", "edits of the training data", curves, apart=1),)),
        Heading("What is covered"),
        *_coverage(summaries),
        Heading("Settings"),
        _settings(summaries),
    )
    rows = (tuple(column.name for column in table.columns), *(tuple(cell.text for cell in row.cells) for row in table.rows))
    return Report(TITLE, blocks, rows, {"schema": SCHEMA, "runs": [asdict(s) for s in summaries]})


def _table(summaries: Sequence[Summary], edits: Sequence[int]) -> Table:
    texts = ("run", "method", "threat")
    numbers = ("inputs", "classifiers", "clean", *(f"{size} edits" for size in edits), "median radius", "abstained")
    columns = (*(Column(name, "word") for name in texts), *(Column(name, "number") for name in numbers))
    return Table("Accuracy in per cent of inputs, by certificate", columns, tuple(_row(s, edits) for s in summaries))


def _row(s: Summary, edits: Sequence[int]) -> Row:
    shares = [f"{100 * s.accuracy(size):.1f}" for size in edits]
    numbers = [
        str(s.inputs),
        str(s.classifiers),
        f"{100 * s.clean:.1f}",
        *shares,
        str(s.median_radius),
        f"{100 * s.uncertified:.1f}",
    ]
    return Row(tuple(map(Cell, (s.name, s.method, s.threat, *numbers))))


def _coverage(summaries: Sequence[Summary]) -> Iterable[Block]:
    """Threat and assumptions, once for all certificates that share them."""

    def said(s: Summary) -> tuple[Any, ...]:
        return s.threat, s.edit, s.buckets_per_edit, s.assumptions

    for (threat, edit, touched, assumptions), group in groupby(sorted(summaries, key=said), key=said):
        names = ", ".join(s.name for s in group)
        buckets = "1 bucket" if touched == 1 else f"{touched} buckets"
        yield Heading(f"{threat}: {names}", 3)
        yield Paragraph(f"One edit: {edit}. It touches at most {buckets}. An answer holds whatever those edits are, provided that:")
        yield Items(tuple(map(Cell, assumptions)))
    found = [Cell(s.name, more=text) for s in summaries for text in s.extra]
    if found:
        yield Heading("All inputs together, and concrete attacks", 3)
        yield Items(tuple(found))


def _settings(summaries: Sequence[Summary]) -> Table:
    names = list(dict.fromkeys(name for s in summaries for name in s.settings))
    rows = tuple(Row((Cell(s.name), Cell(str(s.buckets)), *(Cell(str(s.settings.get(n, ""))) for n in names))) for s in summaries)
    return Table("Settings of each run", (Column("run"), Column("buckets", "number"), *map(Column, names)), rows)


def _method(record: Mapping[str, Any]) -> str:
    d = len(record["shifts"])
    return ("DPA" if d == 1 else f"FA, d = {d}") + RULES.get(record["rule"], f", {record['rule']}")
