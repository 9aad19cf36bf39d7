"""Certificates for many inputs under one attack: the adversary has to choose one set of buckets for all of them.

Adding up pointwise certificates pretends that every input could be attacked separately. One poisoned bucket is small enough to try
all: the count is exact. For more, a linear program bounds how many inputs can be changed at once; every route to another answer has
its own variable (published code looks at the runner-up only, which counts too few).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import csr_array

from certify.kernels.votes_reference import unit_sums
from certify.poisoning.attack import breaking_buckets
from certify.poisoning.linear_bound import upper_bound
from certify.poisoning.routes import routes, within
from certify.poisoning.spread import Spread
from certify.poisoning.votes import Votes

GROUP = 64
"""Inputs in one program; the bounds of groups are added up, which remains a bound."""

Needs = list[tuple[np.ndarray, int]]
"""A route as a program sees it: of every lead what each bucket gives to it, and its gap."""


def changed_by_one(votes: Votes, spread: Spread, rule: str, inputs: Sequence[int] | np.ndarray) -> np.ndarray:
    """For every bucket the number of `inputs` whose answer it alone can change: (units,), exact."""
    total = np.zeros(spread.units, dtype=np.int64)
    for i in inputs:
        total += breaking_buckets(votes, spread, rule, int(i))
    return total


def most_changed(
    votes: Votes,
    spread: Spread,
    rule: str,
    inputs: Sequence[int] | np.ndarray,
    size: int,
    progress: Callable[[int], None] = lambda steps: None,
) -> int:
    """At most so many of `inputs` change their answer when `size` buckets are poisoned, the same for all.

    Exact for one bucket; never more than the number of inputs that can be changed one by one. `progress` counts inputs.
    """
    if size == 1:
        return int(changed_by_one(votes, spread, rule, inputs).max(initial=0))
    total = 0
    for start in range(0, len(inputs), GROUP):
        group = [ways for i in inputs[start : start + GROUP] if (ways := _ways(votes, spread, rule, int(i), size))]
        total += min(len(group), _bound(group, spread.units, size)) if group else 0
        progress(len(inputs[start : start + GROUP]))
    return total


def _ways(votes: Votes, spread: Spread, rule: str, i: int, size: int) -> list[Needs]:
    """The routes that `size` buckets may take at input i. Gifts beyond a gap are cut."""
    return [
        [(np.minimum(unit_sums(x.weights, spread.runs, spread.units), x.gap), x.gap) for x in route.leads if x.gap > 0]
        for route in routes(votes, rule, i)[1]
        if within(route, spread, size)
    ]


def _bound(group: list[list[Needs]], units: int, size: int) -> int:
    """Bound on the inputs i with z_i = 1, where z_i <= sum of w_ir over its routes r, gap w_ir <= gifts @ x for each lead of the
    route, and x holds at most `size` buckets.

    Variables: x (buckets), w (one per input and route), z (inputs).
    """
    ways = sum(map(len, group))
    columns = units + ways + len(group)
    rows: list[np.ndarray] = []
    w = units
    for i, of_input in enumerate(group):
        choice = np.zeros(columns, dtype=np.int64)
        choice[units + ways + i] = 1
        for needs in of_input:
            for gifts, gap in needs:
                row = np.zeros(columns, dtype=np.int64)
                row[:units], row[w] = -gifts, gap
                rows.append(row)
            choice[w] = -1
            w += 1
        rows.append(choice)
    rows.append(np.concatenate([np.ones(units, dtype=np.int64), np.zeros(columns - units, dtype=np.int64)]))
    limits = np.zeros(len(rows), dtype=np.int64)
    limits[-1] = size
    objective = np.concatenate([np.zeros(units + ways, dtype=np.int64), np.ones(len(group), dtype=np.int64)])
    return upper_bound(objective, csr_array(np.stack(rows)), limits, np.ones(columns, dtype=np.int64))
