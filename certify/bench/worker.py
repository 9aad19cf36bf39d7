"""A process that runs one command under a time and a memory limit, and reports how it ended.

It is called with a folder, reads a job, one line of JSON, from standard input and writes an ending, one line of JSON, to standard
output. Standard input stays open as long as whoever wants the answer lives: when it closes, the command is killed with all it
started, and the folder removed. Kept small, for it starts with every instance: the standard library alone.

Memory is watched, not limited by `setrlimit`: address space (RLIMIT_AS) counts what torch reserves and never touches, and every
limit of that kind holds for one process, not for all that a command starts.
"""

from __future__ import annotations

import gzip
import json
import os
import select
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM

from certify.bench.processes import adopt_orphans, descendants, die_with_parent, end_descendants, private_memory

OUTPUT, ERRORS = "stdout", "stderr"
"""Files in the folder that hold what the command printed."""
POLL = 0.01
"""Seconds between two looks at the clock: the error of the seconds reported."""
LOOKS_A_MEMORY = 10
"""Looks at the clock for one at the memory, which costs more."""


@dataclass(frozen=True)
class Job:
    """A command, its limits in seconds and bytes, and pairs (packed file, where to unpack it)."""

    command: Sequence[str]
    seconds: float
    memory: int
    unpack: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Ending:
    """How a command ended: "itself", at a limit ("time", "memory"), or "unstarted" with a message.

    `code` is the exit code, negative for a signal; `memory` the peak in bytes, of all its processes together as far as seen, of
    the largest one exactly.
    """

    how: str
    code: int = 0
    seconds: float = 0.0
    memory: int = 0
    message: str = ""

    @property
    def killed(self) -> bool:
        """Whether somebody else killed it: a person, or the system for want of memory."""
        return self.how == "itself" and -self.code in (SIGKILL, SIGTERM)


def main(folder: Path) -> None:
    """Runs the job in the folder. When nobody waits any more, neither processes nor the folder are left."""
    adopt_orphans()
    try:
        if line := sys.stdin.readline():
            ending = run(Job(**json.loads(line)), folder)
            if ending is not None:
                print(json.dumps(asdict(ending)), flush=True)
                sys.stdin.read()  # until what the command left in the folder has been read
    except BrokenPipeError:
        pass
    finally:
        end_descendants()
        shutil.rmtree(folder, ignore_errors=True)


def run(job: Job, folder: Path) -> Ending | None:
    """Unpacks the job's files, runs its command and waits; None where standard input closed before it ended."""
    try:
        for packed, target in job.unpack:
            with gzip.open(packed) as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file)
        with open(folder / OUTPUT, "wb") as output, open(folder / ERRORS, "wb") as errors:
            started = time.monotonic()
            command = subprocess.Popen(
                job.command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, preexec_fn=die_with_parent()
            )
    except (OSError, EOFError, zlib.error) as error:
        return Ending("unstarted", message=str(error))
    try:
        return _watch(command.pid, started, job)
    finally:
        end_descendants()


def _watch(pid: int, started: float, job: Job) -> Ending | None:
    peak = looks = 0
    while True:
        buried, status, usage = os.wait4(pid, os.WNOHANG)
        seconds = time.monotonic() - started
        if buried:
            return Ending("itself", os.waitstatus_to_exitcode(status), seconds, max(peak, usage.ru_maxrss * 1024))
        if looks % LOOKS_A_MEMORY == 0:
            peak = max(peak, sum(map(private_memory, descendants(os.getpid()))))
        looks += 1
        if seconds > job.seconds or peak > job.memory:
            return Ending("time" if seconds > job.seconds else "memory", seconds=seconds, memory=peak)
        if select.select([sys.stdin], [], [], POLL)[0]:
            return None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
