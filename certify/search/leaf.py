"""Leaves of a search over neuron splits: domains on which the network is affine, decided by one linear program over the input.

On a domain whose unstable neurons are all fixed, every split neuron and every atom of the clause is an affine function of the input,
and its bounding lines are exact: the domain holds a witness, in real arithmetic, exactly if its constraints have a common point. Where
some neurons are still unstable, their lines stand in for the function: what is closed is closed, only the converse fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import torch

from certify.bounds.interval import Interval
from certify.bounds.relaxed import Region, Relaxed
from certify.operators.table import OPS
from certify.search.constraints import Array, Constraints, Domain, Frontier
from certify.search.evidence import Reason
from certify.search.linear_program import LinearProgram, least_violation, margin
from certify.search.problem import Table
from certify.sets import LpBall


@dataclass(frozen=True)
class Leaf:
    """What the linear program says of a domain.

    closed       proved, in real arithmetic: no point of the domain satisfies the clause.
    reason       "infeasible" where the multipliers need no atom: the splits contradict each other; else "leaf".
    margin       the lower bound of the aggregated inequality that proves it where positive; -inf where the solver gave up.
    multipliers  of that inequality: the splits in their order, then the atoms.
    candidate    a point of the input set, flat, that the program takes for a witness; None where it sees none.
    """

    closed: bool
    reason: Reason
    margin: float
    multipliers: Array
    candidate: Array | None = None


def close_leaf(relaxed: Relaxed, table: Table, domain: Domain, deadline: float = inf) -> Leaf:
    """Whether no point of the domain satisfies all its atoms, proved; see `close_leaves`."""
    return close_leaves(relaxed, table, [domain], deadline)[0]


def close_leaves(relaxed: Relaxed, table: Table, domains: Sequence[Domain], deadline: float = inf) -> list[Leaf]:
    """For every domain, whether it is proved that none of its points satisfies all its atoms.

    `relaxed` must have been made in float64 with outward rounding, up to the network's output; a domain's atoms lie over its input
    set. After the deadline, a time.monotonic() value, domains stay open.
    """
    if not domains:
        return []
    constraints = Constraints.gather(Frontier(relaxed), table, domains)
    programs = [over_input(relaxed.region, domain.owner, *constraints.of(i)) for i, domain in enumerate(domains)]
    return [_decide(program, len(domain.splits), deadline) for program, domain in zip(programs, domains, strict=True)]


def _decide(program: LinearProgram, splits: int, deadline: float) -> Leaf:
    """Looks for multipliers, and evaluates what they prove."""
    solution = least_violation(program, deadline)
    if solution is None:
        return Leaf(False, "leaf", -inf, np.zeros(len(program.rows)))
    proved = margin(program, solution.multipliers)
    reason: Reason = "leaf" if solution.multipliers[splits:].any() else "infeasible"
    return Leaf(proved > 0, reason, proved, solution.multipliers, None if proved > 0 else solution.point)


def over_input(region: Region, owner: int, rows: Array, shift: Array) -> LinearProgram:
    """The program of constraints on the input, which lies in one batch element of a region."""
    own = region.map(lambda t: t[owner : owner + 1])
    lower, upper = (end.flatten().cpu().numpy() for end in (own.box.lower, own.box.upper))
    return LinearProgram(rows, shift, lower, upper, own if isinstance(own, LpBall) and own.p < inf else None)


def cut_intervals(root: Relaxed, domains: Sequence[Domain]) -> dict[str, Interval]:
    """The intervals of `root` cut off at the splits, one batch element a domain: what `relax_network` takes as `known`.

    Of all nodes that a nonlinear one reads: lines that are exact on one side of a split may bound the neurons behind it worse over the
    whole input set than the root's did. Where a split contradicts the interval, lower > upper.
    """
    names = {name for node in root.order if node.inputs and not OPS[node.op].affine for name in node.inputs}
    owner = torch.tensor([domain.owner for domain in domains], device=root.program.device)
    lower, upper = ({name: root.intervals[name][side][owner].clone() for name in names} for side in (0, 1))
    for number, domain in enumerate(domains):
        for name, index, point, sign in domain.splits:
            ends, cut = (lower, max) if sign > 0 else (upper, min)
            end, place = ends[name][number], np.unravel_index(index, ends[name].shape[1:])
            end[place] = cut(float(end[place]), point)
    return {name: (lower[name], upper[name]) for name in names}
