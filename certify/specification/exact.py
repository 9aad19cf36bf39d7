"""Arrays of exact rational numbers, and their rounding to floating point in a chosen direction.

Property files state bounds as decimals that no float equals. Each number is kept as the nearest float64 and the side of it on which
the exact number lies: that decides every comparison with a float, and every directed rounding, in vectorised arithmetic. What was
written is kept as well, for whoever needs the number itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import inf
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from certify.environment import subnormals_kept

Number = str | Fraction | float
"""An exact number: a decimal literal as it was written, a fraction, or a float."""


@dataclass(frozen=True)
class Rationals:
    """Exact numbers: `nearest` (float64, correctly rounded) and `side` (int8), the sign of exact - nearest.

    `source` holds the literals, fractions or floats themselves (object array), or None where `nearest` is the number.
    """

    nearest: NDArray[np.float64]
    side: NDArray[np.int8]
    source: NDArray[np.object_] | None = None

    @classmethod
    def of(cls, numbers: Sequence[Number]) -> Rationals:
        """A one-dimensional array of the given literals or fractions."""
        with subnormals_kept():
            pairs = [_split(number) for number in numbers]
        nearest = np.fromiter((pair[0] for pair in pairs), np.float64, len(pairs))
        side = np.fromiter((pair[1] for pair in pairs), np.int8, len(pairs))
        source = np.empty(len(pairs), dtype=object)
        source[:] = numbers
        return cls(nearest, side, source)

    @classmethod
    def of_floats(cls, values: Any) -> Rationals:
        """The floats themselves, as exact numbers. A ValueError where one is NaN."""
        nearest = np.asarray(values, dtype=np.float64)
        if np.isnan(nearest).any():
            raise ValueError(f"{int(np.isnan(nearest).sum())} of the numbers are NaN; a set needs numbers")
        return cls(nearest, np.zeros(nearest.shape, np.int8))

    def __getitem__(self, index: Any) -> Rationals:
        return Rationals(self.nearest[index], self.side[index], None if self.source is None else self.source[index])

    def exact(self, index: Any) -> Fraction:
        """The number at one index."""
        return Fraction(self.numbers[index])

    @property
    def numbers(self) -> NDArray[np.object_]:
        """The numbers as they were given (object array)."""
        return self.nearest.astype(object) if self.source is None else self.source

    def exceeds(self, other: Rationals) -> NDArray[np.bool_]:
        """Where self > other, exactly; both of one shape."""
        tied = self.nearest == other.nearest
        result = (self.nearest > other.nearest) | (tied & (self.side > other.side))
        for index in map(tuple, np.argwhere(tied & (self.side == other.side) & (self.side != 0))):
            result[index] = self.exact(index) > other.exact(index)
        return result

    def compare(self, x: Any) -> NDArray[np.int8]:
        """The sign of exact - x, without error, for floats x of at most double precision (broadcast)."""
        x = np.asarray(x, dtype=np.float64)
        # No double lies between the exact number and its nearest double, so only ties need `side`.
        return np.where(self.nearest == x, self.side, np.where(self.nearest > x, 1, -1)).astype(np.int8)

    def down(self, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """The largest float of this precision that is not above the number."""
        rounded = self._round(dtype)
        return np.where(self.compare(rounded) < 0, np.nextafter(rounded, np.asarray(-inf, dtype)), rounded)

    def up(self, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """The smallest float of this precision that is not below the number."""
        rounded = self._round(dtype)
        return np.where(self.compare(rounded) > 0, np.nextafter(rounded, np.asarray(inf, dtype)), rounded)

    def _round(self, dtype: DTypeLike) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            return self.nearest.astype(dtype)


def select(condition: NDArray[np.bool_], first: Rationals, second: Rationals) -> Rationals:
    """`first` where the condition holds, else `second`: numpy's `where`."""
    return Rationals(
        np.where(condition, first.nearest, second.nearest),
        np.where(condition, first.side, second.side),
        np.where(condition, first.numbers, second.numbers),
    )


def _split(number: Number) -> tuple[float, int]:
    """The nearest float64, and the sign of what it leaves over."""
    try:
        nearest = float(number)
    except OverflowError:
        return (inf, -1) if number > 0 else (-inf, 1)  # type: ignore[operator]
    exact: Any = Decimal(number) if isinstance(number, str) else number
    return nearest, (exact > nearest) - (exact < nearest)


def round_down(number: Number) -> float:
    """The largest float64 that is not above the number."""
    with subnormals_kept():
        nearest, side = _split(number)
        return float(np.nextafter(nearest, -inf)) if side < 0 else nearest


def round_up(number: Number) -> float:
    """The smallest float64 that is not below the number."""
    with subnormals_kept():
        nearest, side = _split(number)
        return float(np.nextafter(nearest, inf)) if side > 0 else nearest
