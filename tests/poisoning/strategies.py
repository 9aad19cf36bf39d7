"""Small elections, and the truth about them by trying every attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, permutations, product

import numpy as np
from hypothesis import strategies as st

from certify.kernels.votes_reference import ABSTAIN, UNPROVED
from certify.poisoning.spread import Spread, disjoint, finite, overlapping


@st.composite
def spreads(draw: st.DrawFn, most: int = 7) -> Spread:
    """Disjoint, finite-aggregation and arbitrary incidences of at most `most` classifiers."""
    kind = draw(st.sampled_from(["disjoint", "finite", "overlapping"]))
    if kind == "disjoint":
        return disjoint(draw(st.integers(1, most)))
    if kind == "finite":
        k, d = draw(st.sampled_from([(k, d) for k in range(1, most + 1) for d in range(1, most + 1) if k * d <= most]))
        return finite(k, d, draw(st.permutations(range(k * d)))[:d])
    units = draw(st.integers(1, 5))
    buckets = st.lists(st.integers(0, units - 1), unique=True, max_size=units)
    return overlapping(draw(st.lists(buckets, min_size=1, max_size=most)), units)


def ballots(spread: Spread, classes: int, special: tuple[int, ...] = (ABSTAIN,)) -> st.SearchStrategy[np.ndarray]:
    """One input's ballots, (classifiers,): classes more often than the special codes."""
    vote = st.one_of(st.integers(0, classes - 1), st.integers(0, classes - 1), st.sampled_from([0, *special]))
    return st.lists(vote, min_size=spread.classifiers, max_size=spread.classifiers).map(lambda v: np.array(v, dtype=np.uint8))


def rankings(spread: Spread, classes: int) -> st.SearchStrategy[np.ndarray]:
    """One input's places, (classifiers, classes); some classifiers abstain."""
    ranking = st.one_of(st.permutations(range(classes)), st.permutations(range(classes)), st.just([ABSTAIN] * classes))
    return st.lists(ranking, min_size=spread.classifiers, max_size=spread.classifiers).map(lambda v: np.array(v, dtype=np.uint8))


def attacks(spread: Spread) -> Iterator[tuple[int, np.ndarray]]:
    """Every set of poisoned buckets by size, with the classifiers it reaches."""
    for size in range(spread.units + 1):
        for units in combinations(range(spread.units), size):
            yield size, np.unique(np.concatenate([spread.seeing(u) for u in units] or [np.zeros(0, np.int64)])).astype(int)


def smallest(spread: Spread, wins: Callable[[np.ndarray], bool]) -> int:
    """The true size of the smallest attack, one more than there are buckets if there is none."""
    return next((size for size, reached in attacks(spread) if wins(reached)), spread.units + 1)


def plurality_winner(ballots: np.ndarray, classes: int) -> int:
    """Class with most votes, ties to the smaller."""
    return int(np.argmax([(ballots == c).sum() for c in range(classes)]))


def runoff_winner(places: np.ndarray) -> int:
    """The rule itself, with plain loops."""
    classes = places.shape[1]
    votes = [int((places[:, c] == 0).sum()) for c in range(classes)]
    first, second = sorted(range(classes), key=lambda c: (-votes[c], c))[:2]
    a, b = min(first, second), max(first, second)
    return b if (places[:, b] < places[:, a]).sum() > (places[:, a] < places[:, b]).sum() else a


def revotes(values: np.ndarray, reached: np.ndarray, options: list) -> Iterator[np.ndarray]:
    """`values` with the reached classifiers answering in every possible way."""
    for choice in product(options, repeat=len(reached)):
        changed = values.copy()
        for b, answer in zip(reached, choice, strict=True):
            changed[b] = answer
        yield changed


def rankings_of(classes: int) -> list[tuple[int, ...]]:
    """Every ranking of the classes."""
    return list(permutations(range(classes)))


def controlled(ballots: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """The reached classifiers together with those whose vote is unproved."""
    return np.union1d(reached, np.flatnonzero(ballots == UNPROVED)).astype(int)
