"""Operations that only move, repeat or drop elements. What they do is found by applying them to the indices of the elements."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from certify.io import lowering
from certify.io.torch.call import Call, Constant, Handler, Operand, Outputs, apply, require_no_rounding


def _move(call: Call, x: Operand, **arguments: object) -> Outputs:
    node = call.variable(x)
    index = call.index(node)
    if isinstance(index, np.ndarray):
        return lowering.take(call.builder, node, index, call.source)
    return [lowering.take(call.builder, node, part, call.step(str(i))) for i, part in enumerate(index)]


def _permute(call: Call, x: Operand, **arguments: object) -> str:
    """Axes are recognised by their sizes, in a tensor none of whose axes are equally long."""
    node = call.variable(x)
    rank = len(call.shape_of(node))
    probe = torch.empty(tuple(range(rank)), device="meta")
    moved = apply(call.target, {**call.arguments, "x": probe})
    return lowering.transpose(call.builder, node, tuple(moved.shape), call.source)


def _identity(call: Call, x: Operand, **arguments: object) -> str:
    require_no_rounding(call.result, call.arguments["x"].value)
    return call.variable(x)


def _pad(call: Call, x: Operand, pad: list[int], mode: str = "constant", value: float | None = None) -> Outputs:
    """`pad` lists amounts before and after, from the last axis forward."""
    if mode != "constant":
        return _move(call, x)
    node = call.variable(x)
    untouched = len(call.shape_of(node)) - len(pad) // 2
    before = [0] * untouched + pad[-2::-2]
    after = [0] * untouched + pad[::-2]
    return lowering.pad(call.builder, node, before, after, value or 0.0, call.source)


def _cat(call: Call, tensors: list[Operand], dim: int = 0) -> str:
    parts = _as_nodes(call, tensors)
    parts = [part for part in parts if call.shape_of(part) != (0,)]  # torch lets an empty vector pass
    if len(parts) == 1:
        return parts[0]
    return call.emit("concat", parts, axis=dim % len(call.shape))


def _stack(call: Call, tensors: list[Operand], dim: int = 0) -> str:
    axis = dim % len(call.shape)
    rows = []
    for part in _as_nodes(call, tensors):
        shape = call.shape_of(part)
        rows.append(lowering.reshape(call.builder, part, (*shape[:axis], 1, *shape[axis:]), call.step("row")))
    return rows[0] if len(rows) == 1 else call.emit("concat", rows, axis=axis)


def _as_nodes(call: Call, tensors: list[Operand]) -> list[str]:
    """The parts as nodes; a constant one becomes a node that depends on the input with coefficient zero."""
    some = next(part for part in tensors if isinstance(part, str))
    nodes = []
    for part in tensors:
        if isinstance(part, Constant):
            part = lowering.constant_node(call.builder, some, call.constant(part, "part"), call.step("constant"))
        nodes.append(call.variable(part))
    return nodes


def roll_out(names: str, handler: Handler) -> dict[str, Handler]:
    """One handler under each of several names."""
    return dict.fromkeys(names.split(), handler)


HANDLERS: Mapping[str, Handler] = {
    **roll_out(
        """view.default _unsafe_view.default reshape.default view_as.default reshape_as.default flatten.using_ints unflatten.int
        squeeze.default squeeze.dim squeeze.dims unsqueeze.default expand.default expand_as.default broadcast_to.default
        repeat.default tile.default repeat_interleave.self_int slice.Tensor narrow.default select.int index_select.default
        index.Tensor gather.default take.default take_along_dim.default
        split.Tensor split.sizes split_with_sizes.default chunk.default unbind.int
        unsafe_chunk.default unsafe_split.Tensor tensor_split.sections tensor_split.indices hsplit.int vsplit.int flip.default
        fliplr.default flipud.default roll.default rot90.default pixel_shuffle.default pixel_unshuffle.default
        channel_shuffle.default native_channel_shuffle.default unfold.default diagonal.default ravel.default
        atleast_1d.default atleast_2d.default atleast_3d.default reflection_pad1d.default reflection_pad2d.default
        reflection_pad3d.default replication_pad1d.default replication_pad2d.default replication_pad3d.default
        _pad_circular.default upsample_nearest1d.default upsample_nearest1d.vec upsample_nearest2d.default
        upsample_nearest2d.vec upsample_nearest3d.default upsample_nearest3d.vec _upsample_nearest_exact1d.default
        _upsample_nearest_exact1d.vec _upsample_nearest_exact2d.default _upsample_nearest_exact2d.vec
        _upsample_nearest_exact3d.default _upsample_nearest_exact3d.vec""",
        _move,
    ),
    **roll_out(
        """permute.default transpose.int t.default swapaxes.default swapdims.default movedim.int movedim.intlist moveaxis.int
        moveaxis.intlist numpy_T.default mT.default adjoint.default""",
        _permute,
    ),
    **roll_out(
        """clone.default contiguous.default detach.default alias.default lift_fresh_copy.default lift_fresh.default _to_copy.default
        real.default
        to.dtype to.device to.dtype_layout to.other type_as.default positive.default""",
        _identity,
    ),
    "pad.default": _pad,
    "constant_pad_nd.default": _pad,
    **roll_out("cat.default concat.default concatenate.default", _cat),
    "stack.default": _stack,
}
