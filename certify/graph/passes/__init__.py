"""Normalisation: passes that turn a graph into an equal one that bounds better and faster, one per file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from certify.graph.double_double import DoubleDouble
from certify.graph.evaluate import AFFINE
from certify.graph.graph import Graph, GraphError
from certify.graph.passes.equality import as_read, require_equal
from certify.graph.passes.fold_affine import fold_affine
from certify.graph.passes.fuse_gates import fuse_gates
from certify.graph.passes.fuse_powers import fuse_powers
from certify.graph.passes.fuse_softplus import fuse_softplus
from certify.graph.passes.merge_constants import merge_constants
from certify.graph.passes.merge_layers import merge_layers
from certify.graph.passes.merge_moves import merge_moves
from certify.graph.passes.merge_padding import merge_padding
from certify.graph.passes.quarter_squares import quarter_squares
from certify.graph.passes.swap_moves import swap_moves

Pass = Callable[[Graph], Graph]

# Products are recognised before constants move into layers, where they would no longer be seen.
FUSIONS: Sequence[Pass] = (merge_constants, merge_moves, fuse_powers, fuse_gates, fuse_softplus)
MERGERS: Sequence[Pass] = (merge_constants, merge_moves, merge_padding, swap_moves, fold_affine, merge_layers)


def normalise(graph: Graph) -> Graph:
    """The same function of the same input and output, rewritten until no pass finds anything more to do.

    Constants that passes compute are float64, within two units of relative error of the real ones (see `fold_affine`); those of a live
    module stay live, as derived constants. A `GraphError` where the function is not the same: that is a mistake of a pass.
    """
    given = graph
    graph = _until_stable([partial(_until_stable, FUSIONS), partial(_until_stable, MERGERS)], graph)
    graph = _until_stable(MERGERS, quarter_squares(graph))  # products that are none of the known functions
    pairs = {name: value for name, value in graph.constants.items() if isinstance(value, DoubleDouble)}
    _require_known(graph, pairs)
    if graph is not given:
        require_equal(given, graph)
    inexact = frozenset(name for name, value in pairs.items() if not value.exact)
    return replace(as_read(graph), rounded=graph.rounded | inexact) if pairs else graph


def _require_known(graph: Graph, pairs: Mapping[str, DoubleDouble]) -> None:
    """A GraphError where a constant that is rounded now is not known well enough, or a nonlinear rule would take it for exact."""
    for node in graph.nodes:
        for role, name in node.params.items():
            if name in pairs and not pairs[name].accurate:
                raise GraphError(
                    f"{node}: its {role} is computed from constants of which hardly a digit is left, or is out of the range of double "
                    "precision; store the result in the model instead of computing it there"
                )
            if name in pairs and node.op not in AFFINE and not pairs[name].exact:
                raise GraphError(f"{node}: its {role} is no double, which this operator needs; store it rounded in the model")


def _until_stable(passes: Sequence[Pass], graph: Graph) -> Graph:
    """Runs passes in turn until none changes anything. Each removes nodes, or moves constants towards a layer, so this ends."""
    before = None
    while graph is not before:
        before = graph
        for run in passes:
            graph = run(graph)
    return graph


__all__ = ["as_read", "normalise"]
