"""Elementary functions of real numbers, enclosed: two fractions around the value, within 2^-160 of it relative to its size.

A number is an interval with rational ends, and sums, products and quotients of those are exact. What is not rational is enclosed by
series whose remainder is bounded, or by the functions of `decimal` that are correctly rounded (exp, ln, sqrt: so their neighbours
enclose the value). For constants that front ends compute; the working precision grows with how large and how small numbers are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import cache

Number = Fraction | int
LARGEST = 4000
"""Exponentials of numbers up to this size have a value; beyond, they are zero or not known."""


@dataclass(frozen=True)
class Interval:
    """A real number between two fractions."""

    low: Fraction
    high: Fraction

    def __add__(self, other: Interval | Number) -> Interval:
        y = interval(other)
        return Interval(self.low + y.low, self.high + y.high)

    def __neg__(self) -> Interval:
        return Interval(-self.high, -self.low)

    def __sub__(self, other: Interval | Number) -> Interval:
        return self + -interval(other)

    def __rsub__(self, other: Number) -> Interval:
        return interval(other) + -self

    def __mul__(self, other: Interval | Number) -> Interval:
        y = interval(other)
        ends = [a * b for a in (self.low, self.high) for b in (y.low, y.high)]
        return Interval(min(ends), max(ends))

    def __truediv__(self, other: Interval | Number) -> Interval:
        y = interval(other)
        if y.low <= 0 <= y.high:
            raise ValueError("a division by zero")
        return self * Interval(1 / y.high, 1 / y.low)

    def __rtruediv__(self, other: Number) -> Interval:
        return interval(other) / self

    __radd__, __rmul__ = __add__, __mul__


def interval(value: Interval | Number) -> Interval:
    """A fraction as an interval without width."""
    return value if isinstance(value, Interval) else Interval(Fraction(value), Fraction(value))


def _rising(function: Callable[[Fraction], Interval]) -> Callable[[Interval], Interval]:
    """A function that rises, enclosed at numbers, on an interval."""
    return lambda x: Interval(function(x.low).low, function(x.high).high)


# --- exp, log, sqrt, by correctly rounded decimals ------------------------------------------------------------------------------


def _digits(x: Fraction) -> int:
    """Decimal digits to compute with: 1 + exp(-|x|) and 1 - exp(|x|) keep 60 of their own, and x itself is kept."""
    small = max(0, x.denominator.bit_length() - x.numerator.bit_length()) if x else 0
    return (
        80
        + int(0.65 * small + 0.9 * float(min(abs(x), Fraction(LARGEST))))
        + (x.numerator.bit_length() + x.denominator.bit_length()) // 16
    )


def _digits_of_log(x: Fraction) -> int:
    """Decimal digits that keep 80 of a logarithm: it is as small as x - 1 near one, and at any other x it is not small."""
    gap = abs(x - 1)
    return 80 + int(0.31 * max(0, gap.denominator.bit_length() - gap.numerator.bit_length()))


def _decimal(function: str, x: Fraction, digits: int) -> Interval:
    """A function of `decimal` between the rounded neighbours of x."""
    down, up = (Context(prec=digits, rounding=rounding, Emin=-(10**9), Emax=10**9) for rounding in ("ROUND_FLOOR", "ROUND_CEILING"))
    low, high = (getattr(context.divide(Decimal(x.numerator), Decimal(x.denominator)), function)(context) for context in (down, up))
    return Interval(Fraction(down.next_minus(low)), Fraction(up.next_plus(high)))


def _exp(x: Fraction) -> Interval:
    if x > LARGEST:
        raise ValueError("an exponential out of the range of double precision")
    if x < -LARGEST:
        return Interval(Fraction(0), Fraction(1, 2**LARGEST))
    return _decimal("exp", x, _digits(x)) if x else interval(1)


def _log(x: Fraction) -> Interval:
    if x <= 0:
        raise ValueError("a logarithm of a number that is not positive")
    return interval(0) if x == 1 else _decimal("ln", x, _digits_of_log(x))


def _sqrt(x: Fraction) -> Interval:
    if x < 0:
        raise ValueError("a square root of a negative number")
    return interval(0) if x == 0 else _decimal("sqrt", x, _digits(x))


exp, log, sqrt = _rising(_exp), _rising(_log), _rising(_sqrt)


# --- series, in multiples of 2^-bits ---------------------------------------------------------------------------------------------


def _series(first: Fraction, ratio: Callable[[int], Fraction], bits: int, weight: Callable[[int], int] = lambda k: 1) -> Interval:
    """The sum of t_k / weight(k) with t_0 = first, t_k+1 = -t_k ratio(k), for ratios that fall and weights of one and more.

    Each term is cut to a multiple of 2^-bits, so that it errs by less than that and by what its predecessor erred, times the ratio.
    Once ratios are below 1/2 the rest is at most twice its first term.
    """
    unit = Fraction(1, 2**bits)
    total, term, error, lost, k = Fraction(0), first, Fraction(0), Fraction(0), 0
    while abs(term) + error > 16 * unit or ratio(k) > Fraction(1, 2):
        total, lost = total + _cut(term / weight(k), bits), lost + error + unit
        term, error = -_cut(term * ratio(k), bits), _cut(error * ratio(k), bits) + 2 * unit
        k += 1
    rest = lost + 2 * (abs(term) + error)
    return Interval(total - rest, total + rest)


def _cut(x: Fraction, bits: int) -> Fraction:
    """The largest multiple of 2^-bits up to x."""
    return Fraction((x.numerator << bits) // x.denominator, 1 << bits)


def _bits(x: Fraction, more: int = 0) -> int:
    """Bits behind the point that leave 200 of them to a result of the size of x, rounded up so that few different numbers occur."""
    return -(-(260 + more + 2 * max(0, x.denominator.bit_length() - x.numerator.bit_length())) // 256) * 256


@cache
def pi(bits: int) -> Interval:
    """16 atan(1/5) - 4 atan(1/239) (Machin)."""
    fifth, other = _atan_series(Fraction(1, 5), bits), _atan_series(Fraction(1, 239), bits)
    return 16 * fifth - 4 * other


def _atan_series(x: Fraction, bits: int) -> Interval:
    return _series(x, lambda k: x * x, bits, lambda k: 2 * k + 1)


def _atan(x: Fraction) -> Interval:
    """8 atan(t), t after three steps x -> x / (1 + sqrt(1 + x^2)); atan never moves faster than its argument."""
    t, bits = interval(x), _bits(x)
    for _ in range(3):
        t = t / (1 + sqrt(1 + t * t))
    near, slack = _cut(t.low, bits), t.high - t.low + Fraction(1, 2**bits)
    return 8 * (_atan_series(near, bits) + Interval(-slack, slack)) if x else interval(0)


def _wave(shift: int) -> Callable[[Interval], Interval]:
    """sin(x + shift * pi / 2), by a series at the middle of x less a multiple of pi / 2: it never moves faster than x."""

    def wave(x: Interval) -> Interval:
        middle = (x.low + x.high) / 2
        bits = _bits(middle, more=abs(middle.__floor__()).bit_length())
        turns = round(middle / (pi(bits).low / 2))
        reduced = middle - turns * pi(bits) * Fraction(1, 2)
        near = _cut(reduced.low, bits) if turns or x.low != x.high else middle
        slack = max(abs(reduced.low - near), abs(reduced.high - near)) + (x.high - x.low) / 2
        return _sine(near, (turns + shift) % 4, bits) + Interval(-slack, slack)

    return wave


def _sine(x: Fraction, quarter: int, bits: int) -> Interval:
    """sin(x + quarter * pi / 2) at |x| < 1."""
    first, k0 = (x, 1) if quarter % 2 == 0 else (Fraction(1), 0)
    size = _series(first, lambda k: x * x / ((2 * k + 1 + k0) * (2 * k + 2 + k0)), bits) if x else interval(first)
    return -size if quarter >= 2 else size


def _erf(x: Fraction) -> Interval:
    """2 / sqrt(pi) sum (-1)^k x^(2 k + 1) / (k! (2 k + 1)); beyond 12 it is within exp(-x^2) of 1. Terms grow up to exp(x^2)."""
    if abs(x) > 12:
        return Interval(1 - Fraction(1, 2**200), Fraction(1)) if x > 0 else -_erf(-x)
    bits = _bits(x, more=3 * int(x * x + 1))
    total = _series(x, lambda k: x * x / (k + 1), bits, lambda k: 2 * k + 1)
    return 2 * total / sqrt(pi(bits)) if x else interval(0)


sin, cos, atan, erf = _wave(0), _wave(1), _rising(_atan), _rising(_erf)


# --- functions made of these -----------------------------------------------------------------------------------------------------


def _sigmoid(x: Fraction) -> Interval:
    part = _exp(-abs(x))
    return 1 / (1 + part) if x >= 0 else part / (1 + part)


def _tanh(x: Fraction) -> Interval:
    part = _exp(-2 * abs(x))
    size = (1 - part) / (1 + part)
    return size if x >= 0 else -size


def _softplus(x: Fraction) -> Interval:
    return max(x, Fraction(0)) + log(1 + _exp(-abs(x)))


sigmoid, tanh, softplus = _rising(_sigmoid), _rising(_tanh), _rising(_softplus)


def power(x: Interval, exponent: Interval) -> Interval:
    """x^exponent, for x that are not negative."""
    return interval(0) if x.low == x.high == 0 and exponent.low > 0 else exp(exponent * log(x))


def mish(x: Interval) -> Interval:
    """x tanh(log(1 + exp(x)))."""
    return x * tanh(softplus(x))


def gelu(x: Interval) -> Interval:
    """x (1 + erf(x / sqrt(2))) / 2."""
    return x * (1 + erf(x / sqrt(interval(2)))) * Fraction(1, 2)


def gelu_tanh(x: Interval, cubic: float = 0.044715) -> Interval:
    """x (1 + tanh(sqrt(2 / pi) (x + cubic x^3))) / 2."""
    inner = sqrt(2 / pi(512)) * (x + Fraction(cubic) * (x * x * x))
    return x * (1 + tanh(inner)) * Fraction(1, 2)
