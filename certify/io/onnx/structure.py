"""What reinterprets tensors, joins and pads them, and casts their elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
from onnx import TensorProto

from certify.graph import CoarseError
from certify.graph.double_double import exactly, joined
from certify.io import lowering
from certify.io.onnx.call import Array, Call, Handler, Outputs
from certify.io.onnx.moves import move
from certify.io.onnx.standard import kind_name

REAL = {TensorProto.FLOAT, TensorProto.DOUBLE}


def _flatten(call: Call) -> str:
    shape, axis = call.shape(), call.attrs.get("axis", 1)
    axis += len(shape) if axis < 0 else 0
    return lowering.reshape(call.builder, call.variable(), (prod(shape[:axis]), prod(shape[axis:])), call.name)


def _reshape(call: Call) -> str:
    """Reshape, Squeeze and Unsqueeze: elements stay in order, the shape is what the standard says."""
    return lowering.reshape(call.builder, call.variable(), call.on_stand_ins()[0].shape, call.name)


def _measure(call: Call) -> Array:
    """Shape and Size are constants: all shapes are known."""
    return call.on_stand_ins()[0]


def _transpose(call: Call) -> str:
    perm = call.attrs.get("perm", list(range(len(call.shape())))[::-1])
    return lowering.transpose(call.builder, call.variable(), perm, call.name)


def _identity(call: Call) -> str:
    return call.variable()


def _dropout(call: Call) -> str:
    if np.any(call.setting("", 2, False)):
        raise call.error("is in training mode, where it draws random numbers; export the model in evaluation mode")
    return call.variable()


def _cast(call: Call) -> str:
    return _as_kind(call, call.attrs["to"])


def _cast_like(call: Call) -> str:
    return _as_kind(call, call.kinds[1])


def _as_kind(call: Call, kind: int | None) -> str:
    """What is cast to a type of elements: itself, where a real number stays one; float32 and float64 are what verdicts take for that.

    Whole numbers are rounded towards zero, exactly so on the range of int64; what lies beyond the range of a type has no meaning in the
    standard, and is in reach for all narrower ones.
    """
    if kind in REAL or kind == call.kinds[0]:
        return call.variable()
    if kind == TensorProto.INT64:
        return lowering.truncate(call.builder, call.variable(), call.name)
    target = kind_name(kind)
    error = call.error(
        f"casts what depends on the network's input to {target.lower()} ({target}), which rounds it; export the model without that "
        "cast, in one floating-point type"
    )
    raise CoarseError(str(error)) if "FLOAT" in target else error


def _concat(call: Call) -> str:
    """Constants among the inputs become an offset: variables are padded with zeros where constants go, and these are added."""
    if all(isinstance(value, str) for value in call.inputs):
        parts = [call.variable(index) for index in range(len(call.inputs))]
        return call.emit("concat", *parts, axis=_axis(call, call.builder.shape(parts[0]))) if len(parts) > 1 else parts[0]
    shapes = [call.shape(i) if call.is_variable(i) else call.required_numbers(i).shape for i in range(len(call.inputs))]
    axis = _axis(call, shapes[0])
    sizes = [shape[axis] for shape in shapes]
    fixed = [exactly(np.zeros(s) if isinstance(v, str) else v) for v, s in zip(call.inputs, shapes, strict=True)]  # type: ignore[arg-type]
    parts, waiting = [], 0
    last = max(i for i, value in enumerate(call.inputs) if isinstance(value, str))
    for i, value in enumerate(call.inputs):
        if not isinstance(value, str):
            waiting += sizes[i]
            continue
        behind = sum(sizes[last + 1 :]) if i == last else 0
        before, after = ([amount if a == axis else 0 for a in range(len(shapes[i]))] for amount in (waiting, behind))
        parts.append(lowering.pad(call.builder, value, before, after, 0.0, f"{call.name}.pad"))
        waiting = 0
    spread = call.emit("concat", *parts, axis=axis) if len(parts) > 1 else parts[0]
    return lowering.shift(call.builder, spread, joined(fixed, axis), call.name)


def _axis(call: Call, shape: Sequence[int]) -> int:
    (axis,) = lowering.normalise_axes([call.attrs.get("axis", 1)], len(shape))
    return axis


def _pad(call: Call) -> Outputs:
    if call.attrs.get("mode", "constant") != "constant":
        return move(call)
    amounts, rank = call.setting("pads", 1), len(call.shape())
    axes = call.setting("axes", 3, list(range(rank)))
    before, after = [0] * rank, [0] * rank
    for position, axis in enumerate(axes):
        before[axis], after[axis] = amounts[position], amounts[position + len(axes)]
    value = float(np.asarray(call.setting("value", 2, 0.0)).item())
    if not np.isfinite(value):
        raise call.error(f"pads with {value:g}, which has no finite bounds; give MaxPool its own padding")
    return lowering.pad(call.builder, call.variable(), before, after, value, call.name)


def _trilu(call: Call) -> str:
    return lowering.scale(call.builder, call.variable(), call.on_stand_ins(1.0)[0], call.name)


INTEGER: frozenset[str] = frozenset(
    {"Cast", "CastLike", "Identity", "Concat", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten"}
)
"""What whole numbers that depend on the network's input may go through: arithmetic on them would divide and overflow in its own way."""

HANDLERS: Mapping[str, Handler] = {
    "Flatten": _flatten,
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("Shape", "Size"), _measure),
    "Identity": _identity,
    "CastLike": _cast_like,
    "Transpose": _transpose,
    "Dropout": _dropout,
    "Cast": _cast,
    "Concat": _concat,
    "Pad": _pad,
    "Trilu": _trilu,
}
