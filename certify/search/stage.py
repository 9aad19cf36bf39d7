"""What the stages of a verification share: the problem, what is known so far, and the form of a stage. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from certify.io.witness import Witness
from certify.search.evidence import Discard, Evidence
from certify.search.nearest import Nearest
from certify.search.problem import Table
from certify.specification import Specification

if TYPE_CHECKING:
    import torch

    from certify.model import Model


@dataclass(frozen=True)
class Problem:
    """What is to be decided, and with what. `deadline` is a time.monotonic() value; `memory` are bytes that domains may take.

    `nearest` keeps points that came near a witness.
    """

    model: Model
    spec: Specification
    table: Table
    deadline: float
    device: torch.device | str = "cpu"
    seed: int = 0
    evidence: Evidence = field(default_factory=Discard)
    memory: int = 4 << 30
    nearest: Nearest = field(default_factory=Nearest)

    def remaining(self) -> float:
        """Seconds left."""
        return self.deadline - time.monotonic()


@dataclass(frozen=True)
class Progress:
    """What is known: clauses still open, the margin proved of each (clauses,), a witness, and the log."""

    open: NDArray[np.bool_]
    margin: NDArray[np.float64]
    witness: Witness | None = None
    log: tuple[str, ...] = ()
    seconds: tuple[tuple[str, float], ...] = ()

    @property
    def decided(self) -> bool:
        """Whether nothing is left to do."""
        return self.witness is not None or not self.open.any()

    def noted(self, line: str) -> Progress:
        """The same, with a line more in the log."""
        return replace(self, log=(*self.log, line))


@dataclass(frozen=True)
class Stage:
    """One thing to try on the open clauses."""

    name: str
    run: Callable[[Problem, Progress], Progress]


def count(number: int, noun: str = "clause") -> str:
    """As in "1 clause" and "2 clauses"."""
    return f"{number} {noun}{'s' if number != 1 else ''}"
