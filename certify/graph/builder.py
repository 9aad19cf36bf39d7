"""Builds a `Graph` node by node, checking shapes on the way: what every front end writes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from certify.graph.double_double import DoubleDouble, exactly
from certify.graph.graph import INPUT, Derived, Graph, GraphError, Node, Shape
from certify.graph.shapes import output_shape, require_size


class GraphBuilder:
    """Collects nodes in topological order. Names are made unique; shapes are inferred and checked at once."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._constants: dict[str, Any] = {}
        self._constant_shapes: dict[str, Shape] = {}
        self._derived: list[Derived] = []
        self._input: str | None = None

    def input(self, name: str, shape: Sequence[int]) -> str:
        """Declares the network's one input; the engine handles one, a second is refused."""
        if self._input is not None:
            raise GraphError(f"the model has a second input {name!r}: only one input is supported; fix the others as constants")
        try:
            size = require_size(shape)
        except ValueError as error:
            raise GraphError(f"the model's input {name!r} {error}") from error
        self._input = name
        self._nodes[name] = Node(name, INPUT, (), size, source=name)
        return name

    def constant(self, name: str, value: Any) -> str:
        """Stores an array (anything with a shape) under a name made unique, and returns that name."""
        name = self._unique(name, self._constants.keys() | {d.name for d in self._derived})
        self._constants[name] = value
        self._constant_shapes[name] = tuple(int(n) for n in value.shape)
        return name

    def derive(self, name: str, function: Callable[..., Any], *inputs: str, shape: Sequence[int]) -> str:
        """Declares a constant computed from others (see `Derived`), of the given shape."""
        name = self._unique(name, self._constant_shapes.keys())
        self._derived.append(Derived(name, function, inputs))
        self._constant_shapes[name] = tuple(shape)
        return name

    def combine(self, name: str, function: Callable[..., Any], *inputs: str, shape: Sequence[int]) -> str:
        """The constant `function(*inputs)`, of the given shape: computed now, to about twice the digits of a double where need be,
        if all inputs are fixed; otherwise derived, and so still live. A ValueError where it is no number."""
        fixed = [value for value in map(self._constants.get, inputs) if isinstance(value, (np.ndarray, DoubleDouble))]
        if len(fixed) < len(inputs):
            return self.derive(name, function, *inputs, shape=shape)
        value = function(*map(exactly, fixed))
        if not value.accurate:
            raise ValueError(f"its constant {name!r} has entries that are no numbers, or out of the range of double precision")
        return self.constant(name, value.simplest)

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        params: Mapping[str, str] | None = None,
        attrs: Mapping[str, Any] | None = None,
        *,
        source: str = "",
        name: str = "",
    ) -> str:
        """Appends a node and returns its name; a `GraphError` names the source node where the shapes do not fit, are too large, or one
        of its numbers is NaN or infinite (the live parameters of a module are not looked at)."""
        params, attrs = dict(params or {}), dict(attrs or {})
        name = self._unique(name or source or op, self._nodes.keys())
        try:
            for constant in params.values():
                _require_finite(constant, self._constants.get(constant))
            shape = output_shape(
                op, [self.shape(i) for i in inputs], {role: self._constant_shapes[p] for role, p in params.items()}, attrs
            )
        except (ValueError, IndexError, KeyError) as error:
            raise GraphError(f"node {source or name} ({op}): {error}") from error
        self._nodes[name] = Node(name, op, tuple(inputs), shape, params, attrs, source or name)
        return name

    def node(self, name: str) -> Node:
        """A node already added."""
        return self._nodes[name]

    def fixed(self, name: str) -> Any:
        """The value of a constant already stored, None where it is derived from others."""
        return self._constants.get(name)

    def shape(self, name: str) -> Shape:
        """Shape of a node already added."""
        return self._nodes[name].shape

    def constant_shape(self, name: str) -> Shape:
        """Shape of a constant already stored."""
        return self._constant_shapes[name]

    def build(self, output: str) -> Graph:
        """The finished graph, without what the output does not depend on."""
        if self._input is None:
            raise GraphError("the model has no input")
        graph = Graph(tuple(self._nodes.values()), self._constants, tuple(self._derived), self._input, output)
        return with_a_node(graph.pruned())

    @staticmethod
    def _unique(name: str, taken: Any) -> str:
        candidate, count = name, 1
        while candidate in taken:
            count += 1
            candidate = f"{name}_{count}"
        return candidate


def with_a_node(graph: Graph) -> Graph:
    """The same function with an output that is a node of its own, not the input: conditions on the two are then told apart."""
    if graph.output != graph.input:
        return graph
    node = graph.node(graph.input)
    same = Node(f"{node.name}.output", "reshape", (node.name,), node.shape, {}, {"shape": node.shape}, node.source)
    return replace(graph, nodes=(*graph.nodes, same), output=same.name)


def _require_finite(name: str, value: Any) -> None:
    numbers = value.high if isinstance(value, DoubleDouble) else value
    if isinstance(numbers, np.ndarray) and numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        raise ValueError(f"its constant {name!r} holds NaN or infinite entries")
