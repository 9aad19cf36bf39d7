"""Runs instances side by side, each in a process of its own under its limits, and yields results as they come.

The runner only waits; each instance has a supervising process (`certify.bench.worker`), which ends when the runner does. One that
is killed from outside, itself or the command under it, is run once more: a second time it is an error.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO, cast

from certify.bench.instances import files, obstacle
from certify.bench.outcomes import Limits, Said, conclude, unreported
from certify.bench.processes import end_marked
from certify.bench.settings import Settings
from certify.bench.tools import Tool
from certify.bench.worker import ERRORS, OUTPUT, Ending, Job
from certify.report.store import Instance, Outcome, Result, now

ATTEMPTS = 2
RESULT = "result"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
MARK = "CERTIFY_BENCH_FOLDER"
"""Environment variable with the folder of the instance, which marks all its processes."""
_MOST_TEXT = 1 << 26
"""Bytes read of what a tool printed or wrote."""


def key(instance: Instance, tool: Tool, settings: Settings) -> str:
    """Hash of all that an outcome depends on: the files, the tool, the settings and the time limit."""
    facts = (instance.model_hash, instance.property_hash, tool.name, tool.version, tool.command, asdict(settings))
    return sha256(json.dumps([*facts, settings.seconds(instance)], sort_keys=True).encode()).hexdigest()


def run(instances: Iterable[Instance], tool: Tool, settings: Settings) -> Generator[Result, None, None]:
    """Yields the result of every instance, in the order in which they end.

    When the iteration is left early, by an error or by Ctrl-C as well, everything that was started is killed: close the iterator
    (`contextlib.closing`) to be sure of when.
    """
    waiting = deque((instance, 1) for instance in instances)
    running: set[_Worker] = set()
    try:
        while waiting or running:
            while waiting and len(running) < settings.workers:
                instance, attempt = waiting.popleft()
                if reason := obstacle(instance):
                    yield Result(instance, Outcome(key(instance, tool, settings), "error", 0.0, now(), 0, message=reason))
                else:
                    running.add(_Worker(instance, attempt, tool, settings))
            for worker in select.select(list(running), [], [])[0] if running else ():
                outcome = worker.finish()
                running.remove(worker)
                if outcome is not None:
                    yield Result(worker.instance, outcome)
                else:
                    waiting.appendleft((worker.instance, worker.attempt + 1))
    finally:
        for worker in running:
            worker.stop()


class _Worker:
    """The supervising process of one instance, as the runner sees it."""

    def __init__(self, instance: Instance, attempt: int, tool: Tool, settings: Settings) -> None:
        self.instance, self.attempt, self.tool = instance, attempt, tool
        self.limits = Limits(settings.seconds(instance), settings.memory)
        self.key = key(instance, tool, settings)
        self.folder = Path(tempfile.mkdtemp(prefix="certify-bench-"))
        self.started = now()
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(settings.threads)), MARK: str(self.folder)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "certify.bench.worker", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            text=True,
        )
        self.stdin = cast(TextIO, self._process.stdin)
        self.stdout = cast(TextIO, self._process.stdout)
        self._tell(self._job(settings))

    def _job(self, settings: Settings) -> Job:
        paths = dict(zip(("model", "property"), files(self.instance), strict=True))
        unpack = []
        for name, path in () if self.tool.packed else [*paths.items()]:
            if path.suffix == ".gz":
                paths[name] = self.folder / path.stem
                unpack.append((str(path), str(paths[name])))
        values = {name: str(path) for name, path in paths.items()}
        command = self.tool.call(**values, timeout=f"{self.limits.seconds:g}", result=str(self.folder / RESULT))
        return Job(command, self.limits.seconds + settings.grace, self.limits.memory, unpack)

    def _tell(self, job: Job) -> None:
        """Hands the job over; the worker goes on reading, to see when we are gone."""
        with suppress(BrokenPipeError):  # it was killed already, as its output will say
            self.stdin.write(json.dumps(asdict(job)) + "\n")
            self.stdin.flush()

    def fileno(self) -> int:
        """What `select` watches: it can be read once the worker has reported or died."""
        return self.stdout.fileno()

    def finish(self) -> Outcome | None:
        """The outcome, once the worker has reported; None if it was killed from outside and another attempt is left."""
        report = self.stdout.readline()
        if not report:
            end_marked(str(self.folder))
        said = Said(*(_text(self.folder / name) for name in (OUTPUT, ERRORS, RESULT)))
        code = self.stop()
        ending = Ending(**json.loads(report)) if report else unreported(code)
        if ending.killed and self.attempt < ATTEMPTS:
            return None
        facts: dict[str, Any] = {"key": self.key, "seconds": ending.seconds, "started": self.started, "peak_memory": ending.memory}
        return Outcome(**facts, **vars(conclude(ending, said, self.tool, self.limits)))

    def stop(self) -> int:
        """Ends the worker and all it started, which may have ended already, and removes its folder; its exit code."""
        for pipe in (self.stdin, self.stdout):
            with suppress(BrokenPipeError):
                pipe.close()
        try:
            code = self._process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            end_marked(str(self.folder))
            code = self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)  # the worker does so, if it lived to the end
        return code


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_MOST_TEXT).decode(errors="replace")
    except OSError:
        return ""
