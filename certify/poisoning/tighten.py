"""Larger certified radii for overlapping buckets: a classifier hit twice is counted once, by linear programming.

The greedy bound adds up what each bucket can give and so counts classifiers with two poisoned buckets twice. The exact question is
weighted maximum coverage: choose r buckets x_u, reach a classifier y_b only through them, gain weights @ y. Its relaxation is a
valid bound.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import block_array, csr_array, eye_array

from certify.kernels.votes_reference import UNPROVED, lead, overtaking, tally
from certify.poisoning.linear_bound import upper_bound
from certify.poisoning.spread import Spread


def tightened_radius(ballots: np.ndarray, spread: Spread, classes: int, radius: int, rows: csr_array) -> int:
    """A certified radius of one input's plurality, at least the certified `radius`; `rows` are `coverage_rows(spread)`."""
    while radius + 1 <= spread.units and survives(ballots, spread, classes, radius + 1, rows):
        radius += 1
    return radius


def survives(ballots: np.ndarray, spread: Spread, classes: int, size: int, rows: csr_array) -> bool:
    """True where no `size` buckets change the plurality of one input's ballots, (classifiers,)."""
    counts = tally(ballots, classes)
    winner, unproved = int(np.argmax(counts)), int(np.sum(ballots == UNPROVED))
    rivals = sorted(set(range(classes)) - {winner}, key=lambda c: lead(counts, winner, c))
    return all(most_gained(overtaking(winner, c)[ballots], spread, size, rows) < lead(counts, winner, c) - unproved for c in rivals)


def most_gained(weights: np.ndarray, spread: Spread, size: int, rows: csr_array) -> int:
    """An upper bound of the total weight of the classifiers that any `size` buckets reach."""
    objective = np.concatenate([np.zeros(spread.units, dtype=np.int64), weights])
    limits = np.concatenate([np.zeros(spread.classifiers, dtype=np.int64), [size]])
    return upper_bound(objective, rows, limits, np.ones(len(objective), dtype=np.int64))


def coverage_rows(spread: Spread) -> csr_array:
    """Rows y_b - sum of x_u over the buckets u of b (at most 0), and the sum of all x_u, over the variables (x, y)."""
    units, reached = spread.pairs.T
    incidence = csr_array((np.ones(len(units), dtype=np.int64), (reached, units)), shape=(spread.classifiers, spread.units))
    everything = csr_array(np.ones((1, spread.units), dtype=np.int64))
    return csr_array(block_array([[-incidence, eye_array(spread.classifiers, dtype=np.int64)], [everything, None]]))
