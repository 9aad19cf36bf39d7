"""Walks an ONNX model and builds the graph: constants are folded, everything else goes through the table of handlers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from certify.graph import Graph, GraphBuilder, GraphError
from certify.io.onnx.call import Array, Call, Value
from certify.io.onnx.evaluation import evaluate_node
from certify.io.onnx.table import CONTROL, HANDLERS, RANDOM, REFUSED

OPSETS = range(8, 24)
DEFAULT_DOMAINS = ("", "ai.onnx")
INPUT_TYPES = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


def import_model(model: ModelProto) -> Graph:
    """The graph of a model with one input and one output; a `GraphError` names what cannot be represented."""
    opset = _opset(model)
    builder = GraphBuilder()
    values: dict[str, Value] = {tensor.name: _array(tensor) for tensor in model.graph.initializer}
    values |= _sparse(model)
    source, target = _only_input(model, values), _only_output(model)
    values[source.name] = builder.input(source.name, _input_shape(source))
    used = {name for node in model.graph.node for name in node.input} | {target.name}
    producers: dict[str, str] = {}
    for node in _straightened(model.graph.node, values):
        results = _outputs(node, opset, builder, values, used)
        values |= results
        producers |= dict.fromkeys(results, _name(node))
    if target.name not in values:
        raise GraphError(f"the model's output {target.name!r} is produced by no node; the file may be truncated")
    output = values[target.name]
    if not isinstance(output, str):
        raise GraphError(f"the model's output {target.name!r} is a constant: it does not depend on the input {source.name!r}")
    return _renamed(builder.build(output), values, producers)


# --- what the model declares ---------------------------------------------------------------------------------------------------


def _opset(model: ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS]
    if not versions:
        raise GraphError("the model declares no version of the ONNX operators; the file may be truncated")
    if versions[0] not in OPSETS:
        raise GraphError(
            f"the model uses ONNX operators of version {versions[0]}, supported are {OPSETS[0]} to {OPSETS[-1]}; "
            "convert it with onnx.version_converter.convert_version"
        )
    return int(versions[0])


def _only_input(model: ModelProto, constants: Mapping[str, Value]) -> ValueInfoProto:
    """The one input that no initialiser gives a value."""
    real = [entry for entry in model.graph.input if entry.name not in constants]
    if len(real) != 1:
        names = ", ".join(entry.name for entry in real) or "none"
        raise GraphError(f"the model has {len(real)} inputs ({names}) and has to have one; make the others initialisers")
    return real[0]


def _only_output(model: ModelProto) -> ValueInfoProto:
    if len(model.graph.output) != 1:
        names = ", ".join(entry.name for entry in model.graph.output) or "none"
        raise GraphError(
            f"the model has {len(model.graph.output)} outputs ({names}) and has to have one; cut it with onnx.utils.extract_model"
        )
    return model.graph.output[0]


def _input_shape(entry: ValueInfoProto) -> list[int]:
    """The declared shape, a symbolic first axis being a batch of one."""
    declared = entry.type.tensor_type
    if declared.elem_type not in INPUT_TYPES:
        name = TensorProto.DataType.Name(declared.elem_type)
        raise GraphError(f"the model's input {entry.name!r} has elements of type {name}; only floating-point inputs are supported")
    if not declared.HasField("shape"):
        raise GraphError(f"the model's input {entry.name!r} declares no shape; export it with one")
    shape = [axis.dim_value if axis.dim_value > 0 else 0 for axis in declared.shape.dim]
    for index, axis in enumerate(declared.shape.dim):
        if shape[index] == 0 and index > 0:
            symbol = axis.dim_param or "?"
            raise GraphError(
                f"axis {index} of the model's input {entry.name!r} has the symbolic size {symbol!r}; only the first axis, the "
                "batch, may be symbolic: fix the others with onnx.tools.update_model_dims"
            )
    return [size or 1 for size in shape]


def _array(tensor: TensorProto) -> Array:
    """A constant, as a view of the file's bytes where possible; bfloat16, which numpy lacks, as float32."""
    try:
        array = np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # numpy and onnx raise various things for too few bytes and unknown types
        raise GraphError(f"the constant {tensor.name!r} cannot be read ({error}); the file may be truncated") from error
    return array.astype(np.float32) if tensor.data_type == TensorProto.BFLOAT16 else array


def _sparse(model: ModelProto) -> dict[str, Value]:
    if model.graph.sparse_initializer:
        name = model.graph.sparse_initializer[0].values.name
        raise GraphError(f"the constant {name!r} is stored in sparse form, which is not supported; store it dense")
    return {}


# --- nodes ---------------------------------------------------------------------------------------------------------------------


def _outputs(node: NodeProto, opset: int, builder: GraphBuilder, values: Mapping[str, Value], used: set[str]) -> dict[str, Value]:
    """The values of a node's outputs, by name."""
    call = _call(node, opset, builder, values)
    results = _results(node, call)
    for name in node.output[len(results) :]:
        if name in used:
            raise call.error(f"its output {name!r} is read, but only its first {len(results)} are supported")
    return dict(zip(node.output, results, strict=False))


def _straightened(nodes: Iterable[NodeProto], values: Mapping[str, Value]) -> Iterator[NodeProto]:
    """The nodes in order, an `If` whose condition is known by then being replaced by the branch that is taken."""
    for node in nodes:
        condition = values.get(node.input[0]) if node.op_type == "If" else None
        if not isinstance(condition, np.ndarray):
            yield node
            continue
        branch = helper.get_node_attr_value(node, "then_branch" if condition.item() else "else_branch")
        if branch.initializer:
            raise GraphError(f"node {node.name or node.output[0]} (If): a branch with constants of its own is not supported")
        yield from _straightened(branch.node, values)
        for inner, outer in zip(branch.output, node.output, strict=True):
            yield helper.make_node("Identity", [inner.name], [outer])


def _name(node: NodeProto) -> str:
    return node.name or (node.output[0] if node.output else node.op_type)


def _call(node: NodeProto, opset: int, builder: GraphBuilder, values: Mapping[str, Value]) -> Call:
    name = _name(node)
    if node.domain not in DEFAULT_DOMAINS:
        raise GraphError(
            f"node {name} ({node.domain}.{node.op_type}): operators of the domain {node.domain!r} are not supported; "
            "export the model with standard ONNX operators"
        )
    for tensor in node.input:
        if tensor and tensor not in values:
            raise GraphError(f"node {name} ({node.op_type}): reads {tensor!r}, which nothing before it produces")
    inputs = tuple(values[tensor] if tensor else None for tensor in node.input)
    return Call(node.op_type, name, opset, inputs, _attributes(node), builder, partial(evaluate_node, node, opset))


def _results(node: NodeProto, call: Call) -> Sequence[Value]:
    """Nodes of constants are evaluated, the others handled by the table."""
    if not any(isinstance(value, str) for value in call.inputs) and node.op_type not in (*RANDOM, *CONTROL):
        return call.evaluate([value for value in call.inputs if not isinstance(value, str)])
    if node.op_type not in HANDLERS:
        reason = REFUSED.get(node.op_type, "`certify supports` lists the operators that are")
        raise call.error(f"this operator is not supported: {reason}")
    try:
        result = HANDLERS[node.op_type](call)
    except GraphError:
        raise
    except (ValueError, IndexError, KeyError) as error:
        raise call.error(str(error)) from error
    return result if isinstance(result, tuple) else (result,)


def _attributes(node: NodeProto) -> dict[str, Any]:
    """Attributes as Python values: text is decoded, subgraphs and tensors stay what they are."""
    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else _plain(value) for name, value in found.items()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def _renamed(graph: Graph, values: Mapping[str, Value], producers: Mapping[str, str]) -> Graph:
    """The graph with nodes called as in the model: by the tensor that they are, and as their source the model's node that makes it.

    Of several names for one tensor the first holds. Nodes on the way to a tensor have names and sources of their own.
    """
    names: dict[str, str] = {}
    for tensor, value in values.items():
        if isinstance(value, str):
            names.setdefault(value, tensor)
    sources = {node: producers.get(tensor, tensor) for node, tensor in names.items()}
    taken = {*names.values(), *sources.values()}
    for node in graph.nodes:
        if node.name not in names:
            name = node.name
            while name in taken:
                name = f"{name}.{node.op}"
            taken.add(name)
            names[node.name] = sources[node.name] = name
    nodes = (
        replace(node, name=names[node.name], source=sources[node.name], inputs=tuple(names[i] for i in node.inputs))
        for node in graph.nodes
    )
    return replace(graph, nodes=tuple(nodes), input=names[graph.input], output=names[graph.output])
