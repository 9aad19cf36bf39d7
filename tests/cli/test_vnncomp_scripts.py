"""The competition's three scripts do what its platform expects of them."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "bench" / "vnncomp"


def call(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a script, by default with the environment that runs the tests."""
    variables = {**os.environ, "CERTIFY_VENV": sys.prefix, **environment}
    return subprocess.run([SCRIPTS / script, *map(str, arguments)], env=variables, capture_output=True, text=True, timeout=120)


@pytest.fixture
def stub(tmp_path: Path) -> Callable[[str], str]:
    """Makes a virtual environment whose Python is a shell script, and returns its path."""

    def make(script: str) -> str:
        python = tmp_path / "venv" / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        return str(tmp_path / "venv")

    return make


Stub = Callable[[str], str]


@pytest.mark.parametrize("script", ["install_tool.sh", "prepare_instance.sh", "run_instance.sh"])
def test_other_versions_of_the_interface_are_refused(script: str) -> None:
    assert os.access(SCRIPTS / script, os.X_OK)
    for arguments in ((), ("v2",), ("v2", "c", "m", "p", "r", "1")):
        done = call(script, *arguments)
        assert done.returncode == 2
        assert "usage: " in done.stderr


@pytest.mark.parametrize(("condition", "verdict"), [("(<= Y_0 -1.0)", "unsat"), ("(>= Y_0 0.5)", "sat")])
def test_an_instance_ends_in_a_result_file(
    model: str,
    write_property: Callable[..., str],
    tmp_path: Path,
    condition: str,
    verdict: str,
) -> None:
    result = tmp_path / "result.txt"
    done = call("run_instance.sh", "v1", "category", model, write_property(condition), result, 60)
    assert done.returncode == 0, done.stderr
    first, *witness = result.read_text().splitlines()
    assert first == verdict
    assert bool(witness) == (verdict == "sat")
    assert [path.name for path in tmp_path.glob("result*")] == ["result.txt"]


def test_a_failure_leaves_an_exit_code_and_no_result(tmp_path: Path) -> None:
    done = call("run_instance.sh", "v1", "category", "missing.onnx", "missing.vnnlib", tmp_path / "result", 60)
    assert done.returncode == 2
    assert "missing" in done.stderr
    assert not list(tmp_path.glob("result*"))


def test_the_time_limit_is_kept_whatever_the_engine_does(tmp_path: Path, stub: Stub) -> None:
    started = time.monotonic()
    done = call("run_instance.sh", "v1", "c", "m", "p", tmp_path / "result", "2.0", CERTIFY_VENV=stub("exec sleep 60"))
    assert time.monotonic() - started < 2.0
    assert done.returncode == 0
    assert (tmp_path / "result").read_text() == "timed-out\n"


def test_the_engine_is_given_less_time_than_the_script(tmp_path: Path, stub: Stub) -> None:
    venv = stub('echo unknown; echo "$@" >&2')
    for seconds, allowed in (("116.0", "114.340"), ("1", "0.750")):
        done = call("run_instance.sh", "v1", "c", "m.onnx", "p q.vnnlib", tmp_path / "result", seconds, CERTIFY_VENV=venv)
        assert done.stderr == f"-m certify verify m.onnx p q.vnnlib --timeout {allowed}\n"


def test_a_limit_that_is_no_number_is_refused(tmp_path: Path) -> None:
    done = call("run_instance.sh", "v1", "c", "m", "p", tmp_path / "result", "soon")
    assert done.returncode == 2
    assert "soon is no number of seconds" in done.stderr


def test_preparing_never_fails_for_an_instance_and_never_looks_into_it(tmp_path: Path, stub: Stub) -> None:
    done = call(
        "prepare_instance.sh",
        "v1",
        "category",
        tmp_path / "missing.onnx",
        tmp_path / "p.vnnlib",
        CERTIFY_VENV=stub('echo "$@"; exit 1'),
    )
    assert done.returncode == 0
    assert "could not warm up" in done.stderr
    assert done.stdout.splitlines() == [str(SCRIPTS / "warm.py")]


def test_preparing_without_an_installation_fails(tmp_path: Path) -> None:
    done = call("prepare_instance.sh", "v1", "c", "m", "p", CERTIFY_VENV=str(tmp_path))
    assert done.returncode == 1
    assert "run install_tool.sh v1 first" in done.stderr


def test_warming_up_verifies_what_it_makes() -> None:
    done = subprocess.run([sys.executable, SCRIPTS / "warm.py"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not done.stdout


def test_installing_takes_torch_first_and_then_this_checkout(tmp_path: Path, stub: Stub) -> None:
    log = tmp_path / "log"
    venv = stub(f'echo "$@" >> {shlex.quote(str(log))}')
    python = Path(venv, "bin", "python")
    done = call("install_tool.sh", "v1", CERTIFY_VENV=venv, PYTHON=str(python), TORCH_INDEX="https://example.org/simple")
    assert done.returncode == 0, done.stderr
    made, torch, engine, version = log.read_text().splitlines()
    assert made == f"-m venv {venv}"
    assert torch.endswith("torch --index-url https://example.org/simple")
    assert engine.endswith(f" {SCRIPTS.parents[1]}")
    assert version == "-m certify --version"
