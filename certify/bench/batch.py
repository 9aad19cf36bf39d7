"""A batch that goes on where it stopped: what has its result in the store is not run again."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from certify.bench.runner import key, run
from certify.bench.settings import Settings
from certify.bench.tools import Tool
from certify.report.store import Instance, Result, Run, Store


@dataclass(frozen=True)
class Batch:
    """Instances, the tool and settings to run them with, and the run of a store that the results belong to.

    What ended in one of the verdicts `again` counts as not done.
    """

    instances: Sequence[Instance]
    tool: Tool
    settings: Settings
    store: Store
    run: Run
    again: Collection[str] = ()

    def done(self) -> list[Result]:
        """The stored results of those instances whose files, tool and settings are what they were, told apart by row."""
        results = self.store.results(self.run)
        stored = {_row(result.instance): result.outcome for result in results if result.outcome.verdict not in self.again}
        known = [(instance, stored.get(_row(instance))) for instance in self.instances]
        return [Result(i, outcome) for i, outcome in known if outcome and outcome.key == key(i, self.tool, self.settings)]

    def go_on(self) -> Generator[Result, None, None]:
        """Runs the other instances, and yields each result once it is on the disk."""
        done = {_row(result.instance) for result in self.done()}
        waiting = [instance for instance in self.instances if _row(instance) not in done]
        with closing(run(waiting, self.tool, self.settings)) as results:
            for result in results:
                self.store.record(self.run, result)
                yield result


def _row(instance: Instance) -> tuple[str, int]:
    return instance.benchmark, instance.row
