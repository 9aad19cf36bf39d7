"""Concrete attacks on an aggregation: buckets that, poisoned, change an answer. They show how tight a certificate is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from certify.kernels.votes_reference import UNPROVED, attack_size, lead, overtaking, tally, unit_sums
from certify.poisoning.spread import Spread


@dataclass(frozen=True)
class Attack:
    """Buckets which, if all classifiers that see them vote for `rival`, take the win from `winner`, each counted once."""

    winner: int
    rival: int
    buckets: np.ndarray
    classifiers: np.ndarray


def smallest_attack(ballots: np.ndarray, spread: Spread, classes: int) -> Attack:
    """The smallest attack found on the plurality of one input's ballots, (classifiers,); the smallest there is for disjoint
    buckets.

    For every rival buckets are taken greedily by what they still add, which counts a classifier once however many of its buckets
    are taken. A ValueError where no attack exists, as with a single class.
    """
    counts = tally(ballots, classes)
    winner = int(np.argmax(counts))
    best: Attack | None = None
    for least, rival in sorted((_least(ballots, spread, counts, winner, c), c) for c in range(classes) if c != winner):
        if least <= spread.units and (best is None or least < len(best.buckets)):
            attack = _greedy(ballots, spread, counts, winner, rival)
            best = attack if attack and (best is None or len(attack.buckets) < len(best.buckets)) else best
    if best is None:
        raise ValueError("no set of buckets changes this answer")
    return best


def breaking_buckets(ballots: np.ndarray, spread: Spread, classes: int) -> np.ndarray:
    """The buckets that change the plurality of one input's ballots when poisoned alone: a mask (buckets,), exact."""
    counts = tally(ballots, classes)
    winner, unproved = int(np.argmax(counts)), int(np.sum(ballots == UNPROVED))
    breaking = np.zeros(spread.units, dtype=bool)
    for rival in set(range(classes)) - {winner}:
        sums = unit_sums(overtaking(winner, rival)[ballots], spread.runs, spread.units)
        breaking |= sums >= lead(counts, winner, rival) - unproved
    return breaking


def _gap(ballots: np.ndarray, counts: np.ndarray, winner: int, rival: int) -> int:
    return lead(counts, winner, rival) - int(np.sum(ballots == UNPROVED))


def _least(ballots: np.ndarray, spread: Spread, counts: np.ndarray, winner: int, rival: int) -> int:
    """A lower limit of the number of buckets that bring the rival ahead."""
    sums = unit_sums(overtaking(winner, rival)[ballots], spread.runs, spread.units)
    return attack_size(sums, _gap(ballots, counts, winner, rival))


def _greedy(ballots: np.ndarray, spread: Spread, counts: np.ndarray, winner: int, rival: int) -> Attack | None:
    weights, gap = overtaking(winner, rival)[ballots], _gap(ballots, counts, winner, rival)
    taken: list[int] = []
    while gap > 0:
        sums = unit_sums(weights, spread.runs, spread.units)
        bucket = int(np.argmax(sums))
        if sums[bucket] == 0:
            return None
        taken.append(bucket)
        gap -= int(sums[bucket])
        weights[spread.seeing(bucket)] = 0
    reached = np.unique(np.concatenate([spread.seeing(u) for u in taken] or [np.zeros(0, dtype=np.int64)]))
    return Attack(winner, rival, np.array(taken, dtype=np.int64), reached)
