"""Arrays of real numbers known to about 32 digits, with what is not known about them: for constants computed from stored ones.

A number is high + low, two doubles of which the first is the rounded sum, within `error` of the real one. Sums and products of doubles
are split into such pairs without any error; what the pairs cannot hold is added to the error, which is rounded up. So cancellation shows
as an error that is large against the result, instead of passing unnoticed. Of a few numbers that the pairs do not hold exactly their
fractions are kept beside them, as far as sums, products and quotients lead: those lose nothing, however much cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import add, mul, truediv
from typing import Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from certify.graph.error_free import SMALL, TINY, UNIT, Array, product_up, two_product, two_sum

Objects: TypeAlias = NDArray[Any]
FEW, BITS = 2048, 8192
"""Fractions are kept of so many numbers at most, while their numerators and denominators have so many bits at most."""
SMALLEST_NORMAL = 2.0**-1022


@dataclass(frozen=True, eq=False)
class DoubleDouble:
    """Real numbers within `error` of high + low, element by element: float64 arrays of one shape, high = high + low rounded.

    Arithmetic is that of arrays, with any arrays and numbers, which are taken as exact. Not a number, and out of range, is an error
    that is not finite: never `accurate`.
    """

    high: Array
    low: Array
    error: Array
    rational: Objects | None = None
    """The real numbers themselves where the pairs do not hold them exactly, if they are known."""

    __array_ufunc__ = None  # arrays leave arithmetic with these to the methods below

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all three arrays."""
        return self.high.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.high.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.high.size

    @property
    def accurate(self) -> bool:
        """Whether `high` is within two units, 2 * 2^-53, of relative error everywhere: zero only where the real number is.

        Of a fraction it is the nearest double: so close unless it is subnormal, where it has to be the fraction itself.
        """
        if not np.isfinite(self.error).all():
            return False
        if self.rational is None:
            return bool((self.error <= UNIT * np.abs(self.high)).all())
        small = np.abs(self.high) < SMALLEST_NORMAL
        return all(Fraction(float(h)) == r for h, r in zip(self.high[small], self.rational[small], strict=True))

    @property
    def exact(self) -> bool:
        """Whether `high` is the real number everywhere."""
        return not self.low.any() and not self.error.any()

    def moved(self, function: Callable[[Array], Array]) -> DoubleDouble:
        """The elements in other places, by a function of arrays that only moves or repeats them."""
        high, low, error = (np.asarray(function(part)) for part in (self.high, self.low, self.error))
        return DoubleDouble(high, low, error, None if self.rational is None else np.asarray(function(self.rational), dtype=object))

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

    @property
    def fractions(self) -> Objects | None:
        """The real numbers as fractions; None where they are not known exactly, or too many."""
        if self.rational is not None or self.size > FEW or self.error.any() or not np.isfinite(self.high).all():
            return self.rational
        return self._fractions_or_none()

    def _fractions_or_none(self) -> Objects:
        """The real numbers as fractions, None in the places of those that are not known exactly."""
        if self.rational is not None:
            return self.rational
        known = (self.error == 0) & np.isfinite(self.high)
        parts = zip(self.high.flat, self.low.flat, known.flat, strict=True)
        return _objects([Fraction(a) + Fraction(b) if exact else None for a, b, exact in parts], self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        raise TypeError("pairs of doubles become an array only where it is said how: `high` is the rounded one")

    def __getitem__(self, index: Any) -> DoubleDouble:
        return self.moved(lambda part: part[index])

    def __neg__(self) -> DoubleDouble:
        minus = None if self.rational is None else np.asarray(-self.rational, dtype=object)
        return DoubleDouble(np.asarray(-self.high), np.asarray(-self.low), self.error, minus)

    def __add__(self, other: Operand) -> DoubleDouble:
        y = exactly(other)
        return _settled(self._plus(y), add, self, y)

    def _plus(self, y: DoubleDouble) -> DoubleDouble:
        with np.errstate(all="ignore"):
            total, rest = two_sum(self.high, y.high)
            lows, lost = two_sum(self.low, y.low)
            low, also_lost = two_sum(rest, lows)
            return _normal(total, low, self.error + y.error + np.abs(lost) + np.abs(also_lost))

    def __sub__(self, other: Operand) -> DoubleDouble:
        return self + -exactly(other)

    def __rsub__(self, other: Operand) -> DoubleDouble:
        return exactly(other) - self

    def __mul__(self, other: Operand) -> DoubleDouble:
        y = exactly(other)
        return _settled(self._times(y), mul, self, y)

    def _times(self, y: DoubleDouble) -> DoubleDouble:
        with np.errstate(all="ignore"):
            product, rest = two_product(self.high, y.high)
            error = np.where((np.abs(product) < SMALL) & (self.high != 0) & (y.high != 0), TINY, 0.0)
            if self.exact and y.exact:
                return _normal(product, rest, error)
            a, b = self.high * y.low, self.low * y.high
            # Three products and two sums are rounded, the fourth product is left out; |low| <= UNIT |high|.
            crossed = product_up(np.abs(self.high), np.abs(y.low)) + product_up(np.abs(self.low), np.abs(y.high))
            error = error + product_up(4 * UNIT, crossed) + product_up(np.abs(self.low), np.abs(y.low))
            error = error + np.where((a != 0) | (b != 0), 2 * UNIT * np.abs(rest), 0.0)
            error = error + product_up(2 * np.abs(self.high), y.error) + product_up(self.error, 2 * np.abs(y.high) + y.error)
            return _normal(product, rest + (a + b), error)

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Operand) -> DoubleDouble:
        y = exactly(other)
        with np.errstate(all="ignore"):
            quotient = _settled(self._times(y.reciprocal()), truediv, self, y)
            nearest = np.asarray(self.high / y.high)
            return quotient._or_exactly(nearest, self._plus(-y._times(exactly(nearest))))

    def __rtruediv__(self, other: Operand) -> DoubleDouble:
        return exactly(other) / self

    def __pow__(self, exponent: float) -> DoubleDouble:
        """Powers whose exponents are multiples of 1/2."""
        if exponent == -0.5:
            return self.inverse_root()
        if exponent < 0:
            return (self**-exponent).reciprocal()
        root, whole = (self.sqrt(), int(2 * exponent)) if exponent % 1 == 0.5 else (self, int(exponent))
        if exponent % 0.5:
            raise ValueError(f"powers of constants to {exponent} are not known to more than double precision")
        squares = [root]
        while 2 ** len(squares) <= whole:
            squares.append(squares[-1] * squares[-1])
        one = exactly(np.ones(self.shape))
        return reduce(mul, (square for i, square in enumerate(squares) if whole >> i & 1), one)

    def __matmul__(self, other: DoubleDouble) -> DoubleDouble:
        """The product of two matrices, at a cost of the elements of the first that are not zero."""
        order, used = _not_zero_first((self.high != 0) | (self.error != 0))
        values = self.moved(lambda part: np.take_along_axis(part, order, axis=1))
        terms = (values[:, k, None]._times(other[order[:, k]]) for k in range(used))
        total = reduce(DoubleDouble._plus, terms, exactly(np.zeros((self.shape[0], other.shape[1]))))
        return total if used * total.size > 4 * FEW else _settled(total, np.matmul, self, other)

    def sum(self, axis: int | Sequence[int]) -> DoubleDouble:
        """As of arrays."""
        axes = (axis,) if isinstance(axis, int) else tuple(axis)
        kept = [n for i, n in enumerate(self.shape) if i not in axes]
        terms = self.moved(lambda part: np.moveaxis(part, axes, range(len(axes))).reshape(-1, *kept))
        while terms.shape[0] > 1:
            half = terms.shape[0] // 2
            rest = terms[2 * half :]
            summed = terms[:half]._plus(terms[half : 2 * half])
            terms = summed if not rest.shape[0] else joined([summed, rest])
        total = terms[0] if terms.shape[0] else exactly(np.zeros(kept))
        return _settled(total, lambda each: each.sum(axes), self)

    def reciprocal(self) -> DoubleDouble:
        """1 / x by a Newton step; its error is what is left, r = 1 - x y: then 1 / x = y / (1 - r)."""
        with np.errstate(all="ignore"):
            first = exactly(1 / self.high)
            step = ONE._plus(-self._times(first))
            y = first._plus(first._times(step)).within(np.zeros(self.shape))
            left = ONE._plus(-self._times(y)).bound()
            found = y.within(np.where(left <= 0.5, product_up(2 * y.bound(), left), np.inf))
            return _settled(found._or_exactly(first.high, step), lambda x: Fraction(1) / x, self)

    def inverse_root(self) -> DoubleDouble:
        """1 / sqrt(x) by a Newton step; its error is what is left, r = 1 - x y^2: then 1 / sqrt(x) = y / sqrt(1 - r)."""
        with np.errstate(all="ignore"):
            first = exactly(1 / np.sqrt(self.high))
            step = ONE._plus(-self._times(first._times(first)))
            y = first._plus(first._times(step)._times(exactly(0.5))).within(np.zeros(self.shape))
            left = ONE._plus(-self._times(y._times(y))).bound()
            found = y.within(np.where(left <= 0.5, product_up(y.bound(), left), np.inf))
            return found._or_exactly(first.high, step)

    def sqrt(self) -> DoubleDouble:
        """The square root."""
        with np.errstate(all="ignore"):
            nearest = np.sqrt(self.high)
            square = exactly(nearest)._times(exactly(nearest))
            return self._times(self.inverse_root())._or_exactly(nearest, self._plus(-square))

    def _or_exactly(self, nearest: Array, left: DoubleDouble) -> DoubleDouble:
        """The doubles `nearest` where nothing is `left`, the numbers as they are elsewhere."""
        exact = (left.high == 0) & (left.error == 0) & np.isfinite(nearest)
        high, low, error = (np.where(exact, a, b) for a, b in ((nearest, self.high), (0.0, self.low), (0.0, self.error)))
        return DoubleDouble(high, low, error, self.rational)

    def bound(self) -> Array:
        """An upper bound of the absolute values."""
        return np.asarray((np.abs(self.high) + np.abs(self.low) + self.error) * (1 + 8 * UNIT))

    def within(self, error: Array) -> DoubleDouble:
        """High + low with another error."""
        return DoubleDouble(self.high, self.low, error, self.rational)


Operand: TypeAlias = Union[DoubleDouble, NDArray[Any], float]  # noqa: UP007 -- evaluated at run time


def exactly(value: Operand) -> DoubleDouble:
    """Numbers, floating-point of float64 at most or integers, as the real numbers that they are."""
    if isinstance(value, DoubleDouble):
        return value
    array = np.asarray(value)
    high = array.astype(np.float64, copy=False)
    zero = np.broadcast_to(np.float64(0), high.shape)
    if array.dtype.kind in "iu" and bool((np.abs(high) > 2.0**53).any()):
        low = np.array([int(number) - int(near) for number, near in zip(array.flat, high.flat, strict=True)], dtype=np.float64)
        return DoubleDouble(high, low.reshape(high.shape), zero)
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


ONE = exactly(1.0)


def from_fractions(values: Any, shape: Sequence[int] | None = None) -> DoubleDouble:
    """Fractions, in an array of objects or in C order with a shape, as pairs: these are the nearest two doubles, and what is left."""
    numbers = np.asarray(values, dtype=object) if shape is None else _objects(values, shape)
    parts = np.array([_split(number) for number in numbers.ravel()], dtype=np.float64).reshape(-1, 3)
    found = _normal(*(parts[:, i].reshape(numbers.shape) for i in range(3)))
    kept = found.error.any() and numbers.size <= FEW and max(map(_bits, numbers.flat), default=0) <= BITS
    return DoubleDouble(found.high, found.low, found.error, numbers if kept else None)


def from_bounds(low: Sequence[Fraction], high: Sequence[Fraction], shape: Sequence[int]) -> DoubleDouble:
    """Numbers between fractions, in C order: the middles, with half of the widths as errors; nothing is known where low is above high."""
    middles = from_fractions([(a + b) / 2 for a, b in zip(low, high, strict=True)], shape)
    halves = from_fractions([(b - a) / 2 for a, b in zip(low, high, strict=True)], shape)
    error = np.where(halves.high < 0, np.inf, middles.error + product_up(1 + 4 * UNIT, halves.bound()))
    return DoubleDouble(middles.high, middles.low, error)


def _split(number: Fraction) -> tuple[float, float, float]:
    """The nearest double, the double nearest to the rest, and what is left then, rounded up; infinite where that is out of range."""
    try:
        high = float(number)
        low = float(number - Fraction(high))
        left = abs(number - Fraction(high) - Fraction(low))
        return high, low, max(float(left) * (1 + 4 * UNIT), TINY) if left else 0.0
    except OverflowError:
        return 0.0, 0.0, np.inf


def _bits(number: Fraction) -> int:
    return max(number.numerator.bit_length(), number.denominator.bit_length())


def _objects(values: Any, shape: Sequence[int]) -> Objects:
    """An array of the values, which are objects, in C order."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape)


def _settled(found: DoubleDouble, function: Callable[..., Any], *operands: DoubleDouble) -> DoubleDouble:
    """What was found, or where that is not exact, and the operands are fractions, `function` of these."""
    if not found.error.any() or found.size > FEW or any(x.rational is None and x.error.any() for x in operands):
        return found
    fractions = [x.fractions for x in operands]
    if any(x is None for x in fractions):
        return found
    try:
        return from_fractions(function(*fractions))
    except ZeroDivisionError:
        return found


def joined(values: Sequence[DoubleDouble], axis: int = 0) -> DoubleDouble:
    """Arrays of numbers put together along an axis."""
    return _chosen(values, lambda parts: np.concatenate(parts, axis))


def where(condition: Any, x: Operand, y: Operand) -> DoubleDouble:
    """x where the condition holds, else y."""
    return _chosen((exactly(x), exactly(y)), lambda parts: np.where(condition, *parts))


def _chosen(values: Sequence[DoubleDouble], choose: Callable[[Sequence[Any]], NDArray[Any]]) -> DoubleDouble:
    """Elements of several arrays, by a function that moves them; with fractions, if some keep any and all that are chosen are known."""
    high, low, error = (choose([getattr(value, part) for value in values]) for part in ("high", "low", "error"))
    if high.size > FEW or all(value.rational is None for value in values):
        return DoubleDouble(high, low, error)
    fractions = choose([value._fractions_or_none() for value in values])
    return DoubleDouble(high, low, error, None if any(number is None for number in fractions.flat) else fractions)


def _normal(a: Array, b: Array, error: Array) -> DoubleDouble:
    """a + b, of which the second part goes to the error where it is tiny; errors are rounded up, and infinite for what is no number."""
    high, low = two_sum(a, b)
    dropped = np.abs(low) < SMALL
    error = (error + np.where(dropped, np.abs(low), 0.0)) * (1 + 32 * UNIT)
    error = np.where(error > 0, np.maximum(error, TINY), error)
    return DoubleDouble(np.asarray(high), np.where(dropped, 0.0, low), np.where(np.isfinite(high + error), error, np.inf))
