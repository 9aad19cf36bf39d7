"""Damaged ONNX files: small valid models, of which fields are changed, dropped, repeated and mixed up at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from numpy.random import Generator
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.io.onnx_samples import SAMPLES, model_of

WHOLE = (0, 1, 2, 3, -1, -2, 7, 11, 16, 100, 1000, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
REAL = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-40, 1e30, -1e30, float("inf"), float("-inf"), float("nan"))
WORDS = ("", "x", "y0", "y", "c1", "SAME_UPPER", "constant", "Relu", "Softmax", "Loop", "nowhere", "\u00e9")


def sample(random: Generator) -> ModelProto:
    """A valid model: one node of some operator, or a small network of several."""
    if random.random() < 0.3:
        return network(random)
    op = sorted(SAMPLES)[int(random.integers(len(SAMPLES)))]
    return model_of(SAMPLES[op](random))


def network(random: Generator) -> ModelProto:
    """A convolution, a pooling, a reshape computed from shapes, a branch of an If, and a dense layer."""
    tensors = {
        "w": random.normal(size=(2, 1, 3, 3)).astype(np.float32),
        "v": random.normal(size=(8, 3)).astype(np.float32),
        "zero": np.array(0),
        "rest": np.array([-1]),
        "axes": np.array([0]),
    }
    branches = {name: helper.make_graph([helper.make_node(op, ["p"], [name])], name, [], [helper.make_tensor_value_info(name, 1, None)]) for name, op in (("yes", "Relu"), ("no", "Neg"))}  # fmt: skip  # noqa: E501
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("MaxPool", ["h"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["first"]),
        helper.make_node("Concat", ["first", "rest"], ["target"], axis=0),
        helper.make_node("Equal", ["n", "zero"], ["empty"]),
        helper.make_node("If", ["empty"], ["q"], then_branch=branches["no"], else_branch=branches["yes"]),
        helper.make_node("Reshape", ["q", "target"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["y"], alpha=0.5),
    ]
    fixed = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", [1, 1, 4, 4]), ("y", None))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], fixed)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def damaged(random: Generator) -> bytes:
    """The bytes of a valid model with a few fields changed, or some of the bytes themselves."""
    model = sample(random)
    for _ in range(int(random.integers(1, 4))):
        _mutate(random, model)
    data = model.SerializeToString()
    if random.random() < 0.15:
        data = data[: int(random.integers(len(data) + 1))]
    if random.random() < 0.15 and data:
        at = int(random.integers(len(data)))
        data = data[:at] + bytes([int(random.integers(256))]) + data[at + 1 :]
    return data


def _mutate(random: Generator, model: ModelProto) -> None:
    """One change somewhere in the tree of messages, in the graph more often than in what surrounds it."""
    places = [*_messages(model.graph), *([model] if random.random() < 0.2 else [])]
    message = places[int(random.integers(len(places)))]
    fields = message.DESCRIPTOR.fields if random.random() < 0.2 else [field for field, _ in message.ListFields()]
    if fields:
        field = fields[int(random.integers(len(fields)))]
        (_change_many if _repeated(field) else _change_one)(random, message, field)


def _repeated(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def _messages(message: Any) -> Iterator[Any]:
    yield message
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for entry in value if _repeated(field) else [value]:
                yield from _messages(entry)


def _change_one(random: Generator, message: Any, field: FieldDescriptor) -> None:
    if field.type == FieldDescriptor.TYPE_MESSAGE or random.random() < 0.1:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _value(random, field, getattr(message, field.name)))


def _change_many(random: Generator, message: Any, field: FieldDescriptor) -> None:
    entries = getattr(message, field.name)
    action: Callable[[], object] = (
        lambda: _drop(random, entries),
        lambda: _repeat(random, entries, field),
        lambda: _swap(random, entries, field),
        lambda: _replace(random, entries, field),
    )[int(random.integers(4))]
    action()


def _drop(random: Generator, entries: Any) -> None:
    if len(entries):
        del entries[int(random.integers(len(entries)))]


def _repeat(random: Generator, entries: Any, field: FieldDescriptor) -> None:
    if len(entries):
        entries.append(entries[int(random.integers(len(entries)))])
    elif field.type != FieldDescriptor.TYPE_MESSAGE:
        entries.append(_value(random, field, None))


def _swap(random: Generator, entries: Any, field: FieldDescriptor) -> None:
    order = random.permutation(len(entries))
    copies = [_copied(entries[int(i)], field) for i in order]
    del entries[:]
    entries.extend(copies)


def _copied(entry: Any, field: FieldDescriptor) -> Any:
    if field.type != FieldDescriptor.TYPE_MESSAGE:
        return entry
    copy = type(entry)()
    copy.CopyFrom(entry)
    return copy


def _replace(random: Generator, entries: Any, field: FieldDescriptor) -> None:
    if len(entries) and field.type != FieldDescriptor.TYPE_MESSAGE:
        at = int(random.integers(len(entries)))
        entries[at] = _value(random, field, entries[at])


def _value(random: Generator, field: FieldDescriptor, before: Any) -> Any:
    """Another value of a field, of those that are likely to hurt."""
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return float(random.choice(REAL))
    if field.type == FieldDescriptor.TYPE_STRING:
        return str(random.choice(WORDS))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes(random, before or b"")
    if field.type == FieldDescriptor.TYPE_ENUM:
        return int(random.choice([entry.number for entry in field.enum_type.values if entry.number >= 0]))
    value = WHOLE[int(random.integers(len(WHOLE)))]
    if field.type == FieldDescriptor.TYPE_UINT64:
        return abs(value)
    return value if field.type != FieldDescriptor.TYPE_INT32 else int(np.int64(value).astype(np.int32))


def _bytes(random: Generator, before: bytes) -> bytes:
    choices: Sequence[bytes] = (
        before[:-1],
        before + b"\0",
        b"",
        bytes(random.integers(0, 256, len(before), dtype=np.uint8)),
        b"edge",
    )
    return choices[int(random.integers(len(choices)))]
