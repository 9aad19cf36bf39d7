"""The boxes that a search over a chain's inputs examines: where they come from, a stack of those to do, and their halves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.kernels.chain import Clauses, Work, fresh_work
from certify.search.problem import Table
from certify.specification import Boxes, Specification

CLAUSES_PER_BOX = 62
"""As many as fit into the bits of an int64."""


class Stack:
    """Boxes in struct-of-arrays storage, last in, first out: never more than the depth of the search times what is taken at once."""

    def __init__(self, inputs: int, neurons: int) -> None:
        self._count = 0
        self._fields: dict[str, NDArray[Any]] = {
            "lower": np.empty((0, inputs)),
            "upper": np.empty((0, inputs)),
            "state": np.empty((0, neurons), np.int8),
            "root": np.empty(0, np.int64),
            "open": np.empty(0, np.int64),
        }

    def __len__(self) -> int:
        return self._count

    @property
    def bytes(self) -> int:
        """Memory that the boxes take."""
        return sum(field.nbytes for field in self._fields.values())

    def push(self, work: Work) -> None:
        """Adds boxes."""
        end = self._count + len(work.root)
        for name, field in self._fields.items():
            if len(field) < end:
                larger = np.empty((max(end, 2 * len(field)), *field.shape[1:]), field.dtype)
                larger[: self._count] = field[: self._count]
                self._fields[name] = field = larger
            field[self._count : end] = getattr(work, name)
        self._count = end

    def pop(self, most: int) -> Work:
        """Takes at most so many boxes off the top."""
        first = max(0, self._count - most)
        taken = {name: field[first : self._count].copy() for name, field in self._fields.items()}
        self._count = first
        return fresh_work(**taken)

    def rest(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Root and open clauses of every box that is left."""
        return self._fields["root"][: self._count], self._fields["open"][: self._count]


def roots(spec: Specification, number: NDArray[np.intp], neurons: int) -> Work:
    """The input sets of the clauses, rounded outward, each with as many of its clauses as a box can carry.

    `number` are the specification's numbers of the clauses, sorted by input set.
    """
    assert isinstance(spec.inputs, Boxes)
    region = np.array([spec.clauses[c].region for c in number], dtype=np.intp)
    first = np.flatnonzero(np.diff(region, prepend=-1))
    ends = np.append(first[1:], len(region))
    root = np.array([i for a, b in zip(first, ends, strict=True) for i in range(a, b, CLAUSES_PER_BOX)], dtype=np.int64)
    size = np.minimum(np.append(root[1:], len(region)) - root, CLAUSES_PER_BOX)
    lower, upper = (end[region[root]] for end in spec.inputs.outward())
    return fresh_work(lower, upper, np.zeros((len(root), neurons), np.int8), root, (np.int64(1) << size) - 1)


def halve(work: Work) -> tuple[Work, Work]:
    """Both halves of every box along its axis; they share the middle, so that nothing lies between them."""
    rows = np.arange(len(work.axis))
    middle = 0.5 * work.lower[rows, work.axis] + 0.5 * work.upper[rows, work.axis]
    left, right = work.upper.copy(), work.lower.copy()
    left[rows, work.axis] = right[rows, work.axis] = middle
    return work._replace(upper=left), work._replace(lower=right)


def select(work: Work, index: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Work:
    """Some of the boxes; views of them for a slice."""
    return Work(**{name: field[index] for name, field in work._asdict().items()})


def pairs_of(root: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.int64]:
    """The clause of every bit that is set, box by box and bit by bit: as often as there are boxes that have it."""
    found = [root[:0]]
    bit = 0
    while (mask >> bit).any():
        found.append(root[(mask >> bit & 1) == 1] + bit)
        bit += 1
    return np.concatenate(found)


def clauses_of(root: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of the clauses whose bits are set in some box, ascending."""
    return np.unique(pairs_of(root, mask))


def sorted_clauses(spec: Specification, table: Table, open_: NDArray[np.bool_]) -> tuple[NDArray[np.intp], Clauses]:
    """The open clauses sorted by input set: their numbers, and their atoms."""
    number = np.flatnonzero(open_)
    number = number[np.argsort([spec.clauses[c].region for c in number], kind="stable")]
    first, last = (np.searchsorted(table.clause, number, side) for side in ("left", "right"))
    atoms = np.concatenate([np.arange(i, j) for i, j in zip(first, last, strict=True)]).astype(np.intp)
    start = np.concatenate([[0], np.cumsum(last - first)]).astype(np.int64)
    return number, Clauses(start, table.direction[atoms].astype(np.int64), table.rhs[atoms])
