"""Branch and bound over the inputs: boxes are bounded by the hundreds, clipped, tried for witnesses, and halved until nothing is left.

Every open clause has a cover of its input set by boxes. A step takes the boxes of least margin, finds linear forms below the atoms of
their open clauses (`input_forms`), closes the clauses that the forms exclude, cuts off what none of the others needs (`clip`), tries
the points where a clause comes nearest to being satisfied (`candidates`), and halves what remains. It ends when no box is left, after
finitely many boxes if bounds converge on small boxes and no atom holds with equality at a point where its clause matters.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, prod

import numpy as np
from numpy.typing import NDArray

from certify.graph.passes.opposite_relus import opposite_relus
from certify.graph.passes.sparse_layers import sparse_layers
from certify.io.witness import Witness
from certify.model import Model
from certify.search.boxes import Layout, Pieces, Worklist, divisible, few_inputs, halve, input_boxes, joined, lay_out, volume
from certify.search.candidates import evaluate, first_witness
from certify.search.clip import Clipped, Forms, clip, hull
from certify.search.evidence import ClosedDomains
from certify.search.input_forms import lower_forms
from certify.search.rates import Rates
from certify.search.stage import Problem, Progress, count
from certify.search.tally import Tally

__all__ = ["few_inputs", "split_inputs"]

_METHODS = ("crown-ibp", "forward", "crown")
_STEP_SECONDS = 0.5
_TRIAL_BOXES = 64
_MOST_BOXES = 4096  # of one step
_STEP_ELEMENTS = 1 << 24  # coefficients of all boxes of one step: eight bytes each, a few times
_FULL = 128  # boxes in a step from which on more are hardly cheaper each
_MOST_HALVINGS = 3
_FLOOR = 1e-3
_HOPELESS = 1e6  # times the value: errors beyond are all the same
_ORDER = 1.5  # between interval arithmetic's, 1, and that of linear forms where functions are smooth, 2


def split_inputs(problem: Problem, progress: Progress) -> Progress:
    """A stage: excludes open clauses by splitting their input boxes, or finds a witness. For problems with `few_inputs`.

    Verdicts do not depend on the speed of the machine; which witness is found, and what is left open at the deadline, may.
    A ValueError where a bound is NaN.
    """
    search = _Search(problem, progress)
    while search.unfinished():
        search.step()
    return search.conclude()


def _rewritten(problem: Problem) -> Problem:
    """The problem with its network in the form whose bounds are tightest and cheapest on many small boxes."""
    graph = sparse_layers(opposite_relus(problem.model.graph))
    return problem if graph is problem.model.graph else replace(problem, model=Model(graph, problem.model.name))


@dataclass(frozen=True)
class _Bounded:
    """What one method made of some pieces: its forms, what they leave of each open pair (piece, clause), and of the pieces."""

    piece: NDArray[np.intp]
    clause: NDArray[np.intp]
    forms: Forms
    left: Clipped
    pieces: Pieces

    @property
    def alive(self) -> NDArray[np.bool_]:
        """The pieces of which something is left: (pieces,)."""
        return np.asarray(self.pieces.open.any(axis=1))


def _bound(problem: Problem, layout: Layout, pieces: Pieces, method: str) -> _Bounded:
    piece, clause = layout.pairs(pieces)
    forms = lower_forms(problem, layout, pieces, method)
    left = clip(forms, pieces.lower[piece], pieces.upper[piece])
    open_ = pieces.open.copy()
    open_[open_] = ~left.closed
    margin = np.full(len(pieces), inf)
    np.minimum.at(margin, piece[~left.closed], left.margin[~left.closed])
    rest = Pieces(*hull(left, piece, len(pieces)), pieces.region, np.maximum(margin, pieces.margin), open_)
    return _Bounded(piece, clause, forms, left, rest)


def _boxes_needed(before: Pieces, bounded: _Bounded, value: NDArray[np.float64]) -> float:
    """About how many boxes it takes (geometric mean) to close a pair for which a method gave these bounds, given the least violation known.

    One where it is closed. Else suppose that the bound's error falls with the width of the box to the power `_ORDER`: to bring it from
    value - bound down to value takes (error / value)^(n / _ORDER) boxes in n dimensions, fewer where volume was cut off.
    """
    hopeful = (value > 0) & np.isfinite(value) & ~bounded.left.closed
    error = value - np.minimum(bounded.left.margin, 0)
    ratio = np.divide(error, value, out=np.ones_like(value), where=hopeful)
    dimensions = (before.lower < before.upper).any(axis=0).sum()
    kept = np.where(bounded.alive, volume(bounded.pieces, before), 0.0)[bounded.piece]
    needed = 1 + kept * (np.minimum(ratio, _HOPELESS) ** (dimensions / _ORDER) - 1)
    return float(np.exp(np.log(needed).mean()))


def _least(bounded: _Bounded) -> NDArray[np.float64]:
    """The minimiser over what is left of each pair of the sum of its forms, each form relative to its largest coefficient."""
    slope, left = bounded.forms.slope, bounded.left
    total = np.add.reduceat(slope / np.maximum(np.abs(slope).max(axis=1, keepdims=True), 1e-300), bounded.forms.first)
    return np.where(total > 0, left.lower, np.where(total < 0, left.upper, left.lower / 2 + left.upper / 2))


class _Search:
    """The state of one search."""

    def __init__(self, problem: Problem, progress: Progress) -> None:
        self.problem, self.progress = problem, progress
        self.rewritten = _rewritten(problem)  # for bounds and values; witnesses are replayed in the original
        self.lower, self.upper = input_boxes(problem).outward()
        self.layout = lay_out(problem.table, progress.open, len(self.lower))
        open_ = self.layout.clause >= 0
        region = np.flatnonzero(open_.any(axis=1))
        pieces = Pieces(self.lower[region], self.upper[region], region, np.full(len(region), -inf), open_[region])
        self.tally = Tally(len(progress.open))
        self.tally.begin(self.layout.pairs(pieces)[1])
        bytes_each = 16 * self.lower.shape[1] + 16 + open_.shape[1]
        self.work = Worklist(pieces, problem.memory // (4 * bytes_each))
        self.unsplittable: list[Pieces] = []
        self.rates = Rates(_METHODS)
        self.witness: Witness | None = None
        self.boxes, self.started = 0, time.monotonic()
        elements = sum(prod(node.shape) for node in self.rewritten.model.graph.nodes) * (1 + self.lower.shape[1])
        self.most = max(1, min(_MOST_BOXES, _STEP_ELEMENTS // elements))

    def unfinished(self) -> bool:
        """Whether there is something left to do, and time to do it."""
        return len(self.work) > 0 and self.witness is None and self.problem.remaining() > 0

    def step(self) -> None:
        """Bounds some pieces, tries points of them, and puts back what is left."""
        methods = self.rates.due()
        pieces = self.work.pop(self._size(methods))
        self.boxes += len(pieces)
        piece, clause = self.layout.pairs(pieces)
        middles = evaluate(self.rewritten, self.layout, pieces.middle[piece], pieces.region[piece], clause)
        best = self._best_of(methods, pieces, middles.value)
        self._record(best, pieces)
        self.tally.close(clause[best.left.closed])
        near = ~best.left.closed
        least = evaluate(self.rewritten, self.layout, _least(best)[near], pieces.region[piece[near]], clause[near])
        self.witness = first_witness(self.problem, middles) or first_witness(self.problem, least)
        self._split(best, pieces)

    def _size(self, methods: Sequence[str]) -> int:
        """How many boxes the next step takes."""
        if len(methods) > 1:
            return min(_TRIAL_BOXES, self.most)
        in_time = int(_STEP_SECONDS / self.rates.seconds[methods[0]])
        return max(1, min(self.most, in_time))

    def _best_of(self, methods: Sequence[str], pieces: Pieces, value: NDArray[np.float64]) -> _Bounded:
        """What the method that closes most makes of the pieces."""
        results, trial = [], []
        for method in methods:
            started = time.monotonic()
            results.append(_bound(self.rewritten, self.layout, pieces, method))
            seconds = (time.monotonic() - started) / len(pieces)
            trial.append((method, seconds, _boxes_needed(pieces, results[-1], value)))
        self.rates.note(trial)
        return results[min(range(len(trial)), key=lambda i: trial[i][2])]

    def _split(self, bounded: _Bounded, before: Pieces) -> None:
        alive = bounded.alive
        pieces = bounded.pieces[alive]
        whole = divisible(pieces)
        if not whole.all():
            self.unsplittable.append(pieces[~whole])
        # What clipping has halved already is bounded again first.
        shrunk = volume(pieces, before[alive]) < 0.5
        self.work.push(pieces[whole & shrunk])
        rest = whole & ~shrunk
        room = _FULL // max(1, len(self.work) + int(rest.sum()))
        times = max(1, min(_MOST_HALVINGS, room.bit_length() - 1))
        self.tally.split(self.layout.pairs(pieces[rest])[1], 1 << times)
        self.work.push(halve(pieces[rest], self._scores(bounded)[alive][rest], times))

    def _scores(self, bounded: _Bounded) -> NDArray[np.float64]:
        """How much the bounds vary along each coordinate of the pieces, (pieces, size): their coefficients times the widths.

        A coordinate that the coefficients do not speak of counts a little, relative to its width at the start: as the others get narrower
        its turn comes, and no box stays wide.
        """
        pieces = bounded.pieces
        root = (self.upper - self.lower)[pieces.region]
        owner = bounded.piece[bounded.forms.pair]
        size = np.nan_to_num(np.abs(bounded.forms.slope)) * root[owner]
        size /= np.maximum(size.sum(axis=1, keepdims=True), 1e-300)
        size[bounded.left.closed[bounded.forms.pair]] = 0
        total = np.zeros_like(root)
        np.add.at(total, owner, size)
        total = np.maximum(total, _FLOOR * np.maximum(total.max(axis=1, keepdims=True), 1e-300))
        width = np.divide(pieces.upper - pieces.lower, root, out=np.zeros_like(root), where=root > 0)
        return total * width

    def _record(self, bounded: _Bounded, pieces: Pieces) -> None:
        """Hands over the forms of each pair on its box, and the box inside it that they leave: none where lower > upper."""
        if not self.problem.evidence.wanted:
            return
        left, closed = bounded.left, bounded.left.closed[:, None]
        data = {
            "lower": pieces.lower[bounded.piece],
            "upper": pieces.upper[bounded.piece],
            "left_lower": np.where(closed, inf, left.lower),
            "left_upper": np.where(closed, -inf, left.upper),
            "atom": self.layout.atoms(bounded.clause)[0],
            "first": bounded.forms.first,
            "slope": bounded.forms.slope,
            "offset": bounded.forms.offset,
        }
        self.problem.evidence.close(ClosedDomains(bounded.clause, "bound", data=data))

    def conclude(self) -> Progress:
        """The progress with what the search has found out."""
        waiting = joined([self.work.waiting(), *self.unsplittable])
        piece, clause = self.layout.pairs(waiting)
        searched = self.layout.clause[self.layout.clause >= 0]
        margin = np.full(len(self.progress.margin), inf)
        np.minimum.at(margin, clause, waiting.margin[piece])
        open_ = self.progress.open.copy()
        open_[searched] = ~self.tally.excluded[searched]
        # What is closed or cut off has a margin of at least zero.
        margin[searched] = np.minimum(margin[searched], 0.0)
        margin[searched] = np.maximum(margin[searched], self.progress.margin[searched])
        margin = np.where(np.isin(np.arange(len(margin)), searched), margin, self.progress.margin)
        closed = len(searched) - int(open_[searched].sum())
        outcome = "a witness" if self.witness is not None else f"{closed} of {count(len(searched))} excluded"
        line = (
            f"input splitting ({self.rates.best}): {self.boxes} boxes in {time.monotonic() - self.started:.2f} s, {outcome}, "
            f"{len(waiting)} boxes left"
        )
        stuck = sum(len(part) for part in self.unsplittable)
        if stuck:
            line += f", {stuck} of them as narrow as float64 can say: the property may hold with equality"
        return replace(self.progress, open=open_, margin=margin, witness=self.witness).noted(line)
