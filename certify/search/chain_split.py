"""Input splitting for chains: boxes are bounded, clipped and halved in numba kernels until every clause is excluded. Imports no torch.

Each round takes boxes off a stack, examines them on all cores and pushes the halves of what stays open. What a box is found to be
does not depend on the others, so that verdicts are the same for any number of threads.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from certify.graph import Graph
from certify.io.witness import Witness
from certify.kernels import chain_cpu
from certify.kernels.chain import Clauses, Effort, Work, lay_out
from certify.search.chain import as_chain, is_chain
from certify.search.chain_attack import NEAR, Attack
from certify.search.chain_boxes import Stack, halve, select
from certify.search.chain_pool import Pool, threads
from certify.search.evidence import ClosedDomains
from certify.search.problem import Table
from certify.search.stage import Problem, Progress, count
from certify.specification import Boxes, Specification

MOST_INPUTS = 24
"""With more, halving inputs one at a time leads nowhere."""
_CLAUSES_PER_BOX = 62
"""As many as fit into the bits of an int64."""
_STEPS = 2
_STARTS, _LEAST_STARTS = 128, 8
"""Starts of the attack after each round: in proportion to the boxes of the round, so that it takes a small share of the time."""
_SYMBOLS = 512
_FORM_ELEMENTS = 1 << 21


def chain_applies(graph: Graph, spec: Specification) -> bool:
    """Whether `split_chain` can work on this question: a chain, few inputs, boxes, exact conditions on outputs alone."""
    if not (isinstance(spec.inputs, Boxes) and spec.inputs.size <= MOST_INPUTS and is_chain(graph)):
        return False
    return all(not atom.inputs for clause in spec.clauses for atom in clause.atoms)


def split_chain(problem: Problem, progress: Progress) -> Progress:
    """Decides the open clauses, or returns at the deadline with those still open; the guarantee is that of `Evidence` bounds.

    `chain_applies` must hold. A clause that comes out closed is excluded in real arithmetic on its whole input set.
    """
    with Pool(threads()) as pool:
        return _Search(problem, progress, pool).run()


class _Search:
    """The state of one search."""

    def __init__(self, problem: Problem, progress: Progress, pool: Pool) -> None:
        self._problem, self._progress, self._pool = problem, progress, pool
        table = problem.table
        chain = as_chain(problem.model.graph)
        self._net = lay_out(chain.objective(table.directions.outputs))
        self._number, self._clauses = _sorted_clauses(problem.spec, table, progress.open)
        self._open = np.ones(len(self._number), dtype=bool)
        widest = int(self._net.width.max())
        relus = int((self._net.slope != 1.0).sum())
        symbols = min(relus, _SYMBOLS, max(1, _FORM_ELEMENTS // widest))
        self._effort = Effort(symbols, _STEPS, not problem.evidence.wanted)
        work = len(self._net.weight) * (self._net.width[0] + 64)
        self._batch = int(np.clip(300_000_000 // work, 8, 256))
        self._attack = Attack(problem.model, problem.spec, self._net, self._clauses, self._number, problem.seed)
        self._stack = Stack(int(self._net.width[0]), len(self._net.bias))
        self.boxes = 0

    def run(self) -> Progress:
        """Rounds of attack and splitting."""
        self._push_roots()
        stuck = np.zeros(len(self._number), dtype=bool)
        witness: Witness | None = None
        while witness is None and len(self._stack) and self._problem.remaining() > 0:
            work = self._stack.pop(self._batch)
            self._examine(work)
            witness = self._candidates(work)
            left = work.open != 0
            dead = left & (work.axis < 0)
            _mark(stuck, work.root[dead], work.open[dead])
            part = select(work, left & ~dead)
            for lower, upper in halve(part):
                self._stack.push(lower, upper, part)
            if witness is None:
                starts = min(_STARTS, _LEAST_STARTS * len(work.root))
                witness = self._attack.random(self._still_open(stuck), starts, self._pool)
        return self._conclude(self._still_open(stuck), witness)

    def _push_roots(self) -> None:
        region = np.array([self._problem.spec.clauses[c].region for c in self._number], dtype=np.intp)
        new = np.flatnonzero(np.diff(region, prepend=-1))
        ends = np.append(new[1:], len(region))
        roots = [i for first, end in zip(new, ends, strict=True) for i in range(first, end, _CLAUSES_PER_BOX)]
        root = np.array(roots, dtype=np.int64)
        size = np.minimum(np.append(root[1:], len(region)) - root, _CLAUSES_PER_BOX)
        lower, upper = self._problem.spec.inputs.outward()  # type: ignore[union-attr]
        like = Work(
            lower, upper, np.zeros((len(root), len(self._net.bias)), np.int8), root, (1 << size) - 1, root, lower, lower[:, 0]
        )
        self._stack.push(lower[region[root]], upper[region[root]], like)

    def _examine(self, work: Work) -> None:
        before = (work.lower.copy(), work.upper.copy(), work.open.copy()) if self._problem.evidence.wanted else None

        def run(part: slice) -> None:
            chain_cpu.examine(self._net, self._clauses, self._effort, select(work, part))

        self._pool.map(run, len(work.root), 4)
        self.boxes += len(work.root)
        if before is not None:
            self._record(*before, work)

    def _record(self, lower: NDArray[np.float64], upper: NDArray[np.float64], open_: NDArray[np.int64], work: Work) -> None:
        """Hands over the boxes of which clauses were excluded."""
        for bit in range(_CLAUSES_PER_BOX):
            closed = np.flatnonzero((open_ & ~work.open) >> bit & 1)
            if len(closed):
                data = {"lower": lower[closed], "upper": upper[closed]}
                self._problem.evidence.close(ClosedDomains(self._number[work.root[closed] + bit], "bound", data=data))

    def _candidates(self, work: Work) -> Witness | None:
        near = np.flatnonzero((work.value <= NEAR) & (work.open != 0))
        if not len(near):
            return None
        part = select(work, near)
        first = part.root + np.log2(part.open & -part.open).astype(np.int64)
        return self._attack.near(first, part.point, part.value, self._pool)

    def _still_open(self, stuck: NDArray[np.bool_]) -> NDArray[np.bool_]:
        open_ = stuck.copy()
        _mark(open_, *self._stack.roots())
        return open_

    def _conclude(self, open_: NDArray[np.bool_], witness: Witness | None) -> Progress:
        progress = self._progress
        closed = self._number[~open_]
        still, margin = progress.open.copy(), progress.margin.copy()
        still[closed] = False
        margin[closed] = np.maximum(margin[closed], 0.0)
        line = f"input splitting of a chain on {count(len(open_))}: {len(closed)} excluded with {self.boxes} boxes"
        line += "" if witness is None else "; found a witness, replayed in the original model"
        return replace(progress.noted(line), open=still, margin=margin, witness=witness)


def _mark(open_: NDArray[np.bool_], root: NDArray[np.int64], mask: NDArray[np.int64]) -> None:
    """Marks the clauses whose bits are set."""
    for bit in range(_CLAUSES_PER_BOX):
        some = (mask >> bit & 1).astype(bool)
        open_[root[some] + bit] = True


def _sorted_clauses(spec: Specification, table: Table, open_: NDArray[np.bool_]) -> tuple[NDArray[np.intp], Clauses]:
    """The open clauses sorted by input set: their numbers, and their atoms."""
    numbers = np.flatnonzero(open_)
    numbers = numbers[np.argsort([spec.clauses[c].region for c in numbers], kind="stable")]
    first, last = (np.searchsorted(table.clause, numbers, side) for side in ("left", "right"))
    atoms = np.concatenate([np.arange(i, j) for i, j in zip(first, last, strict=True)]).astype(np.intp)
    start = np.concatenate([[0], np.cumsum(last - first)]).astype(np.int64)
    return numbers, Clauses(start, table.direction[atoms].astype(np.int64), table.rhs[atoms])
