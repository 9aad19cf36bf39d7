"""The last word on every front end: a graph must compute what the model it was read from computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from certify.graph import Graph, GraphError
from certify.graph.evaluate import evaluate

ROUNDINGS = 200.0
"""How many times the rounding error that is seen in evaluating the graph itself the other side may differ."""


def require_agreement(
    graph: Graph, reference: Callable[[np.ndarray], np.ndarray], points: Iterable[np.ndarray], epsilon: float, judge: str
) -> None:
    """A GraphError where `reference`, of machine epsilon `epsilon`, differs from the graph by more than rounding at some point.

    What rounding can do is measured: the graph's float32 values against its float64 ones, in proportion to the precisions. Points
    where both are NaN or equally infinite agree.
    """
    single = float(np.finfo(np.float32).eps)
    for point in points:
        expected = np.asarray(reference(point), np.float64)
        found = evaluate(graph, point.astype(np.float64))
        if expected.shape != found.shape:
            raise GraphError(
                f"the graph's output has shape {list(found.shape)} and {judge}'s {list(expected.shape)}; please report this"
            )
        with np.errstate(invalid="ignore"):
            rounding = np.abs(evaluate(graph, point.astype(np.float32)) - found) / single
            scale = np.maximum(np.abs(found).max(initial=0.0), 1e-30)
            allowed = ROUNDINGS * epsilon * (np.nanmax(rounding, initial=0.0) + scale)
            differ = ~((np.abs(expected - found) <= allowed) | (expected == found) | (np.isnan(expected) & np.isnan(found)))
        if differ.any():
            worst = float(np.abs(expected - found)[differ].max())
            raise GraphError(
                f"the graph and {judge} differ by {worst:.3g} at outputs of size {scale:.3g}, more than rounding explains "
                f"({allowed:.2g}): the model was misread, please report it"
            )
