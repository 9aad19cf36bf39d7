"""Radius of dual smoothing from four bounds: p and q of either half, for the vote that adds the halves' probabilities."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from certify.smoothing.normal import quantile_down, quantile_up

CELLS = 1 << 14
"""Angles are covered by this many cells: the radius loses a share of at most about pi / (2 CELLS)."""
ALLOWANCE = 1e-13
"""More than the rounding of the four values of Phi and of the sines: ndtr errs by a few 1e-16 in absolute terms."""


def dual_two_sided(p_left: float, p_right: float, q_left: float, q_right: float, sigma_left: float, sigma_right: float) -> float:
    """l_2 radius of dual smoothing, p_l + p_r against q_l + q_r; a sound lower bound of the exact one, which has no closed form.

    With u, v the norms of the two halves of delta, the class keeps its lead while
    F(u, v) = Phi(a_l - u/s_l) + Phi(a_r - v/s_r) - Phi(b_l + u/s_l) - Phi(b_r + v/s_r) > 0, a and b the probits of p and q. F falls
    in u and in v, so F(R cos t1, R sin t2) > 0 proves R for all angles in [t1, t2]: R holds if all cells of a cover of [0, pi/2]
    do.
    """
    for sigma in (sigma_left, sigma_right):
        if not 0 < sigma < math.inf:
            raise ValueError(f"sigma must be positive and finite, got {sigma}")
    a = np.array([quantile_down(p_left), quantile_down(p_right)])
    b = np.array([quantile_up(min(q, 1.0)) for q in (q_left, q_right)])
    angles = np.linspace(0.0, math.pi / 2, CELLS + 1)
    u = np.nextafter(np.cos(angles[:-1]) / sigma_left, math.inf)
    v = np.nextafter(np.sin(angles[1:]) / sigma_right, math.inf)

    def holds(radius: float) -> bool:
        left, right = radius * u, radius * v
        lead = ndtr(a[0] - left) + ndtr(a[1] - right) - ndtr(b[0] + left) - ndtr(b[1] + right)
        return bool(lead.min() > ALLOWANCE)

    if not holds(0.0):
        return 0.0
    low, high = 0.0, 64 * max(sigma_left, sigma_right)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
