"""Whole networks: those of the competition, and those that come with the project."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from certify.graph.evaluate import evaluate
from certify.io.load import load
from certify.io.onnx import load_onnx

MODELS = sorted((Path(__file__).resolve().parents[2] / "models").rglob("*.onnx"))
LARGEST_MB = 0.5


def smallest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("vnncomp/*/onnx/*.onnx.gz"), key=lambda path: path.stat().st_size)


def test_every_network_of_the_competition_loads_and_evaluates_as_in_onnxruntime(data_dir: Path) -> None:
    """Loading compares; the largest, of the same kind as others, would only take time."""
    paths = [path for path in smallest_first(data_dir) if path.stat().st_size < LARGEST_MB * 2**20]
    if not paths:
        pytest.skip(f"no networks under {data_dir}/vnncomp")
    for path in paths:
        graph = load(path).graph
        assert {node.op for node in graph.nodes} <= {"input", "linear", "conv", "relu", "reshape", "add"}, path
        assert math.prod(graph.output_shape) > 0


def test_the_program_computes_what_the_graph_defines(data_dir: Path) -> None:
    for path in smallest_first(data_dir)[:3] + [path for path in smallest_first(data_dir) if "resnet" in path.name]:
        model = load(path)
        x = np.random.default_rng(0).random(model.graph.input_shape)
        with torch.no_grad():
            computed = model.program(torch.float64).evaluate(torch.tensor(x)[None])[0].numpy()
        np.testing.assert_allclose(computed, evaluate(model.graph, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_shipped_network_loads(path: Path) -> None:
    assert load(path).name == path.stem


@st.composite
def networks(draw: st.DrawFn) -> ModelProto:
    """Small convolutional networks with a shortcut, written as exporters write them: nodes on tensors t0, t1, ..."""
    random = np.random.default_rng(draw(st.integers(0, 99)))
    nodes: list[NodeProto] = []
    constants: list[TensorProto] = []

    def add(op: str, *inputs: str | np.ndarray, **attrs: Any) -> str:
        names = []
        for value in inputs:
            if not isinstance(value, str):
                constants.append(numpy_helper.from_array(value, f"c{len(constants)}"))
            names.append(value if isinstance(value, str) else constants[-1].name)
        nodes.append(helper.make_node(op, names, [f"t{len(nodes)}"], **attrs))
        return f"t{len(nodes) - 1}"

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    def block(x: str) -> str:
        y = add("Conv", x, normal(2, 2, 3, 3), **draw(st.sampled_from([{"pads": [1] * 4}, {"auto_pad": "SAME_LOWER"}])))
        if draw(st.booleans()):
            y = add("BatchNormalization", y, normal(2), normal(2), normal(2), np.abs(normal(2)))
        y = add(draw(st.sampled_from(["Relu", "Sigmoid", "LeakyRelu", "Softplus"])), y)
        if draw(st.booleans()):
            y = add("Add", x, y)
        return add("Mul", y, add("Tanh", add("Softplus", y))) if draw(st.booleans()) else y

    x = "x"
    for _ in range(draw(st.integers(0, 3))):
        x = block(x)
    x = add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]) if draw(st.booleans()) else add("GlobalAveragePool", x)
    x = add("Flatten", x)
    x = add("Add", add("MatMul", x, normal(2 * (4 if nodes[-2].op_type == "MaxPool" else 1), 3)), normal(3))
    entries = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", ["N", 2, 4, 4]), (x, None))]
    return helper.make_model(
        helper.make_graph(nodes, "random", entries[:1], entries[1:], constants),
        opset_imports=[helper.make_opsetid("", draw(st.sampled_from([9, 13, 17])))],
        ir_version=8,
    )


@given(networks())
def test_any_network_loads_without_batch_norm_and_products(model: ModelProto) -> None:
    operators = {node.op for node in load_onnx(model).graph.nodes}
    assert not operators & {"mul", "scale", "shift", "tanh"}
