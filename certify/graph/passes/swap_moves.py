"""A scale or shift in front of reshapes and transposes moves behind them where a layer reads the result, and can take it up.

This is what BatchNorm, Flatten, Gemm need, and a pooling's division by its count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from certify.graph.graph import Graph, Node
from certify.graph.passes.fold_affine import LAYERS
from certify.graph.passes.rewrite import Draft, sweep

# What a move does to the constant, spread to one number per element, as it does to the value.
MOVES: Mapping[str, Callable[[np.ndarray, Node], np.ndarray]] = {
    "reshape": lambda constant, node: constant.reshape(node.shape),
    "transpose": lambda constant, node: constant.transpose(node.attrs["perm"]),
}


def swap_moves(graph: Graph) -> Graph:
    """The same function with fixed scales and shifts behind the reshapes and transposes that separate them from a layer."""
    return sweep(graph, _swap)


def _swap(draft: Draft, node: Node) -> None:
    if node.op not in LAYERS:
        return
    move, before = node, draft.producer(node)
    while before.op in MOVES and draft.private(before.name):
        move, before = before, draft.producer(before)
    if move is node or before.op not in ("scale", "shift") or not draft.private(before.name):
        return
    ((role, constant),) = before.params.items()
    if draft.array(constant) is None:
        return

    def moved(value: np.ndarray) -> np.ndarray:
        return value.reshape(()) if value.size == 1 else MOVES[move.op](np.broadcast_to(value, before.shape), move)

    name = draft.move(f"{constant}.moved", moved, constant)
    first = replace(move, name=draft.fresh(f"{move.name}.moved"), inputs=before.inputs)
    draft.replace(move.name, first, replace(before, inputs=(first.name,), shape=move.shape, params={role: name}))
