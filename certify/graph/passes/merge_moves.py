"""Moves of elements that cancel or combine: reshape of reshape, transpose of transpose, take of take, and moves of nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import numpy as np

from certify.graph.graph import Graph, Node
from certify.graph.passes.rewrite import Draft, sweep


def merge_moves(graph: Graph) -> Graph:
    """The same function with chains of reshape, transpose and take shortened."""
    return sweep(graph, _merge)


def _merge(draft: Draft, node: Node) -> None:
    if node.op not in STAYS:
        return
    before = draft.producer(node)
    if before.shape == node.shape and STAYS[node.op](draft, node):
        draft.forward(node.name)
    elif (before.op, node.op) in PAIRS:
        draft.replace(node.name, replace(PAIRS[before.op, node.op](draft, before, node), inputs=before.inputs))


def _in_place(draft: Draft, node: Node) -> bool:
    return np.array_equal(_index(draft, node).reshape(-1), np.arange(_index(draft, node).size))


def _keeps_order(draft: Draft, node: Node) -> bool:
    """Axes of length one may move freely."""
    long_axes = [axis for axis, size in zip(node.attrs["perm"], node.shape, strict=True) if size != 1]
    return long_axes == sorted(long_axes)


def _transposes(draft: Draft, first: Node, second: Node) -> Node:
    return replace(second, attrs={"perm": tuple(first.attrs["perm"][axis] for axis in second.attrs["perm"])})


def _takes(draft: Draft, first: Node, second: Node) -> Node:
    index = _index(draft, first).reshape(-1)[_index(draft, second)]
    return replace(second, params={"index": draft.constant(f"{second.name}.index", index)})


def _take_then(move: Callable[[np.ndarray, Node], np.ndarray]) -> Callable[[Draft, Node, Node], Node]:
    """A take whose index is moved instead of what it takes."""

    def merge(draft: Draft, first: Node, second: Node) -> Node:
        index = draft.constant(f"{second.name}.index", move(_index(draft, first), second))
        return replace(second, op="take", attrs={}, params={"index": index})

    return merge


def _transpose_then_take(draft: Draft, first: Node, second: Node) -> Node:
    shape = draft.producer(first).shape
    positions = np.arange(prod(shape)).reshape(shape).transpose(first.attrs["perm"])
    index = positions.reshape(-1)[_index(draft, second)]
    return replace(second, params={"index": draft.constant(f"{second.name}.index", index)})


def _index(draft: Draft, node: Node) -> np.ndarray:
    return np.asarray(draft.value(node.params["index"]))


# An operator that only moves elements: does it leave them where they are, given that the shape stays?
STAYS: Mapping[str, Callable[[Draft, Node], bool]] = {
    "reshape": lambda draft, node: True,
    "transpose": _keeps_order,
    "take": _in_place,
}

# Two moves in a row, and the one that does the same to the input of the first.
PAIRS: Mapping[tuple[str, str], Callable[[Draft, Node, Node], Node]] = {
    ("reshape", "reshape"): lambda draft, first, second: second,
    ("reshape", "take"): lambda draft, first, second: second,
    ("transpose", "transpose"): _transposes,
    ("take", "take"): _takes,
    ("transpose", "take"): _transpose_then_take,
    ("take", "reshape"): _take_then(lambda index, move: index.reshape(move.shape)),
    ("take", "transpose"): _take_then(lambda index, move: index.transpose(move.attrs["perm"])),
}
