"""A batch killed at any moment goes on: nothing that was recorded is lost or run again, and nothing keeps computing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from certify.bench.batch import Batch
from certify.bench.instances import read_instances
from certify.bench.settings import Settings
from certify.bench.tools import Tool
from certify.report.store import Run, Store, now
from tests.bench.conftest import alive, lines, wait_until

WriteList = Callable[..., Path]


@pytest.fixture
def go_on(tmp_path: Path, tool: Tool, settings: Settings) -> Callable[..., list[int]]:
    """Goes on with a folder's batch, under other settings if some are named, and returns the rows that were run."""

    def go_on(folder: Path, tool: Tool = tool, **changed: object) -> list[int]:
        used = replace(settings, **changed)
        with Store(tmp_path / "runs.sqlite", create=True) as store:
            run = store.begin(Run(now(), "trial", tool.name, tool.version, vars(used), {}, ""))
            batch = Batch(read_instances([folder]), tool, used, store, run)
            rows = sorted(result.instance.row for result in batch.go_on())
            assert len(batch.done()) == len(batch.instances)
            return rows

    return go_on


def test_what_is_done_is_not_run_again(write_list: WriteList, go_on: Callable[..., list[int]], tool: Tool) -> None:
    folder = write_list("say unsat", "say sat", "fail")
    assert go_on(folder) == [0, 1, 2]
    assert go_on(folder) == []
    (folder / "1.vnnlib").write_text("say unknown")
    assert go_on(folder) == [1]
    (folder / "net.onnx").write_text("other weights")
    assert go_on(folder) == [0, 1, 2]
    assert go_on(folder, timeout=50.0) == [0, 1, 2]
    assert go_on(folder, replace(tool, version="next")) == [0, 1, 2]
    assert go_on(folder) == []


def test_a_file_that_was_missing_is_run_when_it_is_there(write_list: WriteList, go_on: Callable[..., list[int]]) -> None:
    folder = write_list("say unsat")
    (folder / "0.vnnlib").unlink()
    assert go_on(folder) == [0]
    assert go_on(folder) == []
    (folder / "0.vnnlib").write_text("say unsat")
    assert go_on(folder) == [0]


@pytest.fixture
def start(tmp_path: Path, tool_command: str) -> Callable[[Path], subprocess.Popen[str]]:
    """Starts `certify bench` on a folder as a process of its own."""

    def start(folder: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "certify", "bench", str(folder), "--out", str(tmp_path / "runs.sqlite"), "--workers", "2"]
        # Started with SIGINT ignored, as in the background of a shell, Python would not listen to it: the test says that it should.
        return subprocess.Popen(
            [*command, "--tool-cmd", tool_command], stderr=subprocess.PIPE, text=True, preexec_fn=heeding_sigint
        )

    return start


def heeding_sigint() -> None:
    """Run in a child before it becomes another program."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


Start = Callable[[Path], "subprocess.Popen[str]"]


def results(path: Path) -> dict[int, tuple[str, str]]:
    """Verdict and time of every row in the store."""
    try:
        with Store(path) as store:
            return {r.instance.row: (r.outcome.verdict, r.outcome.started) for r in store.results(store.run())}
    except ValueError:  # not made yet
        return {}


def test_a_killed_runner_leaves_no_process_and_goes_on(write_list: WriteList, start: Start, tmp_path: Path) -> None:
    folder, path = write_list("say unsat", "hang_once", "say sat", "late 0.1"), tmp_path / "runs.sqlite"
    runner = start(folder)
    wait_until(lambda: len(results(path)) == 3 and lines(tmp_path / "pids"))
    runner.kill()
    runner.communicate()
    [pids] = lines(tmp_path / "pids")
    wait_until(lambda: not any(map(alive, pids)))
    before = results(path)
    assert set(before) == {0, 2, 3}
    again = start(folder)
    _, said = again.communicate(timeout=60)
    assert again.returncode == 0, said
    assert "3 of 4 instances have their result already" in said
    after = results(path)
    assert {row: after[row] for row in before} == before
    assert {row: verdict for row, (verdict, _) in after.items()} == {0: "unsat", 1: "unsat", 2: "sat", 3: "unsat"}
    assert len(lines(tmp_path / "calls")) == 5  # only row 1 was run twice


def test_kills_at_any_moment_cost_at_most_what_was_in_flight(write_list: WriteList, start: Start, tmp_path: Path) -> None:
    rows, kills, path = 12, 5, tmp_path / "runs.sqlite"
    folder = write_list(*["late 0.05"] * rows)
    seen: dict[int, tuple[str, str]] = {}
    for moment in range(kills):
        runner = start(folder)
        wait_until(lambda: len(results(path)) > len(seen) or runner.poll() is not None)  # noqa: B023
        time.sleep(0.03 * moment)
        runner.kill()
        runner.communicate()
        now_there = results(path)
        assert {row: now_there[row] for row in seen} == seen
        with sqlite3.connect(path) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        file.close()
        seen = now_there
    last = start(folder)
    _, said = last.communicate(timeout=60)
    assert last.returncode == 0, said
    assert Counter(verdict for verdict, _ in results(path).values()) == {"unsat": rows}
    assert len(lines(tmp_path / "calls")) <= rows + 2 * kills


def test_ctrl_c_ends_all_and_says_how_to_go_on(write_list: WriteList, start: Start, tmp_path: Path) -> None:
    folder = write_list("say unsat", "hang")
    runner = start(folder)
    wait_until(lambda: len(results(tmp_path / "runs.sqlite")) == 1 and lines(tmp_path / "pids"))
    os.kill(runner.pid, signal.SIGINT)
    _, said = runner.communicate(timeout=60)
    assert runner.returncode == 130
    assert "1 of 2 instances done; the same command goes on from here" in said
    [pids] = lines(tmp_path / "pids")
    assert not any(map(alive, pids))
    assert "Traceback" not in said
