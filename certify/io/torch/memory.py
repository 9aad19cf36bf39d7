"""Tensors that share memory: after a write, whatever shows the written elements shows the new ones.

A program is read with an example, on which every operation is run in torch; so torch itself says which tensors share memory, and by
storage, offset and strides which elements are the same ones. Nothing is ever written to: a write gives new values, in a copy of the
storage, to all tensors that share it, and what was computed before it keeps the old ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload

from certify.graph import GraphBuilder
from certify.io.torch.call import Array, Constant, Variable, elements, short_name

RESHAPING = {f"{name}_.default" for name in ("squeeze", "unsqueeze", "t", "transpose", "swapaxes", "swapdims", "detach")} | {
    "squeeze_.dim",
    "squeeze_.dims",
}
"""Operations that write no element: the tensor itself becomes another view of its memory, others that share it stay as they are."""

Value = Variable | Constant


def written_to(target: OpOverload, args: Mapping[str, Any]) -> list[Any]:
    """The arguments, by their names in the schema, that an operation writes to."""
    schema = target._schema.arguments
    return [args.get(a.name) for a in schema if a.alias_info is not None and a.alias_info.is_write]


def functional(target: OpOverload) -> OpOverload:
    """The operation that returns what an operation in place, or with `out`, writes. A ValueError where torch has none."""
    if torch.Tag.inplace_view in target.tags and short_name(target) not in RESHAPING:
        raise ValueError("it gives a tensor another memory, which is not supported; make a new tensor")
    packet = target._schema.name.removeprefix("aten::").removesuffix("_")
    family = getattr(torch.ops.aten, packet, None)
    wanted = [_signature(a) for a in target._schema.arguments if not a.is_out]
    for overload in family.overloads() if family is not None else ():
        candidate = getattr(family, overload)
        if not candidate._schema.is_mutable and [_signature(a) for a in candidate._schema.arguments] == wanted:
            return candidate
    raise ValueError("it writes to memory in a way that is not supported; write the values into a new tensor")


def _signature(argument: Any) -> tuple[str, str]:
    return argument.name, str(argument.type)


def storage(tensor: Tensor) -> int:
    """What two tensors have in common if and only if they share memory; sparse ones share none."""
    return int(tensor.untyped_storage()._cdata) if tensor.layout is torch.strided else -id(tensor)


def after_write(builder: GraphBuilder, values: Iterable[Value], target: Value, new: Value, source: str) -> dict[int, Value]:
    """What becomes of the values, by their `id`, when `target`, one of them, is overwritten by `new`, of its shape.

    Those not in the result stay as they are. A ValueError where the written elements are not distinct.
    """
    tensor = target.value
    new = _stored_as(tensor.dtype, new)
    memory = tensor.untyped_storage().clone()
    _view(tensor, memory).copy_(new.value)
    written = _Written(tensor)
    after: dict[int, Value] = {}
    for value in values:
        if id(value) in after or storage(value.value) != storage(tensor):
            continue
        if value.value.dtype != tensor.dtype:
            raise ValueError(f"it writes to memory that is also read as {value.value.dtype}")
        shown = _view(value.value, memory)
        if _geometry(value.value) == _geometry(tensor):
            after[id(value)] = Variable(new.node, shown) if isinstance(new, Variable) else replace(new, value=shown)
        else:
            after[id(value)] = elements(builder, [new, value], written.seen_in(value.value), shown, source)
    return after


def _stored_as(dtype: torch.dtype, new: Value) -> Value:
    """A new value in the type of the tensor it is written to: constants are rounded to types narrower than float32."""
    if isinstance(new, Variable) or new.value.dtype == dtype:
        return new
    keeps = dtype.is_floating_point and torch.finfo(dtype).bits >= 32
    return replace(new, value=new.value.to(dtype), exact=new.exact if keeps else None)


class _Written:
    """Where in its storage a tensor's elements lie, sorted. A ValueError where two of them lie in one place."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        if not torch.ops.aten.is_non_overlapping_and_dense(tensor):
            places = positions(tensor)
            if len(np.unique(places)) < places.size:
                raise ValueError("it writes to a tensor several elements of which are one place in memory; clone it first")

    @cached_property
    def _sorted(self) -> tuple[Array, Array]:
        places = positions(self._tensor).ravel()
        order = np.argsort(places)
        return places[order], order

    def seen_in(self, other: Tensor) -> Array:
        """For each element of a tensor in the same storage the flat number of the element written there, or of its own behind all
        those."""
        own = self._tensor.numel() + np.arange(other.numel()).reshape(tuple(other.shape))
        if not self._tensor.numel():
            return own
        places, order = self._sorted
        shown = positions(other)
        nearest = np.minimum(np.searchsorted(places, shown), len(places) - 1)
        return np.where(places[nearest] == shown, order[nearest], own)


def _geometry(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.storage_offset(), tensor.shape, tensor.stride()


def positions(tensor: Tensor) -> Array:
    """Where in its storage each element of a tensor lies."""
    place = np.full(tuple(tensor.shape), tensor.storage_offset(), np.int64)
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        place += (np.arange(size) * stride).reshape(-1, *(1,) * (tensor.ndim - axis - 1))
    return place


def _view(tensor: Tensor, memory: torch.UntypedStorage) -> Tensor:
    """The tensor's elements in another storage."""
    empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return empty.set_(memory, tensor.storage_offset(), tensor.size(), tensor.stride())  # type: ignore[call-overload]
