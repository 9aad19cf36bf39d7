"""Certificates of regressors whose answers are aggregated by their (lower) median. Source: arXiv 2208.13904."""

from __future__ import annotations

import numpy as np

from certify.kernels import votes_cpu
from certify.poisoning.spread import Spread
from certify.poisoning.votes import check_sums


def median(values: np.ndarray) -> np.ndarray:
    """The lower median of each column of (classifiers, inputs): (inputs,)."""
    return np.sort(values, axis=0)[(len(values) - 1) // 2]


def median_intervals(values: np.ndarray, spread: Spread, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Ends of intervals that hold the median of regressors, (classifiers, inputs), after any `radius` buckets are poisoned.

    Row b of `values` must be classifier b. Exact where classifiers see one bucket each; ends are infinite where nothing is
    certified.
    """
    return votes_cpu.median_intervals(_rows(values, spread), spread.units_of, spread.units, spread.degree, radius)


def median_radii(values: np.ndarray, spread: Spread, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Numbers of buckets that cannot move the medians of `values`, (classifiers, inputs), out of [low, high], (inputs,) each; -1
    where they lie outside. Exact where classifiers see one bucket each.
    """
    rows = _rows(values, spread)
    ends = [np.broadcast_to(np.asarray(end, dtype=np.float64), len(rows)) for end in (low, high)]
    if np.isnan(ends).any():
        raise ValueError("limits contain NaN")
    return votes_cpu.median_radii(rows, spread.runs, spread.units, spread.degree, *ends)


def _rows(values: np.ndarray, spread: Spread) -> np.ndarray:
    """Values as (inputs, classifiers)."""
    check_sums(1, spread)
    if values.ndim != 2 or len(values) != spread.classifiers:
        raise ValueError(f"values must be ({spread.classifiers}, inputs), got {list(values.shape)}")
    if np.isnan(values).any():
        raise ValueError("values contain NaN; give a regressor without data a constant that is fixed beforehand")
    return np.ascontiguousarray(values.T, dtype=np.float64)
