"""Linear programs over a box or a ball, and what their multipliers prove: the solver proposes, an aggregated inequality decides.

A program claims that some point v of a set has rows @ v + shift <= 0. For any multipliers w >= 0 such a point has

    w @ (rows @ v + shift) <= 0,

so that the claim is false where the left side, one linear function, is positive on the whole set (Farkas; safe dual bounds in the
manner of Neumaier and Shcherbina, Math. Programming 99, 2004). `margin` evaluates its minimum with every rounding outward, for
whatever multipliers it is given: nothing rests on the solver's tolerances.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog

from certify.bounds.concretize import minimise
from certify.bounds.rounding import OUTWARD
from certify.operators.rows import DenseRows
from certify.sets import LpBall

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LinearProgram:
    """The points v with lower <= v <= upper and rows @ v + shift <= 0: rows is (constraints, n), all float64.

    Where there is a `ball` (one batch element, float64), the first coordinates of v lie in it as well.
    """

    rows: Array
    shift: Array
    lower: Array
    upper: Array
    ball: LpBall | None = None

    @property
    def size(self) -> Array:
        """The largest |v| of every coordinate."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper))


@dataclass(frozen=True)
class Solution:
    """What the solver says, to be checked: where the largest violation is least, how large it is there, and multipliers >= 0.

    Violations are relative to how much each row varies over the box. Negative: an inner point.
    """

    violation: float
    point: Array
    multipliers: Array


def least_violation(program: LinearProgram, deadline: float = inf) -> Solution | None:
    """A point where the largest of rows @ v + shift is least, by HiGHS; None where the solver gives up or the time is up.

    Of a ball it sees the box and as many tangents as it takes. Their multipliers are left out: `margin` minimises over the ball itself.
    """
    kept = _worth_keeping(program)
    rows, shift = program.rows[kept], program.shift[kept]
    solution = None
    for _ in range(_MOST_TANGENTS + 1):
        found = _solve(LinearProgram(rows, shift, program.lower, program.upper), deadline)
        if found is None:
            break
        multipliers = np.zeros(len(program.rows))
        multipliers[kept] = found.multipliers[: len(kept)]
        solution = Solution(found.violation, found.point, multipliers)
        tangent = None if program.ball is None else _tangent(program.ball, found.point)
        if tangent is None:
            break
        rows, shift = np.concatenate([rows, tangent[0][None]]), np.append(shift, tangent[1])
    return solution


_MOST_TANGENTS = 20
_IDLE = 1e-9
"""A constraint that no point of the box comes near, relative to its constant, is left out."""
_LEAST_SPREAD = 1e-200
"""A row that varies less is not scaled: its multiplier would overflow."""


def _worth_keeping(program: LinearProgram) -> NDArray[np.intp]:
    most = np.where(program.rows > 0, program.rows * program.upper, program.rows * program.lower).sum(axis=1) + program.shift
    return np.flatnonzero(~(most <= -_IDLE * np.abs(program.shift)))


def _solve(program: LinearProgram, deadline: float) -> Solution | None:
    """Minimise t, subject to (rows @ v + shift) / spread <= t, which is feasible whatever the program.

    The box becomes [-1, 1]^n before, and coordinates of no width go.
    """
    middle, radius = program.lower / 2 + program.upper / 2, program.upper / 2 - program.lower / 2
    varying = np.flatnonzero(radius > 0)
    rows = program.rows[:, varying] * radius[varying]
    shift = program.rows @ middle + program.shift
    spread = np.maximum(np.abs(rows).sum(axis=1), np.abs(shift) * 1e-6)
    spread[spread < _LEAST_SPREAD] = 1.0
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


def _tangent(ball: LpBall, point: Array) -> tuple[Array, float] | None:
    """A half space row @ v + shift <= 0 that holds the ball and not the point; None where the point is (nearly) inside.

    A guide to the solver alone, so that its rounding does not matter.
    """
    center, eps = ball.center.flatten().cpu().numpy(), float(ball.eps)
    offset = point[: len(center)] - center
    length = float(np.linalg.norm(offset, ball.p))
    if length <= eps * (1 + 1e-9):
        return None
    normal = np.sign(offset) if ball.p == 1 else offset / length
    return np.append(normal, np.zeros(len(point) - len(center))), float(-normal @ center - eps)


def margin(program: LinearProgram, multipliers: Array) -> float:
    """A lower bound of the aggregated inequality's left side, in real arithmetic: positive, and no point satisfies the program.

    Multipliers (constraints,) must be >= 0; they are scaled so that the largest is 1. -inf where something overflows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        row, constant = _aggregate(program, multipliers)
        least = _minimum(program, row)
        value = least + constant - OUTWARD.gamma(1, torch.float64) * (np.abs(least) + np.abs(constant))
    return float(value) if np.isfinite(value) else -inf


def _aggregate(program: LinearProgram, multipliers: Array) -> tuple[Array, float]:
    """One row a and number s with multipliers @ (rows @ v + shift) >= a @ v + s on the box, in real arithmetic.

    Proof. An entry of the computed a is a sum of m products, off by at most gamma_m times the same sum of absolute values, and by
    underflow (see `bounds.rounding`, whose gamma is more than twice Higham's and so covers the rounding of the allowance, too).
    What that does to a @ v is at most the error times the largest |v|; s is lowered by it, and by as much for its own sum.
    """
    m, n = program.rows.shape
    weight = multipliers / max(float(multipliers.max(initial=0.0)), np.finfo(np.float64).tiny)
    gamma, tiny = OUTWARD.gamma(m + n, torch.float64), np.finfo(np.float64).tiny
    total = weight @ program.shift
    lost = np.abs(program.shift) @ weight + (weight @ np.abs(program.rows)) @ program.size + tiny * (1 + program.size.sum())
    return weight @ program.rows, float(total - gamma * (np.abs(total) + lost))


def _minimum(program: LinearProgram, row: Array) -> float:
    """A lower bound of row @ v over the set, in real arithmetic: a sum of products over the box, and the ball's own minimum."""
    ball = program.ball
    inputs = 0 if ball is None else ball.center.numel()
    rest, lower, upper = row[inputs:], program.lower[inputs:], program.upper[inputs:]
    least = float(np.where(rest > 0, rest * lower, rest * upper).sum())
    gamma, tiny = OUTWARD.gamma(len(rest) + 1, torch.float64), np.finfo(np.float64).tiny
    least -= float(gamma * (np.abs(rest) @ program.size[inputs:] + tiny))
    if ball is None:
        return least
    rows = DenseRows(torch.from_numpy(row[:inputs]).to(ball.center.device).reshape(ball.center.shape))
    part = float(minimise(rows, ball, torch.zeros(1, dtype=torch.int64, device=ball.center.device), OUTWARD))
    return part + least - gamma * (abs(part) + abs(least))
