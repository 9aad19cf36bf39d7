"""Input splitting for chains: boxes are bounded, clipped and halved by kernels until every clause is excluded. Imports no torch.

Each round takes boxes off a stack, examines them on all cores and pushes the halves of what stays open. What a box is found to be
does not depend on the others, so that verdicts are the same for any number of threads.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from certify.io.witness import Witness
from certify.kernels.chain import Effort, Net, Work, lay_out
from certify.search.chain import as_chain, chain_applies
from certify.search.chain_attack import Attack
from certify.search.chain_boxes import CLAUSES_PER_BOX, Stack, clauses_of, halve, pairs_of, roots, select, sorted_clauses
from certify.search.chain_engine import Engine, threads
from certify.search.evidence import ClosedDomains
from certify.search.stage import Problem, Progress, count
from certify.search.tally import Tally

__all__ = ["chain_applies", "split_chain"]

_STEPS = 2
"""Of the ascent in slopes: measured on ACAS Xu, more cost more than the boxes they save."""
_SYMBOLS = 512
_FORM_ELEMENTS = 1 << 21
_BATCH_WORK, _BATCH = 300_000_000, (8, 256)
"""A round is about so many products, and so many boxes at least and at most: short enough to keep a deadline."""
_LEAST_STARTS, _BOXES_PER_START = 8, 8
"""Starts of the attack after each round: in proportion to the boxes of the round, so that it takes a small share of the time."""


def split_chain(problem: Problem, progress: Progress) -> Progress:
    """Decides the open clauses, or returns at the deadline with those still open.

    `chain_applies` must hold. A clause that comes out closed is excluded in real arithmetic on its whole input set. A clause can stay
    open before the deadline: where its truth hangs on rounding, or on points between the float32 numbers. A ValueError where a
    weight is no finite number, or values exceed `LARGEST`.
    """
    net = lay_out(as_chain(problem.model.graph).objective(problem.table.directions.outputs))
    number, clauses = sorted_clauses(problem.spec, problem.table, progress.open)
    with Engine(net, clauses, threads()) as engine:
        return _Search(problem, number, engine).run(progress)


class _Search:
    """The state of one search; `number` gives the specification's number of every clause of the engine."""

    def __init__(self, problem: Problem, number: NDArray[np.intp], engine: Engine) -> None:
        self._problem, self._number, self._engine = problem, number, engine
        net = engine.net
        self._effort = Effort(_symbols(net), _STEPS, not problem.evidence.wanted)
        self._batch = int(np.clip(_BATCH_WORK // (len(net.weight) * (net.width[0] + 64)), *_BATCH))
        self._attack = Attack(problem, engine, number)
        self._stack = Stack(int(net.width[0]), len(net.bias))
        first = roots(problem.spec, number, len(net.bias))
        self._stack.push(first)
        self._tally = Tally(len(number))
        self._tally.begin(pairs_of(first.root, first.open))
        self._margin = np.full(len(number), np.inf)

    def run(self, progress: Progress) -> Progress:
        """Rounds of splitting and attack."""
        witness: Witness | None = None
        while witness is None and len(self._stack) and self._may_go_on():
            work = self._stack.pop(self._batch)
            self._examine(work)
            witness = self._attack_from(work)
            self._tally.split(pairs_of(work.root, work.open))
            for half in halve(select(work, work.open != 0)):
                self._stack.push(half)
        return self._conclude(progress, witness)

    def _may_go_on(self) -> bool:
        return self._problem.remaining() > 0 and self._stack.bytes <= self._problem.memory

    def _examine(self, work: Work) -> None:
        given = work.open.copy()
        before = (work.lower.copy(), work.upper.copy(), given) if self._problem.evidence.wanted else None
        self._engine.examine(self._effort, work)
        if np.isnan(work.value).any():
            raise ValueError(f"{self._problem.model.name}: values are NaN or overflow on the input set; there are no bounds")
        self._tally.close(pairs_of(work.root, given & ~(work.open | work.stuck)))
        unsettled = (work.open | work.stuck) != 0
        np.minimum.at(self._margin, work.root, np.where(unsettled, -np.inf, work.margin))
        if before is not None:
            self._record(*before, work)

    def _record(self, lower: NDArray[np.float64], upper: NDArray[np.float64], given: NDArray[np.int64], work: Work) -> None:
        """Hands over the boxes on which clauses were excluded."""
        for bit in range(CLAUSES_PER_BOX):
            closed = np.flatnonzero((given & ~(work.open | work.stuck)) >> bit & 1)
            if len(closed):
                data = {"lower": lower[closed], "upper": upper[closed]}
                self._problem.evidence.close(ClosedDomains(self._number[work.root[closed] + bit], "bound", data=data))

    def _attack_from(self, work: Work) -> Witness | None:
        """Descends from what the round came near, then from random points of the input sets of clauses that the round left open."""
        left = work.open | work.stuck
        some = np.flatnonzero(left)
        lowest = work.root[some] + np.log2(left[some] & -left[some]).astype(np.int64)
        witness = self._attack.near(lowest, work.point[some], work.value[some])
        if witness is not None or not len(some):
            return witness
        starts = max(_LEAST_STARTS, len(work.root) // _BOXES_PER_START)
        return self._attack.random(clauses_of(work.root, left), starts)

    def _conclude(self, progress: Progress, witness: Witness | None) -> Progress:
        excluded = self._tally.excluded
        closed = self._number[excluded]
        still, margin = progress.open.copy(), progress.margin.copy()
        still[closed] = False
        margin[closed] = np.maximum(margin[closed], self._margins()[excluded])
        line = f"input splitting of a chain on {count(len(excluded))}: {len(closed)} excluded with {self._engine.boxes} boxes"
        line += "" if witness is None else "; found a witness, replayed in the original model"
        return replace(progress.noted(line), open=still, margin=margin, witness=witness)

    def _margins(self) -> NDArray[np.float64]:
        """What was proved on a clause's whole set at once, rounded down; 0 where it was split, as what is clipped exceeds by an
        unknown amount.

        Kept for the first clause of those that share boxes; the others have its margin.
        """
        first = np.maximum.accumulate(np.where(self._margin < np.inf, np.arange(len(self._margin)), 0))
        return np.maximum(np.nextafter(self._margin[first], -np.inf), 0.0)


def _symbols(net: Net) -> int:
    """How many relaxation errors to keep apart: all, unless that takes too much memory."""
    return int(min((net.slope != 1.0).sum(), _SYMBOLS, max(1, _FORM_ELEMENTS // net.width.max())))
