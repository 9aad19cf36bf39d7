"""Linear programs over a box, and what their multipliers prove: the solver proposes, an aggregated inequality decides.

A program claims that some point v of a box has rows @ v + shift <= 0. For any multipliers w >= 0 such a point has

    w @ (rows @ v + shift) <= 0,

so that the claim is false where the left side, one linear function, is positive on the whole box (Farkas; safe dual bounds in the
manner of Neumaier and Shcherbina, Math. Programming 99, 2004). `margin` evaluates its minimum with every rounding outward, for
whatever multipliers it is given: nothing rests on the solver's tolerances.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog

from certify.bounds.rounding import OUTWARD

Array = NDArray[np.float64]
Least = Callable[[Array], float]
"""A lower bound of row @ v over a set of points v, in real arithmetic."""


@dataclass(frozen=True)
class LinearProgram:
    """The points v with lower <= v <= upper and rows @ v + shift <= 0: rows is (constraints, n), all numbers finite float64."""

    rows: Array
    shift: Array
    lower: Array
    upper: Array


@dataclass(frozen=True)
class Solution:
    """What the solver says, to be checked: where the largest violation is least, how large it is there, and multipliers >= 0.

    Violations are relative to how much each row varies over the box. Negative: an inner point.
    """

    violation: float
    point: Array
    multipliers: Array


def least_violation(program: LinearProgram, deadline: float = inf) -> Solution | None:
    """A point of the box where the largest of rows @ v + shift is least, by HiGHS; None where the solver gives up or time is up.

    Solved as: minimise t, subject to (rows @ v + shift) / spread <= t, which is feasible whatever the program. The box becomes
    [-1, 1]^n before, and coordinates of no width go.
    """
    middle, radius = program.lower / 2 + program.upper / 2, program.upper / 2 - program.lower / 2
    varying = np.flatnonzero(radius > 0)
    rows = program.rows[:, varying] * radius[varying]
    shift = program.rows @ middle + program.shift
    spread = np.maximum(np.abs(rows).sum(axis=1), np.abs(shift) * 1e-6)
    spread[spread == 0] = 1.0
    remaining = deadline - time.monotonic()
    if not (np.isfinite(rows).all() and np.isfinite(shift).all()) or remaining <= 0:
        return None
    if not len(rows):
        return Solution(-inf, middle, np.zeros(0))
    solved = linprog(
        np.append(np.zeros(len(varying)), 1.0),
        np.column_stack([rows / spread[:, None], -np.ones(len(rows))]),
        -shift / spread,
        bounds=np.column_stack([np.append(-np.ones(len(varying)), -inf), np.append(np.ones(len(varying)), inf)]),
        method="highs",
        options={} if remaining == inf else {"time_limit": remaining},
    )
    if solved.status != 0:
        return None
    point = middle.copy()
    point[varying] += radius[varying] * solved.x[:-1]
    multipliers = np.maximum(-solved.ineqlin.marginals, 0) / spread
    return Solution(float(solved.x[-1]), np.clip(point, program.lower, program.upper), multipliers)


def aggregate(program: LinearProgram, multipliers: Array) -> tuple[Array, float]:
    """One row a and number s with multipliers @ (rows @ v + shift) >= a @ v + s on the box, in real arithmetic.

    Proof. An entry of the computed a is a sum of m products, off by at most gamma_m times the same sum of absolute values, and by
    underflow (see `bounds.rounding`, whose gamma is more than twice Higham's and so covers the rounding of the allowance, too).
    What that does to a @ v is at most the error times the largest |v|; s is lowered by it, and by as much for its own sum.
    """
    m, n = program.rows.shape
    weight = multipliers / max(float(multipliers.max(initial=0.0)), np.finfo(np.float64).tiny)
    gamma, tiny = OUTWARD.gamma(m + n, torch.float64), np.finfo(np.float64).tiny
    size = np.maximum(np.abs(program.lower), np.abs(program.upper))
    total = weight @ program.shift
    lost = np.abs(program.shift) @ weight + (weight @ np.abs(program.rows)) @ size + tiny * (1 + size.sum())
    return weight @ program.rows, float(total - gamma * (np.abs(total) + lost))


def margin(program: LinearProgram, multipliers: Array, least: Least | None = None) -> float:
    """A lower bound of the aggregated inequality's left side, in real arithmetic: positive, and no point satisfies the program.

    Multipliers (constraints,) must be >= 0; they are scaled so that the largest is 1. `least` bounds a row from below where the points
    of the set are not a whole box. -inf where something overflows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        row, constant = aggregate(program, multipliers)
        minimum = box_minimum(row, program.lower, program.upper) if least is None else least(row)
        value = minimum + constant - OUTWARD.gamma(1, torch.float64) * (np.abs(minimum) + np.abs(constant))
    return float(value) if np.isfinite(value) else -inf


def box_minimum(row: Array, lower: Array, upper: Array) -> float:
    """A lower bound of row @ v over the box, in real arithmetic: a sum of n products, and its rounding error."""
    least = np.where(row > 0, row * lower, row * upper).sum()
    size = np.maximum(np.abs(lower), np.abs(upper))
    return float(least - OUTWARD.gamma(len(row), torch.float64) * (np.abs(row) @ size + np.finfo(np.float64).tiny))
