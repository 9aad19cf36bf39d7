"""Holds single nodes against the standard: its own description of every operator says what a node may be and what comes out of it.

The inference of onnx checks the number of inputs, the element types, the attributes and their types, and the ranks, sizes and axes;
it knows the shapes of outputs without computing them, so that sizes are known to be sane before anything is allocated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from math import isfinite
from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto, TypeProto, defs, helper, numpy_helper, shape_inference

from certify.graph import GraphError, Shape
from certify.graph.shapes import require_size

SHOWN = 1024
"""Constants of up to so many elements are shown to the inference: amounts, sizes and axes are never longer."""

INFINITE = {("Clip", "min"), ("Clip", "max"), ("Pad", "value"), ("Constant", "value_float"), ("Constant", "value_floats")}
"""Attributes that may be infinite; no other may be anything but a finite number."""

FAR = 2**31
"""Strides, dilations and the like at least this large are damage: no runtime agrees on what they mean."""
WINDOWS = ("strides", "dilations", "kernel_shape", "pads", "output_padding", "output_shape", "group", "blocksize")


FLAGS = {
    *("allowzero", "antialias", "ceil_mode", "count_include_pad", "exclude_outside", "keepdims", "noop_with_empty_axes"),
    *("training_mode", "transA", "transB", "upper"),
}
"""Attributes that are zero or one."""


class UnknownOperatorError(GraphError):
    """A node whose operator the standard does not have, in that version."""


def infer(
    name: str,
    node: NodeProto,
    opset: int,
    kinds: Sequence[int | None],
    shapes: Sequence[Shape | None],
    known: Sequence[Any],
    largest: int,
) -> list[int]:
    """The element types of a node's outputs, 0 for what holds no tensor.

    `kinds`, `shapes` and `known` are of the inputs, in order: element types and shapes, None where left out, and the arrays of
    constants, else None. A `GraphError` names the node where it is not as the standard describes, or would make a tensor of more than
    `largest` elements; an `UnknownOperatorError` where there is no such operator.
    """
    schema = _schema(node.op_type, opset)
    if schema is None:
        raise UnknownOperatorError(f"node {name} ({node.op_type}): the standard has no such operator in version {opset}")
    given = [f"i{index}" if kind is not None else "" for index, kind in enumerate(kinds)]
    plain = NodeProto(op_type=node.op_type, input=given, output=[f"o{i}" if out else "" for i, out in enumerate(node.output)])
    plain.attribute.extend(node.attribute)
    types = {i: _type(kind, shape) for i, kind, shape in zip(given, kinds, shapes, strict=True) if i and kind is not None}
    data = {i: _shown(value, kind) for i, value, kind in zip(given, known, kinds, strict=True) if kind and _worth_showing(value)}
    try:
        found = shape_inference.infer_node_outputs(schema, plain, types, data, opset_imports=[helper.make_opsetid("", opset)])
    except Exception as error:  # onnx has an error class for each kind of check, with no base of their own
        raise GraphError(f"node {name} ({node.op_type}): is not as the standard wants it: {_plain(error)}") from error
    for result in found.values():
        _require_size(name, node.op_type, result, largest)
    return [found[f"o{i}"].tensor_type.elem_type if f"o{i}" in found else 0 for i in range(len(node.output))]


def attributes(name: str, node: NodeProto, opset: int) -> dict[str, Any]:
    """A node's attributes as Python values, those left out as the standard's version has them; a `GraphError` where one is no number.

    Text is decoded, tensors and subgraphs stay what they are. What has no default is absent.
    """
    schema = _schema(node.op_type, opset)
    defaults = {} if schema is None else _defaults(node.op_type, opset)
    given: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.name in given:
            raise GraphError(f"node {name} ({node.op_type}): has two attributes {attribute.name!r}")
        try:
            given[attribute.name] = _value(attribute)
        except ValueError as error:  # of no known type, or a reference to an attribute of a function
            raise GraphError(f"node {name} ({node.op_type}): its attribute {attribute.name!r} has no value") from error
    for attribute, value in given.items():
        _require_sane(name, node.op_type, attribute, value)
    return {**defaults, **given}


def kind_name(kind: int | None) -> str:
    """What the standard calls a type of elements."""
    return TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else f"number {kind}"


@cache
def _schema(op: str, opset: int) -> defs.OpSchema | None:
    try:
        return defs.get_schema(op, opset, "")
    except defs.SchemaError:
        return None


@cache
def _defaults(op: str, opset: int) -> Mapping[str, Any]:
    schema = defs.get_schema(op, opset, "")
    return {a.name: _value(a.default_value) for a in schema.attributes.values() if a.default_value.name}


def _value(attribute: AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return list(value) if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS, AttributeProto.STRINGS) else value


def _require_sane(name: str, op: str, attribute: str, value: Any) -> None:
    numbers = [entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, (int, float))]
    if (op, attribute) in INFINITE:
        numbers = [number for number in numbers if number != number]
    far = attribute in WINDOWS and any(abs(number) >= FAR for number in numbers)
    unclear = attribute in FLAGS and not all(number in (0, 1) for number in numbers)
    if far or unclear or not all(isfinite(number) for number in numbers):
        raise GraphError(f"node {name} ({op}): its attribute {attribute!r} is {str(value)[:60]}; the file may be damaged")


def _type(kind: int, shape: Shape | None) -> TypeProto:
    return helper.make_tensor_type_proto(kind, shape)


def _shown(value: np.ndarray, kind: int) -> TensorProto:
    """A constant as the model has it: arithmetic on constants is done in wider types than those of the model."""
    return numpy_helper.from_array(value.astype(helper.tensor_dtype_to_np_dtype(kind)))


def _worth_showing(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.size <= SHOWN and value.dtype.kind in "fiub"


def _require_size(name: str, op: str, result: TypeProto, largest: int) -> None:
    sizes = [axis.dim_value for axis in result.tensor_type.shape.dim if axis.HasField("dim_value")]
    try:
        require_size(sizes, largest)
    except ValueError as error:
        raise GraphError(f"node {name} ({op}): {error}") from error


def _plain(error: Exception) -> str:
    lines: Iterable[str] = str(error).splitlines()
    first = next(iter(lines), type(error).__name__)
    return first.removeprefix("[ShapeInferenceError] ").removeprefix("[TypeInferenceError] ")
