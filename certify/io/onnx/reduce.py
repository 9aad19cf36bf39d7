"""Sums, means, norms and extremes over axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from certify.graph import GraphBuilder
from certify.io import lowering
from certify.io.onnx.call import Call, Handler

Reduce = Callable[[GraphBuilder, str, "list[int]", bool, str], str]


def _over_axes(reduce: Reduce) -> Handler:
    """The reduction over the axes that an attribute or, in newer opsets, an input names; over all where none is.

    With `noop_with_empty_axes` it is over none instead: every element is then a group of its own, to which the function still applies
    (the absolute value for ReduceL1, the logarithm for ReduceLogSum), as the standard and onnxruntime have it.
    """

    def handle(call: Call) -> str:
        rank, axes = len(call.shape()), call.setting("axes", 1) or []
        if not axes and not call.attrs.get("noop_with_empty_axes", 0):
            axes = list(range(rank))
        return reduce(call.builder, call.variable(), axes, bool(call.attrs["keepdims"]), call.name)

    return handle


def _reduce_with(op: str, before: str = "", after: str = "") -> Reduce:
    """A canonical reduction, of elements that `before` was applied to, with `after` applied to the result."""

    def reduce(builder: GraphBuilder, x: str, axes: list[int], keepdims: bool, source: str) -> str:
        x = builder.add(before, [x], source=source) if before else x
        x = lowering.reduce(builder, op, x, axes, keepdims, source)
        return builder.add(after, [x], source=source) if after else x

    return reduce


def _norm(builder: GraphBuilder, x: str, axes: list[int], keepdims: bool, source: str) -> str:
    """The root of the sum of squares; of one element, its absolute value."""
    chosen = lowering.normalise_axes(axes, len(builder.shape(x)))
    alone = all(builder.shape(x)[axis] == 1 for axis in chosen)
    kinds = {"before": "abs"} if alone else {"before": "square", "after": "sqrt"}
    return _reduce_with("reduce_sum", **kinds)(builder, x, axes, keepdims, source)


HANDLERS: Mapping[str, Handler] = {
    "ReduceSum": _over_axes(_reduce_with("reduce_sum")),
    "ReduceMean": _over_axes(lowering.reduce_mean),
    "ReduceMax": _over_axes(_reduce_with("reduce_max")),
    "ReduceMin": _over_axes(lowering.reduce_min),
    "ReduceL1": _over_axes(_reduce_with("reduce_sum", before="abs")),
    "ReduceL2": _over_axes(_norm),
    "ReduceSumSquare": _over_axes(_reduce_with("reduce_sum", before="square")),
    "ReduceLogSum": _over_axes(_reduce_with("reduce_sum", after="log")),
}
