"""What the results of a run depend on besides instances and tool, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certify.report.store import Instance


@dataclass(frozen=True)
class Settings:
    """What results depend on besides the instance and the tool.

    timeout  seconds for every instance, in place of those in the lists
    grace    seconds after its time limit until a process is killed: so long may a tool take to say itself that the time is up. An
             answer that comes later than the limit counts as `timed-out`, as in the competition of 2026.
    memory   bytes for all processes of an instance together
    workers  instances at a time
    threads  for each, by the usual environment variables
    """

    memory: int
    workers: int
    threads: int
    timeout: float | None = None
    grace: float = 2.0

    def seconds(self, instance: Instance) -> float:
        """The time limit of an instance."""
        return instance.timeout if self.timeout is None else self.timeout


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def physical_memory() -> int:
    """Bytes of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def machine() -> dict[str, Any]:
    """Processor, cores and memory of this machine."""
    return {"cpu": _processor(), "cores": cores(), "memory": physical_memory(), "os": platform.system()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
