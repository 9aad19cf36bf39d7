"""Damaged and hostile ONNX files: each loads as what onnxruntime makes of it, or ends in an error of one line, soon."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from certify.graph import GraphError
from certify.io.onnx import load_onnx
from tests.io.fuzz_onnx import mishaps

SEEDS = range(400)
SOON = 2.0
"""Seconds of processor time."""


@pytest.mark.parametrize("first", range(0, SEEDS.stop, 50))
def test_a_damaged_model_loads_as_its_runtime_has_it_or_is_refused_in_one_line(first: int) -> None:
    assert list(mishaps(range(first, first + 50))) == []


# --- sizes ----------------------------------------------------------------------------------------------------------------------


def model_of(op: str, inputs: str, attrs: dict[str, Any] | None = None, opset: int = 17, **constants: Any) -> ModelProto:
    """One node, of which `_` stands for an input that is left out; y is its output, added to x where it does not depend on x."""
    names = ["" if name == "_" else name for name in inputs.split()]
    nodes = [helper.make_node(op, names, ["y" if "x" in names else "c"], **(attrs or {}))]
    if "x" not in names:
        nodes += [helper.make_node("ReduceMax", ["c"], ["m"], keepdims=0), helper.make_node("Add", ["x", "m"], ["y"])]
    fixed = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", [1, 2, 4, 4]), ("y", None))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], fixed)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


ONE = np.ones((2, 2, 1, 1), np.float32)
PETABYTES = {
    "Expand": model_of("Expand", "x s", s=np.array([2**40, 1, 1, 1, 1])),
    "Expand of a constant": model_of("Expand", "k s", k=np.float32(1), s=np.array([2**40, 1])),
    "Tile": model_of("Tile", "x s", s=np.array([2**20, 2**20, 1, 1])),
    "ConstantOfShape": model_of("ConstantOfShape", "s", s=np.array([2**30, 2**20])),
    "Range": model_of("Range", "a b c", a=np.float32(0), b=np.float32(1e30), c=np.float32(1)),
    "Resize": model_of("Resize", "x _ s", s=np.array([1, 1, 1e6, 1e6], np.float32)),
    "Resize by infinity": model_of("Resize", "x _ s", s=np.array([1, 1, np.inf, 1], np.float32)),
    "Pad": model_of("Pad", "x s", s=np.array([0, 0, 2**40, 0, 0, 0, 0, 2**40])),
    "Pad beyond the range of sizes": model_of("Pad", "x s", s=np.array([0, 0, 2**62, 0, 0, 0, 2**62, 0])),
    "a reflection": model_of("Pad", "x s", {"mode": "reflect"}, s=np.array([0, 0, 2**31, 0, 0, 0, 0, 2**31])),
    "padding of a convolution": model_of("Conv", "x w", {"pads": [2**30] * 4}, w=ONE),
    "stride of a transposed convolution": model_of("ConvTranspose", "x w", {"strides": [2**30] * 2}, w=ONE),
    "output_padding": model_of("ConvTranspose", "x w", {"strides": [2**30] * 2, "output_padding": [2**29] * 2}, w=ONE),
    "windows": model_of("MaxPool", "x", {"kernel_shape": [2**11] * 2, "pads": [2**11 - 1] * 4}),
    "averages": model_of("AveragePool", "x", {"kernel_shape": [2**11] * 2, "pads": [2**11 - 1] * 4}),
    "an outer product": model_of("Mul", "a b", a=np.ones((10**5, 1), np.float32), b=np.ones((1, 10**5), np.float32)),
    "OneHot": model_of("OneHot", "i d v", i=np.array([1]), d=np.array(2**50), v=np.array([0, 1], np.float32)),
}


@pytest.mark.parametrize("name", PETABYTES)
def test_sizes_are_refused_before_anything_is_allocated(name: str) -> None:
    start = time.process_time()
    with pytest.raises(GraphError, match="node") as caught:
        load_onnx(PETABYTES[name])
    assert "\n" not in str(caught.value)
    assert "Unable to allocate" not in str(caught.value)
    assert time.process_time() - start < SOON


# --- structure ------------------------------------------------------------------------------------------------------------------


def graph_of(*nodes: tuple[str, list[str], list[str]]) -> ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", [1, 3]), ("y", None))]
    made = [helper.make_node(op, inputs, outputs) for op, inputs, outputs in nodes]
    return helper.make_model(
        helper.make_graph(made, "g", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )


BROKEN = {
    "a cycle": (
        graph_of(("Add", ["x", "b"], ["a"]), ("Relu", ["a"], ["b"]), ("Neg", ["b"], ["y"])),
        "reads 'b', which nothing before",
    ),
    "two tensors of one name": (graph_of(("Relu", ["x"], ["y"]), ("Neg", ["x"], ["y"])), "makes 'y', which is there before"),
    "an output called as the input": (graph_of(("Relu", ["x"], ["x"]), ("Neg", ["x"], ["y"])), "makes 'x', which is there before"),
    "a missing input": (graph_of(("Add", ["x", ""], ["y"])), "y .Add"),
    "a missing operand": (graph_of(("Add", ["x"], ["y"])), "y .Add"),
    "no such operator": (graph_of(("Frobnicate", ["x"], ["y"])), "y .Frobnicate"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_graphs_are_refused_by_the_node(name: str) -> None:
    model, message = BROKEN[name]
    with pytest.raises(GraphError, match=message):
        load_onnx(model)


def test_several_versions_of_the_operators_are_refused() -> None:
    model = graph_of(("Relu", ["x"], ["y"]))
    model.opset_import.append(helper.make_opsetid("ai.onnx", 13))
    with pytest.raises(GraphError, match="several versions of the ONNX operators: 13, 17"):
        load_onnx(model)


def test_what_the_output_does_not_depend_on_is_not_looked_at() -> None:
    dead = [("Frobnicate", ["x"], ["d"]), ("Relu", ["nowhere"], ["e"]), ("Expand", ["x", "d"], ["f"])]
    model = graph_of(*dead, ("Relu", ["x"], ["y"]), ("Softmax", ["y"], ["p"]))
    model.graph.initializer.append(TensorProto(name="unread", dims=[2**40], data_type=TensorProto.FLOAT))
    assert [node.op for node in load_onnx(model).graph.nodes] == ["input", "relu"]


def calls(name: str, other: str) -> onnx.FunctionProto:
    """A function that calls another one twice."""
    nodes = [helper.make_node(other, ["a"], ["c"], domain="m"), helper.make_node(other, ["c"], ["b"], domain="m")]
    return helper.make_function("m", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 17), helper.make_opsetid("m", 1)])


@pytest.mark.parametrize("count", [1, 40])
def test_functions_that_call_themselves_or_almost_without_end_are_refused(count: int) -> None:
    model = graph_of(("Relu", ["x"], ["z"]))
    model.graph.node.append(helper.make_node("F0", ["z"], ["y"], domain="m"))
    model.functions.extend(calls(f"F{i}", "F0" if count == 1 else f"F{i + 1}") for i in range(count))
    model.opset_import.append(helper.make_opsetid("m", 1))
    with pytest.raises(GraphError, match="make more than 1000000 nodes"):
        load_onnx(model)


def nested(depth: int) -> ModelProto:
    """A relu inside so many branches of an If."""
    node = helper.make_node("Relu", ["x"], ["y0"])
    for level in range(depth):
        result = [helper.make_tensor_value_info(f"y{level}", TensorProto.FLOAT, None)]
        taken, other = helper.make_graph([node], "b", [], result), helper.make_graph([], "o", [], [])
        node = helper.make_node("If", ["t"], [f"y{level + 1}"], then_branch=taken, else_branch=other)
    model = graph_of(("Identity", ["x"], ["y"]))
    model.graph.node[0].CopyFrom(node)
    model.graph.node[0].output[0] = "y"
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "t"))
    return model


def test_branches_in_branches_are_followed_where_they_are_taken() -> None:
    from certify.io.onnx import read_onnx

    assert [node.op for node in read_onnx(nested(12)).nodes] == ["input", "relu"]


# --- weights beside the file ----------------------------------------------------------------------------------------------------


def external(**entries: str) -> ModelProto:
    """x + w, with w in another file."""
    model = graph_of(("Add", ["x", "w"], ["y"]))
    weight = TensorProto(name="w", dims=[3], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        weight.external_data.add(key=key, value=value)
    model.graph.initializer.append(weight)
    return model


@pytest.mark.parametrize(
    "entries", [{"location": "../w.bin"}, {"location": "/etc/passwd"}, {"location": "w.bin", "length": str(2**60)}, {}]
)
def test_weights_outside_the_folder_or_longer_than_their_file_are_refused(tmp_path: Path, entries: dict[str, str]) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(12))
    (tmp_path / "inner" / "w.bin").write_bytes(bytes(12))
    (tmp_path / "inner" / "m.onnx").write_bytes(external(**entries).SerializeToString())
    with pytest.raises(GraphError, match="w"):
        load_onnx(tmp_path / "inner" / "m.onnx")


def test_weights_in_another_file_need_the_path_of_the_model() -> None:
    with pytest.raises(GraphError, match="'w' is kept in another file: load the model from its path"):
        load_onnx(external(location="w.bin").SerializeToString())
