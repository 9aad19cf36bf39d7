"""Votes of base classifiers, and the certificates that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from certify.kernels import votes_cpu
from certify.kernels.votes_reference import ABSTAIN, MAX_CLASSES, MISSING, UNPROVED
from certify.poisoning.spread import Spread

TILE = 256
"""Inputs whose ballots are laid out contiguously at a time."""
_LARGEST_SUM = 2**15 - 1


@dataclass(frozen=True)
class Votes:
    """Ballots of classifiers `ids` on some inputs: uint8 (classifiers, inputs), a class, `ABSTAIN` or `UNPROVED`.

    `places`, for run-offs, holds the rank that each classifier gives each class, uint8 (classifiers, inputs, classes), 0 the best;
    rows of `ABSTAIN` abstain. `ids` are the numbers of the classifiers in their `Spread`; None where nobody recorded them.
    `answers` are the classes elected when unproved votes are counted as cast, int64 (inputs,); None where every vote stands as it
    is.
    """

    ballots: np.ndarray
    classes: int
    ids: np.ndarray | None = None
    places: np.ndarray | None = None
    answers: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.ballots.ndim != 2 or self.ballots.dtype != np.uint8:
            raise ValueError(f"ballots must be uint8 (classifiers, inputs), got {self.ballots.dtype} {list(self.ballots.shape)}")
        if not 1 <= self.classes <= MAX_CLASSES:
            raise ValueError(f"votes are stored in one byte: 1 to {MAX_CLASSES} classes, got {self.classes}")
        if self.ids is not None and (len(self.ids) != len(self.ballots) or len(np.unique(self.ids)) != len(self.ids)):
            raise ValueError(f"ids must name each of the {len(self.ballots)} rows of ballots once")
        if self.places is not None and self.places.shape != (*self.ballots.shape, self.classes):
            raise ValueError(f"places must have shape {[*self.ballots.shape, self.classes]}, got {list(self.places.shape)}")

    def aligned(self, spread: Spread) -> Votes:
        """The same votes with row b cast by classifier b of `spread`; a ValueError where the classifiers are not the same.

        Overlapping buckets make the order matter: radii of rows in another order claim too much (found in published code).
        """
        if len(self.ballots) != spread.classifiers:
            raise ValueError(
                f"{len(self.ballots)} rows of ballots for {spread.classifiers} classifiers; every classifier must vote"
            )
        if self.ids is None:
            if spread.disjoint:
                return self
            raise ValueError("buckets are shared between classifiers, so row b must be classifier b: say which by `ids`")
        ids = np.asarray(self.ids)
        if not np.array_equal(np.sort(ids), np.arange(spread.classifiers)):
            raise ValueError(f"ids name classifiers that are not those of the ensemble (0 to {spread.classifiers - 1})")
        if np.array_equal(ids, np.arange(spread.classifiers)):
            return self
        order = np.argsort(ids)
        places = None if self.places is None else self.places[order]
        return replace(self, ballots=self.ballots[order], ids=ids[order], places=places)

    def tiles(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Blocks of inputs with their ballots as contiguous (inputs, classifiers); a ValueError for a ballot that is no vote."""
        for start in range(0, self.ballots.shape[1], TILE):
            part = slice(start, min(start + TILE, self.ballots.shape[1]))
            tile = np.ascontiguousarray(self.ballots[:, part].T)
            invalid = (tile >= self.classes) & (tile < UNPROVED)
            if invalid.any():
                i, b = (int(j) for j in np.argwhere(invalid)[0])
                what = "has not voted yet" if tile[i, b] == MISSING else f"votes {tile[i, b]} of {self.classes} classes"
                raise ValueError(f"classifier {b} {what} on input {start + i}")
            yield part, tile


@dataclass(frozen=True)
class Radii:
    """Winning class and certified radius of every input, int64 (inputs,): radii count buckets, -1 where nothing is certified."""

    winners: np.ndarray
    radii: np.ndarray


def plurality(votes: Votes, spread: Spread) -> Radii:
    """Class with most votes (ties to the smaller) and a number of buckets that cannot change it, exact if classifiers see one each.

    Ballots that are `UNPROVED` count for whatever rival they help, at no cost to the adversary (arXiv 2301.11824).
    """
    check_sums(2, spread)
    votes = votes.aligned(spread)
    winners, radii = _empty(votes), _empty(votes)
    for part, tile in votes.tiles():
        winners[part], radii[part] = votes_cpu.plurality(tile, spread.runs, spread.units, spread.degree, votes.classes)
    return Radii(winners, radii)


def runoff(votes: Votes, spread: Spread) -> Radii:
    """Winner of a run-off between the two classes with most votes, and a number of buckets that cannot change it.

    Source: arXiv 2302.02300, with bounds on shared classifiers of our own where buckets overlap.
    """
    check_sums(3, spread)
    votes = votes.aligned(spread)
    if votes.places is None:
        raise ValueError("a run-off needs `places`, the rank that each classifier gives each class")
    if (votes.ballots == UNPROVED).any():
        raise ValueError("unproved votes have no run-off certificate; use the plurality rule")
    if votes.classes < 2:
        raise ValueError("a run-off needs at least two classes")
    winners, radii = _empty(votes), _empty(votes)
    for start in range(0, len(winners), TILE // 8):
        part = slice(start, start + TILE // 8)
        tile = np.ascontiguousarray(votes.places[:, part].transpose(1, 0, 2))
        _check_places(tile, start)
        winners[part], radii[part] = votes_cpu.runoff(tile, spread.runs, spread.units, spread.degree)
    return Radii(winners, radii)


def targeted(votes: Votes, spread: Spread, targets: Sequence[int] | np.ndarray | int) -> np.ndarray:
    """A number of buckets that cannot make `targets` (one class, or one per input) win, -1 where it wins already: (inputs,)."""
    check_sums(votes.classes + 1, spread)
    votes = votes.aligned(spread)
    wanted = np.broadcast_to(np.asarray(targets, dtype=np.int64), votes.ballots.shape[1:])
    if wanted.size and not 0 <= wanted.min() <= wanted.max() < votes.classes:
        raise ValueError(f"targets must be classes from 0 to {votes.classes - 1}")
    radii = _empty(votes)
    for part, tile in votes.tiles():
        radii[part] = votes_cpu.targeted(tile, spread.runs, spread.units, spread.degree, votes.classes, wanted[part])
    return radii


RULES = {"plurality": plurality, "runoff": runoff}


def places_of(scores: np.ndarray) -> np.ndarray:
    """Ranks of the classes by score, best 0, ties to the smaller class: (..., classes) to uint8; NaN is a ValueError."""
    if np.isnan(scores).any():
        raise ValueError("scores contain NaN; a classifier without an answer must abstain")
    order = np.argsort(-scores, axis=-1, kind="stable")
    places = np.empty(scores.shape, dtype=np.uint8)
    np.put_along_axis(places, order, np.arange(scores.shape[-1], dtype=np.uint8), axis=-1)
    return places


def votes_from_scores(scores: np.ndarray, ids: np.ndarray | None = None) -> Votes:
    """Votes by score, (classifiers, inputs, classes), ties to the smaller class, with the ranks that run-offs need.

    A ValueError for a single score: no other class could win.
    """
    scores = np.asarray(scores)
    if scores.ndim != 3 or scores.shape[2] < 2:
        raise ValueError(f"scores must be (classifiers, inputs, classes) with at least two classes, got {list(scores.shape)}")
    places = places_of(scores)
    return Votes(np.argmin(places, axis=-1).astype(np.uint8), scores.shape[-1], ids, places)


def _empty(votes: Votes) -> np.ndarray:
    return np.empty(votes.ballots.shape[1], dtype=np.int64)


def check_sums(weight: int, spread: Spread) -> None:
    """A ValueError where sums of so large weights over a bucket's classifiers leave the kernels' numbers."""
    if weight * spread.degree > _LARGEST_SUM:
        raise ValueError(f"a bucket is seen by {spread.degree} classifiers; at most {_LARGEST_SUM // weight} are supported")


def _check_places(tile: np.ndarray, start: int) -> None:
    ranked = np.sort(tile, axis=2)
    good = (ranked == np.arange(tile.shape[2])).all(axis=2) | (tile == ABSTAIN).all(axis=2)
    if not good.all():
        i, b = (int(j) for j in np.argwhere(~good)[0])
        raise ValueError(f"classifier {b} gives input {start + i} the places {tile[i, b].tolist()}, which are no ranking")
