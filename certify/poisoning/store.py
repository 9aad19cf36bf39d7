"""Where trained models and cast ballots are kept, so that nothing is computed twice and a killed run goes on where it stopped."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from certify.kernels.votes_reference import MISSING

_CHECKSUM = 16


class Store(Protocol):
    """Models as bytes, under keys that name all they depend on: what is there is never trained again, and never goes stale."""

    def get(self, key: str) -> bytes | None:
        """The model of that key, None where there is none."""

    def put(self, key: str, model: bytes) -> None:
        """Keeps a model."""


@dataclass
class MemoryStore:
    """A store that ends with the process."""

    models: dict[str, bytes] = field(default_factory=dict)

    def get(self, key: str) -> bytes | None:
        """The model of that key, None where there is none."""
        return self.models.get(key)

    def put(self, key: str, model: bytes) -> None:
        """Keeps a model."""
        self.models[key] = model


@dataclass(frozen=True)
class FolderStore:
    """A store in a folder, one file per model. A file appears whole or not at all; a damaged one counts as missing.

    Several processes may share it. Models of scikit-learn estimators are pickles: open only folders you trust.
    """

    folder: Path

    def get(self, key: str) -> bytes | None:
        """The model of that key, None where there is none."""
        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        checksum, model = content[:_CHECKSUM], content[_CHECKSUM:]
        return model if checksum == _checksum(model) else None

    def put(self, key: str, model: bytes) -> None:
        """Keeps a model."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".partial-", delete=False) as file:
            file.write(_checksum(model) + model)
        os.replace(file.name, path)

    def _path(self, key: str) -> Path:
        return Path(self.folder) / key[:2] / key


@dataclass(frozen=True)
class VoteFile:
    """Ballots in a memory-mapped file, uint8 (classifiers, inputs), one byte each; a row that is not cast yet holds `MISSING`."""

    ballots: np.memmap

    @staticmethod
    def open(path: Path, classifiers: int, inputs: int) -> VoteFile:
        """Opens the file to write to, or makes it with no ballot cast; a ValueError where it belongs to other inputs or classifiers."""
        if not path.exists():
            partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
            fresh = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(classifiers, inputs))
            fresh[:] = MISSING
            fresh.flush()
            os.replace(partial, path)
        return VoteFile._open(path, "r+", (classifiers, inputs))

    @staticmethod
    def read(path: Path, classifiers: int, inputs: int) -> VoteFile:
        """Opens the file to read; a ValueError where it is not there, or belongs to other inputs or classifiers."""
        return VoteFile._open(path, "r", (classifiers, inputs))

    @staticmethod
    def _open(path: Path, mode: Any, shape: tuple[int, int]) -> VoteFile:
        try:
            ballots = np.lib.format.open_memmap(path, mode=mode)
        except (ValueError, EOFError, FileNotFoundError) as error:
            raise ValueError(f"{path}: not a readable file of ballots ({error}); remove it to vote again") from None
        if ballots.shape != shape or ballots.dtype != np.uint8:
            holds = f"{ballots.dtype} ballots {list(ballots.shape)}"
            raise ValueError(f"{path} holds {holds}, not uint8 {list(shape)}; remove it to vote again")
        return VoteFile(ballots)

    def cast(self, classifier: int, ballots: np.ndarray) -> None:
        """Writes the ballots of one classifier."""
        self.ballots[classifier] = ballots

    def missing(self) -> np.ndarray:
        """The classifiers that have not voted on every input yet."""
        return np.flatnonzero((self.ballots == MISSING).any(axis=1))


def _checksum(model: bytes) -> bytes:
    return blake2b(model, digest_size=_CHECKSUM).digest()
