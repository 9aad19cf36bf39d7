"""The command line as a whole: help, versions, exit codes, one line for an error."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

import certify
from certify.cli import main as entry
from certify.cli.main import COMMANDS, main


def test_no_command_shows_the_help_and_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "verify" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == certify.__version__


def test_an_unknown_command_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["verfiy"])
    assert stop.value.code == 2
    assert "verify" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"certify {command}" in capsys.readouterr().out.split("examples:")[1]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("lower > upper\nin 3 entries"), "certify: error: lower > upper in 3 entries"),
        (FileNotFoundError("x.onnx: no such file"), "certify: error: x.onnx: no such file"),
        (FileNotFoundError(2, "No such file or directory", "x.onnx"), "certify: error: x.onnx: No such file or directory"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(entry, "_run", raising(error))
    assert main(["verify"]) == 2
    assert capsys.readouterr().err.strip() == line


def test_a_fault_of_ours_fails_every_test_and_asks_a_user_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(entry, "_run", raising(RuntimeError("boom")))
    with pytest.raises(AssertionError) as caught:
        main(["verify"])
    assert "internal error: RuntimeError: boom; please report" in str(caught.value)
    assert capsys.readouterr().err == ""


def test_the_traceback_is_shown_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "_run", raising(ValueError("boom")))
    with pytest.raises(ValueError, match="boom"):
        main(["verify", "--debug"])


def test_an_interruption_is_exit_code_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(entry, "_run", raising(KeyboardInterrupt()))
    assert main(["verify"]) == 130
    assert capsys.readouterr().out == ""


def test_a_reader_that_stops_reading_causes_no_complaint() -> None:
    script = "from certify.cli.main import main; import sys; sys.exit(main(['supports']))"
    command = f"{shlex.join([sys.executable, '-c', script])} | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert "Error" not in done.stderr


def raising(error: BaseException):  # type: ignore[no-untyped-def]
    def run(argv: object) -> int:
        raise error

    return run
