"""Deterministic l_1 certificates from splitting noise (Levine and Feizi, arXiv 2103.10834): no sampling, no error probability.

Every pixel is compared with a threshold that runs through all of M = 2 width * levels values, at an offset of its own but fixed for
all inputs. The M noisy images are classified, all of them. A step of one level in one pixel changes one of the M, so the vote is
certified in l_1 from exact counts. Inputs must be 8-bit levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from certify.smoothing.noise import as_levels
from certify.smoothing.radius import deterministic_l1

OFFSETS = 0x5EED


@dataclass(frozen=True)
class Splitting:
    """The derandomised smoothing distribution: thresholds over a range of `passes` levels, of which `levels` span the input range.

    `passes` (at least 2 * levels) evaluations are made for each input; the noise compares to a standard deviation of
    passes / (levels * sqrt(12)). The offset of each pixel is drawn once from `seed` and is part of the classifier.
    """

    passes: int = 510
    levels: int = 255
    seed: int = OFFSETS

    def __post_init__(self) -> None:
        if self.passes < self.levels:
            raise ValueError(f"splitting noise needs at least as many passes as levels, {self.levels}; got {self.passes}")

    def images(self, x: Tensor) -> Tensor:
        """All noisy images of one input of int16 levels: float32 (passes, *shape).

        Pass t splits pixel i at level s = (v_i + t) mod M + 1/2; the image is (1[x > s] + min(s, 1)) / 2, s in units of the range.
        """
        generator = np.random.Generator(np.random.Philox(self.seed))
        template = torch.from_numpy(generator.integers(0, self.passes, size=tuple(x.shape), dtype=np.int64)).to(x.device)
        offsets = torch.arange(self.passes, device=x.device).reshape(-1, *(1,) * x.ndim)
        split = (template + offsets) % self.passes
        capped = ((split + 0.5) / self.levels).clamp(max=1.0)
        return ((x > split).float() + capped) / 2


@dataclass(frozen=True)
class Vote:
    """`label` is the answer within an l_1 distance below or at `radius`, for inputs on the grid; `counts` are exact."""

    label: int
    radius: float
    counts: tuple[int, ...]


def certify_l1(classify: Callable[[Tensor], Tensor], x: Tensor, classes: int, splitting: Splitting, batch: int = 256) -> list[Vote]:
    """The votes for a batch of inputs (n, *shape), uint8 or k/levels. Ties go to the smaller class."""
    levels = as_levels(x, splitting.levels)
    if levels is None:
        raise ValueError(f"deterministic l_1 certificates need inputs k/{splitting.levels} in [0, 1] or uint8")
    return [_vote(classify, row, classes, splitting, batch) for row in levels]


def _vote(classify: Callable[[Tensor], Tensor], row: Tensor, classes: int, splitting: Splitting, batch: int) -> Vote:
    with torch.no_grad():
        scores = torch.cat([classify(part) for part in splitting.images(row).split(batch)])
    if bool(scores.isnan().any()):
        raise ValueError("the base classifier returned NaN; a vote needs a total function")
    counts = torch.bincount(scores.argmax(dim=1), minlength=classes).tolist()
    return certified_vote(counts, splitting.levels)


def certified_vote(counts: list[int], levels: int) -> Vote:
    """The winner of exact counts and its radius against every other class; ties go to the smaller class."""
    winner = max(range(len(counts)), key=lambda c: (counts[c], -c))
    radii = [deterministic_l1(counts[winner], counts[c], c < winner, levels) for c in range(len(counts)) if c != winner]
    return Vote(winner, min(radii), tuple(counts))
