"""Every instance is held to its limits in a process of its own, and ends with all it started."""

from __future__ import annotations

import gzip
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from certify.bench.instances import read_instances
from certify.bench.runner import key, run
from certify.bench.settings import Settings
from certify.bench.tools import Tool, other_tool
from certify.report.store import Result
from tests.bench.conftest import alive, lines, wait_until

WriteList = Callable[..., Path]


@pytest.fixture
def run_all(write_list: WriteList, tool: Tool, settings: Settings) -> Callable[..., list[Result]]:
    """Runs a list of actions and returns the results by row."""

    def run_all(*actions: str, timeout: float = 60, settings: Settings = settings) -> list[Result]:
        results = run(read_instances([write_list(*actions, timeout=timeout)]), tool, settings)
        return sorted(results, key=lambda result: result.instance.row)

    return run_all


RunAll = Callable[..., list[Result]]


def test_each_ends_with_its_own_verdict(run_all: RunAll) -> None:
    results = run_all("say unsat", "say sat/((X_0", "fail", "crash", "say gibberish", "print unsat")
    outcomes = [result.outcome for result in results]
    assert [outcome.verdict for outcome in outcomes] == ["unsat", "sat", "error", "error", "error", "unknown"]
    assert outcomes[1].witness == "((X_0"
    assert "no such layer; exit code 3" in outcomes[2].message
    assert "SIGABRT" in outcomes[3].message
    assert "gibberish" in outcomes[4].message
    assert all(0 < outcome.seconds < 60 and outcome.peak_memory > 10**6 for outcome in outcomes)


def test_what_is_printed_counts_where_no_result_file_is_asked_for(
    write_list: WriteList, tool_command: str, settings: Settings
) -> None:
    tool = other_tool(tool_command.replace("{result}", "unused"))
    [result] = run(read_instances([write_list("print sat")]), tool, settings)
    assert result.outcome.verdict == "sat"


def test_time_is_up_for_the_whole_tree(run_all: RunAll, tmp_path: Path) -> None:
    started = time.monotonic()
    [hanging] = run_all("hang", timeout=1.5)
    assert time.monotonic() - started < 15
    assert hanging.outcome.verdict == "timed-out"
    assert 1.5 < hanging.outcome.seconds < 5
    [pids] = lines(tmp_path / "pids")
    assert not any(map(alive, pids))


def test_an_answer_after_the_limit_does_not_count(run_all: RunAll, settings: Settings) -> None:
    [late] = run_all("late 0.5", timeout=0.5, settings=replace(settings, grace=30.0))
    assert late.outcome.verdict == "timed-out"
    assert late.outcome.message.startswith("answered unsat after 0.")


@pytest.mark.parametrize("action", ["eat", "child_eats"])
def test_memory_is_limited_for_the_whole_tree(run_all: RunAll, settings: Settings, action: str) -> None:
    [result] = run_all(f"{action} 400", settings=replace(settings, memory=2 * 10**8))
    assert result.outcome.verdict == "out-of-memory"
    assert 2e8 < result.outcome.peak_memory < 9e8


def test_the_peak_of_memory_is_measured(run_all: RunAll) -> None:
    little, much = run_all("say unsat", "eat 300")
    assert little.outcome.peak_memory < 1e8 < 3e8 < much.outcome.peak_memory < 5e8
    assert much.outcome.verdict == "unsat"


def test_children_left_behind_are_ended(run_all: RunAll, tmp_path: Path) -> None:
    [result] = run_all("leave_child")
    assert result.outcome.verdict == "unsat"
    [[child]] = lines(tmp_path / "pids")
    assert not alive(child)


def test_packed_files_are_unpacked_for_other_tools(write_list: WriteList, tool: Tool, settings: Settings) -> None:
    folder = write_list("say_files", timeout=7.5)
    for name in ("net.onnx", "0.vnnlib"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    [result] = run(read_instances([folder]), tool, settings)
    assert result.outcome.witness == "weights\nnet.onnx,0.vnnlib\n7.5"
    (folder / "net.onnx.gz").write_bytes(b"not gzip")
    [broken] = run(read_instances([folder]), tool, settings)
    assert broken.outcome.verdict == "error"
    assert "could not be started: Not a gzipped file" in broken.outcome.message


def test_what_cannot_be_run_is_an_error_among_the_others(write_list: WriteList, tool: Tool, settings: Settings) -> None:
    folder = write_list("say unsat", "say unsat", "say unsat")
    (folder / "1.vnnlib").unlink()
    results = {result.instance.row: result.outcome for result in run(read_instances([folder]), tool, settings)}
    assert [results[row].verdict for row in range(3)] == ["unsat", "error", "unsat"]
    assert "1.vnnlib" in results[1].message


def test_threads_are_shared_among_workers(run_all: RunAll, settings: Settings) -> None:
    [result] = run_all("say_threads", settings=replace(settings, threads=3))
    assert result.outcome.witness == "3"


def test_an_instance_killed_from_outside_is_tried_once_more(run_all: RunAll, tmp_path: Path) -> None:
    [result] = run_all("die")
    assert result.outcome.verdict == "error"
    assert "killed from outside, twice" in result.outcome.message
    assert len(lines(tmp_path / "calls")) == 2


@pytest.mark.parametrize("victim", ["tool", "worker"])
def test_a_kill_of_a_worker_or_its_tool_loses_nothing(
    write_list: WriteList, tool: Tool, settings: Settings, tmp_path: Path, victim: str
) -> None:
    instances = read_instances([write_list("say unsat", "hang_once", "say sat")])
    verdicts = {}
    with closing(run(instances, tool, settings)) as results:
        for number, result in enumerate(results):
            verdicts[result.instance.row] = result.outcome.verdict
            if number == 1:  # the others are done, and row 1 hangs with its child
                wait_until(lambda: lines(tmp_path / "pids"))
                [[process, child]] = lines(tmp_path / "pids")
                [worker] = {parent for pid, parent in lines(tmp_path / "calls") if pid == process}
                os.kill(worker if victim == "worker" else process, signal.SIGKILL)
    assert verdicts == {0: "unsat", 1: "unsat", 2: "sat"}
    assert not alive(process)
    assert not alive(child)


def test_leaving_early_ends_what_runs(write_list: WriteList, tool: Tool, settings: Settings, tmp_path: Path) -> None:
    with closing(run(read_instances([write_list("say unsat", "hang")]), tool, settings)) as results:
        assert next(results).instance.row == 0
        wait_until(lambda: lines(tmp_path / "pids"))
    [pids] = lines(tmp_path / "pids")
    assert not any(map(alive, pids))


def test_the_key_changes_with_all_that_matters(write_list: WriteList, tool: Tool, settings: Settings) -> None:
    [instance] = read_instances([write_list("say unsat")])
    keys = [
        key(instance, tool, settings),
        key(replace(instance, model_hash="x"), tool, settings),
        key(replace(instance, property_hash="x"), tool, settings),
        key(replace(instance, timeout=61.0), tool, settings),
        key(instance, replace(tool, version="x"), settings),
        key(instance, replace(tool, command=("x",)), settings),
        *(key(instance, tool, replace(settings, **{name: 3})) for name in ("memory", "workers", "threads", "timeout", "grace")),
    ]
    assert len(set(keys)) == len(keys)
    assert key(replace(instance, row=5, folder="/elsewhere", expected="sat"), tool, settings) == keys[0]
