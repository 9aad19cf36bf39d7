"""Counts of results: as a line while a batch runs, and as a table when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

from certify.report.store import Result

COUNTS: Mapping[str, Callable[[Result], bool]] = {
    "solved": lambda result: result.solved,
    "sat": lambda result: result.outcome.verdict == "sat",
    "unsat": lambda result: result.outcome.verdict == "unsat",
    "unknown": lambda result: result.outcome.verdict == "unknown",
    "timed out": lambda result: result.outcome.verdict == "timed-out",
    "errors": lambda result: result.outcome.verdict in ("error", "out-of-memory"),
    "wrong": lambda result: result.wrong,
}
"""What is counted, in the order in which it is shown. `wrong`: contradicts the expected verdict."""


def counts(results: Iterable[Result]) -> dict[str, int]:
    """How many results each count takes in."""
    results = list(results)
    return {name: sum(map(counted, results)) for name, counted in COUNTS.items()}


def summary(results: Iterable[Result]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Header and rows of the table: a row for every benchmark, and one for all where there are several."""
    ordered = sorted(results, key=_benchmark)
    groups = [(name, list(group)) for name, group in groupby(ordered, key=_benchmark)]
    rows = [_cells(name, group) for name, group in groups]
    header = ("benchmark", "instances", *COUNTS, "seconds", "peak GB")
    return header, rows if len(rows) == 1 else [*rows, _cells("all", ordered)]


def clock(seconds: float) -> str:
    """Minutes and seconds, below hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _benchmark(result: Result) -> str:
    return result.instance.benchmark


def _cells(name: str, results: Sequence[Result]) -> Sequence[str]:
    seconds = sum(result.outcome.seconds for result in results)
    peak = max((result.outcome.peak_memory for result in results), default=0)
    return (name, str(len(results)), *map(str, counts(results).values()), f"{seconds:.1f}", f"{peak / 1e9:.2f}")
