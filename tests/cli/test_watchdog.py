"""The limit is kept by a thread of its own, and exactly one verdict is printed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from certify.cli.watchdog import Watchdog, reserve

STUCK = """
import sys, time
from certify.cli.watchdog import Watchdog
Watchdog(0.2, lambda: print("timed-out") or 0).start()
time.sleep(60)
"""
HURRIED = """
from certify.cli.watchdog import Watchdog
dog = Watchdog(60, lambda: print("timed-out") or 0).start()
dog.finish()
print("unsat")
"""


@pytest.mark.parametrize(("program", "said"), [(STUCK, "timed-out\n"), (HURRIED, "unsat\n")])
def test_exactly_one_of_the_two_speaks(program: str, said: str) -> None:
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, said)
    assert time.monotonic() - started < 40


def test_a_verdict_that_comes_while_the_watchdog_speaks_is_not_printed() -> None:
    ended, speaking = threading.Event(), threading.Event()

    def speak() -> int:
        speaking.set()
        time.sleep(0.2)
        return 7

    codes: list[int] = []
    dog = Watchdog(0.0, speak, end=lambda code: (codes.append(code), ended.set()))
    dog.start()
    assert speaking.wait(5)
    dog.finish()  # waits for the end of the process, which the test replaced
    assert ended.is_set()
    assert codes == [7]


def test_the_reserve_is_within_the_limit_and_never_long() -> None:
    for limit in (0.01, 0.5, 1, 10, 1000):
        assert 0 < reserve(limit) <= min(limit / 4, 2.4)
