"""Arithmetic of arrays of doubles without any error, or with one that is rounded up: what `DoubleDouble` is made of.

TwoSum and TwoProduct: Dekker, Numer. Math. 18, 1971; Ogita, Rump, Oishi, SIAM J. Sci. Comput. 26, 2005.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
UNIT = 2.0**-53
SMALL, TINY = 2.0**-800, 2.0**-900
"""Products below the first may lose digits to underflow, always far less than the second; no error is less than that but zero."""


def product_up(a: Array | float, b: Array) -> Array:
    """The product of numbers that are not negative, rounded up, zero only where one of them is."""
    product = a * b * (1 + 8 * UNIT)
    return np.where((np.asarray(a) > 0) & (b > 0), np.maximum(product, TINY), product)


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded sum, and what rounding took: their sum is a + b."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded product, and what rounding took, exactly unless something under- or overflows."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    return product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


def _halves(a: Array) -> tuple[Array, Array]:
    """The number as a sum of two of 26 bits, whose products are exact."""
    scaled = (2.0**27 + 1) * a
    high = scaled - (scaled - a)
    return high, a - high
