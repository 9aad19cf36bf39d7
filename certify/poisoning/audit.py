"""Which training data the answers hang on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from certify.poisoning.attack import smallest_attack
from certify.poisoning.collective import changed_by_one
from certify.poisoning.spread import Spread
from certify.poisoning.votes import Votes, plurality


@dataclass(frozen=True)
class Audit:
    """The buckets to look at first, worst first: how many answers each changes alone, and in how many smallest attacks it takes
    part.
    """

    buckets: np.ndarray
    changes_alone: np.ndarray
    in_attacks: np.ndarray


def audit(votes: Votes, spread: Spread, top: int = 20) -> Audit:
    """The `top` buckets by the number of answers (by plurality) that they can change alone (exact), then by attacks found with
    them.
    """
    votes = votes.aligned(spread)
    fragile = plurality(votes, spread).radii < 1
    alone = changed_by_one(votes.ballots[:, fragile], spread, votes.classes)
    together = np.zeros(spread.units, dtype=np.int64)
    for ballots in votes.ballots.T:
        together[smallest_attack(ballots, spread, votes.classes).buckets] += 1
    order = np.lexsort((np.arange(spread.units), -together, -alone))[:top]
    return Audit(order, alone[order], together[order])
