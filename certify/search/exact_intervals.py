"""Conditions at the very end of what a network can give, and sets of one point: decided in rational arithmetic. Imports no torch by itself.

Bounds in floating point are rounded outward and pass the exact end of a range: that no ReLU is below zero, no sum of squares, no clip above
its limit, they cannot say. Interval arithmetic on rational numbers can (`bounds.rational`), and over one point it gives the value itself.
It is slow, so that it is asked only where the network is small and intervals in plain float64 come within rounding of the condition.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import inf, nextafter

import numpy as np
from numpy.typing import NDArray

from certify.bounds.rational import propagate, rational, stored, work
from certify.graph import INPUT, Graph, GraphError, Node
from certify.graph.evaluate import AFFINE, Params, apply, in_dtype
from certify.io.witness import Witness, replay
from certify.search.exact_point import Enclosed, Point, atom_range, exact_box, witness_at
from certify.search.stage import Problem, Progress, count

_MOST_WORK = 1 << 19
"""Products of integers for one input set: some tenths of a second."""
_MOST_REGIONS = 64
_NEAR = 1e-7


def decide_exactly(problem: Problem, progress: Progress, *, share: float) -> Progress:
    """A stage: excludes open clauses that exact intervals exclude, and finds witnesses in sets of one point, for a share of the time left.

    What it says holds in real arithmetic, with no rounding at all but that of curves and of folded constants, outward.
    """
    graph, spec = problem.model.graph, problem.spec
    if work(graph) > _MOST_WORK:
        return progress
    deadline = time.monotonic() + share * problem.remaining()
    open_, margin = progress.open.copy(), progress.margin.copy()
    witness, tried = None, 0
    for region, clauses in _by_region(problem, open_):
        if time.monotonic() > deadline or witness is not None:
            break
        lower, upper = exact_box(spec.inputs, region)
        near = clauses if lower == upper else _near(problem, clauses, lower, upper)
        if not len(near):
            continue
        tried += len(near)
        try:
            found = Enclosed(lower, upper, propagate(graph, rational(lower, upper, graph.input_shape)))
        except GraphError as error:
            return replace(progress.noted(f"exact intervals: give nothing here: {error}"), open=open_, margin=margin)
        for k in near:
            least = max(atom_range(atom, found)[0] - atom.rhs for atom in spec.clauses[k].atoms)
            margin[k] = max(margin[k], _down(least))
            open_[k] = not any(_excluded(atom_range(atom, found)[0], atom.rhs, atom.strict) for atom in spec.clauses[k].atoms)
        if lower == upper:
            witness = _point(problem, [int(k) for k in near if open_[k]], found)
    if not tried:
        return progress
    closed = int(progress.open.sum() - open_.sum())
    outcome = f"{closed} excluded" + ("" if witness is None else "; the one point of a set is a witness")
    return replace(progress.noted(f"exact intervals on {count(tried)}: {outcome}"), open=open_, margin=margin, witness=witness)


def _by_region(problem: Problem, open_: NDArray[np.bool_]) -> list[tuple[int, NDArray[np.intp]]]:
    """The first few input sets of open clauses that have conditions, each with those clauses."""
    clauses = np.array([k for k in np.flatnonzero(open_) if problem.spec.clauses[k].atoms], dtype=np.intp)
    regions = np.array([problem.spec.clauses[k].region for k in clauses], dtype=np.intp)
    return [(int(r), clauses[regions == r]) for r in np.unique(regions)[:_MOST_REGIONS]]


def _excluded(least: Fraction, rhs: Fraction, strict: bool) -> bool:
    return least >= rhs if strict else least > rhs


def _down(number: Fraction) -> float:
    """The number as a float that is not above it."""
    try:
        return nextafter(float(number), -inf)
    except OverflowError:
        return np.finfo(np.float64).max if number > 0 else -inf


def _point(problem: Problem, clauses: Sequence[int], found: Enclosed) -> Witness | None:
    """The witness where the set is one point that satisfies a clause: replayed strictly where it is a float32 point."""
    for k in clauses:
        if problem.spec.inputs.attackable()[problem.spec.clauses[k].region]:
            point = np.array([float(v) for v in found.lower], dtype=np.float32)
            tried = replay(problem.model, problem.spec, point, np.array([k], dtype=np.intp))
            witness = tried.witness if tried.ok else None
        else:
            witness = witness_at(problem.model, problem.spec, k, found.lower, found)
        if witness is not None:
            return witness
    return None


# --- whether it is worth the while ----------------------------------------------------------------------------------------------


def _near(problem: Problem, clauses: NDArray[np.intp], lower: Point, upper: Point) -> NDArray[np.intp]:
    """The clauses of which plain intervals cannot tell, for rounding, whether they exclude them; or which overflow."""
    spec, graph = problem.spec, problem.model.graph
    ends = [np.array([float(v) for v in end]) for end in (lower, upper)]
    with np.errstate(all="ignore"):
        low, high = (end.ravel() for end in _plain(graph, *(end.reshape(graph.input_shape) for end in ends)))
        found = []
        for k in clauses:
            rows = spec.rows(spec.clauses[k])
            least = np.minimum(rows.outputs * low, rows.outputs * high).sum(axis=1)
            size = (np.abs(rows.outputs) * np.maximum(np.abs(low), np.abs(high))).sum(axis=1) + np.abs(rows.rhs)
            if rows.inputs is not None:
                least += np.minimum(rows.inputs * ends[0], rows.inputs * ends[1]).sum(axis=1)
                size += (np.abs(rows.inputs) * np.maximum(np.abs(ends[0]), np.abs(ends[1]))).sum(axis=1)
            plainly_open, plainly_closed = least < rows.rhs - _NEAR * size, least > rows.rhs + _NEAR * size
            if not plainly_open.all() and not plainly_closed.any():
                found.append(k)
    return np.array(found, dtype=np.intp)


def _plain(graph: Graph, low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intervals in float64 as they come: no bounds, a guess of where the bounds are."""
    constants = {name: in_dtype(stored(value), np.dtype(np.float64)) for name, value in graph.constants.items()}
    known = {graph.input: (low, high)}
    for node in graph.nodes:
        if node.op != INPUT:
            params = {role: constants[name] for role, name in node.params.items()}
            lows, highs = (list(side) for side in zip(*(known[name] for name in node.inputs), strict=True))
            known[node.name] = (_affine if node.op in AFFINE else _sampled)(node, lows, highs, params)
    return known[graph.output]


Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


def _affine(node: Node, lows: list[NDArray[np.float64]], highs: list[NDArray[np.float64]], params: Params) -> Ends:
    if node.op == "sub":
        return lows[0] - highs[1], highs[0] - lows[1]
    above = {role: np.maximum(v, 0) if role in ("weight", "factor") else v for role, v in params.items()}
    below = {role: np.minimum(v, 0) for role, v in params.items() if role in ("weight", "factor")}
    if not below:
        return apply(node, lows, params), apply(node, highs, params)
    return apply(node, lows, above) + apply(node, highs, below), apply(node, highs, above) + apply(node, lows, below)


def _sampled(node: Node, lows: list[NDArray[np.float64]], highs: list[NDArray[np.float64]], params: Params) -> Ends:
    """Of a function of one element its values at the ends and next to zero; of others those at the ends."""
    middles = [np.clip(0.0, a, b) for a, b in zip(lows, highs, strict=True)]
    values = np.stack([apply(node, point, params) for point in (lows, highs, middles)])
    return values.min(axis=0), values.max(axis=0)
