"""Branch and bound by linear programs, for small piecewise linear networks: every domain is closed by checked multipliers.

Each domain's program (`triangle`) either has no point, proved by its multipliers, or gives a point that is tried as a witness, and
says which neuron's relaxation it exploits: that neuron is split where its function bends. A domain without unstable neurons is a leaf:
there the program is the network itself, and only a margin below rounding can leave it open.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count as numbers
from math import inf, prod

import numpy as np
import torch
from numpy.typing import NDArray

from certify.bounds.backward import tighten_backward
from certify.bounds.budget import Budget
from certify.bounds.compute import relax
from certify.bounds.relaxed import Relaxed, relax_network
from certify.bounds.rounding import OUTWARD
from certify.graph.passes.maxima_to_relu import maxima_to_relu
from certify.io.witness import Witness
from certify.operators.base import Elementwise
from certify.operators.program import Program, bind
from certify.operators.table import OPS
from certify.search.constraints import Array, Domain
from certify.search.evidence import ClosedDomains, Split
from certify.search.leaf import cut_intervals
from certify.search.linear_program import Solution, least_violation, margin
from certify.search.stage import Problem, Progress, count
from certify.search.trial import try_points
from certify.search.triangle import Neuron, Triangle, encode, unstable

_MOST_NEURONS = 2000
MOST_UNSTABLE = 100
_BATCH = 16


def small(problem: Problem) -> bool:
    """Whether the network is piecewise linear, and small enough for a linear program a domain."""
    shapes = {node.name: node.shape for node in problem.model.graph.nodes}
    nonlinear = [node for node in problem.model.graph.nodes if node.inputs and not OPS[node.op].affine]
    piecewise = all(node.op == "reduce_max" or getattr(OPS[node.op], "breaks", None) is not None for node in nonlinear)
    return piecewise and sum(prod(shapes[node.inputs[0]]) for node in nonlinear) <= _MOST_NEURONS


def split_by_lp(problem: Problem, progress: Progress) -> Progress:
    """A stage: decides the open clauses one by one, each in its share of the time left, those nearest to a proof first."""
    program = bind(maxima_to_relu(problem.model.graph), torch.float64, problem.device)
    open_, proved = progress.open.copy(), progress.margin.copy()
    clauses = sorted(np.flatnonzero(open_).tolist(), key=lambda k: -proved[k])
    roots: dict[int, Relaxed] = {}
    total = _Count()
    witness = None
    for done, k in enumerate(clauses):
        region = problem.spec.clauses[k].region
        deadline = time.monotonic() + problem.remaining() / (len(clauses) - done)
        root = roots[region] if region in roots else relaxed_root(problem, program, region, deadline)
        roots = {region: root}
        search = _Search(problem, root, k, deadline)
        witness = search.run()
        total = total.plus(search.count)
        if search.closed:
            open_[k] = False
            proved[k] = max(proved[k], search.margin)
        if witness is not None or problem.remaining() <= 0:
            break
    closed = int(progress.open.sum()) - int(open_.sum())
    outcome = f"{closed} excluded" if witness is None else "found a witness, replayed in the original model"
    line = f"splitting by linear programs on {count(len(clauses))}: {outcome}; {total}"
    return replace(progress, open=open_, margin=proved, witness=witness).noted(line)


@dataclass(frozen=True)
class Settled:
    """What became of one domain: whether it is proved that it holds no witness, the least margin of that proof, or a witness."""

    closed: bool
    margin: float
    witness: Witness | None


def settle(problem: Problem, root: Relaxed, clause: int, splits: Sequence[Split], deadline: float) -> Settled:
    """Decides one domain of another search by splitting it further: for those that a single program (`leaf`) left open.

    `root` is the network relaxed over the clause's whole input set (one batch element, float64, rounding outward), such as
    `relaxed_root` makes; `splits` are about its nodes. Neither closed nor a witness: too many unstable neurons, no time, or rounding.
    """
    search = _Search(problem, root, clause, deadline, tuple(splits))
    witness = search.run()
    return Settled(search.closed, search.margin, witness)


def relaxed_root(problem: Problem, program: Program, region: int, deadline: float) -> Relaxed:
    """The network relaxed over a whole input set, as tightly as bounds alone can."""
    shape = program.graph.input_shape
    whole = problem.spec.inputs.region([region]).map(lambda t: t.reshape(-1, *shape).to(problem.device))
    return relax(program, whole, "alpha-crown", rounding=OUTWARD, budget=Budget(deadline=deadline))


@dataclass(frozen=True)
class _Count:
    """What a search did: domains closed, split, and left open by rounding; clauses with too many unstable neurons."""

    closed: int = 0
    split: int = 0
    stuck: int = 0
    refused: int = 0

    def plus(self, other: _Count) -> _Count:
        return _Count(*(a + b for a, b in zip(self._values(), other._values(), strict=True)))

    def _values(self) -> tuple[int, ...]:
        return self.closed, self.split, self.stuck, self.refused

    def __str__(self) -> str:
        text = f"{count(self.closed, 'domain')} closed, {self.split} split"
        stuck = f", {count(self.stuck, 'domain')} left open by rounding" if self.stuck else ""
        refused = f", {count(self.refused)} with more than {MOST_UNSTABLE} unstable neurons" if self.refused else ""
        return text + stuck + refused


@dataclass
class _Search:
    """The tree of one clause, from a split path on: a queue of paths, the most violated first.

    `margin` is the least that closed a domain.
    """

    problem: Problem
    root: Relaxed
    clause: int
    deadline: float
    start: tuple[Split, ...] = ()
    margin: float = inf
    count: _Count = field(default_factory=_Count)
    queue: list[tuple[float, int, tuple[Split, ...]]] = field(default_factory=list)
    closed: bool = False

    def run(self) -> Witness | None:
        """Works until the clause is excluded (`closed`), a witness is found, or the time is up."""
        if sum(int(mask.sum()) for mask in unstable(self._relaxed([self.start])).values()) > MOST_UNSTABLE:
            self.count = _Count(refused=1)
            return None
        self.queue, order = [(-inf, 0, self.start)], numbers(1)
        while self.queue and time.monotonic() < self.deadline:
            batch = [heapq.heappop(self.queue)[2] for _ in range(min(_BATCH, len(self.queue)))]
            triangles = self._encode(batch)
            solutions = [least_violation(triangle.program, self.deadline) for triangle in triangles]
            if time.monotonic() >= self.deadline:
                return None
            candidates = []
            for splits, triangle, solution in zip(batch, triangles, solutions, strict=True):
                if solution is not None and self._close(splits, triangle, solution):
                    continue
                if solution is not None:
                    candidates.append(solution.point[: self._inputs])
                for child in self._halves(splits, triangle, solution):
                    heapq.heappush(self.queue, (-inf if solution is None else solution.violation, next(order), child))
            witness = try_points(self.problem, self.clause, np.array(candidates))
            if witness is not None:
                return witness
        self.closed = self.count.closed == self.count.split + 1  # every leaf of the tree
        return None

    @property
    def _inputs(self) -> int:
        return prod(self.root.program.graph.input_shape)

    @property
    def _atoms(self) -> NDArray[np.intp]:
        return np.flatnonzero(self.problem.table.clause == self.clause)

    def _relaxed(self, batch: Sequence[tuple[Split, ...]]) -> Relaxed:
        """The network on some domains, one batch element each."""
        root = self.root
        known = cut_intervals(root, [Domain(0, self._atoms, splits) for splits in batch])
        copies = root.region.map(lambda t: t.expand(len(batch), *t.shape[1:]))
        budget = Budget(deadline=self.deadline)
        return relax_network(root.program, copies, root.program.graph.output, tighten_backward, OUTWARD, budget, known)

    def _encode(self, batch: Sequence[tuple[Split, ...]]) -> list[Triangle]:
        """The programs of some domains, all relaxed at once."""
        domains = [Domain(i, self._atoms, splits) for i, splits in enumerate(batch)]
        return encode(self._relaxed(batch), self.problem.table, domains)

    def _close(self, splits: tuple[Split, ...], triangle: Triangle, solution: Solution) -> bool:
        """Whether the multipliers prove that the domain holds no witness; takes note of it."""
        proved = margin(triangle.program, solution.multipliers)
        if proved <= 0:
            return False
        self.margin = 0.0  # of no atom alone: the aggregated inequality has a scale of its own
        self.count = replace(self.count, closed=self.count.closed + 1)
        if self.problem.evidence.wanted:
            data = {"multiplier": solution.multipliers[None], "bound": np.array([proved])}
            self.problem.evidence.close(ClosedDomains(np.array([self.clause]), "leaf", [splits], data))
        return True

    def _halves(self, splits: tuple[Split, ...], triangle: Triangle, solution: Solution | None) -> list[tuple[Split, ...]]:
        """The domain in two, at the bend of a neuron; nothing for a leaf."""
        split = choose(self.root.program, triangle, solution)
        if split is None:
            self.count = replace(self.count, stuck=self.count.stuck + 1)
            return []
        self.count = replace(self.count, split=self.count.split + 1)
        name, index, point = split
        return [(*splits, (name, index, point, sign)) for sign in (1, -1)]


def choose(program: Program, triangle: Triangle, solution: Solution | None) -> tuple[str, int, float] | None:
    """The neuron to split, as the node it reads, its index and the point; None where none is left.

    The one whose variable is furthest from its function at the solution, times what its constraints weigh; the widest where all agree.
    """
    points = [_bend(neuron, 0.0) for neuron in triangle.neurons]
    width = np.array([0.0 if p is None else n.upper - n.lower for n, p in zip(triangle.neurons, points, strict=True)])
    if not width.any():
        return None
    best = int(width.argmax())
    if solution is not None:
        z = triangle.inputs(solution.point)
        gap = np.abs(triangle.outputs(solution.point) - _values(program, triangle.neurons, z)) * (width > 0)
        own = np.abs(triangle.program.rows[:, len(solution.point) - len(width) :])
        for score in (gap * (solution.multipliers @ own), gap):
            if score.max() > _AGREES * max(1.0, float(width.max())):
                best = int(score.argmax())
                break
        points[best] = _bend(triangle.neurons[best], float(z[best]))
    neuron, point = triangle.neurons[best], points[best]
    assert point is not None
    return neuron.node.inputs[0], neuron.index, point


_AGREES = 1e-9


def _bend(neuron: Neuron, z: float) -> float | None:
    """The point inside the neuron's interval where its function bends, the nearest to z; None where there is none."""
    rule = OPS[neuron.node.op]
    assert isinstance(rule, Elementwise)
    assert rule.breaks is not None
    inside = [p for p in rule.breaks(neuron.node) if neuron.lower < p < neuron.upper]
    return min(inside, key=lambda p: abs(p - z), default=None)


def _values(program: Program, neurons: Sequence[Neuron], z: Array) -> Array:
    """The neurons' functions at z, node by node."""
    result = np.empty(len(z))
    for name in dict.fromkeys(neuron.node.name for neuron in neurons):
        own = [i for i, neuron in enumerate(neurons) if neuron.node.name == name]
        node = neurons[own[0]].node
        index = [neurons[i].index for i in own]
        full = torch.zeros(1, *node.shape, dtype=torch.float64, device=program.device)
        full.view(-1)[index] = torch.from_numpy(z[own]).to(full)
        result[own] = OPS[node.op].value(full, node=node, params=program.params(node)).flatten()[index].cpu().numpy()
    return result
