"""A tool that does what a property says, and lists of such properties."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from certify.bench.settings import Settings
from certify.bench.tools import Tool, other_tool

TOOL = '''
import os, subprocess, sys, time

model, prop, timeout, result = sys.argv[1:]
here = os.path.dirname(__file__)


def say(*words):
    with open(result, "w") as file:
        file.write(" ".join(words).replace("/", chr(10)))


def note(name):
    """A line in a file of the tool's folder: who was here."""
    with open(os.path.join(here, name), "a") as file:
        file.write(f"{os.getpid()} {os.getppid()}" + chr(10))


def hang():
    """Never ends, nor does its child, which is in a session of its own."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
    with open(os.path.join(here, "pids"), "a") as file:
        file.write(f"{os.getpid()} {child.pid}" + chr(10))
    time.sleep(300)


def hang_once():
    if not os.path.exists(os.path.join(here, "pids")):
        hang()
    say("unsat")


def leave_child():
    """Ends, its child does not."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
    with open(os.path.join(here, "pids"), "a") as file:
        file.write(f"{child.pid}" + chr(10))
    say("unsat")


def child_eats(megabytes):
    subprocess.run([sys.executable, "-c", f"import time; x = b'x' * ({megabytes} << 20); time.sleep(300)"])


def eat(megabytes):
    x = b"x" * (int(megabytes) << 20)
    time.sleep(0.3)
    say("unsat")


ACTIONS = {
    "say": say,
    "say_files": lambda: say("sat/" + open(model).read() + "/" + ",".join(map(os.path.basename, (model, prop))) + "/" + timeout),
    "say_threads": lambda: say("sat/" + os.environ["OMP_NUM_THREADS"]),
    "print": lambda *words: print(*words),
    "fail": lambda: (print("no such layer", file=sys.stderr), sys.exit(3)),
    "crash": lambda: os.abort(),
    "die": lambda: os.kill(os.getpid(), 9),
    "late": lambda seconds: (time.sleep(float(seconds)), say("unsat")),
    "hang": hang,
    "hang_once": hang_once,
    "leave_child": leave_child,
    "eat": eat,
    "child_eats": child_eats,
}
note("calls")
action, *words = open(prop).read().split()
ACTIONS[action](*words)
'''


@pytest.fixture
def tool_command(tmp_path: Path) -> str:
    """The command line of the tool, for `--tool-cmd`."""
    script = tmp_path / "tool.py"
    script.write_text(TOOL)
    return shlex.join([sys.executable, "-S", "-E", str(script), "{model}", "{property}", "{timeout}", "{result}"])


@pytest.fixture
def tool(tool_command: str) -> Tool:
    """The tool itself."""
    return other_tool(tool_command)


@pytest.fixture
def settings() -> Settings:
    """Limits that nothing well-behaved meets."""
    return Settings(memory=2 * 10**9, workers=2, threads=1, grace=0.2)


@pytest.fixture
def write_list(tmp_path: Path) -> Callable[..., Path]:
    """Writes a benchmark folder `some` of properties that each do one thing, and returns it."""

    def write(*actions: str, timeout: float = 60, expected: str = "") -> Path:
        folder = tmp_path / "some"
        folder.mkdir(exist_ok=True)
        (folder / "net.onnx").write_text("weights")
        for number, action in enumerate(actions):
            (folder / f"{number}.vnnlib").write_text(action)
        (folder / "instances.csv").write_text("".join(f"net.onnx,{number}.vnnlib,{timeout}\n" for number in range(len(actions))))
        if expected:
            (folder / "expected.csv").write_text("\n".join(["verdict", *expected.split()]))
        return folder

    return write


def lines(path: Path) -> list[list[int]]:
    """The numbers in a file that the tool wrote, line by line; none where it wrote none."""
    return [[int(word) for word in line.split()] for line in path.read_text().splitlines()] if path.exists() else []


def alive(pid: int) -> bool:
    """Whether a process is there and more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Returns once the condition holds; an AssertionError if that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
