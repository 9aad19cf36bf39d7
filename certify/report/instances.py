"""The instances of a verification run: a table for each benchmark, the rows of the CSV file, and what instances are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import PurePath

from certify.report.document import Block, Cell, Column, Heading, Row, Table
from certify.report.score import RULES
from certify.report.verification import Answer, Line, Summary

STATUS: Mapping[str, str] = {"correct": "ok", "tolerance": "tolerance", "unchecked": "not checked"}
TONES: Mapping[str, str] = {"correct": "", "tolerance": "", "unchecked": "warn"}
NOTHING = Cell("")


def instance_tables(summary: Summary) -> Iterable[Block]:
    """A heading and a table for each benchmark; their anchors are `slug` of its name and `anchor` of each instance."""
    compared, limit = summary.baseline is not None, summary.own.run.settings.get("timeout")
    columns = _columns(compared)
    for benchmark, lines in groupby(summary.lines, key=lambda line: line.instance.benchmark):
        yield Heading(benchmark, 3, slug(benchmark))
        rows = tuple(_instance_row(line, compared, limit or line.instance.timeout) for line in lines)
        yield Table(f"Instances of {benchmark}", columns, rows)


def _columns(compared: bool) -> tuple[Column, ...]:
    words = [Column(name, "word") for name in ("expected", "verdict")]
    numbers = [Column(name, "number") for name in ("seconds", "limit", "MB")]
    witnesses = [Column(f"witness {rule}", "word") for rule in RULES]
    earned = [Column(f"points {rule}", "number") for rule in RULES]
    baseline = [Column("baseline", "word"), Column("its seconds", "number")] if compared else []
    return (Column("row", "number"), Column("instance"), *words, *numbers, *witnesses, *earned, *baseline)


def _instance_row(line: Line, compared: bool, limit: float) -> Row:
    instance, outcome = line.instance, line.own.outcome
    remarks = "; ".join(filter(None, (*line.remarks, line.own.unchecked, outcome.message)))
    cells = [
        Cell(str(instance.row)),
        Cell(_stem(instance.model), "flagged" if line.remarks else "", more=_stem(instance.property), note=remarks),
        Cell(instance.expected or "", "faint"),
        _verdict(line.own),
        Cell(f"{outcome.seconds:.2f}"),
        Cell(f"{limit:g}"),
        Cell(f"{outcome.peak_memory / 1e6:.0f}"),
        *(_status(line.own, rule) for rule in RULES),
        *(Cell(f"{line.own.points[rule]}", "bad" if line.own.points[rule] < 0 else "") for rule in RULES),
        *(_baseline_cells(line.baseline) if compared else ()),
    ]
    return Row(tuple(cells), anchor(line))


def _verdict(answer: Answer) -> Cell:
    return Cell(answer.outcome.verdict.replace("-", " "), "bad" if answer.wrong else "" if answer.solved else "faint")


def _status(answer: Answer, rule: str) -> Cell:
    if rule not in answer.findings:
        return NOTHING
    status = answer.findings[rule].status
    return Cell(STATUS.get(status, status), TONES.get(status, "bad"))


def _baseline_cells(answer: Answer | None) -> tuple[Cell, Cell]:
    return (_verdict(answer), Cell(f"{answer.outcome.seconds:.2f}")) if answer else (NOTHING, NOTHING)


def flat(line: Line) -> dict[str, str]:
    """An instance as a row of the CSV file."""
    instance, outcome, baseline = line.instance, line.own.outcome, line.baseline
    witnesses = {f"witness_{rule}": line.own.findings[rule].status if rule in line.own.findings else "" for rule in RULES}
    return {
        "benchmark": instance.benchmark,
        "row": str(instance.row),
        "model": instance.model,
        "property": instance.property,
        "timeout": f"{instance.timeout:g}",
        "expected": instance.expected or "",
        "verdict": outcome.verdict,
        "wrong": str(int(line.own.wrong)),
        "seconds": f"{outcome.seconds:.3f}",
        "peak_memory": str(outcome.peak_memory),
        "bound": "" if outcome.bound is None else repr(outcome.bound),
        **witnesses,
        **{f"points_{rule}": str(line.own.points[rule]) for rule in RULES},
        "baseline_verdict": baseline.outcome.verdict if baseline else "",
        "baseline_seconds": f"{baseline.outcome.seconds:.3f}" if baseline else "",
        "remarks": "; ".join(line.remarks),
        "message": outcome.message,
    }


def full_name(line: Line) -> str:
    """What an instance is called: benchmark, row, model and property."""
    instance = line.instance
    return f"{instance.benchmark} {instance.row}: {_stem(instance.model)}, {_stem(instance.property)}"


def anchor(line: Line) -> str:
    """What links to an instance lead to."""
    return f"i{slug(line.instance.benchmark)}-{line.instance.row}"


def slug(name: str) -> str:
    """What links to a benchmark lead to."""
    return "b-" + re.sub(r"[^\w.-]+", "-", name)


def _stem(name: str) -> str:
    """A file's name without folders and endings."""
    return PurePath(name).name.removesuffix(".gz").removesuffix(".onnx").removesuffix(".vnnlib")
