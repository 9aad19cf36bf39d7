"""Networks that are chains of affine maps and two-slope activations (ReLU, LeakyReLU), as the layers that the chain kernels want.

No weight is rounded here: every layer holds the stored constants, or exact sums of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from certify.graph import INPUT, Graph, Node
from certify.graph.evaluate import bound_constants
from certify.kernels.chain import Layer
from certify.specification import Boxes, Specification

Array = NDArray[np.float64]
Params = Mapping[str, Array]


@dataclass(frozen=True)
class Chain:
    """Layers y -> max(z, slope * z), z = weight @ y + bias, on flat values in C order; all float64."""

    layers: tuple[Layer, ...]

    @property
    def inputs(self) -> int:
        """How many inputs."""
        return self.layers[0][0].shape[1]

    def objective(self, rows: Array) -> tuple[Layer, ...]:
        """The layers followed by linear functions of the outputs, (rows, outputs)."""
        return (*self.layers, (rows, np.zeros(len(rows)), np.ones(len(rows))))


MOST_INPUTS = 24
"""With more, halving inputs one at a time leads nowhere."""


def chain_applies(graph: Graph, spec: Specification) -> bool:
    """Whether `chain_split.split_chain` can work on this question: a chain, few inputs, boxes, conditions on outputs alone.

    Their coefficients must be float64 numbers, and every clause must have a condition.
    """
    if not (isinstance(spec.inputs, Boxes) and spec.inputs.size <= MOST_INPUTS and is_chain(graph)):
        return False
    atoms = [atom for clause in spec.clauses for atom in clause.atoms]
    coefficients = {coefficient for atom in atoms for _, coefficient in atom.outputs}
    exact = all(abs(c) <= sys.float_info.max and float(c) == c for c in coefficients)
    return exact and all(clause.atoms for clause in spec.clauses) and not any(atom.inputs for atom in atoms)


def is_chain(graph: Graph) -> bool:
    """Whether `as_chain` can lay the graph out; looks at no weights."""
    previous = (graph.input, *(node.name for node in graph.nodes if node.op != INPUT))
    nodes = [node for node in graph.nodes if node.op != INPUT]
    return (
        all(node.inputs == (name,) for node, name in zip(nodes, previous, strict=False))
        and all(_is_link(graph, node) for node in nodes)
        and graph.output == previous[-1]
        and all(type(value) is np.ndarray for value in graph.constants.values())
    )


def as_chain(graph: Graph) -> Chain:
    """The layers of a graph for which `is_chain` holds; a ValueError where a constant is NaN or infinite."""
    constants = bound_constants(graph, np.dtype(np.float64))
    for name, value in constants.items():
        if not np.isfinite(value).all():
            raise ValueError(f"{name} holds NaN or infinite entries; a network needs finite weights")
    layers: list[Layer] = []
    size = prod(graph.input_shape)
    for node in graph.nodes:
        params = {role: constants[name] for role, name in node.params.items()}
        if node.op in _AFFINE:
            made = _AFFINE[node.op](node, params, size)
            layers += [] if made is None else [(*made, np.ones(len(made[1])))]
        elif node.op in _ACTIVATIONS:
            if not layers or (layers[-1][2] != 1.0).any():
                layers.append((np.eye(size), np.zeros(size), np.ones(size)))
            weight, bias, _ = layers[-1]
            layers[-1] = (weight, bias, np.full(size, _ACTIVATIONS[node.op](node)))
        size = prod(node.shape)
    layers = layers or [(np.eye(size), np.zeros(size), np.ones(size))]
    return Chain(tuple(_merge_opposites(layers)))


# --- layers of nodes ----------------------------------------------------------------------------------------------------------

Affine = Callable[[Node, Params, int], "tuple[Array, Array] | None"]


def _linear(node: Node, params: Params, size: int) -> tuple[Array, Array]:
    weight = params["weight"]
    return weight, params.get("bias", np.zeros(len(weight)))


def _matmul(node: Node, params: Params, size: int) -> tuple[Array, Array]:
    weight = params["weight"].reshape(params["weight"].shape[-2:]).T
    return weight, np.zeros(len(weight))


def _scale(node: Node, params: Params, size: int) -> tuple[Array, Array]:
    (factor,) = params.values()
    return np.diag(np.broadcast_to(factor, node.shape).ravel()), np.zeros(size)


def _shift(node: Node, params: Params, size: int) -> tuple[Array, Array]:
    (offset,) = params.values()
    return np.eye(size), np.broadcast_to(offset, node.shape).ravel().copy()


_AFFINE: Mapping[str, Affine] = {
    "linear": _linear,
    "matmul": _matmul,
    "scale": _scale,
    "shift": _shift,
    "reshape": lambda node, params, size: None,
}
_ACTIVATIONS: Mapping[str, Callable[[Node], float]] = {
    "relu": lambda node: 0.0,
    "leaky_relu": lambda node: float(node.attrs.get("slope", 0.01)),
}


def _is_link(graph: Graph, node: Node) -> bool:
    """Whether the node is a link of a chain: a convex activation, or an affine map whose matrix is the layer's."""
    if node.op in _ACTIVATIONS:
        return 0.0 <= _ACTIVATIONS[node.op](node) <= 1.0
    vectors = prod(graph.node(node.inputs[0]).shape[:-1])
    return node.op in _AFFINE and (node.op not in ("linear", "matmul") or vectors == 1)


# --- opposite neurons ---------------------------------------------------------------------------------------------------------


def _merge_opposites(layers: list[Layer]) -> list[Layer]:
    """The same function where a ReLU of s and one of -s are one: relu(-s) = relu(s) - s.

    Lattices of maxima, max(a, b) = (a + b) / 2 + |a - b| / 2, are written with four ReLUs each, of which one remains. The relaxation
    of two would not see that they belong together.
    """
    result = list(layers)
    for k in range(len(layers) - 1):
        weight, bias, slope = result[k]
        following, next_bias, next_slope = result[k + 1]
        following, slope = following.copy(), slope.copy()
        for i, j in _opposites(weight, bias, slope):
            total = following[:, i] + following[:, j]
            if _exact(following[:, i], following[:, j], total):
                following[:, i] = total
                slope[j] = 1.0
        used = (following != 0).any(axis=0)
        used[0] |= not used.any()
        result[k] = (weight[used], bias[used], slope[used])
        result[k + 1] = (following[:, used], next_bias, next_slope)
    return result


def _opposites(weight: Array, bias: Array, slope: Array) -> list[tuple[int, int]]:
    """Pairs of ReLUs whose values are each other's negatives, no neuron in two of them."""
    unpaired: dict[bytes, int] = {}
    pairs = []
    for i in np.flatnonzero(slope == 0.0).tolist():
        row = np.append(weight[i], bias[i])
        at = np.flatnonzero(row)
        partner = unpaired.pop(at.tobytes() + (-row[at]).tobytes(), None)
        if partner is None:
            unpaired[at.tobytes() + row[at].tobytes()] = i
        else:
            pairs.append((partner, i))
    return pairs


def _exact(a: Array, b: Array, total: Array) -> bool:
    """Whether the rounded sums of a and b are their sums (the error of TwoSum is zero)."""
    part = total - a
    return bool(((a - (total - part)) + (b - part) == 0).all())
