"""Which training data the answers hang on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from certify.poisoning.attack import find_attack
from certify.poisoning.collective import changed_by_one
from certify.poisoning.spread import Spread
from certify.poisoning.votes import RULES, Votes


@dataclass(frozen=True)
class Audit:
    """The buckets to look at first, worst first: how many answers each changes alone, and in how many smallest attacks it takes
    part.
    """

    buckets: np.ndarray
    changes_alone: np.ndarray
    in_attacks: np.ndarray


def audit(
    votes: Votes, spread: Spread, top: int = 20, rule: str = "plurality", progress: Callable[[int], None] = lambda steps: None
) -> Audit:
    """The `top` buckets by the number of answers that they can change alone (exact), then by attacks found with them.

    An answer that no buckets can change has no attack.
    """
    votes = votes.aligned(spread)
    radii = RULES[rule](votes, spread).radii
    alone = changed_by_one(votes, spread, rule, np.flatnonzero(radii < 1))
    together = np.zeros(spread.units, dtype=np.int64)
    for i in range(len(radii)):
        attack = find_attack(votes, spread, rule, i)
        together[[] if attack is None else attack.buckets] += 1
        progress(1)
    order = np.lexsort((np.arange(spread.units), -together, -alone))[:top]
    return Audit(order, alone[order], together[order])
