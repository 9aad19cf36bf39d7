"""Certificates for many inputs under one attack: the adversary has to choose one set of buckets for all of them.

Adding up pointwise certificates pretends that every input could be attacked separately. One poisoned bucket is small enough to try
all: the count is exact. For more, a linear program bounds how many inputs can be changed at once; every rival class has its own
variable (published code looks at the runner-up only, which counts too few).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from certify.kernels.votes_reference import UNPROVED, attack_size, lead, overtaking, tally, unit_sums
from certify.poisoning.attack import breaking_buckets
from certify.poisoning.linear_bound import upper_bound
from certify.poisoning.spread import Spread

GROUP = 64
"""Inputs in one program; the bounds of groups are added up, which remains a bound."""


def changed_by_one(ballots: np.ndarray, spread: Spread, classes: int) -> np.ndarray:
    """For every bucket the number of inputs, of ballots (classifiers, inputs), whose answer it alone can change: (buckets,),
    exact.
    """
    total = np.zeros(spread.units, dtype=np.int64)
    for column in ballots.T:
        total += breaking_buckets(column, spread, classes)
    return total


def most_changed(ballots: np.ndarray, spread: Spread, classes: int, size: int) -> int:
    """At most so many of the inputs, of ballots (classifiers, inputs), change their answer when `size` buckets are poisoned.

    Exact for one bucket; never more than the number of inputs that can be changed one by one.
    """
    if size == 1:
        return int(changed_by_one(ballots, spread, classes).max(initial=0))
    reachable = [threats for column in ballots.T if (threats := _threats(column, spread, classes, size))]
    groups = [reachable[start : start + GROUP] for start in range(0, len(reachable), GROUP)]
    return sum(min(len(group), _bound(group, spread.units, size)) for group in groups)


def _threats(ballots: np.ndarray, spread: Spread, classes: int, size: int) -> list[tuple[np.ndarray, int]]:
    """What each bucket gives to the rivals that `size` buckets may let win, each with the gap to fill. Gifts beyond the gap are
    cut.
    """
    counts = tally(ballots, classes)
    winner, unproved = int(np.argmax(counts)), int(np.sum(ballots == UNPROVED))
    found = []
    for rival in set(range(classes)) - {winner}:
        gap = lead(counts, winner, rival) - unproved
        sums = unit_sums(overtaking(winner, rival)[ballots], spread.runs, spread.units)
        if attack_size(sums, gap) <= size:
            found.append((np.minimum(sums, max(gap, 0)), max(gap, 0)))
    return found


def _bound(group: list[list[tuple[np.ndarray, int]]], units: int, size: int) -> int:
    """Bound on the inputs i with z_i = 1, z_i <= sum of w_ic <= ..., gap_ic w_ic <= gifts_ic @ x, and x at most `size` buckets.

    Variables: x (buckets), w (one per input and rival), z (inputs).
    """
    rivals = sum(map(len, group))
    columns = units + rivals + len(group)
    rows = np.zeros((rivals + len(group) + 1, columns), dtype=np.int64)
    w = 0
    for i, threats in enumerate(group):
        rows[rivals + i, units + rivals + i] = 1
        for gifts, gap in threats:
            rows[w, :units], rows[w, units + w] = -gifts, gap
            rows[rivals + i, units + w] = -1
            w += 1
    rows[-1, :units] = 1
    limits = np.zeros(len(rows), dtype=np.int64)
    limits[-1] = size
    objective = np.zeros(columns, dtype=np.int64)
    objective[units + rivals :] = 1
    return upper_bound(objective, csr_array(rows), limits, np.ones(columns, dtype=np.int64))
