"""Vote certificates by definition, in numpy: what the numba twins in `votes_cpu` must equal.

Units (buckets, sources, periods) are what an adversary poisons; a unit is seen by some classifiers, which then vote as the
adversary likes. `runs` holds who sees what, as rows (u, b, n): units u, u+1, ..., u+n-1 are seen by classifiers b, b+1, ..., b+n-1
one to one.

A rule is described by its *routes*, the ways in which its winner can lose. On each route some *leads* must be used up; a classifier
b gives at most `weights[b]` to the adversary, a unit at most the sum over the classifiers that see it. The set of classifiers that
an adversary holds changes the winner if and only if, on some route, its weights reach the gap of every lead. So the largest
`attack_size` of a route's leads is a lower limit of the attack, exact for one lead where no two units share a classifier (arXiv
2202.02628, theorem 2, for gaps between two classes; arXiv 2006.14768 for disjoint units).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Lead:
    """A lead of `gap` votes, of which classifier b, once poisoned, uses up `table[codes[b]]`."""

    codes: np.ndarray
    table: np.ndarray
    gap: int

    @property
    def weights(self) -> np.ndarray:
        """What each classifier can give, (classifiers,)."""
        return self.table[self.codes]


@dataclass(frozen=True)
class Route:
    """A way to lose: the winner gives way to `rivals` when every lead is used up."""

    rivals: tuple[int, ...]
    leads: tuple[Lead, ...]


def route_size(route: Route, runs: np.ndarray, units: int) -> int:
    """A lower limit of the number of units that take a route, exact for one lead and disjoint units."""
    return max(attack_size(unit_sums(lead.weights, runs, units), lead.gap) for lead in route.leads)


def radius(routes: Iterable[Route], runs: np.ndarray, units: int) -> int:
    """A number of units that cannot take any of the routes."""
    return min([units + 1, *(route_size(route, runs, units) for route in routes)]) - 1


def plurality_routes(ballots: np.ndarray, classes: int) -> tuple[int, list[Route]]:
    """The class with most votes of one input's ballots, (classifiers,), and a route to every rival."""
    counts = tally(ballots, classes)
    winner, unproved = int(np.argmax(counts)), int(np.sum(ballots == UNPROVED))
    rivals = [c for c in range(classes) if c != winner]
    leads = [Lead(ballots, overtaking(winner, c), lead(counts, winner, c) - unproved) for c in rivals]
    return winner, [Route((c,), (one,)) for c, one in zip(rivals, leads, strict=True)]


def plurality(ballots: np.ndarray, runs: np.ndarray, units: int, classes: int) -> tuple[int, int]:
    """The class with most votes, and a number of units that cannot change it however they are poisoned.

    The radius is exact for disjoint units; -1 if ballots that are `UNPROVED` change the class without any poisoning.
    """
    winner, routes = plurality_routes(ballots, classes)
    return winner, radius(routes, runs, units)


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


def runoff_routes(places: np.ndarray) -> tuple[int, list[Route]]:
    """The winner of a run-off between the two classes with most first places, and the routes to another.

    places (classifiers, classes) holds the rank each classifier gives each class, 0 the best; a row of `ABSTAIN` abstains. There
    are two kinds of routes. Out of the first two: two rivals pass the winner, which uses up both leads and also their sum (weights
    3 for a vote of the winner, 0 for one of the two rivals, 1 otherwise). Beaten in the run-off: a rival passes every class but the
    winner, and the preferences of the winner over it are used up.
    """
    classes = places.shape[1]
    ballots = np.where((places == ABSTAIN).all(axis=1), ABSTAIN, np.argmin(places, axis=1))
    counts = tally(ballots, classes)
    first, second = np.lexsort((np.arange(classes), -counts))[:2]
    ahead, behind = (int((places[:, a] < places[:, b]).sum()) for a, b in ((first, second), (second, first)))
    winner = int(first if (ahead, second) > (behind, first) else second)
    rivals = [c for c in range(classes) if c != winner]

    def passing(passed: int, c: int) -> Lead:
        return Lead(ballots, overtaking(passed, c), lead(counts, passed, c))

    def beating(c: int) -> Lead:
        preferred = np.sign(places[:, c].astype(int) - places[:, winner])
        return Lead(1 + preferred, np.arange(3), int(preferred.sum()) + (c > winner))

    out = [
        Route((a, b), (one, other, Lead(ballots, weight_table(1, [(winner, 3), (a, 0), (b, 0)]), one.gap + other.gap)))
        for a, b in combinations(rivals, 2)
        for one, other in [(passing(winner, a), passing(winner, b))]
    ]
    beaten = [Route((c,), (beating(c), *(passing(other, c) for other in rivals if other != c))) for c in rivals]
    return winner, out + beaten


def runoff(places: np.ndarray, runs: np.ndarray, units: int) -> tuple[int, int]:
    """The winner of a run-off between the two classes with most first places, and a number of units that cannot change it.

    Source: arXiv 2302.02300, which lets a rival enter by passing the second; that it must pass the others as well is ours.
    """
    winner, routes = runoff_routes(places)
    return winner, radius(routes, runs, units)


def cover(weights: np.ndarray, gaps: np.ndarray, runs: np.ndarray, units: int) -> list[int] | None:
    """Units, chosen one after the other by what they still add, that use up every gap; None where all of them do not.

    weights (leads, classifiers), gaps (leads,). A classifier counts once however many of its units are taken, and a unit adds to a
    lead no more than is left of it; ties go to the smaller unit.
    """
    weights, left, taken = weights.copy(), np.maximum(gaps, 0), []
    while left.any():
        gains = np.stack([unit_sums(row, runs, units) for row in weights])
        added = np.minimum(gains, left[:, None]).sum(axis=0)
        unit = int(np.argmax(added))
        if added[unit] == 0:
            return None
        taken.append(unit)
        left = np.maximum(left - gains[:, unit], 0)
        for u, b, n in runs:
            if u <= unit < u + n:
                weights[:, b + unit - u] = 0
    return taken


def median_interval(values: np.ndarray, runs: np.ndarray, units: int, radius: int) -> tuple[float, float]:
    """An interval that holds the (lower) median of `values` (classifiers,) whichever `radius` units are poisoned; exact for
    disjoint units.

    The median stays at or below t while more than half of the values at or below t are out of reach. Source: arXiv 2208.13904.
    """
    middle = (len(values) - 1) // 2
    high = _upper_end(values, runs, units, radius, middle + 1)
    low = -_upper_end(-values, runs, units, radius, len(values) - middle)
    return low, high


def median_radius(values: np.ndarray, runs: np.ndarray, units: int, low: float, high: float) -> int:
    """A number of units that cannot move the (lower) median of `values` (classifiers,) out of [low, high]; exact for disjoint
    units, -1 if it lies outside.
    """
    middle = (len(values) - 1) // 2
    sides = ((values <= high, middle + 1), (values >= low, len(values) - middle))
    spare = [(inside, int(inside.sum()) - needed + 1) for inside, needed in sides]
    return min(attack_size(unit_sums(inside, runs, units), gap) for inside, gap in spare) - 1


def _upper_end(values: np.ndarray, runs: np.ndarray, units: int, radius: int, needed: int) -> float:
    """The least t such that `needed` values are at most t and out of reach of any `radius` units; infinity if there is none."""
    for t in np.sort(values)[needed - 1 :]:
        below = (values <= t).astype(np.int64)
        reach = np.sort(unit_sums(below, runs, units))[::-1][:radius].sum()
        if below.sum() - reach >= needed:
            return float(t)
    return float("inf")
