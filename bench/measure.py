"""How times are taken: contenders in turn, so that a slower minute of the machine hits all of them, and the best of several runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from math import inf
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch

Call = Callable[[], Any]
Prepare = Callable[[], Call]
"""Builds whatever is not to be timed, and returns what is. Called before every run, as alpha-CROWN changes the peer's module."""


def best_times(contenders: Mapping[str, Prepare], repeats: int = 7, seconds: float = 4.0) -> dict[str, float]:
    """The least time of each contender over `repeats` rounds of all, after one that warms up; a contender that has used up its
    `seconds` sits out the rest."""
    best = dict.fromkeys(contenders, inf)
    spent = dict.fromkeys(contenders, 0.0)
    for _ in range(repeats + 1):
        for name, prepare in contenders.items():
            if spent[name] < seconds:
                call = prepare()
                start = perf_counter()
                call()
                elapsed = perf_counter() - start
                best[name], spent[name] = min(best[name], elapsed), spent[name] + elapsed
    return best


def median_cpu_times(contenders: Mapping[str, Prepare], rounds: int = 5, seconds: float = 20.0) -> dict[str, float]:
    """The median processor time of each contender over rounds of all on one thread, after one that warms up.

    Other work on the machine does not count. There are at least `rounds`, and 40 while they take less than a second; a contender that
    has used up its `seconds` sits out the rest.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for number in range(max(rounds, 40) + 1):
            if number > rounds and sum(map(sum, taken.values())) > 1:
                break
            for name, prepare in contenders.items():
                if sum(taken[name]) < seconds:
                    call = prepare()
                    start = process_time()
                    call()
                    taken[name] += [process_time() - start] if number else []
    finally:
        torch.set_num_threads(threads)
    return {name: median(values) for name, values in taken.items()}


def peak_memory(code: str) -> int:
    """The most memory, in bytes, that a fresh interpreter has held resident after running `code`; children only, so nothing adds up."""
    report = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], check=True, capture_output=True, text=True)
    kilobytes = int(done.stdout.split()[-1])
    return kilobytes * (1 if sys.platform == "darwin" else 1024)


def python_time(*arguments: str) -> float:
    """Seconds of wall clock that an interpreter with these arguments takes, from start to end."""
    start = perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return perf_counter() - start
