"""A run in a folder: whatever fails or is killed leaves it as it was, and what is there is whole."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL

import numpy as np
import pytest

from certify.poisoning.run import Inputs, Run, Settings
from certify.poisoning.training import Ensemble
from certify.poisoning.votes import plurality

SETTINGS = Settings(k=4, d=1, classes=(0, 1, 2), learner="ridge")
RANDOM = np.random.default_rng(0)
TRAINING = Inputs(RANDOM.random((40, 6)).astype(np.float32), np.arange(40) % 3)
TEST = Inputs(RANDOM.random((9, 6)).astype(np.float32), np.arange(9) % 3)
OTHER = Inputs(RANDOM.random((7, 6)).astype(np.float32), np.arange(7) % 3)


def no_progress(steps: int) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", SETTINGS, TRAINING)
    run.ensemble().train()
    run.vote(run.ensemble(), TEST, no_progress)
    return run


def content(folder: Path) -> dict[str, str]:
    """Every file that a run reads, by what is in it; folders of votes that nothing names are none."""
    held = Run.open(folder).votes_folder
    files = [path for path in folder.rglob("*") if path.is_file() and ("votes" not in path.parts or held in path.parents)]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def winners(run: Run) -> list[int]:
    return plurality(run.votes(run.ensemble()), run.spread).winners.tolist()


WRONG: dict[str, Callable[[Run], object]] = {
    "inputs of another shape": lambda run: run.vote(run.ensemble(), Inputs(np.zeros((3, 5)), np.zeros(3, int)), no_progress),
    "labels of no class": lambda run: run.vote(run.ensemble(), Inputs(OTHER.X, OTHER.y + 7), no_progress),
    "added samples of another shape": lambda run: run.replace(Inputs(np.zeros((3, 5)), np.zeros(3, int))),
    "added samples of no class": lambda run: run.replace(Inputs(OTHER.X, OTHER.y + 7)),
    "a second run": lambda run: Run.create(run.folder, SETTINGS, OTHER),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_fails_changes_nothing(run: Run, kind: str) -> None:
    before, elected = content(run.folder), winners(run)
    with pytest.raises(ValueError):  # noqa: PT011
        WRONG[kind](run)
    assert content(run.folder) == before
    assert winners(Run.open(run.folder)) == elected


@pytest.mark.parametrize("moment", range(4))
def test_votes_that_stop_anywhere_leave_the_earlier_ones_and_go_on(run: Run, moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before, elected, ballots = content(run.folder), winners(run), Ensemble.scores
    asked: list[int] = []

    def failing(self: Ensemble, X: object, classifiers: list[int]) -> np.ndarray:
        if len(asked) == moment:
            raise RuntimeError("the machine stops here")
        asked.extend(classifiers)
        return ballots(self, X, classifiers)

    with monkeypatch.context() as patch:
        patch.setattr("certify.poisoning.training.BLOCK", 1)
        patch.setattr("certify.poisoning.training._blocks", lambda chosen, size=1: ([int(b)] for b in chosen))
        patch.setattr(Ensemble, "scores", failing)
        with pytest.raises(RuntimeError, match="stops here"):
            run.vote(run.ensemble(), OTHER, no_progress)
    assert content(run.folder) == before
    assert winners(Run.open(run.folder)) == elected
    left: list[int] = []
    run.vote(run.ensemble(), OTHER, left.append)
    assert left[0] == moment
    assert len(winners(Run.open(run.folder))) == len(OTHER.y)


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from certify.poisoning.run import Inputs, Run
step, where = sys.argv[2:]
replace = os.replace

def dying(source, target):
    if Path(target).name == where:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = dying
run = Run.open(Path(sys.argv[1]))
other = Inputs(np.ones((5, 6), np.float32), np.zeros(5, int))
run.vote(run.ensemble(), other, lambda n: None) if step == "vote" else run.replace(other)
"""


@pytest.mark.parametrize(("step", "where"), [("vote", "test.npz"), ("vote", "votes.json"), ("replace", "training.npz")])
def test_a_kill_in_the_last_moment_leaves_the_run_as_it_was(run: Run, step: str, where: str) -> None:
    elected = winners(run)
    done = subprocess.run([sys.executable, "-c", KILLED, str(run.folder), step, where], capture_output=True, text=True, check=False)
    assert done.returncode == -SIGKILL, done.stderr
    assert winners(Run.open(run.folder)) == elected


def test_a_run_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    for settings in (Settings(4, 1, (0, 1), "ridge"), Settings(4, 1, (0, 1, 2), "magic"), Settings(0, 1, (0, 1, 2), "ridge")):
        with pytest.raises(ValueError):  # noqa: PT011
            Run.create(tmp_path / "run", settings, TRAINING)
        assert not (tmp_path / "run").exists()
    Run.create(tmp_path / "run", SETTINGS, TRAINING)


@pytest.mark.parametrize("name", ["run.json", "training.npz", "votes.json", "test.npz", "votes.npy"])
@pytest.mark.parametrize("damage", [b"", b"hello", b"{}", b'{"schema": "certify.poison-run/1"}'])
def test_damaged_files_are_named(run: Run, name: str, damage: bytes) -> None:
    [path] = run.folder.rglob(name)
    path.write_bytes(damage)
    with pytest.raises(ValueError, match=name.split(".")[0]):
        winners(Run.open(run.folder))


def test_only_the_votes_that_hold_are_kept(run: Run) -> None:
    for test in (OTHER, TEST, OTHER):
        run.vote(run.ensemble(), test, no_progress)
    assert [folder.name for folder in (run.folder / "votes").iterdir()] == [Run.open(run.folder).votes_folder.name]
