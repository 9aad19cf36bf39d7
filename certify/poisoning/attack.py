"""Concrete attacks on an aggregation: buckets that, poisoned, change an answer. They show how tight a certificate is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from certify.kernels import votes_cpu
from certify.kernels.votes_reference import Route, unit_sums
from certify.poisoning.routes import routes, size_at_least, within
from certify.poisoning.spread import Spread
from certify.poisoning.votes import Votes


@dataclass(frozen=True)
class Attack:
    """Buckets which, if all classifiers that see them vote for `rivals` as suits best, take the win from `winner`."""

    winner: int
    rivals: tuple[int, ...]
    buckets: np.ndarray
    classifiers: np.ndarray


def find_attack(votes: Votes, spread: Spread, rule: str, i: int) -> Attack | None:
    """The smallest attack found on the answer at input i, the smallest there is for plurality and disjoint buckets; None where no
    buckets change it.

    On every route buckets are taken greedily by what they still add.
    """
    winner, ways = routes(votes, rule, i)
    best: Attack | None = None
    for route in sorted(ways, key=lambda way: size_at_least(way, spread)):
        most = spread.units if best is None else len(best.buckets) - 1
        buckets = _covering(route, spread) if within(route, spread, most) else None
        if buckets is not None and len(buckets) <= most:
            best = Attack(winner, route.rivals, buckets, spread.seeing(buckets))
    return best


def breaking_buckets(votes: Votes, spread: Spread, rule: str, i: int) -> np.ndarray:
    """The buckets that change the answer at input i when poisoned alone: a mask (units,), exact."""
    breaking = np.zeros(spread.units, dtype=bool)
    for route in routes(votes, rule, i)[1]:
        if size_at_least(route, spread) <= 1:
            breaking |= np.all([unit_sums(x.weights, spread.runs, spread.units) >= x.gap for x in route.leads], axis=0)
    return breaking


def _covering(route: Route, spread: Spread) -> np.ndarray | None:
    weights, gaps = np.stack([lead.weights for lead in route.leads]), np.array([lead.gap for lead in route.leads])
    taken, covered = votes_cpu.cover(weights, gaps, spread.units_of, spread.classifiers_of)
    return taken if covered else None
