"""Pieces of input sets on which clauses are still open: arrays whose first axis counts the pieces, and the worklist that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from certify.search.problem import Table
from certify.search.stage import Problem
from certify.specification import Boxes


@dataclass(frozen=True)
class Layout:
    """The clauses of every region, and the atoms of every clause: `clause` is (regions, most), filled up with -1; the atoms of
    clause k are `first[k]` to `first[k + 1]` (exclusive) of the table."""

    clause: NDArray[np.intp]
    first: NDArray[np.intp]

    def pairs(self, pieces: Pieces) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Piece and clause of everything open, ascending in the piece."""
        piece, slot = pieces.open.nonzero()
        return piece, self.clause[pieces.region[piece], slot]

    def atoms(self, clause: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The atoms of some clauses one after the other, and where in them those of each clause begin."""
        count = self.first[clause + 1] - self.first[clause]
        start = np.cumsum(count) - count
        return np.repeat(self.first[clause] - start, count) + np.arange(count.sum()), start


def lay_out(table: Table, open_: NDArray[np.bool_], regions: int) -> Layout:
    """The layout of the open clauses that have atoms: one without any is satisfied by every point of its set."""
    first = np.searchsorted(table.clause, np.arange(table.clauses + 1)).astype(np.intp)
    clauses = np.flatnonzero(open_ & (np.diff(first) > 0))
    region = table.region[first[clauses]]
    order = np.argsort(region, kind="stable")
    clauses, region = clauses[order], region[order]
    slot = np.arange(len(region)) - np.searchsorted(region, region)
    clause = np.full((regions, int(slot.max(initial=-1)) + 1), -1, dtype=np.intp)
    clause[region, slot] = clauses
    return Layout(clause, first)


_FEW = 20


def few_inputs(problem: Problem) -> bool:
    """Whether the input sets are boxes in which few coordinates vary, so that splitting them may decide."""
    if not isinstance(problem.spec.inputs, Boxes):
        return False
    lower, upper = problem.spec.inputs.outward()
    return int((lower < upper).any(axis=0).sum()) <= _FEW


def input_boxes(problem: Problem) -> Boxes:
    """The input sets; a ValueError where they are no boxes."""
    if not isinstance(problem.spec.inputs, Boxes):
        raise ValueError("inputs are split in boxes only; this property is about a ball")
    return problem.spec.inputs


@dataclass(frozen=True)
class Pieces:
    """Boxes lower <= x <= upper, (count, size) each, inside region number `region`.

    `margin` is the least proved margin of the clauses `open` there, a mask over the layout's clauses of the region: (count, most).
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    region: NDArray[np.intp]
    margin: NDArray[np.float64]
    open: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.region)

    @property
    def middle(self) -> NDArray[np.float64]:
        """The middle of each: (count, size)."""
        return self.lower / 2 + self.upper / 2

    def __getitem__(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Pieces:
        return Pieces(*(getattr(self, field.name)[index] for field in fields(self)))


def joined(parts: Sequence[Pieces]) -> Pieces:
    """The pieces of all parts."""
    return Pieces(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Pieces)))


def halve(pieces: Pieces, score: NDArray[np.float64], times: int) -> Pieces:
    """The pieces cut in two so many times, each time at the middle of the coordinate of highest score, (count, size).

    Halves share the cut, so they cover the piece. A coordinate's score halves with its width. Every piece must be `divisible`.
    """
    for _ in range(times):
        rows, axis = np.arange(len(pieces)), np.argmax(np.where(_wide(pieces), score, -1.0), axis=1)
        middle = pieces.middle[rows, axis]
        low, high = pieces.lower.copy(), pieces.upper.copy()
        low[rows, axis], high[rows, axis] = middle, middle
        score = score.copy()
        score[rows, axis] /= 2
        pieces = joined([replace(pieces, upper=high), replace(pieces, lower=low)])
        score = np.concatenate([score, score])
    return pieces


def volume(new: Pieces, old: Pieces) -> NDArray[np.float64]:
    """The volume of pieces as a share of the volume of the pieces that they are a part of, one by one: (count,)."""
    before, after = old.upper - old.lower, new.upper - new.lower
    return np.asarray(np.prod(np.divide(after, before, out=np.ones_like(before), where=before > 0), axis=1))


def divisible(pieces: Pieces) -> NDArray[np.bool_]:
    """The pieces that have a number strictly between the ends of some coordinate: (count,)."""
    return np.asarray(_wide(pieces).any(axis=1))


def _wide(pieces: Pieces) -> NDArray[np.bool_]:
    middle = pieces.middle
    return (pieces.lower < middle) & (middle < pieces.upper)


class Worklist:
    """Pieces that wait, in arrays that grow: the ones of least margin come out first, unless there are too many of them.

    Beyond `most` pieces those nearest to being closed come out first, so that the list stops growing.
    """

    def __init__(self, pieces: Pieces, most: int) -> None:
        self._store, self._count, self._most = pieces, len(pieces), most

    def __len__(self) -> int:
        return self._count

    def waiting(self) -> Pieces:
        """The pieces as they lie, in no particular order."""
        return self._store[: self._count]

    def push(self, pieces: Pieces) -> None:
        """Adds pieces."""
        needed = self._count + len(pieces)
        if needed > len(self._store):
            spare = np.zeros(max(needed, 2 * self._count) - self._count, dtype=np.intp)
            self._store = joined([self.waiting(), pieces[spare]]) if len(pieces) else self.waiting()
        for field in fields(pieces):
            getattr(self._store, field.name)[self._count : needed] = getattr(pieces, field.name)
        self._count = needed

    def pop(self, count: int) -> Pieces:
        """Takes out at most so many pieces."""
        margin = self._store.margin[: self._count]
        count = min(count, self._count)
        key = margin if self._count <= self._most else -margin
        chosen = np.sort(np.argpartition(key, count - 1)[:count])
        taken = self._store[chosen]
        # The last pieces of the list move into the holes.
        left = self._count - count
        holes, movers = chosen[chosen < left], np.setdiff1d(np.arange(left, self._count), chosen, assume_unique=True)
        for field in fields(taken):
            values = getattr(self._store, field.name)
            values[holes] = values[movers]
        self._count = left
        return taken
