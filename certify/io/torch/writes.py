"""Operations that put elements of several tensors together: written over a tensor, added to it, or between zeros."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from certify.io import lowering
from certify.io.torch.call import Array, Call, Constant, Handler, Operand, Outputs, Part, Variable, apply, elements, short_name
from certify.io.torch.moves import roll_out


def _arrange(*roles: str) -> Handler:
    """An operation that puts elements of several tensors and numbers side by side, or zeros where it has none.

    Which it puts where is seen by giving each a number of its own, and 0 to the zeros.
    """

    def handler(call: Call, **operands: object) -> Outputs:
        parts: list[Part] = [Constant(torch.zeros(1, dtype=torch.float64))]
        numbered = {role: _numbered(call.arguments[role], parts) for role in roles}
        index = apply(call.target, {**call.arguments, **numbered}).cpu().numpy().astype(np.int64)
        _refuse_repeated(call, index)
        result = elements(call.builder, parts, index, call.result, call.source)
        return result.node if isinstance(result, Variable) else result

    return handler


def _numbered(argument: Any, parts: list[Part]) -> Any:
    """Numbers in place of the elements of a tensor, of several, or of a number, which are added to the parts that have theirs."""
    if isinstance(argument, (list, tuple)):
        return [_numbered(entry, parts) for entry in argument]
    start = sum(part.value.numel() for part in parts)
    if not isinstance(argument, (Variable, Constant)):
        parts.append(Constant(torch.tensor(float(argument), dtype=torch.float64)))
        return float(start)
    parts.append(argument)
    value = argument.value
    return torch.arange(start, start + value.numel(), dtype=torch.float64, device=value.device).reshape(value.shape)


WRITTEN: Mapping[str, Callable[[Call], int]] = {
    "scatter.src": lambda call: int(call.arguments["index"].value.numel()),
    "put.default": lambda call: int(call.arguments["index"].value.numel()),
    "index_copy.default": lambda call: int(call.arguments["source"].value.numel()),
    "index_put.default": lambda call: int(_selected(call).numel()),
}
"""How many elements some operations write, so many that some might be written over."""


def _refuse_repeated(call: Call, index: Array) -> None:
    """A ValueError where fewer of the written elements are seen than were written."""
    count = WRITTEN.get(short_name(call.target))
    if count is not None and (index > call.arguments["x"].value.numel()).sum() < count(call):
        raise ValueError("it writes to one place several times, in no order that torch promises")


def _selected(call: Call) -> Tensor:
    """The part of the first tensor that `indices` select."""
    return call.arguments["x"].value[tuple(slice(None) if i is None else i.value for i in call.arguments["indices"])]


def _index_put(call: Call, x: Operand, indices: list[Operand], values: Operand, accumulate: bool = False) -> Outputs:
    return (_add_at("values") if accumulate else _arrange("x", "values"))(call)


def _put(call: Call, x: Operand, index: Operand, source: Operand, accumulate: bool = False) -> Outputs:
    return (_add_at("source") if accumulate else _arrange("x", "source"))(call)


def _fold(call: Call, x: Operand, **_: object) -> str:
    """Overlapping windows put back in place and added up where they overlap."""
    node = call.variable(x)
    target = _destinations(call, "x", None, call.arguments["x"].value)
    rows = _rows(target, call.result.numel(), int(np.prod(call.shape_of(node))))
    gathered = lowering.gather(call.builder, [node], [np.zeros(1)], rows.reshape(-1, *call.shape), call.step("terms"))
    return lowering.reduce(call.builder, "reduce_sum", gathered, (0,), False, call.source)


def _add_at(role: str, alpha: str | None = None) -> Handler:
    """An operation that adds elements of a second tensor to those of a first.

    Where each goes, one place, is seen by sending numbers of the places back: the gradient in the second tensor.
    """

    def handler(call: Call, **_: object) -> Outputs:
        base, added = call.arguments["x"], call.arguments[role]
        if isinstance(added, Constant):
            return _add_constant(call, call.variable(base.node), role, added)
        added = FITTED[role](call, added) if role in FITTED else added
        factor = 1.0 if alpha is None else float(call.arguments[alpha])
        terms = lowering.scale(call.builder, added.node, factor, call.step("alpha")) if factor != 1 else added.node
        rows = _rows(_destinations(call, role, alpha, added.value), base.value.numel(), added.value.numel())
        if not len(rows):
            return base.node if isinstance(base, Variable) else base
        index = rows.reshape(-1, *base.value.shape)
        gathered = lowering.gather(call.builder, [terms], [np.zeros(1)], index, call.step("terms"))
        summed = lowering.reduce(call.builder, "reduce_sum", gathered, (0,), False, call.step("sum"))
        if isinstance(base, Variable):
            return lowering.combine(call.builder, "add", base.node, summed, call.source)
        return lowering.shift(call.builder, summed, call.constant(base, "base"), call.source)

    return handler


def _rows(target: Array, places: int, nothing: int) -> Array:
    """In column i, one below the other, the elements whose target is i + 1, and `nothing` below them."""
    order = np.flatnonzero(target)[np.argsort(target[target > 0], kind="stable")]
    counts = np.bincount(target, minlength=places + 1)[1:]
    rows = np.full((counts.max(initial=0), places), nothing, np.int64)
    row = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows[row, np.repeat(np.arange(places), counts)] = order
    return rows


def _spread(call: Call, values: Variable) -> Variable:
    shape = tuple(_selected(call).shape)
    return Variable(lowering.broadcast(call.builder, values.node, shape, call.step("spread")), values.value.broadcast_to(shape))


def _cropped(call: Call, source: Variable) -> Variable:
    part = tuple(slice(n) for n in call.arguments["index"].value.shape)
    index = lowering.take_index(call.builder.shape(source.node), lambda flat: flat[part])
    return Variable(lowering.take(call.builder, source.node, index, call.step("part")), source.value[part])


FITTED: Mapping[str, Callable[[Call, Variable], Variable]] = {"values": _spread, "src": _cropped}
"""What is added of the second tensor, element by element, where that is not the tensor as it is."""


def _add_constant(call: Call, base: str, role: str, added: Constant) -> str:
    if added.live:
        raise ValueError("what it adds depends on parameters, which is not supported; add it with + to a tensor of that shape")
    zero = torch.zeros_like(call.result, dtype=torch.float64)
    total = apply(call.target, {**call.arguments, "x": zero, role: added.value.double()})
    return lowering.shift(call.builder, base, total.cpu().numpy(), call.source)


def _destinations(call: Call, role: str, alpha: str | None, added: Tensor) -> Array:
    """The place in the result, counted from 1, that each element is added to; 0 for those that are not used."""
    with torch.enable_grad():
        source = torch.zeros_like(added, dtype=torch.float64, requires_grad=True)
        zero = torch.zeros_like(call.result, dtype=torch.float64)
        result = apply(call.target, {**call.arguments, **{"x": zero, role: source}, **({alpha: 1} if alpha else {})})
        places = torch.arange(1, result.numel() + 1, dtype=torch.float64, device=result.device).reshape(result.shape)
        (sent,) = torch.autograd.grad(result, source, places)
    return sent.cpu().numpy().astype(np.int64).ravel()


def _overwrite(role: str) -> Handler:
    """What is written, spread over the shape of the tensor that is overwritten."""
    return lambda call, **operands: lowering.broadcast(call.builder, call.variable(operands[role]), call.shape, call.source)


HANDLERS: Mapping[str, Handler] = {
    **roll_out("tril.default triu.default diag.default diag_embed.default im2col.default", _arrange("x")),
    **roll_out("slice_scatter.default select_scatter.default diagonal_scatter.default scatter.src", _arrange("x", "src")),
    **roll_out("index_copy.default masked_scatter.default", _arrange("x", "source")),
    **roll_out(
        "masked_fill.Scalar masked_fill.Tensor scatter.value index_fill.int_Scalar index_fill.int_Tensor", _arrange("x", "value")
    ),
    **roll_out("hstack.default vstack.default dstack.default column_stack.default block_diag.default", _arrange("tensors")),
    "put.default": _put,
    "col2im.default": _fold,
    "index_put.default": _index_put,
    "index_add.default": _add_at("source", "alpha"),
    "scatter_add.default": _add_at("src"),
    **roll_out("where.self where.ScalarOther where.ScalarSelf", _arrange("x", "other")),
    "copy.default": _overwrite("src"),
    "fill.Tensor": _overwrite("value"),
}
