"""Nodes of constants alone: what they make of the stored numbers in real arithmetic.

Three kinds of nodes, and nothing else. Those that move, choose or compare numbers, and all that compute with integers, lose nothing in
the precision of the file: the standard's reference implementation evaluates them. Casts round as the standard says, and quantisation
is written here. Whatever else computes goes the way that it would go if its first number depended on the input: a handler says what it
means in canonical operators, and those are evaluated to twice the digits of a double, with a bound of the error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from certify.graph import GraphBuilder, GraphError
from certify.graph import exact as exactly_as
from certify.graph.double_double import DoubleDouble, exactly, where
from certify.io.onnx import moves
from certify.io.onnx.call import Array, Call, Numbers, Value
from certify.io.onnx.deferred import Masked
from certify.io.onnx.table import HANDLERS

FLOATS: Mapping[int, int] = {TensorProto.BFLOAT16: 8, TensorProto.FLOAT16: 11, TensorProto.FLOAT: 24, TensorProto.DOUBLE: 53}
"""Floating-point types, with the bits of their significands."""
WIDE = (TensorProto.FLOAT, TensorProto.DOUBLE)
"""Types that hold all numbers of the narrower ones."""
NARROW = FLOATS.keys() - {TensorProto.DOUBLE}

MOVED = """
    Reshape Squeeze Unsqueeze Flatten Transpose Identity Concat Pad Where Trilu Dropout ReverseSequence
    ScatterElements ScatterND Scatter CenterCropPad Shape Size Constant ConstantOfShape EyeLike Max Min Relu Abs
    Neg Sign Floor Ceil Round Clip ReduceMax ReduceMin MaxPool GlobalMaxPool Equal Greater Less GreaterOrEqual
    LessOrEqual Not And Or Xor IsNaN IsInf ArgMax ArgMin TopK NonZero OneHot Unique Hardmax
"""
AS_STORED = {*MOVED.split(), *moves.HANDLERS}
"""Operators that make no new numbers of the old ones, or whole ones: evaluated as they are, in any precision."""


def evaluate_constants(call: Call, kinds: list[int]) -> tuple[Numbers, ...]:
    """The outputs of a node without an input that depends on the network's, as real arithmetic on the stored numbers has them.

    `kinds` are the outputs' element types. A ValueError or GraphError where nobody says what it means, or it is no number.
    """
    arrays = [value for value in call.inputs if value is None or isinstance(value, np.ndarray)]
    stored = call.op in AS_STORED and call.attrs.get("reduction", "none") == "none"
    whole = not any(kind in FLOATS for kind in (*call.kinds, *kinds))
    if len(arrays) == len(call.inputs) and (stored or whole) and call.op not in OWN:
        made: Any = moves.OWN[call.op](call) if call.op in moves.OWN else call.evaluate(_of_one_precision(arrays))
    elif call.op in OWN:
        made = (OWN[call.op](call, kinds[0]),)
    else:
        made = _by_handler(call)
    results = made if isinstance(made, tuple) else (made,)
    return tuple(_simplest(value, kind) for value, kind in zip(results, kinds, strict=False))


def _of_one_precision(arrays: list[Array | None]) -> list[Array | None]:
    """The arrays with the floating-point ones in the widest precision among them."""
    types = [array.dtype for array in arrays if array is not None and array.dtype.kind == "f"]
    widest = np.result_type(*types) if types else None
    return [array.astype(widest, copy=False) if array is not None and array.dtype.kind == "f" else array for array in arrays]


def _by_handler(call: Call) -> tuple[Any, ...]:
    """The outputs by the canonical operators that the node would be if its first number depended on the network's input."""
    if call.op not in HANDLERS:
        raise call.error("has no exact evaluation on constants; store its result in the model instead of computing it there")
    numbers = [i for i, kind in enumerate(call.kinds) if kind in FLOATS]
    position = next((i for i in numbers if np.isfinite(exactly(_given(call, i)).high).all()), next(iter(numbers), None))
    if position is None:
        raise call.error("makes floating-point numbers of integers in a way that is not supported on constants; store its result")
    builder = GraphBuilder()
    x = exactly(_given(call, position))
    inputs: list[Value] = list(call.inputs)
    inputs[position] = builder.input("x", x.shape)
    made = HANDLERS[call.op](replace(call, inputs=tuple(inputs), builder=builder))
    results = made if isinstance(made, tuple) else (made,)
    return tuple(_evaluated(builder, value, x) for value in results)


def _evaluated(builder: GraphBuilder, made: Any, x: DoubleDouble) -> Any:
    """What a handler made, at x: a node, a node with infinite entries, or a constant."""
    if isinstance(made, Masked):
        return where(made.mask, made.infinity, exactly_as.evaluate_exactly(builder.build(made.node), x))
    return exactly_as.evaluate_exactly(builder.build(made), x) if isinstance(made, str) else made


def _simplest(value: Any, kind: int) -> Numbers:
    """Numbers as an array of the type that the model gives them, where that holds them; else of doubles; else as they are."""
    if isinstance(value, DoubleDouble):
        if not value.exact:
            return value
        value = value.high
    if kind == TensorProto.BFLOAT16:
        return np.asarray(value, dtype=np.float32) if value.dtype.kind != "f" else value
    if kind not in FLOATS or value.dtype != np.float64:
        return np.asarray(value)
    with np.errstate(over="ignore"):
        narrow = value.astype(helper.tensor_dtype_to_np_dtype(kind))
    return narrow if np.array_equal(narrow, value, equal_nan=True) else value


SUMS = frozenset(
    [
        "Sum",
        "Mean",
        "MatMul",
        "Gemm",
        "Conv",
        "Einsum",
        "ReduceSum",
        "ReduceMean",
        "ReduceSumSquare",
        "ReduceL1",
        "ReduceL2",
        "CumSum",
    ]
)
"""Operators that round inside, after each of several terms, and not only their result."""


def as_run(call: Call, made: Sequence[Numbers]) -> Sequence[Numbers]:
    """What a runtime makes of a node of constants: sums as the standard's own implementation rounds them, anything else as it is."""
    arrays = [value for value in call.inputs if value is None or isinstance(value, np.ndarray)]
    if call.op not in SUMS or len(arrays) < len(call.inputs) or not any(kind in NARROW for kind in call.kinds):
        return made
    try:
        with np.errstate(all="ignore"):
            return call.evaluate(arrays)
    except GraphError:  # the standard's implementation lacks some attributes
        return made


def rounded(value: Numbers, run: Numbers, kind: int) -> Numbers:
    """A constant as a runtime has it, which rounds after each node; what it is of numbers that are not known well is as good as any."""
    numbers = run.high if isinstance(run, DoubleDouble) else run
    if kind not in FLOATS or kind == TensorProto.BFLOAT16:
        return numbers
    with np.errstate(over="ignore"):
        return numbers.astype(helper.tensor_dtype_to_np_dtype(kind), copy=False)


def wider(value: Numbers, run: Numbers, kind: int) -> bool:
    """Whether a constant is more than its element type holds, or another than a runtime makes of it."""
    if isinstance(value, DoubleDouble) or (kind in NARROW and value.dtype == np.float64):
        return True
    return run is not value and not np.array_equal(run, value)


def exact(value: Numbers, run: Numbers, kind: int) -> Numbers:
    """A constant as it is."""
    return value


def _given(call: Call, index: int) -> Numbers:
    return call.required_numbers(index)


# --- casts -----------------------------------------------------------------------------------------------------------------------


def _cast(call: Call, kind: int) -> Numbers:
    """A cast rounds where its type is narrower than that which the numbers have in the model."""
    value, source = _given(call, 0), call.kinds[0] or 0
    if kind == source or (kind in WIDE and source in FLOATS and FLOATS[kind] >= FLOATS[source]):
        return value
    if not isinstance(value, DoubleDouble):
        if kind in FLOATS or kind == TensorProto.BOOL or value.dtype.kind != "f":
            return value.astype(helper.tensor_dtype_to_np_dtype(kind))
        value = exactly(value)
    if kind in FLOATS:
        narrow = helper.tensor_dtype_to_np_dtype(kind)
        return _known(call, exactly_as.rounded(value, narrow)).high
    if kind == TensorProto.BOOL:
        return _known(call, exactly_as.sign(value)).high != 0
    return _whole(call, exactly_as.truncate(value), helper.tensor_dtype_to_np_dtype(kind))


def _whole(call: Call, value: DoubleDouble, dtype: np.dtype) -> Array:
    """Whole numbers in an integer type; a GraphError where it does not hold one, of which ONNX says nothing, or where one is NaN."""
    known, limits = _known(call, value), np.iinfo(dtype)
    inside = (known.high >= float(limits.min)) & (known.high < float(limits.max) + 1) & (known.low == 0)
    if not inside.all():
        raise call.error(f"casts numbers to {dtype} that it does not hold; store the result in the model instead")
    return known.high.astype(dtype)


def _known(call: Call, value: DoubleDouble) -> DoubleDouble:
    """Whole or rounded numbers that are known; a GraphError where the numbers before were not known well enough to round them."""
    if value.error.any():
        raise call.error("rounds numbers of which too few digits are known to say where to; store its result in the model instead")
    return value


# --- quantisation, ranges ---------------------------------------------------------------------------------------------------------


def _spread(call: Call, index: int, shape: tuple[int, ...]) -> Numbers | None:
    """Scales or zero points for every element: one for all, one for each index along an axis, or one for each block along it."""
    value = call.numbers(index)
    if value is None or value.size == 1:
        return None if value is None else value.reshape(())
    axis = int(call.attrs.get("axis", 1)) % len(shape)
    if value.ndim == 1:
        return value.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    block = int(call.attrs.get("block_size", 0)) or -(-shape[axis] // value.shape[axis])
    number = np.arange(shape[axis]) // block
    return value[(slice(None),) * axis + (number,)]


def _dequantize(call: Call, kind: int) -> Numbers:
    """(x - zero point) * scale; whole numbers are first written in doubles, which hold them."""
    x = call.required(0)
    zero, scale = _spread(call, 2, x.shape), _spread(call, 1, x.shape)
    whole = exactly(_plain(x)) - (0.0 if zero is None else exactly(_plain(zero)))
    return whole * exactly(scale)  # type: ignore[arg-type]


def _plain(value: Any) -> Array:
    """An array of one of the small types of onnx, which numpy lacks, in doubles."""
    return value if value.dtype.kind in "iuf" else value.astype(np.float64)


def _quantize(call: Call, kind: int) -> Numbers:
    """x / scale rounded to the nearest whole number, the even one of two, plus the zero point, within the range of the type."""
    x = exactly(_given(call, 0))
    zero, scale = _spread(call, 2, x.shape), _spread(call, 1, x.shape)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    if dtype.kind not in "iu":
        raise call.error("quantises to a type that is not supported on constants; store its result in the model")
    whole = exactly_as.round_half_even(x / exactly(scale)) + (0.0 if zero is None else exactly(_plain(zero)))  # type: ignore[arg-type]
    limits = np.iinfo(dtype)
    clipped = exactly_as.minimum(exactly_as.maximum(whole, float(limits.min)), float(limits.max))
    return _known(call, clipped).high.astype(dtype)


def _range(call: Call, kind: int) -> Numbers:
    """start + i * step, for all i with which it stays before the limit."""
    start, limit, step = (exactly(_given(call, i)).reshape(()) for i in range(3))
    count = int(_known(call, -exactly_as.floor((start - limit) / step)).high)
    found = exactly(np.arange(max(count, 0))) * step + start
    return found if kind in FLOATS else found.high.astype(helper.tensor_dtype_to_np_dtype(kind))


# --- what a handler would lose, or has no handler --------------------------------------------------------------------------------


def _div(call: Call, kind: int) -> Numbers:
    """Quotients, which are exact where they are doubles; of integers, rounded towards zero."""
    if kind not in FLOATS:
        return call.evaluate([call.required(0), call.required(1)])[0]
    return exactly(_given(call, 0)) / exactly(_given(call, 1))


def _pow(call: Call, kind: int) -> Numbers:
    if kind not in FLOATS:
        return call.evaluate([call.required(0), call.required(1)])[0]
    return exactly_as.power(exactly(_given(call, 0)), exactly(_given(call, 1)))


def _softmax(call: Call, kind: int) -> Numbers:
    """Along an axis; before version 13 over all axes from it on, which is the same where it is the last one."""
    x, axis = exactly(_given(call, 0)), int(call.attrs["axis"])
    if call.opset < 13 and axis % x.ndim != x.ndim - 1:
        raise call.error("normalises over several axes, which is not supported on constants; store its result in the model")
    return exactly_as.softmax(x, axis)


OWN: Mapping[str, Callable[[Call, int], Numbers]] = {
    "Cast": _cast,
    "CastLike": _cast,
    "DequantizeLinear": _dequantize,
    "QuantizeLinear": _quantize,
    "Range": _range,
    "Div": _div,
    "Pow": _pow,
    "Softmax": _softmax,
}
