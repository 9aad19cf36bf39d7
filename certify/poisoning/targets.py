"""What base models learn: classes or numbers. It decides what a model answers that has nothing to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from certify.poisoning.learner import UNSEEN


class Targets(Protocol):
    """The kind of the targets of a training set."""

    @property
    def outputs(self) -> int:
        """Scores per input."""

    def constant(self, y: np.ndarray) -> str | None:
        """The answer that targets leave no choice about, empty without any targets; None where there is something to learn."""

    def scores(self, constant: str) -> np.ndarray:
        """The scores of a model that always gives this answer, (outputs,)."""

    def moved(self, y: np.ndarray) -> np.ndarray:
        """Other targets of the same kind, all different, to test what depends on them."""


@dataclass(frozen=True)
class Classes:
    """Class numbers from 0 to `outputs` - 1. A model without samples abstains: its scores are NaN."""

    outputs: int

    def constant(self, y: np.ndarray) -> str | None:
        """The only class; None where there are several."""
        return _only(y)

    def scores(self, constant: str) -> np.ndarray:
        """The one class far ahead, or NaN throughout."""
        scores = np.full(self.outputs, UNSEEN if constant else np.nan)
        if constant:
            scores[int(constant)] = 0.0
        return scores

    def moved(self, y: np.ndarray) -> np.ndarray:
        """The next class."""
        return (y + 1) % self.outputs


@dataclass(frozen=True)
class Numbers:
    """Real numbers, as regressors learn them. A model without samples answers `fallback`, which is fixed beforehand."""

    fallback: float = 0.0
    outputs: int = 1

    def constant(self, y: np.ndarray) -> str | None:
        """The only number; None where there are several."""
        return _only(y)

    def scores(self, constant: str) -> np.ndarray:
        """The number itself."""
        return np.array([float(constant) if constant else self.fallback])

    def moved(self, y: np.ndarray) -> np.ndarray:
        """Other numbers, in another order and of another size."""
        return 1.0 - 2.0 * y


def _only(y: np.ndarray) -> str | None:
    """The only value of y as text, empty without any; None where there are several."""
    seen = np.unique(y)
    return None if len(seen) > 1 else "".join(map(str, seen))
