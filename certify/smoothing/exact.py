"""Normal and binomial probabilities in decimal arithmetic of 50 digits, with stated errors: what every float here is checked
against.

Quantiles and confidence bounds are guessed in floating point and then proved with these two functions, so that no accuracy claim
about a library of special functions enters a certificate.
"""

from __future__ import annotations

import math
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from fractions import Fraction

DIGITS = Context(prec=50, Emin=MIN_EMIN, Emax=MAX_EMAX)
CDF_ERROR = Decimal("1e-30")
"""More than the absolute error of the normal distribution function as computed here."""
RELATIVE_ERROR = Decimal("1e-30")
"""More than the relative error of any other value computed here and in `radius`."""

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
# Bernoulli numbers B_2, B_4, ..., B_20, of the Stirling series.
BERNOULLI = tuple(
    Fraction(*ratio)
    for ratio in (
        *((1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66)),
        *((-691, 2730), (7, 6), (-3617, 510), (43867, 798), (-174611, 330)),
    )
)
FEW = 1000
"""Binomial coefficients with fewer factors than this are multiplied out; the Stirling series serves the others."""


def decimal(value: Fraction) -> Decimal:
    """The rational to 50 digits."""
    with localcontext(DIGITS):
        return Decimal(value.numerator) / Decimal(value.denominator)


def float_down(value: Fraction | Decimal) -> float:
    """The greatest float that is not above `value`, which is taken as exact."""
    nearest = float(value)
    return nearest if Fraction(nearest) <= Fraction(value) else math.nextafter(nearest, -math.inf)


def float_up(value: Fraction | Decimal) -> float:
    """The least float that is not below `value`, which is taken as exact."""
    return -float_down(-Fraction(value))


def normal_cdf(z: float | Decimal) -> tuple[Decimal, Decimal]:
    """Lower and upper bound of Phi(z), the standard normal distribution function, `2 CDF_ERROR` apart.

    Phi(z) = 1/2 + phi(z) (z + z^3/3 + z^5/(3*5) + ...), Abramowitz and Stegun 26.2.11: all terms have the sign of z, so nothing
    cancels but the final sum. Beyond 12 the tail, below 2e-33, is left out.
    """
    point = Decimal(z)
    with localcontext(DIGITS):
        value = Decimal("0.5") + _density_times_series(point) if abs(point) <= 12 else Decimal(int(point > 0))
        return value - CDF_ERROR, value + CDF_ERROR


def _density_times_series(z: Decimal) -> Decimal:
    term = total = z
    k = 1
    while abs(term) > abs(total) * Decimal("1e-48"):
        k += 2
        term = term * z * z / k
        total += term
    return total * (-z * z / 2).exp() / (2 * PI).sqrt()


def binomial_tail(k: int, n: int, p: Decimal) -> Decimal:
    """An upper bound of P(X >= k) for X ~ Bin(n, p), at most `RELATIVE_ERROR` above it; 1 where k <= n p.

    Above the mean the terms fall faster than a geometric series, which bounds what the sum leaves out.
    """
    if k > n:
        return Decimal(0)
    with localcontext(DIGITS):
        if k <= n * p:
            return Decimal(1)
        odds = p / (1 - p)
        term = total = _coefficient(n, k) * p**k * (1 - p) ** (n - k)
        for j in range(k, n):
            ratio = (n - j) * odds / (j + 1)
            term *= ratio
            total += term
            if term < total * (1 - ratio) * Decimal("1e-36"):
                total += term * ratio / (1 - ratio)
                break
        return min(Decimal(1), total * (1 + RELATIVE_ERROR / 2))


def _coefficient(n: int, k: int) -> Decimal:
    """n over k, to a relative error below 1e-36 for n up to 10^9."""
    if min(k, n - k) < FEW:
        return +Decimal(math.comb(n, k))
    return (_log_factorial(n) - _log_factorial(k) - _log_factorial(n - k)).exp()


def _log_factorial(n: int) -> Decimal:
    """ln n! for n >= 1000 by Stirling's series; the error is below the first term left out, 854513/138/(22*21*1000^21) < 1e-59."""
    x = Decimal(n)
    series = sum(decimal(b) / (2 * m * (2 * m - 1)) / x ** (2 * m - 1) for m, b in enumerate(BERNOULLI, start=1))
    return x * x.ln() - x + (2 * PI * x).ln() / 2 + series
