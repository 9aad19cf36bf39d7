"""Walks an ONNX model and builds the graph: constants are folded, everything else goes through the table of handlers.

Only what the declared output depends on is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from certify.graph import Graph, GraphBuilder, GraphError, Shape
from certify.graph.shapes import LARGEST
from certify.io.onnx import standard
from certify.io.onnx.call import Array, Call, Numbers, Outputs, Value, depends, node_of
from certify.io.onnx.constants import as_run, evaluate_constants, exact, wider
from certify.io.onnx.deferred import Condition, Masked
from certify.io.onnx.evaluation import evaluate_node
from certify.io.onnx.live import live_nodes, tensors_read
from certify.io.onnx.table import CONDITIONED, CONTROL, HANDLERS, INTEGER, MASKED, RANDOM, REFUSED

OPSETS = range(8, 24)
DEFAULT_DOMAINS = ("", "ai.onnx")
INPUT_TYPES = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
DEEPEST = 32
"""How deep branches may lie in branches."""

# What handlers raise of a node that is damaged in a way which neither the standard's inference nor they themselves look for.
DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)


class Tensor(NamedTuple):
    """A tensor of the model, and its element type."""

    value: Value
    kind: int


Keep = Callable[[Numbers, Numbers, int], Numbers]


@dataclass
class Walk:
    """What a walk through the model's nodes has built: the graph, and what the model calls its nodes.

    `keep` is what becomes of a constant that the model computes, given what it is, what a runtime makes of it, and its element type;
    `rounds` whether a runtime rounds one of them.
    """

    opset: int
    keep: Keep
    builder: GraphBuilder = field(default_factory=GraphBuilder)
    rounds: bool = False
    labels: dict[str, tuple[str, str]] = field(default_factory=dict)

    def label(self, value: Value, tensor: str, producer: str) -> None:
        """Notes which tensor of which of the model's nodes a node of the graph is; of several names the first holds."""
        node = node_of(value)
        if node is not None and node not in self.labels:
            self.labels[node] = (tensor, producer)


class Imported(NamedTuple):
    """A model as a graph, and whether its runtime rounds constants that the model computes."""

    graph: Graph
    rounds: bool


def import_model(model: ModelProto) -> Graph:
    """The graph of a model with one input and one output; a `GraphError` names what cannot be represented."""
    return import_with(model, exact).graph


def import_with(model: ModelProto, keep: Keep) -> Imported:
    """`import_model`, with what is to be known of the constants that the model computes.

    `keep` says what becomes of constants that the model computes: what they are, `constants.exact`, or what a runtime makes of them,
    `constants.rounded`.
    """
    walk = Walk(_opset(model), keep)
    source, target = _only_input(model), _only_output(model)
    tensors = _constants(model.graph, {target.name} | {name for node in model.graph.node for name in tensors_read(node)})
    if source.name in tensors:
        raise GraphError(f"the model's input {source.name!r} is also a constant")
    x = walk.builder.input(source.name, _input_shape(source))
    walk.label(x, source.name, source.name)
    found = _follow(walk, model.graph.node, {target.name}, {**tensors, source.name: Tensor(x, source.type.tensor_type.elem_type)})
    if target.name not in found:
        raise GraphError(f"the model's output {target.name!r} is produced by no node; the file may be truncated")
    output = found[target.name].value
    if not isinstance(output, str):
        raise GraphError(f"the model's output {target.name!r} is {_what(output)}")
    return Imported(_renamed(walk.builder.build(output), walk.labels), walk.rounds)


def _what(output: Value) -> str:
    if not depends(output):
        return "a constant: it does not depend on the model's input"
    return str(output)


# --- what the model declares ---------------------------------------------------------------------------------------------------


def _opset(model: ModelProto) -> int:
    versions = sorted({entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS})
    if not versions:
        raise GraphError("the model declares no version of the ONNX operators; the file may be truncated")
    if len(versions) > 1:
        raise GraphError(f"the model declares several versions of the ONNX operators: {', '.join(map(str, versions))}")
    if versions[0] not in OPSETS:
        raise GraphError(
            f"the model uses ONNX operators of version {versions[0]}, supported are {OPSETS[0]} to {OPSETS[-1]}; "
            "convert it with onnx.version_converter.convert_version"
        )
    return int(versions[0])


def _only_input(model: ModelProto) -> ValueInfoProto:
    """The one input that no initialiser gives a value."""
    constants = {tensor.name for tensor in model.graph.initializer} | {t.values.name for t in model.graph.sparse_initializer}
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
        name = standard.kind_name(declared.elem_type)
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


def _constants(graph: GraphProto, read: set[str]) -> dict[str, Tensor]:
    """The constants of a graph that something reads, by name."""
    for sparse in graph.sparse_initializer:
        if sparse.values.name in read:
            raise GraphError(
                f"the constant {sparse.values.name!r} is stored in sparse form, which is not supported; store it dense"
            )
    found: dict[str, Tensor] = {}
    for tensor in graph.initializer:
        if tensor.name in found:
            raise GraphError(f"two constants of the model are called {tensor.name!r}")
        if tensor.name in read:
            found[tensor.name] = Tensor(_array(tensor), tensor.data_type)
    return found


def _array(tensor: TensorProto) -> Array:
    """A constant, as a view of the file's bytes where possible; bfloat16, which numpy lacks, as float32."""
    if tensor.data_location == TensorProto.EXTERNAL:
        raise GraphError(f"the constant {tensor.name!r} is kept in another file: load the model from its path")
    if min(tensor.dims, default=0) < 0:
        raise GraphError(f"the constant {tensor.name!r} has the shape {list(tensor.dims)}; the file may be damaged")
    try:
        array = np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # numpy and onnx raise various things for too few bytes and unknown types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GraphError(f"the constant {tensor.name!r} cannot be read ({reason}); the file may be truncated") from error
    return array.astype(np.float32) if tensor.data_type == TensorProto.BFLOAT16 else array


# --- nodes ---------------------------------------------------------------------------------------------------------------------


def _follow(
    walk: Walk, nodes: Sequence[NodeProto], wanted: set[str], tensors: Mapping[str, Tensor], depth: int = 0
) -> dict[str, Tensor]:
    """All tensors that are known behind the nodes on which the wanted ones depend, by name."""
    known = dict(tensors)
    for node, used in live_nodes(nodes, wanted):
        name = _name(node)
        results = _branch(walk, node, known, depth) if node.op_type == "If" else _results(walk, node, known)
        for output in node.output[len(results) :]:
            if output in used:
                raise _error(node, f"its output {output!r} is read, but only its first {len(results)} are supported")
        for output, tensor in zip(node.output, results, strict=False):
            if output in known:
                raise _error(node, f"makes {output!r}, which is there before: the names of a model have to differ")
            if output:
                known[output] = tensor
                walk.label(tensor.value, output, name)
    return known


def _branch(walk: Walk, node: NodeProto, known: Mapping[str, Tensor], depth: int) -> list[Tensor]:
    """What an `If` returns whose condition is known: the outputs of the branch that is taken."""
    condition = _read(node, known)[:1]
    if len(condition) != 1 or condition[0] is None:
        raise _error(node, "has no condition")
    value = condition[0].value
    if not isinstance(value, np.ndarray):
        raise _error(node, f"this operator is not supported: {REFUSED['If']}")
    if value.size != 1 or condition[0].kind != TensorProto.BOOL:
        raise _error(node, "its condition has to be one truth value")
    if depth >= DEEPEST:
        raise _error(node, f"lies in more than {DEEPEST} other branches")
    taken = standard.attributes(_name(node), node, walk.opset).get("then_branch" if value.item() else "else_branch")
    if not isinstance(taken, GraphProto):
        raise _error(node, "lacks the branch that its condition chooses")
    wanted = {entry.name for entry in taken.output}
    inner = _constants(taken, wanted | {name for entry in taken.node for name in tensors_read(entry)})
    found = _follow(walk, taken.node, wanted, {**known, **inner}, depth + 1)
    missing = sorted(wanted - found.keys())
    if missing or len(taken.output) != len(node.output):
        raise _error(node, f"its branch does not make {missing[0]!r}" if missing else "its branch has another number of outputs")
    return [found[entry.name] for entry in taken.output]


def _results(walk: Walk, node: NodeProto, known: Mapping[str, Tensor]) -> list[Tensor]:
    """What a node makes: nodes of constants are evaluated, the others handled by the table."""
    name = _name(node)
    inputs = _read(node, known)
    values = [None if tensor is None else tensor.value for tensor in inputs]
    kinds = [None if tensor is None else tensor.kind for tensor in inputs]
    constant = not any(map(depends, values))
    if node.op_type in CONTROL or (node.op_type in RANDOM) or not (constant or node.op_type in HANDLERS):
        reason = REFUSED.get(node.op_type, "`certify supports` lists the operators that are")
        raise _error(node, f"this operator is not supported: {reason}")
    if node.op_type not in INTEGER:
        _require_real(node, inputs)
    attrs = standard.attributes(name, node, walk.opset)
    shapes = [None if value is None else _shape(walk.builder, value) for value in values]
    largest = max([LARGEST, *(prod(shape) for shape in shapes if shape is not None)])  # the file brings large weights itself
    outputs = standard.infer(name, node, walk.opset, kinds, shapes, values, largest)
    evaluate = partial(evaluate_node, node, walk.opset)
    call = Call(node.op_type, name, walk.opset, tuple(values), tuple(kinds), attrs, walk.builder, evaluate)
    try:
        made = _computed(walk, call, outputs) if constant else _handled(call)
    except GraphError:
        raise
    except DAMAGE as error:
        raise call.error(str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    results = made if isinstance(made, tuple) else (made,)
    return [Tensor(value, kind) for value, kind in zip(results, outputs, strict=False)]


def _computed(walk: Walk, call: Call, kinds: list[int]) -> tuple[Value, ...]:
    """The constants that a node makes of constants."""
    made = evaluate_constants(call, kinds)
    run = as_run(call, made)
    known = list(zip(made, run, kinds, strict=False))
    walk.rounds |= any(wider(*each) for each in known)
    return tuple(walk.keep(*each) for each in known)


def _handled(call: Call) -> Outputs:
    """What a node with an input that depends on the network's makes, by the table for what its inputs are."""
    for kind, table in ((Condition, CONDITIONED), (Masked, MASKED)):
        waiting = next((value for value in call.inputs if isinstance(value, kind)), None)
        if waiting is not None and call.op not in table:
            raise call.error(f"an input is {waiting}")
        if waiting is not None:
            return table[call.op](call)
    return HANDLERS[call.op](call)


def _read(node: NodeProto, known: Mapping[str, Tensor]) -> list[Tensor | None]:
    if node.domain not in DEFAULT_DOMAINS:
        raise GraphError(
            f"node {_name(node)} ({node.domain}.{node.op_type}): operators of the domain {node.domain!r} are not supported; "
            "export the model with standard ONNX operators"
        )
    for tensor in node.input:
        if tensor and tensor not in known:
            raise _error(node, f"reads {tensor!r}, which nothing before it produces")
    return [known[tensor] if tensor else None for tensor in node.input]


def _require_real(node: NodeProto, inputs: Sequence[Tensor | None]) -> None:
    """Whole numbers that depend on the network's input are only moved, and cast back."""
    for tensor in inputs:
        if tensor is not None and node_of(tensor.value) and tensor.kind not in (*INPUT_TYPES, TensorProto.BFLOAT16):
            kind = standard.kind_name(tensor.kind)
            raise _error(
                node, f"computes with elements of type {kind} that depend on the network's input; cast them to float before"
            )


def _shape(builder: GraphBuilder, value: Value) -> Shape:
    return builder.shape(value) if isinstance(value, str) else np.shape(value)  # type: ignore[arg-type]


def _error(node: NodeProto, reason: str) -> GraphError:
    return GraphError(f"node {_name(node)} ({node.op_type}): {reason}")


def _name(node: NodeProto) -> str:
    return node.name or next((output for output in node.output if output), node.op_type)


def _renamed(graph: Graph, labels: Mapping[str, tuple[str, str]]) -> Graph:
    """The graph with nodes called as in the model: by the tensor that they are, and as their source the model's node that makes it.

    Nodes on the way to a tensor have names and sources of their own, and so has the second of two tensors of one name, in two branches.
    """
    names: dict[str, str] = {}
    sources: dict[str, str] = {}
    given: set[str] = set()
    for node, (tensor, producer) in labels.items():
        if tensor not in given:
            names[node], sources[node] = tensor, producer
            given.add(tensor)
    taken = {*given, *sources.values()}
    for entry in graph.nodes:
        if entry.name not in names:
            name = entry.name
            while name in taken:
                name = f"{name}.{entry.op}"
            taken.add(name)
            names[entry.name] = sources[entry.name] = name
    nodes = (
        replace(node, name=names[node.name], source=sources[node.name], inputs=tuple(names[i] for i in node.inputs))
        for node in graph.nodes
    )
    return replace(graph, nodes=tuple(nodes), input=names[graph.input], output=names[graph.output])
