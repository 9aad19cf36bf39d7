"""Keeps a time limit for the whole process: what has to be said is said before the limit, whatever the main thread is busy with.

The search checks the clock between its steps, and ends in time by itself nearly always. Loading a very large model, or one long step
on a machine that is short of cores, cannot be interrupted from within; a thread of its own can end the process all the same.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

_RESERVE, _SHARE, _MOST = 0.4, 0.01, 2.0
"""Seconds, and share of the limit up to so many seconds, that are kept for saying so; of short limits at most a quarter is."""


def reserve(limit: float) -> float:
    """Seconds before the limit at which the watchdog speaks."""
    return min(_RESERVE + min(_SHARE * limit, _MOST), limit / 4)


class Watchdog:
    """Calls `speak`, flushes and ends the process with the exit code it returns, unless `finish` comes first.

    Exactly one of the two gets to speak: `finish` returns only if it is the first, and the process ends otherwise.
    """

    def __init__(self, seconds: float, speak: Callable[[], int], end: Callable[[int], object] = os._exit) -> None:
        self._speak, self._end = speak, end
        self._first = threading.Lock()
        self._timer = threading.Timer(max(seconds, 0.0), self._expire)
        self._timer.daemon = True

    def start(self) -> Watchdog:
        """Starts the clock."""
        self._timer.start()
        return self

    def finish(self) -> None:
        """To be called before the verdict is printed: from here on the watchdog is silent."""
        self._timer.cancel()
        if not self._first.acquire(blocking=False):
            self._timer.join()

    def _expire(self) -> None:
        if not self._first.acquire(blocking=False):
            return
        code = self._speak()
        sys.stdout.flush()
        sys.stderr.flush()
        self._end(code)
