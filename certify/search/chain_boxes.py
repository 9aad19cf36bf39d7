"""The boxes that a search over a chain's inputs still has to examine: a stack in struct-of-arrays storage."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.kernels.chain import Work


class Stack:
    """Boxes last in, first out; so there are never more than the depth of the search times what is taken at once."""

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

    def push(self, lower: NDArray[np.float64], upper: NDArray[np.float64], like: Work) -> None:
        """Adds boxes that inherit state, root and open clauses from those of `like`."""
        end = self._count + len(lower)
        parts: dict[str, NDArray[Any]] = {"lower": lower, "upper": upper, "state": like.state, "root": like.root, "open": like.open}
        for name, part in parts.items():
            field = self._fields[name]
            if len(field) < end:
                larger = np.empty((max(end, 2 * len(field)), *field.shape[1:]), field.dtype)
                larger[: self._count] = field[: self._count]
                self._fields[name] = field = larger
            field[self._count : end] = part
        self._count = end

    def pop(self, most: int) -> Work:
        """Takes at most so many boxes off the top."""
        first = max(0, self._count - most)
        taken = {name: field[first : self._count].copy() for name, field in self._fields.items()}
        count, inputs = taken["lower"].shape
        self._count = first
        return Work(**taken, axis=np.empty(count, np.int64), point=np.empty((count, inputs)), value=np.empty(count))

    def roots(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Root and open clauses of every box."""
        return self._fields["root"][: self._count], self._fields["open"][: self._count]


def halve(work: Work) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]:
    """Both halves of every box along its axis, as (lower, upper); they share the middle, so that nothing lies between them."""
    rows = np.arange(len(work.axis))
    middle = 0.5 * work.lower[rows, work.axis] + 0.5 * work.upper[rows, work.axis]
    left, right = work.upper.copy(), work.lower.copy()
    left[rows, work.axis] = right[rows, work.axis] = middle
    return (work.lower, left), (right, work.upper)


def select(work: Work, index: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Work:
    """Some of the boxes; views of them for a slice."""
    return Work(**{name: field[index] for name, field in work._asdict().items()})
