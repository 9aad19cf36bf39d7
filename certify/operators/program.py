"""A graph bound to tensors: the constants of a `Graph` on one device in one dtype, ready to be evaluated or bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.graph import INPUT, Graph, GraphError, Node
from certify.operators.base import Params
from certify.operators.table import OPS


@dataclass(frozen=True)
class Program:
    """`graph` with its constants as tensors of one dtype and device. Integer constants (indices) stay integers."""

    graph: Graph
    constants: Mapping[str, Tensor]
    dtype: torch.dtype
    device: torch.device

    def params(self, node: Node) -> Params:
        """The parameters of a node by role."""
        return {role: self.constants[name] for role, name in node.params.items()}

    def evaluate(self, x: Tensor) -> Tensor:
        """The network's output at a batch of points: x is (batch, *graph.input_shape), the result (batch, *graph.output_shape)."""
        return self.values(x)[self.graph.output]

    def values(self, x: Tensor) -> dict[str, Tensor]:
        """The value of every node at a batch of points."""
        values = {self.graph.input: x}
        for node in self.graph.nodes:
            if node.op != INPUT:
                inputs = [values[name] for name in node.inputs]
                values[node.name] = OPS[node.op].value(*inputs, node=node, params=self.params(node))
        return values


def bind(graph: Graph, dtype: torch.dtype, device: torch.device | str = "cpu") -> Program:
    """Converts the constants of a graph; live parameters of that dtype and device are used as they are, so gradients reach them."""
    refuse_unsupported(graph)
    constants: dict[str, Tensor] = {}
    for name, value in graph.constants.items():
        tensor = torch.as_tensor(value)
        constants[name] = tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else tensor.dtype)
    for entry in graph.derived:
        constants[entry.name] = entry.function(*(constants[name] for name in entry.inputs))
    return Program(graph, constants, dtype, torch.device(device))


def refuse_unsupported(graph: Graph) -> None:
    """Raises a `GraphError` that names the first node whose operator has no rule."""
    for node in graph.nodes:
        if node.op != INPUT and node.op not in OPS:
            raise GraphError(f"{node}: no bound rule for this operator; `certify supports` lists those that have one")
