"""Vote certificates by definition, in numpy: what the numba twins in `votes_cpu` must equal.

Units (buckets, sources, periods) are what an adversary poisons; a unit is seen by some classifiers, which then vote as the
adversary likes. `runs` holds who sees what, as rows (u, b, n): units u, u+1, ..., u+n-1 are seen by classifiers b, b+1, ..., b+n-1
one to one.

Every rule asks the same question: how many units must be poisoned before a difference of votes (its *gap*) is used up? Classifier
b can give at most `weights[b]`, a unit at most the sum over the classifiers that see it, so `attack_size` is a lower limit of the
attack; it is exact where no two units share a classifier (arXiv 2202.02628, theorem 2, for gaps between two classes; arXiv
2006.14768 for disjoint units).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import numpy as np

ABSTAIN = 255
"""Ballot of a classifier that does not vote; once poisoned it votes as the adversary likes."""
UNPROVED = 254
"""Ballot of a classifier whose answer here is not proved: the adversary has it for nothing. Gaps shrink by 1, its weight is 0."""
MISSING = 253
"""Ballot not cast yet; no rule accepts it."""
MAX_CLASSES = 253


def unit_sums(weights: np.ndarray, runs: np.ndarray, units: int) -> np.ndarray:
    """What each unit can give: the sum of `weights` (classifiers,) over the classifiers that see it, shape (units,)."""
    sums = np.zeros(units, dtype=np.int64)
    for unit, classifier, length in runs:
        sums[unit : unit + length] += weights[classifier : classifier + length]
    return sums


def attack_size(sums: np.ndarray, gap: int) -> int:
    """The least number of units whose sums reach `gap`; one more than there are units if all of them together do not."""
    reached = np.concatenate([[0], np.cumsum(np.sort(sums)[::-1])])
    return int(np.argmax(reached >= gap)) if reached[-1] >= gap else len(sums) + 1


def tally(ballots: np.ndarray, classes: int) -> np.ndarray:
    """Number of votes per class, (classes,), of one input's ballots, (classifiers,)."""
    return np.bincount(ballots, minlength=256)[:classes]


def lead(counts: np.ndarray, first: int, second: int) -> int:
    """How many votes `first` must lose against `second` before it stands behind: ties go to the smaller class."""
    return int(counts[first] - counts[second]) + (second > first)


def weight_table(default: int, special: Iterable[tuple[int, int]]) -> np.ndarray:
    """Weights by ballot, (256,): `special` (ballot, weight) pairs, 0 for `UNPROVED`, `default` for every other ballot."""
    table = np.full(256, default, dtype=np.int64)
    for ballot, weight in [*special, (UNPROVED, 0)]:
        table[ballot] = weight
    return table


def overtaking(winner: int, rival: int) -> np.ndarray:
    """Weights of the lead of `winner` over `rival`: a vote for the winner can be moved (2), any other cast for the rival (1)."""
    return weight_table(1, [(winner, 2), (rival, 0)])


def plurality(ballots: np.ndarray, runs: np.ndarray, units: int, classes: int) -> tuple[int, int]:
    """The class with most votes, and a number of units that cannot change it however they are poisoned.

    The radius is exact for disjoint units; -1 if ballots that are `UNPROVED` change the class without any poisoning.
    """
    counts = tally(ballots, classes)
    winner = int(np.argmax(counts))
    unproved = int(np.sum(ballots == UNPROVED))
    attacks = [units + 1]
    for rival in set(range(classes)) - {winner}:
        sums = unit_sums(overtaking(winner, rival)[ballots], runs, units)
        attacks.append(attack_size(sums, lead(counts, winner, rival) - unproved))
    return winner, min(attacks) - 1


def targeted(ballots: np.ndarray, runs: np.ndarray, units: int, classes: int, target: int) -> int:
    """A number of units that cannot make `target` the class with most votes; -1 if it already is. Exact for disjoint units.

    The target must pass every class. For a set S of them the sum of the leads over S shrinks by |S| + 1 where a classifier that
    voted for a class of S is turned to the target, by |S| for another. The sets that bind are those of the largest leads.
    """
    counts = tally(ballots, classes)
    unproved = int(np.sum(ballots == UNPROVED))
    leads = {c: lead(counts, c, target) for c in range(classes) if c != target}
    order = sorted(leads, key=lambda c: (-leads[c], c))
    attack = 0
    for size in range(1, len(order) + 1):
        ahead = order[:size]
        weights = weight_table(size, [*((c, size + 1) for c in ahead), (target, 0)])[ballots]
        gap = sum(leads[c] for c in ahead) - size * unproved
        attack = max(attack, attack_size(unit_sums(weights, runs, units), gap))
    return attack - 1


def runoff(places: np.ndarray, runs: np.ndarray, units: int) -> tuple[int, int]:
    """The winner of a run-off between the two classes with most first places, and a number of units that cannot change it.

    places (classifiers, classes) holds the rank each classifier gives each class, 0 the best; a row of `ABSTAIN` abstains. Source:
    arXiv 2302.02300; there are two ways to lose. Out of the first two: two rivals pass the winner, which needs both leads and
    their sum (weights 3 for a vote of the winner, 0 for one of the two rivals, 1 otherwise) used up. Beaten in the run-off by a
    rival: the rival passes the second (unless it is the second), and the preferences of the winner over it are used up.
    """
    classes = places.shape[1]
    ballots = np.where((places == ABSTAIN).all(axis=1), ABSTAIN, np.argmin(places, axis=1))
    counts = tally(ballots, classes)
    first, second = np.lexsort((np.arange(classes), -counts))[:2]
    ahead, behind = (int((places[:, a] < places[:, b]).sum()) for a, b in ((first, second), (second, first)))
    winner, second = (first, second) if (ahead, second) > (behind, first) else (second, first)
    rivals = [c for c in range(classes) if c != winner]

    def cost(table: np.ndarray, gap: int) -> int:
        return attack_size(unit_sums(table[ballots], runs, units), gap)

    attacks = [units + 1]
    for a, b in combinations(rivals, 2):
        gaps = [lead(counts, winner, c) for c in (a, b)]
        both = weight_table(1, [(winner, 3), (a, 0), (b, 0)])
        attacks.append(max(cost(overtaking(winner, a), gaps[0]), cost(overtaking(winner, b), gaps[1]), cost(both, sum(gaps))))
    for rival in rivals:
        enter = 0 if rival == second else cost(overtaking(second, rival), lead(counts, second, rival))
        prefer = np.sign(places[:, rival].astype(int) - places[:, winner])
        beat = attack_size(unit_sums(1 + prefer, runs, units), int(prefer.sum()) + (rival > winner))
        attacks.append(max(enter, beat))
    return int(winner), min(attacks) - 1


def median_interval(values: np.ndarray, runs: np.ndarray, units: int, radius: int) -> tuple[float, float]:
    """An interval that holds the (lower) median of `values` (classifiers,) whichever `radius` units are poisoned; exact for
    disjoint units.

    The median stays at or below t while more than half of the values at or below t are out of reach. Source: arXiv 2208.13904.
    """
    middle = (len(values) - 1) // 2
    high = _upper_end(values, runs, units, radius, middle + 1)
    low = -_upper_end(-values, runs, units, radius, len(values) - middle)
    return low, high


def _upper_end(values: np.ndarray, runs: np.ndarray, units: int, radius: int, needed: int) -> float:
    """The least t such that `needed` values are at most t and out of reach of any `radius` units; infinity if there is none."""
    for t in np.sort(values)[needed - 1 :]:
        below = (values <= t).astype(np.int64)
        reach = np.sort(unit_sums(below, runs, units))[::-1][:radius].sum()
        if below.sum() - reach >= needed:
            return float(t)
    return float("inf")
