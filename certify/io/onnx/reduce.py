"""Sums, means, norms and extremes over axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from certify.graph import GraphBuilder
from certify.io import lowering
from certify.io.onnx.call import Call, Handler

Reduce = Callable[[GraphBuilder, str, "list[int]", bool, str], str]


def _over_axes(reduce: Reduce) -> Handler:
    """The reduction over the axes that an attribute or, in newer opsets, an input names; over all where none is."""

    def handle(call: Call) -> str:
        axes = call.setting("axes", 1)
        if not axes and call.attrs.get("noop_with_empty_axes", 0):
            return call.variable()
        axes = axes or list(range(len(call.shape())))
        return reduce(call.builder, call.variable(), axes, bool(call.attrs.get("keepdims", 1)), call.name)

    return handle


def _reduce_with(op: str, before: str = "", after: str = "") -> Reduce:
    """A canonical reduction, of elements that `before` was applied to, with `after` applied to the result."""

    def reduce(builder: GraphBuilder, x: str, axes: list[int], keepdims: bool, source: str) -> str:
        x = builder.add(before, [x], source=source) if before else x
        x = lowering.reduce(builder, op, x, axes, keepdims, source)
        return builder.add(after, [x], source=source) if after else x

    return reduce


HANDLERS: Mapping[str, Handler] = {
    "ReduceSum": _over_axes(_reduce_with("reduce_sum")),
    "ReduceMean": _over_axes(lowering.reduce_mean),
    "ReduceMax": _over_axes(_reduce_with("reduce_max")),
    "ReduceMin": _over_axes(lowering.reduce_min),
    "ReduceL1": _over_axes(_reduce_with("reduce_sum", before="abs")),
    "ReduceL2": _over_axes(_reduce_with("reduce_sum", before="square", after="sqrt")),
    "ReduceSumSquare": _over_axes(_reduce_with("reduce_sum", before="square")),
    "ReduceLogSum": _over_axes(_reduce_with("reduce_sum", after="log")),
}
