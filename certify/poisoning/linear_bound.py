"""Upper bounds of integer programs, proved in integer arithmetic: the solver only proposes the multipliers."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

SCALE = 1 << 20
"""Multipliers are rounded to multiples of 1 / SCALE; whatever they are, the bound holds."""
SECONDS = 120.0
"""A relaxation that takes longer is given up: its bound is then the trivial one, which holds as well."""


def upper_bound(objective: np.ndarray, rows: csr_array, limits: np.ndarray, upper: np.ndarray) -> int:
    """An integer that no objective @ x exceeds, for integer x with rows @ x <= limits and 0 <= x <= upper. All entries are
    integers.

    HiGHS solves the relaxation. Of its multipliers y >= 0, rounded, the bound limits @ y + sum of upper * max(0, objective -
    rows.T @ y) (weak duality) is computed without rounding, so an inexact solver can only make it larger.
    """
    box, options = np.stack([np.zeros_like(upper), upper], axis=1), {"time_limit": SECONDS}
    solution = linprog(-objective, A_ub=rows, b_ub=limits, bounds=box, method="highs", options=options)
    proposed = -solution.ineqlin.marginals if solution.status == 0 else np.zeros(len(limits))
    multipliers = np.round(np.maximum(proposed, 0) * SCALE).astype(np.int64)
    reduced = objective.astype(np.int64) * SCALE - rows.T.astype(np.int64) @ multipliers
    total = sum(int(a) * int(b) for a, b in zip(limits, multipliers, strict=True))
    total += sum(int(a) * int(b) for a, b in zip(upper, np.maximum(reduced, 0), strict=True))
    return total // SCALE
