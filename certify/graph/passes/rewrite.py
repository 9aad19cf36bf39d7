"""What the passes share: a graph under revision, and the sweep that applies a rule to each of its nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from certify.graph.double_double import DoubleDouble, exactly
from certify.graph.graph import Derived, Graph, Node, Shape


class Draft:
    """A graph under revision. What a rule replaces keeps its name, so that readers, the output and messages stay valid."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._order = {node.name: [node.name] for node in graph.nodes}
        self._current = {node.name: node for node in graph.nodes}
        self._constants = dict(graph.constants)
        self._derived = list(graph.derived)
        self._shapes: dict[str, Shape] = {}
        self._forwarded: dict[str, str] = {}
        self._readers = Counter(name for node in graph.nodes for name in node.inputs)
        self._readers[graph.output] += 1
        self.changed = False

    # --- reading ---

    def node(self, name: str) -> Node:
        """The node of that name as it is now."""
        return self._current[name]

    def producer(self, node: Node, index: int = 0) -> Node:
        """The node that an input of `node` is read from."""
        return self._current[node.inputs[index]]

    def alive(self, name: str) -> bool:
        """Whether the node is still there and something reads it."""
        return name in self._current and self._readers[name] > 0

    def private(self, name: str) -> bool:
        """Whether exactly one input of one node reads the node, so that it may be merged into its reader."""
        return self._readers[name] == 1

    def array(self, name: str) -> np.ndarray | None:
        """The constant of that name if it is fixed, rounded to doubles; None where it is a live parameter or derived from one."""
        value = self._constants.get(name)
        return value.high if isinstance(value, DoubleDouble) else value if isinstance(value, np.ndarray) else None

    def equals(self, name: str, number: float) -> bool:
        """Whether the constant is fixed, and the real numbers that it stands for are all this one."""
        value = self.number(name)
        return value is not None and value.exact and float(value.high) == number

    def exact(self, name: str) -> np.ndarray | None:
        """The constant of that name in doubles if it is fixed and these are the real numbers that it stands for, else None."""
        value = self._constants.get(name)
        rounded = name in self._graph.rounded or (isinstance(value, DoubleDouble) and not value.exact)
        array = self.array(name)
        return None if array is None or rounded else array.astype(np.float64, copy=False)

    def number(self, name: str) -> DoubleDouble | None:
        """The one real number, a scalar, that all elements of a fixed constant stand for, else None."""
        if self.array(name) is None:
            return None
        value = exactly(self._constants[name])
        parts = (value.high, value.low, value.error)
        if value.high.size == 0 or any(part.min() != part.max() for part in parts):
            return None
        return value.moved(lambda part: np.asarray(part.flat[0]))

    def shape(self, name: str) -> Shape:
        """Shape of a constant, be it stored or derived."""
        if name not in self._shapes:
            self._shapes[name] = tuple(int(n) for n in self.value(name).shape)
        return self._shapes[name]

    def value(self, name: str) -> np.ndarray:
        """A constant's present value, as an array: of a derived one, computed from those it depends on."""
        if name in self._constants:
            value = self._constants[name]
            found = self.array(name)
            return value.detach().cpu().double().numpy() if found is None else found
        (entry,) = (entry for entry in self._derived if entry.name == name)
        return entry.function(*(self.value(i) for i in entry.inputs))

    # --- writing ---

    def fresh(self, name: str) -> str:
        """The name, or one made of it, that no node and no constant has."""
        taken = self._current.keys() | self._order.keys() | self._constants.keys() | {entry.name for entry in self._derived}
        candidate, count = name, 1
        while candidate in taken:
            count += 1
            candidate = f"{name}_{count}"
        return candidate

    def constant(self, name: str, value: np.ndarray | DoubleDouble) -> str:
        """Stores a constant under a name made unique, and returns that name."""
        name = self.fresh(name)
        self._constants[name] = value
        return name

    def combine(self, name: str, function: Callable[..., Any], *inputs: str) -> str | None:
        """The constant `function(*inputs)`: if all inputs are fixed, computed now, with twice the digits of a double, else derived.

        None where even so its elements are not all known within two units of relative error: the rule must not go on then.
        """
        fixed = [exactly(self._constants[i]) for i in inputs if self.array(i) is not None]
        if len(fixed) == len(inputs):
            value = function(*fixed)
            return self.constant(name, value.simplest) if value.accurate else None
        return self._derive(name, function, *inputs)

    def move(self, name: str, function: Callable[[Any], Any], constant: str) -> str:
        """The constant with its elements in other places, by a function that only moves or repeats them."""
        value = self._constants.get(constant)
        if self.array(constant) is None:
            return self._derive(name, function, constant)
        return self.constant(name, value.moved(function) if isinstance(value, DoubleDouble) else function(value))

    def _derive(self, name: str, function: Callable[..., Any], *inputs: str) -> str:
        name = self.fresh(name)
        self._derived.append(Derived(name, function, inputs))
        return name

    def replace(self, name: str, *nodes: Node) -> None:
        """Puts nodes in the place of one. The last takes over its name; those that only it reads have `fresh` names."""
        inner = [*nodes[:-1], replace(nodes[-1], name=name)]
        for node in inner:
            self._readers.update(node.inputs)
        released = self._current[name].inputs
        self._order[name] = [*self._order[name][:-1], *(node.name for node in inner)]
        self._current.update({node.name: node for node in inner})
        self._release(released)
        self.changed = True

    def forward(self, name: str) -> None:
        """Drops a node of one input: what reads it reads its input instead. An output that is the network's input stays a node of its
        own, a reshape, so that conditions on the two are told apart."""
        node = self._current[name]
        (source,) = node.inputs
        if name == self._output and source == self._graph.input:
            if node.op != "reshape":
                self.replace(name, replace(node, op="reshape", params={}, attrs={"shape": node.shape}))
            return
        for reader in [node for node in self._current.values() if name in node.inputs]:
            self._current[reader.name] = replace(reader, inputs=tuple(source if i == name else i for i in reader.inputs))
        self._readers[source] += self._readers.pop(name) - 1
        self._forwarded[name] = source
        del self._current[name]
        self.changed = True

    def graph(self) -> Graph:
        """The revised graph, without what its output no longer depends on."""
        order = [self._current[name] for group in self._order.values() for name in group if name in self._current]
        return replace(
            self._graph, nodes=tuple(order), constants=self._constants, derived=tuple(self._derived), output=self._output
        ).pruned()

    @property
    def _output(self) -> str:
        output = self._graph.output
        while output in self._forwarded:
            output = self._forwarded[output]
        return output

    def _release(self, names: Sequence[str]) -> None:
        """Takes note that a node no longer reads these; what nothing reads any more releases its own inputs."""
        for name in names:
            self._readers[name] -= 1
            if self._readers[name] == 0 and name != self._graph.input:
                self._release(self._current.pop(name).inputs)


def known(params: Mapping[str, str | None]) -> dict[str, str] | None:
    """The constants, or None where one of them cannot be known well enough."""
    found = {role: name for role, name in params.items() if name is not None}
    return found if len(found) == len(params) else None


Rule = Callable[[Draft, Node], None]


def sweep(graph: Graph, rule: Rule) -> Graph:
    """Applies a rule to every node, in topological order; returns the very same graph where the rule changed nothing."""
    draft = Draft(graph)
    for node in graph.nodes:
        if draft.alive(node.name):
            rule(draft, draft.node(node.name))
    return draft.graph() if draft.changed else graph
