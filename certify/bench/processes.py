"""Processes that end together and are measured together, by Linux's /proc and prctl.

Three ways lead out of a process tree, and each is barred: a child outlives its parent (it asks the kernel to be killed with it), an
orphan is handed to init (the supervising process adopts it), and a process starts a session of its own (children are found by
parentage, not by session). Where the supervising process is gone, they are found by a mark in their environment.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")
_PATIENCE = 10.0
"""Seconds until processes that do not die of SIGKILL, as in a driver's uninterruptible call, are left to the system."""


def check_platform() -> None:
    """A ValueError where processes cannot be watched in this way."""
    if not sys.platform.startswith("linux") or not (_PROC / "self/task").is_dir():
        raise ValueError(
            "certify bench needs Linux with /proc, to hold every process to its limits; `certify verify` runs anywhere"
        )


def adopt_orphans() -> None:
    """From now on descendants of this process whose parents die become its children."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> Callable[[], None]:
    """What a child of this process calls before it becomes another program, so that it is killed when this process dies."""
    parent = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os.kill(os.getpid(), signal.SIGKILL)

    return ask


def descendants(pid: int) -> Iterator[int]:
    """All living descendants of a process, zombies included."""
    tasks = _PROC / str(pid) / "task"
    with suppress(FileNotFoundError, ProcessLookupError):  # it has gone
        for task in os.listdir(tasks):
            for child in map(int, _read(tasks / task / "children").split()):
                yield child
                yield from descendants(child)


def private_memory(pid: int) -> int:
    """Bytes that a process holds in memory and shares with no file and no other process: 0 where it is gone."""
    _, resident, shared, *_ = [int(word) for word in _read(_PROC / str(pid) / "statm").split()] or (0, 0, 0)
    return (resident - shared) * _PAGE


def end_descendants() -> None:
    """Kills and buries all descendants of this process, which has to have adopted orphans."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and (found := list(descendants(os.getpid()))):
        for pid in found:
            _kill(pid)
        _bury_children()
        time.sleep(0.005)


def end_marked(marker: str) -> None:
    """Kills all processes with these words in their environment: what is left of a tree whose supervising process was killed itself."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and (found := list(_marked(marker))):
        for pid in found:
            _kill(pid)
        time.sleep(0.005)


def _marked(marker: str) -> Iterator[int]:
    """The living among them: a zombie's environment is empty."""
    for entry in _PROC.glob("[0-9]*"):
        if marker in _read(entry / "environ"):
            yield int(entry.name)


def _bury_children() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _read(path: Path) -> str:
    """The file, or nothing where the process it tells of is gone or another user's."""
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
