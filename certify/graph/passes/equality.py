"""Holds a rewritten graph against the one it was made from, in double precision: what a pass takes for the same is the same.

No proof, but sharper than any comparison with a runtime: at the points tried, nothing but the rounding of doubles may be between them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from certify.graph.double_double import DoubleDouble
from certify.graph.formats import FORMATS
from certify.graph.graph import Graph, GraphError
from certify.graph.noise import evaluate_noisy, work

_WORK = 50_000_000
"""Products of all evaluations, about a tenth of a second: what is larger is compared at fewer points, or at none."""
_SCALES = (4.0, 0.5, 60.0)


def as_read(graph: Graph) -> Graph:
    """The graph as it is, its constants rounded to doubles."""
    highs = {name: value.high for name, value in graph.constants.items() if isinstance(value, DoubleDouble)}
    return replace(graph, constants={**graph.constants, **highs}) if highs else graph


def require_equal(before: Graph, after: Graph) -> None:
    """A GraphError where `after`, a rewritten form of `before`, differs from it by more than doubles round; not of live constants."""
    scales = _SCALES[: _WORK // max(work(before), 1)]
    if not scales or not all(isinstance(value, np.ndarray | DoubleDouble) for value in before.constants.values()):
        return
    random = np.random.default_rng(0)
    points = [scale * random.standard_normal(after.input_shape) for scale in scales]
    one, other = (evaluate_noisy(as_read(graph), points, FORMATS["float64"]) for graph in (before, after))
    with np.errstate(invalid="ignore"):
        allowed = one.noise + other.noise
        same = (np.abs(one.value - other.value) <= allowed) | (one.value == other.value) | np.isinf(allowed)
    same |= np.isnan(one.value) & np.isnan(other.value)
    if not same.all():
        index = tuple(np.argwhere(~same)[0])
        raise GraphError(
            f"rewriting the graph changed an output from {one.value[index]:.17g} to {other.value[index]:.17g}, which rounding does not "
            "explain: please report it with the model"
        )
