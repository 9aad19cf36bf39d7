"""Draws noisy copies of inputs, classifies them, and counts: a fixed number for each input (`tally`), or until a rule decides
(`decide`).

The network always sees batches of the same size, the last one padded, so that it is one fixed function. What a sample is depends on
its address alone (seed, stage, index of the input, number of the sample), not on the batch it is drawn in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import compress, islice

import numpy as np
import torch
from torch import Tensor

from certify.smoothing.answers import BaseClassifier, Classify
from certify.smoothing.noise import Noise, Streams
from certify.smoothing.sequential import Rule


class Stage(IntEnum):
    """What samples are drawn for. No two purposes share a stream; part j of a dual classifier adds PARTS * j."""

    SELECT = 0
    ESTIMATE = 1
    PREDICT = 2
    DECIDE = 3


PARTS = 16
BLOCK = 1 << 22
"""Numbers of noise to draw at a time, where that is more than a batch: 16 MB."""
FIRST_SHARE = 16
"""Places in a batch for each input under test."""


@dataclass(frozen=True)
class Sampler:
    """A base classifier under noise. `classify` maps float32 (batch, *shape) to scores (batch, classes), whose largest is the
    label, or to labels; see `answers` for what is refused.

    NaN among the scores is a ValueError. `part` tells the streams of a dual classifier's parts from each other.
    """

    classify: Classify
    classes: int
    noise: Noise
    seed: int = 0
    batch: int = 256
    part: int = 0
    base: BaseClassifier = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"a batch holds at least one row, got {self.batch}")
        object.__setattr__(self, "base", BaseClassifier(self.classify, self.classes))

    def labels(self, encoded: Tensor, index: Tensor, owner: Tensor, sample: Tensor, stage: Stage) -> Tensor:
        """Labels of noisy copies: row r is sample[r] of the input encoded[owner[r]]. int64 (rows,), and -1 where a score is NaN."""
        streams = Streams(sample, index[owner], int(stage) + PARTS * self.part, self.seed)
        with torch.no_grad():
            noisy = self.noise.perturb(encoded, owner, streams)
            return torch.cat([self.base.labels(part) for part in noisy.split(self.batch)])


def tally(sampler: Sampler, encoded: Tensor, index: Tensor, stage: Stage, n: int, first: int = 0) -> np.ndarray:
    """Counts of labels, int64 (inputs, classes), over samples first, ..., first + n - 1 of every input.

    Counting stays on the device: there is one synchronisation, at the end. Batches run over the borders between inputs. Noise is
    drawn for a block of batches at a time, which leaves its tables and the network's weights longer in the cache.
    """
    inputs, device = len(encoded), encoded.device
    total, width = inputs * n, sampler.classes + 1
    batch = min(sampler.batch, total)
    padded = -(-total // batch) * batch
    block = batch * max(1, BLOCK // (batch * encoded[0].numel()))
    counts = torch.zeros((inputs + 1) * width, dtype=torch.int64, device=device)
    ramp, ones = (make(min(block, padded), dtype=torch.int64, device=device) for make in (torch.arange, torch.ones))
    for start in range(0, padded, block):
        number = ramp[: padded - start] + start
        owner = torch.div(number, n, rounding_mode="floor")
        real = owner.clamp(max=inputs - 1)  # what pads the last batch is counted in a row of its own
        label = sampler.labels(encoded, index, real, number - owner * n + first, stage)
        counts.index_add_(0, owner.clamp(max=inputs) * width + label + 1, ones[: padded - start])
    found = counts.reshape(inputs + 1, width)[:inputs].cpu().numpy()
    _refuse_nan(int(found[:, 0].sum()))
    return found[:, 1:]


@dataclass(frozen=True)
class Question:
    """Is the smoothed probability of `target` at this input large enough? `key` is handed back with the answer.

    `encoded` holds the input as each part's noise takes it.
    """

    key: int
    encoded: tuple[Tensor, ...]
    index: int
    target: int


@dataclass(frozen=True)
class Answer:
    """`verdict` is 1 (yes), -1 (no) or 0 (undecided when the budget was spent); each part's `hits` in `n` samples decided it.

    `drawn` counts the evaluations of all parts' networks, those after the decision included.
    """

    key: int
    verdict: int
    hits: tuple[int, ...]
    n: int
    drawn: int


@dataclass
class _Progress:
    question: Question
    hits: np.ndarray
    n: int = 0
    verdict: int = 0
    drawn: int = 0

    def move(self, hits: np.ndarray, n: np.ndarray, verdicts: np.ndarray) -> None:
        """Moves on by the samples up to the first at which the rule decides; hits are (parts, samples)."""
        self.drawn += hits.size
        decided = np.flatnonzero(verdicts)
        last = decided[0] if len(decided) else len(n) - 1
        self.hits, self.n, self.verdict = hits[:, last], int(n[last]), int(verdicts[last])

    def answer(self) -> Answer:
        """What was found."""
        return Answer(self.question.key, self.verdict, tuple(map(int, self.hits)), self.n, self.drawn)


def decide(parts: Sequence[Sampler], questions: Iterable[Question], rule: Rule) -> Iterator[Answer]:
    """Answers of sequential tests, in the order in which they are found; a decided input's places go to the next.

    The rule is asked about every single sample in order, so that its answer depends neither on the batch nor on the other inputs.
    """
    waiting, batch = iter(questions), parts[0].batch
    active: list[_Progress] = []
    while True:
        new = islice(waiting, max(1, batch // FIRST_SHARE) - len(active))
        active += [_Progress(question, np.zeros(len(parts), dtype=np.int64)) for question in new]
        if not active:
            return
        shares = [min(batch // len(active), rule.budget - progress.n) for progress in active]
        _advance(parts, active, shares, rule)
        done = [progress.verdict != 0 or progress.n >= rule.budget for progress in active]
        for progress in compress(active, done):
            yield progress.answer()
        active = [progress for progress, decided in zip(active, done, strict=True) if not decided]


def _advance(parts: Sequence[Sampler], active: Sequence[_Progress], shares: Sequence[int], rule: Rule) -> None:
    """Draws each input's share of samples from every part and lets the rule look at all of them, in one call."""
    borders = np.cumsum(shares)[:-1]
    labels = np.stack([_next_labels(sampler, j, active, shares) for j, sampler in enumerate(parts)])
    drawn = list(zip(active, np.split(labels, borders, axis=1), strict=True))
    hits = [progress.hits[:, None] + np.cumsum(found == progress.question.target, axis=1) for progress, found in drawn]
    n = [progress.n + np.arange(1, found.shape[1] + 1) for progress, found in drawn]
    verdicts = np.split(rule.verdicts(np.concatenate(hits, axis=1), np.concatenate(n)), borders)
    for progress, *seen in zip(active, hits, n, verdicts, strict=True):
        progress.move(*seen)


def _next_labels(sampler: Sampler, part: int, active: Sequence[_Progress], shares: Sequence[int]) -> np.ndarray:
    """Labels of the next samples of every active input, in order, from one part."""
    encoded = torch.stack([progress.question.encoded[part] for progress in active])
    device, used = encoded.device, sum(shares)
    owner = np.repeat(np.arange(len(active)), shares)
    sample = np.concatenate([np.arange(p.n, p.n + share) for p, share in zip(active, shares, strict=True)])
    padding = (0, max(0, sampler.batch - used))
    index = torch.tensor([progress.question.index for progress in active], device=device)
    labels = sampler.labels(
        encoded,
        index,
        torch.from_numpy(np.pad(owner, padding)).to(device),
        torch.from_numpy(np.pad(sample, padding)).to(device),
        Stage.DECIDE,
    )
    found = labels[:used].cpu().numpy()
    _refuse_nan(int((found < 0).sum()))
    return found


def _refuse_nan(count: int) -> None:
    if count:
        raise ValueError(
            f"the base classifier returned NaN for {count} noisy samples; a smoothed classifier needs a total function"
        )
