"""Branch and bound over the neurons: beta-CROWN (arXiv 2103.06624) on domains that are cut at the kinks of activations.

The open clauses share a root: intervals of all neurons. Each clause then narrows them by assuming that it is satisfied (`tighten`), and
what is left of it is a domain, which is bounded, and split at a neuron while the bound does not decide. Everything is searched for in
float32; a domain is closed only by a bound in float64 with outward rounding.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.bounds.alpha import Schedule, minimum
from certify.bounds.budget import Budget
from certify.bounds.rounding import NEAREST
from certify.graph import Graph
from certify.io.witness import Witness, replay
from certify.operators.base import Elementwise
from certify.operators.rows import DenseRows
from certify.operators.table import OPS
from certify.search.branching import Candidates, candidates, choose, cuts, propose
from certify.search.domain_bounds import Cut, Goals, Layout, cut, improve, prove
from certify.search.domains import Domains, Worklist, joined
from certify.search.evidence import ClosedDomains
from certify.search.influence import Account, Losses, carried_back, losses
from certify.search.leaf import Domain as LeafDomain
from certify.search.leaf import close_leaves
from certify.search.neuron_root import Root, relax_root
from certify.search.pace import SECONDS_A_STEP, Pace
from certify.search.projection import interior, project
from certify.search.stage import Problem, Progress, count
from certify.search.tighten import Sets, tighten

_ROOT = Schedule(iterations=20, step=0.3, decay=0.9)
_TIGHTEN = Schedule(iterations=10, step=0.3, decay=0.9)
_STEP = Schedule(iterations=12, step=0.2, decay=0.9)
_NARROW = Schedule(iterations=4, step=0.3, decay=0.85)
_CANDIDATES = 6
_FEW_BASES = 256
_ESSENTIAL = 0.97
_FIRST_SIZE, _MOST_DOMAINS = 32, 4096


def splittable(graph: Graph) -> bool:
    """Whether some neuron can be split: an elementwise function of something else than the input."""
    return any(isinstance(OPS.get(node.op), Elementwise) and node.inputs[0] != graph.input for node in graph.nodes)


def split_neurons(problem: Problem, progress: Progress) -> Progress:
    """Excludes open clauses by branch and bound over neurons, or finds a witness among the minimisers of its bounds.

    Ends at the deadline with whatever is decided by then.
    """
    clauses = np.flatnonzero(progress.open)
    root = relax_root(problem, clauses)
    if root is None:
        return progress.noted("neuron splitting: no time was left for the bounds of the neurons")
    run = _Run(problem, root)
    run.narrow()
    run.start()
    while run.going():
        run.step()
    line = run.line()
    open_, margin = progress.open.copy(), progress.margin.copy()
    open_[clauses[run.excluded]] = False
    margin[clauses[run.excluded]] = np.maximum(margin[clauses[run.excluded]], run.margin[run.excluded])
    return replace(progress, open=open_, margin=margin, witness=run.witness, log=(*progress.log, line))


class _Run:
    """The state of one search."""

    def __init__(self, problem: Problem, root: Root) -> None:
        self.problem, self.root = problem, root
        self.started = time.monotonic()
        self.target = problem.model.graph.output
        self.base, self.network = root.base, root.network
        clauses = len(root.clauses)
        self.excluded = np.zeros(clauses, dtype=bool)
        self.margin = np.full(clauses, inf)
        self.stuck = np.zeros(clauses, dtype=bool)
        self.witness: Witness | None = None
        self.attackable = problem.spec.inputs.attackable()
        self.visited = self.narrowed = self.closed = self.deepest = 0
        self.size, self.kept = _FIRST_SIZE, _FEW_BASES
        self.notes = ""
        self.pace = Pace()

    def narrow(self) -> None:
        """Intervals of the neurons, each clause assumed on its own set."""
        root = self.root
        sets = len(root.clauses)
        unsplit = Domains.roots(torch.arange(sets), torch.zeros(sets, root.assumed.shape[1]), torch.zeros(sets, 0))
        network = replace(self.network, budget=Budget(deadline=time.monotonic() + 0.3 * self.problem.remaining()))
        tightened, empty, _ = tighten(network, Sets(root.base, unsplit, root.conditions, root.assumed), self.target, _TIGHTEN, 4)
        self.base = tightened
        self.excluded |= empty.numpy()
        if self.problem.evidence.wanted and bool(empty.any()):
            excluded = root.clauses[empty.numpy()]
            self.problem.evidence.close(ClosedDomains(excluded, "infeasible", [[] for _ in excluded]))
        self.notes = f"narrowed in {time.monotonic() - self.started:.2f} s, {int(empty.sum())} excluded by it"

    def start(self) -> None:
        """One domain for each clause that is left, its goal the atom of the best bound."""
        root = self.root
        assumed = root.assumed[root.clause]
        assumed = torch.where(assumed == torch.arange(len(root.atoms))[:, None], -1, assumed)
        spread = root.conditions.spread
        unit = spread[:, None] / spread[assumed].clamp(min=1e-12)
        rows = {self.target: DenseRows(root.conditions.outputs)}
        if root.conditions.inputs is not None:
            rows[self.problem.model.graph.input] = DenseRows(root.conditions.inputs)
        strict = torch.from_numpy(self.problem.table.strict[root.atoms])
        self.goals = Goals(rows, root.conditions.rhs, strict, root.conditions, assumed, unit)
        domains = Domains.roots(root.clause, (0.01 * unit * (assumed >= 0)).float(), torch.zeros(len(root.atoms), 0))
        domains = domains.select(torch.from_numpy(~self.excluded)[root.clause].nonzero().squeeze(1))
        self.layout = Layout({}, {})
        self.work = Worklist(domains, self.problem.memory)
        if not len(domains):
            return
        piece = cut(self.network, self.base, self.goals, domains, self.target, NEAREST)
        domains, lines = improve(self.goals, domains, piece, _ROOT, None)
        self.layout = Layout.of(lines, self._loose(piece))
        domains = replace(domains, slopes=self.layout.pack(lines, len(domains)))
        best = [
            int(of[domains.bound[of].argmax()])
            for k in range(len(root.clauses))
            if len(of := (root.clause[domains.goal] == k).nonzero().squeeze(1))
        ]
        self.work = Worklist(self._close(domains.select(torch.tensor(best))), self.problem.memory)

    def _loose(self, piece: Cut) -> dict[str, Tensor]:
        """For each nonlinear node the neurons whose lines are free on some set."""
        found = {}
        for node in piece.relaxed.order:
            rule = OPS.get(node.op)
            if isinstance(rule, Elementwise):
                l, u = piece.relaxed.intervals[node.inputs[0]]
                found[node.name] = (~rule.linear(l, u, node, piece.relaxed.program.params(node))).flatten(1).any(dim=0)
        return found

    def going(self) -> bool:
        """Whether there is something to do, time for it, and memory."""
        taken = self.work.bytes + self.base.bytes
        return self.witness is None and len(self.work) > 0 and self.problem.remaining() > 0 and taken < self.problem.memory

    def step(self) -> None:
        """Bounds some domains, closes those that it can, narrows what is worth it, and splits the others."""
        began = time.monotonic()
        self._forget()
        domains = self.work.take(self.size)
        left = self._bound(domains)
        self.pace.visits.add(len(domains), time.monotonic() - began)
        due = self.pace.worth_narrowing(left)
        self.work.put(left.select(due[self.pace.at_once :]))
        narrowed = self._narrow(left.select(due[: self.pace.at_once]))
        rest = torch.ones(len(left), dtype=torch.bool)
        rest[due] = False
        left = joined([left.select(rest.nonzero().squeeze(1)), narrowed])
        if len(left) and self.problem.remaining() > 0:
            left = self._split(left)
        self.work.put(left)
        seconds = time.monotonic() - began
        if len(due) > self.pace.at_once:
            self.size = max(self.size // 2, self.pace.at_once)
        elif seconds < 0.5 * SECONDS_A_STEP and len(domains) == self.size:
            self.size = min(2 * self.size, _MOST_DOMAINS)
        elif seconds > 1.5 * SECONDS_A_STEP:
            self.size = max(self.size // 2, 1)

    def _forget(self) -> None:
        """Drops the bases that no open domain refers to, once there are twice as many as after the last time."""
        if len(self.base) < 2 * self.kept:
            return
        used = self.work.bases()
        number = torch.zeros(len(self.base), dtype=torch.int64)
        number[used] = torch.arange(len(used))
        self.base = self.base.select(used)
        self.work.renumber(number)
        self.kept = max(_FEW_BASES, len(used))

    def _bound(self, domains: Domains) -> Domains:
        """What is left of the domains after some steps on their lines and multipliers."""
        self.visited += len(domains)
        piece = cut(self.network, self.base, self.goals, domains, self.target, NEAREST)
        better, lines = improve(self.goals, domains, piece, _STEP, self.layout.unpack(domains.slopes))
        self.pace.gained(domains.bound, better.bound)
        return self._close(replace(better, slopes=self.layout.pack(lines, len(domains))))

    def _narrow(self, domains: Domains) -> Domains:
        """What is left of the domains once they have intervals of their own, found with their splits and the clause assumed."""
        if not len(domains):
            return domains
        began = time.monotonic()
        own = self.base.select(domains.base)
        lower, upper = domains.intersect(own.lower, own.upper)
        assumed = self.root.assumed[self.root.clause[domains.goal]]
        sets = Sets(replace(own, lower=lower, upper=upper), domains, self.root.conditions, assumed)
        base, empty, accounts = tighten(self.network, sets, self.target, _NARROW, 1, own.essential)
        self._note(domains.select(empty), torch.full((int(empty.sum()),), inf, dtype=torch.float64), "infeasible")
        first = len(self.base)
        self.base = self.base.plus(base)
        domains = replace(domains, base=first + torch.arange(len(domains)), fresh=domains.depth)
        self.narrowed += len(domains)
        self.pace.narrowings.add(len(domains), time.monotonic() - began)
        after = torch.zeros_like(domains.bound)
        left = domains.select((~empty).nonzero().squeeze(1))
        left = self._bound(left) if len(left) else left
        after[left.base - first] = left.bound
        self.pace.lifted(domains.bound, after)
        return self._weighed(left, accounts, first, len(domains)) if len(left) else left

    def _weighed(self, domains: Domains, accounts: Sequence[Account], first: int, sets: int) -> Domains:
        """The domains, told which neuron to split: that of the greatest influence. Their bases are those from `first` on."""
        piece = cut(self.network, self.base, self.goals, domains, self.target, NEAREST)
        lines = self.layout.unpack(domains.slopes)
        _, tape = minimum(piece.relaxed, piece.start, piece.owner, inequalities=piece.inequalities, initial=lines)
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
        bound, empty, _ = prove(self.network, self.base, self.goals, near, self.target, self.layout.unpack(near.slopes))
        done = self.goals.reached(near.goal, bound)
        self._note(near.select(done), bound[done], "bound")
        hollow = empty & ~done
        self._note(near.select(hollow), torch.full((int(hollow.sum()),), inf, dtype=torch.float64), "infeasible")
        closed = done | hollow
        left = torch.ones(len(domains), dtype=torch.bool)
        left[index[closed]] = False
        reset = domains.bound.clone()
        reset[index[~closed]] = (bound - self.goals.threshold[near.goal])[~closed].float()
        return replace(domains, bound=reset).select(left.nonzero().squeeze(1))

    def _note(self, domains: Domains, bound: Tensor, reason: str) -> None:
        """Counts closed domains, and hands them over where a proof is wanted."""
        if not len(domains):
            return
        self.closed += len(domains)
        clause = self.root.clause[domains.goal].numpy()
        np.minimum.at(self.margin, clause, np.nextafter((bound - self.goals.threshold[domains.goal]).numpy(), -inf))
        if self.problem.evidence.wanted:
            data = {"atom": self.root.atoms[domains.goal.numpy()], "bound": bound.numpy(), "multiplier": domains.multiplier.numpy()}
            paths = domains.paths(self.network.neurons)
            self.problem.evidence.close(ClosedDomains(self.root.clauses[clause], reason, paths, data))  # type: ignore[arg-type]

    def _split(self, domains: Domains) -> Domains:
        """The children of the domains; leaves are decided on the spot."""
        piece = cut(self.network, self.base, self.goals, domains, self.target, NEAREST)
        lines = self.layout.unpack(domains.slopes)
        _, tape = minimum(piece.relaxed, piece.start, piece.owner, inequalities=piece.inequalities, initial=lines)
        if tape is None:
            return self._leaves(domains)
        self._try(tape.values[self.problem.model.graph.input], domains)
        found = losses(piece.relaxed, piece.owner, tape, self.network.neurons)
        where = cuts(piece.relaxed, piece.owner, self.network.neurons)
        options = propose(where, found, _CANDIDATES)
        best, some = choose(options, *self._look_ahead(domains, options), domains.bound)
        rest = self._leaves(domains.select((~some).nonzero().squeeze(1)))
        chosen = torch.where(domains.next[:, None] >= 0, domains.next[:, None], options.neuron.gather(1, best))
        options = candidates(where, found, chosen, some[:, None])
        index = some.nonzero().squeeze(1)
        if not len(index):
            return rest
        neuron, point, unit = (v[index, 0] for v in (options.neuron, options.point, options.unit))
        children = domains.select(index).halved(neuron, point, unit)
        self.deepest = max(self.deepest, int(children.depth.max()))
        return children

    def _look_ahead(self, domains: Domains, options: Candidates) -> tuple[Tensor, Tensor]:
        """Bounds of both children of every candidate with the lines of the parent, less the threshold: (n, k) each."""
        n, k = options.neuron.shape
        found = []
        for part in torch.arange(n).split(max(1, self.size // 2)):
            copies = domains.select(part.repeat_interleave(k))
            children = copies.halved(*(v[part].reshape(-1) for v in (options.neuron, options.point, options.unit)))
            piece = cut(self.network, self.base, self.goals, children, self.target, NEAREST)
            value, _ = minimum(
                piece.relaxed,
                piece.start,
                piece.owner,
                inequalities=piece.inequalities,
                initial=self.layout.unpack(children.slopes),
                forth=False,
            )
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
        margin = torch.zeros(len(leaves), dtype=torch.float64)  # of no atom alone: the leaf's inequality has a scale of its own
        for reason in ("leaf", "infeasible"):
            these = done & torch.tensor([leaf.reason == reason for leaf in leaves])
            self._note(domains.select(these), (thresholds + margin)[these], reason)
        for k, leaf in zip(clause, leaves, strict=True):
            self.stuck[k] |= not leaf.closed
            if leaf.candidate is not None and not leaf.closed and self.witness is None:
                self._replay(leaf.candidate, k)
        return domains.select(torch.zeros(0, dtype=torch.int64))

    def _try(self, x: Tensor, domains: Domains) -> None:
        """Looks for a witness among points, one a domain."""
        clause = self.root.clause[domains.goal]
        y = self.problem.model.program(torch.float32, self.problem.device).evaluate(x)
        worst = torch.full((len(x),), -inf)
        for atom in range(len(self.root.atoms)):
            mine = (clause == self.root.clause[atom]).nonzero().squeeze(1)
            value = (self.root.conditions.outputs[atom].float() * y[mine]).flatten(1).sum(dim=1)
            if self.root.conditions.inputs is not None:
                value = value + (self.root.conditions.inputs[atom].float() * x[mine]).flatten(1).sum(dim=1)
            worst[mine] = torch.maximum(worst[mine], value - self.root.conditions.rhs[atom].float())
        for i in worst.argsort()[:4].tolist():
            if worst[i] < 1e-5 and self.witness is None:
                self._replay(x[i].numpy(), int(clause[i]))

    def _replay(self, x: NDArray[np.floating], clause: int) -> None:
        """Tries the nearest float32 point of the clause's input set."""
        spec = self.problem.spec
        region = spec.clauses[self.root.clauses[clause]].region
        if not self.attackable[region]:
            return
        inside = spec.inputs.attack_region([region])
        x = project(inside, interior(inside), torch.from_numpy(x).float().reshape(inside.box.lower.shape)).numpy()
        found = replay(self.problem.model, spec, x, self.root.clauses[clause : clause + 1])
        if found.ok:
            self.witness = found.witness

    def line(self) -> str:
        """What was done, for the log; settles which clauses are excluded."""
        goal, bound = self.work.bounds()
        alive = np.zeros(len(self.root.clauses), dtype=bool)
        alive[self.root.clause[goal].numpy()] = True
        self.excluded |= ~alive & ~self.stuck
        least = f", least margin {float(bound.min()):.4g}" if len(bound) else ""
        return (
            f"neuron splitting on {count(len(self.root.clauses))}: {int(self.excluded.sum())} excluded, {self.notes}; "
            f"{self.visited} domains bounded, {self.narrowed} narrowed, {self.closed} closed, {len(bound)} open, depth {self.deepest}"
            f"{least}, {time.monotonic() - self.started:.1f} s"
        )
