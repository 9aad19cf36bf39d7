"""Larger certified radii for overlapping buckets: a classifier hit twice is counted once, by linear programming.

The greedy bound adds up what each bucket can give and so counts classifiers with two poisoned buckets twice. The exact question is
weighted maximum coverage: choose r buckets x_u, reach a classifier y_b only through them, gain weights @ y. Its relaxation is a
valid bound. No program is solved where an attack shows that there is nothing to gain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy.sparse import block_array, csr_array, eye_array

from certify.poisoning.attack import find_attack
from certify.poisoning.linear_bound import upper_bound
from certify.poisoning.routes import lead_size, routes, within
from certify.poisoning.spread import Spread
from certify.poisoning.votes import Votes


def tightened_radii(
    votes: Votes,
    spread: Spread,
    rule: str,
    radii: np.ndarray,
    inputs: Iterable[int],
    sizes: Sequence[int] | None = None,
    progress: Callable[[int], None] = lambda steps: None,
) -> np.ndarray:
    """Certified radii of all inputs, at least the certified `radii` (inputs,), tightened for some of the inputs.

    With `sizes` a radius grows only to decide about these numbers of buckets, which takes fewer programs.
    """
    rows, found = coverage_rows(spread), radii.copy()
    for i in inputs:
        for size in _open_sizes(votes, spread, rule, int(i), int(radii[i]), sizes):
            if not survives(votes, spread, rule, int(i), size, rows):
                break
            found[i] = size
        progress(1)
    return found


def survives(votes: Votes, spread: Spread, rule: str, i: int, size: int, rows: csr_array) -> bool:
    """True where no `size` buckets change the answer at input i; `rows` are `coverage_rows(spread)`."""
    for route in routes(votes, rule, i)[1]:
        if within(route, spread, size):
            hardest = sorted(route.leads, key=lambda lead: -lead_size(lead, spread))
            if not any(most_gained(lead.weights, spread, size, rows) < lead.gap for lead in hardest):
                return False
    return True


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


def _open_sizes(votes: Votes, spread: Spread, rule: str, i: int, radius: int, sizes: Sequence[int] | None) -> list[int]:
    """Of `sizes`, or of all, those between the certified radius and an attack that was found, in rising order."""
    attack = find_attack(votes, spread, rule, i)
    every = range(radius + 1, spread.units + 1 if attack is None else len(attack.buckets))
    return [*every] if sizes is None else sorted({size for size in sizes if size in every})
