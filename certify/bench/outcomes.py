"""What the end of a process and the words of a tool come to."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from certify.bench.tools import Answer, Tool
from certify.bench.worker import Ending
from certify.report.store import DECIDED


@dataclass(frozen=True)
class Said:
    """The texts that a command left: what it printed, on both streams, and the result file."""

    output: str = ""
    errors: str = ""
    result: str = ""


@dataclass(frozen=True)
class Limits:
    """Seconds and bytes that an instance may take."""

    seconds: float
    memory: int


def conclude(ending: Ending, said: Said, tool: Tool, limits: Limits) -> Answer:
    """The answer that counts: a verdict only from a process that ended by itself, in time and with exit code 0."""
    if explain := _NO_ANSWER.get(ending.how):
        return explain(ending, limits)
    answer = tool.read(said.output, said.result)
    if ending.code or answer.verdict == "error":
        return Answer("error", message="; ".join(filter(None, (_said(answer), _last_lines(said.errors), _ended(ending)))))
    if ending.seconds > limits.seconds and answer.verdict != "timed-out":
        late = f"answered {answer.verdict} after {ending.seconds:.2f} s, past its limit of {limits.seconds:g} s"
        return Answer("timed-out", message="; ".join(filter(None, (late, answer.message))))
    return answer


def unreported(code: int) -> Ending:
    """How an instance ended whose supervising process left no report and this exit code: killed with it, or by a fault of ours."""
    return (
        Ending("itself", code) if code < 0 else Ending("unstarted", message=f"its supervising process ended with exit code {code}")
    )


def _killed_at_time(ending: Ending, limits: Limits) -> Answer:
    return Answer("timed-out", message=f"killed after {ending.seconds:.1f} s; its limit was {limits.seconds:g} s")


def _killed_at_memory(ending: Ending, limits: Limits) -> Answer:
    return Answer("out-of-memory", message=f"killed at {ending.memory / 1e9:.2f} GB; its limit was {limits.memory / 1e9:.2f} GB")


def _unstarted(ending: Ending, limits: Limits) -> Answer:
    return Answer("error", message=f"could not be started: {ending.message}")


_NO_ANSWER: Mapping[str, Callable[[Ending, Limits], Answer]] = {
    "time": _killed_at_time,
    "memory": _killed_at_memory,
    "unstarted": _unstarted,
}
"""The endings in which nobody listens to what was said."""


def _said(answer: Answer) -> str:
    return f"said {answer.verdict}" if answer.verdict in DECIDED else answer.message


def _ended(ending: Ending) -> str:
    if ending.killed:
        return "killed from outside, twice: by the system, short of memory, or by hand"
    if ending.code < 0:
        return f"ended by {signal.Signals(-ending.code).name}"
    return f"exit code {ending.code}" if ending.code else ""


def _last_lines(text: str, lines: int = 3, most: int = 1000) -> str:
    return " / ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip())[-most:]
