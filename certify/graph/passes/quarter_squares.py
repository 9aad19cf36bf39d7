"""x * y = ((x + y)^2 - (x - y)^2) / 4: a product of two nodes as a difference of two functions of one variable.

Exact, and all that the engine knows of a square holds for it. Its lines are those of two parabolas: as tight as McCormick's where both
factors vary alike, looser where one of them is much larger than the other.
"""

from __future__ import annotations

import numpy as np

from certify.graph.graph import Graph, Node
from certify.graph.passes.emitter import Emitter
from certify.graph.passes.rewrite import Draft, sweep


def quarter_squares(graph: Graph) -> Graph:
    """The same function without products of two nodes."""
    return sweep(graph, _rewrite)


def _rewrite(draft: Draft, node: Node) -> None:
    if node.op != "mul":
        return
    emitter = Emitter(draft, node)
    total, difference = (emitter.add("square", emitter.add(op, *node.inputs)) for op in ("add", "sub"))
    emitter.add("scale", emitter.add("sub", total, difference), params={"factor": np.array(0.25)})
    emitter.finish()
