"""Which nodes the output of a model depends on: nothing else in a file is of any concern."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto


def live_nodes(nodes: Sequence[NodeProto], wanted: set[str]) -> list[tuple[NodeProto, set[str]]]:
    """The nodes on which the wanted tensors depend, in their order, each with the names that are read behind it."""
    needed, kept = set(wanted), []
    for node in reversed(nodes):
        if not needed.isdisjoint(name for name in node.output if name):
            kept.append((node, needed & set(node.output)))
            needed.update(tensors_read(node))
    return kept[::-1]


def tensors_read(node: NodeProto) -> set[str]:
    """Names of the tensors that a node reads, those inside its subgraphs included."""
    names: set[str] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        names.update(name for name in current.input if name)
        for attribute in current.attribute:
            for graph in _subgraphs(attribute):
                names.update(entry.name for entry in graph.output)
                waiting.extend(graph.node)
    return names


def trimmed(model: ModelProto) -> ModelProto:
    """The model without the nodes and constants on which its outputs do not depend; the same object where there are none."""
    alive = [node for node, _ in live_nodes(model.graph.node, {entry.name for entry in model.graph.output})]
    read = {entry.name for entry in model.graph.output}.union(*map(tensors_read, alive))
    constants = [tensor for tensor in model.graph.initializer if tensor.name in read]
    if len(alive) == len(model.graph.node) and len(constants) == len(model.graph.initializer):
        return model
    graph = GraphProto(name=model.graph.name, input=model.graph.input, output=model.graph.output)
    initial = {tensor.name for tensor in model.graph.initializer} - read
    del graph.input[:]
    graph.input.extend(entry for entry in model.graph.input if entry.name not in initial)
    graph.node.extend(alive)
    graph.initializer.extend(constants)
    graph.sparse_initializer.extend(entry for entry in model.graph.sparse_initializer if entry.values.name in read)
    smaller = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    smaller.graph.CopyFrom(graph)
    return smaller


def _subgraphs(attribute: AttributeProto) -> list[GraphProto]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
