"""Counts what a branch and bound has closed: a clause is excluded by proofs, never because no domain happens to be left."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Tally:
    """Of every clause the domains that there have been without children, and how many of them are closed.

    A clause is excluded where it has had a domain and as many are closed as there are: a domain that is lost keeps its clause open.
    """

    def __init__(self, clauses: int) -> None:
        self.leaves = np.zeros(clauses, dtype=np.int64)
        self.closed = np.zeros(clauses, dtype=np.int64)

    def begin(self, clauses: NDArray[np.integer]) -> None:
        """One more domain of each of the clauses, which may be named more than once."""
        np.add.at(self.leaves, clauses, 1)

    def split(self, clauses: NDArray[np.integer], parts: int = 2) -> None:
        """A domain of each of the clauses is replaced by so many parts."""
        np.add.at(self.leaves, clauses, parts - 1)

    def close(self, clauses: NDArray[np.integer]) -> None:
        """A domain of each of the clauses is proved to hold no point that satisfies it."""
        np.add.at(self.closed, clauses, 1)

    @property
    def excluded(self) -> NDArray[np.bool_]:
        """The clauses that are closed altogether, (clauses,)."""
        return (self.leaves > 0) & (self.closed == self.leaves)
