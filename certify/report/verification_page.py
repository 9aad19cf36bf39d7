"""The report of a verification run: a `Summary` as headings, tables and drawings. Nothing is calculated here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, get_args

from certify.report.document import Block, Cell, Column, Figures, Heading, Items, Paragraph, Row, Table, Tiles
from certify.report.formats import Report
from certify.report.instances import STATUS, anchor, flat, full_name, instance_tables, slug
from certify.report.plots import Pair, cactus, scatter
from certify.report.score import RIGHT, RULES, WRONG, Status
from certify.report.store import Run
from certify.report.verification import Answer, Line, Side, Summary, Tally

SCHEMA = "certify.report.verification/1"
VERDICTS = {
    "unsat": "unsat",
    "sat": "sat",
    "unknown": "unknown",
    "timed-out": "timed out",
    "error": "errors",
    "out-of-memory": "no memory",
}
NOTHING = Cell("")


def report(summary: Summary) -> Report:
    """The report in all its parts."""
    title = f"Verification: {summary.own.run.name}"
    blocks: list[Block] = [
        Paragraph(_subtitle(summary)),
        Tiles(_tiles(summary.own.total)),
        *_alerts(summary),
        Heading("Verdicts"),
        _verdicts(f"This run: {summary.own.run.name}" if summary.baseline else "", summary.own),
        *([_verdicts(f"Baseline: {summary.baseline.run.name}", summary.baseline)] if summary.baseline else []),
        Heading("Score"),
        _scores(summary),
        Items(tuple(map(Cell, _RULES))),
        Figures(tuple(_figures(summary)), "Times"),
        Heading("Witnesses"),
        *_witnesses(summary),
        Heading("How it was run"),
        _circumstances(summary),
        Heading("Instances"),
        *instance_tables(summary),
    ]
    table = [flat(line) for line in summary.lines]
    rows = (tuple(table[0]), *(tuple(row.values()) for row in table))
    return Report(title, tuple(blocks), rows, {"schema": SCHEMA} | asdict(summary))


def _subtitle(summary: Summary) -> str:
    run = summary.own.run
    said = f"{run.tool} {run.version}, run {run.id}, started {_utc(run.started)}."
    if summary.baseline is None:
        return said
    here, there = summary.unmatched
    other = f" Baseline: {summary.baseline.run.name}, {len(summary.lines) - here} instances in common"
    return said + other + (f"; {here} are in this run only, {there} in the baseline only." if here or there else ".")


def _tiles(total: Tally) -> tuple[tuple[str, str, str], ...]:
    counts = [(said, str(total.verdicts.get(verdict, 0)), "") for verdict, said in VERDICTS.items()]
    scores = [(f"score {rule}", f"{total.score[rule]:.1f}", "") for rule in RULES]
    wrong = ("wrong", str(total.wrong), "bad" if total.wrong else "good")
    return (("solved", f"{total.solved} / {total.instances}", ""), *counts, wrong, *scores)


def _alerts(summary: Summary) -> Iterable[Block]:
    """What must not be overlooked, or that there is nothing."""
    amiss = [Cell(full_name(line), link=anchor(line), more="; ".join(line.remarks)) for line in _worst_first(summary.lines)]
    if amiss:
        yield Items(tuple(amiss), f"{len(amiss)} {_plural(amiss, 'instance')} to look at: contradictions and rejected witnesses")
        return
    expected = sum(line.instance.expected in ("sat", "unsat") for line in summary.lines)
    yield Paragraph(f"No verdict contradicts an expected one; {expected} of {len(summary.lines)} instances have one.")


def _worst_first(lines: Iterable[Line]) -> list[Line]:
    return sorted((line for line in lines if line.remarks), key=lambda line: not line.own.wrong)


# --- tables of sums -----------------------------------------------------------------------------------------------------------


def _verdicts(caption: str, side: Side) -> Table:
    columns = ("instances", "solved", *VERDICTS.values(), "wrong", "seconds", "of solved")
    rows = [_verdict_row(tally, total=False) for tally in side.tallies] + [_verdict_row(side.total, total=True)]
    return Table(
        "Verdicts by benchmark", (Column("benchmark"), *(Column(name, "number") for name in columns)), tuple(rows), caption
    )


def _verdict_row(tally: Tally, total: bool) -> Row:
    counts = [_count(tally.verdicts.get(verdict, 0)) for verdict in VERDICTS]
    wrong = Cell(str(tally.wrong), "bad" if tally.wrong else "faint")
    seconds = (Cell(f"{tally.seconds:.1f}"), Cell(f"{tally.solved_seconds:.1f}"))
    name = Cell(tally.benchmark, link="" if total else slug(tally.benchmark))
    return Row((name, Cell(str(tally.instances)), Cell(str(tally.solved)), *counts, wrong, *seconds), total=total)


def _count(number: int) -> Cell:
    return Cell(str(number), "" if number else "faint")


def _scores(summary: Summary) -> Table:
    columns = [Column(name, "number") for rule in RULES for name in (f"points {rule}", "of", f"score {rule}")]
    if summary.baseline:
        columns += [Column(f"baseline {rule}", "number") for rule in RULES]
    others = {tally.benchmark: tally for tally in summary.baseline.tallies} if summary.baseline else {}
    rows = [_score_row(own, others.get(own.benchmark), summary) for own in summary.own.tallies]
    rows.append(_score_row(summary.own.total, summary.baseline.total if summary.baseline else None, summary))
    return Table("Points and score by benchmark", (Column("benchmark"), *columns), tuple(rows))


def _score_row(own: Tally, other: Tally | None, summary: Summary) -> Row:
    cells = [cell for rule in RULES for cell in _score_cells(own, rule)]
    scores = [Cell(f"{other.score[rule]:.1f}") if other else NOTHING for rule in RULES] if summary.baseline else []
    return Row((Cell(own.benchmark), *cells, *scores), total=own is summary.own.total)


def _score_cells(tally: Tally, rule: str) -> tuple[Cell, ...]:
    earned = tally.points[rule]
    return (
        Cell(str(earned), "bad" if earned < 0 else ""),
        Cell(str(tally.reachable[rule]), "faint"),
        Cell(f"{tally.score[rule]:.1f}"),
    )


_RULES = (
    f"{RIGHT} points for each right verdict, {WRONG} for an unsat that is wrong and for a sat without a valid witness, 0 otherwise. "
    "The score of a benchmark is 100 times its points over those that could be had, not below 0; scores of benchmarks are added. "
    "What could be had is counted here: every instance whose answer is expected, or was found by a run shown. The competition takes "
    "the points of its best tool.",
    "2025: a witness may miss the input set and each condition by 1e-4, and its outputs must agree with onnxruntime's to 1e-3 of the "
    "largest. Any such witness refutes an unsat.",
    "2026: the point is rounded to float32 first, it may miss the input set by 1e-4 and no condition, and its outputs are ignored. "
    "Only a witness without any tolerance refutes an unsat. An answer after the time limit of the list is none.",
)


# --- drawings, witnesses, circumstances ---------------------------------------------------------------------------------------


def _figures(summary: Summary) -> Iterable[Any]:
    own = summary.own.run.name
    times = {own: [line.own.outcome.seconds for line in summary.lines if line.own.solved]}
    if summary.baseline is None:
        yield cactus(times, len(summary.lines))
        return
    other = _baseline(summary.baseline)
    found = [(line, line.baseline) for line in summary.lines if line.baseline]
    times = {own: [line.own.outcome.seconds for line, _ in found if line.own.solved]}
    times[other] = [answer.outcome.seconds for _, answer in found if answer.solved]
    yield cactus(times, len(found))
    yield scatter([_pair(line, answer) for line, answer in found])


def _pair(line: Line, baseline: Answer) -> Pair:
    solved = next((answer.outcome.verdict for answer in (line.own, baseline) if answer.solved), "unsat")
    kind = "wrong" if line.own.wrong or baseline.wrong else solved
    own, other = (answer.outcome.seconds if answer.solved else None for answer in (line.own, baseline))
    return Pair(full_name(line), anchor(line), kind, other, own)


def _witnesses(summary: Summary) -> Iterable[Block]:
    answers = {"run": [line.own for line in summary.lines], "baseline": [line.baseline for line in summary.lines if line.baseline]}
    claimed = {name: [answer for answer in side if answer.findings] for name, side in answers.items()}
    judge = f"Every witness was run again in onnxruntime {version('onnxruntime')}, and held against the property by both rules."
    yield Paragraph(judge if any(claimed.values()) else "There are no witnesses: no verdict is sat.")
    rows = [
        Row((Cell(name), Cell(rule), *(_count(counted[status]) for status in get_args(Status))))
        for name, side in claimed.items()
        if side
        for rule, counted in ((rule, Counter(answer.findings[rule].status for answer in side)) for rule in RULES)
    ]
    if rows:
        columns = (
            Column("witnesses of the"),
            Column("rule of"),
            *(Column(STATUS.get(status, status), "number") for status in get_args(Status)),
        )
        yield Table("What came of checking the witnesses again", columns, tuple(rows))
    reasons = [Cell(full_name(line), link=anchor(line), more=line.own.unchecked) for line in summary.lines if line.own.unchecked]
    if reasons:
        yield Paragraph(f"{len(reasons)} {_plural(reasons, 'witness', 'witnesses')} could not be checked, which proves nothing:")
        yield Items(tuple(reasons))


def _circumstances(summary: Summary) -> Table:
    sides = [side for side in (summary.own, summary.baseline) if side]
    facts = [_facts(side.run) for side in sides]
    names = list(dict.fromkeys(name for found in facts for name in found))
    columns = (Column(""), Column("run"), Column("baseline"))[: len(sides) + 1]
    rows = tuple(Row((Cell(name), *(Cell(found.get(name, "")) for found in facts))) for name in names)
    return Table("Tool, machine, settings and versions", columns, rows)


def _facts(run: Run) -> dict[str, str]:
    named = {"name": run.name, "tool": f"{run.tool} {run.version}", "started": _utc(run.started), "command": run.command}
    return named | _flattened(run.settings, "setting: ") | _flattened(run.machine, "machine: ")


def _flattened(values: Mapping[str, Any], group: str) -> dict[str, str]:
    """Nested values by their names, as text."""
    found: dict[str, str] = {}
    for name, value in values.items():
        found |= _flattened(value, f"{name}: ") if isinstance(value, Mapping) else {group + name: _text(value)}
    return found


def _text(value: Any) -> str:
    """Numbers with their thousands apart, lists as words."""
    words = value if isinstance(value, list) else [value]
    return " ".join(f"{word:,}" if type(word) is int else str(word) for word in words if word is not None)


def _utc(time: str) -> str:
    return time.replace("T", " ").replace("+00:00", " UTC")


def _baseline(side: Side) -> str:
    return f"{side.run.name} (baseline)"


def _plural(things: Sequence[object], one: str, many: str = "") -> str:
    return one if len(things) == 1 else many or f"{one}s"
