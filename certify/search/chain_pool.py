"""Threads for kernels that release the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType


def threads() -> int:
    """How many threads to use: OMP_NUM_THREADS where it is set, else one for every core this process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else len(os.sched_getaffinity(0))


class Pool:
    """Runs a function on blocks of a range, and waits for all; in this thread where one is enough."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="certify-chain") if count > 1 else None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._executor is not None:
            self._executor.shutdown()

    def map(self, run: Callable[[slice], None], count: int, least: int) -> None:
        """Calls `run` on slices that cover range(count), each of at least `least` where there are several."""
        blocks = min(4 * self._count, max(1, count // least))
        if self._executor is None or blocks == 1:
            run(slice(0, count))
            return
        slices = (slice(count * i // blocks, count * (i + 1) // blocks) for i in range(blocks))
        for future in [self._executor.submit(run, part) for part in slices]:
            future.result()
