"""Arrays of real numbers known to about 32 digits, with what is not known about them: for constants computed from stored ones.

A number is high + low, two doubles of which the first is the rounded sum, within `error` of the real one. Sums and products of doubles
are split into such pairs without any error (TwoSum, TwoProduct: Dekker, Numer. Math. 18, 1971; Ogita, Rump, Oishi, SIAM J. Sci. Comput.
26, 2005); what the pairs cannot hold is added to the error, which is rounded up. So cancellation shows as an error that is large against
the result, instead of passing unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
UNIT = 2.0**-53
SMALL, TINY = 2.0**-800, 2.0**-900
"""Products below the first may lose digits to underflow, always far less than the second; no error is less than that but zero."""


@dataclass(frozen=True, eq=False)
class DoubleDouble:
    """Real numbers within `error` of high + low, element by element: float64 arrays of one shape, high = high + low rounded.

    Arithmetic is that of arrays, with any arrays and numbers, which are taken as exact. Not a number, and out of range, is an error
    that is not finite: never `accurate`.
    """

    high: Array
    low: Array
    error: Array

    __array_ufunc__ = None  # arrays leave arithmetic with these to the methods below

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all three arrays."""
        return self.high.shape

    @property
    def accurate(self) -> bool:
        """Whether `high` is within two units, 2 * 2^-53, of relative error everywhere: zero only where the real number is."""
        return bool((np.isfinite(self.error) & (self.error <= UNIT * np.abs(self.high))).all())

    @property
    def exact(self) -> bool:
        """Whether `high` is the real number everywhere."""
        return not self.low.any() and not self.error.any()

    def moved(self, function: Callable[[Array], Array]) -> DoubleDouble:
        """The elements in other places, by a function of arrays that only moves or repeats them."""
        return DoubleDouble(*(np.asarray(function(part)) for part in (self.high, self.low, self.error)))

    @property
    def simplest(self) -> DoubleDouble | Array:
        """The numbers as an array where it is exact, else as they are."""
        return self.high if self.exact else self

    @property
    def T(self) -> DoubleDouble:  # noqa: N802 -- as arrays call it
        """As of arrays."""
        return self.moved(lambda part: part.T)

    def reshape(self, *shape: Any) -> DoubleDouble:
        """As of arrays."""
        return self.moved(lambda part: part.reshape(*shape))

    def swapaxes(self, first: int, second: int) -> DoubleDouble:
        """As of arrays."""
        return self.moved(lambda part: part.swapaxes(first, second))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.high, dtype)

    def __getitem__(self, index: Any) -> DoubleDouble:
        return self.moved(lambda part: part[index])

    def __neg__(self) -> DoubleDouble:
        return DoubleDouble(np.asarray(-self.high), np.asarray(-self.low), self.error)

    def __add__(self, other: Operand) -> DoubleDouble:
        y = exactly(other)
        with np.errstate(all="ignore"):
            total, rest = _two_sum(self.high, y.high)
            lows, lost = _two_sum(self.low, y.low)
            low, also_lost = _two_sum(rest, lows)
            return _normal(total, low, self.error + y.error + np.abs(lost) + np.abs(also_lost))

    def __sub__(self, other: Operand) -> DoubleDouble:
        return self + -exactly(other)

    def __rsub__(self, other: Operand) -> DoubleDouble:
        return exactly(other) - self

    def __mul__(self, other: Operand) -> DoubleDouble:
        y = exactly(other)
        with np.errstate(all="ignore"):
            product, rest = _two_product(self.high, y.high)
            error = np.where((np.abs(product) < SMALL) & (self.high != 0) & (y.high != 0), TINY, 0.0)
            if self.exact and y.exact:
                return _normal(product, rest, error)
            a, b = self.high * y.low, self.low * y.high
            # Three products and two sums are rounded, the fourth product is left out; |low| <= UNIT |high|.
            error = error + _up(4 * UNIT, _up(np.abs(self.high), np.abs(y.low)) + _up(np.abs(self.low), np.abs(y.high)))
            error = error + np.where((a != 0) | (b != 0), 2 * UNIT * np.abs(rest), 0.0) + _up(np.abs(self.low), np.abs(y.low))
            error = error + _up(2 * np.abs(self.high), y.error) + _up(self.error, 2 * np.abs(y.high) + y.error)
            return _normal(product, rest + (a + b), error)

    __radd__, __rmul__ = __add__, __mul__

    def __rtruediv__(self, other: Operand) -> DoubleDouble:
        return self.reciprocal() * other

    def __pow__(self, exponent: float) -> DoubleDouble:
        if exponent != -0.5:
            raise ValueError(f"powers of constants to {exponent} are not known to more than double precision; -0.5 is")
        return self.inverse_root()

    def __matmul__(self, other: DoubleDouble) -> DoubleDouble:
        """The product of two matrices, at a cost of the elements of the first that are not zero."""
        order, used = _not_zero_first((self.high != 0) | (self.error != 0))
        values = self.moved(lambda part: np.take_along_axis(part, order, axis=1))
        terms = (values[:, k, None] * other[order[:, k]] for k in range(used))
        return reduce(lambda total, term: total + term, terms, exactly(np.zeros((self.shape[0], other.shape[1]))))

    def sum(self, axis: int | Sequence[int]) -> DoubleDouble:
        """As of arrays."""
        axes = (axis,) if isinstance(axis, int) else tuple(axis)
        kept = [n for i, n in enumerate(self.shape) if i not in axes]
        terms = self.moved(lambda part: np.moveaxis(part, axes, range(len(axes))).reshape(-1, *kept))
        while terms.shape[0] > 1:
            half = terms.shape[0] // 2
            rest = terms[2 * half :]
            summed = terms[:half] + terms[half : 2 * half]
            terms = summed if not rest.shape[0] else _joined(summed, rest)
        return terms[0] if terms.shape[0] else exactly(np.zeros(kept))

    def reciprocal(self) -> DoubleDouble:
        """1 / x by a Newton step; its error is what is left, r = 1 - x y: then 1 / x = y / (1 - r)."""
        with np.errstate(all="ignore"):
            first = exactly(1 / self.high)
            y = (first + first * (1.0 - self * first)).within(np.zeros(self.shape))
            left = (1.0 - self * y).bound()
            return y.within(np.where(left <= 0.5, _up(2 * y.bound(), left), np.inf))

    def inverse_root(self) -> DoubleDouble:
        """1 / sqrt(x) by a Newton step; its error is what is left, r = 1 - x y^2: then 1 / sqrt(x) = y / sqrt(1 - r)."""
        with np.errstate(all="ignore"):
            first = exactly(1 / np.sqrt(self.high))
            y = (first + first * (1.0 - self * (first * first)) * 0.5).within(np.zeros(self.shape))
            left = (1.0 - self * (y * y)).bound()
            return y.within(np.where(left <= 0.5, _up(y.bound(), left), np.inf))

    def bound(self) -> Array:
        """An upper bound of the absolute values."""
        return np.asarray((np.abs(self.high) + np.abs(self.low) + self.error) * (1 + 8 * UNIT))

    def within(self, error: Array) -> DoubleDouble:
        """High + low with another error."""
        return DoubleDouble(self.high, self.low, error)


Operand: TypeAlias = Union[DoubleDouble, NDArray[Any], float]  # noqa: UP007 -- evaluated at run time


def exactly(value: Operand) -> DoubleDouble:
    """Floating-point numbers, float64 at most, as the real numbers that they are."""
    if isinstance(value, DoubleDouble):
        return value
    high = np.asarray(value).astype(np.float64, copy=False)
    zero = np.broadcast_to(np.float64(0), high.shape)
    return DoubleDouble(high, zero, zero)


def _not_zero_first(used: NDArray[np.bool_]) -> tuple[NDArray[np.intp], int]:
    """For each row the columns of its used elements, and some others behind them, up to the largest number used in a row."""
    rows, columns = np.nonzero(used)
    counts = np.bincount(rows, minlength=len(used))
    most = int(counts.max(initial=0))
    order = np.zeros((len(used), most), dtype=np.intp)
    unused = np.arange(most) >= counts[:, None]
    order[~unused] = columns
    order[unused] = np.argmin(used, axis=1)[np.nonzero(unused)[0]]
    return order, most


def _joined(a: DoubleDouble, b: DoubleDouble) -> DoubleDouble:
    return DoubleDouble(*(np.concatenate(parts) for parts in ((a.high, b.high), (a.low, b.low), (a.error, b.error))))


def _normal(a: Array, b: Array, error: Array) -> DoubleDouble:
    """a + b, of which the second part goes to the error where it is tiny; errors are rounded up, and infinite for what is no number."""
    high, low = _two_sum(a, b)
    dropped = np.abs(low) < SMALL
    error = (error + np.where(dropped, np.abs(low), 0.0)) * (1 + 32 * UNIT)
    error = np.where(error > 0, np.maximum(error, TINY), error)
    return DoubleDouble(np.asarray(high), np.where(dropped, 0.0, low), np.where(np.isfinite(high + error), error, np.inf))


def _up(a: Array | float, b: Array) -> Array:
    """The product of numbers that are not negative, rounded up, zero only where one of them is."""
    product = a * b * (1 + 8 * UNIT)
    return np.where((np.asarray(a) > 0) & (b > 0), np.maximum(product, TINY), product)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded sum, and what rounding took: their sum is a + b."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded product, and what rounding took, exactly unless something under- or overflows."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    return product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


def _halves(a: Array) -> tuple[Array, Array]:
    """The number as a sum of two of 26 bits, whose products are exact."""
    scaled = (2.0**27 + 1) * a
    high = scaled - (scaled - a)
    return high, a - high
