"""The one representation of a network: a directed acyclic graph of canonical operators.

Every model (ONNX, torch.export, a live module) becomes a `Graph`; bounds, search and proofs see nothing else. It holds no torch and
no onnx: constants are whatever arrays the front end put in (numpy arrays, or the live parameters of a module).

A node's `shape` is the shape of *one* evaluation of the model exactly as its file declares it, with a symbolic batch axis set to 1:
a network declared `[N, 3, 32, 32]` has an input node of shape `(1, 3, 32, 32)`. The engine's own batch axis lies in front of it, so
that values are `(batch, *shape)`. Nothing has to guess which axis of a Reshape or Transpose was the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Shape = tuple[int, ...]
INPUT = "input"


class GraphError(ValueError):
    """A model that cannot be represented; the message names the node, the operator, the reason and the next step."""


class CoarseError(GraphError):
    """A model that rounds to a coarser format on its way: it is no function of real numbers, whatever operators had rules."""


@dataclass(frozen=True)
class Node:
    """One application of a canonical operator: `op(*inputs; params, attrs)`, a tensor of `shape`.

    `inputs` are names of nodes (what depends on the network's input), `params` maps a role ("weight", "bias") to the name of a
    constant, `attrs` are plain Python values. `source` is what the author of the model calls this node, for messages.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: Shape
    params: Mapping[str, str] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def __str__(self) -> str:
        return f"node {self.source or self.name} ({self.op}, shape {list(self.shape)})"


@dataclass(frozen=True)
class Derived:
    """A constant computed from other constants, such as BatchNorm's scale from gamma, variance and epsilon.

    `function` must work on numpy arrays and on torch tensors alike (arithmetic and `.reshape` only). Of a live module it is
    evaluated again whenever bounds are computed, so that they stay differentiable in the parameters.
    """

    name: str
    function: Callable[..., Any]
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order, the constants they use, one input and one output.

    `rounded` names the constants that are not what they stand for, but within two units of relative error of it (see `fold_affine`).
    `runtime` is the graph once more where the model computes constants from others that its runtime rounds: with those as the runtime
    has them. It is what the original is held against; what is proved is about this graph, of the stored numbers.
    `plain` is the graph as it was read, where its operators round more than those that it was rewritten into.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Any]
    derived: tuple[Derived, ...]
    input: str
    output: str
    rounded: frozenset[str] = frozenset()
    runtime: Graph | None = field(default=None, repr=False, compare=False)
    plain: Graph | None = field(default=None, repr=False, compare=False)

    def node(self, name: str) -> Node:
        """The node of that name, else the first of that source name; a `GraphError` lists near names where there is none."""
        found = next((n for n in self.nodes if n.name == name), None) or next((n for n in self.nodes if n.source == name), None)
        if found is not None:
            return found
        import difflib

        near = difflib.get_close_matches(name, [n.name for n in self.nodes], n=3)
        raise GraphError(f"no node is called {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))

    def consumers(self) -> dict[str, list[Node]]:
        """For every node's name, the nodes that read it."""
        readers: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in node.inputs:
                readers[name].append(node)
        return readers

    def ancestors(self, name: str) -> set[str]:
        """Names of the nodes that `name` depends on, itself included."""
        inputs = {node.name: node.inputs for node in self.nodes}
        seen, stack = set(), [name]
        while stack:
            current = stack.pop()
            if current not in seen:
                seen.add(current)
                stack.extend(inputs[current])
        return seen

    def pruned(self) -> Graph:
        """The same function without the nodes and constants that the output does not depend on."""
        alive = self.ancestors(self.output) | {self.input}
        nodes = tuple(node for node in self.nodes if node.name in alive)
        needed = {name for node in nodes for name in node.params.values()}
        derived = []
        for entry in reversed(self.derived):
            if entry.name in needed:
                derived.append(entry)
                needed.update(entry.inputs)
        constants = {name: value for name, value in self.constants.items() if name in needed}
        return replace(self, nodes=nodes, constants=constants, derived=tuple(reversed(derived)))

    @property
    def input_shape(self) -> Shape:
        """Shape of the network's input as the model declares it, a symbolic batch axis being 1."""
        return self.node(self.input).shape

    @property
    def output_shape(self) -> Shape:
        """Shape of the network's output as the model declares it, a symbolic batch axis being 1."""
        return self.node(self.output).shape
