"""One step of the search over neuron splits on some domains: bounds, intervals of their own where these pay, splits.

Everything is searched for in float32; a domain is closed only by a bound in float64 with outward rounding.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

from certify.bounds.alpha import Schedule, Tape, minimum
from certify.bounds.rounding import NEAREST
from certify.search.branching import Candidates, candidates, choose, cuts, propose
from certify.search.domain_bounds import Base, Cut, Goals, Layout, cut, improve, prove
from certify.search.domains import Domains, joined
from certify.search.findings import Findings
from certify.search.influence import Account, Losses, carried_back, losses
from certify.search.leaf import Domain as LeafDomain
from certify.search.leaf import close_leaves
from certify.search.neuron_root import Root
from certify.search.pace import Pace
from certify.search.stage import Problem
from certify.search.tighten import Sets, tighten

_STEP = Schedule(iterations=12, step=0.2, decay=0.9)
_NARROW = Schedule(iterations=6, step=0.3, decay=0.85)
_CANDIDATES = 6
_ESSENTIAL = 0.97


@dataclass(frozen=True)
class Task:
    """What all steps of a search have in common."""

    problem: Problem
    root: Root
    goals: Goals
    layout: Layout

    @property
    def target(self) -> str:
        """The network's output."""
        return self.problem.model.graph.output


class Step:
    """Some domains and their bases, worked on by one thread; what it finds out about clauses goes to the findings."""

    def __init__(self, task: Task, base: Base, findings: Findings, pace: Pace) -> None:
        self.base, self.findings, self.pace = base, findings, pace
        self.problem, self.root, self.goals, self.layout = task.problem, task.root, task.goals, task.layout
        self.network, self.target = task.root.network, task.target
        self.late = 0
        """Domains that were due for intervals of their own and did not get them for lack of time."""

    def run(self, domains: Domains) -> Domains:
        """Bounds the domains, closes those that it can, narrows what is worth it, and splits the others; returns what is left."""
        began = time.monotonic()
        left, after = self._bound(domains)
        self.pace.visited(domains.bound, after)
        due = self.pace.worth_narrowing(left)
        due, late = due[: self.pace.at_once], due[self.pace.at_once :]
        before = time.monotonic()
        narrowed = self._narrow(left.select(due))
        narrowing = time.monotonic() - before
        rest = torch.ones(len(left), dtype=torch.bool)
        rest[due] = rest[late] = False
        ready = joined([left.select(rest.nonzero().squeeze(1)), narrowed])
        if len(ready) and self.problem.remaining() > 0:
            ready = self._split(ready)
        self.pace.took(len(domains), time.monotonic() - began - narrowing, len(due), narrowing)
        self.late = len(late)
        return joined([left.select(late), ready])

    def _pass(self, piece: Cut, domains: Domains, forth: bool = True) -> tuple[Tensor, Tape | None]:
        """`alpha.minimum` with the lines and multipliers of the domains."""
        return minimum(
            piece.relaxed,
            piece.start,
            piece.owner,
            inequalities=piece.inequalities,
            initial=self.layout.unpack(domains.slopes),
            free=self.layout.free,
            forth=forth,
        )

    def _bound(self, domains: Domains) -> tuple[Domains, Tensor]:
        """What is left of the domains after some steps on their lines and multipliers; the bounds of all of them, (n,)."""
        self.findings.count(visited=len(domains))
        domains = replace(domains, unit=torch.maximum(domains.unit, self._bridging(domains)))
        piece = cut(self.network, self.base, self.goals, domains, self.target, NEAREST)
        better, lines = improve(self.goals, domains, piece, _STEP, self.layout.unpack(domains.slopes), self.layout.free)
        return self._close(replace(better, slopes=self.layout.pack(lines, len(domains)))), better.bound

    def _bridging(self, domains: Domains) -> Tensor:
        """Multipliers of the splits that close the gap where the minimiser is off by the width of the neuron, (n, depth).

        Where a bound does not depend on a neuron, as on an empty domain, there is no other natural size for a step.
        """
        gap = (-domains.bound).clamp(min=0).nan_to_num(posinf=0.0)
        where = domains.base[:, None], domains.neuron.long()
        width = self.base.upper[where] - self.base.lower[where]
        return gap[:, None] / width.clamp(min=1e-6).float()

    def _narrow(self, domains: Domains) -> Domains:
        """What is left of the domains once they have intervals of their own, found with their splits and the clause assumed."""
        if not len(domains):
            return domains
        own = self.base.select(domains.base)
        lower, upper = domains.intersect(own.lower, own.upper)
        assumed = self.root.assumed[self.root.clause[domains.goal]]
        sets = Sets(replace(own, lower=lower, upper=upper), domains, self.root.conditions, assumed)
        base, empty, accounts = tighten(self.network, sets, self.target, _NARROW, 1, own.essential)
        self.findings.close(domains.select(empty), torch.full((int(empty.sum()),), inf, dtype=torch.float64), "infeasible")
        first = len(self.base)
        self.base = self.base.plus(base)
        domains = replace(domains, base=first + torch.arange(len(domains)), fresh=domains.depth)
        self.findings.count(narrowed=len(domains))
        after = torch.full_like(domains.bound, inf)
        left = domains.select((~empty).nonzero().squeeze(1))
        if len(left):
            number = left.base - first
            left, after[number] = self._bound(left)
        self.pace.narrowed(domains.bound, after)
        return self._weighed(left, accounts, first, len(domains)) if len(left) else left

    def _weighed(self, domains: Domains, accounts: Sequence[Account], first: int, sets: int) -> Domains:
        """The domains, told which neuron to split: that of the greatest influence. Their bases are those from `first` on."""
        piece = cut(self.network, self.base, self.goals, domains, self.target, NEAREST)
        _, tape = self._pass(piece, domains)
        if tape is None:
            return domains
        found = losses(piece.relaxed, piece.owner, tape, self.network.neurons)
        number = domains.base - first
        spread = {name: value.new_zeros(sets, value.shape[1]).index_copy_(0, number, value) for name, value in vars(found).items()}
        width = self.base.upper[first:] - self.base.lower[first:]
        influence = carried_back(Losses(**spread), accounts, width.float())
        self.base = replace(self.base, essential=torch.cat([self.base.essential[:first], influence.essential(_ESSENTIAL)]))
        useful = cuts(piece.relaxed, piece.owner, self.network.neurons).useful
        gain, neuron = torch.where(useful, influence.split[number], 0).max(dim=1)
        return replace(domains, next=torch.where(gain > 0, neuron, -1))

    def _close(self, domains: Domains) -> Domains:
        """The domains that remain once those are closed whose bounds hold in real arithmetic."""
        likely = self.goals.reached(domains.goal, self.goals.threshold[domains.goal] + domains.bound.double())
        index = likely.nonzero().squeeze(1)
        if not len(index):
            return domains
        near = domains.select(index)
        bound, empty, _ = prove(
            self.network, self.base, self.goals, near, self.target, self.layout.unpack(near.slopes), self.layout.free
        )
        done = self.goals.reached(near.goal, bound)
        self.findings.close(near.select(done), bound[done], "bound")
        hollow = empty & ~done
        self.findings.close(near.select(hollow), torch.full((int(hollow.sum()),), inf, dtype=torch.float64), "infeasible")
        closed = done | hollow
        left = torch.ones(len(domains), dtype=torch.bool)
        left[index[closed]] = False
        reset = domains.bound.clone()
        reset[index[~closed]] = (bound - self.goals.threshold[near.goal])[~closed].float()
        return replace(domains, bound=reset).select(left.nonzero().squeeze(1))

    def _split(self, domains: Domains) -> Domains:
        """The children of the domains; leaves are decided on the spot."""
        piece = cut(self.network, self.base, self.goals, domains, self.target, NEAREST)
        _, tape = self._pass(piece, domains)
        if tape is None:
            return self._leaves(domains)
        self.findings.look_at(tape.values[self.problem.model.graph.input], domains)
        found = losses(piece.relaxed, piece.owner, tape, self.network.neurons)
        where = cuts(piece.relaxed, piece.owner, self.network.neurons)
        settled = domains.next >= 0
        neuron, some = domains.next.clone(), settled.clone()
        rest = (~settled).nonzero().squeeze(1)
        if len(rest):
            options = propose(where.select(rest), found.select(rest), _CANDIDATES)
            others = domains.select(rest)
            best, some[rest] = choose(options, *self._look_ahead(others, options), others.bound)
            neuron[rest] = options.neuron.gather(1, best).squeeze(1)
        leaves = self._leaves(domains.select((~some).nonzero().squeeze(1)))
        options = candidates(where, found, neuron.clamp(min=0)[:, None], some[:, None])
        index = some.nonzero().squeeze(1)
        if not len(index):
            return leaves
        neuron, point, unit = (v[index, 0] for v in (options.neuron, options.point, options.unit))
        parents = domains.select(index)
        self.findings.split(parents)
        children = parents.halved(neuron, point, unit)
        self.findings.reach(int(children.depth.max()))
        return children

    def _look_ahead(self, domains: Domains, options: Candidates) -> tuple[Tensor, Tensor]:
        """Bounds of both children of every candidate with the lines of the parent, less the threshold: (n, k) each."""
        n, k = options.neuron.shape
        found = []
        for part in torch.arange(n).split((n + 1) // 2):
            copies = domains.select(part.repeat_interleave(k))
            children = copies.halved(*(v[part].reshape(-1) for v in (options.neuron, options.point, options.unit)))
            piece = cut(self.network, self.base, self.goals, children, self.target, NEAREST)
            value, _ = self._pass(piece, children, forth=False)
            value = value - self.goals.threshold[children.goal].float()
            found.append(torch.maximum(value, children.bound).reshape(2, len(part), k))
        return tuple(torch.cat(found, dim=1))  # type: ignore[return-value]

    def _leaves(self, domains: Domains) -> Domains:
        """Closes domains without unstable neurons by linear programs; the others stay open for good, and are counted."""
        if not len(domains):
            return domains
        _, _, piece = prove(self.network, self.base, self.goals, domains, self.target, self.layout.unpack(domains.slopes))
        clause = self.root.clause[domains.goal].numpy()
        wanted = [
            LeafDomain(int(owner), self.root.atoms[self.root.clause.numpy() == k], path)
            for owner, k, path in zip(piece.owner, clause, domains.paths(self.network.neurons), strict=True)
        ]
        leaves = close_leaves(piece.relaxed, self.problem.table, wanted, self.problem.deadline)
        done = torch.tensor([leaf.closed for leaf in leaves])
        thresholds = self.goals.threshold[domains.goal]
        for reason in ("leaf", "infeasible"):
            these = done & torch.tensor([leaf.reason == reason for leaf in leaves])
            # A margin of zero: the leaf's inequality is of no atom alone and has a scale of its own.
            self.findings.close(domains.select(these), thresholds[these], reason)
        for k, leaf in zip(clause, leaves, strict=True):
            if not leaf.closed and leaf.candidate is not None:
                self.findings.replay(leaf.candidate, int(k))
        return domains.select(torch.zeros(0, dtype=torch.int64))
