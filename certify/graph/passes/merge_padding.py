"""Zeros padded evenly onto the spatial axes belong to the convolution that reads them."""

from __future__ import annotations

from dataclasses import replace

from certify.graph.graph import Graph, Node
from certify.graph.passes.rewrite import Draft, sweep


def merge_padding(graph: Graph) -> Graph:
    """The same function with symmetric zero padding as an attribute of its convolution."""
    return sweep(graph, _merge)


def _merge(draft: Draft, node: Node) -> None:
    if node.op != "conv":
        return
    pad = draft.producer(node)
    if pad.op != "pad":
        return
    before, after, value = pad.attrs["before"], pad.attrs["after"], pad.attrs["value"]
    if value == 0 and tuple(before) == tuple(after) and not any(before[:2]):
        padding = tuple(own + added for own, added in zip(node.attrs["padding"], before[2:], strict=True))
        draft.replace(node.name, replace(node, inputs=pad.inputs, attrs={**node.attrs, "padding": padding}))
