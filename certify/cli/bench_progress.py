"""How far a batch is, on standard error: a bar that moves on a terminal, a line for every result elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from certify.bench.tally import clock, counts

if TYPE_CHECKING:
    from rich.console import Console

    from certify.report.store import Result

Advance = Callable[["Result"], None]


class Course:
    """What has been done and what is left: counts from the start of the batch, a forecast from what this start has done."""

    def __init__(self, before: Sequence[Result], total: int) -> None:
        self.counts = Counter(counts(before))
        self.before = self.done = len(before)
        self.total = total
        self._started = time.monotonic()

    def advance(self, result: Result) -> None:
        """Takes in one result."""
        self.counts.update(counts([result]))
        self.done += 1

    def found(self) -> str:
        """The counts in words: those that are not zero, and always that of wrong verdicts."""
        return ", ".join(
            f"{count} {name}" for name, count in self.counts.items() if name == "wrong" or (count and name != "solved")
        )

    def times(self) -> str:
        """Time since the start, and about how much is left."""
        elapsed = time.monotonic() - self._started
        now = self.done - self.before
        left = clock(elapsed / now * (self.total - self.done)) if now else "?"
        return f"{clock(elapsed)} elapsed, {left} left"


@contextmanager
def progress(before: Sequence[Result], total: int) -> Iterator[Advance]:
    """Shows the course of the batch while the body runs; the body calls `advance(result)`."""
    from rich.console import Console

    console = Console(stderr=True)
    with (_bar if console.is_terminal else _lines)(console, Course(before, total)) as advance:
        yield advance


def describe(result: Result) -> str:
    """A result in a line."""
    instance, outcome = result.instance, result.outcome
    contradicts = f", but expected {instance.expected}" if result.wrong else ""
    message = f": {outcome.message}" if outcome.message else ""
    return f"{instance.benchmark} {instance.row}  {outcome.verdict}{contradicts}  {outcome.seconds:.2f} s{message}"


@contextmanager
def _lines(console: Console, course: Course) -> Iterator[Advance]:
    width = len(str(course.total))

    def advance(result: Result) -> None:
        course.advance(result)
        line = f"{course.done:{width}}/{course.total}  {describe(result)}  [{course.found()}; {course.times()}]"
        print(line, file=sys.stderr, flush=True)

    yield advance


@contextmanager
def _bar(console: Console, course: Course) -> Iterator[Advance]:
    """Errors and wrong verdicts stay on the screen above the bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task
    from rich.text import Text

    class Words(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f" {course.found()};  {course.times()}", no_wrap=True)

    with Progress(BarColumn(bar_width=20), MofNCompleteColumn(), Words(), console=console, transient=True) as bar:
        task = bar.add_task("", total=course.total, completed=course.done)

        def advance(result: Result) -> None:
            course.advance(result)
            bar.update(task, completed=course.done)
            if result.wrong or result.outcome.verdict in ("error", "out-of-memory"):
                console.print(describe(result), markup=False, highlight=False)

        yield advance
