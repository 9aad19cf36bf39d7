"""What came of a verification run: verdicts, contradictions, witnesses checked again, points; beside a baseline if there is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from certify.report.replay import Files
from certify.report.score import RIGHT, RULES, Findings, exact, points, score
from certify.report.store import DECIDED, Instance, Outcome, Result, Run
from certify.report.witness import check

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Answer:
    """An outcome, what the rules say of its witness, and its points by each rule.

    `wrong`: the verdict contradicts what is known, which is `sat` where any witness holds exactly, and else what is expected.
    """

    outcome: Outcome
    findings: Findings
    points: Mapping[str, int]
    wrong: bool

    @property
    def solved(self) -> bool:
        """Whether the verdict is `unsat` or `sat`."""
        return self.outcome.verdict in DECIDED

    @property
    def rejected(self) -> Findings:
        """The rules that do not accept its witness."""
        return {rule: found for rule, found in self.findings.items() if not found.accepted and found.status != "unchecked"}

    @property
    def unchecked(self) -> str:
        """Why its witness could not be checked; empty if it was, or if there is none."""
        return next((found.reason for found in self.findings.values() if found.status == "unchecked"), "")


@dataclass(frozen=True)
class Line:
    """An instance, the run's answer, and the baseline's to the same question if it has one; `remarks` say what is amiss."""

    instance: Instance
    own: Answer
    baseline: Answer | None = None
    remarks: tuple[str, ...] = ()

    @property
    def reachable(self) -> Mapping[str, int]:
        """The points that could be had: those of a right answer where it is expected or was found by somebody, by each rule."""
        answers = [answer for answer in (self.own, self.baseline) if answer]
        expected = self.instance.expected in DECIDED
        return {rule: RIGHT * (expected or any(answer.points[rule] == RIGHT for answer in answers)) for rule in RULES}


@dataclass(frozen=True)
class Tally:
    """Sums over instances of one tool's answers; `points`, `reachable` and `score` by each rule, `seconds` of solved ones too."""

    benchmark: str
    instances: int
    verdicts: Mapping[str, int]
    solved: int
    wrong: int
    seconds: float
    solved_seconds: float
    points: Mapping[str, int]
    reachable: Mapping[str, int]
    score: Mapping[str, float]


@dataclass(frozen=True)
class Side:
    """A tool's run: its sums for each benchmark, and in all. Scores of benchmarks are added, as in the competition."""

    run: Run
    tallies: tuple[Tally, ...]
    total: Tally


@dataclass(frozen=True)
class Summary:
    """A report's numbers, all of them: what is shown is formatted from these and nothing else.

    `unmatched` counts the instances of the run, and of the baseline, to which the other has no answer.
    """

    own: Side
    baseline: Side | None
    lines: tuple[Line, ...]
    unmatched: tuple[int, int] = (0, 0)


Results = tuple[Run, Sequence[Result]]


def summarise(own: Results, baseline: Results | None, progress: Progress = lambda count: None) -> Summary:
    """The summary of a run beside a baseline; every witness of both is checked again. A ValueError where the run has no results."""
    run, results = own
    if not results:
        raise ValueError(f"run {run.id} ({run.name}) has no results yet")
    files = Files()
    others = {_question(result.instance): result for result in baseline[1]} if baseline else {}
    lines = []
    for result in results:
        lines.append(_line(result, others.get(_question(result.instance)), files))
        progress(1)
    compared = [line for line in lines if line.baseline]
    return Summary(
        own=_side(run, lines, lambda line: line.own),
        baseline=_side(baseline[0], compared, lambda line: line.baseline) if baseline else None,
        lines=tuple(lines),
        unmatched=(len(lines) - len(compared), len(others) - len(compared)) if baseline else (0, 0),
    )


def _question(instance: Instance) -> tuple[str, int, str, str]:
    """What makes two instances the same: the place in the same list, and the content of both files."""
    return instance.benchmark, instance.row, instance.model_hash, instance.property_hash


def _line(result: Result, other: Result | None, files: Files) -> Line:
    own_findings, other_findings = _findings(result, files), _findings(other, files)
    own = _answer(result, own_findings, other_findings)
    baseline = _answer(other, other_findings, own_findings) if other else None
    return Line(result.instance, own, baseline, tuple(_remarks(result.instance, own, baseline)))


def _findings(result: Result | None, files: Files) -> Findings:
    return check(result, files) if result and result.outcome.verdict == "sat" else {}


def _answer(result: Result, own: Findings, other: Findings) -> Answer:
    known = "sat" if exact(own) or exact(other) else result.instance.expected
    wrong = result.solved and known in DECIDED and result.outcome.verdict != known
    earned = {name: points(rule, result, own.get(name), other.get(name)) for name, rule in RULES.items()}
    return Answer(result.outcome, own, earned, wrong)


def _remarks(instance: Instance, own: Answer, baseline: Answer | None) -> Iterable[str]:
    """Everything that somebody who trusts the run must know of an instance."""
    verdict, expected = own.outcome.verdict, instance.expected
    if own.solved and expected in DECIDED and verdict != expected:
        refuted = "; its witness holds exactly, which refutes the expectation" if exact(own.findings) else ""
        yield f"{verdict}, but {expected} is expected{refuted}"
    if own.solved and baseline and baseline.solved and baseline.outcome.verdict != verdict:
        proof = ", with a witness that holds exactly" if exact(baseline.findings) else ""
        yield f"{verdict}, but the baseline says {baseline.outcome.verdict}{proof}"
    for found in dict.fromkeys(own.rejected.values()):
        years = " and ".join(rule for rule, finding in own.rejected.items() if finding == found)
        yield f"the witness is {found.status} by the rule of {years}: {found.reason}"


def _side(run: Run, lines: Sequence[Line], answer: Callable[[Line], Answer | None]) -> Side:
    pairs = [(line, found) for line in lines if (found := answer(line))]
    grouped = groupby(pairs, key=lambda pair: pair[0].instance.benchmark)
    tallies = tuple(_tally(benchmark, list(group)) for benchmark, group in grouped)
    added = {rule: sum(tally.score[rule] for tally in tallies) for rule in RULES}
    return Side(run, tallies, _tally("all", pairs, added))


def _tally(benchmark: str, pairs: Sequence[tuple[Line, Answer]], scores: Mapping[str, float] | None = None) -> Tally:
    answers = [answer for _, answer in pairs]
    earned = {rule: sum(answer.points[rule] for answer in answers) for rule in RULES}
    reachable = {rule: sum(line.reachable[rule] for line, _ in pairs) for rule in RULES}
    return Tally(
        benchmark=benchmark,
        instances=len(answers),
        verdicts=dict(Counter(answer.outcome.verdict for answer in answers)),
        solved=sum(answer.solved for answer in answers),
        wrong=sum(answer.wrong for answer in answers),
        seconds=sum(answer.outcome.seconds for answer in answers),
        solved_seconds=sum(answer.outcome.seconds for answer in answers if answer.solved),
        points=earned,
        reachable=reachable,
        score=scores or {rule: score(earned[rule], reachable[rule]) for rule in RULES},
    )
