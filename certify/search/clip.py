"""Cutting from boxes what linear lower bounds of a clause's atoms exclude (domain clipping, as in arXiv 2512.11087).

All atoms of a clause hold at a point x of the box only if a @ x + b <= 0 for the form (a, b) of each of them. For one form let
s = b + sum_i min(a_i l_i, a_i u_i), its least value over the box. s > 0 excludes the clause. Else coordinate i with a_i > 0 can be
above l_i by no more than -s / a_i, because the others together give at least s - a_i l_i; with a_i < 0 it can be below u_i by as much.

Rounding. Let s' be the sum as computed, of n products and b, and e = gamma (|b| + sum_i |a_i| max(|l_i|, |u_i|)) + tiny with
gamma = 2 (n + 16) eps. The sum of the products in any order is off by at most (n + 1) eps / 2 times the sum of their absolute values
(Higham, Accuracy and Stability, 4.2), or n times half the least subnormal where products underflow, so that s' - e <= s <= s' + e with
room for the rounding of e and of s' - e. The reach (e - s') / |a_i| and its sum with l_i take three roundings to nearest, which the
factor 1 + 4 eps on the reach and one step outward cover; a reach that underflows is raised by tiny. A NaN compares false and cuts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Forms:
    """Linear forms below (left side - right-hand side) of atoms, on the box of the pair (piece, clause) that the atom belongs to.

    slope   (atoms, size) and `offset` (atoms,): where the atom holds, slope @ x + offset <= 0, or < 0 where it is `strict`.
    first   (pairs,): the atoms of pair p begin at first[p]; every pair has at least one.
    """

    slope: NDArray[np.float64]
    offset: NDArray[np.float64]
    strict: NDArray[np.bool_]
    first: NDArray[np.intp]

    @property
    def pair(self) -> NDArray[np.intp]:
        """The pair of every atom."""
        count = np.diff(np.append(self.first, len(self.offset)))
        return np.repeat(np.arange(len(self.first)), count)


@dataclass(frozen=True)
class Clipped:
    """What is left of the box of each pair: all points of it that satisfy the clause lie in lower <= x <= upper, (pairs, size).

    `closed` says that there are none (then the ends mean nothing); `margin` is the largest lower bound of an atom's left side - rhs
    over what was left before the last cut.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    margin: NDArray[np.float64]
    closed: NDArray[np.bool_]


def clip(forms: Forms, lower: NDArray[np.float64], upper: NDArray[np.float64], rounds: int = 3) -> Clipped:
    """Cuts the boxes of the pairs, (pairs, size), by all forms so many times. Guaranteed: no point that satisfies a clause is lost."""
    pair = forms.pair
    margin, closed = np.full(len(forms.first), -np.inf), np.zeros(len(forms.first), dtype=bool)
    for _ in range(rounds):
        least, error = _least(forms, lower[pair], upper[pair])
        with np.errstate(invalid="ignore"):
            bound, slack = least - error, error - least
        excluded = (bound > 0) | (forms.strict & (bound >= 0))
        closed |= np.logical_or.reduceat(excluded, forms.first)
        margin = np.fmax(margin, np.fmax.reduceat(bound, forms.first))
        low, high = _cut(forms, slack, lower[pair], upper[pair])
        lower, upper = np.fmax.reduceat(low, forms.first), np.fmin.reduceat(high, forms.first)
        closed |= (lower > upper).any(axis=1)
        lower, upper = np.minimum(lower, upper), np.maximum(lower, upper)  # of the closed ones, to go on with something
    return Clipped(lower, upper, np.where(np.isnan(margin), -np.inf, margin), closed)


def _least(forms: Forms, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """s' and e of every form over its box."""
    limits = np.finfo(np.float64)
    size = np.abs(forms.slope)
    with np.errstate(over="ignore", invalid="ignore"):
        least = forms.offset + np.minimum(forms.slope * lower, forms.slope * upper).sum(axis=1)
        scale = np.abs(forms.offset) + (size * np.maximum(np.abs(lower), np.abs(upper))).sum(axis=1)
    return least, 2 * (size.shape[1] + 16) * limits.eps * scale + limits.tiny


def _cut(forms: Forms, slack: NDArray[np.float64], lower: NDArray[np.float64], upper: NDArray[np.float64]) -> Ends:
    """The ends that each form leaves of its box, given e - s'."""
    limits = np.finfo(np.float64)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        reach = slack[:, None] / np.abs(forms.slope) * (1 + 4 * limits.eps) + limits.tiny
        low = np.where(forms.slope < 0, np.nextafter(upper - reach, -np.inf), lower)
        high = np.where(forms.slope > 0, np.nextafter(lower + reach, np.inf), upper)
    return np.fmax(low, lower), np.fmin(high, upper)


def hull(clipped: Clipped, piece: NDArray[np.intp], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest boxes that hold what is left of all pairs of each piece, (count, size); lower > upper where nothing is.

    `piece` says whose each pair is.
    """
    left = ~clipped.closed
    shape = (count, clipped.lower.shape[1])
    lower, upper = np.full(shape, np.inf), np.full(shape, -np.inf)
    np.minimum.at(lower, piece[left], clipped.lower[left])
    np.maximum.at(upper, piece[left], clipped.upper[left])
    return lower, upper
