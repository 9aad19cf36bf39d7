"""What an earlier run left in an output file is never taken for the outcome of this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.cli.files import write_whole
from certify.cli.main import main

Certify = Callable[..., tuple[int, str, str]]
Write = Callable[..., str]
PROVED, FOUND = "(>= Y_0 1.5)", "(<= Y_0 Y_1)"
OLD = "unsat\n"


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """A file with an old verdict."""
    path = tmp_path / "witness.txt"
    path.write_text(OLD)
    return path


@pytest.mark.parametrize(("condition", "verdict"), [(PROVED, "unsat"), (FOUND, "sat")])
def test_every_verdict_is_written(
    certify: Certify, model: str, write_property: Write, witness: Path, condition: str, verdict: str
) -> None:
    witness.write_text("sat\n((X_0 1))\n")
    _, out, _ = certify("verify", model, write_property(condition), "--witness", str(witness))
    assert witness.read_text() == out
    assert out.splitlines()[0] == verdict


def test_no_file_that_is_read_is_overwritten(certify: Certify, model: str, write_property: Write) -> None:
    asked = write_property(FOUND)
    for read in (model, asked):
        before = Path(read).read_bytes()
        code, _, error = certify("verify", model, asked, "--witness", read)
        assert code == 2
        assert "would overwrite a file that is read" in error
        assert Path(read).read_bytes() == before


def test_no_time_is_a_verdict_too(model: str, write_property: Write, witness: Path) -> None:
    program = "import sys; from certify.cli.main import run; run()"
    command = ["verify", model, write_property(PROVED), "--timeout", "1/1000", "--witness", str(witness)]
    done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, check=True)
    assert done.stdout == witness.read_text() == "timed-out\n"


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (("MODEL", "missing.vnnlib"), "error"),
        (("missing.onnx", "PROPERTY"), "error"),
        (("MODEL",), "error"),
        (("MODEL", "PROPERTY", "--device", "nowhere"), "error"),
        (("MODEL", "PROPERTY", "--timeout", "soon"), "unknown"),
        (("--nonsense", "MODEL", "PROPERTY"), "unknown"),
    ],
)
def test_a_failure_leaves_no_old_verdict(
    certify: Certify, model: str, write_property: Write, witness: Path, arguments: tuple[str, ...], left: str
) -> None:
    names = {"MODEL": model, "PROPERTY": write_property(PROVED)}
    try:
        code = certify("verify", *(names.get(word, word) for word in arguments), "--witness", str(witness))[0]
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2
    assert witness.read_text().splitlines()[0] == left


def test_an_old_assignment_does_not_stay_beside_a_proof(
    certify: Certify, model: str, write_property: Write, tmp_path: Path
) -> None:
    folder = tmp_path / "assignment"
    for condition, left in ((FOUND, {"X.pb", "Y.pb", "mine.pb"}), (PROVED, {"mine.pb"})):
        certify("verify", model, write_property(condition), "--serialise-assignments", str(folder))
        (folder / "mine.pb").touch()
        assert {path.name for path in folder.iterdir()} == left


def test_a_kill_leaves_no_old_verdict(model: str, write_property: Write, witness: Path) -> None:
    program = (
        "import os, signal, sys, certify.cli.verify as command\n"
        "command._decide = lambda arguments: os.kill(os.getpid(), signal.SIGKILL)\n"
        "command.main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, model, write_property(PROVED), f"--witness={witness}"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert witness.read_text() == "unknown\n"


def test_a_place_that_cannot_be_written_is_refused_before_the_search(
    certify: Certify, model: str, write_property: Write, tmp_path: Path
) -> None:
    for place in (tmp_path, tmp_path / "nowhere" / "w.txt"):
        with pytest.raises(SystemExit) as stop:
            certify("verify", model, write_property(PROVED), "--witness", str(place))
        assert stop.value.code == 2


def test_a_file_that_is_no_result_is_not_thrown_away_by_a_wrong_call(certify: Certify, model: str, write_property: Write) -> None:
    content = Path(model).read_bytes()
    assert certify("verify", write_property(PROVED), "--witness", model)[0] == 2
    assert Path(model).read_bytes() == content


def test_a_witness_may_go_to_a_device(certify: Certify, model: str, write_property: Write) -> None:
    assert certify("verify", model, write_property(FOUND), "--witness", "/dev/null")[0] == 0
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("command", ["accuracy m.onnx --data nowhere.npz --eps 0.1 --json", "poison certify nowhere --json"])
def test_a_record_of_an_earlier_run_does_not_survive_a_failure(command: str, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"schema": "certify.accuracy/1", "results": []}, indent=2))
    assert main([*command.split(), str(path)]) == 2
    assert not path.exists()
    path.write_text("notes of mine")
    assert main([*command.split(), str(path)]) == 2
    assert path.read_text() == "notes of mine"


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs",), blacklist_characters="\r")))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "link").symlink_to(folder / "target")
    write_whole(folder / "link", text)
    assert (folder / "target").read_text(encoding="utf-8") == text
    assert (folder / "link").is_symlink()
    assert {path.name for path in folder.iterdir()} == {"link", "target"}


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_text("a" * 100_000)
    child = os.fork()
    if child == 0:
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            write_whole(path, "a" * 100_000)
        os._exit(0)
    seen = set()
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        seen.add(len(path.read_text()))
    assert seen == {100_000}
