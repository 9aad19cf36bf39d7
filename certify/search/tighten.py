"""Intervals of neurons under the assumption that a clause is satisfied (INVPROP, arXiv 2302.01404), domain by domain.

What a search has to exclude are points of the domain whose output satisfies the clause: bounds of the neurons need to hold on those
only. Layer after layer the ends of the neurons that are not settled, or those ends that matter, are bounded anew, with lines and
multipliers of splits and conditions optimised; every layer profits from the layers before it and, through the conditions, from those
behind it, so that going round again pays as long as it settles neurons. Bounds that exclude each other prove that there are no such points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from certify.bounds.alpha import Schedule, minimum
from certify.bounds.relaxed import worth_tightening
from certify.bounds.rounding import NEAREST, OUTWARD
from certify.graph import Node
from certify.operators.rows import UnitRows
from certify.search.domain_bounds import Base, Conditions, Goals, Network, cut, excluded, improve, prove
from certify.search.domains import Domains
from certify.search.influence import Account, losses

_ROW_ELEMENTS = 1 << 23
"""Node values of all rows that are bounded at once."""
_WORTH = 0.002
"""Of a neuron's interval, what a better end has to cut off to be worth a proof."""


@dataclass(frozen=True)
class Sets:
    """Domains as input sets of their own: intervals, the splits that made them, and the conditions that may be assumed on each.

    `assumed` are numbers of conditions, (sets, most), -1 where there are fewer.
    """

    base: Base
    splits: Domains
    conditions: Conditions
    assumed: Tensor


def tighten(
    network: Network, sets: Sets, target: str, schedule: Schedule, rounds: int, wanted: Tensor | None = None
) -> tuple[Base, Tensor, list[Account]]:
    """The sets with intervals that hold wherever the conditions do, never wider; which sets are proved to hold no such point;
    and what the bounds of the neurons lose, in the last round.

    Only the ends in `wanted`, (sets, 2 neurons), lower ones first, are bounded anew; default: all of neurons that are not settled.
    """
    base, empty = sets.base, torch.zeros(len(sets.base), dtype=torch.bool)
    accounts: list[Account] = []
    for _ in range(rounds):
        accounts = []
        before = _unsettled(network, base, target) if rounds > 1 else 0
        for name in network.neurons.nodes:
            if network.budget.spent or bool(empty.all()):
                return base, empty, accounts
            base, empty = _tighten_node(network, replace(sets, base=base), target, name, schedule, empty, wanted, accounts)
        ends = base.lower, base.upper
        empty = empty | excluded(network.neurons, network.relaxed(base, torch.arange(len(base)), ends, target, OUTWARD), ends)
        if rounds > 1 and _unsettled(network, base, target) > 0.98 * before:
            break
    return base, empty, accounts


def _unsettled(network: Network, base: Base, target: str) -> int:
    relaxed = network.relaxed(base, torch.arange(len(base)), (base.lower.float(), base.upper.float()), target, NEAREST)
    masks = [worth_tightening(relaxed, network.model.graph.node(name)) for name in network.neurons.nodes]
    return sum(int(mask.sum()) for mask in masks if mask is not None)


def _tighten_node(
    network: Network,
    sets: Sets,
    target: str,
    name: str,
    schedule: Schedule,
    empty: Tensor,
    wanted: Tensor | None,
    accounts: list[Account],
) -> tuple[Base, Tensor]:
    base, node = sets.base, network.model.graph.node(name)
    first = network.neurons.first[network.neurons.nodes.index(name)]
    every = torch.arange(len(base))
    relaxed = network.relaxed(base, every, (base.lower.float(), base.upper.float()), target, NEAREST)
    mask = worth_tightening(relaxed, node)
    if mask is None:
        return base, empty
    ends = (mask.flatten(1) & ~empty[:, None])[:, None].repeat(1, 2, 1)
    if wanted is not None:
        ends &= wanted.unflatten(1, (2, -1))[:, :, first : first + ends.shape[2]]
    owner, side, index = ends.nonzero(as_tuple=True)
    if not len(owner):
        return base, empty
    lower, upper, empty = base.lower.clone(), base.upper.clone(), empty.clone()
    values = sum(torch.Size(n.shape).numel() for n in relaxed.order)
    for own, below, position in zip(*(t.split(max(1, _ROW_ELEMENTS // values)) for t in (owner, side == 0, index)), strict=True):
        if network.budget.spent:
            break
        goals, domains = _neuron_goals(sets, own, below, position, node, base, first)
        piece = cut(network, base, goals, domains, target, NEAREST)
        domains, lines = improve(goals, domains, piece, schedule, None)
        if network.budget.spent:
            break
        _, tape = minimum(piece.relaxed, piece.start, piece.owner, inequalities=piece.inequalities, initial=lines)
        if tape is not None:
            found = losses(piece.relaxed, piece.owner, tape, network.neurons)
            accounts.append(Account(own, first + position, below, found))
        where = own, first + position
        known = torch.where(below, lower[where], -upper[where])
        better = (domains.bound > known + _WORTH * (upper[where] - lower[where])).nonzero().squeeze(1)
        if not len(better):
            continue
        some = {key: line[better] for key, line in lines.items()}
        bound, hollow, _ = prove(network, base, goals, domains.select(better), target, some)
        known[better] = torch.maximum(known[better], bound)
        lower[own[below], first + position[below]] = known[below]
        upper[own[~below], first + position[~below]] = -known[~below]
        empty[own[better[hollow]]] = True
        empty |= (lower > upper).any(dim=1)
    crossed = lower > upper  # of empty sets only, which nobody looks at again: intervals must stay intervals
    lower, upper = torch.where(crossed, base.lower, lower), torch.where(crossed, base.upper, upper)
    return replace(base, lower=lower, upper=upper), empty


def _neuron_goals(
    sets: Sets, owner: Tensor, below: Tensor, position: Tensor, node: Node, base: Base, first: int
) -> tuple[Goals, Domains]:
    """A row e_i for each lower end and -e_i for each upper one, one domain each with the splits of its set; thresholds are zero, so that
    bounds are of the neurons, and none is good enough."""
    rows = {node.name: UnitRows(position, torch.where(below, 1.0, -1.0).double(), node.shape)}
    width = (base.upper - base.lower)[owner, first + position]
    assumed = sets.assumed[owner]
    unit = width[:, None] / sets.conditions.spread[assumed].clamp(min=1e-12)
    zero = torch.zeros(len(owner), dtype=torch.float64)
    goals = Goals(
        rows, zero, torch.full_like(zero, torch.inf), torch.zeros(len(owner), dtype=torch.bool), sets.conditions, assumed, unit
    )
    split = sets.splits.select(owner)
    widths = _widths(base, split, owner)
    domains = replace(
        split,
        goal=torch.arange(len(owner)),
        base=owner,
        bound=torch.full((len(owner),), -torch.inf),
        unit=(width[:, None] / widths).float(),
        multiplier=torch.zeros_like(split.multiplier),
        weight=(0.1 * unit).float(),
        slopes=torch.zeros(len(owner), 0),
    )
    return goals, domains


def _widths(base: Base, split: Domains, owner: Tensor) -> Tensor:
    """How wide the interval of each split neuron is, (n, depth)."""
    return (base.upper - base.lower)[owner].gather(1, split.neuron.long()).clamp(min=1e-6)
