"""Nodes that take the place of one node, emitted one after the other: what passes share that put several in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.graph.graph import Node, Shape
from certify.graph.passes.rewrite import Draft
from certify.graph.shapes import output_shape


class Emitter:
    """Collects the nodes that replace `node`; shapes are inferred, constants are stored in the draft."""

    def __init__(self, draft: Draft, node: Node) -> None:
        self._draft, self._node = draft, node
        self._nodes: dict[str, Node] = {}

    def add(self, op: str, *inputs: str, params: dict[str, NDArray[Any]] | None = None, **attrs: Any) -> str:
        """Emits a node with constant parameters and returns its name."""
        params = params or {}
        shape = output_shape(op, [self._shape(name) for name in inputs], {role: p.shape for role, p in params.items()}, attrs)
        name = self._draft.fresh(f"{self._node.name}.{len(self._nodes)}")
        stored = {role: self._draft.constant(f"{name}.{role}", p) for role, p in params.items()}
        self._nodes[name] = Node(name, op, inputs, shape, stored, attrs, self._node.source)
        return name

    def linear(self, source: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
        """Emits a linear layer."""
        return self.add("linear", source, params={"weight": weight, "bias": bias})

    def take(self, source: str, index: NDArray[np.intp]) -> str:
        """Emits a selection of elements, unless it is all of them in their order."""
        everything = np.arange(np.prod(self._shape(source), dtype=int)).reshape(self._shape(source))
        return source if np.array_equal(index, everything) else self.add("take", source, params={"index": index})

    def finish(self) -> None:
        """Puts the nodes in the place of the one; the last takes over its name."""
        *inner, last = self._nodes.values()
        self._draft.replace(self._node.name, *inner, replace(last, name=self._node.name))

    def _shape(self, name: str) -> Shape:
        return self._nodes[name].shape if name in self._nodes else self._draft.node(name).shape
