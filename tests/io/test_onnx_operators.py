"""Every ONNX operator and form of it that is imported, against onnxruntime."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from certify.graph import GraphError
from certify.graph.evaluate import evaluate
from certify.io.onnx import read_onnx
from certify.io.onnx.importer import import_model
from certify.operators.program import bind
from certify.operators.table import OPS

X = "the variable"  # stands for the network's input among the inputs of a case


class Case(NamedTuple):
    """One node: its operator, the shape of the network's input, its inputs in order (X is the variable, None is left out)."""

    op: str
    shape: tuple[int, ...]
    inputs: tuple[Any, ...] = (X,)
    attrs: dict[str, Any] = {}  # noqa: RUF012
    opset: int = 17
    outputs: int = 1

    def __str__(self) -> str:
        attrs = ",".join(f"{k}={v}" for k, v in self.attrs.items())
        return f"{self.op}-{self.opset}{list(self.shape)}{'(' + attrs + ')' if attrs else ''}"


def a(*values: float, dtype: type = np.float32) -> np.ndarray:
    return np.array(values, dtype)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def rand(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 2, shape).astype(np.float32) * np.where(
        np.random.default_rng(seed + 1).random(shape) < 0.3, -1, 1
    ).astype(np.float32)


def model_of(case: Case, output: int = 0) -> ModelProto:
    """The model of one node with one of its outputs as the network's."""
    names = ["" if value is None else "x" if value is X else f"c{i}" for i, value in enumerate(case.inputs)]
    values = zip(names, case.inputs, strict=True)
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in values if name.startswith("c")]
    outputs = [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(case.op, names, outputs, name="node", **case.attrs)
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, case.shape)
    result = helper.make_tensor_value_info(outputs[output], TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [entry], [result], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=8)


def assert_imported_right(model: ModelProto, shape: tuple[int, ...], positive: bool = False) -> None:
    """The graph evaluates as onnxruntime does: as imported, as normalised, and as the engine binds it."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    imported, graph = import_model(model), read_onnx(model)
    program = bind(graph, torch.float64) if all(node.op in OPS for node in graph.nodes[1:]) else None
    random = np.random.default_rng(1)
    for points in (random.random(shape) + 0.1, *(() if positive else (random.normal(0, 3, shape), np.zeros(shape)))):
        x = points.astype(np.float32)
        (wanted,) = session.run(None, {"x": x})
        exact = x.astype(np.float64)
        computed = [evaluate(imported, exact), evaluate(graph, exact)]
        if program is not None:
            computed.append(program.evaluate(torch.tensor(exact)[None])[0].numpy())
        for got in computed:
            assert got.shape == wanted.shape
            scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0)
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * scale)


ELEMENTWISE = [
    *(Case(op, (2, 3)) for op in ("Relu", "Abs", "Sigmoid", "Tanh", "Softplus", "Erf", "Softsign", "Exp", "Neg", "Identity")),
    *(Case(op, (2, 3)) for op in ("Sin", "Cos", "Atan", "Sign", "Floor", "Ceil", "Round", "Elu", "Selu", "LeakyRelu")),
    *(Case(op, (2, 3), opset=18) for op in ("HardSwish", "Mish", "HardSigmoid", "Celu")),
    Case("Elu", (4,), attrs={"alpha": 0.3}),
    Case("Celu", (4,), attrs={"alpha": 0.3}),
    Case("Selu", (4,), attrs={"alpha": 1.5, "gamma": 0.7}),
    Case("HardSigmoid", (4,), attrs={"alpha": 0.3, "beta": 0.1}),
    Case("LeakyRelu", (4,), attrs={"alpha": 0.3}),
    Case("PRelu", (2, 3), (X, a(0.1, 0.2, 0.3))),
    Case("PRelu", (2, 3), (X, rand(2, 3))),
    Case("Clip", (5,), attrs={"min": -0.5, "max": 0.7}, opset=8),
    Case("Clip", (5,), opset=10),
    Case("Clip", (5,), (X, np.float32(-0.5), np.float32(0.7)), opset=11),
    Case("Clip", (5,), (X, None, np.float32(0.7)), opset=13),
    Case("Clip", (5,), (X, np.float32(0.7)), opset=13),
    Case("Clip", (5,), (X, np.float32(1), np.float32(0)), opset=13),
    Case("Gelu", (5,), opset=20),
    Case("Gelu", (5,), attrs={"approximate": "tanh"}, opset=20),
    Case("Pow", (5,), (X, a(2.0))),
    Case("Pow", (5,), (X, np.int64(3))),
    Case("Pow", (5,), (X, a(1.0))),
    Case("Pow", (1, 5), (X, np.full((2, 1), 2, np.float32)), opset=8),
    Case("Dropout", (5,), opset=8),
    Case("Dropout", (5,), attrs={"ratio": 0.3}, opset=10),
    Case("Dropout", (5,), (X, np.float32(0.3)), opset=13),
    Case("Cast", (5,), attrs={"to": TensorProto.FLOAT}),
    Case("CastLike", (5,), (X, X), opset=15),
]

POSITIVE_ONLY = [
    *(Case(op, (2, 3)) for op in ("Log", "Sqrt", "Reciprocal", "Tan")),
    Case("Pow", (5,), (X, a(0.5))),
    Case("Pow", (5,), (X, a(-1.0))),
    Case("Pow", (5,), (X, a(1.7))),
    Case("Div", (2, 3), (rand(3), X)),
    Case("Div", (2, 3), (X, X)),
    Case("ReduceLogSum", (2, 3), attrs={"axes": [1]}),
    Case("ReduceLogSum", (2, 3), attrs={"noop_with_empty_axes": 1}, opset=18),
    Case("ReduceL2", (2, 3), attrs={"axes": [1]}),
]

ARITHMETIC = [
    *(Case(op, (2, 3), (X, rand(3))) for op in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean")),
    *(Case(op, (2, 3), (rand(3), X)) for op in ("Add", "Sub", "Mul", "Min", "Max", "Sum", "Mean")),
    *(Case(op, (3,), (X, rand(2, 1))) for op in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean")),
    *(Case(op, (2, 3), (X, X)) for op in ("Add", "Sub", "Mul", "Min", "Max", "Sum", "Mean")),
    Case("Max", (2, 3), (X, rand(3), X, rand(2, 1)), opset=8),
    Case("Sum", (2, 3), (X,)),
    Case("Where", (2, 3), (np.array([True, False, True]), X, rand(2, 3))),
    Case("Where", (2, 3), (np.array([[True], [False]]), rand(3), X)),
    Case("Where", (3,), (np.array([[True, False, True], [False] * 3]), X, X)),
]

DENSE = [
    Case("Gemm", (2, 3), (X, rand(3, 4))),
    Case("Gemm", (2, 3), (X, rand(3, 4), rand(4))),
    Case("Gemm", (2, 3), (X, rand(4, 3), rand(2, 1)), {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    Case("Gemm", (3, 2), (X, rand(3, 4), rand(2, 4)), {"transA": 1}, opset=8),
    Case("Gemm", (3, 2), (rand(4, 3), X, rand(2))),
    Case("Gemm", (2, 3), (rand(3, 4), X, np.float32(0.5)), {"transA": 1, "transB": 1, "alpha": -1.5}),
    Case("Gemm", (3, 3), (X, rand(3, 3), X), {"beta": 0.5}),
    Case("Gemm", (3, 3), (X, rand(3, 3), rand(3)), {"beta": 0.0}),
    Case("MatMul", (2, 3), (X, rand(3, 4))),
    Case("MatMul", (3,), (X, rand(3, 4))),
    Case("MatMul", (2, 3), (X, rand(3))),
    Case("MatMul", (3,), (X, rand(3))),
    Case("MatMul", (5, 2, 3), (X, rand(3, 4))),
    Case("MatMul", (5, 2, 3), (X, rand(5, 3, 4))),
    Case("MatMul", (2, 3), (X, rand(5, 3, 4))),
    Case("MatMul", (3,), (X, rand(5, 3, 4))),
    Case("MatMul", (3, 2), (rand(4, 3), X)),
    Case("MatMul", (3,), (rand(4, 3), X)),
    Case("MatMul", (3, 2), (rand(3), X)),
    Case("MatMul", (3,), (rand(3), X)),
    Case("MatMul", (5, 3, 2), (rand(4, 3), X)),
    Case("MatMul", (5, 3, 2), (rand(3), X)),
    Case("MatMul", (3, 2), (rand(5, 4, 3), X)),
    Case("MatMul", (3,), (rand(5, 4, 3), X)),
    Case("BatchNormalization", (2, 3, 4), (X, rand(3), rand(3, seed=2), rand(3, seed=3), np.abs(rand(3)))),
    Case("BatchNormalization", (2, 3), (X, *(np.abs(rand(3, seed=s)) for s in range(4))), {"epsilon": 0.1}, opset=8),
]

STRUCTURE = [
    Case("Flatten", (2, 3, 4)),
    Case("Flatten", (2, 3, 4), attrs={"axis": 2}),
    Case("Flatten", (2, 3, 4), attrs={"axis": -1}, opset=11),
    Case("Flatten", (2, 3), attrs={"axis": 0}, opset=8),
    Case("Reshape", (2, 3, 4), (X, ints(0, -1))),
    Case("Reshape", (2, 3, 4), (X, ints(4, 3, 2)), opset=8),
    Case("Reshape", (2, 3, 4), (X, ints(-1, 0, 2)), opset=14),
    Case("Squeeze", (1, 3, 1), attrs={"axes": [0]}, opset=8),
    Case("Squeeze", (1, 3, 1), opset=11),
    Case("Squeeze", (1, 3, 1), (X, ints(-1)), opset=13),
    Case("Unsqueeze", (3,), attrs={"axes": [0, 2]}, opset=8),
    Case("Unsqueeze", (3,), (X, ints(1, -1)), opset=13),
    Case("Transpose", (2, 3, 4)),
    Case("Transpose", (2, 3, 4), attrs={"perm": [1, 2, 0]}),
    Case("Slice", (4, 6), attrs={"starts": [1], "ends": [3]}, opset=8),
    Case("Slice", (4, 6), attrs={"starts": [0, -2], "ends": [9999, 9999], "axes": [0, 1]}, opset=9),
    Case("Slice", (4, 6), (X, ints(5), ints(-100), ints(1), ints(-2)), opset=10),
    Case("Slice", (4, 6), (X, ints(1, 1), ints(3, 5)), opset=13),
    *(Case("Split", (4, 6), attrs={"axis": 1}, outputs=3, opset=opset) for opset in (8, 11, 13)),
    Case("Split", (4, 6), attrs={"axis": 1, "split": [1, 2, 3]}, outputs=3, opset=11),
    Case("Split", (4, 6), (X, ints(1, 3)), outputs=2, opset=13),
    Case("Split", (4, 5), attrs={"axis": 1, "num_outputs": 3}, outputs=3, opset=18),
    Case("Gather", (4, 6), (X, ints(0, -1, 2)), {"axis": 1}),
    Case("Gather", (4, 6), (X, np.int64(2)), opset=8),
    Case("Gather", (4, 6), (X, np.array([[0, 1], [2, 3]]))),
    Case("GatherElements", (2, 3), (X, np.array([[0, 1, -1]])), {"axis": 0}, opset=11),
    Case("GatherND", (2, 3), (X, np.array([[0, 1], [1, 2]])), opset=12),
    Case("Expand", (3, 1), (X, ints(2, 1, 4)), opset=8),
    Case("Tile", (2, 3), (X, ints(2, 2))),
    Case("DepthToSpace", (1, 8, 2, 3), attrs={"blocksize": 2}, opset=8),
    Case("DepthToSpace", (1, 8, 2, 3), attrs={"blocksize": 2, "mode": "CRD"}, opset=11),
    Case("SpaceToDepth", (1, 2, 4, 6), attrs={"blocksize": 2}),
    Case("Compress", (2, 3), (X, np.array([True, False, True])), {"axis": 1}),
    Case("ReverseSequence", (2, 3), (X, ints(3, 2)), {"batch_axis": 0, "time_axis": 1}),
    Case("Trilu", (3, 4)),
    Case("Trilu", (3, 4), (X, np.int64(1)), {"upper": 0}),
    Case("Concat", (2, 3), (X, X), {"axis": 1}),
    Case("Concat", (2, 3), (rand(2, 1), X, rand(2, 2), rand(2, 1), X, rand(2, 4)), {"axis": -1}),
    Case("Concat", (2, 3), (X, rand(1, 3)), {"axis": 0}),
    Case("Concat", (2, 3), (X,), {"axis": 0}),
    Case("Pad", (2, 3), attrs={"pads": [0, 1, 2, 3], "value": 0.5}, opset=8),
    Case("Pad", (2, 3), attrs={"pads": [0, 1, 0, 1], "mode": "reflect"}, opset=8),
    Case("Pad", (2, 3), (X, ints(0, 1, 2, 3), np.float32(0.5)), opset=11),
    Case("Pad", (2, 3), (X, ints(1, -1, -1, 3)), opset=13),
    Case("Pad", (2, 3), (X, ints(1, 1, 1, 0)), {"mode": "edge"}, opset=13),
    Case("Pad", (2, 3), (X, ints(1, 2), None, ints(1)), opset=18),
    Case("Pad", (2, 3), (X, ints(1, 1, 1, 0)), {"mode": "wrap"}, opset=19),
]

REDUCED = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare")
REDUCTIONS = [
    *(Case(op, (2, 3, 4)) for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceSumSquare")),
    *(Case(op, (2, 3, 4), attrs={"axes": [0, -1], "keepdims": 0}, opset=11) for op in ("ReduceSum", "ReduceMean", "ReduceMax")),
    *(Case(op, (2, 3, 4), (X, ints(1)), {"keepdims": 0}, opset=18) for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")),
    Case("ReduceSum", (2, 3, 4), attrs={"noop_with_empty_axes": 1}, opset=13),
    *(Case(op, (2, 3), (X, *axes), {"noop_with_empty_axes": 1}, 18) for op in REDUCED for axes in ((), (ints(),))),
    *(Case(op, (2, 3), (X, ints()), opset=18) for op in REDUCED),
    Case("ReduceMax", (1, 3, 1), attrs={"axes": [0, 2], "keepdims": 0}),
]

CONVOLUTIONS = [
    Case("Conv", (1, 2, 7), (X, rand(3, 2, 3)), {"strides": [2], "pads": [1, 0]}),
    Case("Conv", (1, 2, 6, 5), (X, rand(4, 2, 3, 2), rand(4)), {"pads": [1, 1, 1, 1], "dilations": [2, 1]}),
    Case("Conv", (2, 4, 6, 5), (X, rand(6, 2, 3, 3)), {"group": 2, "pads": [0, 1, 2, 3], "strides": [2, 1]}),
    Case("Conv", (1, 2, 4, 4, 4), (X, rand(3, 2, 2, 2, 2), rand(3))),
    *(
        Case("Conv", (1, 2, 6, 5), (X, rand(3, 2, 3, 2)), {"auto_pad": auto, "strides": [2, 2]})
        for auto in ("SAME_UPPER", "SAME_LOWER", "VALID")
    ),
    Case("ConvTranspose", (1, 2, 4), (X, rand(2, 3, 3)), {"strides": [2], "pads": [1, 1], "output_padding": [1]}),
    Case("ConvTranspose", (1, 2, 4, 3), (X, rand(2, 3, 3, 2), rand(3)), {"strides": [2, 3], "dilations": [2, 1]}),
    Case("ConvTranspose", (1, 4, 4, 3), (X, rand(4, 3, 3, 2), rand(6)), {"group": 2, "pads": [0, 1, 1, 0]}),
    Case("ConvTranspose", (1, 2, 4, 4), (X, rand(2, 3, 3, 3)), {"strides": [2, 2], "output_shape": [8, 8]}),
    Case("ConvTranspose", (1, 2, 4, 4), (X, rand(2, 3, 2, 2)), {"strides": [1, 1], "pads": [2, 2, 1, 1]}),
    *(
        Case("ConvTranspose", (1, 2, 4, 4), (X, rand(2, 3, 4, 3)), {"strides": [2, 2], "auto_pad": auto})
        for auto in ("SAME_UPPER", "SAME_LOWER", "VALID")
    ),
]

POOLS = [
    Case("MaxPool", (1, 2, 7), attrs={"kernel_shape": [3]}),
    Case("MaxPool", (1, 2, 6, 5), attrs={"kernel_shape": [2, 2], "strides": [2, 2]}, opset=8),
    Case("MaxPool", (1, 2, 6, 5), attrs={"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1]}),
    Case("MaxPool", (1, 2, 6, 5), attrs={"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    Case("MaxPool", (1, 2, 7, 7), attrs={"kernel_shape": [3, 3], "dilations": [2, 2]}),
    Case("MaxPool", (1, 1, 4, 4, 4), attrs={"kernel_shape": [2, 2, 2]}),
    *(
        Case("MaxPool", (1, 1, 5, 5), attrs={"kernel_shape": [2, 2], "auto_pad": p, "strides": [2, 2]})
        for p in ("SAME_UPPER", "SAME_LOWER")
    ),
    Case("AveragePool", (1, 2, 7), attrs={"kernel_shape": [3]}),
    Case("AveragePool", (1, 2, 6, 5), attrs={"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1]}, opset=8),
    Case("AveragePool", (1, 2, 6, 5), attrs={"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "count_include_pad": 1}),
    Case("AveragePool", (1, 2, 6, 5), attrs={"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, opset=19),
    Case("AveragePool", (1, 2, 7, 7), attrs={"kernel_shape": [3, 3], "dilations": [2, 2]}, opset=19),
    *(
        Case("AveragePool", (1, 1, 5, 5), attrs={"kernel_shape": [2, 2], "auto_pad": p, "strides": [2, 2]})
        for p in ("SAME_UPPER", "SAME_LOWER")
    ),
    Case("GlobalAveragePool", (2, 3, 4, 5)),
    Case("GlobalMaxPool", (2, 3, 4, 5)),
]


def resize(scales: tuple[float, ...] = (), sizes: tuple[int, ...] = (), opset: int = 13, **attrs: Any) -> Case:
    inputs = (X, None, a(*scales) if scales else None, *((ints(*sizes),) if sizes else ()))
    return Case("Resize", (1, 2, 3, 4), inputs, attrs, opset=opset)


RULES = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
RESIZES = [
    Case("Upsample", (1, 2, 3, 4), attrs={"scales": [1.0, 1.0, 2.0, 3.0]}, opset=8),
    Case("Upsample", (1, 2, 3, 4), (X, a(1, 1, 2, 3)), opset=9),
    Case("Upsample", (1, 2, 3, 4), (X, a(1, 1, 2, 2)), {"mode": "linear"}, opset=9),
    Case("Resize", (1, 2, 3, 4), (X, a(1, 1, 2, 1.5)), opset=10),
    Case("Resize", (1, 2, 3, 4), (X, a(1, 1, 2, 2)), {"mode": "linear"}, opset=10),
    *(resize((1, 1, 2, 1.5), mode="linear", coordinate_transformation_mode=rule) for rule in RULES),
    *(resize(sizes=(1, 2, 7, 2), mode="linear", coordinate_transformation_mode=rule) for rule in RULES),
    *(resize((1, 1, 2, 3), coordinate_transformation_mode=rule, nearest_mode="floor") for rule in RULES),
    *(resize(sizes=(1, 2, 5, 6), nearest_mode=mode) for mode in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")),
    resize(sizes=(1, 2, 1, 1), mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
    Case("Resize", (1, 2, 3, 4), (X, None, None, ints(6, 8)), {"axes": [2, 3], "mode": "linear"}, opset=18),
]

EVERYWHERE = [*ELEMENTWISE, *ARITHMETIC, *DENSE, *STRUCTURE, *REDUCTIONS, *CONVOLUTIONS, *POOLS, *RESIZES]


@pytest.mark.parametrize("case", EVERYWHERE, ids=str)
def test_a_node_evaluates_as_in_onnxruntime(case: Case) -> None:
    for output in range(1 if case.op == "Dropout" else case.outputs):
        assert_imported_right(model_of(case, output), case.shape)


@pytest.mark.parametrize("case", POSITIVE_ONLY, ids=str)
def test_a_node_with_a_restricted_domain_evaluates_as_in_onnxruntime(case: Case) -> None:
    assert_imported_right(model_of(case), case.shape, positive=True)


@st.composite
def pools(draw: st.DrawFn) -> Case:
    """Pooling of one or two axes with any window that lies at least partly on the input."""
    axes = draw(st.integers(1, 2))
    space = draw(st.tuples(*[st.integers(1, 7)] * axes))
    kernel, stride = (draw(st.tuples(*[st.integers(1, 4)] * axes)) for _ in range(2))
    pads = [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
    attrs = {"kernel_shape": kernel, "strides": stride, "pads": pads}
    op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    extra = {"MaxPool": {"ceil_mode": draw(st.integers(0, 1))}, "AveragePool": {"count_include_pad": draw(st.integers(0, 1))}}
    assume(all(k <= n + b + a for n, k, b, a in zip(space, kernel, pads[:axes], pads[axes:], strict=True)))
    return Case(op, (1, 2, *space), attrs={**attrs, **extra[op]})


@given(pools())
def test_pooling_evaluates_as_in_onnxruntime(case: Case) -> None:
    assert_imported_right(model_of(case), case.shape)


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    """Convolutions and transposed ones of one or two axes, with groups, uneven padding and dilation."""
    axes, groups = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    sizes = st.tuples(*[st.integers(1, 3)] * axes)
    kernel, stride, dilation = draw(sizes), draw(sizes), draw(sizes)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    pads = [draw(st.integers(0, r - 1)) for r in (*reach, *reach)]
    space = [draw(st.integers(r, r + 4)) for r in reach]
    op = draw(st.sampled_from(["Conv", "ConvTranspose"]))
    channels = (2 * groups, 1) if op == "Conv" else (groups, 2)
    bias = draw(st.sampled_from([(), (rand(2 * groups),)]))
    attrs = {"strides": stride, "dilations": dilation, "pads": pads, "group": groups}
    return Case(op, (1, groups, *space), (X, rand(*channels, *kernel), *bias), attrs)


@given(convolutions())
def test_convolutions_evaluate_as_in_onnxruntime(case: Case) -> None:
    assert_imported_right(model_of(case), case.shape)


@given(st.sampled_from(["floor", "ceil"]), st.sampled_from(RULES), st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_resizing_evaluates_as_in_onnxruntime(rounding: str, rule: str, sizes: tuple[int, int]) -> None:
    for attrs in ({"mode": "linear"}, {"nearest_mode": rounding}):
        case = resize(sizes=(1, 2, *sizes), coordinate_transformation_mode=rule, **attrs)
        assert_imported_right(model_of(case), case.shape)


@st.composite
def slices(draw: st.DrawFn) -> Case:
    """Slices of two axes in either direction, with ends beyond the axis or counted from its end, that leave something over."""
    shape, starts, stops, steps = (4, 6), [], [], []
    for size in shape:
        low = draw(st.integers(0, size - 1))
        high, backward = draw(st.integers(low + 1, size + 2)), draw(st.booleans())
        start, stop = (high, low - 1 if low else -99) if backward else (low, high)
        starts.append(draw(st.sampled_from([start, start - size])) if start < size else start)
        stops.append(stop)
        steps.append(draw(st.integers(1, 3)) * (-1 if backward else 1))
    return Case("Slice", shape, (X, ints(*starts), ints(*stops), ints(0, 1), ints(*steps)))


@given(slices())
def test_slices_evaluate_as_in_onnxruntime(case: Case) -> None:
    assert_imported_right(model_of(case), case.shape)


# --- refusals ------------------------------------------------------------------------------------------------------------------


NARROW = (TensorProto.INT32, TensorProto.INT8, TensorProto.BOOL, TensorProto.FLOAT16, TensorProto.BFLOAT16)
LIKE = {"INT32": a(1, dtype=np.int32), "UINT8": a(1, dtype=np.uint8), "BOOL": np.array([True]), "FLOAT16": a(1, dtype=np.float16)}
REFUSALS = [
    (Case("Softmax", (2, 3)), "node node .Softmax.*verify the scores"),
    (Case("LayerNormalization", (2, 3), (X, rand(3))), "no bounds yet"),
    (Case("MatMul", (3, 3), (X, X)), "node node .MatMul.*both depend on the network's input"),
    (Case("ArgMax", (2, 3)), "discrete"),
    *((Case("Cast", (2, 3), attrs={"to": kind}), f"Cast.*{TensorProto.DataType.Name(kind)}") for kind in NARROW),
    *((Case("CastLike", (2, 3), (X, like)), f"CastLike.*{kind}") for kind, like in LIKE.items()),
    (Case("Div", (2, 3), (X, a(1, 0, 1))), "divides by a constant that holds zeros"),
    (Case("Mul", (3,), (X, a(1, np.nan, 1))), "NaN"),
    (Case("Clip", (3,), (X, np.float32(np.nan), np.float32(0))), "clips to NaN"),
    (Case("Pad", (3,), (X, ints(1, 1), np.float32(-np.inf))), "entries of -inf"),
    (Case("BatchNormalization", (2, 3), (X, *[rand(3)] * 4), {"training_mode": 1}, 14, 3), "training mode"),
    (Case("Dropout", (3,), (X, np.float32(0.5), np.array(True)), opset=13), "training mode"),
    (Case("Resize", (1, 1, 3, 4), (X, None, a(1, 1, 2, 2)), {"mode": "cubic"}), "'cubic' is not supported"),
    (Case("Reshape", (2, 3), (X, ints(4, 2))), "node node .Reshape"),
    (Case("Conv", (1, 2, 5), (X, rand(3, 4, 2))), "2 channels and the weight wants 4"),
    (Case("Conv", (1, 2, 5), (X, rand(3, 2, 2)), {"strides": [1, 1]}), "strides has incorrect size"),
    (Case("Where", (2, 3), (X, rand(2, 3), rand(2, 3))), "node node .Where.*condition"),
    (Case("NoSuchOperator", (2, 3)), "node node .NoSuchOperator.*certify supports"),
]


@pytest.mark.parametrize(("case", "message"), REFUSALS, ids=lambda value: value.op if isinstance(value, Case) else "")
def test_what_cannot_be_represented_is_refused_in_one_line_that_names_the_node(case: Case, message: str) -> None:
    with pytest.raises(GraphError, match=message) as caught:
        import_model(model_of(case))
    assert "\n" not in str(caught.value)


def test_an_output_that_holds_indices_of_maxima_is_refused() -> None:
    case = Case("MaxPool", (1, 1, 4), attrs={"kernel_shape": [2]}, outputs=2)
    with pytest.raises(GraphError, match="its output 'y1' is read"):
        import_model(model_of(case, output=1))


def test_constants_are_folded_in_double_precision() -> None:
    tenth, third = np.float32(0.1), np.float32(1 / 3)
    nodes = [helper.make_node("Mul", ["a", "b"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])]
    constants = [numpy_helper.from_array(np.asarray(v), n) for n, v in (("a", tenth), ("b", third))]
    entries = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", entries[:1], entries[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    assert evaluate(import_model(model), np.zeros(1)) == float(tenth) * float(third)
