"""Trains the base classifiers of an ensemble: each one from its own buckets and its own seed, and each one only once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np

from certify.kernels.votes_reference import ABSTAIN
from certify.poisoning.learner import Job, Learner
from certify.poisoning.partition import Buckets, sample_digests
from certify.poisoning.spread import Spread
from certify.poisoning.store import Store, VoteFile
from certify.poisoning.targets import Targets
from certify.poisoning.votes import Votes, places_of

BLOCK = 64
"""Classifiers asked at a time."""
_CONSTANT = b"constant:"


@dataclass(frozen=True)
class TrainingSet:
    """Samples X, their targets y with the kind of these, and the buckets they fall into."""

    X: Any
    y: np.ndarray
    targets: Targets
    buckets: Buckets

    @cached_property
    def digests(self) -> list[bytes]:
        """A digest of every sample with its label."""
        return sample_digests(self.X, self.y)

    def digest(self) -> str:
        """A digest of the whole set, whatever the order of its samples."""
        return blake2b(b"".join(sorted(self.digests)), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Ensemble:
    """Base classifiers of a spread, trained or to be trained: all that decides them, and the store that keeps them."""

    learner: Learner
    data: TrainingSet
    spread: Spread
    seed: int
    store: Store

    def job(self, classifier: int) -> Job:
        """What a classifier is trained on."""
        buckets = tuple((int(u), self.data.buckets[u]) for u in self.spread.seen[classifier])
        return Job(classifier, seed_of(self.seed, classifier), buckets)

    @cached_property
    def keys(self) -> list[str]:
        """Names of the models in the store: a digest of learner, seed, outputs and samples."""
        spec = json.dumps([self.learner.spec(), self.data.targets.outputs], sort_keys=True).encode()
        return [self._key(spec, self.job(b)) for b in range(self.spread.classifiers)]

    def _key(self, spec: bytes, job: Job) -> str:
        content = blake2b(spec, digest_size=16)
        content.update(f"|{job.classifier}|{job.seed}|".encode())
        for _, index in job.buckets:
            content.update(len(index).to_bytes(8, "little") + b"".join(self.data.digests[i] for i in index))
        return content.hexdigest()

    def train(self, classifiers: Iterable[int] | None = None, progress: Callable[[int], None] = lambda steps: None) -> int:
        """Trains what the store lacks of `classifiers` (all by default) and returns how many that were; `progress` counts them
        all.
        """
        wanted = range(self.spread.classifiers) if classifiers is None else list(classifiers)
        absent = [b for b in wanted if self.store.get(self.keys[b]) is None]
        progress(len(wanted) - len(absent))
        for block in _blocks(absent, self.learner.block):
            for b, content in zip(block, fit_block(self, block), strict=True):
                self.store.put(self.keys[b], content)
            progress(len(block))
        return len(absent)

    def scores(self, X: Any, classifiers: Sequence[int]) -> np.ndarray:
        """Scores by trained classifiers, (classifiers, inputs, outputs); NaN throughout where one abstains."""
        contents = [self.store.get(self.keys[b]) for b in classifiers]
        untrained = [b for b, content in zip(classifiers, contents, strict=True) if content is None]
        if untrained:
            raise ValueError(f"{len(untrained)} classifiers are not trained, first {untrained[0]}; train them before they vote")
        scores = np.empty((len(classifiers), len(X), self.data.targets.outputs))
        learned = [j for j, content in enumerate(contents) if content and not content.startswith(_CONSTANT)]
        if learned:
            found = np.asarray(self.learner.scores([self.learner.load(contents[j] or b"") for j in learned], X))
            wanted = (len(learned), len(X), self.data.targets.outputs)
            if found.shape != wanted or found.dtype.kind not in "fiu":
                raise ValueError(
                    f"{type(self.learner).__name__}.scores gives {found.dtype} {list(found.shape)}; it must give numbers "
                    f"{list(wanted)}, (models, inputs, {'classes' if wanted[2] > 1 else '1'})"
                )
            scores[learned] = found
        for j in set(range(len(contents))) - set(learned):
            scores[j] = self.data.targets.scores((contents[j] or b"").removeprefix(_CONSTANT).decode())
        return scores

    def model(self, classifier: int) -> Any:
        """A trained model as the learner made it; None for a classifier that abstains or answers one class everywhere."""
        content = self.store.get(self.keys[classifier])
        if content is None:
            raise ValueError(f"classifier {classifier} is not trained")
        return None if content.startswith(_CONSTANT) else self.learner.load(content)

    def votes(self, X: Any, progress: Callable[[int], None] = lambda steps: None) -> Votes:
        """Ballots of all classifiers on the inputs X."""
        ballots = np.empty((self.spread.classifiers, len(X)), np.uint8)
        for block in _blocks(range(self.spread.classifiers)):
            ballots[block] = ranked(self.scores(X, block))[0]
            progress(len(block))
        return Votes(ballots, self.data.targets.outputs, np.arange(self.spread.classifiers))

    def rankings(self, X: Any, progress: Callable[[int], None] = lambda steps: None) -> Votes:
        """Ballots and the ranking of the classes, one byte per class, by all classifiers on the inputs X."""
        shape = (self.spread.classifiers, len(X))
        ballots, places = np.empty(shape, np.uint8), np.empty((*shape, self.data.targets.outputs), np.uint8)
        for block in _blocks(range(self.spread.classifiers)):
            ballots[block], places[block] = ranked(self.scores(X, block))
            progress(len(block))
        return Votes(ballots, self.data.targets.outputs, np.arange(self.spread.classifiers), places)

    def cast(self, X: Any, file: VoteFile, progress: Callable[[int], None] = lambda steps: None) -> None:
        """Writes the ballots that a file still lacks; a killed run is taken up by calling this again."""
        missing = file.missing()
        progress(self.spread.classifiers - len(missing))
        for block in _blocks(missing):
            for b, ballots in zip(block, ranked(self.scores(X, block))[0], strict=True):
                file.cast(b, ballots)
            progress(len(block))


def seed_of(seed: int, classifier: int) -> int:
    """The seed of one classifier: its own, known beforehand, independent of the data."""
    return int.from_bytes(blake2b(f"{seed},{classifier}".encode(), digest_size=4, person=b"certify-seed").digest(), "little")


def fit_block(ensemble: Ensemble, classifiers: Sequence[int]) -> list[bytes]:
    """Trains the named classifiers and returns their models as bytes.

    Where the targets leave nothing to learn the answer is stored instead of a model, whatever the learner: that cannot fail.
    """
    data, contents = ensemble.data, {}
    for b in classifiers:
        constant = data.targets.constant(data.y[ensemble.job(b).samples])
        if constant is not None:
            contents[b] = _CONSTANT + constant.encode()
    learned = [b for b in classifiers if b not in contents]
    models = ensemble.learner.fit(data.X, data.y, data.targets.outputs, [ensemble.job(b) for b in learned]) if learned else []
    contents |= {b: ensemble.learner.dump(model) for b, model in zip(learned, models, strict=True)}
    return [contents[b] for b in classifiers]


def ranked(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ballots (classifiers, inputs) and places (classifiers, inputs, classes) of scores.

    A row with a NaN abstains: one poisoned bucket must not be able to stop the election.
    """
    silent = np.isnan(scores).any(axis=-1)
    places = places_of(np.where(silent[..., None], 0.0, scores))
    places[silent] = ABSTAIN
    return np.where(silent, ABSTAIN, np.argmin(places, axis=-1)).astype(np.uint8), places


def _blocks(classifiers: Iterable[int], size: int = BLOCK) -> Iterator[list[int]]:
    chosen = [int(b) for b in classifiers]
    for start in range(0, len(chosen), size):
        yield chosen[start : start + size]
