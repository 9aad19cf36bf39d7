"""A poisoning run in a folder: settings, training set, models, votes. What the command line works on, and what makes it
repeatable.

| in the folder | what it is |
|---|---|
| `run.json` | the settings, and the units of the training data |
| `training.npz` | the training set |
| `models/` | trained classifiers by what they are functions of; none is ever changed |
| `votes/NAME/` | a test set and the ballots on it, by what they are functions of |
| `votes.json` | which of these hold: it is written when the last ballot is cast |

Every step prepares all it needs, then replaces one file. Whatever stops it before that leaves the run as it was.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from certify.io.text import read_json
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
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return Inputs(arrays["x"], arrays["y"], arrays["groups"] if "groups" in arrays.files else None)
        except (ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path}: damaged ({error}); {_STEP[path.name]} makes it") from None

    def check_like(self, other: Inputs, what: str) -> None:
        """A ValueError where samples have another shape than others of the same run."""
        if self.X.shape[1:] != other.X.shape[1:]:
            raise ValueError(
                f"{what} of shape {list(self.X.shape[1:])} do not go with training samples of shape {list(other.X.shape[1:])}"
            )


_STEP = {
    "run.json": "`certify poison partition`",
    "training.npz": "`certify poison partition`",
    "test.npz": "`certify poison votes`",
    "votes.npy": "`certify poison votes`",
}


@dataclass(frozen=True)
class Run:
    """The folder of a run and its settings."""

    folder: Path
    settings: Settings

    @staticmethod
    def create(folder: Path, settings: Settings, training: Inputs, units: Mapping[str, Any] | None = None) -> Run:
        """A new run: settings and training set are written, once it is known that they make an ensemble. A ValueError where they do
        not, or where the folder holds another run.
        """
        if (folder / "run.json").exists():
            raise ValueError(f"{folder} holds a run already; choose another folder, or `certify poison update` it")
        run = Run(folder, settings)
        run.ensemble_of(training)
        folder.mkdir(parents=True, exist_ok=True)
        training.save(folder / "training.npz")
        _write_json(folder / "run.json", {"schema": SCHEMA} | asdict(settings) | {"units": units})
        return run

    @staticmethod
    def open(folder: Path) -> Run:
        """The run of a folder; a ValueError where there is none."""
        path = folder / "run.json"
        if not path.is_file():
            raise ValueError(f"{path} is missing; {_STEP[path.name]} comes first")
        found = read_json(path)
        if not isinstance(found, dict) or found.pop("schema", None) != SCHEMA:
            raise ValueError(f"{path} is not a run of this version (schema {SCHEMA})")
        found.pop("units", None)
        try:
            return Run(folder, Settings(**(found | {"classes": tuple(found["classes"])})))
        except (TypeError, KeyError) as error:
            raise ValueError(f"{path} does not hold the settings of a run ({error})") from None

    @property
    def units(self) -> Mapping[str, Any]:
        """The units of the training data and of the test data, as far as they are known."""
        return {"training": read_json(self.folder / "run.json").get("units"), "test": self._ticket.get("units")}

    @cached_property
    def training(self) -> Inputs:
        """The training set."""
        return Inputs.load(self.folder / "training.npz")

    @property
    def test(self) -> Inputs:
        """The inputs that are voted on."""
        return Inputs.load(self.votes_folder / "test.npz")

    @property
    def _ticket(self) -> dict[str, Any]:
        """What `votes.json` says of the votes that hold."""
        path = self.folder / "votes.json"
        if not path.is_file():
            raise ValueError(f"{self.folder} has no votes; `certify poison votes` comes first")
        found = read_json(path)
        if not isinstance(found, dict) or not re.fullmatch("[0-9a-f]{32}", str(found.get("votes"))):
            raise ValueError(f"{path} names no votes of this version; run `certify poison votes` again")
        return found

    @property
    def votes_folder(self) -> Path:
        """Where the votes that hold are kept."""
        return self.folder / "votes" / self._ticket["votes"]

    @cached_property
    def spread(self) -> Spread:
        """Who sees what."""
        return disjoint(self.settings.k) if self.settings.d == 1 else finite(self.settings.k, self.settings.d)

    @property
    def partition(self) -> str:
        """The kind of buckets, as threats know it."""
        return self._partition_of(self.training)

    def _partition_of(self, training: Inputs) -> str:
        return "groups" if training.groups is not None else self.settings.partition

    def ensemble(self, n_jobs: int | None = None) -> Ensemble:
        """The classifiers of the present training set, trained as far as the store has them."""
        return self.ensemble_of(self.training, n_jobs)

    def ensemble_of(self, training: Inputs, n_jobs: int | None = None) -> Ensemble:
        """The classifiers of a training set, trained as far as the store has them; nothing is written."""
        settings = self.settings
        y = self.class_numbers(training.y, "training")
        # Pixel sums are of images as they were stored, always.
        samples = np.rint(training.X * 255) if self._partition_of(training) == "pixel_sum" else training.X
        buckets = partitioner(settings.partition, training.groups)(samples, y, self.spread.units)
        learner = learner_by_name(settings.learner, training.X.shape[1:], len(settings.classes), n_jobs)
        boosted = learner if settings.boost == 1 else BoostedLearner(learner, settings.boost)
        data = TrainingSet(training.X, y, Classes(len(settings.classes)), buckets)
        return Ensemble(boosted, data, self.spread, settings.seed, FolderStore(self.folder / "models"))

    def vote(
        self, ensemble: Ensemble, test: Inputs, progress: Callable[[int], None], units: Mapping[str, Any] | None = None
    ) -> None:
        """Casts all ballots on a test set, which then are the votes of the run; takes up what a killed run left of the same votes.

        Until the last ballot is cast, and where that fails, earlier votes stay the votes of the run.
        """
        test.check_like(self.training, "test inputs")
        self.class_numbers(test.y, "test")
        name = self._votes_name(ensemble, test)
        folder = self.folder / "votes" / name
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "test.npz").is_file():
            test.save(folder / "test.npz")
        ensemble.cast(test.X, VoteFile.open(folder / "votes.npy", self.spread.classifiers, len(test.y)), progress)
        before = [kept for kept in (self.folder / "votes").iterdir() if kept.name != name and self._holds(kept)]
        _write_json(self.folder / "votes.json", {"votes": name, "ensemble": ensemble.keys, "units": units})
        for kept in before:
            shutil.rmtree(kept, ignore_errors=True)

    def _votes_name(self, ensemble: Ensemble, test: Inputs) -> str:
        digest = blake2b(json.dumps(ensemble.keys).encode(), digest_size=16)
        digest.update(b"".join(sample_digests(test.X, test.y)))
        return digest.hexdigest()

    def _holds(self, folder: Path) -> bool:
        """Whether a folder has the votes of the run."""
        try:
            return Run(self.folder, self.settings).votes_folder == folder
        except ValueError:
            return False

    def votes(self, ensemble: Ensemble) -> Votes:
        """The ballots in the folder; a ValueError where they are of another ensemble (the training set has changed since)."""
        if self._ticket.get("ensemble") != ensemble.keys:
            raise ValueError(f"the votes in {self.folder} are of another training set; run `certify poison votes` again")
        if self._votes_name(ensemble, self.test) != self._ticket["votes"]:
            raise ValueError(f"the test set in {self.votes_folder} has changed; run `certify poison votes` again")
        file = VoteFile.read(self.votes_folder / "votes.npy", self.spread.classifiers, len(self.test.y))
        return Votes(np.asarray(file.ballots), len(self.settings.classes), np.arange(self.spread.classifiers))

    def certify(self, votes: Votes, rule: str, threat_name: str) -> Certificate:
        """The certificate of votes on the test set."""
        labels = self.class_numbers(self.test.y, "test")
        return certify_votes(votes, self.spread, threat_name, partition=self.partition, rule=rule, labels=labels)

    def replace(self, training: Inputs, n_jobs: int | None = None) -> int:
        """Takes another training set once its classifiers are trained, and returns how many that were; what it does not change
        stays.
        """
        training.check_like(self.training, "added samples")
        trained = self.ensemble_of(training, n_jobs).train()
        training.save(self.folder / "training.npz")
        return trained

    def class_numbers(self, y: np.ndarray, which: str) -> np.ndarray:
        """Positions of labels among the classes."""
        classes = np.array(self.settings.classes)
        unknown = np.setdiff1d(y, classes)
        if len(unknown):
            raise ValueError(f"{which} labels {unknown.tolist()[:5]} are not among the classes {classes.tolist()[:20]}")
        return np.searchsorted(classes, y).astype(np.int64)


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Writes a JSON file in one step."""
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)
