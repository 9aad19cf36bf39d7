"""Linear atoms over a network's outputs and inputs with exact coefficients, and the float64 rows that proofs bound."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import gcd, isfinite, lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.specification.exact import round_up

Terms = tuple[tuple[int, Fraction], ...]
"""(index, coefficient) pairs, indices ascending, no coefficient zero."""


@dataclass(frozen=True)
class Atom:
    """sum outputs[i] * y_i + sum inputs[i] * x_i <= rhs, or < rhs where `strict`.

    Terms may be given in any order and more than once: coefficients of one variable are added up, exactly, and those that vanish go.
    `atom` scales it as well.
    """

    outputs: Terms
    inputs: Terms
    rhs: Fraction
    strict: bool = False

    def __post_init__(self) -> None:
        for name in ("outputs", "inputs"):
            object.__setattr__(self, name, _collected(getattr(self, name)))

    @property
    def constant(self) -> bool | None:
        """Whether 0 <= rhs (or 0 < rhs) where the atom speaks of nothing else; None where it has terms."""
        if self.outputs or self.inputs:
            return None
        return self.rhs > 0 if self.strict else self.rhs >= 0

    def holds(self, x: NDArray[Any], y: NDArray[Any]) -> bool:
        """Whether the float points x and y, both flat, satisfy the atom: exact rational arithmetic. Infinite values satisfy none."""
        terms = [(c, float(y[i])) for i, c in self.outputs] + [(c, float(x[i])) for i, c in self.inputs]
        if not all(isfinite(v) for _, v in terms):
            return False
        value = sum((c * Fraction(v) for c, v in terms), Fraction(0))
        return value < self.rhs if self.strict else value <= self.rhs

    def __str__(self) -> str:
        terms = [(c, f"Y_{i}") for i, c in self.outputs] + [(c, f"X_{i}") for i, c in self.inputs]
        left = " + ".join(name if c == 1 else f"{_text(c)} {name}" for c, name in terms) or "0"
        return f"{left.replace('+ -', '- ')} {'<' if self.strict else '<='} {_text(self.rhs)}"


def _collected(terms: Terms) -> Terms:
    """The terms in the order of `Terms`."""
    ascending = all(a[0] < b[0] for a, b in pairwise(terms))
    if ascending and all(coefficient for _, coefficient in terms):
        return terms
    total: dict[int, Fraction] = {}
    for index, coefficient in terms:
        total[index] = total.get(index, Fraction(0)) + coefficient
    return tuple(sorted((index, coefficient) for index, coefficient in total.items() if coefficient))


def atom(outputs: Mapping[int, Fraction], inputs: Mapping[int, Fraction], rhs: Fraction, strict: bool = False) -> Atom:
    """The atom, scaled to coprime integer coefficients: a scaling that loses nothing and makes most of them exact in float64."""
    out, in_ = (tuple(sorted((i, c) for i, c in terms.items() if c)) for terms in (outputs, inputs))
    coefficients = [c for _, c in (*out, *in_)]
    if all(abs(c) == 1 for c in coefficients):
        return Atom(out, in_, rhs, strict)
    factor = Fraction(lcm(*(c.denominator for c in coefficients)), gcd(*(c.numerator for c in coefficients)))
    out, in_ = (tuple((i, c * factor) for i, c in terms) for terms in (out, in_))
    return Atom(out, in_, rhs * factor, strict)


@dataclass(frozen=True)
class Rows:
    """Atoms as float64 rows, one each. Guaranteed: at any point that satisfies atom k,

        outputs[k] @ y + inputs[k] @ x <= rhs[k] + output_slack[k] @ |y| + input_slack[k] @ |x|,

    with < instead of <= where `strict[k]`. `inputs` is None where no atom speaks of the inputs. Slacks are None where every
    coefficient is a float64, which is so for all but many-digit decimals.
    """

    outputs: NDArray[np.float64]
    inputs: NDArray[np.float64] | None
    rhs: NDArray[np.float64]
    strict: NDArray[np.bool_]
    output_slack: NDArray[np.float64] | None
    input_slack: NDArray[np.float64] | None


def rows(atoms: Sequence[Atom], outputs: int, inputs: int) -> Rows:
    """The rows of `atoms` for a network with so many outputs and inputs; a ValueError where their numbers are beyond float64."""
    C, C_slack = _matrix([a.outputs for a in atoms], outputs)
    G, G_slack = _matrix([a.inputs for a in atoms], inputs) if any(a.inputs for a in atoms) else (None, None)
    rhs = np.array([round_up(a.rhs) for a in atoms], dtype=np.float64)
    if np.isposinf(rhs).any():
        raise ValueError("a right-hand side is beyond the range of float64; leave out the condition, which always holds")
    # A right-hand side that was rounded up turns <= into <.
    strict = np.array([a.strict or r != a.rhs for a, r in zip(atoms, rhs.tolist(), strict=True)], dtype=bool)
    return Rows(C, G, rhs, strict, C_slack, G_slack)


def _matrix(terms: Sequence[Terms], columns: int) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Nearest float64 coefficients, and an upper bound of what each is off, or None where all are exact."""
    matrix, slack = np.zeros((len(terms), columns)), np.zeros((len(terms), columns))
    for k, row in enumerate(terms):
        for i, coefficient in row:
            if not 0 <= i < columns:
                raise ValueError(f"a condition speaks of variable {i}, and there are {columns}, counted from 0")
            if abs(coefficient) > sys.float_info.max:
                raise ValueError("the coefficients of a condition differ by more than float64 can say; leave out the smallest")
            matrix[k, i] = float(coefficient)
            slack[k, i] = round_up(abs(coefficient - Fraction(matrix[k, i])))
    return matrix, slack if slack.any() else None


def _text(number: Fraction) -> str:
    value = float(number)
    return f"{value:g}" if Fraction(f"{value:g}") == number else str(value) if Fraction(value) == number else str(number)
