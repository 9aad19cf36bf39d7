"""`certify bench`: progress, a table, an exit code, and the engine itself as the tool."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from certify.report.store import Store

Certify = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, model: str, write_property: Callable[..., str]) -> Path:
    """Three questions about relu(x), the last about a network that is not there: unsat, sat, an error."""
    folder = tmp_path / "relu"
    folder.mkdir()
    shutil.copy(model, folder / "net.onnx")
    for name, condition in (("never", "(<= Y_0 -1.0)"), ("often", "(>= Y_0 0.5)")):
        shutil.copy(write_property(condition), folder / f"{name}.vnnlib")
    (folder / "instances.csv").write_text("net.onnx,never.vnnlib,50\nnet.onnx,often.vnnlib,50\nmissing.onnx,often.vnnlib,50\n")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> str:
    return str(tmp_path / "runs.sqlite")


def test_the_engine_runs_a_list(certify: Certify, folder: Path, out: str) -> None:
    code, printed, said = certify("bench", str(folder), "--out", out, "--workers", "1", "--memory", "8")
    assert code == 0
    assert not printed
    with Store(out) as store:
        run = store.run("certify")
        unsat, sat, error = store.results(run)
    assert [unsat.outcome.verdict, sat.outcome.verdict, error.outcome.verdict] == ["unsat", "sat", "error"]
    assert sat.outcome.witness is not None
    assert sat.outcome.witness.startswith("((X_0 ")
    assert unsat.outcome.plan
    assert "missing.onnx" in error.outcome.message
    assert run.settings["workers"] == 1
    assert run.settings["memory"] == 8 * 10**9
    assert run.machine["versions"]["torch"]
    assert "3/3" in said
    header, _, row = [[cell.strip() for cell in line.strip("|").split("|")] for line in said.splitlines() if line.startswith("|")]
    shown = dict(zip(header, row, strict=True))
    assert {name: shown[name] for name in header[:9]} == {
        "benchmark": "relu",
        "instances": "3",
        "solved": "2",
        "sat": "1",
        "unsat": "1",
        "unknown": "0",
        "timed out": "0",
        "errors": "1",
        "wrong": "0",
    }


TELL = "sh -c 'echo unsat > $0' {result} {model} {property}"


def test_a_verdict_that_contradicts_the_expected_one_is_told(certify: Certify, folder: Path, out: str) -> None:
    (folder / "expected.csv").write_text("verdict\nunsat\nsat\nunknown\n")
    code, _, said = certify("bench", str(folder), "--out", out, "--tool-cmd", TELL)
    assert code == 1
    assert "relu 1  unsat, but expected sat" in said
    code, _, said = certify("bench", str(folder), "--out", out, "--tool-cmd", TELL)
    assert code == 1
    assert "3 of 3 instances have their result already" in said
    code, *_ = certify("bench", str(folder), "--out", out, "--tool-cmd", TELL, "--filter", "never", "--expected")
    assert code == 0


def test_what_ended_badly_is_run_again_when_asked(certify: Certify, folder: Path, out: str, tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    tool = f"sh -c 'test -e {mended} && echo unsat > $0' {{result}} {{model}} {{property}}"
    command = ("bench", str(folder), "--out", out, "--tool-cmd", tool, "--every", "2", "--filter", "net.onnx")
    for expected, again in (("error", ()), ("error", ()), ("unsat", ("--again", "unknown", "--again", "error")), ("unsat", ())):
        certify(*command, *again)
        with Store(out) as store:
            assert [result.outcome.verdict for result in store.results(store.run())] == [expected]
        mended.touch()


def test_runs_are_told_apart_by_name(certify: Certify, folder: Path, out: str) -> None:
    for name in ("first", "second"):
        certify("bench", str(folder), "--out", out, "--tool-cmd", TELL, "--name", name, "--every", "2")
    with Store(out) as store:
        assert [len(store.results(store.run(name))) for name in ("first", "second")] == [2, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--filter", "nothing"], "no instance is left to run"), (["--tool-cmd", "sh {model}"], "names no {property}")],
)
def test_what_cannot_be_run_is_refused_in_one_line(
    certify: Certify, folder: Path, out: str, options: list[str], message: str
) -> None:
    code, _, said = certify("bench", str(folder), "--out", out, *options)
    assert code == 2
    assert message in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("options", [["--memory", "0"], ["--timeout", "-1"], ["--workers", "0"], ["--every", "0"]])
def test_limits_have_to_be_positive(
    certify: Certify, folder: Path, out: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        certify("bench", str(folder), "--out", out, *options)
    assert "positive" in capsys.readouterr().err


def test_other_files_are_not_overwritten(certify: Certify, folder: Path) -> None:
    target = folder / "instances.csv"
    before = target.read_text()
    code, _, said = certify("bench", str(folder), "--out", str(target), "--tool-cmd", TELL)
    assert code == 2
    assert "cannot be opened as a file of results" in said
    assert target.read_text() == before
