"""A poisoning run in a folder: settings, training set, models, votes. What the command line works on, and what makes it
repeatable.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from certify.poisoning.boosting import BoostedLearner
from certify.poisoning.certificate import Certificate, certify_votes
from certify.poisoning.named_learners import learner_by_name
from certify.poisoning.partition import partitioner, sample_digests
from certify.poisoning.spread import Spread, disjoint, finite
from certify.poisoning.store import FolderStore, VoteFile
from certify.poisoning.targets import Classes
from certify.poisoning.training import Ensemble, TrainingSet
from certify.poisoning.votes import Votes

SCHEMA = "certify.poison-run/1"


@dataclass(frozen=True)
class Settings:
    """All that was fixed before the data were seen; written to `run.json`."""

    k: int
    d: int
    classes: tuple[int, ...]
    learner: str
    partition: str = "content"
    boost: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Inputs:
    """Samples with labels, of training or of a test, as they lie in the folder."""

    X: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None = None

    def save(self, path: Path) -> None:
        """Writes an .npz file in one step."""
        arrays = {"x": self.X, "y": self.y} | ({} if self.groups is None else {"groups": self.groups})
        partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
        np.savez(partial, allow_pickle=False, **arrays)
        os.replace(partial, path)

    @staticmethod
    def load(path: Path) -> Inputs:
        """Reads what `save` wrote, without pickle; a ValueError where there is no such file."""
        if not path.is_file():
            raise ValueError(f"{path} is missing; {_STEP[path.name]} comes first")
        with np.load(path, allow_pickle=False) as arrays:
            return Inputs(arrays["x"], arrays["y"], arrays["groups"] if "groups" in arrays.files else None)


_STEP = {
    "run.json": "`certify poison partition`",
    "training.npz": "`certify poison partition`",
    "test.npz": "`certify poison votes`",
}


@dataclass(frozen=True)
class Run:
    """The folder of a run and its settings."""

    folder: Path
    settings: Settings

    @staticmethod
    def create(folder: Path, settings: Settings, training: Inputs) -> Run:
        """A new run: settings and training set are written. A ValueError where the folder holds another run."""
        if (folder / "run.json").exists():
            raise ValueError(f"{folder} holds a run already; choose another folder, or `certify poison update` it")
        folder.mkdir(parents=True, exist_ok=True)
        run = Run(folder, settings)
        training.save(folder / "training.npz")
        (folder / "run.json").write_text(json.dumps({"schema": SCHEMA} | asdict(settings), indent=2) + "\n")
        return run

    @staticmethod
    def open(folder: Path) -> Run:
        """The run of a folder; a ValueError where there is none."""
        path = folder / "run.json"
        if not path.is_file():
            raise ValueError(f"{path} is missing; {_STEP[path.name]} comes first")
        found = json.loads(path.read_text())
        if found.pop("schema", None) != SCHEMA:
            raise ValueError(f"{path} is not a run of this version (schema {SCHEMA})")
        return Run(folder, Settings(**(found | {"classes": tuple(found["classes"])})))

    @cached_property
    def training(self) -> Inputs:
        """The training set."""
        return Inputs.load(self.folder / "training.npz")

    @cached_property
    def test(self) -> Inputs:
        """The inputs that are voted on."""
        return Inputs.load(self.folder / "test.npz")

    @cached_property
    def spread(self) -> Spread:
        """Who sees what."""
        return disjoint(self.settings.k) if self.settings.d == 1 else finite(self.settings.k, self.settings.d)

    @property
    def partition(self) -> str:
        """The kind of buckets, as threats know it."""
        return "groups" if self.training.groups is not None else self.settings.partition

    def ensemble(self, n_jobs: int | None = None) -> Ensemble:
        """The classifiers of the present training set, trained as far as the store has them."""
        training, settings = self.training, self.settings
        y = self.class_numbers(training.y, "training")
        samples = np.rint(training.X * 255) if self.partition == "pixel_sum" else training.X  # as images were stored, always
        buckets = partitioner(settings.partition, training.groups)(samples, y, self.spread.units)
        learner = learner_by_name(settings.learner, training.X.shape[1:], len(settings.classes), n_jobs)
        boosted = learner if settings.boost == 1 else BoostedLearner(learner, settings.boost)
        data = TrainingSet(training.X, y, Classes(len(settings.classes)), buckets)
        return Ensemble(boosted, data, self.spread, settings.seed, FolderStore(self.folder / "models"))

    def vote(self, ensemble: Ensemble, test: Inputs, progress: Callable[[int], None]) -> None:
        """Takes the test set into the folder and writes all ballots on it; takes up what a killed run left of the same votes."""
        content = {"ensemble": ensemble.keys, "test": sample_digests(test.X, test.y)}
        name = json.dumps(content, default=bytes.hex)
        ticket, file = self.folder / "votes.json", self.folder / "votes.npy"
        if not ticket.exists() or ticket.read_text() != name:
            file.unlink(missing_ok=True)
            test.save(self.folder / "test.npz")
            ticket.write_text(name)
        ensemble.cast(test.X, VoteFile.open(file, self.spread.classifiers, len(test.y)), progress)

    def votes(self, ensemble: Ensemble) -> Votes:
        """The ballots in the folder; a ValueError where they are of another ensemble (the training set has changed since)."""
        ticket = self.folder / "votes.json"
        if not ticket.is_file():
            raise ValueError(f"{self.folder} has no votes; `certify poison votes` comes first")
        if json.loads(ticket.read_text())["ensemble"] != ensemble.keys:
            raise ValueError(f"the votes in {self.folder} are of another training set; run `certify poison votes` again")
        file = VoteFile.open(self.folder / "votes.npy", self.spread.classifiers, len(self.test.y))
        return Votes(np.asarray(file.ballots), len(self.settings.classes), np.arange(self.spread.classifiers))

    def certify(self, votes: Votes, rule: str, threat_name: str) -> Certificate:
        """The certificate of votes on the test set."""
        labels = self.class_numbers(self.test.y, "test")
        return certify_votes(votes, self.spread, threat_name, partition=self.partition, rule=rule, labels=labels)

    def replaced(self, training: Inputs) -> Run:
        """The run with another training set; models that it does not change stay."""
        training.save(self.folder / "training.npz")
        return Run(self.folder, self.settings)

    def class_numbers(self, y: np.ndarray, which: str) -> np.ndarray:
        """Positions of labels among the classes."""
        classes = np.array(self.settings.classes)
        unknown = np.setdiff1d(y, classes)
        if len(unknown):
            raise ValueError(f"{which} labels {unknown.tolist()[:5]} are not among the classes {classes.tolist()[:20]}")
        return np.searchsorted(classes, y).astype(np.int64)
