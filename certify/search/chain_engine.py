"""Runs the chain kernels: the definitions in numpy for the first boxes, then the compiled twins, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, TracebackType

import numpy as np
from numpy.typing import NDArray

from certify.kernels import chain_reference
from certify.kernels.chain import Clauses, Effort, Net, Work
from certify.search.chain_boxes import select

_PLAIN_BOXES, _PLAIN_WEIGHTS = 2000, 50_000
"""So many boxes take numpy less time than loading the compiled kernels does, half a second: of networks with no more weights than
this, zeros counted."""
_PLAIN_LEAST, _LEAST = 64, 4
"""Boxes that a thread should have at least: numpy is slow on few."""


def threads() -> int:
    """How many threads to use: OMP_NUM_THREADS where it is set, else one for every core this process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else len(os.sched_getaffinity(0))


class Engine:
    """The kernels on one net and its clauses. The twins release the interpreter lock, so that plain threads can share the boxes."""

    def __init__(self, net: Net, clauses: Clauses, threads: int) -> None:
        self.net, self.clauses = net, clauses
        self.boxes = 0
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="certify-chain")
        self._kernels: ModuleType = chain_reference
        if (net.width[1:] * net.width[:-1]).sum() > _PLAIN_WEIGHTS:
            self._compile()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._executor.shutdown()

    def examine(self, effort: Effort, work: Work) -> None:
        """`chain_reference.examine`."""
        self.boxes += len(work.root)
        if self.boxes > _PLAIN_BOXES:
            self._compile()
        self._share(lambda part: self._kernels.examine(self.net, self.clauses, effort, select(work, part)), len(work.root))

    def descend(
        self,
        clause: NDArray[np.int64],
        lower: NDArray[np.float64],
        upper: NDArray[np.float64],
        points: NDArray[np.float64],
        steps: int,
    ) -> NDArray[np.float64]:
        """`chain_reference.descend`; returns the values."""
        values = np.empty(len(clause))
        fields = (clause, lower, upper, points, values)
        self._share(
            lambda part: self._kernels.descend(self.net, self.clauses, *(field[part] for field in fields), steps), len(clause)
        )
        return values

    def _compile(self) -> None:
        """Goes over to the compiled twins."""
        from certify.kernels import chain_cpu

        self._kernels = chain_cpu

    def _share(self, run: Callable[[slice], None], count: int) -> None:
        """Calls `run` on slices that cover range(count), and waits for all."""
        least = _PLAIN_LEAST if self._kernels is chain_reference else _LEAST
        blocks = min(4 * self._threads, max(1, count // least))
        if self._threads == 1 or blocks == 1:
            run(slice(0, count))
            return
        slices = (slice(count * i // blocks, count * (i + 1) // blocks) for i in range(blocks))
        for future in [self._executor.submit(run, part) for part in slices]:
            future.result()
